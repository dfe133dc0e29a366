"""AUROC: the chance that a text of a concept scores above a text of another."""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]
Bools = npt.NDArray[np.bool_]
Indices = npt.NDArray[np.intp]


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
    aurocs: Floats = np.where(n_pairs > 0, wins / np.maximum(n_pairs, 1), np.nan)
    return aurocs


def grouped_auroc(scores: Floats, group: Indices) -> Floats:
    """The same for every concept against all other texts, where a text has one concept at most.

    Only the places of a concept's own texts among all are looked up, in each of its columns.

    Args:
        scores: (n_texts, ..., n_concepts).
        group: (n_texts,), concept of each text; n_concepts for neutral ones.

    Returns:
        (..., n_concepts), NaN for a concept that has no text or all.
    """
    n_texts, n_concepts = len(scores), scores.shape[-1]
    counts = np.bincount(group, minlength=n_concepts)[:n_concepts]
    own = np.split(np.argsort(group, kind="stable"), np.cumsum(counts))
    columns = scores.reshape(n_texts, -1, n_concepts).transpose(2, 1, 0)
    wins = np.zeros(columns.shape[:2])  # twice those over all texts
    for concept, lines in enumerate(columns):  # (n_columns, n_texts)
        pairs = zip(np.sort(lines, axis=1), lines[:, own[concept]], strict=True)
        for column, (ranked, values) in enumerate(pairs):
            below = ranked.searchsorted(values, "left").sum()
            wins[concept, column] = below + ranked.searchsorted(values, "right").sum()
    # A concept's own texts win half of the pairs among themselves, each with itself included.
    total = (wins.T - counts**2) / 2
    n_pairs = counts * (n_texts - counts)
    aurocs: Floats = np.where(n_pairs > 0, total / np.maximum(n_pairs, 1), np.nan)
    return aurocs.reshape(scores.shape[1:])


def average_precision(scores: Floats, positive: Bools) -> Floats:
    """Mean, over a concept's texts, of the part of its texts among all that score as high.

    Equals scikit-learn's `average_precision_score`, for all columns at once.

    Args:
        scores: (n_texts, n_concepts).
        positive: (n_texts, n_concepts).

    Returns:
        (n_concepts,), NaN for a concept without texts.
    """
    n_texts, n_concepts = scores.shape
    ranked = np.sort(scores, axis=0)
    means = np.full(n_concepts, np.nan)
    for c in np.flatnonzero(positive.any(axis=0)):
        own = np.sort(scores[positive[:, c], c])
        n_as_high = n_texts - np.searchsorted(ranked[:, c], own, side="left")
        means[c] = ((len(own) - np.searchsorted(own, own, side="left")) / n_as_high).mean()
    return means
