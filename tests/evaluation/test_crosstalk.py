"""Cosines between directions: exact, ordered, with intervals, and chance told from signal."""

from dataclasses import replace

import numpy as np
import pytest

from readout_ui.evaluation.crosstalk import (
    chance_of,
    cosine_matrix,
    discoveries,
    intervals,
    spread_layers,
)
from readout_ui.evaluation.direction_samples import sample_directions, text_gram
from readout_ui.progress import Progress
from readout_ui.vectors.groups import PairSettings, TextGroups
from readout_ui.vectors.methods import METHODS
from readout_ui.vectors.training import Corpus
from tests.support.planted_corpus import make_corpus


def fitted(corpus: Corpus, method: str, layer: int = 0) -> np.ndarray:
    """Directions as a training fits them."""
    directions = METHODS[method](corpus.pooled, corpus.groups, PairSettings())
    return directions[:, layer].double().numpy()


@pytest.mark.parametrize(("sizes", "n_neutral"), [((3, 5, 8, 2), 4), ((3, 5, 8), 0), ((1, 4), 3)])
def test_cosines_are_those_of_the_fitted_directions(sizes: tuple[int, ...], n_neutral: int) -> None:
    corpus = make_corpus(sizes, strength=0.5, n_neutral=n_neutral)
    directions = fitted(corpus, "mean")
    found = cosine_matrix(corpus, 0, n_boot=20).cosine
    np.testing.assert_allclose(found, directions @ directions.T, atol=1e-4)


@pytest.mark.parametrize("method", ["mean", "whitened"])
def test_with_contrast_texts_cosines_are_those_of_the_fitted_directions(method: str) -> None:
    corpus = make_corpus((4, 5, 3), strength=0.5, method=method, contrasts={0: 4, 2: 6})
    directions = fitted(corpus, method)
    found = cosine_matrix(corpus, 0, n_boot=200)
    np.testing.assert_allclose(found.cosine, directions @ directions.T, atol=1e-4)
    pairs = np.triu_indices(3, k=1)
    assert ((found.low < found.cosine) & (found.cosine < found.high))[pairs].all()


def test_resampled_directions_point_away_from_contrast_texts_that_are_resampled_too() -> None:
    corpus = make_corpus((40, 40), n_neutral=40, d_model=8, contrasts={0: 40})
    corpus.pooled[list(corpus.groups.against[0])] += 3
    lengths = sample_directions(text_gram(corpus, 0), 400, seed=0).resampled[:, 0, 0]
    texts, draws = corpus.pooled[:, 0].double().numpy(), np.random.default_rng(1)
    drawn = [
        [texts[draws.integers(0, 40, 40) + start].mean(axis=0) for start in (0, 120)]
        for _ in range(400)
    ]
    expected = [np.sum((own - against) ** 2) for own, against in drawn]
    assert lengths.mean() == pytest.approx(np.mean(expected), rel=0.1)
    assert lengths.std() == pytest.approx(np.std(expected), rel=0.2)


def test_concepts_that_share_their_contrast_texts_are_alike_by_chance_alone() -> None:
    corpus = make_corpus(contrasts={0: 6, 1: 6})
    shared = corpus.pooled[list(corpus.groups.against[0])] + 1
    for own in corpus.groups.against[:2]:
        corpus.pooled[list(own)] = shared
    found = cosine_matrix(corpus, 0, 60)
    assert found.cosine[0, 1] > 0.6
    assert not found.differs[0, 1]


@pytest.mark.parametrize("method", ["pca", "logistic"])
def test_a_run_fitted_otherwise_shows_the_cosines_of_its_own_directions(method: str) -> None:
    corpus = make_corpus((5,) * 4, strength=0.5, method=method)
    directions = fitted(corpus, method)
    found = cosine_matrix(corpus, 0, n_boot=20)
    np.testing.assert_allclose(found.cosine, directions @ directions.T, atol=1e-5)
    as_mean = cosine_matrix(replace(corpus, settings=make_corpus((5,)).settings), 0, n_boot=20)
    assert found.method == method
    np.testing.assert_array_equal(found.low, as_mean.low)


def test_bootstrapped_directions_are_those_of_the_resampled_texts() -> None:
    corpus = make_corpus((40, 40), strength=0.3, n_neutral=40, d_model=8)
    samples = sample_directions(text_gram(corpus, 0), 400, seed=0)
    texts = corpus.pooled[:, 0].double().numpy()
    draws = np.random.default_rng(1)
    lengths = []
    for _ in range(400):
        own, other = (texts[draws.integers(0, 40, 40) + start].mean(axis=0) for start in (0, 40))
        neutral = texts[draws.integers(0, 40, 40) + 80].mean(axis=0)
        lengths.append(np.sum((own - (other + neutral) / 2) ** 2))
    assert samples.resampled[:, 0, 0].mean() == pytest.approx(np.mean(lengths), rel=0.1)
    assert samples.resampled[:, 0, 0].std() == pytest.approx(np.std(lengths), rel=0.2)


def test_with_nothing_planted_few_libraries_show_any_cell() -> None:
    pairs = np.triu_indices(10, k=1)
    alarms = [cosine_matrix(make_corpus(seed=s), 0, 60).differs[pairs].any() for s in range(25)]
    assert sum(alarms) <= 4


