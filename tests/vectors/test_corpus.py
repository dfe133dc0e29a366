"""The activations of a run's texts, from the cache where it has them."""

from pathlib import Path

import pytest

from readout_ui.activations.cache import ActivationCache
from readout_ui.models.loading import LoadedModel, ModelSpec, load_model
from readout_ui.progress import Progress
from readout_ui.runs.training import train
from readout_ui.texts.library import Library
from readout_ui.vectors.settings import TrainSettings
from readout_ui.vectors.training import read_corpus
from tests.conftest import SMALL_LIBRARY
from tests.support.tiny_model import save_tiny_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    folder = save_tiny_model(tmp_path_factory.mktemp("tiny-llama"))
    return load_model(ModelSpec(model=str(folder), device="cpu", dtype="fp32"))


def test_after_a_training_a_corpus_needs_no_forward(
    model: LoadedModel, descriptions: Path, tmp_path: Path
) -> None:
    cache = ActivationCache(tmp_path / "cache")
    trained = train(Library(descriptions), model, TrainSettings(), cache)
    reports: list[Progress] = []
    corpus = read_corpus(model, trained.texts, trained.settings, cache, reports.append)
    assert not any(report.stage == "Reading texts" and report.done for report in reports)
    assert corpus.pooled.shape == (16, model.n_layers, model.d_model)


def test_a_row_knows_its_concept_and_neutral_texts_have_none(model: LoadedModel) -> None:
    corpus = read_corpus(model, {k: tuple(v) for k, v in SMALL_LIBRARY.items()}, TrainSettings())
    row = corpus.texts.index(SMALL_LIBRARY["calm"][1])
    assert corpus.place(row) == ("calm", 1)
    assert corpus.place(corpus.groups.neutral[0]) is None
