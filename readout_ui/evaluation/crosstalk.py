"""Cross-talk: which directions of a run point the same way, beyond chance and with intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import false_discovery_control

from readout_ui.evaluation.direction_samples import (
    DirectionSamples,
    observed_cosines,
    sample_directions,
    text_gram,
)
from readout_ui.evaluation.results import (
    CONFIDENCE,
    FALSE_ALARMS,
    Bools,
    CosineMatrix,
    Floats,
    cluster,
)
from readout_ui.progress import Progress, Report, silent
from readout_ui.vectors.training import fit

if TYPE_CHECKING:
    from torch import Tensor

    from readout_ui.vectors.training import Corpus
    from readout_ui.vectors.vectors import ConceptVectors

SAMPLED_LAYERS = 8
"""Layers that intervals and chance are worked out at where all layers are averaged."""
OWN_CONTRASTS = "contrasts of its own"
"""How a run from stories, examples or pairs fits its directions, for `CosineMatrix.method`."""
_LARGEST = 1 - 1e-6
"""Cosines are cut here before arctanh, which has no value at 1."""


def cosine_matrix(
    corpus: Corpus,
    layer: int | None,
    n_boot: int = 200,
    seed: int = 0,
    report: Report = silent,
    own: ConceptVectors | None = None,
) -> CosineMatrix:
    """Cosines between all directions of a layer, ordered by a tree, with intervals and chance.

    The interval is the bootstrap's spread (over descriptions, neutral texts included) on the
    arctanh scale, laid around the observed value: how far the cosine would move with other
    descriptions of the same kind, as many of them. A cell differs from chance if few random
    groupings of the same descriptions give a cosine as far from their mean (5 % false discoveries
    over all cells) and that mean lies outside the interval.

    Args:
        corpus: the run's texts.
        layer: a layer of the model; None averages the cosines over all of them. Intervals and
            marks are then those of the average over `SAMPLED_LAYERS` layers, evenly spread: that
            of more layers varies no more, so they are rather too wide than too narrow.
        n_boot: bootstrap draws.
        seed: of bootstrap and random groupings.
        report: told after every layer where all are averaged.
        own: the run's vectors where its directions do not follow from the corpus by its method,
            as those of contrast pairs; cosines are theirs then.

    Raises:
        UserError: `own` has no such layer.
    """
    layers = range(corpus.n_layers) if layer is None else (layer,)
    sampled = spread_layers(corpus.n_layers) if layer is None else (layer,)
    n_steps = len(sampled) + (len(layers) if len(sampled) < len(layers) else 0)

    def tell(done: int) -> None:
        report(Progress("Comparing directions", done, n_steps, "layers"))

    samples = _mean_samples(corpus, sampled, n_boot, seed, tell)
    observed = None
    if len(sampled) < len(layers):
        observed = _mean_observed(corpus, layers, lambda done: tell(len(sampled) + done))
    matrix = judge_cosines(corpus, samples, layer, observed)
    if own is not None:
        kept = own.layers if layer is None else (layer,)
        cosine = np.mean([cosines_of(own, i) for i in kept], axis=0)
        return replace(_with_cosines(matrix, cosine), method=OWN_CONTRASTS)
    if corpus.linear:
        return matrix
    return _with_cosines(matrix, np.mean([fitted_cosines(corpus, i) for i in layers], axis=0))


def spread_layers(n_layers: int) -> tuple[int, ...]:
    """At most SAMPLED_LAYERS of all layers, each in the middle of an equal part of the depth."""
    n = min(n_layers, SAMPLED_LAYERS)
    return tuple((2 * i + 1) * n_layers // (2 * n) for i in range(n))


def judge_cosines(
    corpus: Corpus, samples: DirectionSamples, layer: int | None, observed: Floats | None = None
) -> CosineMatrix:
    """The matrix of mean differences from cosines that were sampled already.

    Args:
        corpus: the run's texts.
        samples: cosines as observed, resampled and by chance.
        layer: where, None for the mean over all layers.
        observed: (n_concepts, n_concepts), the cosines where the samples are of some layers only.
    """
    cosine = samples.observed if observed is None else observed
    low, high = intervals(cosine, samples.resampled)
    single = np.array([len(rows) < 2 for rows in corpus.groups.rows])  # (n_concepts,)
    unknown = (single[:, None] | single) & ~np.eye(len(cosine), dtype=bool)
    low[unknown], high[unknown] = -1, 1
    chance = samples.shuffled.mean(axis=0)  # (n_concepts, n_concepts)
    differs = _beyond_chance(samples) & ((chance < low) | (chance > high))
    np.fill_diagonal(differs, True)
    order, tree = cluster(cosine)
    return CosineMatrix(
        concepts=corpus.groups.concepts,
        layer=layer,
        order=order,
        linkage=tree,
        cosine=cosine,
        low=low,
        high=high,
        chance=chance,
        differs=differs,
        method=corpus.settings.method,
    )


def fitted_cosines(corpus: Corpus, layer: int) -> Floats:
    """Cosines of the directions that the run's own method fits, (n_concepts, n_concepts)."""
    return _cosines(fit(corpus.at(layer)))


