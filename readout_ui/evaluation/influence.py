"""Influence: what each description does to its concept's direction, and which of them do not fit.

Influence and scores are those of the run's own method where its directions are mean differences of
texts under a linear map, else of plain mean differences (see `left_out`).

A description does not fit where it is likelier to belong to another concept, or to the neutral
texts, than descriptions of this library are: its margin is the log odds of its own concept against
the best of all others, with normal distributions whose covariance is that of the descriptions about
their concepts' means and of neutral tokens (the whitening), averaged over up to five layers. Chance
is what the lowest margin is in libraries whose concepts have each other's deviations at random.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from readout_ui.evaluation.left_out import (
    LayerTexts,
    LeftOut,
    layer_texts,
    leave_out,
)
from readout_ui.evaluation.results import Floats, Indices, Rows
from readout_ui.vectors.blas import single_thread

if TYPE_CHECKING:
    from readout_ui.vectors.training import Corpus

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
    like: str
    """What it reads most like besides its concept: another one, or "" for the neutral texts."""
    margin: float
    """Log odds of its own concept against that, in robust standard deviations of all texts'."""
    p: float
    """Chance that a library with nothing wrong has any margin so low."""
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
        if self.outlier:
            like = f"{self.like} than of {self.concept}" if self.like else "nothing in particular"
            return (
                f"Reads more like a text of {like}: held out, it scores {self.own:.1f} on "
                f"{self.concept}, the others {self.siblings:.1f}."
            )
        if self.heavy:
            return f"Influence {self.influence:.2f}: leaving it out moves the direction most."
        return ""


def influence(corpus: Corpus, layer: int) -> Rows[Influence]:
    """Every concept's descriptions in order, judged at one layer; neutral texts are not.

    Args:
        corpus: the run's texts with their activations.
        layer: which layer, from 0; whether a text fits is judged at several.
    """
    with single_thread():
        texts = layer_texts(corpus, layer)
        return influences_of(texts, leave_out(texts), corpus, find_misfits(corpus))


def influences_of(
    texts: LayerTexts, left_out: LeftOut, corpus: Corpus, misfits: Misfits
) -> Rows[Influence]:
    """The same from a layer's texts left out already."""
    influence_p = _heavy_p(texts, left_out.influence)
    siblings = _sibling_means(texts, left_out.standard)  # (n_members, n_concepts)
    names = (*texts.concepts, "")
    judged = []
    for concept, name in enumerate(texts.concepts):
        for index, place in enumerate(texts.members(concept)):
            pull = _strongest_pull(left_out.shift[place])
            judged.append(
                Influence(
                    concept=name,
                    index=index,
                    text=corpus.texts[texts.rows[place]],
                    influence=float(left_out.influence[place]),
                    own=float(left_out.standard[place, concept]),
                    siblings=float(siblings[place, concept]),
                    pull=None if pull is None else names[pull],
                    pull_score=_at(left_out.standard[place], pull),
                    pull_shift=_at(left_out.shift[place], pull),
                    like=names[misfits.like[place]],
                    margin=float(misfits.margin[place]),
                    p=float(misfits.p[place]),
                    influence_p=float(influence_p[place]),
                )
            )
    return Rows(judged)


@dataclass(frozen=True, eq=False)
class Misfits:
    """How well every member fits its group."""

    margin: Floats
    """(n_members,): log odds of its concept against the best other group, standardized and averaged
    over layers; NaN for neutral texts and concepts of fewer than FEWEST_TEXTS."""
    like: Indices
    """(n_members,): that other group, n_concepts for the neutral texts."""
    p: Floats
    """(n_members,): chance that a library with nothing wrong has any margin so low; 1 untested."""


def find_misfits(corpus: Corpus, seed: int = 0) -> Misfits:
    """Compare every description with its own concept, all others and the neutral texts.

    Args:
        corpus: the run's texts with their activations at all layers.
        seed: of the libraries with nothing wrong.
    """
    products = [
        _Products.of(layer_texts(corpus, layer, "whitened"))
        for layer in misfit_layers(corpus.n_layers)
    ]
    found = [each.margins() for each in products]
    total = np.sum([standard for standard, _ in found], axis=0)  # (n_members,)
    tested = np.isfinite(total)
    p = np.ones(len(tested))
    if tested.any():
        p[tested] = _lowest_p(total[tested], _lowest_margins(products, total, seed))
    against = np.sum([against for _, against in found], axis=0)  # (n_members, n_concepts + 1)
    return Misfits(total / len(products), against.argmax(axis=1), p)


