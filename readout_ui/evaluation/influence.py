"""Influence: what each description does to its concept's direction, and which of them do not fit.

Everything is judged on mean-difference directions, whatever method the vectors are trained with:
leaving a text out then has a closed form (see `leave_one_out`). A description's scores are those of
directions that were fitted without it, in standard deviations above the texts of other concepts.

A mark compares a description with its concept's other ones, and the difference with what is usual
in the library: three tests (own score too low, another concept's score too high against its own,
influence too high), each a robust z against Student's t, corrected for the number of comparisons.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy import stats

from readout_ui.evaluation.results import Rows
from readout_ui.vectors.blas import single_thread

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


FALSE_ALARM = 0.05
"""At most this part of libraries with nothing wrong has a description marked as an outlier; the
same holds, separately, for marks of influence."""
MAD_TO_DEVIATION = 1.4826
MAD_EFFICIENCY = 0.37
"""A median absolute deviation knows as much as the standard deviation of 0.37 times the texts."""
USUAL = (95.0, 1.96)
"""Percentile of the residuals' sizes, and where it stands in a normal distribution."""
FEWEST_TEXTS = 3
"""Texts a concept needs before one of them can be said not to fit the others."""
_SMALLEST_VARIANCE = 1e-12


@dataclass(frozen=True)
class Influence:
    """What one description does to its concept's direction at one layer."""

    concept: str
    index: int
    """Which description of the concept, from 0."""
    text: str
    influence: float
    """1 - cosine of the direction with and without this text; NaN where it is the only one."""
    own: float
    """Score on its concept when left out, in standard deviations above the other concepts'
    texts; NaN where it is the only one."""
    siblings: float
    """Mean of the same over the concept's other descriptions; NaN where there is none."""
    pull: str | None
    """The concept whose direction this text brings its own closest to; None without another."""
    pull_score: float
    """Score on that concept, in the unit of `own`."""
    pull_shift: float
    """By how much the text raises the cosine between the two directions."""
    p: float
    """Chance of an own score so low or another one so high in a library with nothing wrong,
    corrected for the number of descriptions and concepts."""
    influence_p: float
    """The same for so high an influence."""

    @property
    def outlier(self) -> bool:
        """Whether the text does not fit its concept's other ones."""
        return self.p <= FALSE_ALARM

    @property
    def heavy(self) -> bool:
        """Whether the text decides more of the direction than descriptions usually do."""
        return self.influence_p <= FALSE_ALARM

    def note(self) -> str:
        """One line to stand beside the text; empty where there is nothing to say."""
        if self.outlier and self.pull is not None and self.pull_score > self.own:
            return (
                f"Pulls towards {self.pull}: held out, it scores {self.pull_score:.1f} there and "
                f"{self.own:.1f} here, where the others score {self.siblings:.1f}."
            )
        if self.outlier:
            return (
                f"Unlike the others: held out, it scores {self.own:.1f} on {self.concept}, they "
                f"score {self.siblings:.1f}."
            )
        if self.heavy:
            return f"Influence {self.influence:.2f}: leaving it out moves the direction most."
        return ""


def influence(corpus: Corpus, layer: int) -> Rows[Influence]:
    """Every concept's descriptions in order, judged at one layer; neutral texts are not.

    Args:
        corpus: the run's texts with their activations.
        layer: which layer, from 0.
    """
    with single_thread():
        dots = layer_dot_products(corpus, layer)
        return influences_of(dots, leave_out(dots), corpus.texts)


def influences_of(dots: DotProducts, left_out: LeftOut, texts: tuple[str, ...]) -> Rows[Influence]:
    """The same from given dot products; `texts` are the corpus's."""
    p, influence_p = _outlier_p(dots, left_out.standard), _heavy_p(dots, left_out.influence)
    siblings = _sibling_means(dots, left_out.standard)  # (n_members, n_concepts)
    judged = []
    for concept, name in enumerate(dots.concepts):
        for index, place in enumerate(dots.members(concept)):
            pull = _strongest_pull(left_out.shift[place])
            judged.append(
                Influence(
                    concept=name,
                    index=index,
                    text=texts[dots.rows[place]],
                    influence=float(left_out.influence[place]),
                    own=float(left_out.standard[place, concept]),
                    siblings=float(siblings[place, concept]),
                    pull=None if pull is None else dots.concepts[pull],
                    pull_score=_at(left_out.standard[place], pull),
                    pull_shift=_at(left_out.shift[place], pull),
                    p=float(p[place]),
                    influence_p=float(influence_p[place]),
                )
            )
    return Rows(judged)


