"""Cohesion: whether a concept's texts stand for one thing, enough for it, and for its own thing.

All estimates are of what endless descriptions by the same writer would show: dot products of two
different texts have no noise in their mean, so a concept's true squared length and the true
cosine of two concepts follow from them, and the jackknife over descriptions gives their errors.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from readout_ui.evaluation.left_out import LayerTexts
from readout_ui.evaluation.results import Floats

FEWEST_TEXTS = 3
"""Descriptions below which a concept says nothing of its own errors."""
SAME_COSINE = 0.9
"""Two concepts count as one where their estimated true cosine is at least this ..."""
DIFFERENT_COSINE = 0.5
"""... and one no higher than this is ruled out."""
GOOD_ALIGNMENT = 0.7
"""Cosine with the true direction below which a direction wants more descriptions."""
_N_GROUPS = 1000
_MOST_RESIDUALS = 800
_TAIL_FREEDOM = 30
"""Largest shares have a longer upper tail than a normal distribution."""


@dataclass(frozen=True)
class Pair:
    """Two concepts whose directions may be one."""

    first: str
    second: str
    cosine: float
    """Estimated true cosine of the two concepts' means; above 1 by chance."""
    error: float
    """Its standard error."""
    told_apart: float
    """Part of both concepts' descriptions that, left out, are nearer to their own concept."""
    p: float
    """That the true cosine is DIFFERENT_COSINE or less, corrected for the pairs tested."""

    @property
    def same(self) -> bool:
        """Whether nothing here tells the two apart; that p is small is for the caller to ask."""
        return self.cosine >= SAME_COSINE


@dataclass(frozen=True)
class Halves:
    """A concept whose texts differ from each other along one line more than texts do."""

    concept: str
    share: float
    """Part of the texts' squared distance from their mean that lies along it."""
    usual: float
    """Mean of the same over groups of as many texts' residuals from all concepts."""
    one: tuple[int, ...]
    other: tuple[int, ...]
    """Which descriptions lie on either side, the smaller side second."""
    p: float
    """That groups of residuals have so large a share, corrected for the concepts tested."""


@dataclass(frozen=True)
class Alignment:
    """How well a concept's direction is known."""

    concept: str
    n_texts: int
    cosine: float
    """Estimated cosine of the direction with that of endless descriptions; NaN below 3 texts."""
    doubled: float
    """The same with twice as many descriptions."""
    p: float
    """That it is GOOD_ALIGNMENT or more, corrected for the concepts tested; 0 below 3 texts."""


def nearest_pairs(texts: LayerTexts, standard: Floats) -> tuple[Pair, ...]:
    """Concepts that are each other's nearest, highest cosine first.

    Args:
        texts: of one layer.
        standard: (n_members, n_concepts), scores of texts left out, in comparable units.
    """
    cosines = _true_cosines(texts)
    if not np.isfinite(cosines).any():
        return ()
    nearest = np.where(np.isfinite(cosines), cosines, -np.inf).argmax(axis=1)  # (n_concepts,)
    mutual = [
        (a, int(b))
        for a, b in enumerate(nearest)
        if a < b and nearest[b] == a and np.isfinite(cosines[a, b])
    ]
    pairs = [_pair(texts, standard, a, b, len(mutual)) for a, b in mutual]
    return tuple(sorted(pairs, key=lambda pair: -pair.cosine))


def halves(texts: LayerTexts, seed: int = 0) -> tuple[Halves, ...]:
    """Every concept of at least four descriptions, tested for falling into two.

    Args:
        texts: of one layer.
        seed: of the groups of residuals it is compared with.
    """
    sizes = texts.counts[: texts.n_concepts].astype(int)
    tested = [concept for concept, size in enumerate(sizes) if size >= 4]
    if len(tested) < 3:
        return ()
    gram = _residual_gram(texts, seed)
    chance = {size: _chance_shares(gram, size, seed) for size in {int(sizes[c]) for c in tested}}
    return tuple(
        _halves(texts, concept, chance[int(sizes[concept])], len(tested)) for concept in tested
    )


