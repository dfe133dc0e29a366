"""Mutated inputs for every reader, the same in every run; `make fuzz` goes on with others."""

import pytest

from tests.support.fuzzing import CORPUS, TARGETS, fuzz

pytestmark = pytest.mark.once


@pytest.mark.parametrize("name", TARGETS)
def test_every_input_is_read_or_refused_in_one_sentence(name: str) -> None:
    fuzz(name, 150, seed=0)


def test_every_target_has_a_corpus() -> None:
    assert {path.name for path in CORPUS.iterdir()} == set(TARGETS)