def _lowest_margins(products: Sequence[_Products], margins: Floats, seed: int) -> Floats:
    """The lowest margin of each of some libraries with nothing wrong, summed over layers."""
    draws, n = np.random.default_rng(seed), len(margins)
    n_libraries = int(np.clip(_PRODUCTS / n**2, *_LIBRARIES))
    orders = np.array([_clean_order(margins, draws) for _ in range(n_libraries)])
    lowest = []
    n_numbers = orders.size * len(products[0].groups.counts)
    for some in np.array_split(orders, max(1, n_numbers // _AT_ONCE)):
        total = np.sum([each.shuffled_margins(some) for each in products], axis=0)
        lowest.append(total[:, np.isfinite(margins)].min(axis=1))
    return np.concatenate(lowest)


def misfit_layers(n_layers: int) -> tuple[int, ...]:
    """At most five layers, evenly spread over the part of the depth that tells concepts apart."""
    return tuple(sorted({round(part * (n_layers - 1)) for part in np.linspace(*_DEPTHS, 5)}))


_DEPTHS = (0.33, 0.77)
_DOUBTFUL = 0.05
"""Part of the descriptions, those with the lowest margins, that may be wrong."""
_LIBRARIES = (40, 100)
"""Fewest and most libraries with nothing wrong ..."""
_PRODUCTS = 2e7
"""... of which so many dot products are looked at where there are many texts."""
_AT_ONCE = 500_000
"""Dot products that are looked at together."""


def _clean_order(margins: Floats, draws: np.random.Generator) -> Indices:
    """Whose deviation each member gets in a library with nothing wrong, (n_members,).

    Those of the lowest margins may be wrong in this one, so others stand in for them.

    Args:
        margins: (n_members,), NaN for members that keep their own.
        draws: of the order.
    """
    own = np.flatnonzero(np.isfinite(margins))
    n_left_out = int(np.ceil(_DOUBTFUL * len(own)))
    lowest = own[np.argsort(margins[own])]
    order = draws.permutation(own)
    doubtful = np.isin(order, lowest[:n_left_out])
    order[doubtful] = draws.choice(lowest[n_left_out:], doubtful.sum())
    whole = np.arange(len(margins))
    whole[own] = order
    return whole


@dataclass(frozen=True, eq=False)
class _Groups:
    """Which members, one after the other, belong to which group."""

    group: Indices
    counts: Floats
    """(n_concepts + 1,)."""

    def means(self, products: Floats) -> Floats:
        """Mean over each group's members of the last axis, (..., n_concepts + 1)."""
        ends = np.cumsum(self.counts).astype(int)
        used = self.counts > 0
        sums = np.add.reduceat(products, (ends - self.counts.astype(int))[used], axis=-1)
        means = np.zeros((*products.shape[:-1], len(self.counts)))
        means[..., used] = sums / self.counts[used]
        return means

    def margins(self, with_means: Floats, length: Floats) -> tuple[Floats, Floats]:
        """Log odds of each text's own group, fitted without it, against the others.

        Args:
            with_means: dot products of texts with their groups' means, (..., n_members,
                n_concepts + 1), of one library or several.
            length: of texts with themselves, (..., n_members).

        Returns:
            (..., n_members) against the best other one, in robust standard deviations, NaN for
            those that are not tested; (..., n_members, n_concepts + 1) of each other one against
            the own.
        """
        counts, group, n = self.counts, self.group, self.counts[self.group]
        place = np.arange(len(group))
        own = with_means[..., place, group]
        squared = self.means(own)  # lengths of the groups' means, (..., n_concepts + 1)
        within = length.sum(axis=-1) - (counts * squared).sum(axis=-1)
        noise = within[..., None] / max(len(group) - np.count_nonzero(counts), 1)
        # A mean of n texts is longer than the true one by the noise over n.
        density = with_means - ((squared - noise / np.maximum(counts, 1)) / 2)[..., None, :]
        density[..., counts == 0] = -np.inf
        left = np.maximum(n - 1, 1)
        along = (n * own - length) / left
        lengths = (n**2 * squared[..., group] - 2 * n * own + length) / left**2
        own_density = along - (lengths - noise / left) / 2
        against = density - own_density[..., None]
        against[..., place, group] = -np.inf
        tested = (group < len(counts) - 1) & (n >= FEWEST_TEXTS)
        return _robust(np.where(tested, -against.max(axis=-1), np.nan)), against


@dataclass(frozen=True, eq=False)
class _Products:
    """Dot products in the whitened space, of texts whose groups lie one after the other."""

    gram: Floats
    """(n_members, n_members)."""
    groups: _Groups

    @classmethod
    def of(cls, texts: LayerTexts) -> _Products:
        return cls(texts.texts @ texts.images.T, _Groups(texts.group, texts.counts))

    @cached_property
    def _with_means(self) -> Floats:
        return self.groups.means(self.gram)  # (n_members, n_concepts + 1)

    def margins(self) -> tuple[Floats, Floats]:
        """As `_Groups.margins`."""
        return self.groups.margins(self._with_means, np.diagonal(self.gram))

    def shuffled_margins(self, orders: Indices) -> Floats:
        """The same of libraries whose groups' means have others' deviations.

        Args:
            orders: whose deviation each member gets, (n_libraries, n_members).
        """
        groups, group = self.groups, self.groups.group
        means = groups.means(self._with_means.T)  # (n_concepts + 1, n_concepts + 1)
        # Deviations from a mean of n texts are too short by (n - 1) / n.
        n = groups.counts[group]
        stretch = np.sqrt(n / np.maximum(n - 1, 1))
        moved = (self._with_means - means[group]) * stretch[:, None]  # deviations with means
        across = self._with_means[:, group]
        apart = self.gram - across - across.T + means[np.ix_(group, group)]
        apart *= stretch[:, None] * stretch  # deviations with deviations
        found = means[group] + moved[orders]  # (n_libraries, n_members, n_concepts + 1)
        for number, order in enumerate(orders):
            found[number] += groups.means(moved[order].T)[group]
            found[number] += groups.means(apart[:, order])[order]
        own = moved[orders, group]
        length = means[group, group] + 2 * own + np.diagonal(apart)[orders]
        return groups.margins(found, length)[0]


def _robust(values: Floats) -> Floats:
    """Values (..., n) in robust standard deviations from their median; NaN stays."""
    known = ~np.isnan(values).all(axis=tuple(range(values.ndim - 1)))  # (n,)
    standard = np.full(values.shape, np.nan)
    if not known.any():
        return standard
    apart = values[..., known] - np.median(values[..., known], axis=-1, keepdims=True)
    spread = MAD_TO_DEVIATION * np.median(np.abs(apart), axis=-1, keepdims=True)
    standard[..., known] = apart / np.maximum(spread, np.finfo(np.float64).tiny)
    return standard


def _lowest_p(values: Floats, lowest: Floats) -> Floats:
    """Chance that a library's lowest value is below each of these, by Gumbel's distribution.

    Args:
        values: (n,).
        lowest: (n_libraries,), what it was in libraries with nothing wrong.
    """
    scale = max(float(lowest.std()) * np.sqrt(6) / np.pi, 1e-9)
    place = float(lowest.mean()) + np.euler_gamma * scale
    p: Floats = -np.expm1(-np.exp(np.minimum((values - place) / scale, 500.0)))
    return p


def _strongest_pull(shifts: Floats) -> int | None:
    return None if np.isnan(shifts).all() else int(np.nanargmax(shifts))


def _at(values: Floats, concept: int | None) -> float:
    return float("nan") if concept is None else float(values[concept])


def _sibling_means(texts: LayerTexts, values: Floats) -> Floats:
    """For each text the mean of its group's other ones, of the shape of `values`."""
    sums = np.zeros((texts.n_concepts + 1, *values.shape[1:]))
    np.add.at(sums, texts.group, values)
    counts = texts.counts[texts.group].reshape(-1, *(1,) * (values.ndim - 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        means: Floats = np.where(counts > 1, (sums[texts.group] - values) / (counts - 1), np.nan)
    return means


def _residuals(texts: LayerTexts, values: Floats) -> Floats:
    """Texts against their siblings' mean, of equal variance for groups of any size.

    NaN for neutral texts and for concepts with fewer than FEWEST_TEXTS.
    """
    counts = texts.counts[texts.group]
    usable = (texts.group < texts.n_concepts) & (counts >= FEWEST_TEXTS)
    scale = np.where(usable, np.sqrt((counts - 1) / counts), np.nan)
    residuals: Floats = (values - _sibling_means(texts, values)) * scale.reshape(
        -1, *(1,) * (values.ndim - 1)
    )
    return residuals


def _heavy_p(texts: LayerTexts, influence: Floats) -> Floats:
    logs = np.log(np.maximum(influence, np.finfo(np.float64).tiny))
    return upper_p(_residuals(texts, logs)[:, None], texts)[:, 0]


def upper_p(residuals: Floats, texts: LayerTexts) -> Floats:
    """Corrected chance of residuals so high, of their shape; 1 where there is none.

    Each column is measured in its own robust deviation. Few texts make that uncertain, so the
    comparison is with Student's t; the correction is Bonferroni's over all finite residuals.

    Args:
        residuals: (n_members, n_columns), about 0 where nothing is wrong.
        texts: whose members they are.
    """
    known = np.isfinite(residuals)
    p = np.ones(residuals.shape)
    if not known.any():
        return p
    tested = known.any(axis=1)
    n_groups = len(np.unique(texts.group[tested]))
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
