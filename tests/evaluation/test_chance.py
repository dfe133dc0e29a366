"""The band of neutral texts: counted from stretches, wider than for tokens drawn at random."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from readout_ui.evaluation.chance import MOST_TEXTS, NeutralScores, neutral_texts
from readout_ui.inference.reading import Reading

LAYERS, CONCEPTS, WORDS = 2, 3, 40


class Neutral:
    """A readout whose neutral texts have a level of their own each, and noise on every token."""

    def __init__(self) -> None:
        self.read_texts: list[str] = []

    def read(self, text: str, mode: str) -> Reading:
        assert mode == "assistant"
        self.read_texts.append(text)
        rng = np.random.default_rng(len(text))
        shape = (WORDS + 1, LAYERS, CONCEPTS)
        level = rng.normal(size=(1, LAYERS, CONCEPTS))
        z = (level + rng.normal(size=shape)).astype(np.float32)
        z[0] = 500  # a first token, which never counts
        scored = np.array([False] + [True] * WORDS)
        return Reading(
            ("<s>", *("a",) * WORDS),
            ("template", *("assistant",) * WORDS),
            ("x", "y", "z"),
            (4, 7),
            *(z, z, z),
            np.stack([np.eye(CONCEPTS, dtype=np.float32)] * LAYERS),
            scored,
        )


@pytest.fixture(scope="module")
def neutral() -> NeutralScores:
    found = NeutralScores(tuple("w" * n for n in range(1, 31)))
    readout: Any = Neutral()
    found.read(readout, 10)
    assert not found.complete
    found.read(readout, 100)
    assert found.complete
    assert readout.read_texts == list(found.texts)
    return found


def test_a_band_holds_95_percent_of_the_stretches_of_its_length(neutral: NeutralScores) -> None:
    band = neutral.band(10)
    assert (band.length, band.low.shape) == (10, (LAYERS, CONCEPTS))
    means = np.concatenate(
        [(each[10:] - each[:-10]) / 10 for each in neutral.sums]
    )  # (n_stretches, n_layers, n_concepts)
    inside = ((means >= band.low) & (means <= band.high)).mean(axis=0)
    np.testing.assert_allclose(inside, 0.95, atol=0.02)


def test_texts_alike_in_themselves_make_the_band_wider_than_chance_alone(
    neutral: NeutralScores,
) -> None:
    word, text = neutral.band(1), neutral.band(WORDS)
    assert np.all(text.high - text.low < word.high - word.low)
    drawn_at_random = (word.high - word.low) / np.sqrt(WORDS)
    assert np.all(text.high - text.low > 2 * drawn_at_random)


def test_a_length_beyond_every_neutral_text_gets_the_longest_there_is(
    neutral: NeutralScores,
) -> None:
    band = neutral.band(5000)
    assert band.length == WORDS
    np.testing.assert_array_equal(band.low, neutral.band(WORDS).low)


def test_one_neutral_token_in_a_hundred_is_above_a_threshold(neutral: NeutralScores) -> None:
    z = np.concatenate([np.diff(each, axis=0) for each in neutral.sums])
    above = (z > neutral.thresholds()).mean(axis=0)
    np.testing.assert_allclose(above, 0.01, atol=0.005)


def test_a_run_gives_its_own_neutral_texts_spread_over_its_files() -> None:
    many = tuple(f"text number {i}" for i in range(500))
    texts = {"calm": ("I am at ease.",), "_b": many, "_a": ("One of these.", "short")}
    found = neutral_texts(texts)
    assert len(found) <= MOST_TEXTS
    assert found[0] == "One of these."
    assert set(found[1:]) < set(many)
    assert int(found[-1].split()[-1]) > 450


def test_a_run_without_neutral_texts_gets_the_shipped_ones() -> None:
    found = neutral_texts({"calm": ("I am at ease.",)})
    assert len(found) > 10
    assert "I am at ease." not in found
