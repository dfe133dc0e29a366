"""What was found out about vectors on labelled texts: per concept, macro, misses and baselines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

from readout_ui.errors import UserError
from readout_ui.evaluation.resampling import (
    Estimate,
)
from readout_ui.evaluation.results import frame_of
from readout_ui.vectors.auroc import Bools, Floats

if TYPE_CHECKING:
    import pandas as pd

SHOWN_KIND = "z"
"""The kind of score that pages, readings and servers show by default."""
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
    n_refits: int = 30
    """Refits on resampled descriptions; fewer than two give no spread."""
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
    embedding: Estimate | None
    """AUROC of a sentence embedding with mean differences of the same descriptions."""
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
    embedding: Estimate | None
    """The sentence embedding."""
    embedding_gain: Estimate | None
    """Vectors minus sentence embedding, on the same resamples."""
    grouped: Estimate | None
    """The vectors, with groups of texts resampled as wholes; None where no column names groups."""
    refits: Estimate | None
    """The vectors, with as much doubt as other descriptions of the same kind give: the spread over
    refits on resampled descriptions. None where they are not there."""
    random: Estimate
    """Random directions: mean and the middle 95 % of them."""
    permuted: Estimate
    """The vectors under permuted labels: mean and the middle 95 %."""


@dataclass(frozen=True)
class KindScore:
    """How well one kind of score does on the same texts."""

    kind: str
    """"cosine", "z" or "raw", as in a reading."""
    auroc: Estimate
    """Macro, with the same resamples as the others."""
    top1: float
    """Share of the labelled texts whose own concept scores highest."""


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
    kinds: tuple[KindScore, ...]
    """Cosine, which everything else here is about, beside z and raw."""
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
                _value(each.embedding),
                _value(each.random),
                f"{each.p:.3f}",
                f"{each.recall:.0%}",
                "–" if each.false_positives is None else f"{each.false_positives.value:.0%}",
            )
            for each in self.per_concept
        ]
        macro = self.macro
        means = map(_value, (macro.words, macro.embedding, macro.random))
        total = ("macro", str(len(self.texts)), str(macro.auroc), f"{macro.average_precision:.3f}")
        titles = ("concept", "texts", "AUROC [95 %]", "AP", "top-1", "words", "embedding", "random")
        whole = (*total, "", *means, f"{macro.p:.3f}", "", "")
        return (*titles, "p", "recall", "false pos."), (*rows, whole)

    def sentences(self) -> tuple[str, ...]:
        """What the numbers say beside their baselines and doubts, for people."""
        return (
            *beside("A bag of words", self.macro.words, self.macro.gain),
            *beside("A sentence embedding", self.macro.embedding, self.macro.embedding_gain),
            *self._doubts(),
            *self._kind_sentence(),
        )

    def _doubts(self) -> tuple[str, ...]:
        macro = self.macro
        about = ["Intervals resample the texts and leave the vectors as they are"]
        if macro.grouped is not None:
            about.append(f"resampling whole groups of texts gives {macro.grouped}")
        if macro.refits is not None:
            about.append(f"other descriptions of the same kind give {macro.refits}")
        return ("; ".join(about) + ".",)

    def _kind_sentence(self) -> tuple[str, ...]:
        if len(self.kinds) < 2:
            return ()
        parts = [f"{one.kind} {one.auroc}, top-1 {one.top1:.3f}" for one in self.kinds]
        return (
            f"AUROC by kind of score: {'; '.join(parts)}. Judged is the cosine; pages, readings "
            f"and servers show {SHOWN_KIND} unless told otherwise.",
        )

    def as_json(self) -> dict[str, Any]:
        """Everything but the single scores, as values that JSON can hold."""
        return {
            "layer": self.layer,
            "n_texts": len(self.texts),
            "n_neutral": len(self.neutral_scores),
            "macro": asdict(self.macro),
            "top": [asdict(top) for top in self.top],
            "kinds": [asdict(kind) for kind in self.kinds],
            "concepts": [asdict(each) for each in self.per_concept],
            "misses": [asdict(miss) for miss in self.misses],
            "notes": list(self.notes),
            **({"written_by_model": asdict(own)} if (own := self.written_by_model) else {}),
        }


@dataclass(frozen=True)
class Beside:
    """Vectors that were brought, beside those of the run in use."""

    name: str
    """Of the file or folder."""
    layer: int
    """Where they are read: their layer nearest to the run's best one."""
    calibrated: bool
    """False where they had no calibration and are centred here on neutral texts."""
    labels: tuple[str, ...]
    """What both have a concept for."""
    n_texts: int
    theirs: Estimate
    """Macro AUROC over the labels."""
    ours: Estimate
    """The same of the run in use, on the same texts."""
    difference: Estimate
    """Theirs minus ours, on the same resamples."""


FEW_TEXTS = 0.5
"""A concept with at most this part of the usual number of texts is named."""
_NAMED = 6


def coverage(concepts: Sequence[str], n_texts: Sequence[int]) -> tuple[str, ...]:
    """Which concepts no text judges, and which at most half as many as the others; in sentences.

    Args:
        concepts: all of the run.
        n_texts: of each, labelled with it.
    """
    counts = dict(zip(concepts, map(int, n_texts), strict=True))
    missing = [name for name, n in counts.items() if not n]
    usual = median([n for n in counts.values() if n] or [0])
    few = [f"{name} ({n})" for name, n in counts.items() if 0 < n <= FEW_TEXTS * usual]
    said = []
    if missing:
        said.append(f"No text judges {named(missing)}.")
    if few:
        said.append(f"Judged by at most half as many texts as the others: {named(few)}.")
    return tuple(said)


def named(names: Sequence[str]) -> str:
    """The first names, and how many more."""
    rest = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + rest


def _value(estimate: Estimate | None) -> str:
    return "–" if estimate is None else f"{estimate.value:.3f}"


def beside(name: str, rival: Estimate | None, gain: Estimate | None) -> tuple[str, ...]:
    """What a baseline reaches and how far the vectors are from it, as a sentence if it is known.

    Args:
        name: of the baseline, to begin the sentence with.
        rival: its AUROC.
        gain: that of the vectors minus it, on the same resamples.
    """
    if rival is None or gain is None:
        return ()
    difference = f"the vectors are {gain.above_or_below('it')}"
    if gain.low > 0:
        return (f"{name} on the same descriptions reaches {rival}; {difference}.",)
    better = "better" if gain.high < 0 else "as well"
    return (f"{name} on the same descriptions reads these texts {better}: {rival}; {difference}.",)