def _strongest_pull(shifts: Floats) -> int | None:
    return None if np.isnan(shifts).all() else int(np.nanargmax(shifts))


def _at(values: Floats, concept: int | None) -> float:
    return float("nan") if concept is None else float(values[concept])


def _sibling_means(dots: DotProducts, values: Floats) -> Floats:
    """For each text the mean of its group's other ones, of the shape of `values`."""
    sums = np.zeros((dots.n_concepts + 1, *values.shape[1:]))
    np.add.at(sums, dots.group, values)
    counts = dots.counts[dots.group].reshape(-1, *(1,) * (values.ndim - 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        means: Floats = np.where(counts > 1, (sums[dots.group] - values) / (counts - 1), np.nan)
    return means


def _residuals(dots: DotProducts, values: Floats) -> Floats:
    """Texts against their siblings' mean, of equal variance for groups of any size.

    NaN for neutral texts and for concepts with fewer than FEWEST_TEXTS.
    """
    counts = dots.counts[dots.group]
    usable = (dots.group < dots.n_concepts) & (counts >= FEWEST_TEXTS)
    scale = np.where(usable, np.sqrt((counts - 1) / counts), np.nan)
    residuals: Floats = (values - _sibling_means(dots, values)) * scale.reshape(
        -1, *(1,) * (values.ndim - 1)
    )
    return residuals


def _outlier_p(dots: DotProducts, standard: Floats) -> Floats:
    """(n_members,): corrected p of a low own score or of a high one elsewhere; 1 untested."""
    place = np.arange(len(standard))
    own_column = np.where(dots.group < dots.n_concepts, dots.group, 0)
    residuals = _residuals(dots, standard)  # (n_members, n_concepts)
    own = residuals[place, own_column]  # (n_members,)
    # Along some directions texts differ more than along others, and alike directions move
    # together: each comparison is in its own deviation before all are measured in one.
    spread = _covariance(residuals)  # (n_concepts, n_concepts)
    each = np.diag(spread)
    low = upper_p(-(own / np.sqrt(each)[own_column])[:, None], dots)[:, 0]
    together = np.maximum(each[:, None] + each - 2 * spread, _SMALLEST_VARIANCE)
    elsewhere = (residuals - own[:, None]) / np.sqrt(together)[own_column]
    elsewhere[place, own_column] = np.nan
    high = upper_p(elsewhere, dots).min(axis=1, initial=1.0)
    n_tests = 2
    p: Floats = np.minimum(1.0, n_tests * np.minimum(low, high))
    return p


def _covariance(residuals: Floats) -> Floats:
    known = residuals[np.isfinite(residuals).all(axis=1)]
    spread = known.T @ known / max(1, len(known))  # (n_concepts, n_concepts)
    spread[np.diag_indices_from(spread)] += _SMALLEST_VARIANCE
    return spread


def _heavy_p(dots: DotProducts, influence: Floats) -> Floats:
    logs = np.log(np.maximum(influence, np.finfo(np.float64).tiny))
    return upper_p(_residuals(dots, logs)[:, None], dots)[:, 0]


def upper_p(residuals: Floats, dots: DotProducts) -> Floats:
    """Corrected chance of residuals so high, of their shape; 1 where there is none.

    Each column is measured in its own robust deviation. Few texts make that uncertain, so the
    comparison is with Student's t; the correction is Bonferroni's over all finite residuals.

    Args:
        residuals: (n_members, n_columns), about 0 where nothing is wrong.
        dots: whose members they are.
    """
    known = np.isfinite(residuals)
    p = np.ones(residuals.shape)
    if not known.any():
        return p
    tested = known.any(axis=1)
    n_groups = len(np.unique(dots.group[tested]))
    freedom = max(1.0, MAD_EFFICIENCY * (tested.sum() - n_groups))
    sizes = np.where(known, np.abs(residuals), np.nan)
    deviation = _deviation(sizes[:, known.any(axis=0)])
    z = residuals[:, known.any(axis=0)] / np.maximum(deviation, np.finfo(np.float64).tiny)
    p[:, known.any(axis=0)] = np.where(np.isnan(z), 1.0, stats.t.sf(z, freedom))
    corrected: Floats = np.minimum(1.0, p * known.sum())
    return corrected


def _deviation(sizes: Floats) -> Floats:
    """Robust deviation of each column: the larger of two, so that long tails raise no alarm."""
    percentile, normal = USUAL
    deviation: Floats = np.maximum(
        MAD_TO_DEVIATION * np.nanmedian(sizes, axis=0),
        np.nanpercentile(sizes, percentile, axis=0) / normal,
    )
    return deviation
