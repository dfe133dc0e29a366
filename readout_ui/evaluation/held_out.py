"""Held-out scores of every description on every direction: leave-one-out in closed form."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import csr_array
from scipy.stats import t

from readout_ui.evaluation.crosstalk import chance_of, discoveries
from readout_ui.evaluation.left_out import (
    LayerTexts,
    layer_texts,
    left_out_scores,
    own_coefficients,
)
from readout_ui.evaluation.resampling import Estimate, wilson
from readout_ui.evaluation.results import (
    CONFIDENCE,
    Bools,
    Confusion,
    Floats,
    HeldOutMatrix,
    Indices,
)

if TYPE_CHECKING:
    from readout_ui.vectors.training import Corpus


def own_of_random_groups(texts: LayerTexts, seed: int) -> Floats:
    """Mean held-out score on their own direction of shuffled descriptions.

    What a map holds of the texts is of their true concepts, and goes with each text left out.

    Args:
        texts: of one layer.
        seed: of the shuffling.

    Returns:
        (n_draws, n_concepts); meaningless where a concept has one description.
    """
    n_own = int(texts.counts[:-1].sum())
    sizes = texts.counts[:-1].astype(np.intp)  # (n_concepts,)
    starts, length = _starts(sizes), np.sqrt(np.einsum("td,td->t", texts.texts, texts.texts))
    directions, peculiar = _RandomGroups.of(texts, sizes), texts.peculiar
    read = directions.dots(texts.texts)
    if peculiar is not None:
        apart, images = (directions.less_means(each) for each in (read, directions.own))
        turned, squared = (
            np.einsum("td,td->t", each, peculiar.images) for each in (texts.texts, peculiar.images)
        )
    draws = np.random.default_rng((seed, 1))
    means = np.empty((n_own_draws(len(sizes)), len(sizes)))
    for mean in means:
        shuffled = draws.permutation(n_own)
        scores, squares = directions.read(read, shuffled), directions.squares(shuffled)
        if peculiar is not None:
            added = peculiar.share[shuffled] * directions.read(apart, shuffled)
            scores += added * turned[shuffled]
            squares += 2 * added * directions.read(images, shuffled) + added**2 * squared[shuffled]
        scores /= np.sqrt(np.maximum(squares, 1e-30)) * np.maximum(length[shuffled], 1e-30)
        mean[:] = np.add.reduceat(scores, starts) / sizes
    return means


@dataclass(frozen=True, eq=False)
class _RandomGroups:
    """Directions of descriptions in groups at random, each without one text: share * the sum of its
    group - step * the text - what the group is contrasted with."""

    images: Floats
    """(n_own, d_model): of the descriptions."""
    group: Indices
    """(n_own,): of each place."""
    starts: Indices
    """(n_concepts,): first place of each group."""
    share: Floats
    """(n_own,)."""
    step: Floats
    """(n_own,)."""
    contrasts: Floats | None
    """(n_concepts, d_model), 0 for concepts without contrast texts."""

    @classmethod
    def of(cls, texts: LayerTexts, sizes: Indices) -> _RandomGroups:
        """Groups as large as the concepts are."""
        group, images = np.repeat(np.arange(len(sizes)), sizes), texts.images[: sizes.sum()]
        share, step = (each[: len(group)] for each in own_coefficients(texts))
        contrasts = None if texts.contrasts is None else np.nan_to_num(texts.contrasts)
        return cls(images, group, _starts(sizes), share, step, contrasts)

    def dots(self, vectors: Floats) -> tuple[Floats, Floats | None]:
        """Dot products of a vector for each description with their images and the contrasts."""
        own = vectors[: len(self.images)]
        return own @ self.images.T, None if self.contrasts is None else own @ self.contrasts.T

    def read(self, dots: tuple[Floats, Floats | None], shuffled: Indices) -> Floats:
        """Dot products of each text's vector with the direction of its group without it."""
        products, beside = dots
        found = self.share * self._sums(products, shuffled)
        found -= self.step * np.diagonal(products)[shuffled]
        return found if beside is None else found - beside[shuffled, self.group]

    def squares(self, shuffled: Indices) -> Floats:
        """Squared lengths of the directions, each without its text, (n_own,)."""
        gram, beside = self.own
        sums, own = self._sums(gram, shuffled), np.diagonal(gram)[shuffled]
        whole = np.add.reduceat(sums, self.starts)[self.group]
        found: Floats = self.share**2 * whole - 2 * self.share * self.step * sums
        found += self.step**2 * own
        if self.contrasts is not None and beside is not None:
            along = beside[shuffled, self.group]
            sums = np.add.reduceat(along, self.starts)[self.group]
            found -= 2 * (self.share * sums - self.step * along)
            found += (self.contrasts**2).sum(axis=1)[self.group]
        return found

    def _sums(self, products: Floats, shuffled: Indices) -> Floats:
        """Of each text with all texts of its group, itself included, (n_own,)."""
        first, second, before = self._pairs
        found: Floats = np.add.reduceat(products[shuffled[first], shuffled[second]], before)
        return found

    @cached_property
    def own(self) -> tuple[Floats, Floats | None]:
        """As `dots`, of the images themselves."""
        return self.dots(self.images)

    def less_means(self, dots: tuple[Floats, Floats | None]) -> tuple[Floats, Floats | None]:
        """As `dots`, of each vector minus the mean of those of its concept."""
        sizes = np.bincount(self.group)[:, None]
        products, beside = (
            None
            if some is None
            else some - (np.add.reduceat(some, self.starts) / sizes)[self.group]
            for some in dots
        )
        assert products is not None
        return products, beside

    @cached_property
    def _pairs(self) -> tuple[Indices, Indices, Indices]:
        """Places of every text with every text of its group, (n_pairs,) each, and where those of
        each text begin, (n_own,)."""
        sizes = np.bincount(self.group)[self.group]
        first, before = np.repeat(np.arange(len(sizes)), sizes), _starts(sizes)
        second = np.arange(len(first)) - np.repeat(before, sizes) + self.starts[self.group][first]
        return first, second, before


