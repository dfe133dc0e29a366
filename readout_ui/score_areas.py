"""AUROCs of scored texts with everything that chance made of them, and their means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from readout_ui.auroc import Floats, auroc
from readout_ui.judgements import JudgeSettings, Macro
from readout_ui.resampling import (
    auroc_estimate,
    bootstrap_weights,
    direction_auroc,
    estimate,
    p_values,
    permuted_auroc,
    weighted_auroc,
)
from readout_ui.scored_texts import ScoredTexts


@dataclass(frozen=True, eq=False)
class Areas:
    """AUROCs with everything that chance made of them."""

    weights: Floats
    """(n_texts, n_draws)."""
    found: Floats
    """(n_concepts,)."""
    drawn: Floats
    """(n_draws, n_concepts)."""
    permuted: Floats
    """(n_permutations, n_concepts)."""
    random: Floats
    """(n_random, n_concepts)."""
    words: Floats | None
    """(n_concepts,)."""
    words_drawn: Floats | None
    """(n_draws, n_concepts)."""

    @classmethod
    def of(cls, scored: ScoredTexts, settings: JudgeSettings) -> Areas:
        """All of them, from as many draws as the settings ask for."""
        own, words = scored.own, scored.word_scores
        weights = bootstrap_weights(own, settings.draws(len(own)), settings.seed)
        return cls(
            weights=weights,
            found=auroc(scored.scores, own),
            drawn=weighted_auroc(scored.scores, own, weights),
            permuted=permuted_auroc(scored.scores, own, settings.n_permutations, settings.seed),
            random=direction_auroc(scored.random_scores, own),
            words=None if words is None else auroc(words, own),
            words_drawn=None if words is None else weighted_auroc(words, own, weights),
        )


def judge_macro(areas: Areas, precision: Sequence[float]) -> Macro:
    """Means over the concepts, with intervals.

    Args:
        areas: of every concept.
        precision: average precision of every concept.
    """
    n_texts = len(areas.weights)
    drawn = _mean_of_known(areas.drawn)  # (n_known_draws,)
    permuted = areas.permuted.mean(axis=1)  # (n_permutations,)
    random = _macro_of_random(areas.random)  # (n_random,)
    found = float(areas.found.mean())
    words = gain = None
    if areas.words is not None and areas.words_drawn is not None:
        words_drawn, words_found = _mean_of_known(areas.words_drawn), float(areas.words.mean())
        words = auroc_estimate(words_found, words_drawn, n_texts)
        gain = estimate(found - words_found, drawn - words_drawn)
    return Macro(
        auroc=auroc_estimate(found, drawn, n_texts),
        average_precision=float(np.mean(precision)),
        p=float(p_values(np.array([found]), permuted)[0]),
        words=words,
        gain=gain,
        random=estimate(random.mean(), random),
        permuted=estimate(permuted.mean(), permuted),
    )


def _mean_of_known(drawn: Floats) -> Floats:
    """Mean over the concepts of every resample that has texts of any, (n_known_draws,).

    Which those are depends on the texts alone, so that two scorings of them keep the same ones.

    Args:
        drawn: (n_draws, n_concepts), NaN where a resample lost all texts of a concept.
    """
    known = ~np.isnan(drawn).all(axis=1)
    means: Floats = np.nanmean(drawn[known], axis=1)
    return means


def _macro_of_random(areas: Floats) -> Floats:
    """Mean AUROC where every concept gets another random direction, (n_random,)."""
    n_random, n_concepts = areas.shape
    directions = np.arange(n_random)[:, None] + np.arange(n_concepts)  # (n_random, n_concepts)
    means: Floats = areas[directions % n_random, np.arange(n_concepts)].mean(axis=1)
    return means
