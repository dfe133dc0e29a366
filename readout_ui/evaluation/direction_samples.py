"""Dot products between mean differences: as observed, resampled, and of random groups.

A mean difference is a linear combination of texts, or of their images where the run's method maps
them first, so all of it follows from one Gram matrix of a layer; no direction is ever made.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import csr_array

from readout_ui.evaluation.left_out import layer_texts
from readout_ui.evaluation.results import Floats, Indices
from readout_ui.vectors.blas import single_thread

if TYPE_CHECKING:
    from readout_ui.vectors.training import Corpus

_NULL_CELLS = 400_000
"""Random cells that the chance of a cell is read from, at least."""
_NULL_DRAWS = (60, 1000)
"""Fewest and most random groupings."""


@dataclass(frozen=True, eq=False)
class TextGram:
    """Dot products between a layer's images of texts, group by group.

    Groups are the concepts, the neutral texts if there are any, and each concept's own contrast
    texts, which are no negatives of other concepts.
    """

    gram: Floats
    """(n_members, n_members), float32, of texts minus the mean of all but contrast texts."""
    sizes: Indices
    """(n_groups,): texts of each group."""
    n_concepts: int
    """How many of the groups are concepts."""
    contrasted: tuple[int, ...] = ()
    """Concepts with contrast texts of their own, whose groups are the last ones in this order."""

    @property
    def usual(self) -> Indices:
        """(n_usual,): texts of each group but contrast texts."""
        return self.sizes[: len(self.sizes) - len(self.contrasted)]

    def contrast_of(self, concept: int) -> Indices | None:
        """Members that are a concept's own contrast texts, None where it has none."""
        if concept not in self.contrasted:
            return None
        group = len(self.usual) + self.contrasted.index(concept)
        found: Indices = self.starts[group] + np.arange(self.sizes[group])
        return found

    @property
    def starts(self) -> Indices:
        """(n_groups,): first member of each group."""
        starts: Indices = np.cumsum(self.sizes) - self.sizes
        return starts


@dataclass(frozen=True, eq=False)
class DirectionSamples:
    """Dot products (or cosines) between the directions of a layer, as observed and as drawn."""

    observed: Floats
    """(n_concepts, n_concepts), float64."""
    resampled: Floats
    """(n_boot, n_concepts, n_concepts), float32: of texts drawn anew within each group."""
    shuffled: Floats
    """(n_draws, n_concepts, n_concepts), float32: of concepts with each other's texts at random."""

    def cosines(self) -> DirectionSamples:
        """The same of unit directions; a direction without length has cosine 0 with all."""
        return DirectionSamples(
            *(_normalised(dots) for dots in (self.observed, self.resampled, self.shuffled))
        )


def text_gram(corpus: Corpus, layer: int) -> TextGram:
    """The dot products of one layer's texts."""
    texts = _images(corpus, layer)
    return replace(_groups_of(corpus), gram=texts @ texts.T)


def _images(corpus: Corpus, layer: int) -> Floats:
    """Images of a layer's texts in group order, minus their mean, (n_members, d_model), float32."""
    texts = layer_texts(corpus, layer)
    return np.concatenate([texts.images, *texts.against]).astype(np.float32)


def _groups_of(corpus: Corpus) -> TextGram:
    """The groups of a corpus, without dot products."""
    groups = corpus.groups
    members = [*groups.rows, *([groups.neutral] if groups.neutral else ())]
    contrasted = tuple(i for i, own in enumerate(groups.against) if own)
    sizes = np.array([len(rows) for rows in (*members, *filter(None, groups.against))])
    return TextGram(np.empty((0, 0)), sizes, len(groups.concepts), contrasted)


def sample_directions(texts: TextGram, n_boot: int, seed: int) -> DirectionSamples:
    """Dot products between mean differences: observed, bootstrapped and by chance.

    The bootstrap draws texts with replacement within every group. Chance shuffles the concepts'
    texts, so that every concept keeps its number of texts but not their meaning; neutral
    texts stay neutral, and a concept's own contrast texts stay its own.

    Args:
        texts: of the layer.
        n_boot: bootstrap draws; 0 for none.
        seed: of both; the same for every layer, so that layers may be averaged draw by draw.
    """
    equal = (1 / np.repeat(texts.sizes, texts.sizes)).astype(np.float32)  # (n_members,)
    observed = _differences(_weighted(texts, equal[:, None]), texts)[0]
    weights = _bootstrap_weights(texts, n_boot, np.random.default_rng(seed))
    with single_thread():
        resampled = _differences(_weighted(texts, weights), texts)
        shuffled = _differences(_shuffled(texts, np.random.default_rng(seed + 1)), texts)
    return DirectionSamples(observed.astype(np.float64), resampled, shuffled)


def observed_cosines(corpus: Corpus, layer: int) -> Floats:
    """Cosines between the mean differences of a layer, (n_concepts, n_concepts), float64."""
    groups, texts = _groups_of(corpus), _images(corpus, layer)
    means = np.add.reduceat(texts, groups.starts, axis=0) / groups.sizes[:, None]
    products = (means @ means.T)[None]  # (1, n_groups, n_groups)
    return _normalised(_differences(products, groups)[0].astype(np.float64))


