"""The shipped contrast pairs: complete, different, and alike in everything but the contrast."""

import numpy as np
import pytest
from rapidfuzz import fuzz

from readout_ui.texts.lint_sources import check_pairs
from readout_ui.texts.pairs import PRESETS, PairSet, shipped_pairs
from readout_ui.texts.words import words_of
from readout_ui.vectors.auroc import auroc
from readout_ui.vectors.metrics import bag_of_words_scores

MOST_BY_WORDS = {"tom": 0.85, "irony": 0.75, "self_other": 0.95, "harmfulness": 0.80}
"""Held-out AUROC that a bag of words may reach; self and other differ in their pronouns."""


@pytest.fixture(params=PRESETS)
def shipped(request: pytest.FixtureRequest) -> PairSet:
    return shipped_pairs(request.param)


def test_there_are_forty_pairs_with_the_columns_of_the_preset(shipped: PairSet) -> None:
    assert len(shipped.pairs) == 40
    assert shipped.columns == PRESETS[shipped.name]
    assert all(bool(pair.prompt) == bool(shipped.columns.prompt) for pair in shipped.pairs)


def test_no_text_or_prompt_comes_twice(shipped: PairSet) -> None:
    sides = [words_of(side) for pair in shipped.pairs for side in (pair.positive, pair.negative)]
    assert len(set(sides)) == 80
    prompts = [pair.prompt for pair in shipped.pairs if pair.prompt]
    assert len(set(prompts)) == len(prompts)
    joined = [f"{pair.prompt} {pair.positive}" for pair in shipped.pairs]
    likest = max(fuzz.token_sort_ratio(a, b) for i, a in enumerate(joined) for b in joined[:i])
    assert likest < 75


def test_length_does_not_give_the_polarity_away(shipped: PairSet) -> None:
    for measure in (len, lambda text: len(words_of(text))):
        pairs = [(measure(pair.positive), measure(pair.negative)) for pair in shipped.pairs]
        longer = np.mean([(a > b) + (a == b) / 2 for a, b in pairs])
        assert 0.35 <= longer <= 0.65, (shipped.name, longer)
        assert abs(sum(a - b for a, b in pairs)) / sum(a + b for a, b in pairs) < 0.02
        assert all(abs(a - b) <= 0.3 * max(a, b) + 3 for a, b in pairs)


def test_the_lint_finds_nothing(shipped: PairSet) -> None:
    assert check_pairs(shipped) == ()


def test_words_alone_tell_the_sides_apart_no_better_than_allowed(shipped: PairSet) -> None:
    folds = np.arange(40) % 8
    texts = np.array([(pair.positive, pair.negative) for pair in shipped.pairs])  # (n_pairs, 2)
    scores = np.empty((40, 2))
    for fold in range(8):
        train, labels = texts[folds != fold].ravel(), ["positive", "negative"] * 35
        held_out = texts[folds == fold].ravel()
        found = bag_of_words_scores(train.tolist(), labels, held_out.tolist(), ["positive"])
        scores[folds == fold] = found.reshape(-1, 2)
    reached = float(auroc(scores.ravel(), np.tile([True, False], 40)))
    print(f"{shipped.name}: words alone reach {reached:.2f}")
    assert reached <= MOST_BY_WORDS[shipped.name]
