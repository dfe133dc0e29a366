"""What of a direction the others already say, whether a concept is one thing, and a map of all."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from scipy.cluster.hierarchy import fcluster
from scipy.linalg import lapack

from readout_ui.errors import UserError
from readout_ui.evaluation.crosstalk import (
    chance_of,
    cosines_of,
    discoveries,
    fitted_cosines,
    judge_cosines,
)
from readout_ui.evaluation.direction_samples import (
    DirectionSamples,
    TextGram,
    sample_directions,
    text_gram,
)
from readout_ui.evaluation.results import (
    CONFIDENCE,
    FALSE_ALARMS,
    LEAST_FOR_UMAP,
    MAP_METHODS,
    ConceptMap,
    CosineMatrix,
    Floats,
    Indices,
    Neighbour,
    Redundancy,
    Rows,
    cluster,
    umap_installed,
)
from readout_ui.vectors.blas import single_thread

if TYPE_CHECKING:
    from readout_ui.vectors.training import Corpus
    from readout_ui.vectors.vectors import ConceptVectors

RIDGE = 0.1
"""Penalty of the fit on unit directions: a copy of another direction has R2 0.99."""
N_NEAREST = 3
_FITS = 100
"""Bootstrap draws that R2 is fitted on: with 200 concepts each takes milliseconds."""
_GROUPINGS = 200
"""Random groups that the chance of a first component's share is read from."""


def redundancy(corpus: Corpus, layer: int, n_boot: int = 200, seed: int = 0) -> Rows[Redundancy]:
    """For each concept its nearest three, ridge R2 from the others, and first component's share.

    All of it is about mean differences. R2 is the part of the direction's squared length that a
    ridge fit on the other concepts explains, see `ridge_r2`; random groups explain some of each
    other too: `r2_chance`. The first component is that of the concept's texts minus the mean of
    all others, uncentred: near 1 where all texts differ in the same way.

    Args:
        corpus: the run's texts.
        layer: a layer of the model.
        n_boot: bootstrap draws.
        seed: of bootstrap and random groupings.
    """
    texts = text_gram(corpus, layer)
    samples = sample_directions(texts, n_boot, seed)
    cosines = judge_cosines(corpus, samples.cosines(), layer)
    observed, low, high, chance, differs = _explained(samples, texts)
    lone = texts.sizes[: len(observed)] < 2
    shares, limits = _component_shares(texts, seed)
    return Rows(
        Redundancy(
            concept=name,
            nearest=_nearest(cosines, i),
            r2=float(observed[i]),
            r2_low=0.0 if lone[i] else float(low[i]),
            r2_high=1.0 if lone[i] else float(high[i]),
            r2_chance=float(chance[i]),
            r2_differs=bool(differs[i] and not lone[i]),
            first_component_share=float(shares[i]),
            share_chance=float(limits[i]),
        )
        for i, name in enumerate(cosines.concepts)
    )


def ridge_r2(dots: Floats, ratio: Floats) -> Floats:
    """Part of each direction's squared length that the other concepts explain, (n_concepts,).

    Directions are differences from each other's texts: with no neutral texts they add up to zero,
    and any of them would follow from the rest. So concept i is fitted by the other concepts' means
    from which, like from its own, the mean of all texts but i's is taken off. With unit directions
    u of Gram matrix C these are u_j + r_j u_i, r_j = ratio_i |a_i| / |a_j|, where a_i is the
    concept's mean minus that of all texts; so all fits follow from one inverse of C + RIDGE. A
    direction away from contrast texts of its own holds nothing of other concepts: r_j is 0 then.

    Args:
        dots: (n_concepts, n_concepts), between the directions.
        ratio: (n_concepts,), the concept's number of texts over that of all others; 0 where it has
            contrast texts of its own.
    """
    lengths = np.sqrt(np.maximum(np.diagonal(dots), np.finfo(dots.dtype).tiny)) / (1 + ratio)
    scale = 1 / (lengths * (1 + ratio))
    cosines = dots * scale[:, None] * scale  # (n_concepts, n_concepts)
    inverse = _inverse(cosines + RIDGE * np.eye(len(dots), dtype=dots.dtype))
    inverse_part = inverse / np.diagonal(inverse)
    off = ~np.eye(len(dots), dtype=bool)
    # Column i of each: the fit of direction i by the others, and the same with 1 / |a_j| as target.
    fit = np.where(off, -inverse_part, 0)
    shares = np.where(ratio > 0, 1 / lengths, 0)  # (n_concepts,)
    with_lengths = inverse @ shares  # (n_concepts,)
    other_fit = np.where(off, with_lengths[:, None] - inverse_part * with_lengths, 0)
    other_fit *= ratio * lengths
    unexplained = 1 - (fit * cosines).sum(axis=0)  # (n_concepts,)
    shared = (other_fit * cosines).sum(axis=0)
    weights = other_fit + fit * (1 + shared) / unexplained
    target = np.where(off, cosines + ratio * lengths * shares[:, None], 0)
    dot = (weights * target).sum(axis=0)  # (n_concepts,)
    r2: Floats = dot / (1 + dot) + RIDGE * (weights**2).sum(axis=0) / (1 + dot) ** 2
    return np.clip(r2, 0, 1)


