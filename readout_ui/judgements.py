"""What was found out about vectors on labelled texts: per concept, macro, misses and baselines."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from readout_ui.auroc import Bools, Floats
from readout_ui.errors import UserError
from readout_ui.resampling import Estimate

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


@dataclass(frozen=True, eq=False)
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

    def __post_init__(self) -> None:
        expected = (len(self.texts), len(self.concepts))
        if self.own.shape != expected or self.scores.shape != expected:
            raise ValueError(
                f"{expected} texts and concepts, {self.own.shape}, {self.scores.shape}"
            )

    def of(self, concept: str) -> ConceptJudgement:
        """The judgement of one concept."""
        return self.per_concept[self.concepts.index(concept)]

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
        }