def alignments(texts: LayerTexts) -> tuple[Alignment, ...]:
    """How well each concept's direction is known, in the concepts' order."""
    counts = texts.counts[: texts.n_concepts]
    n_tested = max(1, int((counts >= FEWEST_TEXTS).sum()))
    return tuple(_alignment(texts, c, n_tested) for c in range(texts.n_concepts))


def _bias(texts: LayerTexts) -> float:
    """Taking off the mean text lowers each product of two texts by this."""
    return texts.noise / len(texts.group)


def _squared_lengths(texts: LayerTexts) -> Floats:
    """True squared lengths of the concepts' means, (n_concepts,); NaN below FEWEST_TEXTS."""
    counts = texts.counts[: texts.n_concepts]
    diagonal = np.diag(texts.sums)[: texts.n_concepts]
    squared = np.bincount(texts.group, texts.squared, len(texts.counts))[:-1]
    with np.errstate(divide="ignore", invalid="ignore"):
        lengths = (diagonal - squared) / (counts * (counts - 1)) + _bias(texts)
    usable: Floats = np.where(counts >= FEWEST_TEXTS, lengths, np.nan)
    return usable


def _true_cosines(texts: LayerTexts) -> Floats:
    k = texts.n_concepts
    counts, squared = texts.counts[:k], _squared_lengths(texts)
    across = texts.sums[:k, :k] / (counts[:, None] * counts) + _bias(texts)
    with np.errstate(invalid="ignore"):
        lengths = np.sqrt(np.where(squared > 0, squared, np.nan))
    cosines: Floats = across / (lengths[:, None] * lengths)
    cosines[np.diag_indices(k)] = np.nan
    return cosines


def _pair(texts: LayerTexts, standard: Floats, a: int, b: int, n_pairs: int) -> Pair:
    cosine = float(_true_cosines(texts)[a, b])
    moved = np.concatenate([_cosines_without(texts, a, b), _cosines_without(texts, b, a)])
    error = _jackknife_error(moved[: len(texts.members(a))], moved[len(texts.members(a)) :])
    freedom = len(moved) - 2
    p = float(stats.t.sf((cosine - DIFFERENT_COSINE) / error, freedom)) if error > 0 else 1.0
    mine, theirs = texts.members(a), texts.members(b)
    right = np.concatenate(
        [standard[mine, a] > standard[mine, b], standard[theirs, b] > standard[theirs, a]]
    )
    names = texts.concepts
    return Pair(names[a], names[b], cosine, error, float(right.mean()), min(1.0, p * n_pairs))


def _cosines_without(texts: LayerTexts, a: int, b: int) -> Floats:
    """The pair's cosine without each text of `a` in turn; 0 where it cannot be told."""
    place = texts.members(a)
    n_a, n_b = texts.counts[a], texts.counts[b]
    squared, bias = texts.squared[place], _bias(texts)
    whole = texts.sums[a, a] - 2 * texts.with_sums[place, a] + squared
    within = (whole - (squared.sum() - squared)) / ((n_a - 1) * (n_a - 2)) + bias
    across = (texts.sums[a, b] - texts.with_sums[place, b]) / ((n_a - 1) * n_b) + bias
    other = _squared_lengths(texts)[b]
    usable = within > 0
    cosines: Floats = np.where(usable, across / np.sqrt(np.where(usable, within, 1) * other), 0.0)
    return cosines


def _jackknife_error(*parts: Floats) -> float:
    """Of an estimate whose samples are independent, from its values without each member."""
    variances = [(len(p) - 1) / len(p) * ((p - p.mean()) ** 2).sum() for p in parts]
    return float(np.sqrt(sum(variances)))


