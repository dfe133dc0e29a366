"""Shortcuts: planted words, openings, lengths and marks are found; random texts give none."""

import numpy as np
import pytest

from readout_ui.evaluation.shortcuts import FALSE_ALARM, Shortcuts, find_shortcuts, permutation_p
from tests.support.synthetic_corpus import Shape, make_groups, make_texts

SHAPE = Shape()
N_TEXTS = 72


def found_with(changed: dict[int, str], seed: int = 0) -> Shortcuts:
    """Shortcuts of random texts, of which some are replaced; `{}` stands for the old text."""
    texts = list(make_texts(seed, N_TEXTS))
    for row, pattern in changed.items():
        texts[row] = pattern.format(texts[row])
    return find_shortcuts(texts, make_groups(SHAPE))


def listed(found: Shortcuts, kind: str) -> list[tuple[str, str]]:
    return [(one.concept, one.what) for one in found.found if one.kind == kind]


def test_a_word_shared_within_one_concept_is_found_with_its_counts() -> None:
    found = found_with(dict.fromkeys((16, 17, 19, 20, 22), "{} kitchen."))
    assert listed(found, "word") == [("cconcept", "kitchen")]
    one = found.found[0]
    assert (one.inside, one.of, one.outside, one.of_outside) == (5, 8, 0, 64)
    assert one.indices == (0, 1, 3, 4, 6)
    assert "5 of 8 descriptions contain “kitchen”" in one.sentence()
    model = found.models[2]
    assert model.top[0].word == "kitchen"
    assert model.auroc > 0.6


def test_a_shared_opening_is_found_once_at_its_full_length() -> None:
    patterns = dict.fromkeys((0, 1, 2, 3, 4, 5), "wa wb wc {}")
    assert listed(found_with(patterns), "opening") == [("aconcept", "wa wb wc")]


def test_longer_texts_and_exclamation_marks_are_found() -> None:
    found = found_with(dict.fromkeys(range(24, 32), "{} wa wb wc wa wb wc wa wb wc wa!"))
    assert ("dconcept", "words") in listed(found, "length")
    assert listed(found, "punctuation") == [("dconcept", "!")]


def test_a_concepts_own_name_is_counted_apart_and_is_no_finding() -> None:
    found = found_with(dict.fromkeys(range(8), "{} aconcept aconcepts"))
    assert found.found == ()
    assert (found.models[0].own_word, found.models[0].of) == (8, 8)
    assert "aconcept" not in {top.word for top in found.models[0].top}


def test_random_texts_give_false_alarms_at_the_stated_rate() -> None:
    n_seeds = 60
    words, measures = 0, 0
    for seed in range(n_seeds):
        kinds = {one.kind for one in found_with({}, seed).found}
        words += bool(kinds & {"word", "opening"})
        measures += bool(kinds & {"length", "punctuation"})
    limit = n_seeds * FALSE_ALARM + 3 * np.sqrt(n_seeds * FALSE_ALARM * (1 - FALSE_ALARM))
    assert words <= limit
    assert measures <= limit


def test_permutation_p_is_corrected_for_concepts_and_measures() -> None:
    values = np.arange(12.0)[:, None]
    own = np.zeros((12, 2), dtype=bool)
    own[9:, 0], own[4:7, 1] = True, True
    p, difference = permutation_p(values, own, seed=0)
    # The three highest of twelve: 2 of 220 ways, for either of two disjoint concepts.
    assert p[0, 0] == pytest.approx(4 / 220, abs=0.01)
    assert p[1, 0] > 0.9
    assert difference[0, 0] > 0


def test_texts_without_words_and_libraries_of_one_text_each_are_no_error() -> None:
    texts = ("…", "", "wa wb.")
    found = find_shortcuts(texts, make_groups(Shape(2, 1, 1)))
    assert found.found == ()
    assert [model.of for model in found.models] == [1, 1]
