"""Dot products of one layer's texts with their concepts' sums: leaving texts out in closed form.

With every text taken minus the mean of all, a concept's mean-difference direction is its sum of
texts but for length, and leaving one text out subtracts that text. So what a direction would be
without a text, and how it scores that text then, follows from the dot products kept here.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from readout_ui.vectors.training import Corpus

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class DotProducts:
    """One layer's texts, grouped, and their dot products with every group's sum."""

    concepts: tuple[str, ...]
    """Concept names; the neutral texts are the group after the last."""
    rows: Indices
    """(n_members,): row of the corpus; a text of two concepts is two members."""
    group: Indices
    """(n_members,): index of its concept; n_concepts for neutral texts."""
    texts: Floats
    """(n_members, d_model), minus the mean of all members."""
    squared: Floats
    """(n_members,): squared lengths."""
    with_sums: Floats
    """(n_members, n_concepts + 1): dot products with each group's sum."""
    sums: Floats
    """(n_concepts + 1, n_concepts + 1): dot products of the groups' sums with each other."""

    @cached_property
    def counts(self) -> Floats:
        """(n_concepts + 1,): members of each group."""
        return np.bincount(self.group, minlength=self.n_concepts + 1).astype(np.float64)

    @property
    def n_concepts(self) -> int:
        """Groups that are concepts."""
        return len(self.concepts)

    @cached_property
    def noise(self) -> float:
        """Mean squared distance of a text from its group's true mean."""
        total = self.squared.sum() - (np.diag(self.sums) / np.maximum(self.counts, 1)).sum()
        free = len(self.group) - np.count_nonzero(self.counts)
        return float(max(total, 0.0) / free) if free else float("nan")

    def members(self, concept: int) -> Indices:
        """Places of a concept's members."""
        return np.flatnonzero(self.group == concept)


def layer_dot_products(corpus: Corpus, layer: int) -> DotProducts:
    """All dot products of one layer, for texts of any number.

    Args:
        corpus: the run's texts with their activations.
        layer: which layer, from 0.
    """
    groups = corpus.groups
    members = (*groups.rows, groups.neutral)
    rows = np.array(groups.all_rows(), dtype=np.intp)
    group = np.repeat(np.arange(len(members)), [len(some) for some in members])
    texts = corpus.pooled[rows, layer].double().numpy()  # (n_members, d_model)
    texts -= texts.mean(axis=0)
    starts = np.cumsum([0, *(len(some) for some in members)])
    sums = np.stack(
        [texts[a:b].sum(axis=0) for a, b in pairwise(starts)]
    )  # (n_concepts + 1, d_model)
    return DotProducts(
        concepts=groups.concepts,
        rows=rows,
        group=group,
        texts=texts,
        squared=np.einsum("td,td->t", texts, texts),
        with_sums=texts @ sums.T,
        sums=sums @ sums.T,
    )


@dataclass(frozen=True, eq=False)
class LeftOut:
    """What every direction would be without one text, and what it says of that text."""

    scores: Floats
    """(n_members, n_concepts): projection of each text, minus the mean text, on the directions
    fitted without it; NaN on a concept whose only description it is."""
    standard: Floats
    """The same in standard deviations above the mean of the texts of other concepts."""
    influence: Floats
    """(n_members,): 1 - cosine of its concept's direction with and without it; NaN for neutral
    texts and only descriptions."""
    shift: Floats
    """(n_members, n_concepts): by how much the text raises the cosine of its concept's direction
    with each other one; NaN as above and at the concept itself."""


def leave_out(dots: DotProducts) -> LeftOut:
    """Leave every text out in turn; all at once, from the dot products alone."""
    own_share, own_step = _coefficients(dots)
    scores = _scores(dots, own_share, own_step)
    influence, shift = _moved(dots, own_share, own_step)
    return LeftOut(scores, _standardized(dots, scores), influence, shift)


def _coefficients(dots: DotProducts) -> tuple[Floats, Floats]:
    """A text's direction without it is `share * sum - step * text`, (n_members,) each."""
    counts = dots.counts[dots.group]  # (n_members,)
    others = np.maximum(len(dots.group) - counts, 1)
    with np.errstate(divide="ignore"):
        step = np.where(counts > 1, 1 / (counts - 1), np.nan)
    return step + 1 / others, step


def _scores(dots: DotProducts, own_share: Floats, own_step: Floats) -> Floats:
    n, k = len(dots.group), dots.n_concepts
    counts = dots.counts[:k]
    others = np.maximum(n - counts - 1, 1)
    share = np.broadcast_to(1 / counts + 1 / others, (n, k)).copy()  # (n_members, n_concepts)
    step = np.broadcast_to(-1 / others, (n, k)).copy()
    described = np.flatnonzero(dots.group < k)
    share[described, dots.group[described]] = own_share[described]
    step[described, dots.group[described]] = own_step[described]
    squared, along = dots.squared[:, None], dots.with_sums[:, :k]
    product = share * along - step * squared
    whole = np.diag(dots.sums)[:k]
    lengths = share**2 * whole - 2 * share * step * along + step**2 * squared
    scores: Floats = product / np.sqrt(_positive(lengths))
    return scores


def _standardized(dots: DotProducts, scores: Floats) -> Floats:
    own = dots.group[:, None] == np.arange(dots.n_concepts)  # (n_members, n_concepts)
    others = np.where(own, np.nan, scores)
    standard: Floats = (scores - np.nanmean(others, axis=0)) / _positive(np.nanstd(others, axis=0))
    return standard


def _moved(dots: DotProducts, share: Floats, step: Floats) -> tuple[Floats, Floats]:
    k = dots.n_concepts
    described = dots.group < k
    own = np.where(described, dots.group, 0)
    place = np.arange(len(own))
    whole = np.diag(dots.sums)[own]  # (n_members,)
    along = dots.with_sums[place, own]
    without = _positive(share**2 * whole - 2 * share * step * along + step**2 * dots.squared)
    # 1 - cos = sin^2 / (1 + cos), which keeps its digits where the direction hardly moves.
    sine = step**2 * (dots.squared * whole - along**2) / _positive(whole * without)
    cosine = (share * whole - step * along) / np.sqrt(_positive(whole * without))
    influence = np.maximum(sine, 0) / np.maximum(1 + cosine, 1e-3)
    to_others = dots.sums[:k, :k][own]  # (n_members, n_concepts)
    lengths = np.sqrt(_positive(np.diag(dots.sums)[:k]))
    before = to_others / np.sqrt(_positive(whole))[:, None]
    after = share[:, None] * to_others - step[:, None] * dots.with_sums[:, :k]
    shift = (before - after / np.sqrt(without)[:, None]) / lengths
    shift[place, own] = np.nan
    influence[~described], shift[~described] = np.nan, np.nan
    return influence, shift


def _positive(values: Floats) -> Floats:
    return np.maximum(values, np.finfo(np.float64).tiny)