def n_own_draws(n_concepts: int) -> int:
    """Shuffles that give 20,000 random groups, or as near as 1000 of them come."""
    return min(max(1, 20_000 // max(1, n_concepts)), 1000)


@dataclass(frozen=True, eq=False)
class _HeldOut:
    """Scores of descriptions on directions that were fitted without them."""

    scores: Floats
    """(n_descriptions, n_concepts), standardized by column; NaN on a lone description's own."""
    group: Indices
    """(n_descriptions,): index of each one's concept."""
    sizes: Indices
    """(n_concepts,)."""
    own_chance: Floats
    """(n_concepts,): chance that a random group of the same descriptions scores as high on its own
    direction; NaN for one description."""


def held_out_matrix(corpus: Corpus, layer: int, n_boot: int = 200, seed: int = 0) -> HeldOutMatrix:
    """Mean standardized score of each concept's descriptions on each direction, held out.

    Every description is scored (cosine with the activation minus the mean of all other texts) on
    directions refitted without it (see `left_out`). Scores are standardized per direction over all
    held-out descriptions.

    Intervals come from a bootstrap over a concept's descriptions, widened as Student's t asks for
    so few; on the diagonal also by the square root of two, because there the texts score each
    other. They do not say how the directions would differ with other descriptions.

    Cells differ from 0 at 5 % false discoveries, half of them granted to the diagonal and half to
    the others. Where texts score each other, a mean has a long tail as soon as a few dimensions
    hold most of the variance, as in language models: by Student's t as many as one library in three
    had a false mark there. So the diagonal is compared with random groups of the same
    descriptions. Its intervals remain too short in that case (they covered 0 in 9 of 10 concepts
    where nothing was planted, not in 19 of 20); the marks do not depend on them alone.

    Args:
        corpus: the run's texts.
        layer: a layer of the model.
        n_boot: bootstrap draws.
        seed: of the bootstrap.
    """
    held_out = _hold_out(corpus, layer, seed)
    mean, error = _means(held_out)  # (n_concepts, n_concepts) each
    n_spare = len(held_out.group) - len(mean)
    weights = _resampled(held_out.sizes, n_boot, seed)
    low, high = _intervals(held_out, mean, weights)
    chances = 2 * t.sf(np.abs(mean) / error, max(n_spare, 1))
    chances[np.diag_indices_from(chances)] = held_out.own_chance
    differs = _marked(chances) & ((low > 0) | (high < 0))
    top1, per_concept = _top1(held_out, weights)
    return HeldOutMatrix(
        concepts=corpus.groups.concepts,
        layer=layer,
        mean=mean,
        low=low,
        high=high,
        differs=differs,
        top1=top1,
        per_concept=per_concept,
        chance=1 / len(mean),
        confusions=_confusions(held_out, corpus.groups.concepts, differs & (mean > 0)),
    )


def _hold_out(corpus: Corpus, layer: int, seed: int = 0) -> _HeldOut:
    texts, n_concepts = layer_texts(corpus, layer), len(corpus.groups.concepts)
    own_sizes = texts.counts[:-1].astype(np.intp)
    group = texts.group[texts.group < n_concepts]
    scores = left_out_scores(texts)[: len(group)]
    own = np.add.reduceat(scores[np.arange(len(group)), group], _starts(own_sizes)) / own_sizes
    known = np.isfinite(scores)
    n_known = np.maximum(known.sum(axis=0), 1)
    scores = scores - np.where(known, scores, 0).sum(axis=0) / n_known
    spread = np.sqrt(np.where(known, scores**2, 0).sum(axis=0) / n_known)  # (n_concepts,)
    scores /= np.where(spread > 0, spread, 1)
    several = own_sizes > 1
    chance = np.full(n_concepts, np.nan)
    if several.any():
        drawn = own_of_random_groups(texts, seed)
        chance[several] = chance_of(own[several], drawn[:, several])
    return _HeldOut(scores, group, own_sizes, chance)


def _marked(chances: Floats) -> Bools:
    """Cells with 5 % false discoveries: the diagonal and the others, half of them each."""
    marked, diagonal = np.zeros(chances.shape, bool), np.eye(len(chances), dtype=bool)
    for family in (diagonal, ~diagonal):
        tested = family & np.isfinite(chances)
        marked[tested] = discoveries(np.minimum(2 * chances[tested], 1))
    return marked


def _means(held_out: _HeldOut) -> tuple[Floats, Floats]:
    """Means over each concept's descriptions and their standard errors; infinite for one.

    Few texts can agree by accident, so none counts as less spread than the column on average.
    """
    scores, starts, sizes = held_out.scores, _starts(held_out.sizes), held_out.sizes[:, None]
    mean = np.add.reduceat(scores, starts, axis=0) / sizes  # (n_concepts, n_concepts)
    squares = np.add.reduceat((scores - mean[held_out.group]) ** 2, starts, axis=0)
    pooled = np.nansum(squares, axis=0) / max(1, len(scores) - len(sizes))  # (n_concepts,)
    variance = np.maximum(squares / np.maximum(sizes - 1, 1), pooled)
    error = np.sqrt(variance / sizes)
    error[np.diag_indices_from(error)] *= np.sqrt(2)
    smallest = np.finfo(np.float64).tiny
    return mean, np.where(sizes > 1, np.maximum(error, smallest), np.inf)


def _resampled(sizes: Indices, n_boot: int, seed: int) -> Floats:
    """(n_boot, n_descriptions): parts in the concept's mean, drawn with replacement."""
    draws = np.random.default_rng(seed)
    parts = [draws.multinomial(n, np.full(n, 1 / n), size=n_boot) / n for n in sizes.tolist()]
    return np.concatenate(parts, axis=1)


def _intervals(held_out: _HeldOut, mean: Floats, weights: Floats) -> tuple[Floats, Floats]:
    sizes = held_out.sizes
    bounds = np.append(_starts(sizes), sizes.sum())
    columns = np.arange(sizes.sum())
    shape = (len(sizes), len(columns))
    scores = np.nan_to_num(held_out.scores).astype(np.float32)
    drawn = np.stack(
        [csr_array((part, columns, bounds), shape=shape) @ scores for part in weights.astype("f4")]
    )  # (n_boot, n_concepts, n_concepts)
    tail = (1 - CONFIDENCE) / 2
    ends = np.quantile(drawn, [tail, 1 - tail], axis=0) - drawn.mean(axis=0)
    stretch = np.broadcast_to(_stretch(sizes)[:, None], mean.shape).copy()
    stretch[np.diag_indices_from(stretch)] *= np.sqrt(2)
    lone = np.broadcast_to((sizes < 2)[:, None], mean.shape)
    low, high = mean + ends * stretch  # (n_concepts, n_concepts) each
    return np.where(lone, -np.inf, low), np.where(lone, np.inf, high)


def _stretch(sizes: Indices) -> Floats:
    """From the bootstrap's spread of a mean to that of Student's t, (n_concepts,)."""
    n = np.maximum(sizes, 2)
    quantile = (1 + CONFIDENCE) / 2
    stretch: Floats = np.sqrt(n / (n - 1)) * t.ppf(quantile, n - 1) / t.ppf(quantile, np.inf)
    return stretch


def _best(held_out: _HeldOut) -> Indices:
    """(n_descriptions,): the concept that each scores highest on; -1 where its own is unknown."""
    best = np.nan_to_num(held_out.scores, nan=-np.inf).argmax(axis=1)
    lone: Bools = (held_out.sizes < 2)[held_out.group]
    return np.where(lone, -1, best)


def _top1(held_out: _HeldOut, weights: Floats) -> tuple[Estimate, tuple[Estimate, ...]]:
    hits = (_best(held_out) == held_out.group).astype(np.float64)  # (n_descriptions,)
    starts, sizes = _starts(held_out.sizes), held_out.sizes
    drawn = np.add.reduceat(weights * hits, starts, axis=1)  # (n_boot, n_concepts)
    known = sizes > 1
    rates = np.where(known, np.add.reduceat(hits, starts) / sizes, np.nan)
    per_concept = tuple(
        wilson(round(rate * n), n) if n > 1 else Estimate(np.nan, 0.0, 1.0)
        for rate, n in zip(rates.tolist(), sizes.tolist(), strict=True)
    )
    if not known.any():
        return Estimate(np.nan, 0.0, 1.0), per_concept
    parts = sizes * known / (sizes * known).sum()
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(drawn @ parts, [tail, 1 - tail])
    return Estimate(float(np.nansum(rates * parts)), float(low), float(high)), per_concept


def _confusions(
    held_out: _HeldOut, concepts: tuple[str, ...], answers: Bools
) -> tuple[Confusion, ...]:
    """Which concepts' descriptions score highest on which other direction, most of them first.

    Args:
        held_out: scores.
        concepts: names.
        answers: (n_concepts, n_concepts), whether its texts score beyond chance.
    """
    k, best = len(concepts), _best(held_out)
    counts = np.zeros((k, k), dtype=np.intp)  # (n_concepts, n_concepts)
    np.add.at(counts, (held_out.group[best >= 0], best[best >= 0]), 1)
    np.fill_diagonal(counts, 0)
    sizes = held_out.sizes.tolist()
    found = [
        Confusion(concepts[i], concepts[j], int(counts[i, j]), sizes[i], bool(answers[i, j]))
        for i, j in zip(*np.nonzero(counts), strict=True)
    ]
    return tuple(sorted(found, key=lambda c: (-c.count / c.of, c.concept, c.taken_for)))


def _starts(sizes: Indices) -> Indices:
    starts: Indices = np.cumsum(sizes) - sizes
    return starts
