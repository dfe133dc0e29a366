"""What a training is asked for.

Importing this module loads neither torch nor transformers, so that every front end may use it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from readout_ui.errors import UserError

METHOD_NAMES = ("whitened", "mean", "neutral_pcs", "pca", "logistic")
READ_RULE_NAMES = ("content_mean", "content_last", "content_tail", "template_last")
LAYER_TYPE_NAMES = (
    "decoder_block",
    "self_attn",
    "mlp",
    "input_layernorm",
    "post_attention_layernorm",
)
FRAME_NAMES = ("chat", "none")
_NUMBERED = re.compile(r"token:-?\d+|from:[1-9]\d*")
RECIPES: Mapping[str, Mapping[str, str]] = {
    "anthropic-2026": {"method": "neutral_pcs", "read": "from:50"},
}
"""Published recipes for stories by name: what each settles of a training."""
OWN_METHOD = "own:"
"""Before the name of a method that is no built-in one but a function, which is not stored."""
_LAYERS = re.compile(r"all|auto|middle|\s*-?\d+\s*(,\s*-?\d+\s*)*")


@dataclass(frozen=True)
class TrainSettings:
    """Everything a person chooses about a training, except texts and model.

    >>> ro.TrainSettings(method="pca", read="template_last", layers="14,16").seed
    0
    """

    method: str = "whitened"
    """How a direction is fitted: "whitened", "mean", "neutral_pcs", "pca" or "logistic";
    "own:name" for a function."""
    read: str = "content_mean"
    """Which token positions are pooled into a text's activation: a read rule, or "token:N" for
    one position of the framed text, counted from 0 or, negative, from its end; or "from:N" for
    a text's tokens from the Nth on, of a short text its last two thirds."""
    layers: str = "all"
    """"all", "auto" (the best cross-validated layer), "middle" (three to five layers at 40 to 60 %
    of the depth) or layer numbers such as "14,22" or "-1"."""
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
    frame: str = "chat"
    """What stands round a text: "chat" (the model's chat template) or "none"."""

    def __post_init__(self) -> None:
        if not str(self.method).startswith(OWN_METHOD):
            _one_of("method", self.method, METHOD_NAMES)
        if not _NUMBERED.fullmatch(str(self.read)):
            _one_of("read rule", self.read, READ_RULE_NAMES)
        _one_of("frame", self.frame, FRAME_NAMES)
        _one_of("layer type", self.layer_type, {*LAYER_TYPE_NAMES, *dict(self.layer_config)})
        if not _LAYERS.fullmatch(self.layers):
            raise UserError(
                f"cannot read layers {self.layers!r}",
                options=("all", "auto", "middle", "14,22", "-1"),
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

    def by_recipe(self, recipe: str) -> TrainSettings:
        """The same with what a published recipe settles.

        Raises:
            UserError: no such recipe, or something else was chosen for what it settles.
        """
        _one_of("recipe", recipe, RECIPES)
        for name, value in RECIPES[recipe].items():
            chosen = getattr(self, name)
            if chosen not in (value, getattr(TrainSettings, name)):
                fix = f"leave out the recipe or {name}"
                raise UserError(f"{recipe} means {name} {value}, not {chosen}", fix=fix)
        return replace(self, **RECIPES[recipe])  # type: ignore[arg-type]

    def as_json(self) -> dict[str, Any]:
        """The settings as values that JSON can hold; the frame only where it is not the usual."""
        values = {**asdict(self), "layer_config": [list(pair) for pair in self.layer_config]}
        return {k: v for k, v in values.items() if (k, v) != ("frame", TrainSettings.frame)}

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


def layer_paths(
    paths: Mapping[str, str | Callable[[int], str]],
) -> tuple[tuple[str, str], ...]:
    """The setting `layer_config` from module paths, also given as functions of the layer number.

    >>> layer_paths({"mlp": lambda layer: f"model.layers.{layer}.mlp"})
    (('mlp', 'model.layers.{num}.mlp'),)

    Raises:
        UserError: a function whose paths differ in more than one number.
    """
    return tuple(
        (kind, path if isinstance(path, str) else _template_of(kind, path))
        for kind, path in paths.items()
    )


def _template_of(kind: str, path: Callable[[int], str]) -> str:
    first = path(0)
    for zero in re.finditer("0", first):
        template = f"{first[: zero.start()]}{{num}}{first[zero.end() :]}"
        if all(path(layer) == template.replace("{num}", str(layer)) for layer in range(3)):
            return template
    raise UserError(
        f"the module paths of {kind} do not differ by the layer number alone",
        where=first,
        fix="give one path with {num}, as in model.layers.{num}",
    )


def _one_of(noun: str, value: str, options: Collection[str]) -> None:
    if value not in options:
        raise UserError(f"unknown {noun} {value!r}", options=options)


def _at_least(noun: str, value: int, lowest: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < lowest:
        raise UserError(f"{noun} must be a whole number from {lowest} up, not {value!r}")


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


def parse_layer_config(texts: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """Layer type and module path of each `TYPE=PATH`, such as `mlp=model.layers.{num}.mlp`.

    Raises:
        UserError: one of them has no "=".
    """
    pairs = [text.partition("=") for text in texts]
    if wrong := [name for name, sign, _ in pairs if not sign]:
        raise UserError(
            f"cannot read layer config {wrong[0]!r}", options=("mlp=model.layers.{num}.mlp",)
        )
    return tuple((name.strip(), path.strip()) for name, _, path in pairs)
