"""What is known about a kept run without reading its vectors."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, TypeAdapter, ValidationError

from readout_ui.errors import UserError
from readout_ui.files import read_files, sha256_of
from readout_ui.runs.manifest import Manifest, parse_manifest
from readout_ui.vectors.settings import Trained, TrainSettings, refuse_other_model

if TYPE_CHECKING:
    from readout_ui.vectors.vectors import ConceptVectors

VECTORS_FILE = "vectors.safetensors"
MANIFEST_FILE = "manifest.json"
DESCRIPTIONS_FILE = "descriptions.json"
RUN_FILE = "run.json"
_DESCRIPTIONS = TypeAdapter(dict[str, tuple[str, ...]])


@dataclass(frozen=True, eq=False)
class RunRecord:
    """What is known about a kept run without reading its vectors."""

    id: str
    """Name of its folder: UTC time and the first digits of its manifest's hash."""
    folder: Path
    created: datetime
    """When it was saved, with time zone."""
    n_bytes: int
    """Size of its files."""
    manifest: Manifest
    settings: TrainSettings
    descriptions: dict[str, tuple[str, ...]]
    """The texts it was trained on, neutral ones included, by file name without `.txt`."""
    timings: dict[str, float]
    """Seconds of each part."""
    warnings: tuple[str, ...]
    log: tuple[str, ...]
    """What the training said while it ran."""

    @property
    def concepts(self) -> tuple[str, ...]:
        """Names of its directions."""
        return self.manifest.concepts

    @property
    def layers(self) -> tuple[int, ...]:
        """Layers it has directions of."""
        return self.manifest.layers

    @property
    def n_texts(self) -> int:
        """Unique texts that were read."""
        return self.manifest.metrics.n_texts

    @property
    def best_layer(self) -> int:
        """The layer that tells held-out descriptions apart best."""
        return self.manifest.metrics.best_layer

    @property
    def layer_scores(self) -> tuple[float | None, ...] | None:
        """Cross-validated AUROC of every layer of the model."""
        return self.manifest.metrics.layer_scores

    @property
    def fingerprints(self) -> dict[str, str]:
        """sha256 of every description file."""
        return self.manifest.descriptions

    @property
    def source(self) -> str:
        """What it was trained on, e.g. "contrast pairs"; empty: the library's descriptions."""
        return self.manifest.source

    @property
    def model_name(self) -> str:
        """Hub id or folder of the model."""
        return self.manifest.model.id

    @property
    def model_fingerprint(self) -> str:
        """Identity of the model's weights."""
        return self.manifest.model.fingerprint

    def refuse_other_model(self, name: str, fingerprint: str) -> None:
        """Raise a UserError unless the loaded model is the one this run was trained on."""
        refuse_other_model(
            f"run {self.id}",
            (self.model_name, self.model_fingerprint),
            (name, fingerprint),
            self.manifest.model.dtype,
        )

    def trained(self, vectors: ConceptVectors) -> Trained:
        """The training's result again, from this record and its vectors, for an export."""
        manifest = self.manifest
        scores = manifest.metrics.layer_scores
        return Trained(
            vectors=vectors,
            settings=self.settings,
            model_name=manifest.model.id,
            model_revision=manifest.model.revision,
            model_fingerprint=manifest.model.fingerprint,
            frame_fingerprint=manifest.frame.fingerprint,
            frame_description=manifest.frame.description,
            module_path=manifest.read.module_path,
            fingerprints=manifest.descriptions,
            n_texts=manifest.metrics.n_texts,
            layer_scores=None if scores is None else tuple(_score(s) for s in scores),
            best_layer=manifest.metrics.best_layer,
            warnings=self.warnings,
            timings=self.timings,
            calibrated_on=manifest.calibration.on,
            descriptions=self.descriptions,
            model_dtype=manifest.model.dtype,
            contrast=manifest.contrast,
            source=manifest.source,
        )


@dataclass(frozen=True)
class BrokenRun:
    """A run folder that cannot be used."""

    id: str
    folder: Path
    reason: str
    """Why, in one sentence."""


class RunFile(BaseModel):
    """What differs from one training to the next."""

    created: datetime
    timings: dict[str, float]
    warnings: tuple[str, ...]
    log: tuple[str, ...]
    vectors_bytes: int


def record_or_reason(folder: Path) -> RunRecord | BrokenRun:
    """The record of a run folder, or why there is none."""
    try:
        return read_record(folder)
    except UserError as error:
        return BrokenRun(folder.name, folder, str(error))


def read_record(folder: Path) -> RunRecord:
    """The record of a run folder; its vectors are only measured, not read.

    Raises:
        UserError: a file is missing, damaged or does not belong to the others.
    """
    files = read_files(folder, (MANIFEST_FILE, DESCRIPTIONS_FILE, RUN_FILE))
    manifest = parse_manifest(files[MANIFEST_FILE], str(folder / MANIFEST_FILE))
    if manifest.files.get(DESCRIPTIONS_FILE) != sha256_of(files[DESCRIPTIONS_FILE]):
        raise UserError("the texts are not those of the manifest", where=str(folder))
    try:
        run = RunFile.model_validate_json(files[RUN_FILE])
        descriptions = _DESCRIPTIONS.validate_json(files[DESCRIPTIONS_FILE])
    except ValidationError as error:
        raise UserError(f"cannot be read: {error.errors()[0]['msg']}", where=str(folder)) from error
    _check_size(folder / VECTORS_FILE, run.vectors_bytes)
    return RunRecord(
        id=folder.name,
        folder=folder,
        created=run.created,
        n_bytes=size_of(folder),
        manifest=manifest,
        settings=TrainSettings.from_json(manifest.settings),
        descriptions=descriptions,
        timings=run.timings,
        warnings=run.warnings,
        log=run.log,
    )


def _check_size(path: Path, expected: int) -> None:
    try:
        found = path.stat().st_size
    except OSError as error:
        raise UserError(f"cannot be read ({error.strerror})", where=str(path)) from error
    if found != expected:
        raise UserError(
            f"the file has {found} bytes, it was saved with {expected}", where=str(path)
        )


def size_of(folder: Path) -> int:
    """Bytes of all files in a folder."""
    return sum(file.lstat().st_size for file in folder.rglob("*"))


def _score(score: float | None) -> float:
    return float("nan") if score is None else score
