"""Redundancy: what of a direction the others already say, and whether a concept is one thing."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import lapack

from readout_ui.evaluation.crosstalk import chance_of, discoveries, judge_cosines
from readout_ui.evaluation.direction_samples import (
    DirectionSamples,
    TextGram,
    sample_directions,
    text_gram,
)
from readout_ui.evaluation.frames import Rows
from readout_ui.evaluation.results import (
    CONFIDENCE,
    FALSE_ALARMS,
    CosineMatrix,
    Floats,
    Indices,
    Neighbour,
    Redundancy,
)
from readout_ui.vectors.blas import single_thread

if TYPE_CHECKING:
    from readout_ui.vectors.training import Corpus

RIDGE = 0.1
"""Penalty of the fit on unit directions: a copy of another direction has R2 0.99."""
N_NEAREST = 3
_FITS = 100
"""Bootstrap draws that R2 is fitted on: with 200 concepts each takes milliseconds."""
_GROUPINGS = 200
"""Random groups that the chance of a first component's share is read from."""


def redundancy(corpus: Corpus, layer: int, n_boot: int = 200, seed: int = 0) -> Rows[Redundancy]:
    """For each concept its nearest three, ridge R2 from the others, and first component's share.

    All of it is about mean differences. R2 is the part of the direction's squared length that a
    ridge fit on the other concepts explains, see `ridge_r2`; random groups explain some of each
    other too: `r2_chance`. The first component is that of the concept's texts minus the mean of
    all others, uncentred: near 1 where all texts differ in the same way.

    Args:
        corpus: the run's texts.
        layer: a layer of the model.
        n_boot: bootstrap draws.
        seed: of bootstrap and random groupings.
    """
    texts = text_gram(corpus, layer)
    samples = sample_directions(texts, n_boot, seed)
    cosines = judge_cosines(corpus, samples.cosines(), layer)
    observed, low, high, chance, differs = _explained(samples, texts)
    lone = texts.sizes[: len(observed)] < 2
    shares, limits = _component_shares(texts, seed)
    return Rows(
        Redundancy(
            concept=name,
            nearest=_nearest(cosines, i),
            r2=float(observed[i]),
            r2_low=0.0 if lone[i] else float(low[i]),
            r2_high=1.0 if lone[i] else float(high[i]),
            r2_chance=float(chance[i]),
            r2_differs=bool(differs[i] and not lone[i]),
            first_component_share=float(shares[i]),
            share_chance=float(limits[i]),
        )
        for i, name in enumerate(cosines.concepts)
    )


def ridge_r2(dots: Floats, ratio: Floats) -> Floats:
    """Part of each direction's squared length that the other concepts explain, (n_concepts,).

    Directions are differences from each other's texts: with no neutral texts they add up to zero,
    and any of them would follow from the rest. So concept i is fitted by the other concepts' means
    from which, like from its own, the mean of all texts but i's is taken off. With unit directions
    u of Gram matrix C these are u_j + r_j u_i, r_j = ratio_i |a_i| / |a_j|, where a_i is the
    concept's mean minus that of all texts; so all fits follow from one inverse of C + RIDGE.

    Args:
        dots: (n_concepts, n_concepts), between the directions.
        ratio: (n_concepts,), the concept's number of texts over that of all others.
    """
    lengths = np.sqrt(np.maximum(np.diagonal(dots), np.finfo(dots.dtype).tiny)) / (1 + ratio)
    scale = 1 / (lengths * (1 + ratio))
    cosines = dots * scale[:, None] * scale  # (n_concepts, n_concepts)
    inverse = _inverse(cosines + RIDGE * np.eye(len(dots), dtype=dots.dtype))
    inverse_part = inverse / np.diagonal(inverse)
    off = ~np.eye(len(dots), dtype=bool)
    # Column i of each: the fit of direction i by the others, and the same with 1 / |a_j| as target.
    fit = np.where(off, -inverse_part, 0)
    with_lengths = inverse @ (1 / lengths)  # (n_concepts,)
    other_fit = np.where(off, with_lengths[:, None] - inverse_part * with_lengths, 0)
    other_fit *= ratio * lengths
    unexplained = 1 - (fit * cosines).sum(axis=0)  # (n_concepts,)
    shared = (other_fit * cosines).sum(axis=0)
    weights = other_fit + fit * (1 + shared) / unexplained
    target = np.where(off, cosines + ratio * lengths / lengths[:, None], 0)
    dot = (weights * target).sum(axis=0)  # (n_concepts,)
    r2: Floats = dot / (1 + dot) + RIDGE * (weights**2).sum(axis=0) / (1 + dot) ** 2
    return np.clip(r2, 0, 1)


