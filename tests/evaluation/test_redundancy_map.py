"""The map: distances, explained variance, and clusters only where something is planted."""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from readout_ui.errors import UserError
from readout_ui.evaluation.redundancy import (
    clusters,
    concept_map,
    principal_plane,
)
from readout_ui.evaluation.results import umap_installed
from readout_ui.vectors.groups import PairSettings
from readout_ui.vectors.methods import mean_difference
from tests.support.planted_corpus import make_corpus


def test_the_plane_is_that_of_the_principal_components_of_the_directions() -> None:
    corpus = make_corpus((6,) * 7, strength=0.7)
    directions = mean_difference(corpus.pooled, corpus.groups, PairSettings())[:, 0].numpy()
    centred = directions - directions.mean(axis=0)
    left, values, _ = np.linalg.svd(centred, full_matrices=False)
    found = concept_map(corpus, 0)
    np.testing.assert_allclose(np.abs(found.xy), np.abs(left[:, :2] * values[:2]), atol=1e-3)
    expected = values[:2] ** 2 / np.sum(values**2)
    np.testing.assert_allclose(found.explained, expected, atol=1e-3)


def test_planted_families_share_a_cluster_and_others_are_alone() -> None:
    corpus = make_corpus((8,) * 9, strength=1.0, copies={1: 0, 2: 0, 4: 3})
    found = concept_map(corpus, 0).cluster
    assert found.tolist() == [0, 0, 0, 1, 1, -1, -1, -1, -1]


def test_with_nothing_planted_few_maps_show_a_cluster() -> None:
    shown = [concept_map(make_corpus(seed=seed), 0).cluster.max() >= 0 for seed in range(25)]
    assert sum(shown) <= 4


def test_one_or_two_concepts_still_have_a_map() -> None:
    assert concept_map(make_corpus((4,)), 0).xy.tolist() == [[0, 0]]
    pair = concept_map(make_corpus((4, 4)), 0)
    assert pair.explained == pytest.approx((1, 0), abs=1e-6)
    assert principal_plane(np.ones((3, 3)))[1] == (0, 0)


def test_clusters_are_numbered_by_size() -> None:
    cosine = np.kron(np.diag([1.0, 1.0]), np.ones((3, 3)))[:5, :5]
    assert clusters(cosine[::-1, ::-1], 0.5).tolist() == [1, 1, 0, 0, 0]


STAND_IN = """
class UMAP:
    def __init__(self, **settings):
        self.settings = settings

    def fit_transform(self, distances):
        assert self.settings["metric"] == "precomputed"
        assert self.settings["n_neighbors"] < len(distances)
        return distances[:, :2]
"""


@pytest.fixture
def umap_stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A package named umap that places concepts by their first two distances."""
    (tmp_path / "umap.py").write_text(STAND_IN)
    monkeypatch.delitem(sys.modules, "umap", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("umap", None)


@pytest.mark.usefixtures("umap_stand_in")
def test_umap_gets_distances_and_explains_no_variance() -> None:
    corpus = make_corpus((8,) * 5, strength=1.0, copies={1: 0})
    found = concept_map(corpus, 0, method="umap")
    assert umap_installed()
    np.testing.assert_allclose(np.diag(found.xy[:2]), 0, atol=1e-6)
    assert found.xy[1, 0] < 0.5 < found.xy[2, 0]
    assert np.isnan(found.explained).all()
    assert found.cluster.tolist() == concept_map(corpus, 0).cluster.tolist()


@pytest.mark.usefixtures("umap_stand_in")
def test_too_few_concepts_for_umap_are_told_so() -> None:
    with pytest.raises(UserError, match="needs 4 concepts"):
        concept_map(make_corpus((4,) * 3), 0, method="umap")


def test_an_unknown_way_to_draw_is_refused() -> None:
    with pytest.raises(UserError, match="pca, umap"):
        concept_map(make_corpus((4,) * 3), 0, method="tsne")


@pytest.mark.skipif(umap_installed(), reason="says what to do where umap-learn is missing")
def test_without_umap_the_remedy_is_named() -> None:
    with pytest.raises(UserError, match="pip install umap-learn"):
        concept_map(make_corpus((4,) * 5), 0, method="umap")
