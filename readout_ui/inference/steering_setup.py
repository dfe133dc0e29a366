"""Steering setups: which concepts push where and how hard, as data that a file can keep.

A setup names concepts, not directions: the directions come from the run in use. It belongs to one
model, because layers and lengths of another model mean something else.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, get_args

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from readout_ui.errors import UserError

NamedOperator = Literal["add", "ablate", "ablate_then_add", "clamp"]
Unit = Literal["norm", "raw"]
Kind = Literal["all", "prompt", "generated", "from", "spans"]
OPERATORS: tuple[str, ...] = get_args(NamedOperator)
UNITS: tuple[str, ...] = get_args(Unit)
KINDS: tuple[str, ...] = get_args(Kind)
WHERE_EXAMPLES = ("all", "prompt", "generated", "from:12", "spans:3-7,12")
MAX_BYTES = 1_000_000
if TYPE_CHECKING:
    from torch import Tensor

    Operator = NamedOperator | Callable[[Tensor, Tensor], Tensor]
else:  # What a file may hold; own functions come from Python only.
    Operator = NamedOperator
FORMAT: Literal["readout-studio steering setup"] = "readout-studio steering setup"
_SPAN = re.compile(r"(\d{1,9})(?:\s*-\s*(\d{1,9}))?")
_WHOLE = re.compile(r"\d{1,9}")

Number = Annotated[float, Field(allow_inf_nan=False)]
Position = Annotated[int, Field(ge=0)]


@dataclass(frozen=True)
class Where:
    """Which tokens are steered; position 0 is the prompt's first token."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    kind: Kind = "all"
    """"all", "prompt", "generated", "from" a position on, or "spans" of positions."""
    start: Position = 0
    """First steered position of "from"."""
    spans: tuple[tuple[Position, Position], ...] = ()
    """(first, after the last) positions of "spans"."""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UserError(f"cannot steer {self.kind!r}", where="where", options=WHERE_EXAMPLES)
        if self.start < 0 or any(not 0 <= first < stop for first, stop in self.spans):
            raise UserError("token positions count from 0 up", where="where")
        if (self.kind == "spans") != bool(self.spans):
            raise UserError(
                "spans need at least one token, and only spans have them",
                where="where",
                options=WHERE_EXAMPLES,
            )

    def __str__(self) -> str:
        """As `parse_where` reads it."""
        if self.kind == "from":
            return f"from:{self.start}"
        if self.kind == "spans":
            return f"spans:{','.join(_span_text(*span) for span in self.spans)}"
        return self.kind


def parse_where(text: str) -> Where:
    """all, prompt, generated, from:12 or spans:3-7,12 (the last token is included).

    Raises:
        UserError: anything else; the forms are named.
    """
    kind, _, rest = text.strip().lower().partition(":")
    if kind == "from" and _WHOLE.fullmatch(rest.strip()):
        return Where("from", start=int(rest))
    if kind == "spans":
        return Where("spans", spans=tuple(parse_span(part) for part in rest.split(",")))
    if rest or kind not in ("all", "prompt", "generated"):
        raise UserError(f"cannot steer {text.strip()[:40]!r}", options=WHERE_EXAMPLES)
    return Where("all" if kind == "all" else "prompt" if kind == "prompt" else "generated")


def as_where(where: Where | str) -> Where:
    """A choice of tokens, also where it is written as text."""
    return parse_where(where) if isinstance(where, str) else where


