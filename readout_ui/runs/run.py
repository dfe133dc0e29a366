"""A run: concept vectors with their manifest and texts, kept on disk, exported or in memory.

Importing this module loads neither torch nor transformers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from readout_ui.errors import UserError
from readout_ui.files import sha256_of
from readout_ui.runs.manifest import MANIFEST_FILE as EXPORT_MANIFEST
from readout_ui.runs.manifest import Manifest, json_bytes
from readout_ui.runs.run_files import (
    DESCRIPTIONS_FILE,
    MANIFEST_FILE,
    RUN_FILE,
    VECTORS_FILE,
    RunFile,
    keep_files,
    read_files,
    read_folder,
    size_of,
)
from readout_ui.texts.library import Library, changed_files
from readout_ui.vectors.settings import TrainSettings

if TYPE_CHECKING:
    from steering_vectors import SteeringVector

    from readout_ui.models.loading import LoadedModel
    from readout_ui.vectors.vectors import ConceptVectors


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, eq=False, repr=False)
class Run:
    """Concept vectors with the manifest that says where they are from, and their texts.

    Made by a training, or opened with `Run.open`. The vectors are read when they are first needed.

    >>> run = ro.Run.open(readout.export("exported"))
    >>> run.concepts, run.vectors.directions.shape
    (('afraid', 'angry', 'calm', 'happy'), torch.Size([4, 30, 576]))
    """

    manifest: Manifest
    """The only record of model, texts, settings and scores."""
    load: Callable[[], ConceptVectors]
    """Gives the vectors, after every check of their files."""
    texts: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """What it was trained on, neutral texts included, by file name without `.txt`; empty where
    only the vectors are known."""
    folder: Path | None = None
    """Where it lies: a run's folder or the export that was opened; None while only in memory."""
    id: str = ""
    """Name of a kept run's folder: UTC time and the first digits of its manifest's hash."""
    created: datetime = field(default_factory=_now)
    """When it was saved, else when it was made or opened; with time zone."""
    n_bytes: int = 0
    """Size of a kept run's files."""
    timings: dict[str, float] = field(default_factory=dict)
    """Seconds of each part of the training."""
    warnings: tuple[str, ...] = ()
    log: tuple[str, ...] = ()
    """What the training said while it ran."""
    distances: dict[int, float] = field(default_factory=dict)
    """Of contrast pairs, by layer: how far the sides are apart along the direction."""

    @classmethod
    def open(cls, path: str | Path, texts: Path | None = None) -> Run:
        """Open a run's folder, or vectors in any format that can be read back.

        Args:
            path: a run's folder; a folder, zip or file in the format readout, npz, gguf (control
                vectors) or steering-vectors (safetensors).
            texts: folder of the texts that an export was trained on; a run has its own.

        Raises:
            UserError: there is no such thing, it is damaged, or the texts are others.
        """
        place = Path(path)
        if (place / MANIFEST_FILE).is_file() and not (place / EXPORT_MANIFEST).exists():
            return read_run(place.resolve())
        from readout_ui.runs.importing import read_manifest, read_vectors

        manifest = read_manifest(place)
        if manifest is None:
            manifest, vectors = read_vectors(place)
            run = cls(manifest, lambda: vectors, folder=place)
        else:
            run = cls(manifest, lambda: read_vectors(place)[1], folder=place)
        return run if texts is None else run.with_texts(texts)

    @classmethod
    def of_steering_vectors(cls, vectors: Mapping[str, SteeringVector], model_id: str = "") -> Run:
        """Vectors of the steering-vectors library by concept, as a run without calibration.

        Raises:
            UserError: they have other layers, layer types or widths than each other, or none.
        """
        from readout_ui.runs.formats.steering_vectors import bare_vectors
        from readout_ui.runs.manifest import describe_bare

        bare = bare_vectors(vectors)
        manifest = describe_bare(bare, "steering-vectors", {"id": model_id}, bare.layer_type)
        return cls(manifest, lambda: bare)

    def steering_vector(self, concept: str, scale: str = "") -> SteeringVector:
        """What a concept is steered with, as steering-vectors has it, in a scale as of `export`."""
        from readout_ui.runs.formats.steering_vectors import steering_vectors
        from readout_ui.runs.model_card import Push

        push = Push.of(self.manifest, self.layers, scale)
        kept = self.vectors.select([concept]).to_steer().scaled(push.doses)
        return steering_vectors(kept, self.manifest.read.layer_type)[concept]

    @cached_property
    def vectors(self) -> ConceptVectors:
        """Directions and calibration; UserError where their files are damaged."""
        return self.load()

    def __repr__(self) -> str:
        where = self.id or self.folder or "not saved"
        return (
            f"Run({len(self.concepts)} concepts, {len(self.layers)} layers, best layer "
            f"{self.best_layer}, {self.model_name or 'unknown model'}, {where})"
        )

    @property
    def settings(self) -> TrainSettings:
        """What the training was asked for."""
        return TrainSettings.from_json(self.manifest.settings)

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
        """The layer that tells held-out texts apart best."""
        return self.manifest.metrics.best_layer

    @property
    def layer_scores(self) -> tuple[float | None, ...] | None:
        """Cross-validated AUROC of every layer of the model."""
        return self.manifest.metrics.layer_scores

    @property
    def fingerprints(self) -> dict[str, str]:
        """sha256 of every file of texts."""
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

    @property
    def where(self) -> str:
        """What messages call it."""
        return f"run {self.id}" if self.id else str(self.folder or "the vectors")

    def layer(self, requested: int | None) -> int:
        """The layer to judge: the requested one, else the best, else the last one there is.

        Negative ones count from the last that was trained; UserError where there is no such layer.
        """
        layers = self.layers
        if requested is None:
            return self.best_layer if self.best_layer in layers else layers[-1]
        layer = layers[requested] if -len(layers) <= requested < 0 else requested
        if layer not in layers:
            raise UserError(
                f"layer {requested} was not trained", where=self.where, options=map(str, layers)
            )
        return layer

    def with_texts(self, folder: Path) -> Run:
        """The run with the texts of a folder; UserError if they are not those of the training."""
        library = Library(folder)
        now, trained = library.fingerprints(), self.fingerprints
        names = now.keys() | trained.keys()
        if changed := sorted(name for name in names if now.get(name) != trained.get(name)):
            raise UserError(
                f"these are not the texts of the training: {', '.join(changed[:5])} differ",
                where=str(folder),
                fix="train again, or name the folder of the kept run with --vectors",
            )
        return replace(self, texts=library.texts())

    def require_calibrated(self) -> None:
        """Raise a UserError where there are directions alone, as in control vectors."""
        if not self.manifest.calibrated:
            raise UserError(
                "it holds directions alone, without what z-scores and checks need",
                where=self.where,
                fix="use an export in the format readout or npz; "
                "`readout-ui read --score raw` reads with directions alone",
            )

    def refuse_other_model(self, model: LoadedModel) -> None:
        """Raise a UserError unless the vectors belong to this model, as far as they say."""
        self._refuse_other_shape(model)
        if self.model_fingerprint:
            self._refuse_other_weights(model)
        frame = self.manifest.frame
        own = model.framed(self.manifest.settings.get("frame", "chat")).frame
        if frame.fingerprint not in ("", own.fingerprint):
            raise UserError(
                f"the vectors were trained in another prompt frame ({frame.description}), "
                f"the model has now: {own.describe()}",
                where=self.where,
                fix="load the same tokenizer or train again",
            )

    def _refuse_other_shape(self, model: LoadedModel) -> None:
        size, last = self.manifest.hidden_size, max(self.layers)
        if size == model.d_model and last < model.n_layers:
            return
        fault = f"the vectors have {size} numbers, {model.name} has {model.d_model}"
        if size == model.d_model:
            most = model.n_layers - 1
            fault = f"there are vectors of layer {last}, the last layer of {model.name} is {most}"
        fix = f"load {self.model_name or 'the model they were made for'}"
        raise UserError(fault, where=self.where, fix=fix)

    def _refuse_other_weights(self, model: LoadedModel) -> None:
        trained = self.manifest.model
        if trained.fingerprint == model.fingerprint:
            return
        if trained.id != model.name:
            raise UserError(
                f"the vectors were trained on {trained.id}, the loaded model is {model.name}",
                where=self.where,
                fix=f"load {trained.id} or train again",
            )
        detail = f" (trained in {trained.dtype})" if trained.dtype else ""
        raise UserError(
            f"the weights of {model.name} differ from those the vectors were trained on{detail}",
            where=self.where,
            fix="load the same revision, dtype and quantization or train again",
        )

    def refuse_changed(self, library: Library) -> None:
        """Raise a UserError that names the files that changed since: each touches all vectors."""
        if changed := changed_files(library.texts(), self.texts):
            raise UserError(
                f"descriptions changed since training: {', '.join(changed)}",
                fix="train again, or export the old vectors knowingly",
            )

    def files(
        self,
        format: str = "readout",
        concepts: Sequence[str] | None = None,
        layers: Sequence[int] | None = None,
        scale: str = "",
        stem: str = "",
    ) -> dict[str, bytes]:
        """What `export` writes into a folder (or as `stem`), by file name; UserError as there."""
        from readout_ui.runs.export import export_files

        whole = (format, concepts, layers, scale, stem) == ("readout", None, None, "", "")
        if whole and (kept := self._kept_export()):
            return kept
        chosen = self.vectors.select(concepts, layers)
        return export_files(format, chosen, self.manifest, stem, scale)

    def _kept_export(self) -> dict[str, bytes]:
        """The files of the whole export where they were written before; none here."""
        return {}

    def export(
        self,
        path: str | Path,
        format: str = "readout",
        concepts: Sequence[str] | None = None,
        layers: Sequence[int] | None = None,
        scale: str = "",
    ) -> Path:
        """Write the vectors; returns where.

        Args:
            path: a folder; a zip where the name ends in .zip; one file with the manifest beside it
                where it ends in .safetensors. An earlier export is replaced, anything else refused.
            format: "readout" (vLLM), "npz", "gguf", "steering", "sglang" or "steering-pkl".
            concepts: which concepts, in this order; None for all.
            layers: which layers; None for all that were trained.
            scale: of vectors to steer with, "norm" (1.0 is one dose) or "unit"; empty for "norm"
                where the lengths of the residual stream are known.

        Raises:
            UserError: a concept or layer that was not trained, an unknown format or one that needs
                a calibration, a target that holds something else, or the disk refuses.
        """
        from readout_ui.runs.export import is_file, write_files

        target = Path(path)
        stem = target.stem if is_file(target) else ""
        return write_files(target, self.files(format, concepts, layers, scale, stem))

    def save(
        self, runs: str | Path, log: Sequence[str] = (), created: datetime | None = None
    ) -> Run:
        """Keep it as a new folder among the runs, which appears at once and whole.

        Args:
            runs: the folder of all runs; made where it is missing.
            log: what the training said.
            created: when it was made; None for now.

        Returns:
            The kept run.

        Raises:
            UserError: the disk refuses.
        """
        created = created or _now()
        return read_run(keep_files(Path(runs), self._run_files(created, log), created))

    def _run_files(self, created: datetime, log: Sequence[str]) -> dict[str, bytes]:
        from readout_ui.runs.tensors import vectors_bytes

        files = {
            VECTORS_FILE: vectors_bytes(self.vectors),
            DESCRIPTIONS_FILE: json_bytes({k: list(v) for k, v in self.texts.items()}),
        }
        hashes = {name: sha256_of(raw) for name, raw in files.items()}
        run = RunFile(
            created=created,
            timings=self.timings,
            warnings=self.warnings,
            log=tuple(log),
            vectors_bytes=len(files[VECTORS_FILE]),
            distances=self.distances,
        )
        unsaid = None if self.distances else {"distances"}
        return {
            **files,
            MANIFEST_FILE: self.manifest.holding(self.vectors, files=hashes).to_bytes(),
            RUN_FILE: json_bytes(run.model_dump(mode="json", exclude=unsaid)),
        }


def read_run(folder: Path) -> Run:
    """The run in a folder; its vectors are read when they are first needed.

    Raises:
        UserError: a file is missing, damaged or does not belong to the others.
    """
    manifest, texts, run = read_folder(folder)
    return Run(
        manifest=manifest,
        load=lambda: _read_vectors(folder / VECTORS_FILE, manifest),
        texts=texts,
        folder=folder,
        id=folder.name,
        created=run.created,
        n_bytes=size_of(folder),
        timings=run.timings,
        warnings=run.warnings,
        log=run.log,
        distances=run.distances,
    )


def _read_vectors(path: Path, manifest: Manifest) -> ConceptVectors:
    from readout_ui.runs.tensors import parse_vectors

    return parse_vectors(read_files(path.parent, (path.name,))[path.name], manifest, path)
