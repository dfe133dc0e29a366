"""The manifest: what a tensor file holds and where it came from, as deterministic JSON.

One schema serves exports (`readout.json`, float16) and kept runs (`manifest.json`, float32). The
keys `concepts`, `layers`, `hidden_size`, `dtype`, `aggregator` and `format` are those that the
vLLM ReadoutManager's files carry; all others are additions. No key depends on time or place.
"""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import metadata
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from pydantic import model_validator as check_after

import readout_ui
from readout_ui.errors import UserError

if TYPE_CHECKING:
    from readout_ui.vectors.settings import TrainSettings
    from readout_ui.vectors.vectors import ConceptVectors

SCHEMA_VERSION = 1
VECTORS_FILE = "readout.safetensors"
CALIBRATION_FILE = "calibration.safetensors"
MANIFEST_FILE = "readout.json"
EXPORT_FILES = (VECTORS_FILE, CALIBRATION_FILE, MANIFEST_FILE)
FORMAT = "direct_first_person_assistant_role"
PAIRS_FORMAT = "contrast_pairs_assistant_role"
LAYER_CONVENTION = (
    "layer i is the output of the module at module_path with {num} = i, counted from 0; "
    "for decoder blocks this is hidden_states[i + 1], before the final norm"
)
POSITION_CONVENTION = (
    "one score per token of the prompt, template included; "
    "the first token and the template's tokens carry large activations and are not comparable"
)
SCORES = {
    "raw": "activation @ vectors.T",
    "z": "(raw - neutral_mean) / neutral_std",
    "cosine": "cosine of (activation - center) and the vector, -1..1",
}
PACKAGES = ("torch", "transformers", "safetensors", "steering-vectors", "numpy", "scikit-learn")

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Index = Annotated[int, Field(ge=0, strict=True)]
Finite = Annotated[float, Field(allow_inf_nan=False)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True)


class ModelPart(_Part):
    """The model the vectors belong to."""

    id: str
    revision: str
    fingerprint: str
    dtype: str = ""


class FramePart(_Part):
    """The chat template round each text."""

    fingerprint: str
    description: str


class ReadPart(_Part):
    """Where in the model and in the text the activations were read."""

    rule: str
    layer_type: str
    module_path: str
    layers: str = LAYER_CONVENTION
    positions: str = POSITION_CONVENTION


class MetricsPart(_Part):
    """How well the directions tell held-out descriptions apart."""

    best_layer: Index
    layer_scores: tuple[Finite | None, ...] | None = None
    score: str = "cross-validated one-vs-rest AUROC of each layer of the model, mean over concepts"
    n_texts: Index


class ZeroDirection(_Part):
    """A direction of length zero: the layer cannot tell the concept's texts from the others."""

    concept: str
    layer: Index


class CalibrationPart(_Part):
    """What the z scores compare with."""

    on: str
    scores: dict[str, str] = SCORES


class ProbesPart(_Part):
    """Texts whose scores stand beside the calibration, to check a server by."""

    texts: Annotated[tuple[str, ...], Field(min_length=1)]
    scores: str = "layer_<i>.probe_scores: z of the text's activation, pooled by the read rule"


