"""The second shipped library: no emotions, clean descriptions, and a test set of its own."""

from collections import Counter
from itertools import combinations
from pathlib import Path
from statistics import mean

import pytest
from rapidfuzz import fuzz

from readout_ui.texts.labelled import read_labelled, read_shipped
from readout_ui.texts.library import Library, require_trainable
from readout_ui.texts.lint import check_library
from readout_ui.texts.shipped import LIBRARIES
from readout_ui.texts.words import concept_words, count_sentences, opening, words_of

LIBRARY = Library("shipped:stances")
PARTS = ("situations", "dialogue")


def test_it_holds_twenty_concepts_and_shares_none_with_the_emotions() -> None:
    require_trainable(LIBRARY)
    assert len(LIBRARY.concepts) == 20
    assert not set(LIBRARY.names()) & set(Library("shipped:emotions").names())
    assert all(5 <= len(concept.descriptions) <= 8 for concept in LIBRARY.concepts)
    assert len(LIBRARY.neutral_texts()) == 20


def test_lint_finds_nothing() -> None:
    assert check_library(LIBRARY) == ()


def test_descriptions_are_alike_in_length_and_sentences() -> None:
    lengths = {c.name: mean(len(words_of(t)) for t in c.descriptions) for c in LIBRARY.concepts}
    usual = mean(lengths.values())
    assert {name: n for name, n in lengths.items() if abs(n / usual - 1) > 0.12} == {}
    texts = [text for concept in LIBRARY.files for text in concept.descriptions]
    assert {count_sentences(text) for text in texts} <= {2, 3}


def test_no_opening_is_a_template() -> None:
    openings = Counter(opening(text, 3) for c in LIBRARY.concepts for text in c.descriptions)
    assert max(count for words, count in openings.items() if words != "when i am") <= 2
    assert openings["when i am"] <= 0.1 * openings.total()


@pytest.mark.parametrize("part", PARTS)
def test_held_out_texts_are_balanced(part: str) -> None:
    texts = read_shipped(part, library="stances")
    by_label = Counter(text.labels[0] for text in texts)
    assert by_label == dict.fromkeys(LIBRARY.names(), 6 if part == "dialogue" else 5)
    words = {
        label: mean(len(words_of(t.text)) for t in texts if t.labels == (label,))
        for label in by_label
    }
    usual = mean(words.values())
    assert {label: n for label, n in words.items() if abs(n / usual - 1) > 0.2} == {}


def test_no_held_out_text_names_a_concept() -> None:
    forms = concept_words(LIBRARY.names())
    texts = read_shipped(library="stances")
    assert len(texts) == 220 + 24
    assert [text for text in texts if forms.found_in(text.text)] == []


def test_held_out_texts_are_near_neither_each_other_nor_a_description() -> None:
    held_out = [text.text for text in read_shipped(library="stances")]
    described = [text for concept in LIBRARY.files for text in concept.descriptions]
    pairs = [*combinations(held_out, 2), *((a, b) for a in held_out for b in described)]
    assert [pair for pair in pairs if fuzz.ratio(*pair, score_cutoff=70)] == []


def test_its_name_stands_for_its_labelled_texts() -> None:
    for library in LIBRARIES:
        assert read_labelled(Path(f"shipped:{library}")) == read_shipped(library=library)
