"""Statistics of scored texts: how well scores pick out labels, and what chance and words reach."""

from __future__ import annotations

from collections.abc import Sequence
from math import comb

import numpy as np

from readout_ui.auroc import Floats, average_precision
from readout_ui.judgements import ConceptJudgement, Generalization, JudgeSettings, TopK
from readout_ui.resampling import Estimate, auroc_estimate, corrected_p, estimate, wilson
from readout_ui.score_areas import Areas, judge_macro
from readout_ui.scored_texts import ScoredTexts

__all__ = ["ScoredTexts", "judge"]


def judge(
    scored: ScoredTexts, settings: JudgeSettings, notes: Sequence[str] = ()
) -> Generalization:
    """All statistics of one collection of texts at one layer.

    Args:
        scored: texts, labels and scores.
        settings: draws, threshold and seed.
        notes: what a reader has to know about the texts.
    """
    areas = Areas.of(scored, settings)
    per_concept = _per_concept(scored, areas, settings)
    return Generalization(
        layer=scored.layer,
        concepts=scored.concepts,
        texts=scored.texts,
        own=scored.own,
        scores=scored.scores,
        neutral_scores=scored.neutral_scores,
        per_concept=per_concept,
        macro=judge_macro(areas, [each.average_precision for each in per_concept]),
        top=_top(scored, areas.weights, settings),
        misses=scored.worst_misses(),
        notes=tuple(notes),
    )


def _per_concept(
    scored: ScoredTexts, areas: Areas, settings: JudgeSettings
) -> tuple[ConceptJudgement, ...]:
    p = corrected_p(areas.found, areas.permuted)
    first = scored.scores > scored.rivals.max(axis=1)[:, None]  # (n_texts, n_concepts)
    precision = average_precision(scored.scores, scored.own)  # (n_concepts,)
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
                average_precision=float(precision[c]),
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


def _top(scored: ScoredTexts, weights: Floats, settings: JudgeSettings) -> tuple[TopK, ...]:
    labelled = scored.own.any(axis=1)
    n_concepts, n_own = len(scored.concepts), scored.own[labelled].sum(axis=1)
    rivals = scored.rivals[labelled]
    # A rival that scores the same counts as above: a tie is no recognition.
    rank = 1 + (rivals >= scored.best_own[labelled, None]).sum(axis=1)  # (n_labelled,)
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