def n_shuffles(n_concepts: int) -> int:
    """How many random groupings give enough random cells."""
    pairs = max(1, n_concepts * (n_concepts - 1) // 2)
    return int(np.clip(-(-_NULL_CELLS // pairs), *_NULL_DRAWS))


def _bootstrap_weights(texts: TextGram, n_boot: int, draws: np.random.Generator) -> Floats:
    """(n_members, n_boot): each text's part in its group's mean.

    The plain bootstrap's variance is (n - 1) / n of the right one, a tenth too small for ten
    descriptions: deviations from equal parts are stretched to make up for it.
    """
    parts = []
    for size in texts.sizes.tolist():
        counts = draws.multinomial(size, np.full(size, 1 / size), size=n_boot).T  # (size, n_boot)
        stretch = np.sqrt(size / (size - 1)) if size > 1 else 1.0
        parts.append((1 + stretch * (counts - 1)) / size)
    return np.concatenate(parts).astype(np.float32)


def _weighted(texts: TextGram, weights: Floats) -> Floats:
    """Dot products between the groups' weighted means, (n_draws, n_groups, n_groups)."""
    n_groups, n_draws = len(texts.sizes), weights.shape[1]
    products = np.empty((n_draws, n_groups, n_groups), dtype=np.float32)
    for group, (start, size) in enumerate(zip(texts.starts, texts.sizes, strict=True)):
        # DotProducts with the groups before this one are known from those.
        sums = texts.gram[start:, start : start + size] @ weights[start : start + size]
        sums *= weights[start:]  # (n_members - start, n_draws)
        own = np.add.reduceat(sums, texts.starts[group:] - start, axis=0).T
        products[:, group, group:] = products[:, group:, group] = own
    return products


def _shuffled(texts: TextGram, draws: np.random.Generator) -> Floats:
    """The same for concepts whose texts are shuffled, (n_draws, n_groups, n_groups)."""
    n_members, n_groups = len(texts.gram), len(texts.sizes)
    n_shuffled = int(texts.sizes[: texts.n_concepts].sum())
    bounds = np.append(texts.starts, n_members)
    means = (1 / np.repeat(texts.sizes, texts.sizes)).astype(np.float32)
    products = np.empty((n_shuffles(texts.n_concepts), n_groups, n_groups), dtype=np.float32)
    for product in products:
        shuffled = np.concatenate([draws.permutation(n_shuffled), np.arange(n_shuffled, n_members)])
        members = csr_array((means, shuffled, bounds), shape=(n_groups, n_members))
        product[:] = members @ (members @ texts.gram).T
    return products


def _differences(products: Floats, texts: TextGram) -> Floats:
    """Dot products of the mean differences, from those of the group means (n_draws, ...).

    A direction is its group's mean m_i minus the mean of all others, which is (total - n_i m_i) /
    (n - n_i): a multiple of m_i minus a multiple of the total. With contrast texts it is m_i minus
    their mean.
    """
    if texts.contrasted:
        parts = _parts(texts)
        mapped: Floats = parts @ products @ parts.T
        return mapped
    k, sizes = texts.n_concepts, texts.sizes.astype(np.float32)
    others = sizes.sum() - sizes[:k]  # (n_concepts,)
    a, b = sizes.sum() / others, 1 / others  # direction = a * mean - b * total
    with_total = products[:, :k] @ sizes  # (n_draws, n_concepts)
    total = (products @ sizes) @ sizes  # (n_draws,)
    cross = with_total[:, :, None] * (a[:, None] * b)  # (n_draws, n_concepts, n_concepts)
    dots: Floats = products[:, :k, :k] * (a[:, None] * a) - cross - cross.transpose(0, 2, 1)
    dots += total[:, None, None] * (b[:, None] * b)
    return dots


def _parts(texts: TextGram) -> Floats:
    """How much of each group's mean is in each direction, (n_concepts, n_groups)."""
    sizes, k = texts.usual.astype(np.float32), texts.n_concepts
    parts = np.zeros((k, len(texts.sizes)), dtype=np.float32)
    parts[:, : len(sizes)] = -sizes / (sizes.sum() - sizes[:k, None])
    for group, concept in enumerate(texts.contrasted, start=len(sizes)):
        parts[concept] = 0
        parts[concept, group] = -1
    parts[np.diag_indices(k)] = 1
    return parts


def _normalised(dots: Floats) -> Floats:
    """Cosines from dot products (..., n, n)."""
    squares = np.diagonal(dots, axis1=-2, axis2=-1)  # (..., n)
    tiny = np.finfo(dots.dtype).tiny
    smallest = np.maximum(1e-9 * squares.max(axis=-1, keepdims=True), tiny)
    scale = np.where(squares > smallest, 1 / np.sqrt(np.maximum(squares, smallest)), 0)
    cosines: Floats = np.clip(dots * scale[..., :, None] * scale[..., None, :], -1, 1)
    return cosines
