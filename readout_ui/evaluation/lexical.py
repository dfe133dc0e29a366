"""The lexical control: does a direction read the meaning, or the concept's own word?

Its word is masked in its own texts, and read where it is meant otherwise.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from readout_ui.evaluation.generalization import judge_texts, sort_texts
from readout_ui.evaluation.judgements import Generalization, JudgeSettings
from readout_ui.evaluation.results import frame_of
from readout_ui.texts.labelled import LabelledText, check_mapping, read_shipped
from readout_ui.texts.words import phrase_forms
from readout_ui.vectors.auroc import auroc

if TYPE_CHECKING:
    import pandas as pd

    from readout_ui.inference.readout import Readout

MASK = "…"
"""What stands where a word was, as in a text with words left out."""


@dataclass(frozen=True)
class MaskedConcept:
    """What masking a concept's own word does to its scores."""

    concept: str
    n_named: int
    """Its texts that hold its word."""
    before: float
    """AUROC on the texts as they are."""
    after: float
    """AUROC with the word masked in its own texts."""
    moved: float
    """Mean change of the cosine on the texts that held the word; 0 where none did."""


@dataclass(frozen=True, eq=False, repr=False)
class LexicalControl:
    """How much of the scores hangs on the concepts' own words."""

    masked: tuple[MaskedConcept, ...]
    """One per concept."""
    other_sense: Generalization | None
    """Sentences that use the word in another sense, judged as if they meant the concept: an AUROC
    of 0.5 says that the word alone moves nothing. None without such sentences."""

    def to_frame(self) -> pd.DataFrame:
        """By concept: `n_named` texts with its word, AUROC `before` and `after` masking, and by how
        much the cosine `moved`."""
        return frame_of(self.masked)

    def __repr__(self) -> str:
        before, after = self.macro
        return f"<{self.n_named} texts masked: macro AUROC {before:.3f} to {after:.3f}>"

    @property
    def n_named(self) -> int:
        """Texts that held the word of a concept they are labelled with."""
        return sum(each.n_named for each in self.masked)

    @property
    def macro(self) -> tuple[float, float]:
        """Mean AUROC before and after masking."""
        before = float(np.mean([each.before for each in self.masked]))
        return before, float(np.mean([each.after for each in self.masked]))


def mask_word(text: str, concept: str) -> str:
    """The text with every form of the concept's name replaced by an ellipsis."""
    return _pattern(concept).sub(MASK, text)


@functools.lru_cache(maxsize=512)
def _pattern(concept: str) -> re.Pattern[str]:
    forms = sorted(phrase_forms(concept), key=lambda form: (-len(" ".join(form)), form))
    if not forms:
        return re.compile(r"(?!)")  # matches nothing
    words = "|".join(r"[\W_]+".join(map(re.escape, form)) for form in forms)
    return re.compile(rf"(?<![^\W_])(?:{words})(?![^\W_])", re.IGNORECASE)


def control_words(
    scorer: Readout,
    labelled: Sequence[LabelledText],
    mapping: Mapping[str, str],
    layer: int,
    settings: JudgeSettings | None = None,
) -> LexicalControl:
    """Scores with each text's own concept words masked, and on the shipped other-sense sentences.

    Args:
        scorer: vectors, model and cache.
        labelled: the texts that are judged.
        mapping: label -> concept or special target.
        layer: one of the vectors' layers.
        settings: draws and seed for the other-sense sentences.

    Raises:
        UserError: as `judge_texts`.
    """
    checked = check_mapping(mapping, scorer.concepts)
    texts = sort_texts(labelled, checked, scorer.concepts, scorer.texts)
    hidden = [
        _mask_all(text, [c for c, own in zip(texts.concepts, row, strict=True) if own])
        for text, row in zip(texts.counted, texts.own, strict=True)
    ]
    columns = [scorer.concepts.index(concept) for concept in texts.concepts]
    scores = scorer.score_texts([*texts.counted, *hidden], layer)[:, columns]
    before, after = scores[: len(hidden)], scores[len(hidden) :]
    named = np.array([a != b for a, b in zip(texts.counted, hidden, strict=True)], bool)
    masked = []
    for c, concept in enumerate(texts.concepts):
        own = texts.own[:, c]
        mixed = np.where(own, after[:, c], before[:, c])
        changed = own & named
        masked.append(
            MaskedConcept(
                concept=concept,
                n_named=int(changed.sum()),
                before=float(auroc(before[:, c], own)),
                after=float(auroc(mixed, own)),
                moved=float((after - before)[changed, c].mean()) if changed.any() else 0.0,
            )
        )
    return LexicalControl(tuple(masked), judge_other_sense(scorer, layer, settings))


def judge_other_sense(
    scorer: Readout, layer: int, settings: JudgeSettings | None = None
) -> Generalization | None:
    """The shipped other-sense sentences of the run's concepts, None where too few have any."""
    sentences = [each for each in read_shipped("other_sense") if each.labels[0] in scorer.concepts]
    mapping = {label: label for each in sentences for label in each.labels}
    return judge_texts(scorer, sentences, mapping, layer, settings) if len(mapping) > 1 else None


def _mask_all(text: str, concepts: Sequence[str]) -> str:
    for concept in concepts:
        text = mask_word(text, concept)
    return text