def _residual_gram(texts: LayerTexts, seed: int) -> Floats:
    """Dot products of texts' residuals from their concepts' means, scaled to the noise's length."""
    counts = texts.counts[texts.group]
    usable = np.flatnonzero((texts.group < texts.n_concepts) & (counts >= 4))
    if len(usable) > _MOST_RESIDUALS:
        draws = np.random.default_rng(seed)
        usable = np.sort(draws.choice(usable, _MOST_RESIDUALS, replace=False))
    group = texts.group[usable]
    residuals = np.stack(
        [
            texts.images[place] - texts.images[texts.members(g)].mean(axis=0)
            for place, g in zip(usable, group, strict=True)
        ]
    )
    residuals *= np.sqrt(counts[usable] / (counts[usable] - 1))[:, None]
    gram: Floats = residuals @ residuals.T  # (n_residuals, n_residuals)
    return gram


def _chance_shares(gram: Floats, size: int, seed: int) -> Floats:
    """Largest shares of random groups of `size` residuals, (_N_GROUPS,)."""
    draws = np.random.default_rng((seed, size))
    keys = draws.random((_N_GROUPS, len(gram)))
    chosen = np.argpartition(keys, min(size, len(gram) - 1), axis=1)[:, :size]
    return _shares(gram[chosen[:, :, None], chosen[:, None, :]])


def _shares(grams: Floats) -> Floats:
    """Largest eigenvalue's share of each centred Gram matrix (..., n, n)."""
    values = np.linalg.eigvalsh(_centred(grams))
    shares: Floats = values[..., -1] / np.maximum(values.sum(axis=-1), np.finfo(np.float64).tiny)
    return shares


def _centred(grams: Floats) -> Floats:
    rows = grams - grams.mean(axis=-1, keepdims=True)
    centred: Floats = rows - rows.mean(axis=-2, keepdims=True)
    return centred


def _halves(texts: LayerTexts, concept: int, chance: Floats, n_tested: int) -> Halves:
    images = texts.images[texts.members(concept)]
    gram = _centred(images @ images.T)
    values, vectors = np.linalg.eigh(gram)
    share = float(values[-1] / max(values.sum(), np.finfo(np.float64).tiny))
    sides = [np.flatnonzero(vectors[:, -1] > 0), np.flatnonzero(vectors[:, -1] <= 0)]
    one, other = sorted((tuple(side.tolist()) for side in sides), key=len, reverse=True)
    logs = np.log(chance)
    z = (np.log(share) - logs.mean()) / max(float(logs.std()), np.finfo(np.float64).tiny)
    p = min(1.0, float(stats.t.sf(z, _TAIL_FREEDOM)) * n_tested)
    name = texts.concepts[concept]
    return Halves(name, share, float(chance.mean()), one, other, p)


def _alignment(texts: LayerTexts, concept: int, n_tested: int) -> Alignment:
    name, n = texts.concepts[concept], int(texts.counts[concept])
    if n < FEWEST_TEXTS:
        return Alignment(name, n, float("nan"), float("nan"), 0.0)
    place, bias = texts.members(concept), _bias(texts)
    squared = texts.squared[place]
    signal = float(_squared_lengths(texts)[concept])
    noise = max((squared.sum() - texts.sums[concept, concept] / n) / (n - 1), 0.0)
    whole = texts.sums[concept, concept] - 2 * texts.with_sums[place, concept] + squared
    without = (whole - (squared.sum() - squared)) / ((n - 1) * (n - 2)) + bias
    error = _jackknife_error(without)
    wanted = noise / n * GOOD_ALIGNMENT**2 / (1 - GOOD_ALIGNMENT**2)
    p = float(stats.t.cdf((signal - wanted) / error, n - 1)) if error > 0 else 1.0
    signal = max(signal, 0.0)
    cosine, doubled = (float(np.sqrt(signal / max(signal + noise / m, 1e-300))) for m in (n, 2 * n))
    return Alignment(name, n, cosine, doubled, min(1.0, p * n_tested))
