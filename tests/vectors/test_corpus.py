"""The activations of a run's texts, from the cache where it has them."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from readout_ui.activations.cache import ActivationCache
from readout_ui.activations.pooling import Rows
from readout_ui.models.loading import LoadedModel, ModelSpec, load_model
from readout_ui.progress import Progress
from readout_ui.runs.training import train
from readout_ui.texts.library import Library
from readout_ui.vectors.layer_fits import fit_and_rate
from readout_ui.vectors.settings import TrainSettings
from readout_ui.vectors.training import assemble, extract, read_corpus
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


@pytest.mark.parametrize("method", ["mean", "whitened"])
def test_a_fit_of_rows_where_they_were_read_copies_nothing_and_is_the_same(
    model: LoadedModel, method: str
) -> None:
    texts = {name: tuple(some) for name, some in SMALL_LIBRARY.items()}
    apart = extract(texts, model, TrainSettings(method=method))
    rows, tokens = apart.corpus.activations, apart.calibration
    assert isinstance(rows, Rows)
    assert isinstance(tokens, Rows)
    fitted = fit_and_rate(apart.corpus, rows, apart.corpus.groups, None)
    vectors = assemble(fitted.directions, apart)
    here = apart.corpus.at(1)
    assert "whole" not in {*vars(rows), *vars(tokens)}
    pooled, kept = apart.corpus.pooled, apart.tokens
    corpus = replace(apart.corpus, activations=pooled, neutral_tokens=kept)
    alike = fit_and_rate(corpus, pooled, corpus.groups, None)
    torch.testing.assert_close(fitted.directions, alike.directions, rtol=0, atol=1e-6)
    assert fitted.scores == alike.scores
    others = assemble(fitted.directions, replace(apart, corpus=corpus, calibration=kept))
    for name in ("center", "neutral_mean", "neutral_std"):
        one, two = (getattr(some, name) for some in (vectors, others))
        torch.testing.assert_close(one, two, rtol=0, atol=1e-6)
    one, two = (some.probes.scores for some in (vectors, others) if some.probes)
    torch.testing.assert_close(one, two, rtol=1e-5, atol=1e-5)
    assert torch.equal(here.pooled[:, 0], pooled[:, 1])
