"""What a training was asked for and what it made: settings, vectors and where they came from.

Importing this module loads neither torch nor transformers, so that every front end may use it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

from readout_ui.errors import UserError

if TYPE_CHECKING:
    from readout_ui.vectors.vectors import ConceptVectors

METHOD_NAMES = ("mean", "pca", "logistic")
READ_RULE_NAMES = ("content_mean", "content_last", "content_tail", "template_last")
LAYER_TYPE_NAMES = (
    "decoder_block",
    "self_attn",
    "mlp",
    "input_layernorm",
    "post_attention_layernorm",
)
_LAYERS = re.compile(r"all|auto|\s*-?\d+\s*(,\s*-?\d+\s*)*")


@dataclass(frozen=True)
class TrainSettings:
    """Everything a person chooses about a training, except texts and model."""

    method: str = "mean"
    """How a direction is fitted: "mean", "pca" or "logistic"."""
    read: str = "content_mean"
    """Which token positions are pooled into a text's activation."""
    layers: str = "all"
    """"all", "auto" (the best cross-validated layer) or layer numbers such as "14,22" or "-1"."""
    layer_type: str = "decoder_block"
    """Which module of a block is read."""
    layer_config: tuple[tuple[str, str], ...] = ()
    """Pairs of layer type and module path with `{num}`, for models whose blocks are not found."""
    max_length: int = 256
    """Content tokens read of one text; what follows is cut off with a warning."""
    batch_size: int | None = None
    """Most texts in one batch; None leaves it to the token budget."""
    max_negatives_per_positive: int = 20
    """Negatives drawn for each positive text by the methods that pair texts."""
    seed: int = 0
    """Seed of the pair sampling."""

    def __post_init__(self) -> None:
        _one_of("method", self.method, METHOD_NAMES)
        _one_of("read rule", self.read, READ_RULE_NAMES)
        _one_of("layer type", self.layer_type, {*LAYER_TYPE_NAMES, *dict(self.layer_config)})
        if not _LAYERS.fullmatch(self.layers):
            raise UserError(
                f"cannot read layers {self.layers!r}", options=("all", "auto", "14,22", "-1")
            )
        for layer_type, template in self.layer_config:
            if "{num}" not in template:
                raise UserError(
                    f"module path {template!r} for {layer_type} has no place for the layer number",
                    fix="write {num} where it goes, as in model.layers.{num}",
                )
        _at_least("max length", self.max_length, 1)
        _at_least("max negatives per positive", self.max_negatives_per_positive, 1)
        _at_least("seed", self.seed, 0)
        if self.batch_size is not None:
            _at_least("batch size", self.batch_size, 1)

    def as_json(self) -> dict[str, Any]:
        """The settings as values that JSON can hold."""
        return {**asdict(self), "layer_config": [list(pair) for pair in self.layer_config]}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> TrainSettings:
        """The settings that `as_json` wrote; a setting that is missing keeps its default.

        Raises:
            UserError: a setting this version does not know, or a value it does not accept.
        """
        known = {field.name for field in fields(cls)}
        if unknown := sorted(values.keys() - known):
            raise UserError(f"unknown setting {unknown[0]!r}", options=sorted(known))
        pairs = values.get("layer_config", ())
        try:
            return cls(**{**values, "layer_config": tuple((str(k), str(v)) for k, v in pairs)})
        except (TypeError, ValueError) as error:
            raise UserError(f"a training setting has the wrong type: {error}") from error


def _one_of(noun: str, value: str, options: Collection[str]) -> None:
    if value not in options:
        raise UserError(f"unknown {noun} {value!r}", options=options)


def _at_least(noun: str, value: int, lowest: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < lowest:
        raise UserError(f"{noun} must be a whole number from {lowest} up, not {value!r}")


@dataclass(frozen=True, eq=False)
class Trained:
    """The result of one training, with all that a run or an export says about its origin."""

    vectors: ConceptVectors
    """Directions and calibration of the layers that were asked for."""
    settings: TrainSettings
    model_name: str
    """Hub id or folder of the model."""
    model_revision: str
    model_fingerprint: str
    """Identity of the weights as they were loaded, dtype included."""
    frame_fingerprint: str
    """Hash of the chat template round a text."""
    frame_description: str
    """The frame in one line."""
    module_path: str
    """Module path of the read layers, with `{num}` for the layer number."""
    fingerprints: dict[str, str]
    """sha256 of every description file, neutral ones included."""
    n_texts: int
    """Unique texts that were read."""
    layer_scores: tuple[float, ...] | None
    """Cross-validated AUROC of every layer of the model, None where too few texts allow it."""
    best_layer: int
    """The layer with the best score."""
    warnings: tuple[str, ...]
    timings: dict[str, float]
    """Seconds of each part."""
    calibrated_on: str
    """Which tokens the z scores compare with, in one line."""
    descriptions: dict[str, tuple[str, ...]]
    """The texts of every description file, neutral ones included."""
    model_dtype: str = ""
    """Number type of the weights, empty where the trainer did not say."""
    contrast: dict[str, Any] | None = None
    """Of a training on contrast pairs: its polarity, prompts and held-out scores as JSON holds
    them; None for a training on descriptions."""
    source: str = ""
    """What its texts are, e.g. "stories"; empty: the library's descriptions."""

    def __post_init__(self) -> None:
        if self.fingerprints.keys() != self.descriptions.keys():
            odd = sorted(self.fingerprints.keys() ^ self.descriptions.keys())
            raise ValueError(f"fingerprints and descriptions name different files: {odd}")
        if missing := sorted(set(self.vectors.concepts) - self.descriptions.keys()):
            raise ValueError(f"vectors of concepts without descriptions: {missing}")


def refuse_other_model(
    what: str, trained: tuple[str, str], loaded: tuple[str, str], dtype: str = ""
) -> None:
    """Raise a UserError unless the loaded model has the weights the vectors were trained on.

    Args:
        what: what holds the vectors, for the message.
        trained: (name, fingerprint) of the model they were trained on.
        loaded: (name, fingerprint) of the model at hand.
        dtype: number type of the weights in training, where it is known.
    """
    (trained_name, trained_print), (name, fingerprint) = trained, loaded
    if trained_print == fingerprint:
        return
    if trained_name != name:
        raise UserError(
            f"the vectors were trained on {trained_name}, the loaded model is {name}",
            where=what,
            fix=f"load {trained_name} or train again",
        )
    detail = f" (trained in {dtype})" if dtype else ""
    raise UserError(
        f"the weights of {name} differ from those the vectors were trained on{detail}",
        where=what,
        fix="load the same revision, dtype and quantization or train again",
    )


def split_names(text: str) -> list[str] | None:
    """Comma-separated names, None for an empty text."""
    return [part.strip() for part in text.split(",") if part.strip()] or None


def split_layers(text: str, known: tuple[int, ...]) -> list[int] | None:
    """Comma-separated layer numbers, None for an empty text; -1 is the last of `known`."""
    names = split_names(text)
    if names is None:
        return None
    try:
        numbers = [int(name) for name in names]
    except ValueError as error:
        options = [str(layer) for layer in known]
        raise UserError(f"cannot read layers {text!r}", options=options) from error
    return [known[n] if -len(known) <= n < 0 else n for n in numbers]