def _inverse(matrix: Floats) -> Floats:
    """Of a symmetric positive definite matrix, by its Cholesky factor, in its own precision."""
    factorise, invert = lapack.get_lapack_funcs(("potrf", "potri"), (matrix,))
    factor, failed = factorise(matrix)
    if failed:  # rounding can take what little a copy of another direction has of its own
        return np.linalg.inv(matrix)
    upper = np.triu(invert(factor, overwrite_c=True)[0])
    inverse: Floats = upper + np.triu(upper, 1).T
    return inverse


def _explained(samples: DirectionSamples, texts: TextGram) -> tuple[Floats, ...]:
    """R2 with interval, chance and whether it is above, (n_concepts,) each."""
    own = texts.sizes[: texts.n_concepts].astype(np.float64)
    ratio = own / (texts.sizes.sum() - own)
    observed = ridge_r2(samples.observed, ratio)
    # Hundreds of fits: in single precision, which the penalty makes safe.
    small = ratio.astype(np.float32)
    with single_thread():
        shuffled = np.array([ridge_r2(dots, small) for dots in samples.shuffled])
        resampled = np.array([ridge_r2(dots, small) for dots in samples.resampled[:_FITS]])
    tail = (1 - CONFIDENCE) / 2
    low, middle, high = np.quantile(resampled, [tail, 0.5, 1 - tail], axis=0)
    low, high = (np.clip(end + observed - middle, 0, 1) for end in (low, high))
    chance = shuffled.mean(axis=0)
    differs = discoveries(chance_of(observed, shuffled, upper=True)) & (low > chance)
    return observed, low, high, chance, differs


def _nearest(cosines: CosineMatrix, concept: int) -> tuple[Neighbour, ...]:
    ranks = np.argsort(-cosines.cosine[concept], kind="stable")
    others = [int(i) for i in ranks if i != concept][:N_NEAREST]
    return tuple(
        Neighbour(
            cosines.concepts[i],
            float(cosines.cosine[concept, i]),
            float(cosines.low[concept, i]),
            float(cosines.high[concept, i]),
            bool(cosines.differs[concept, i]),
        )
        for i in others
    )


def _component_shares(texts: TextGram, seed: int) -> tuple[Floats, Floats]:
    """Share of each concept and what 95 % of random groups of its size stay below."""
    sizes = texts.sizes[: texts.n_concepts].tolist()
    sums = texts.gram.sum(axis=1, dtype=np.float64)  # (n_members,)
    share_of = partial(_share, texts.gram, sums)
    shares = [
        share_of(np.arange(start, start + size))
        for start, size in zip(texts.starts.tolist(), sizes, strict=False)
    ]
    draws, n_shuffled = np.random.default_rng(seed), sum(sizes)
    limits = {1: np.nan}
    for size in sorted(set(sizes) - {1}):
        drawn = [
            share_of(draws.choice(n_shuffled, size, replace=False, shuffle=False))
            for _ in range(_GROUPINGS)
        ]
        limits[size] = float(np.quantile(drawn, 1 - FALSE_ALARMS))
    return np.array(shares), np.array([limits[size] for size in sizes])


def _share(gram: Floats, sums: Floats, own: Indices) -> float:
    """Largest part of the squared differences from the mean of all other texts along one line."""
    n_others = len(gram) - len(own)
    if not n_others:
        return float("nan")
    block = gram[np.ix_(own, own)].astype(np.float64)
    with_others = (sums[own] - block.sum(axis=1)) / n_others  # (n_own,)
    squared = (sums.sum() - 2 * sums[own].sum() + block.sum()) / n_others**2
    differences = block - with_others[:, None] - with_others + squared  # (n_own, n_own)
    values = np.linalg.eigvalsh(differences)
    total = values.sum()
    return float(values[-1] / total) if total > 0 else float("nan")
