"""How far chance alone moves an AUROC: bootstrap over texts, permuted labels, random directions.

Ranks are made once; every draw is a sum over them, so a thousand draws cost about as much as a
few passes over the scores.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from readout_ui.texts.words import apart
from readout_ui.vectors.auroc import Bools, Floats, Indices, ranks_of

LEVEL = 0.95
"""Coverage of every interval."""
_FEW = 200
"""Texts of a concept up to which comparing each with all others is faster than sorting."""
_TOGETHER = 512
"""Comparisons with all texts that are weighed in one matrix product."""


@dataclass(frozen=True)
class Estimate:
    """A number and how far chance may have moved it."""

    value: float
    low: float
    """Lower end of the 95 % interval."""
    high: float
    """Its upper end."""

    def __str__(self) -> str:
        return f"{self.value:z.3f} [{self.low:z.3f}, {self.high:z.3f}]"

    def above_or_below(self, other: str) -> str:
        """A difference in words: how far above or below the other the first of the two is."""
        return apart(self.value, self.low, self.high, other, 3)


def estimate(value: float, draws: Floats) -> Estimate:
    """A value with the 2.5 and 97.5 % quantiles of its draws (n_draws,)."""
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(float(value), float(low), float(high))


def bootstrap_weights(own: Bools, n_draws: int, seed: int) -> Floats:
    """How often each text occurs in each resample, (n_texts, n_draws).

    Texts with one and the same set of concepts are resampled among themselves, so that no concept
    loses all of its texts. Where most sets occur once (several labels per text), that would leave
    nothing to draw, and the texts are resampled all together.

    Args:
        own: (n_texts, n_concepts), which text is labelled with which concept.
        n_draws: number of resamples.
        seed: the same one gives the same resamples.
    """
    rng = np.random.default_rng(seed)
    _, groups = np.unique(own, axis=0, return_inverse=True)
    group = groups.ravel()
    if np.median(np.bincount(group)) < 2:
        group = np.zeros(len(own), np.intp)
    weights = np.zeros((len(own), n_draws), np.float32)
    for index, size in enumerate(np.bincount(group).tolist()):
        drawn = rng.multinomial(size, np.full(size, 1 / size), n_draws)
        weights[group == index] = drawn.T
    return weights


def group_weights(groups: Sequence[str], n_draws: int, seed: int) -> Floats:
    """How often each text occurs where whole groups of texts are resampled, (n_texts, n_draws).

    Args:
        groups: whose each text is, e.g. its prompt or author.
        n_draws: number of resamples.
        seed: the same one gives the same resamples.
    """
    _, group = np.unique(np.array(groups), return_inverse=True)
    n = int(group.max()) + 1
    drawn = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), n_draws)
    weights: Floats = drawn.T[group].astype(np.float32)
    return weights


def weighted_auroc(scores: Floats, own: Bools, weights: Floats) -> Floats:
    """AUROC of every concept in every resample, (n_draws, n_concepts).

    NaN where a resample has no text of the concept, or none without it.

    Args:
        scores: (n_texts, n_concepts).
        own: (n_texts, n_concepts), which text is labelled with which concept.
        weights: (n_texts, n_draws), how often each text occurs.
    """
    won = np.zeros((scores.shape[1], weights.shape[1]))  # (n_concepts, n_draws)
    few = own.sum(axis=0) <= _FEW
    concept, text = np.nonzero(own.T & few[:, None])
    for start in range(0, len(text), _TOGETHER):
        texts, concepts = text[start : start + _TOGETHER], concept[start : start + _TOGETHER]
        beaten = _beaten_by_comparing(scores, own, weights, texts, concepts)
        first = np.flatnonzero(np.diff(concepts, prepend=-1))
        won[concepts[first]] += np.add.reduceat(
            beaten * weights[texts], first, axis=0, dtype=np.float64
        )
    for c in np.flatnonzero(~few):
        beaten = _beaten_by_sorting(scores[:, c], own[:, c], weights)
        won[c] = (beaten * weights[own[:, c]]).sum(axis=0, dtype=np.float64)
    n_own = own.T.astype(weights.dtype) @ weights  # (n_concepts, n_draws), whole numbers
    pairs = n_own * (weights.sum(axis=0, dtype=np.float64) - n_own)
    aurocs: Floats = np.divide(won, pairs, out=np.full(won.shape, np.nan), where=pairs > 0)
    return aurocs.T


def _beaten_by_comparing(
    scores: Floats, own: Bools, weights: Floats, texts: Indices, concepts: Indices
) -> Floats:
    """Weight of the negatives below each positive, (n_pairs, n_draws); ties count half.

    Args:
        scores: (n_texts, n_concepts).
        own: (n_texts, n_concepts).
        weights: (n_texts, n_draws).
        texts: (n_pairs,), a text ...
        concepts: (n_pairs,), ... and a concept that it has.
    """
    value = scores[texts, concepts][:, None]
    columns = scores.T[concepts]  # (n_pairs, n_texts)
    share = (value > columns).astype(np.float32)
    tied = value == columns
    share[tied] = 0.5
    share[own.T[concepts]] = 0
    beaten: Floats = share @ weights
    return beaten


def _beaten_by_sorting(scores: Floats, positive: Bools, weights: Floats) -> Floats:
    """The same for one concept, in time that does not grow with positives times negatives.

    Args:
        scores: (n_texts,).
        positive: (n_texts,).
        weights: (n_texts, n_draws).

    Returns:
        (n_positive, n_draws).
    """
    negatives = np.flatnonzero(~positive)
    order = negatives[np.argsort(scores[negatives])]
    below = np.searchsorted(scores[order], scores[positive], side="left")
    up_to = np.searchsorted(scores[order], scores[positive], side="right")
    mass = np.zeros((len(order) + 1, weights.shape[1]), np.float32)
    np.cumsum(weights[order], axis=0, out=mass[1:])  # exact: whole numbers below 2**24
    beaten: Floats = (mass[below] + mass[up_to]) / 2
    return beaten


def permuted_auroc(scores: Floats, own: Bools, n_draws: int, seed: int) -> Floats:
    """AUROC of every concept when whole label sets are shuffled, (n_draws, n_concepts).

    One and the same permutation serves all concepts, so that what their scores have in common
    stays in: the largest of a draw is what the largest of that many concepts is by chance.

    Args:
        scores: (n_texts, n_concepts).
        own: (n_texts, n_concepts); each concept has some but not all texts.
        n_draws: number of permutations.
        seed: the same one gives the same permutations.
    """
    rng = np.random.default_rng(seed)
    n_texts = len(scores)
    ranks = ranks_of(scores)  # (n_texts, n_concepts)
    order = rng.permuted(np.tile(np.arange(n_texts, dtype=np.int32), (n_draws, 1)), axis=1)
    sums = np.stack(
        [ranks[order[:, own[:, c]], c].sum(axis=1) for c in range(own.shape[1])], axis=1
    )  # (n_draws, n_concepts)
    return _auroc_of_ranks(sums, own)


def direction_auroc(scores: Floats, own: Bools) -> Floats:
    """AUROC of every concept's labels along every direction, (n_directions, n_concepts).

    Args:
        scores: (n_texts, n_directions), directions that belong to no concept.
        own: (n_texts, n_concepts); each concept has some but not all texts.
    """
    ranks = ranks_of(scores)  # (n_texts, n_directions)
    return _auroc_of_ranks(ranks.T @ own.astype(ranks.dtype), own)


def _auroc_of_ranks(rank_sums: Floats, own: Bools) -> Floats:
    n_positive = own.sum(axis=0)
    wins = rank_sums - n_positive * (n_positive + 1) / 2
    aurocs: Floats = wins / (n_positive * (len(own) - n_positive))
    return aurocs


def corrected_p(observed: Floats, permuted: Floats) -> Floats:
    """One-sided p-values corrected over concepts by the largest statistic, (n_concepts,).

    Westfall & Young's single step: each AUROC is taken in standard deviations of its own
    permutations, and compared with the largest such value of every permutation. The chance of any
    p <= 0.05 among concepts that mean nothing is then at most 0.05.

    Args:
        observed: (n_concepts,).
        permuted: (n_draws, n_concepts) from `permuted_auroc`.
    """
    spread = np.maximum(permuted.std(axis=0), 1e-12)
    largest = ((permuted - 0.5) / spread).max(axis=1)  # (n_draws,)
    return p_values((observed - 0.5) / spread, largest)


def p_values(observed: Floats, chance: Floats) -> Floats:
    """Share of chance values (n_draws,) that reach each observed one, itself counted among them.

    Counting the observed value in keeps a p-value from ever being 0.
    """
    reached = (chance[None, :] >= observed[:, None] - 1e-12).sum(axis=1)
    shares: Floats = (1 + reached) / (1 + len(chance))
    return shares


def perfect_bound(n_texts: int) -> float:
    """Lower 95 % bound on the share of texts that score high, when all of n_texts did.

    Clopper & Pearson's bound. A bootstrap of texts that are all above all others knows no doubt
    at all; this is used instead.
    """
    return float(((1 - LEVEL) / 2) ** (1 / n_texts))


def auroc_estimate(value: float, draws: Floats, n_positive: int) -> Estimate:
    """An AUROC with its bootstrap interval, honest about perfect separation of few texts."""
    found = draws[~np.isnan(draws)]
    if len(found) == 0:
        return Estimate(value, 0.0, 1.0)
    result = estimate(value, found)
    if value == 1:
        return Estimate(1.0, min(result.low, perfect_bound(n_positive)), 1.0)
    if value == 0:
        return Estimate(0.0, 0.0, max(result.high, 1 - perfect_bound(n_positive)))
    return result


def wilson(n_hits: int, n_trials: int) -> Estimate:
    """A share with Wilson's 95 % interval, which keeps its width where no or all trials hit."""
    z = NormalDist().inv_cdf((1 + LEVEL) / 2)
    share, scale = n_hits / n_trials, 1 + z * z / n_trials
    middle = (share + z * z / (2 * n_trials)) / scale
    reach = z * np.sqrt(share * (1 - share) / n_trials + (z / (2 * n_trials)) ** 2) / scale
    low, high = float(middle - reach), float(middle + reach)
    return Estimate(share, low if n_hits else 0.0, high if n_hits < n_trials else 1.0)
