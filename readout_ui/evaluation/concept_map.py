"""A map of the directions: two principal components (or UMAP), and which belong together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.cluster.hierarchy import fcluster

from readout_ui.errors import UserError
from readout_ui.evaluation.crosstalk import cluster, cosines_of, fitted_cosines
from readout_ui.evaluation.direction_samples import sample_directions, text_gram
from readout_ui.evaluation.map_methods import LEAST_FOR_UMAP, MAP_METHODS, umap_installed
from readout_ui.evaluation.results import FALSE_ALARMS, ConceptMap, Floats, Indices

if TYPE_CHECKING:
    from readout_ui.vectors.training import Corpus
    from readout_ui.vectors.vectors import ConceptVectors


def concept_map(
    corpus: Corpus,
    layer: int,
    method: str = "pca",
    seed: int = 0,
    own: ConceptVectors | None = None,
) -> ConceptMap:
    """Directions of a layer in the plane, with clusters.

    Concepts belong together while the mean cosine between two branches of the tree (average
    linkage) is above what random groupings of the same descriptions reach anywhere in 5 % of
    cases: where nothing is planted, 95 % of maps show no cluster.

    Args:
        corpus: the run's texts.
        layer: a layer of the model.
        method: "pca" or, if umap-learn is installed, "umap".
        seed: of the random groupings and of UMAP.
        own: the run's vectors where its directions do not follow from the corpus by its method.
    """
    samples = sample_directions(text_gram(corpus, layer), 0, seed).cosines()
    if own is not None:
        cosine = cosines_of(own, layer)
    else:
        fitted = corpus.settings.method != "mean"
        cosine = fitted_cosines(corpus, layer) if fitted else samples.observed
    threshold = _threshold(samples.shuffled)
    xy, explained = _place(cosine, method, seed)
    return ConceptMap(
        corpus.groups.concepts, layer, xy, explained, clusters(cosine, threshold), threshold, method
    )


def clusters(cosine: Floats, threshold: float) -> Indices:
    """(n_concepts,): 0 for the largest branch with a mean cosine above the threshold, -1: alone."""
    _, tree = cluster(cosine)
    alone = np.full(len(cosine), -1, dtype=np.intp)
    if not len(tree):
        return alone
    branches = fcluster(tree, 1 - threshold, criterion="distance")
    names, first, counts = np.unique(branches, return_index=True, return_counts=True)
    ranked = names[np.lexsort((first, -counts))]
    found = alone
    for rank, name in enumerate(ranked[: int((counts > 1).sum())]):
        found[branches == name] = rank
    return found


def principal_plane(cosine: Floats) -> tuple[Floats, tuple[float, float]]:
    """Coordinates of unit directions on their first two components, and the variance explained.

    Args:
        cosine: (n_concepts, n_concepts), their dot products.
    """
    means = cosine.mean(axis=0)
    centred = cosine - means[:, None] - means + means.mean()  # (n_concepts, n_concepts)
    values, vectors = np.linalg.eigh(centred)
    values = np.maximum(values[::-1], 0)
    vectors = vectors[:, ::-1][:, :2]
    # An eigenvector's sign is arbitrary: the largest coordinate is made positive.
    largest = np.take_along_axis(vectors, np.abs(vectors).argmax(axis=0)[None], axis=0)
    vectors = vectors * np.where(largest < 0, -1, 1)
    xy = np.zeros((len(cosine), 2))
    xy[:, : vectors.shape[1]] = vectors * np.sqrt(values[:2])
    total = values.sum()
    parts = [float(value / total) if total > 0 else 0.0 for value in (*values[:2], 0.0)[:2]]
    return xy, (parts[0], parts[1])


def _place(cosine: Floats, method: str, seed: int) -> tuple[Floats, tuple[float, float]]:
    if method == "pca":
        return principal_plane(cosine)
    if method not in MAP_METHODS:
        raise UserError(f"'{method}' is no way to draw a map", options=MAP_METHODS)
    if not umap_installed():
        raise UserError("UMAP is not installed", fix="run pip install umap-learn, or use PCA")
    if len(cosine) < LEAST_FOR_UMAP:
        raise UserError(f"UMAP needs {LEAST_FOR_UMAP} concepts", fix="use PCA")
    return _umap(cosine, seed), (np.nan, np.nan)


def _umap(cosine: Floats, seed: int) -> Floats:
    """Coordinates by UMAP (McInnes et al. 2018) on 1 - cosine, (n_concepts, 2)."""
    import umap

    model = umap.UMAP(
        metric="precomputed",
        random_state=seed,
        n_jobs=1,  # what a fixed seed asks for; UMAP warns otherwise
        n_neighbors=min(15, len(cosine) - 1),
        init="random",  # the spectral start fails on a handful of points
    )
    placed: Floats = np.asarray(model.fit_transform(np.clip(1 - cosine, 0, 2)))
    return placed


def _threshold(shuffled: Floats) -> float:
    """The cosine that the highest of all pairs stays below in 95 % of random groupings."""
    rows, columns = np.triu_indices(shuffled.shape[1], k=1)
    if not len(rows):
        return 1.0
    highest = shuffled[:, rows, columns].max(axis=1)
    return float(np.quantile(highest, 1 - FALSE_ALARMS))
