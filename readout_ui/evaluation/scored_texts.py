"""Texts with labels and the scores of everything that is compared on them, and their AUROCs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from readout_ui.evaluation.judgements import JudgeSettings, Macro, Miss
from readout_ui.evaluation.resampling import (
    Estimate,
    auroc_estimate,
    bootstrap_weights,
    direction_auroc,
    estimate,
    group_weights,
    p_values,
    permuted_auroc,
    weighted_auroc,
)
from readout_ui.vectors.auroc import Bools, Floats, auroc

_TWO_SIDED = 1.96
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
    embedding_scores: Floats | None = None
    """(n_texts, n_concepts), cosines of the sentence embedding."""
    kinds: Mapping[str, Floats] = field(default_factory=dict)
    """(n_texts, n_concepts) each: other scores of the same vectors, by kind."""
    groups: tuple[str, ...] = ()
    """Whose each text is: its prompt or author; empty where no column says so."""
    refits: Floats | None = None
    """(n_refits,): macro AUROC of vectors fitted on resampled descriptions."""

    def __post_init__(self) -> None:
        counts = self.own.sum(axis=0)
        if not ((counts > 0) & (counts < len(self.texts))).all():
            raise ValueError("every concept needs texts of its own and of others")

    @property
    def best_own(self) -> Floats:
        """Highest score of the concepts a text is labelled with, -inf without any, (n_texts,)."""
        best: Floats = np.where(self.own, self.scores, -np.inf).max(axis=1)
        return best

    @property
    def rivals(self) -> Floats:
        """(n_texts, n_concepts): scores of the concepts a text is not labelled with, else -inf."""
        rivals: Floats = np.where(self.own, -np.inf, self.scores)
        return rivals

    def worst_misses(self, most: int = WORST) -> tuple[Miss, ...]:
        """The texts on which another concept won by most."""
        own, rivals = self.best_own, self.rivals
        rival = rivals.max(axis=1)
        missed = self.own.any(axis=1) & (rival >= own)
        margin = np.where(missed, rival - np.where(missed, own, 0), -np.inf)
        worst = np.argsort(-margin, kind="stable")[: min(most, int(missed.sum()))]
        return tuple(
            Miss(
                text=self.texts[i],
                concepts=tuple(
                    c for c, is_own in zip(self.concepts, self.own[i], strict=True) if is_own
                ),
                score=float(own[i]),
                rival=self.concepts[int(rivals[i].argmax())],
                rival_score=float(rival[i]),
            )
            for i in worst.tolist()
        )


@dataclass(frozen=True, eq=False)
class Aurocs:
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
    embedding: Floats | None
    """(n_concepts,)."""
    embedding_drawn: Floats | None
    """(n_draws, n_concepts)."""
    grouped: Floats | None
    """(n_draws, n_concepts), of the vectors with groups resampled as wholes."""

    @classmethod
    def of(cls, scored: ScoredTexts, settings: JudgeSettings) -> Aurocs:
        """All of them, from as many draws as the settings ask for."""
        own, words, embedding = scored.own, scored.word_scores, scored.embedding_scores
        n_draws = settings.draws(len(own))
        weights = bootstrap_weights(own, n_draws, settings.seed)
        grouped = None
        if len(set(scored.groups)) > 1:
            drawn = group_weights(scored.groups, n_draws, settings.seed)
            grouped = weighted_auroc(scored.scores, own, drawn)
        return cls(
            weights=weights,
            found=auroc(scored.scores, own),
            drawn=weighted_auroc(scored.scores, own, weights),
            permuted=permuted_auroc(scored.scores, own, settings.n_permutations, settings.seed),
            random=direction_auroc(scored.random_scores, own),
            words=None if words is None else auroc(words, own),
            words_drawn=None if words is None else weighted_auroc(words, own, weights),
            embedding=None if embedding is None else auroc(embedding, own),
            embedding_drawn=None if embedding is None else weighted_auroc(embedding, own, weights),
            grouped=grouped,
        )


def judge_macro(aurocs: Aurocs, precision: Sequence[float], refits: Floats | None = None) -> Macro:
    """Means over the concepts, with intervals.

    Args:
        aurocs: of every concept.
        precision: average precision of every concept.
        refits: (n_refits,), macro AUROC of vectors fitted on resampled descriptions.
    """
    n_texts = len(aurocs.weights)
    drawn = mean_of_known(aurocs.drawn)  # (n_known_draws,)
    permuted = aurocs.permuted.mean(axis=1)  # (n_permutations,)
    random = _macro_of_random(aurocs.random)  # (n_random,)
    found = float(aurocs.found.mean())
    words, gain = compared(found, drawn, aurocs.words, aurocs.words_drawn, n_texts)
    embedding, above = compared(found, drawn, aurocs.embedding, aurocs.embedding_drawn, n_texts)
    grouped = None
    if aurocs.grouped is not None:
        grouped = auroc_estimate(found, mean_of_known(aurocs.grouped), n_texts)
    return Macro(
        auroc=auroc_estimate(found, drawn, n_texts),
        average_precision=float(np.mean(precision)),
        p=float(p_values(np.array([found]), permuted)[0]),
        words=words,
        gain=gain,
        embedding=embedding,
        embedding_gain=above,
        grouped=grouped,
        refits=None if refits is None else _spread(found, refits),
        random=estimate(random.mean(), random),
        permuted=estimate(permuted.mean(), permuted),
    )


def compared(
    found: float, drawn: Floats, rival: Floats | None, rival_drawn: Floats | None, n_texts: int
) -> tuple[Estimate | None, Estimate | None]:
    """A baseline's mean AUROC, and by how much the vectors are above it on the same resamples.

    Args:
        found: mean AUROC of the vectors.
        drawn: (n_draws,), that of the resamples.
        rival: (n_concepts,), AUROC of the baseline.
        rival_drawn: (n_draws, n_concepts), those of the same resamples.
        n_texts: how many texts there are.
    """
    if rival is None or rival_drawn is None:
        return None, None
    value, draws = float(rival.mean()), mean_of_known(rival_drawn)
    return auroc_estimate(value, draws, n_texts), estimate(found - value, drawn - draws)


def _spread(found: float, refits: Floats) -> Estimate:
    """The value with the spread of refits around it: their own mean lies lower, as a resample of a
    few descriptions holds fewer different ones."""
    reach = _TWO_SIDED * float(refits.std(ddof=1))
    return Estimate(found, max(found - reach, 0.0), min(found + reach, 1.0))


def mean_of_known(drawn: Floats) -> Floats:
    """Mean over the concepts of every resample that has texts of any, (n_known_draws,).

    Which those are depends on the texts alone, so that two scorings of them keep the same ones.

    Args:
        drawn: (n_draws, n_concepts), NaN where a resample lost all texts of a concept.
    """
    known = ~np.isnan(drawn).all(axis=1)
    means: Floats = np.nanmean(drawn[known], axis=1)
    return means


def _macro_of_random(aurocs: Floats) -> Floats:
    """Mean AUROC where every concept gets another random direction, (n_random,)."""
    n_random, n_concepts = aurocs.shape
    directions = np.arange(n_random)[:, None] + np.arange(n_concepts)  # (n_random, n_concepts)
    means: Floats = aurocs[directions % n_random, np.arange(n_concepts)].mean(axis=1)
    return means
