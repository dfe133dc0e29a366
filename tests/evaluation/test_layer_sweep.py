"""The sweep over layers, methods and read rules, on activations with a planted layer."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from readout_ui.activations.cache import ActivationCache
from readout_ui.evaluation.layer_sets import best_layer_sets, export_bytes
from readout_ui.evaluation.layers import (
    corpora_by_rule,
    fill_layers,
    refit_order,
    sweep_means,
)
from readout_ui.models.loading import ModelSpec, load_model
from readout_ui.progress import Progress
from readout_ui.texts.library import Library
from readout_ui.vectors.cross_validation import cross_validated_layers
from readout_ui.vectors.groups import TextGroups
from readout_ui.vectors.methods import METHODS
from readout_ui.vectors.settings import TrainSettings
from readout_ui.vectors.training import Corpus, read_corpus
from tests.support.tiny_model import save_tiny_model

N_CONCEPTS, N_DESCRIPTIONS, N_NEUTRAL, D_MODEL = 5, 6, 8, 24


def planted(strength: list[float], n_descriptions: int = N_DESCRIPTIONS, seed: int = 0) -> Corpus:
    """Noise round a far mean; each concept shares a direction, `strength` long per layer."""
    n_texts = N_CONCEPTS * n_descriptions
    rows = tuple(tuple(range(i, i + n_descriptions)) for i in range(0, n_texts, n_descriptions))
    names = tuple(f"concept{i}" for i in range(N_CONCEPTS))
    groups = TextGroups(names, rows, tuple(range(n_texts, n_texts + N_NEUTRAL)))
    generator = torch.Generator().manual_seed(seed)
    pooled = torch.randn(n_texts + N_NEUTRAL, len(strength), D_MODEL, generator=generator)
    for own in rows:
        shared = torch.randn(len(strength), D_MODEL, generator=generator)
        pooled[list(own)] += shared * torch.tensor(strength)[:, None]
    texts = tuple(f"text {row}" for row in range(len(pooled)))
    return Corpus(texts, groups, pooled + 50, TrainSettings())


def test_the_planted_layer_is_best_for_every_concept_and_alone_recommended() -> None:
    corpus = planted([0.0, 0.1, 2.0, 0.1])
    sweep = sweep_means([corpus])
    best = sweep.best()
    assert best is not None
    assert best[1] == 2
    assert all(sweep.scores(concept)[0, 2] > 0.9 for concept in sweep.concepts)
    assert best_layer_sets(corpus).recommended == 2


def test_where_nothing_is_planted_every_method_scores_like_chance() -> None:
    corpora = [planted([0.0] * 6, n_descriptions=10, seed=seed) for seed in range(3)]
    sweeps = [fill_layers(sweep_means([c]), [c], range(6)) for c in corpora]
    for column in range(len(METHODS)):
        found = np.mean([sweep.scores()[column] for sweep in sweeps])
        assert found == pytest.approx(0.5, abs=0.04)


def test_the_columns_of_all_layers_are_what_the_layer_choice_found() -> None:
    corpus = planted([0.2, 0.5, 0.8])
    found = {column.method: column.macro for column in sweep_means([corpus], folds=8).columns}
    for method in ("mean", "whitened"):
        chosen = cross_validated_layers(corpus.pooled, corpus.groups, folds=8, method=method)
        assert found[method] == pytest.approx(chosen.auroc)


def test_a_refit_by_mean_difference_equals_its_closed_form() -> None:
    from readout_ui.evaluation.layers import _refit_scores, held_out_scores
    from readout_ui.vectors.cross_validation import assign_folds

    corpus = planted([0.7])
    assignment = assign_folds(corpus.groups, 4, 0)
    texts = corpus.pooled[:, 0].numpy()
    texts = (texts - texts.mean(axis=0))[assignment.rows]
    first = assignment.fold == 0
    closed = held_out_scores(corpus, 0, assignment, "mean")[first]
    refitted = _refit_scores(texts, texts[:0], first, corpus, assignment, "mean")
    assert refitted == pytest.approx(closed, abs=1e-4)


def test_few_layers_at_a_time_score_like_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = planted([0.2, 0.5, 0.8, 0.4])
    together = sweep_means([corpus]).scores()
    monkeypatch.setattr("readout_ui.vectors.cross_validation._BLOCK", 1)
    reports: list[Progress] = []
    assert sweep_means([corpus], report=reports.append).scores() == pytest.approx(
        together, nan_ok=True
    )
    assert [report.done for report in reports] == 2 * [0, 1, 2, 3]


def test_layers_that_were_not_fitted_are_empty_and_counted() -> None:
    corpus = planted([0.5] * 4)
    corpora = [corpus, replace(corpus, settings=TrainSettings(read="content_tail"))]
    sweep = sweep_means(corpora)
    assert sweep.n_missing == 3 * 2 * 4
    filled = fill_layers(sweep, corpora, [1])
    assert filled.n_missing == 3 * 2 * 3
    assert {c.computed for c in filled.columns if c.method == "pca"} == {(1,)}
    assert np.isnan(filled.to_frame().to_numpy()[0, -1])


def test_pca_and_logistic_find_what_is_planted() -> None:
    corpus = planted([0.0, 3.0])
    filled = fill_layers(sweep_means([corpus]), [corpus], [0, 1])
    assert (filled.scores()[:, 1] > 0.9).all()
    assert (filled.scores()[:, 0] < filled.scores()[:, 1]).all()


def test_every_layer_is_fitted_once_the_best_one_first() -> None:
    order = refit_order(30, 17)
    assert order[0] == 17
    assert sorted(order) == list(range(30))


def test_concepts_with_one_description_are_left_out() -> None:
    corpus = planted([1.0, 1.0], n_descriptions=1)
    groups = TextGroups(("a", "b"), ((0, 1, 2), (3,)), (4, 5, 6))
    pooled = corpus.pooled[:7]
    sweep = sweep_means([Corpus(corpus.texts[:7], groups, pooled, TrainSettings())])
    assert sweep.concepts == ("a",)


def test_two_layers_that_know_different_concepts_are_chosen_together() -> None:
    corpus = planted([0.0, 0.0, 0.0, 0.0])
    generator = torch.Generator().manual_seed(9)
    pooled = corpus.pooled.clone()
    for layer, concepts in ((1, (0, 1, 2)), (3, (2, 3, 4))):
        for concept in concepts:
            own = list(corpus.groups.rows[concept])
            pooled[own, layer] += 3 * torch.randn(D_MODEL, generator=generator)
    sets = best_layer_sets(replace(corpus, activations=pooled)).sets
    assert sets[1].layers == (1, 3)
    assert sets[1].elsewhere == 1
    assert sets[1].gain > sets[1].gain_error > 0


def test_a_set_chosen_from_noise_is_not_flattered_where_it_is_scored_elsewhere() -> None:
    found = [best_layer_sets(planted([0.0] * 12, 12, seed), most=3).sets[2] for seed in range(4)]
    assert np.mean([chosen.auroc for chosen in found]) > 0.54
    assert np.mean([chosen.elsewhere for chosen in found]) == pytest.approx(0.5, abs=0.04)


def test_cost_grows_by_one_layer_and_is_that_of_an_export() -> None:
    sets = best_layer_sets(planted([1.0, 1.0, 1.0])).sets
    assert [s.multiply_adds for s in sets] == [n * N_CONCEPTS * D_MODEL for n in (1, 2, 3)]
    assert sets[1].n_bytes == 2 * sets[0].n_bytes
    assert export_bytes(1, 3, 64) == 3 * 64 * 2 + 64 * 4 + 2 * 3 * 4


def test_without_two_descriptions_of_any_concept_there_is_no_set() -> None:
    sets = best_layer_sets(planted([1.0] * 6, n_descriptions=1))
    assert sets.sets == ()
    assert sets.recommended == 2


def test_the_rules_of_one_capture_are_swept_with_one_new_pass(
    tmp_path: Path, descriptions: Path
) -> None:
    model = load_model(ModelSpec(str(save_tiny_model(tmp_path / "model")), device="cpu"))
    cache = ActivationCache(tmp_path / "cache")
    texts = Library(descriptions).texts()
    corpus = read_corpus(model, texts, TrainSettings(), cache)
    reports: list[Progress] = []
    corpora = list(
        corpora_by_rule(corpus, lambda s: read_corpus(model, texts, s, cache, reports.append))
    )
    assert [c.settings.read for c in corpora] == ["content_mean", "content_last", "content_tail"]
    n_texts = len({text for some in texts.values() for text in some})
    assert [(r.done, r.total) for r in reports if not r.done] == [(0, n_texts)]
    assert sweep_means(corpora).n_layers == model.n_layers