@dataclass(frozen=True, repr=False)
class Steer:
    """One concept's part of a setup.

    >>> ro.Steer("calm", layers=(16,), multiplier=0.5).describe()
    'add calm +0.5 x norm at layer 16'
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    concept: str
    """Whose direction."""
    layers: tuple[Position, ...]
    """Layers whose output is changed, each by its own direction."""
    multiplier: Number = 1.0
    """How much: for "add" and "ablate_then_add" the length that is added, in `unit`; for "ablate"
    and "clamp" the share of the change that is made, 1 for all of it. 0 does nothing at all."""
    unit: Unit = "norm"
    """"norm": the mean length of the residual stream at that layer; "raw": the plain number."""
    operator: Operator = "add"
    """"add" the direction, "ablate" the projection on it, "ablate_then_add", or "clamp" the
    projection to `value`; or a function of activation and multiplied direction that gives what is
    added, as in steering-vectors."""
    value: Number | None = None
    """The projection that "clamp" sets, in `unit`; None for the other operators."""

    def __post_init__(self) -> None:
        where = f"steering with {self.concept}"
        for value, options in ((self.operator, OPERATORS), (self.unit, UNITS)):
            if value not in options and not callable(value):
                raise UserError(f"{value!r} is not known", where=where, options=options)
        if not self.layers or len(set(self.layers)) != len(self.layers) or min(self.layers) < 0:
            raise UserError("choose at least one layer, each once", where=where)
        for number in (self.multiplier, self.value or 0.0):
            if not -1e6 <= number <= 1e6:
                raise UserError("a number is not between -1000000 and 1000000", where=where)
        if (self.operator == "clamp") != (self.value is not None):
            raise UserError("clamp needs a value, and only clamp has one", where=where)

    def __repr__(self) -> str:
        return f"<Steer: {self.describe()}>"

    def describe(self) -> str:
        """One line for people."""
        layers = ", ".join(map(str, self.layers))
        unit = "x norm" if self.unit == "norm" else "raw"
        amount = f"{self.multiplier:+g} {unit}"
        if self.operator == "ablate":
            amount = f"{self.multiplier:g} of the projection"
        if self.operator == "clamp":
            amount = f"to {self.value:+g} {unit}" + (
                "" if self.multiplier == 1 else f", {self.multiplier:g} of the way"
            )
        own = getattr(self.operator, "__name__", "an own operator")
        word = own if callable(self.operator) else self.operator.replace("_", " ")
        return f"{word} {self.concept} {amount} at layer {layers}"


@dataclass(frozen=True, repr=False)
class SteeringSetup:
    """Everything that is done to the model while it runs.

    >>> setup = ro.SteeringSetup((ro.Steer("calm", (16,), 0.2), ro.Steer("angry", (16,), -0.1)))
    >>> readout.generate("How was your day?", setup, max_new_tokens=4).finish
    'length'
    """

    steers: tuple[Steer, ...]
    """Applied in this order where several meet at a layer."""
    where: Where = Where()
    """Which tokens all of them change."""

    def __repr__(self) -> str:
        return f"<SteeringSetup: {self.describe()}>"

    def scaled(self, factor: float) -> SteeringSetup:
        """The same setup with every multiplier times `factor`; 0 is no steering."""
        steers = tuple(replace(one, multiplier=one.multiplier * factor) for one in self.steers)
        return SteeringSetup(steers, self.where)

    @property
    def active(self) -> tuple[Steer, ...]:
        """The steers that do something."""
        return tuple(one for one in self.steers if one.multiplier)

    @property
    def layers(self) -> tuple[int, ...]:
        """Every layer that any of them names, ascending."""
        return tuple(sorted({layer for one in self.steers for layer in one.layers}))

    def describe(self) -> str:
        """One line for people."""
        return "; ".join([*(one.describe() for one in self.steers), f"tokens: {self.where}"])


def setup_of(
    multipliers: Mapping[str, float],
    layers: tuple[int, ...],
    where: Where | str = "all",
    *,
    operator: Operator = "add",
    unit: Unit = "norm",
    value: float | None = None,
) -> SteeringSetup:
    """A setup that treats several concepts alike but for their multipliers.

    Raises:
        UserError: no concept, or something a `Steer` refuses.
    """
    if not multipliers:
        raise UserError("no concept is named to steer with", fix='name one, as in {"calm": 0.5}')
    steers = [
        Steer(concept, layers, float(multiplier), unit, operator, value)
        for concept, multiplier in multipliers.items()
    ]
    return SteeringSetup(tuple(steers), as_where(where))


@dataclass(frozen=True)
class _File:
    """A setup on disk."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    format: Literal["readout-studio steering setup"]
    schema_version: Literal[1]
    model: str
    model_fingerprint: str
    steers: tuple[Steer, ...]
    where: Where


_FILE = TypeAdapter(_File)


