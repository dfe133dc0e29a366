"""Two readings side by side: the same concepts, tokens aligned, one unit, and the difference.

Which tokens of two prompts belong together: by position, by characters, or where they agree.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import accumulate

import numpy as np

from readout_ui.errors import UserError
from readout_ui.inference.reading import BoolArray, FloatArray, Reading

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


def align(first: Reading, second: Reading, *, same_tokenizer: bool) -> Alignment:
    """Pair the tokens of two readings.

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


def _content(reading: Reading) -> list[int]:
    return [i for i, role in enumerate(reading.roles) if role != _TEMPLATE]


def _scored(tokens: Sequence[int], reading: Reading) -> bool:
    return all(bool(reading.scored[i]) for i in tokens)


def _align_equal(first: Reading, second: Reading) -> Alignment:
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


KINDS = ("z", "cosine")
"""Units that can be compared between runs; raw dot products cannot."""


@dataclass(frozen=True, eq=False)
class Side:
    """One of the two, column by column."""

    tokens: tuple[str, ...]
    """What stands in each column; empty where this side has nothing there."""
    roles: tuple[str, ...]
    """Who says it; where this side has nothing, who says it on the other."""
    scored: BoolArray
    """(n_columns,), which columns count."""
    scores: FloatArray
    """(n_columns, n_concepts), mean over the tokens of a column; NaN where there is none."""
    layer: int
    """Which layer was read."""


@dataclass(frozen=True, eq=False)
class Comparison:
    """Two sides in one unit."""

    kind: str
    """The unit, one of KINDS."""
    concepts: tuple[str, ...]
    """Those both sides have."""
    left_out: tuple[str, ...]
    """Concepts that only one side has."""
    alignment: str
    """How the columns were found; with "none" each side has its own."""
    first: Side
    second: Side
    difference: FloatArray | None
    """Second less first, (n_columns, n_concepts), NaN in columns that only one side has."""

    @property
    def n_paired(self) -> int:
        """Columns with a difference."""
        if self.difference is None or not self.concepts:
            return 0
        return int(np.isfinite(self.difference[:, 0]).sum())

    @property
    def both_scored(self) -> BoolArray:
        """(n_columns,), where the difference counts."""
        return self.first.scored & self.second.scored


def compare(
    first: Reading,
    second: Reading,
    kind: str,
    layers: tuple[int, int],
    *,
    same_tokenizer: bool,
    alignment: Alignment | None = None,
) -> Comparison:
    """Put two readings side by side.

    Args:
        first: one reading.
        second: the other; the difference is this one less the first.
        kind: the unit, one of KINDS.
        layers: the layer of each; the nearest one there is.
        same_tokenizer: whether both come from one model.
        alignment: what `align` gave for the two before, if it did.

    Raises:
        UserError: they have no concept in common, or the unit cannot be compared.
    """
    if kind not in KINDS:
        raise UserError(f"'{kind}' cannot be compared between runs", options=KINDS)
    concepts = tuple(name for name in first.concepts if name in second.concepts)
    if not concepts:
        raise UserError(
            "the two runs have no concept in common", fix="choose runs of the same concepts"
        )
    found = alignment or align(first, second, same_tokenizer=same_tokenizer)
    a, b = (
        _side(reading, groups, kind, layer, concepts)
        for reading, groups, layer in zip(
            (first, second), (found.first, found.second), layers, strict=True
        )
    )
    if found.kind != NONE:
        a, b = _with_roles_of(a, b), _with_roles_of(b, a)
    return Comparison(
        kind=kind,
        concepts=concepts,
        left_out=tuple(sorted(set(first.concepts) ^ set(second.concepts))),
        alignment=found.kind,
        first=a,
        second=b,
        difference=None if found.kind == NONE else b.scores - a.scores,
    )


def _side(reading: Reading, groups: Groups, kind: str, layer: int, concepts: Sequence[str]) -> Side:
    nearest = reading.nearest_layer(layer)
    part = reading.select(layers=[nearest], concepts=concepts)
    scores = part.scores(kind)[:, 0, :]  # (n_tokens, n_concepts)
    return Side(
        tokens=tuple("".join(part.tokens[i] for i in group) for group in groups),
        roles=tuple(part.roles[group[0]] if group else "" for group in groups),
        scored=np.array([bool(g) and all(part.scored[i] for i in g) for g in groups], np.bool_),
        scores=_means(scores, groups),
        layer=nearest,
    )


def _means(scores: FloatArray, groups: Groups) -> FloatArray:
    """Mean of each group of rows, NaN for an empty one."""
    sizes = np.array([len(group) for group in groups], np.intp)
    rows = np.array([i for group in groups for i in group], np.intp)
    sums = np.zeros((len(groups), scores.shape[1]), np.float64)
    np.add.at(sums, np.repeat(np.arange(len(groups)), sizes), scores[rows])
    sums[sizes == 0] = np.nan
    return (sums / np.maximum(sizes, 1)[:, None]).astype(np.float32)


def _with_roles_of(side: Side, other: Side) -> Side:
    roles = tuple(own or theirs for own, theirs in zip(side.roles, other.roles, strict=True))
    return Side(side.tokens, roles, side.scored, side.scores, side.layer)


def alignment_words(comparison: Comparison, same_model: bool) -> str:
    """One sentence: how the tokens of the two were put together."""
    n = len(comparison.first.tokens)
    if comparison.alignment == POSITION:
        return f"Both have the same {n:,} tokens: compared position by position."
    if comparison.alignment == CHARACTERS:
        return (
            "The two models cut the text into different tokens: compared by the characters they "
            f"cover, {n:,} columns, means where a column has several tokens. Template tokens are "
            "left out."
        )
    if comparison.alignment == SHARED:
        return (
            f"The prompts differ: the difference is shown for the {comparison.n_paired:,} of "
            f"{n:,} columns where both have the same token; the others stand on one side only."
        )
    why = "have no tokens in common" if same_model else "are not the same text"
    return f"The prompts {why}: side by side, each with its own tokens, without a difference."
