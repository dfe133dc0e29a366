"""Misfits: descriptions that are likelier to belong elsewhere than those of this library are.

A description's margin is the log odds of its own concept against the best of all others, neutral
texts among them, with normal distributions whose covariance is that of the descriptions about their
concepts' means and of neutral tokens (the whitening), averaged over up to five layers. Chance is
what the lowest margin is in libraries whose concepts have each other's deviations at random.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import csr_array

from readout_ui.evaluation.left_out import LayerTexts, layer_texts
from readout_ui.evaluation.results import Floats, Indices
from readout_ui.progress import finished

if TYPE_CHECKING:
    from readout_ui.vectors.training import Corpus

MAD_TO_DEVIATION = 1.4826
FEWEST_TEXTS = 3
"""Texts a concept needs before one of them can be said not to fit the others."""


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
    return finished(misfit_pieces(corpus, seed))


def misfit_pieces(corpus: Corpus, seed: int = 0) -> Generator[None, None, Misfits]:
    """The same in pieces, for who shares the device: many texts take many seconds together."""
    products = []
    for layer in misfit_layers(corpus.n_layers):
        products.append(_Products.of(layer_texts(corpus, layer, "whitened")))
        yield
    found = [each.margins() for each in products]
    total = np.sum([standard for standard, _ in found], axis=0)  # (n_members,)
    tested = np.isfinite(total)
    p = np.ones(len(tested))
    if tested.any():
        lowest = yield from _lowest_margins(products, total, seed)
        p[tested] = _lowest_p(total[tested], lowest)
    against = np.sum([against for _, against in found], axis=0)  # (n_members, n_concepts + 1)
    return Misfits(total / len(products), against.argmax(axis=1), p)


def _lowest_margins(
    products: Sequence[_Products], margins: Floats, seed: int
) -> Generator[None, None, Floats]:
    """The lowest margin of each of some libraries with nothing wrong, summed over layers."""
    draws, n = np.random.default_rng(seed), len(margins)
    n_libraries = int(np.clip(_PRODUCTS / n**2, *_LIBRARIES))
    orders = np.array([_clean_order(margins, draws) for _ in range(n_libraries)])
    n_parts = max(1, orders.size * len(products[0].groups.counts) // _AT_ONCE)
    total = np.zeros(orders.shape)
    for each in products:
        deviations = each.deviations()
        for some in np.array_split(np.arange(n_libraries), n_parts):
            total[some] += deviations.margins(orders[some])
            yield
    lowest: Floats = total[:, np.isfinite(margins)].min(axis=1)
    return lowest


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

    def deviations(self) -> _Deviations:
        """The members' deviations from their groups' means."""
        groups, group = self.groups, self.groups.group
        means = groups.means(self._with_means.T)  # (n_concepts + 1, n_concepts + 1)
        # Deviations from a mean of n texts are too short by (n - 1) / n.
        n = groups.counts[group]
        stretch = np.sqrt(n / np.maximum(n - 1, 1))
        across = self._with_means[:, group]
        apart = self.gram - across
        apart -= across.T
        apart += means[np.ix_(group, group)]
        apart *= stretch[:, None]
        apart *= stretch
        return _Deviations(
            groups, means, (self._with_means - means[group]) * stretch[:, None], apart
        )


@dataclass(frozen=True, eq=False)
class _Deviations:
    """Dot products of the members' deviations from their groups' means, for new assignments."""

    groups: _Groups
    means: Floats
    """(n_concepts + 1, n_concepts + 1): of the means with each other."""
    moved: Floats
    """(n_members, n_concepts + 1): of deviations with means."""
    apart: Floats
    """(n_members, n_members): of deviations with each other."""

    def margins(self, orders: Indices) -> Floats:
        """As `_Groups.margins`, of libraries whose groups' means have others' deviations.

        Args:
            orders: whose deviation each member gets, (n_libraries, n_members).
        """
        groups, group = self.groups, self.groups.group
        found = self.means[group] + self.moved[orders]  # (n_libraries, n_members, n_concepts + 1)
        for number, order in enumerate(orders):
            found[number] += groups.means(self.moved[order].T)[group]
            found[number] += self._with_groups(order)[order]
        own = self.moved[orders, group]
        length = self.means[group, group] + 2 * own + np.diagonal(self.apart)[orders]
        return groups.margins(found, length)[0]

    def _with_groups(self, order: Indices) -> Floats:
        """Mean product of each deviation with each group's new ones, (n_members, n_groups)."""
        counts = self.groups.counts
        weights = 1 / counts[self.groups.group]
        starts = np.concatenate([[0], np.cumsum(counts)]).astype(int)
        assigned = csr_array((weights, order, starts), shape=(len(counts), len(order)))
        products: Floats = (assigned @ self.apart).T
        return products


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
