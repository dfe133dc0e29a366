"""AUROC against counting pairs."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from readout_ui.vectors.auroc import auroc, average_precision, grouped_auroc


def counted(scores: list[int], positive: list[bool]) -> float:
    own = [s for s, p in zip(scores, positive, strict=True) if p]
    others = [s for s, p in zip(scores, positive, strict=True) if not p]
    return sum((a > b) + (a == b) / 2 for a in own for b in others) / (len(own) * len(others))


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=30))
def test_it_is_the_part_of_pairs_in_the_right_order_with_ties_as_half(
    texts: list[tuple[int, bool]],
) -> None:
    scores, positive = [s for s, _ in texts], [p for _, p in texts]
    found = float(auroc(np.array(scores, dtype=np.float32), np.array(positive)))
    if all(positive) or not any(positive):
        assert np.isnan(found)
    else:
        assert found == pytest.approx(counted(scores, positive))


def test_all_columns_are_scored_at_once() -> None:
    scores = np.random.default_rng(0).normal(size=(40, 3, 5))
    positive = np.arange(40) < 15
    together = auroc(scores, positive[:, None, None])
    assert together.shape == (3, 5)
    assert together[1, 2] == pytest.approx(float(auroc(scores[:, 1, 2], positive)))


def test_equal_scores_are_chance() -> None:
    assert auroc(np.zeros(10), np.arange(10) < 3) == 0.5


def test_groups_score_like_each_against_the_rest_with_ties_and_texts_of_no_group() -> None:
    draws = np.random.default_rng(1)
    scores = draws.integers(0, 9, (30, 2, 4)).astype(np.float32)
    group = np.concatenate([np.repeat([0, 1, 2], 8), np.full(6, 4)])  # none is of concept 3
    found = grouped_auroc(scores, group)
    assert found.shape == (2, 4)
    for concept in range(3):
        alone = auroc(scores[:, :, concept], (group == concept)[:, None])
        assert found[:, concept] == pytest.approx(alone)
    assert np.isnan(found[:, 3]).all()


def test_the_memory_of_groups_grows_with_the_texts_and_not_with_their_square() -> None:
    scores = np.random.default_rng(3).random((4000, 1, 3), dtype=np.float32)
    tracemalloc.start()
    grouped_auroc(scores, np.arange(4000) % 3)
    largest = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert largest < 20 * scores.nbytes  # pairs of texts take 1,300 times the scores


def test_average_precision_is_that_of_scikit_learn_with_ties_too() -> None:
    from sklearn.metrics import average_precision_score

    draws = np.random.default_rng(2)
    scores, own = draws.integers(0, 12, (50, 3)), draws.random((50, 3)) < 0.2
    own[:, 2] = False
    found = average_precision(scores.astype(np.float32), own)
    expected = [average_precision_score(own[:, c], scores[:, c]) for c in range(2)]
    assert found[:2] == pytest.approx(expected)
    assert np.isnan(found[2])