class Manifest(_Part):
    """A whole manifest; keys of later versions are kept when it is read and written again."""

    schema_version: Literal[1]
    format: str
    concepts: tuple[str, ...]
    layers: tuple[Index, ...]
    hidden_size: Annotated[int, Field(gt=0, strict=True)]
    dtype: Literal["float16", "float32"]
    aggregator: str
    method: str
    seed: Index
    settings: dict[str, Any]
    model: ModelPart
    frame: FramePart
    read: ReadPart
    metrics: MetricsPart
    calibration: CalibrationPart
    zero_directions: tuple[ZeroDirection, ...] = ()
    probes: ProbesPart | None = None
    descriptions: dict[str, Sha256]
    files: dict[str, Sha256]
    packages: dict[str, str]

    @check_after(mode="after")
    def _check_lists(self) -> Manifest:
        for noun, values in (("concepts", self.concepts), ("layers", self.layers)):
            if not values or len(set(values)) != len(values):
                raise ValueError(f"{noun} must be named once each, found {list(values)}")
        return self

    @check_after(mode="after")
    def _check_numbers(self) -> Manifest:
        best, scores = self.metrics.best_layer, self.metrics.layer_scores
        if scores is not None and best >= len(scores):
            raise ValueError(f"the best layer is {best}, scores are of {len(scores)} layers")
        if not _are_norms((self.model_extra or {}).get("residual_norms", [])):
            raise ValueError("residual_norms is no list of lengths")
        if not _are_paths(self.settings.get("layer_config", [])):
            raise ValueError("settings.layer_config is no list of layer types and module paths")
        return self

    @property
    def contrast(self) -> dict[str, Any] | None:
        """Polarity, prompts and scores of vectors from contrast pairs; None for descriptions."""
        found = (self.model_extra or {}).get("contrast")
        return found if isinstance(found, dict) else None

    @property
    def source(self) -> str:
        """What the vectors' texts are, e.g. "stories"; empty: a library's descriptions."""
        found = (self.model_extra or {}).get("source")
        known = found if isinstance(found, str) else ""
        return known or ("contrast pairs" if self.contrast else "")

    @property
    def fit(self) -> dict[str, Any]:
        """The method's own numbers, and under "instead" what it did where it lacked something."""
        found = (self.model_extra or {}).get("fit")
        return found if isinstance(found, dict) else {}

    @property
    def residual_norms(self) -> tuple[float, ...]:
        """Mean length of a neutral token's activation at every layer; empty in older files."""
        found = (self.model_extra or {}).get("residual_norms")
        return tuple(map(float, found)) if isinstance(found, list) else ()

    @property
    def push(self) -> dict[str, Any]:
        """What a file of directions to steer with says of their scale; empty where it does not."""
        found = (self.model_extra or {}).get("push")
        return found if isinstance(found, dict) else {}

    @property
    def layer_config(self) -> tuple[tuple[str, str], ...]:
        """Pairs of layer type and module path that the training was told."""
        return tuple((str(kind), str(path)) for kind, path in self.settings.get("layer_config", ()))

    @property
    def calibrated(self) -> bool:
        """Whether there is more than directions: what z-scores and cosines need."""
        return bool(self.calibration.on)

    def holding(
        self,
        vectors: ConceptVectors,
        dtype: str = "float32",
        files: Mapping[str, str] | None = None,
    ) -> Manifest:
        """The manifest of tensor files that hold `vectors`, all or some of the training's.

        Args:
            vectors: what the files hold.
            dtype: number type of the directions in the files.
            files: sha256 of each tensor file by name.
        """
        return self.model_copy(
            update={
                "concepts": vectors.concepts,
                "layers": vectors.layers,
                "dtype": dtype,
                "zero_directions": zero_directions(vectors),
                "files": dict(files or {}),
            }
        )

    def to_bytes(self) -> bytes:
        """The manifest as JSON: sorted keys, UTF-8, the same bytes for the same content."""
        return json_bytes(self.model_dump(mode="json"))


def _are_norms(found: Any) -> bool:
    lengths = found if isinstance(found, list) else [found]
    return all(isinstance(length, int | float) and 0 <= length < 1e9 for length in lengths)


def _are_paths(found: Any) -> bool:
    return isinstance(found, list | tuple) and all(
        isinstance(pair, list | tuple) and len(pair) == 2 for pair in found
    )


def json_bytes(value: Any) -> bytes:
    """Deterministic JSON for a file that people may read."""
    text = json.dumps(value, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False)
    return (text + "\n").encode()


def describe(
    vectors: ConceptVectors,
    settings: TrainSettings,
    *,
    model: ModelPart,
    frame: FramePart,
    module_path: str,
    metrics: MetricsPart,
    calibrated_on: str,
    fingerprints: Mapping[str, str],
    source: str = "",
    contrast: Mapping[str, Any] | None = None,
    fit: Mapping[str, Any] | None = None,
    norms: Sequence[float] = (),
) -> Manifest:
    """The manifest of a training.

    Args:
        vectors: what it made.
        settings: what it was asked for.
        model: whose activations they are.
        frame: the chat template around its texts.
        module_path: the modules that were read, with `{num}` for the layer number.
        metrics: scores on held-out texts.
        calibrated_on: which tokens z-scores compare with, in one line.
        fingerprints: sha256 of every file of texts.
        source: what the texts are, e.g. "stories"; empty for the library's descriptions.
        contrast: polarity, prompts and held-out scores of contrast pairs.
        fit: the method's own numbers, and what it did instead where it lacked something.
        norms: mean length of a token's activation at every layer of the model.
    """
    lengths = [float(f"{norm:.6g}") for norm in norms]
    extra = {"source": source, "contrast": contrast, "fit": fit, "residual_norms": lengths}
    return Manifest(
        schema_version=1,
        format=PAIRS_FORMAT if contrast else FORMAT,
        concepts=vectors.concepts,
        layers=vectors.layers,
        hidden_size=vectors.d_model,
        dtype="float32",
        aggregator=settings.method,
        method=settings.method,
        seed=settings.seed,
        settings=settings.as_json(),
        model=model,
        frame=frame,
        read=ReadPart(rule=settings.read, layer_type=settings.layer_type, module_path=module_path),
        metrics=metrics,
        calibration=CalibrationPart(on=calibrated_on),
        zero_directions=zero_directions(vectors),
        probes=ProbesPart(texts=vectors.probes.texts) if vectors.probes else None,
        descriptions=dict(fingerprints),
        files={},
        packages=package_versions(),
        **{key: value for key, value in extra.items() if value},
    )


