"""Grouping texts and drawing the same pairs everywhere."""

import os
import subprocess
import sys

import pytest

from readout_ui.errors import UserError
from readout_ui.vectors.groups import PairSettings, TextGroups, sample_pairs

GROUPS = TextGroups(("calm", "tired"), ((0, 1, 2), (3, 4)), (5, 6, 7))


def test_negatives_are_the_other_concepts_and_then_the_neutral_texts() -> None:
    assert GROUPS.negatives("calm") == (3, 4, 5, 6, 7)
    assert GROUPS.negatives("tired") == (0, 1, 2, 5, 6, 7)


def test_every_positive_gets_different_negatives_up_to_the_limit() -> None:
    pairs = sample_pairs(GROUPS, "calm", PairSettings(max_negatives_per_positive=4))
    assert [positive for positive, _ in pairs] == [0] * 4 + [1] * 4 + [2] * 4
    for positive in (0, 1, 2):
        negatives = [n for p, n in pairs if p == positive]
        assert len(set(negatives)) == 4
        assert set(negatives) <= {3, 4, 5, 6, 7}


def test_a_small_pool_is_used_whole() -> None:
    pairs = sample_pairs(GROUPS, "calm", PairSettings(max_negatives_per_positive=20))
    assert sorted(n for p, n in pairs if p == 1) == [3, 4, 5, 6, 7]


def test_seed_and_concept_choose_the_pairs() -> None:
    groups = TextGroups(("a", "b"), (tuple(range(5)), tuple(range(5, 10))), tuple(range(10, 60)))
    first = sample_pairs(groups, "a", PairSettings(seed=0))
    assert first == sample_pairs(groups, "a", PairSettings(seed=0))
    assert first != sample_pairs(groups, "a", PairSettings(seed=1))
    other = sample_pairs(groups, "b", PairSettings(seed=0))
    assert [n for _, n in first if n >= 10] != [n for _, n in other if n >= 10]


def test_another_process_draws_the_same_pairs() -> None:
    program = (
        "from readout_ui.vectors.groups import *;"
        "print(sample_pairs(TextGroups(('a','b'), ((0,1),(2,3)), tuple(range(4,90))), 'a',"
        " PairSettings(seed=7)))"
    )
    printed = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in ("1", "2")
    }
    groups = TextGroups(("a", "b"), ((0, 1), (2, 3)), tuple(range(4, 90)))
    assert printed == {f"{sample_pairs(groups, 'a', PairSettings(seed=7))}\n"}


def test_the_draws_follow_the_seed_trainers_loop() -> None:
    import hashlib
    import random

    pool = ["t0", "t1", "n0", "n1", "n2"]
    draws = random.Random(int.from_bytes(hashlib.sha256(b"3:calm").digest()[:8], "big"))
    expected = [(p, n) for p in ("c0", "c1", "c2") for n in draws.sample(pool, min(2, len(pool)))]
    texts = ["c0", "c1", "c2", "t0", "t1", "n0", "n1", "n2"]
    pairs = sample_pairs(GROUPS, "calm", PairSettings(seed=3, max_negatives_per_positive=2))
    assert [(texts[p], texts[n]) for p, n in pairs] == expected


@pytest.mark.parametrize(
    ("concepts", "rows", "neutral", "message"),
    [
        ((), (), (0,), "no concept"),
        (("calm",), ((),), (0,), "calm: has no description"),
        (("calm",), ((0,),), (), "only concept"),
    ],
)
def test_groups_that_cannot_be_trained_are_refused(
    concepts: tuple[str, ...],
    rows: tuple[tuple[int, ...], ...],
    neutral: tuple[int, ...],
    message: str,
) -> None:
    with pytest.raises(UserError, match=message):
        TextGroups(concepts, rows, neutral)


def test_zero_negatives_per_positive_are_refused() -> None:
    with pytest.raises(UserError, match="use 1 or more"):
        PairSettings(max_negatives_per_positive=0)
