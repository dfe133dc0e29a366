"""One line that says how to steer: "0.4 calm + -0.2 angry @generated", read and written.

A term is an amount, an operator where it is not "add", and a concept; several are joined by + or -.

    0.4 calm                       add it, 0.4 times the mean length of the residual stream
    12 raw calm:14,16              a plain number, at two layers
    ablate calm, 0.5 ablate calm   take out all or half of it
    0.4 ablate_then_add calm
    clamp calm = 1.5               set its projection
    0.4 "two words" @spans:3-7,12  a name that is no plain word; at which tokens

Without a layer a term acts at the best one, without @ at all tokens.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, NoReturn

from readout_ui.errors import UserError, printable
from readout_ui.inference.steering_setup import (
    OPERATORS,
    Steer,
    SteeringSetup,
    Where,
    parse_span,
    parse_where,
)

if TYPE_CHECKING:
    from readout_ui.runs.run import Run

MOST_CHARACTERS = 20_000
EXAMPLES = ("0.4 calm + -0.2 angry @generated", "ablate calm", "clamp calm:16 = 1.5")
_NUMBER = re.compile(r"[+\-−]?\s*(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
_WORD = re.compile(r"[^\W\d_][\w'-]*")
_LAYERS = re.compile(r":\s*(\d{1,9}(?:-\d{1,9})?(?:\s*,\s*\d{1,9}(?:-\d{1,9})?)*)")
_JOIN = re.compile(r"[+\-−]")
_TIMES = re.compile(r"[*×]")
_SPACE = re.compile(r"\s*")
_RAW = "raw"
_SHARES = ("ablate", "clamp")
"""Operators whose amount is a share of a change, all of it where none is said."""


def parse_recipe(text: str, layers: tuple[int, ...], run: Run | None = None) -> SteeringSetup:
    """The setup that a line means.

    Args:
        text: the line.
        layers: where a term acts that names none, mostly the best layer.
        run: whose concepts and layers may be named; None takes any.

    Raises:
        UserError: what is wrong, at which character, and what could stand there.
    """
    if not text.strip():
        raise UserError("nothing says what to steer with", where="recipe", options=EXAMPLES)
    if len(text) > MOST_CHARACTERS:
        raise UserError("the line is too long", where="recipe", options=EXAMPLES)
    return _Reader(text, layers, run).setup()


def print_recipe(setup: SteeringSetup, layers: tuple[int, ...] = ()) -> str:
    """The line that means this setup; layers are left out where they are those of `layers`.

    Raises:
        UserError: an operator is a function, which no line can name.
    """
    terms = " + ".join(_term(one, layers) for one in setup.steers)
    return terms if setup.where == Where() else f"{terms} @{setup.where}".strip()


def _term(one: Steer, layers: tuple[int, ...]) -> str:
    if callable(one.operator):
        raise UserError(
            "a function cannot be written in a recipe",
            where=f"steering with {one.concept}",
            options=OPERATORS,
        )
    parts = [] if one.operator in _SHARES and one.multiplier == 1 else [_digits(one.multiplier)]
    parts += [] if one.operator == "add" else [one.operator]
    parts += [_RAW] if one.unit == _RAW else []
    name = one.concept if _is_plain(one.concept) else json.dumps(one.concept, ensure_ascii=False)
    at = "" if one.layers == layers else f":{','.join(map(str, one.layers))}"
    value = "" if one.value is None else f" = {_digits(one.value)}"
    return f"{' '.join([*parts, name])}{at}{value}"


def _is_plain(name: str) -> bool:
    """Whether a concept's name is a word that means nothing else here."""
    return bool(_WORD.fullmatch(name)) and name not in (*OPERATORS, _RAW)


def _digits(number: float) -> str:
    """The shortest number that reads back as the same."""
    return repr(float(number)).removesuffix(".0")


