"""Which tokens of two prompts belong together: by position, by characters, or where they agree."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import accumulate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from readout_ui.readout import Readout

POSITION, CHARACTERS, SHARED, NONE = "position", "characters", "shared", "none"
_TEMPLATE = "template"
_BYTE = re.compile(r"<0x([0-9A-F]{2})>")
_SPACES = re.compile(r"[\s·⏎⇥␍▁]+")

Groups = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Alignment:
    """Columns that two prompts share; a column holds tokens of the first, of the second, or both.

    Without any alignment (`kind` "none") both sides have columns of their own.
    """

    kind: str
    """"position": the tokens are equal; "characters": the same text cut into other tokens;
    "shared": other texts, paired where their tokens agree; "none"."""
    first: Groups
    """For each column the tokens of the first prompt, in order; empty where it has none."""
    second: Groups
    """The same for the second prompt."""

    def __post_init__(self) -> None:
        if self.kind != NONE and len(self.first) != len(self.second):
            raise ValueError(f"{len(self.first)} columns beside {len(self.second)}")

    @property
    def paired(self) -> tuple[bool, ...]:
        """(n_columns,), which columns have both; none without an alignment."""
        if self.kind == NONE:
            return ()
        return tuple(bool(a) and bool(b) for a, b in zip(self.first, self.second, strict=True))


def align(first: Readout, second: Readout, *, same_tokenizer: bool) -> Alignment:
    """Pair the tokens of two readouts.

    Args:
        first: one prompt.
        second: the other.
        same_tokenizer: whether equal tokens mean the same; only then are other texts paired.
    """
    if first.tokens == second.tokens and first.roles == second.roles:
        alone = tuple((i,) for i in range(len(first.tokens)))
        return Alignment(POSITION, alone, alone)
    a, b = _content(first), _content(second)
    if a and b and not same_tokenizer:
        spans = align_spans([first.tokens[i] for i in a], [second.tokens[i] for i in b])
        if spans is not None:
            return Alignment(CHARACTERS, _moved(spans[0], a), _moved(spans[1], b))
    if same_tokenizer:
        shared = _align_equal(first, second)
        if any(
            _scored(pair, first) for pair, ok in zip(shared.first, shared.paired, strict=True) if ok
        ):
            return shared
    return Alignment(NONE, *(tuple((i,) for i in range(len(r.tokens))) for r in (first, second)))


def align_spans(first: Sequence[str], second: Sequence[str]) -> tuple[Groups, Groups] | None:
    """The smallest groups of tokens that cover the same characters, None for different texts.

    Spaces count for nothing, because tokenizers differ in them; a token of spaces only belongs to
    the group behind it.

    Args:
        first: visible tokens of the text, loose bytes as "<0xE2>".
        second: the same text, cut otherwise.
    """
    a, b = [_ink(token) for token in first], [_ink(token) for token in second]
    if b"".join(a) != b"".join(b) or not any(a):
        return None
    ends_a, ends_b = list(accumulate(map(len, a))), list(accumulate(map(len, b)))
    cuts = sorted(set(ends_a) & set(ends_b) - {0})
    return _groups(ends_a, cuts), _groups(ends_b, cuts)


def _ink(token: str) -> bytes:
    """The bytes of a visible token that are no space."""
    parts = _BYTE.split(token)
    return b"".join(
        bytes([int(part, 16)]) if index % 2 else _SPACES.sub("", part).encode("utf-8", "replace")
        for index, part in enumerate(parts)
    )


def _groups(ends: Sequence[int], cuts: Sequence[int]) -> Groups:
    """Tokens by the first cut at or behind their end; empty ones go with what follows."""
    groups: list[list[int]] = [[] for _ in cuts]
    place = before = 0
    for token, end in enumerate(ends):
        while end > cuts[place] or (end == before == cuts[place] and place + 1 < len(cuts)):
            place += 1
        groups[place].append(token)
        before = end
    return tuple(tuple(group) for group in groups)


def _moved(groups: Groups, places: Sequence[int]) -> Groups:
    return tuple(tuple(places[i] for i in group) for group in groups)


def _content(readout: Readout) -> list[int]:
    return [i for i, role in enumerate(readout.roles) if role != _TEMPLATE]


def _scored(tokens: Sequence[int], readout: Readout) -> bool:
    return all(bool(readout.scored[i]) for i in tokens)


def _align_equal(first: Readout, second: Readout) -> Alignment:
    """Pair equal tokens of the same speaker in order; all others stand alone."""
    a = list(zip(first.tokens, first.roles, strict=True))
    b = list(zip(second.tokens, second.roles, strict=True))
    columns: list[tuple[tuple[int, ...], tuple[int, ...]]] = []
    for kind, a0, a1, b0, b1 in SequenceMatcher(None, a, b, autojunk=False).get_opcodes():
        if kind == "equal":
            columns += [((i,), (j,)) for i, j in zip(range(a0, a1), range(b0, b1), strict=True)]
        else:
            columns += [((i,), ()) for i in range(a0, a1)]
            columns += [((), (j,)) for j in range(b0, b1)]
    return Alignment(SHARED, tuple(a for a, _ in columns), tuple(b for _, b in columns))
