"""Statistics of scored texts: how well scores pick out labels, and what chance and words reach."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb

import numpy as np
from sklearn.metrics import average_precision_score

from readout_ui.auroc import Bools, Floats, auroc
from readout_ui.judgements import (
    ConceptJudgement,
    Generalization,
    JudgeSettings,
    Macro,
    Miss,
    TopK,
)
from readout_ui.resampling import (
    Estimate,
    auroc_estimate,
    bootstrap_weights,
    corrected_p,
    direction_auroc,
    estimate,
    p_values,
    permuted_auroc,
    weighted_auroc,
    wilson,
)

WORST = 10
"""Misses that are shown as texts."""


@dataclass(frozen=True, eq=False)
class ScoredTexts:
    """Texts, their labels, and how everything that is compared scores them."""

    layer: int
    concepts: tuple[str, ...]
    """Each has some but not all of the texts."""
    texts: tuple[str, ...]
    own: Bools
    """(n_texts, n_concepts): which text is labelled with which concept."""
    scores: Floats
    """(n_texts, n_concepts), centred cosine."""
    neutral_scores: Floats
    """(n_neutral_texts, n_concepts)."""
    random_scores: Floats
    """(n_texts, n_random), cosines with directions of no meaning."""
    word_scores: Floats | None
    """(n_texts, n_concepts), log odds of the bag of words."""

    def __post_init__(self) -> None:
        counts = self.own.sum(axis=0)
        if not ((counts > 0) & (counts < len(self.texts))).all():
            raise ValueError("every concept needs texts of its own and of others")


def judge(
    scored: ScoredTexts, settings: JudgeSettings, notes: Sequence[str] = ()
) -> Generalization:
    """All statistics of one collection of texts at one layer.

    Args:
        scored: texts, labels and scores.
        settings: draws, threshold and seed.
        notes: what a reader has to know about the texts.
    """
    areas = _Areas.of(scored, settings)
    per_concept = _per_concept(scored, areas, settings)
    return Generalization(
        layer=scored.layer,
        concepts=scored.concepts,
        texts=scored.texts,
        own=scored.own,
        scores=scored.scores,
        neutral_scores=scored.neutral_scores,
        per_concept=per_concept,
        macro=_macro(areas, [each.average_precision for each in per_concept]),
        top=_top(scored, areas.weights, settings),
        misses=_misses(scored),
        notes=tuple(notes),
    )


@dataclass(frozen=True, eq=False)
class _Areas:
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
    def of(cls, scored: ScoredTexts, settings: JudgeSettings) -> _Areas:
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


def _per_concept(
    scored: ScoredTexts, areas: _Areas, settings: JudgeSettings
) -> tuple[ConceptJudgement, ...]:
    p = corrected_p(areas.found, areas.permuted)
    first = scored.scores > _best_rival(scored)[:, None]  # (n_texts, n_concepts)
    judged = []
    for c, concept in enumerate(scored.concepts):
        own = scored.own[:, c]
        n_own = int(own.sum())
        threshold = _threshold(scored.scores[own, c], settings)
        words = None
        if areas.words is not None and areas.words_drawn is not None:
            words = auroc_estimate(float(areas.words[c]), areas.words_drawn[:, c], n_own)
        judged.append(
            ConceptJudgement(
                concept=concept,
                n_texts=n_own,
                auroc=auroc_estimate(float(areas.found[c]), areas.drawn[:, c], n_own),
                average_precision=float(average_precision_score(own, scored.scores[:, c])),
                base_rate=n_own / len(own),
                top1=float(first[own, c].mean()),
                words=words,
                random=estimate(areas.random[:, c].mean(), areas.random[:, c]),
                p=float(p[c]),
                threshold=threshold,
                recall=float((scored.scores[own, c] >= threshold).mean()),
                false_positives=_false_positives(scored.neutral_scores[:, c], threshold),
            )
        )
    return tuple(judged)


def _threshold(own: Floats, settings: JudgeSettings) -> float:
    if settings.threshold is not None:
        return settings.threshold
    return float(np.quantile(own, 1 - settings.recall, method="lower"))


def _false_positives(neutral: Floats, threshold: float) -> Estimate | None:
    if len(neutral) == 0:
        return None
    return wilson(int((neutral >= threshold).sum()), len(neutral))


def _macro(areas: _Areas, precision: Sequence[float]) -> Macro:
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


def _best_rival(scored: ScoredTexts) -> Floats:
    """Highest score among the concepts a text is not labelled with, (n_texts,)."""
    best: Floats = np.where(scored.own, -np.inf, scored.scores).max(axis=1)
    return best


def _best_own(scored: ScoredTexts) -> Floats:
    """Highest score among the concepts a text is labelled with, -inf without any, (n_texts,)."""
    best: Floats = np.where(scored.own, scored.scores, -np.inf).max(axis=1)
    return best


def _top(scored: ScoredTexts, weights: Floats, settings: JudgeSettings) -> tuple[TopK, ...]:
    labelled = scored.own.any(axis=1)
    n_concepts, n_own = len(scored.concepts), scored.own[labelled].sum(axis=1)
    rivals = np.where(scored.own, -np.inf, scored.scores)[labelled]
    # A rival that scores the same counts as above: a tie is no recognition.
    rank = 1 + (rivals >= _best_own(scored)[labelled, None]).sum(axis=1)  # (n_labelled,)
    weight = weights[labelled]  # (n_labelled, n_draws)
    tops = []
    for k in settings.ks:
        if k < n_concepts:
            hits = (rank <= k).astype(float)
            drawn = hits @ weight / np.maximum(weight.sum(axis=0), 1)
            chance = np.mean([_chance(n_concepts, int(m), k) for m in n_own])
            tops.append(TopK(k, estimate(hits.mean(), drawn), float(chance)))
    return tuple(tops)


def _chance(n_concepts: int, n_own: int, k: int) -> float:
    """That one of n_own concepts is among the first k of an order drawn at random."""
    return 1 - comb(n_concepts - n_own, k) / comb(n_concepts, k)


def _misses(scored: ScoredTexts) -> tuple[Miss, ...]:
    rivals = np.where(scored.own, -np.inf, scored.scores)
    own, rival = _best_own(scored), rivals.max(axis=1)
    missed = scored.own.any(axis=1) & (rival >= own)
    margin = np.where(missed, rival - np.where(missed, own, 0), -np.inf)
    worst = np.argsort(-margin, kind="stable")[: min(WORST, int(missed.sum()))]
    return tuple(
        Miss(
            text=scored.texts[i],
            concepts=tuple(
                c for c, is_own in zip(scored.concepts, scored.own[i], strict=True) if is_own
            ),
            score=float(own[i]),
            rival=scored.concepts[int(rivals[i].argmax())],
            rival_score=float(rival[i]),
        )
        for i in worst.tolist()
    )
