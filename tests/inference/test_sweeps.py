"""Pairs and sweeps: the same seed with and without steering, and where steering breaks a text."""

from typing import Any

import numpy as np
import pytest

from readout_ui.errors import UserError
from readout_ui.inference.generation import frame_for_answer
from readout_ui.inference.reading import z_scores
from readout_ui.inference.sampling import Sampling
from readout_ui.inference.steering_setup import Steer, SteeringSetup, Where
from readout_ui.inference.sweep import (
    DEFAULT_FACTORS,
    PLAIN,
    Trial,
    answer_mean,
    compare,
    sweep,
    usable_range,
)
from readout_ui.models.chat_template import Turn
from readout_ui.models.loading import LoadedModel
from readout_ui.models.weights import weights_fingerprint
from readout_ui.progress import Cancelled, Progress
from tests.support.loaded_tiny import load_tiny, random_readout

SETUP = SteeringSetup((Steer("calm", (0,), 0.5),))


@pytest.fixture(scope="module")
def model() -> LoadedModel:
    return load_tiny()


@pytest.fixture(scope="module")
def trial(model: LoadedModel) -> Trial:
    prompt = frame_for_answer(model, [Turn("user", "How do you feel?")])
    sampling = Sampling(temperature=0.9, max_new_tokens=6, seed=3)
    return Trial(random_readout(model), prompt, sampling)


def test_a_pair_starts_from_the_same_seed_and_differs_only_by_the_setup(trial: Trial) -> None:
    same = compare(trial, PLAIN)
    assert same.steered.token_ids == same.baseline.token_ids
    assert same.steered_perplexity == same.plain_perplexity
    pair = compare(trial, SETUP)
    assert pair.baseline.token_ids == same.baseline.token_ids
    assert pair.steered.token_ids != pair.baseline.token_ids
    assert pair.steered_perplexity != pair.plain_perplexity
    again = compare(trial, SETUP)
    assert again.steered.token_ids == pair.steered.token_ids


def test_the_steered_readout_holds_what_was_added_and_the_words_alone_do_not(
    trial: Trial,
) -> None:
    pair = compare(trial, SteeringSetup((Steer("calm", (2,), 40),), Where("generated")))
    assert pair.steered.reading is not None
    n_prompt = len(trial.prompt.token_ids)
    gap = answer_mean(pair.steered.reading, n_prompt) - answer_mean(pair.alone, n_prompt)
    length = 40 * trial.readout.norms()[2]
    std = float(trial.readout.vectors.neutral_std[0, 1])
    assert gap[1, 0] == pytest.approx(length / std, rel=1e-3)
    before = pair.steered.reading.z[:n_prompt] - pair.alone.z[:n_prompt]
    assert np.abs(before).max() < 1e-3


def test_the_steered_readout_of_a_whole_setup_is_that_of_an_offline_read(trial: Trial) -> None:
    from readout_ui.inference.forward import read_chat

    answer = trial.answer(SETUP)
    with trial.steering(SETUP):
        offline = read_chat(trial.readout.model, trial.readout.vectors, answer.whole)
    assert answer.reading is not None
    np.testing.assert_allclose(answer.reading.raw, offline.raw, rtol=1e-3, atol=1e-4)


def test_a_sweep_has_every_factor_and_its_zero_is_the_baseline(trial: Trial) -> None:
    seen: list[Progress] = []
    found = sweep(trial, SETUP, (-8.0, -1.0, 0.0, 1.0), seen.append)
    assert found.factors == (-8, -1, 0, 1)
    zero = found.points[2]
    assert zero.text == found.baseline.text == trial.answer().text
    assert zero.perplexity == found.plain_perplexity
    # Read token by token and at once: transformers attends by other kernels, so bits may differ.
    np.testing.assert_allclose(zero.during, zero.alone, rtol=1e-5)
    calm_at_its_layer = found.means("during", 0)[:, 0]
    assert list(np.argsort(calm_at_its_layer)) == [0, 1, 2, 3]
    assert found.points[3].text == trial.answer(SETUP).text
    assert (seen[0].done, seen[-1].done, seen[-1].total) == (0, 4, 4)