def setup_json(setup: SteeringSetup, model: str, fingerprint: str) -> str:
    """A setup as the text of a file.

    Args:
        setup: what to keep.
        model: name of the model it is for.
        fingerprint: identity of that model's weights.
    """
    if own := [one for one in setup.steers if callable(one.operator)]:
        raise UserError(
            "a function cannot be kept in a file",
            where=f"steering with {own[0].concept}",
            fix="keep the Python code that makes the setup, or use a named operator",
            options=OPERATORS,
        )
    file = _File(FORMAT, 1, model, fingerprint, setup.steers, setup.where)
    return json.dumps(asdict(file), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def parse_setup(raw: bytes, name: str, model: str, fingerprint: str) -> SteeringSetup:
    """The setup that `setup_json` wrote, for the loaded model.

    Args:
        raw: content of the file.
        name: how the file is called in a message.
        model: name of the model that would be steered.
        fingerprint: identity of its weights.

    Raises:
        UserError: no setup, an unknown key or value, or a setup of another model.
    """
    if len(raw) > MAX_BYTES:
        raise UserError(f"the file has {len(raw)} bytes, too many for a setup", where=name)
    try:
        file = _FILE.validate_json(raw)
    except ValidationError as error:
        raise UserError(_first_fault(error), where=name) from error
    except UserError as error:
        where = f"{name}: {error.where}"
        raise UserError(error.what, where=where, options=error.options) from error
    if file.model != model:
        raise UserError(
            f"the setup is for {file.model}, the model here is {model}",
            where=name,
            fix=f"load {file.model}, or set up the steering for {model} anew",
        )
    if file.model_fingerprint != fingerprint:
        raise UserError(
            f"the setup is for other weights of {model} (another revision or dtype)",
            where=name,
            fix="load the same weights, or set up the steering anew",
        )
    return SteeringSetup(file.steers, file.where)


def load_setup(path: Path, model: str, fingerprint: str) -> SteeringSetup:
    """The setup in a file; UserError where it cannot be read or is for another model."""
    try:
        raw = path.expanduser().read_bytes()
    except OSError as error:
        raise UserError(f"cannot be read ({error.strerror})", where=str(path)) from error
    return parse_setup(raw, str(path), model, fingerprint)


def parse_factors(text: str) -> tuple[float, ...]:
    """-2..2:9 (from, to, how many) or a list such as -1,0,0.5; ascending, each once.

    Raises:
        UserError: it is neither; between 2 and 50 factors from -100 to 100.
    """
    try:
        factors = _range(text) if ".." in text else [float(part) for part in text.split(",")]
    except ValueError:
        factors = []
    kept = sorted({round(factor, 6) + 0.0 for factor in factors if abs(factor) <= 100})
    if not 2 <= len(kept) <= 50 or len(kept) < len(set(factors)):
        raise UserError(
            f"cannot sweep over {text.strip()[:40]!r}",
            fix="name 2 to 50 factors between -100 and 100",
            options=("-2..2:9", "-1,0,0.5,1"),
        )
    return tuple(kept)


def _range(text: str) -> list[float]:
    ends, _, count = text.partition(":")
    low, high = (float(end) for end in ends.split(".."))
    steps = int(count or 9)
    if not 2 <= steps <= 50 or not low < high:
        raise ValueError(text)
    return [low + (high - low) * i / (steps - 1) for i in range(steps)]


def parse_span(part: str) -> tuple[int, int]:
    """3-7 (the last is included) or 12, as (first, after the last); UserError for others."""
    match = _SPAN.fullmatch(part.strip())
    if match is None:
        raise UserError(f"{part.strip()[:40]!r} is no span of tokens", options=WHERE_EXAMPLES)
    first = int(match[1])
    last = int(match[2] or first)
    if last < first:
        raise UserError(f"the span {part.strip()} ends before it begins", options=WHERE_EXAMPLES)
    return first, last + 1


def _span_text(first: int, stop: int) -> str:
    return str(first) if stop == first + 1 else f"{first}-{stop - 1}"


def _first_fault(error: ValidationError) -> str:
    fault: Any = error.errors()[0]
    place = ".".join(str(part) for part in fault["loc"])
    return f"{place}: {fault['msg']}" if place else f"not a steering setup ({fault['msg']})"