def describe_bare(
    vectors: ConceptVectors, form: str, model: Mapping[str, str], layer_type: str = "decoder_block"
) -> Manifest:
    """The manifest of directions from a file that says little of itself; empty means unknown.

    Args:
        vectors: the directions, without calibration.
        form: the file's format.
        model: `id`, `revision`, `fingerprint` and `dtype`, as far as the file says.
        layer_type: the module whose output they belong to.
    """
    return Manifest(
        schema_version=1,
        format=form,
        concepts=vectors.concepts,
        layers=vectors.layers,
        hidden_size=vectors.d_model,
        dtype="float32",
        aggregator="",
        method="",
        seed=0,
        settings={"layer_type": layer_type},
        model=ModelPart(**{"id": "", "revision": "", "fingerprint": "", **model}),
        frame=FramePart(fingerprint="", description=""),
        read=ReadPart(rule="", layer_type=layer_type, module_path=""),
        metrics=MetricsPart(best_layer=sorted(vectors.layers)[len(vectors.layers) // 2], n_texts=0),
        calibration=CalibrationPart(on=""),
        descriptions={},
        files={},
        packages={},
    )


def zero_directions(vectors: ConceptVectors) -> tuple[ZeroDirection, ...]:
    """Concept and layer of every direction of length zero, which always reads 0."""
    maybe = (vectors.directions[:, :, 0] == 0).nonzero()  # most differ from 0 at once
    return tuple(
        ZeroDirection(concept=vectors.concepts[row], layer=vectors.layers[column])
        for row, column in maybe.tolist()
        if not vectors.directions[row, column].any()
    )


def parse_manifest(raw: bytes, where: str) -> Manifest:
    """Read a manifest that may have been edited or cut short.

    Raises:
        UserError: no JSON, an unknown schema version, or the first key that is missing or wrong.
    """
    try:
        values = json.loads(raw.decode(), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise UserError(f"not a JSON file: {error}", where=where) from error
    if not isinstance(values, dict):
        raise UserError("the JSON is no object with named keys", where=where)
    _check_version(values.get("schema_version"), where)
    try:
        return Manifest.model_validate(values)
    except ValidationError as error:
        raise UserError(_first_problem(error), where=where) from error


def package_versions() -> dict[str, str]:
    """Versions of what can change a number in a vector."""
    versions = {"readout-ui": readout_ui.__version__, "python": platform.python_version()}
    found = {name: _version(name) for name in PACKAGES}
    return versions | {name: version for name, version in found.items() if version is not None}


@cache
def _version(package: str) -> str | None:
    # Reading it from disk takes a millisecond, and what is imported stays what it is.
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _check_version(version: object, where: str) -> None:
    if version is None:
        raise UserError(
            "there is no schema_version, so another program wrote this readout",
            where=where,
            fix="train again with readout-ui",
        )
    if version is True or version != SCHEMA_VERSION:
        raise UserError(
            f"unknown schema version {version!r}", where=where, options=(str(SCHEMA_VERSION),)
        )


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _first_problem(error: ValidationError) -> str:
    first = error.errors()[0]
    path = ".".join(str(part) for part in first["loc"])
    return f"{path}: {first['msg']}" if path else str(first["msg"])


def finite_or_none(scores: Sequence[float] | None) -> tuple[float | None, ...] | None:
    """Scores as JSON can hold them: None for NaN."""
    if scores is None:
        return None
    return tuple(float(score) if math.isfinite(score) else None for score in scores)