def test_a_sweep_without_zero_still_measures_the_baseline(trial: Trial) -> None:
    found = sweep(trial, SETUP, (0.5, 1.0))
    assert found.factors == (0.5, 1)
    assert found.plain_perplexity == trial.perplexity(found.baseline)
    assert len(DEFAULT_FACTORS) == 9


def test_a_cancelled_sweep_leaves_the_model_as_it_was(trial: Trial) -> None:
    def stop_in_the_second(progress: Progress) -> None:
        if progress.done == 1:
            raise Cancelled

    with pytest.raises(Cancelled):
        sweep(trial, SETUP, report=stop_in_the_second)
    model = trial.readout.model
    modules = model.model.modules()
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in modules)
    assert weights_fingerprint(model.model) == model.fingerprint


def test_the_usable_range_ends_where_perplexity_first_doubles() -> None:
    factors = (-2, -1, 0, 1, 2, 3)
    broken_on_both_sides = usable_range(factors, (50, 7, 4, 5, 9, 4), plain=4)
    assert (broken_on_both_sides.low, broken_on_both_sides.high) == (-1, 1)
    assert broken_on_both_sides.describe() == "-1 to 1"
    assert 2 not in broken_on_both_sides
    unbroken = usable_range(factors, (4, 4, 4, 4, 4, float("inf")), plain=4)
    assert unbroken.describe() == "-2 or lower to 2"
    assert usable_range((0.5, 1), (99, 99), plain=4).describe() == "only 0"


def test_an_answer_without_a_scored_token_has_no_mean(trial: Trial) -> None:
    readout = trial.alone(trial.answer())
    assert np.isnan(answer_mean(readout, len(readout.tokens))).all()


def test_means_are_z_scores_of_the_answers_tokens(trial: Trial) -> None:
    answer = trial.answer()
    assert answer.reading is not None
    vectors = trial.readout.vectors
    z = z_scores(answer.reading.raw, vectors.neutral_mean.numpy(), vectors.neutral_std.numpy())
    rows = [i for i, role in enumerate(answer.whole.roles) if role == "assistant"]
    expected = z[rows].mean(axis=0)
    np.testing.assert_allclose(
        answer_mean(answer.reading, len(trial.prompt.token_ids)), expected, rtol=1e-5
    )


def failing_at(monkeypatch: pytest.MonkeyPatch, *factors: float) -> None:
    """Answers at these factors end as an overflow does."""
    answer = Trial.answer

    def overflowing(self: Trial, setup: SteeringSetup = PLAIN, *more: Any, **named: Any) -> Any:
        if setup in [SETUP.scaled(factor) for factor in factors]:
            raise UserError("the model's numbers overflow", fix="steer less")
        return answer(self, setup, *more, **named)

    monkeypatch.setattr(Trial, "answer", overflowing)


def test_a_factor_that_fails_leaves_the_others_their_answers(
    trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = sweep(trial, SETUP, (-1.0, 0.0, 1.0))
    failing_at(monkeypatch, 1.0)
    found = sweep(trial, SETUP, (-1.0, 0.0, 1.0))
    assert found.factors == (-1, 0)
    assert [point.text for point in found.points] == [point.text for point in whole.points[:2]]
    (note,) = found.notes
    assert note.startswith("Factor 1 failed: the model's numbers overflow")
    assert found.usable is not None
    assert not found.usable.high_is_end
    assert 1.0 not in found.usable


def test_a_sweep_of_which_every_factor_fails_ends_in_that_sentence(
    trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing_at(monkeypatch, -1.0, 1.0)
    with pytest.raises(UserError, match="overflow"):
        sweep(trial, SETUP, (-1.0, 1.0))
