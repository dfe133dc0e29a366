"""AUROC: the chance that a text of a concept scores above a text of another."""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]
Bools = npt.NDArray[np.bool_]


def ranks_of(scores: Floats) -> Floats:
    """Rank of every text, counted from 1, for each column of (n_texts, ...); ties share theirs."""
    from scipy.stats import rankdata  # takes a second to import: not while the page starts

    ranks: Floats = rankdata(scores, axis=0)
    return ranks


def auroc(scores: Floats, positive: Bools) -> Floats:
    """Chance that a positive text scores above a negative one; a tie counts as half.

    Args:
        scores: (n_texts, ...).
        positive: (n_texts, ...), of a shape that broadcasts with the scores.

    Returns:
        (...), from 0 to 1, and NaN where all texts are positive or all are negative.
    """
    ranks = ranks_of(scores)  # (n_texts, ...), ties get their mean rank
    is_positive = np.broadcast_to(positive, ranks.shape)
    n_positive = is_positive.sum(axis=0)  # (...)
    n_pairs = n_positive * (len(ranks) - n_positive)
    wins = (ranks * is_positive).sum(axis=0) - n_positive * (n_positive + 1) / 2
    areas: Floats = np.where(n_pairs > 0, wins / np.maximum(n_pairs, 1), np.nan)
    return areas
