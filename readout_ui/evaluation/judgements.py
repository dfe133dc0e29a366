"""AUROCs of scored texts with everything that chance made of them, and their means.

What was found out about vectors on labelled texts: per concept, macro, misses and baselines.

Texts with labels and with the scores of everything that is compared on them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from readout_ui.errors import UserError
from readout_ui.evaluation.resampling import (
    Estimate,
    auroc_estimate,
    bootstrap_weights,
    direction_auroc,
    estimate,
    p_values,
    permuted_auroc,
    weighted_auroc,
)
from readout_ui.evaluation.results import frame_of
from readout_ui.vectors.auroc import Bools, Floats, auroc

if TYPE_CHECKING:
    import pandas as pd

MOST_DRAWN = 1_000_000
"""Bound on resamples times texts."""


@dataclass(frozen=True)
class JudgeSettings:
    """How thoroughly texts are judged."""

    n_bootstrap: int = 1000
    """Resamples behind every interval."""
    n_permutations: int = 1000
    """Permutations behind every p-value, whose least value is one in their number."""
    n_random: int = 200
    """Random directions."""
    ks: tuple[int, ...] = (1, 3, 5)
    """Top-k that are reported; those not below the number of candidates are left out."""
    recall: float = 0.8
    """Share of a concept's own texts that its threshold lets through, above 0, at most 1."""
    threshold: float | None = None
    """One cosine as the threshold of all concepts, in place of `recall`."""
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.recall <= 1:
            raise UserError(
                f"{self.recall} is no share of a concept's texts", fix="choose above 0, at most 1"
            )
        if self.threshold is not None and not -1 <= self.threshold <= 1:
            raise UserError(f"{self.threshold} is no cosine", fix="choose from -1 to 1")

    def draws(self, n_texts: int) -> int:
        """Resamples for so many texts: large collections need fewer, and each costs more."""
        return min(self.n_bootstrap, max(300, MOST_DRAWN // n_texts))


@dataclass(frozen=True)
class TopK:
    """How often a text's own concept is among the k highest."""

    k: int
    hits: Estimate
    """Share of the texts, 0..1."""
    chance: float
    """The same for an order drawn at random."""


@dataclass(frozen=True)
class ConceptJudgement:
    """How one concept holds on the texts."""

    concept: str
    n_texts: int
    """Texts labelled with it."""
    auroc: Estimate
    """One-vs-rest: its texts against all other labelled ones; 0.5 is chance."""
    average_precision: float
    base_rate: float
    """What average precision is by chance."""
    top1: float
    """Share of its texts on which it scores highest."""
    words: Estimate | None
    """AUROC of the bag of words trained on the same descriptions."""
    random: Estimate
    """AUROC of random directions: mean and the middle 95 % of them."""
    p: float
    """From permuted labels, one-sided, corrected over all concepts by the largest statistic."""
    threshold: float
    """The cosine from which a text counts as showing the concept."""
    recall: float
    """Share of its texts that reach the threshold."""
    false_positives: Estimate | None
    """Share of the neutral texts that reach the threshold, with Wilson's interval."""


@dataclass(frozen=True)
class Miss:
    """A text on which another concept scored higher than its own."""

    text: str
    concepts: tuple[str, ...]
    """What it is labelled with."""
    score: float
    """Cosine of the best of these."""
    rival: str
    """The concept that scored highest."""
    rival_score: float

    @property
    def margin(self) -> float:
        """By how much the rival won."""
        return self.rival_score - self.score


@dataclass(frozen=True)
class Macro:
    """Means over the concepts that could be judged."""

    auroc: Estimate
    average_precision: float
    p: float
    """Of the mean AUROC, from permuted labels, one-sided."""
    words: Estimate | None
    """The bag of words."""
    gain: Estimate | None
    """Vectors minus bag of words, on the same resamples."""
    random: Estimate
    """Random directions: mean and the middle 95 % of them."""
    permuted: Estimate
    """The vectors under permuted labels: mean and the middle 95 %."""


@dataclass(frozen=True, eq=False, repr=False)
class Generalization:
    """Everything found out on one collection of texts at one layer."""

    layer: int
    concepts: tuple[str, ...]
    """The concepts that occur among the labels: those judged, and the candidates of top-k."""
    texts: tuple[str, ...]
    """The texts that count, neutral ones not among them."""
    own: Bools
    """(n_texts, n_concepts): which text is labelled with which concept."""
    scores: Floats
    """(n_texts, n_concepts), centred cosine."""
    neutral_scores: Floats
    """(n_neutral_texts, n_concepts)."""
    per_concept: tuple[ConceptJudgement, ...]
    """In the order of `concepts`."""
    macro: Macro
    top: tuple[TopK, ...]
    misses: tuple[Miss, ...]
    """The ten worst, by margin."""
    notes: tuple[str, ...]
    """What was left out or taken from elsewhere, in sentences."""
    written_by_model: Macro | None = None
    """The same on the texts that the model under test wrote, which count nowhere else."""

    def __post_init__(self) -> None:
        expected = (len(self.texts), len(self.concepts))
        if self.own.shape != expected or self.scores.shape != expected:
            raise ValueError(
                f"{expected} texts and concepts, {self.own.shape}, {self.scores.shape}"
            )

    def of(self, concept: str) -> ConceptJudgement:
        """The judgement of one concept."""
        return self.per_concept[self.concepts.index(concept)]

    def to_frame(self) -> pd.DataFrame:
        """One row per concept, AUROC, precision, recall and false positives as parts of 1.

        Columns: `n_texts`, `auroc` against the rest with `auroc_low` and `auroc_high` (95 %),
        `average_precision` and `base_rate` (what it is by chance), `top1`, `words` (AUROC of a bag
        of words) and `random` (of random directions) with their intervals, `p` (permuted labels,
        corrected over concepts), `threshold` (cosine), `recall`, `false_positives`.
        """
        return frame_of(self.per_concept)

    def __repr__(self) -> str:
        return (
            f"<{len(self.concepts)} concepts on {len(self.texts)} texts at layer {self.layer}: "
            f"macro AUROC {self.macro.auroc}>"
        )

    def table(self) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
        """Titles and rows for people; the last row is the macro mean."""
        rows = [
            (
                each.concept,
                str(each.n_texts),
                str(each.auroc),
                f"{each.average_precision:.3f}",
                f"{each.top1:.0%}",
                _value(each.words),
                _value(each.random),
                f"{each.p:.3f}",
                f"{each.recall:.0%}",
                "–" if each.false_positives is None else f"{each.false_positives.value:.0%}",
            )
            for each in self.per_concept
        ]
        macro = self.macro
        means = (f"{macro.average_precision:.3f}", "", _value(macro.words), _value(macro.random))
        total = ("macro", str(len(self.texts)), str(macro.auroc), *means, f"{macro.p:.3f}", "", "")
        titles = ("concept", "texts", "AUROC [95 %]", "AP", "top-1", "words", "random", "p")
        return (*titles, "recall", "false pos."), (*rows, total)

    def as_json(self) -> dict[str, Any]:
        """Everything but the single scores, as values that JSON can hold."""
        return {
            "layer": self.layer,
            "n_texts": len(self.texts),
            "n_neutral": len(self.neutral_scores),
            "macro": asdict(self.macro),
            "top": [asdict(top) for top in self.top],
            "concepts": [asdict(each) for each in self.per_concept],
            "misses": [asdict(miss) for miss in self.misses],
            "notes": list(self.notes),
            **({"written_by_model": asdict(own)} if (own := self.written_by_model) else {}),
        }


WORST = 10
"""Misses that are shown as texts."""


def _value(estimate: Estimate | None) -> str:
    return "–" if estimate is None else f"{estimate.value:.3f}"


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

    @classmethod
    def of(cls, scored: ScoredTexts, settings: JudgeSettings) -> Aurocs:
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


def judge_macro(aurocs: Aurocs, precision: Sequence[float]) -> Macro:
    """Means over the concepts, with intervals.

    Args:
        aurocs: of every concept.
        precision: average precision of every concept.
    """
    n_texts = len(aurocs.weights)
    drawn = _mean_of_known(aurocs.drawn)  # (n_known_draws,)
    permuted = aurocs.permuted.mean(axis=1)  # (n_permutations,)
    random = _macro_of_random(aurocs.random)  # (n_random,)
    found = float(aurocs.found.mean())
    words = gain = None
    if aurocs.words is not None and aurocs.words_drawn is not None:
        words_drawn, words_found = _mean_of_known(aurocs.words_drawn), float(aurocs.words.mean())
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


def _macro_of_random(aurocs: Floats) -> Floats:
    """Mean AUROC where every concept gets another random direction, (n_random,)."""
    n_random, n_concepts = aurocs.shape
    directions = np.arange(n_random)[:, None] + np.arange(n_concepts)  # (n_random, n_concepts)
    means: Floats = aurocs[directions % n_random, np.arange(n_concepts)].mean(axis=1)
    return means