def cosines_of(own: ConceptVectors, layer: int) -> Floats:
    """Cosines of a run's directions as they are, of any length, (n_concepts, n_concepts).

    Raises:
        UserError: the run has no directions of the layer.
    """
    return _cosines(own.select(layers=[layer]).directions)


def _cosines(fitted: Tensor) -> Floats:
    directions = fitted[:, 0].double().numpy()  # (n_concepts, d_model)
    lengths = np.linalg.norm(directions, axis=1, keepdims=True)
    unit = directions / np.maximum(lengths, np.finfo(np.float64).tiny)
    cosines: Floats = np.clip(unit @ unit.T, -1, 1)
    return cosines


def intervals(observed: Floats, resampled: Floats) -> tuple[Floats, Floats]:
    """Ends of the 95 % intervals of cosines, (n, n) each; the observed value where none drawn.

    Args:
        observed: (n, n).
        resampled: (n_boot, n, n).
    """
    low, high = observed.copy(), observed.copy()
    rows, columns = np.triu_indices(len(observed), k=1)
    if not len(resampled) or not len(rows):
        return low, high
    drawn = np.arctanh(np.clip(resampled[:, rows, columns], -_LARGEST, _LARGEST))
    tail = (1 - CONFIDENCE) / 2
    quantiles = np.quantile(drawn, [tail, 0.5, 1 - tail], axis=0)  # (3, n_pairs)
    around = np.arctanh(np.clip(observed[rows, columns], -_LARGEST, _LARGEST)) - quantiles[1]
    ends = np.tanh(around + quantiles[[0, 2]])  # (2, n_pairs)
    for end, matrix in zip(ends, (low, high), strict=True):
        matrix[rows, columns] = matrix[columns, rows] = end
    return low, high


def chance_of(observed: Floats, shuffled: Floats, *, upper: bool = False) -> Floats:
    """For each value the chance that a random grouping gives one as far out, (n_values,).

    Every value is put in standard deviations of its own draws, itself among them (under chance it
    is one of them, so the test is exact), and ranked among the draws of all values together.

    Args:
        observed: (n_values,).
        shuffled: (n_draws, n_values).
        upper: count only draws above.
    """
    values = np.concatenate([observed[None], shuffled]).astype(np.float64)
    values -= values.mean(axis=0)
    spread = values.std(axis=0)
    # Two concepts without neutral texts always have cosine -1: no spread but rounding.
    scores = np.where(spread > 1e-6, values / np.maximum(spread, 1e-6), 0)
    scores = scores if upper else np.abs(scores)
    drawn = np.sort(scores[1:], axis=None)
    above = drawn.size - np.searchsorted(drawn, scores[0], side="left")
    chances: Floats = (1 + above) / (1 + drawn.size)
    return chances


def discoveries(chances: Floats) -> Bools:
    """Which of these p-values (any shape) stand with 5 % false discoveries among them."""
    if not chances.size:
        return np.zeros(chances.shape, dtype=bool)
    kept: Bools = false_discovery_control(chances.ravel()).reshape(chances.shape) <= FALSE_ALARMS
    return kept


def _beyond_chance(samples: DirectionSamples) -> Bools:
    differs = np.zeros(samples.observed.shape, dtype=bool)
    rows, columns = np.triu_indices(len(differs), k=1)
    chances = chance_of(samples.observed[rows, columns], samples.shuffled[:, rows, columns])
    differs[rows, columns] = differs[columns, rows] = discoveries(chances)
    return differs


def _mean_samples(
    corpus: Corpus, layers: Sequence[int], n_boot: int, seed: int, tell: Callable[[int], None]
) -> DirectionSamples:
    """Samples averaged over layers, draw by draw."""
    tell(0)
    total = sample_directions(text_gram(corpus, layers[0]), n_boot, seed).cosines()
    for done, layer in enumerate(layers[1:], start=1):
        tell(done)
        one = sample_directions(text_gram(corpus, layer), n_boot, seed).cosines()
        for mean, part in zip(_arrays(total), _arrays(one), strict=True):
            np.add(mean, part, out=mean)
    for mean in _arrays(total):
        np.divide(mean, len(layers), out=mean)
    return total


def _mean_observed(corpus: Corpus, layers: Sequence[int], tell: Callable[[int], None]) -> Floats:
    total = np.zeros((len(corpus.groups.concepts),) * 2)
    for done, layer in enumerate(layers):
        tell(done)
        total += observed_cosines(corpus, layer)
    cosines: Floats = total / len(layers)
    return cosines


def _arrays(samples: DirectionSamples) -> tuple[Floats, Floats, Floats]:
    return samples.observed, samples.resampled, samples.shuffled


def _with_cosines(matrix: CosineMatrix, cosine: Floats) -> CosineMatrix:
    order, tree = cluster(cosine)
    return replace(matrix, cosine=cosine, order=order, linkage=tree)
