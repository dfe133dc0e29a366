"""Two readouts side by side: the same concepts, tokens aligned, one unit, and the difference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from readout_ui.errors import UserError
from readout_ui.readout import BoolArray, FloatArray, Readout
from readout_ui.token_alignment import CHARACTERS, NONE, POSITION, SHARED, Alignment, Groups, align

KINDS = ("z", "cosine")
"""Units that can be compared between runs; raw dot products cannot."""
ORDERS = ("difference", "peak", "alphabet")


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

    def counted(self) -> FloatArray:
        """All scores of both sides that count, for one colour scale."""
        parts = [side.scores[side.scored] for side in (self.first, self.second)]
        counted: FloatArray = np.concatenate(parts).ravel()
        return counted[np.isfinite(counted)]


def compare(
    first: Readout,
    second: Readout,
    kind: str,
    layers: tuple[int, int],
    *,
    same_tokenizer: bool,
    alignment: Alignment | None = None,
) -> Comparison:
    """Put two readouts side by side.

    Args:
        first: one readout.
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
        _side(readout, groups, kind, layer, concepts)
        for readout, groups, layer in zip(
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


def _side(readout: Readout, groups: Groups, kind: str, layer: int, concepts: Sequence[str]) -> Side:
    nearest = readout.nearest_layer(layer)
    part = readout.select(layers=[nearest], concepts=concepts)
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


def order_rows(comparison: Comparison, order: str) -> tuple[str, ...]:
    """The concepts, sorted.

    Args:
        comparison: what is shown.
        order: "difference" puts the largest one first (without any, the highest peak), "peak" the
            highest score of either side, "alphabet" sorts by name.
    """
    if order not in ORDERS:
        raise UserError(f"'{order}' is no order", options=ORDERS)
    if order == "alphabet":
        return tuple(sorted(comparison.concepts, key=str.casefold))
    ranked = np.argsort(-_peaks(comparison, order), kind="stable")
    return tuple(comparison.concepts[i] for i in ranked)


def _peaks(comparison: Comparison, order: str) -> FloatArray:
    """What decides the order, (n_concepts,)."""
    difference = comparison.difference
    if order == "difference" and difference is not None and comparison.both_scored.any():
        moved: FloatArray = np.abs(difference[comparison.both_scored]).max(axis=0)
        return moved
    sides = (comparison.first, comparison.second)
    counted = [side.scores[side.scored] for side in sides if side.scored.any()]
    if not counted:
        return np.zeros(len(comparison.concepts), np.float32)
    highest: FloatArray = np.concatenate(counted).max(axis=0)
    return highest


def neutral_band(comparison: Comparison) -> tuple[float, float]:
    """Where a score says nothing: z from -2 to 2; cosines within one standard deviation of 0.

    The cosines are those shown: both sides, all concepts, every column that counts.
    """
    if comparison.kind == "z":
        return -2.0, 2.0
    counted = comparison.counted()
    spread = float(np.sqrt(np.mean(counted**2))) if counted.size else 0.0
    return -spread, spread


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
