"""How random groups of the same descriptions answer to their own directions, held out."""

from __future__ import annotations

import numpy as np

from readout_ui.crosstalk_results import Floats, Indices


def own_of_random_groups(texts: Floats, sizes: Indices, seed: int) -> Floats:
    """Mean held-out score on their own direction of descriptions dealt at random.

    Args:
        texts: (n_members, d_model), the concepts' first, minus the mean of all.
        sizes: (n_concepts,).
        seed: of the dealing.

    Returns:
        (n_draws, n_concepts); meaningless where a concept has one description.
    """
    n_own, n_all = int(sizes.sum()), len(texts)
    gram = texts[:n_own] @ texts[:n_own].T  # (n_own, n_own)
    squares = np.maximum(np.diagonal(gram), np.finfo(np.float32).tiny)  # (n_own,)
    group, starts = np.repeat(np.arange(len(sizes)), sizes), np.cumsum(sizes) - sizes
    # Every text with every text of its group, itself included: (n_pairs,) each.
    first = np.repeat(np.arange(n_own), sizes[group])
    pairs_before = np.cumsum(sizes[group]) - sizes[group]
    second = np.arange(len(first)) - np.repeat(pairs_before, sizes[group]) + starts[group][first]
    left = np.maximum(sizes[group] - 1, 1)  # (n_own,)
    a, b = 1 / left + 1 / np.maximum(n_all - 1 - left, 1), -1 / left
    draws = np.random.default_rng((seed, 1))
    means = np.empty((n_own_draws(len(sizes)), len(sizes)))
    for mean in means:
        dealt = draws.permutation(n_own)
        dots = np.add.reduceat(gram[dealt[first], dealt[second]], pairs_before)  # (n_own,)
        lengths, own = np.add.reduceat(dots, starts)[group], squares[dealt]
        length = np.sqrt(np.maximum(a**2 * lengths + 2 * a * b * dots + b**2 * own, 1e-30))
        scores = (a * dots + b * own) / (length * np.sqrt(own))
        mean[:] = np.add.reduceat(scores, starts) / sizes
    return means


def n_own_draws(n_concepts: int) -> int:
    """Random dealings that give 20,000 random groups, or as near as 1000 of them come."""
    return min(max(1, 20_000 // max(1, n_concepts)), 1000)