class _Reader:
    """Goes through the line once; `place` counts the characters that are read."""

    def __init__(self, text: str, layers: tuple[int, ...], run: Run | None) -> None:
        self.text, self.layers, self.run, self.place = text, layers, run, 0

    def setup(self) -> SteeringSetup:
        steers = [self._steer("")]
        while join := self._take(_JOIN):
            steers.append(self._steer(join))
        return SteeringSetup(tuple(steers), self._where())

    def _steer(self, join: str) -> Steer:
        self._skip()
        start, amount = self.place, self._number(needed=False)
        self._take(_TIMES)
        operator = next((one for one in reversed(OPERATORS) if self._is_word(one)), "add")
        unit = _RAW if self._is_word(_RAW) else "norm"
        if amount is None and operator not in _SHARES:
            self._fail("an amount is missing", start, ("0.4 calm", "-0.2 raw calm", "ablate calm"))
        concept, layers = self._concept(), self._own_layers()
        value = self._value() if operator == "clamp" else None
        sign = -1.0 if join in ("-", "−") else 1.0
        much: Any = sign * (1.0 if amount is None else amount)
        try:
            return Steer(concept, layers, much, unit, operator, value)  # type: ignore[arg-type]
        except UserError as error:
            self._fail(error.what, start, error.options or EXAMPLES)

    def _number(self, *, needed: bool) -> float | None:
        found = self._take(_NUMBER)
        if not found and needed:
            self._fail("a number is missing", self.place, ("0.4", "-2", "1e-3"))
        return float(re.sub(r"\s", "", found).replace("−", "-")) if found else None

    def _concept(self) -> str:
        self._skip()
        start, name = self.place, ""
        if self.text.startswith('"', start):
            try:
                name, self.place = json.JSONDecoder().raw_decode(self.text, start)
            except ValueError:
                self._fail("a quoted name does not end", start, ('"two words"',))
        else:
            name = self._take(_WORD)
        known: Sequence[str] = self.run.concepts if self.run else ()
        if not name:
            self._fail(f"{self._next()} is no concept", start, known[:12] or ("calm",))
        if known and name not in known:
            near = get_close_matches(name, known, 5) or known[:12]
            self._fail(f"concept {printable(name)} was not trained", start, near)
        return name

    def _own_layers(self) -> tuple[int, ...]:
        self._skip()
        start, found = self.place, self._take(_LAYERS)
        if not found:
            if self.text.startswith(":", start):
                self._fail("a layer is missing", start + 1, (":16", ":14,16", ":14-18"))
            return self.layers
        spans = [parse_span(part) for part in found[1:].split(",")]
        if sum(stop - first for first, stop in spans) > MOST_CHARACTERS:
            self._fail("too many layers", start, (":14-18",))
        named = tuple(layer for span in spans for layer in range(*span))
        known = self.run.layers if self.run else named
        if wrong := [layer for layer in named if layer not in known]:
            self._fail(f"layer {wrong[0]} was not trained", start, [str(one) for one in known])
        return named

    def _value(self) -> float | None:
        self._skip()
        if not self.text.startswith("=", self.place):
            self._fail("clamp needs a value", self.place, ("clamp calm = 1.5",))
        self.place += 1
        return self._number(needed=True)

    def _where(self) -> Where:
        self._skip()
        if self.place == len(self.text):
            return Where()
        if not self.text.startswith("@", self.place):
            self._fail(f"{self._next()} does not belong here", self.place, ("+", "-", "@generated"))
        try:
            return parse_where(self.text[self.place + 1 :])
        except UserError as error:
            self._fail(error.what, self.place + 1, [f"@{one}" for one in error.options])

    def _take(self, pattern: re.Pattern[str]) -> str:
        self._skip()
        found = pattern.match(self.text, self.place)
        self.place = found.end() if found else self.place
        return found[0] if found else ""

    def _is_word(self, word: str) -> bool:
        """Take this word if it comes next and is not a part of a longer one."""
        self._skip()
        found = _WORD.match(self.text, self.place)
        if not found or found[0] != word:
            return False
        self.place = found.end()
        return True

    def _skip(self) -> None:
        found = _SPACE.match(self.text, self.place)
        self.place = found.end() if found else self.place

    def _next(self) -> str:
        rest = self.text[self.place :].split()
        return repr(printable(rest[0])) if rest else "the end"

    def _fail(self, what: str, place: int, options: Sequence[str]) -> NoReturn:
        raise UserError(what, where=f"recipe, character {place + 1}", options=options)