def test_directions_planted_apart_are_not_called_alike() -> None:
    found = cosine_matrix(make_corpus(strength=1.0), 0, 60)
    assert not found.differs[np.triu_indices(10, k=1)].any()


def test_a_planted_copy_is_found_and_stands_beside_its_original() -> None:
    found = cosine_matrix(make_corpus(strength=0.7, copies={6: 2}), 0)
    assert found.differs[2, 6]
    assert found.differs[np.triu_indices(10, k=1)].sum() == 1
    assert found.low[2, 6] < found.cosine[2, 6] < found.high[2, 6]
    places = np.argsort(found.order)
    assert abs(places[2] - places[6]) == 1
    assert set(found.linkage[0, :2]) == {2, 6}


def test_an_interval_covers_most_cosines_of_other_descriptions_of_the_same_kind() -> None:
    covered = [
        cosine_matrix(make_corpus((20,) * 3, strength=0.5, n_neutral=40, noise=noise), 0, 100)
        for noise in range(30)
    ]
    pairs = np.triu_indices(3, k=1)
    middle = np.mean([found.cosine[pairs] for found in covered], axis=0)
    inside = [(f.low[pairs] <= middle) & (middle <= f.high[pairs]) for f in covered]
    assert np.mean(inside) >= 0.85


def test_the_mean_over_layers_averages_the_layers() -> None:
    corpus = make_corpus((6,) * 4, strength=0.5, n_layers=3)
    each = [cosine_matrix(corpus, layer, 20).cosine for layer in range(3)]
    found = cosine_matrix(corpus, None, 20)
    np.testing.assert_allclose(found.cosine, np.mean(each, axis=0), atol=1e-6)
    assert found.layer is None


def test_a_concept_with_one_description_has_no_interval_and_no_claim() -> None:
    found = cosine_matrix(make_corpus((1, 6, 6, 6), strength=2.0, copies={0: 1}), 0)
    assert (found.low[0, 1], found.high[0, 1]) == (-1, 1)
    assert not found.differs[0, 1:].any()


def test_two_concepts_without_neutral_texts_are_opposite_by_construction_not_by_finding() -> None:
    found = cosine_matrix(make_corpus((6, 6), strength=1.0, n_neutral=0), 0)
    assert found.cosine[0, 1] == pytest.approx(-1, abs=1e-4)
    assert not found.differs[0, 1]


def test_one_concept_and_texts_without_any_difference_are_no_obstacle() -> None:
    assert cosine_matrix(make_corpus((4,)), 0).cosine.tolist() == [[pytest.approx(1)]]
    corpus = make_corpus((4, 4, 4))
    same = replace(corpus, activations=corpus.pooled[:1].expand(len(corpus.texts), -1, -1))
    found = cosine_matrix(same, 0, 20)
    assert np.isfinite(found.cosine).all()
    assert not found.differs[np.triu_indices(3, k=1)].any()


def test_the_order_of_rows_does_not_matter() -> None:
    corpus = make_corpus((3, 4), strength=0.5, n_neutral=2)
    turned = list(range(9))[::-1]
    groups = TextGroups(("c0", "c1"), ((8, 7, 6), (5, 4, 3, 2)), (1, 0))
    mixed = replace(corpus, groups=groups, activations=corpus.pooled[turned])
    expected = cosine_matrix(corpus, 0, 10).cosine
    np.testing.assert_allclose(cosine_matrix(mixed, 0, 10).cosine, expected, atol=1e-5)


def test_chance_ranks_a_value_among_its_own_draws() -> None:
    draws = np.random.default_rng(0).normal(size=(999, 2)) * [1, 10]
    low, high = chance_of(np.array([0.0, 60.0]), draws)
    assert low > 0.9
    assert high < 0.001
    assert chance_of(np.array([-4.0, 0.0]), draws, upper=True)[0] > 0.99


def test_discoveries_keep_clear_cells_and_none_where_all_is_chance() -> None:
    chances = np.append(np.full(5, 1e-5), np.linspace(0.01, 1, 95))
    assert discoveries(chances).tolist() == [True] * 5 + [False] * 95
    assert not discoveries(np.linspace(0.01, 1, 100)).any()
    assert discoveries(np.empty(0)).shape == (0,)


def test_without_draws_an_interval_is_the_value_itself() -> None:
    cosine = np.array([[1.0, 0.5], [0.5, 1.0]])
    low, high = intervals(cosine, np.empty((0, 2, 2)))
    np.testing.assert_array_equal(low, cosine)
    np.testing.assert_array_equal(high, cosine)


def test_the_mean_over_many_layers_is_exact_and_its_intervals_come_from_some_of_them() -> None:
    corpus = make_corpus((6,) * 5, strength=0.4, n_layers=11)
    told: list[Progress] = []
    found = cosine_matrix(corpus, None, report=told.append)
    each = [cosine_matrix(corpus, layer, n_boot=2).cosine for layer in range(11)]
    assert found.cosine == pytest.approx(np.mean(each, axis=0), abs=1e-5)
    assert ((found.low <= found.cosine) & (found.cosine <= found.high)).all()
    assert spread_layers(11) == (0, 2, 3, 4, 6, 7, 8, 10)
    assert [(step.done, step.total) for step in told] == [(i, 19) for i in range(19)]


def test_of_few_layers_all_are_sampled() -> None:
    assert spread_layers(5) == (0, 1, 2, 3, 4)