def _inverse(matrix: Floats) -> Floats:
    """Of a symmetric positive definite matrix, by its Cholesky factor, in its own precision."""
    factorise, invert = lapack.get_lapack_funcs(("potrf", "potri"), (matrix,))
    factor, failed = factorise(matrix)
    if failed:  # rounding can take what little a copy of another direction has of its own
        return np.linalg.inv(matrix)
    upper = np.triu(invert(factor, overwrite_c=True)[0])
    inverse: Floats = upper + np.triu(upper, 1).T
    return inverse


def _explained(samples: DirectionSamples, texts: TextGram) -> tuple[Floats, ...]:
    """R2 with interval, chance and whether it is above, (n_concepts,) each."""
    own = texts.sizes[: texts.n_concepts].astype(np.float64)
    ratio = own / (texts.usual.sum() - own)
    ratio[list(texts.contrasted)] = 0
    observed = ridge_r2(samples.observed, ratio)
    # Hundreds of fits: in single precision, which the penalty makes safe.
    small = ratio.astype(np.float32)
    with single_thread():
        shuffled = np.array([ridge_r2(dots, small) for dots in samples.shuffled])
        resampled = np.array([ridge_r2(dots, small) for dots in samples.resampled[:_FITS]])
    tail = (1 - CONFIDENCE) / 2
    low, middle, high = np.quantile(resampled, [tail, 0.5, 1 - tail], axis=0)
    low, high = (np.clip(end + observed - middle, 0, 1) for end in (low, high))
    chance = shuffled.mean(axis=0)
    differs = discoveries(chance_of(observed, shuffled, upper=True)) & (low > chance)
    return observed, low, high, chance, differs


def _nearest(cosines: CosineMatrix, concept: int) -> tuple[Neighbour, ...]:
    ranks = np.argsort(-cosines.cosine[concept], kind="stable")
    others = [int(i) for i in ranks if i != concept][:N_NEAREST]
    return tuple(
        Neighbour(
            cosines.concepts[i],
            float(cosines.cosine[concept, i]),
            float(cosines.low[concept, i]),
            float(cosines.high[concept, i]),
            bool(cosines.differs[concept, i]),
        )
        for i in others
    )


def _component_shares(texts: TextGram, seed: int) -> tuple[Floats, Floats]:
    """Share of each concept and what 95 % of random groups of its size stay below."""
    sizes = texts.sizes[: texts.n_concepts].tolist()
    n_usual, n_shuffled = int(texts.usual.sum()), sum(sizes)
    sums = texts.gram[:, :n_usual].sum(axis=1, dtype=np.float64)  # (n_members,)
    share_of = partial(_share, texts.gram, sums[:n_usual])
    shares = [
        share_of(np.arange(start, start + size), texts.contrast_of(concept))
        for concept, (start, size) in enumerate(zip(texts.starts.tolist(), sizes, strict=False))
    ]
    draws = np.random.default_rng(seed)
    kinds = [(size, c if c in texts.contrasted else -1) for c, size in enumerate(sizes)]
    limits = dict.fromkeys(kinds, np.nan)
    for size, concept in sorted({kind for kind in kinds if kind[0] > 1}):
        drawn = [
            share_of(
                draws.choice(n_shuffled, size, replace=False, shuffle=False),
                texts.contrast_of(concept),
            )
            for _ in range(_GROUPINGS)
        ]
        limits[size, concept] = float(np.quantile(drawn, 1 - FALSE_ALARMS))
    return np.array(shares), np.array([limits[kind] for kind in kinds])


def _share(gram: Floats, sums: Floats, own: Indices, contrast: Indices | None = None) -> float:
    """Largest part along one line of the squared differences from what texts are compared with.

    Args:
        gram: (n_members, n_members).
        sums: (n_usual,), of each member with all of them.
        own: members that are the concept's.
        contrast: those whose mean is taken off, None for all other usual ones.
    """
    block = gram[np.ix_(own, own)].astype(np.float64)
    if contrast is not None:
        with_others = gram[np.ix_(own, contrast)].mean(axis=1, dtype=np.float64)  # (n_own,)
        squared = gram[np.ix_(contrast, contrast)].mean(dtype=np.float64)
    elif n_others := len(sums) - len(own):
        with_others = (sums[own] - block.sum(axis=1)) / n_others
        squared = (sums.sum() - 2 * sums[own].sum() + block.sum()) / n_others**2
    else:
        return float("nan")
    differences = block - with_others[:, None] - with_others + squared  # (n_own, n_own)
    values = np.linalg.eigvalsh(differences)
    total = values.sum()
    return float(values[-1] / total) if total > 0 else float("nan")


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
