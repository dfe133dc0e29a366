"""A concept's own word masked, and sentences that use it in another sense."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from readout_ui.evaluation.judgements import JudgeSettings
from readout_ui.evaluation.lexical import MASK, control_words, mask_word
from readout_ui.texts.labelled import LabelledText
from tests.support.planted_scorer import CONCEPTS, planted_scorer

QUICK = JudgeSettings(200, 200, 50)
SAME = {concept: concept for concept in CONCEPTS}


@pytest.mark.parametrize(
    ("text", "concept", "masked"),
    [
        ("I am CALM, calmly so. Calming.", "calm", "I am …, … so. …."),
        ("Becalmed and uncalm", "calm", "Becalmed and uncalm"),
        ("A quiet joy, a quiet  joy; joy", "quiet_joy", "A …, a …; joy"),
        ("Anger makes me angrier.", "angry", "… makes me …."),
        ("Nothing here.", "!!", "Nothing here."),
    ],
)
def test_every_form_of_the_word_is_masked(text: str, concept: str, masked: str) -> None:
    assert mask_word(text, concept) == masked


@given(st.text(), st.sampled_from(["calm", "afraid", "quiet_joy"]))
def test_masking_twice_is_masking_once(text: str, concept: str) -> None:
    once = mask_word(text, concept)
    assert mask_word(once, concept) == once


def word_reader(text: str) -> list[str]:
    return [concept for concept in CONCEPTS if concept in text.lower()]


def meaning_reader(text: str) -> list[str]:
    return [concept for concept in CONCEPTS if f"scene {CONCEPTS.index(concept)}" in text]


TEXTS = [
    LabelledText(f"In scene {n} of part {i} we are {concept}.", (concept,))
    for n, concept in enumerate(CONCEPTS)
    for i in range(6)
]


def test_vectors_that_read_the_word_lose_everything_with_it() -> None:
    found = control_words(planted_scorer(word_reader), TEXTS, SAME, 5, QUICK)
    assert found.n_named == 24
    before, after = found.macro
    assert before == 1
    assert after < 0.75
    assert all(each.moved < -0.3 for each in found.masked)
    assert found.other_sense is not None
    assert found.other_sense.macro.auroc.value > 0.75


def test_vectors_that_read_the_meaning_keep_it_without_the_word() -> None:
    found = control_words(planted_scorer(meaning_reader), TEXTS, SAME, 5, QUICK)
    assert found.macro == (1, 1)
    assert found.other_sense is not None
    assert found.other_sense.macro.auroc.low < 0.5 < found.other_sense.macro.auroc.high


def test_texts_that_name_nothing_stay_as_they_are() -> None:
    plain = [LabelledText(t.text.replace(t.labels[0], MASK), t.labels) for t in TEXTS]
    found = control_words(planted_scorer(meaning_reader), plain, SAME, 5, QUICK)
    assert found.n_named == 0
    assert all(each.moved == 0 for each in found.masked)
