"""AUROC: the chance that a text of a concept scores above a text of another.

What a score is worth nothing below: words alone, random directions, shuffled labels.

How well directions tell concepts apart: AUROC, top-1, and the layer where they do it best.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from readout_ui.vectors.auroc import Floats, auroc


def bag_of_words_scores(
    train_texts: Sequence[str],
    labels: Sequence[str],
    test_texts: Sequence[str],
    concepts: Sequence[str],
) -> Floats:
    """Scores of a logistic regression on word counts, which knows no more than which words occur.

    Args:
        train_texts: descriptions and neutral texts.
        labels: the concept of each; neutral texts may have any other label.
        test_texts: what is scored.
        concepts: names of the columns; each must occur among the labels.

    Returns:
        (n_test_texts, n_concepts), log odds against the other labels.
    """
    # Two seconds to import: not while a training starts.
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression

    words = CountVectorizer()
    counts = words.fit_transform(train_texts)
    unseen = words.transform(test_texts)
    columns = [
        LogisticRegression(max_iter=1000)
        .fit(counts, [label == concept for label in labels])
        .decision_function(unseen)
        for concept in concepts
    ]
    return np.stack(columns, axis=1)


def random_directions(n_concepts: int, n_layers: int, d_model: int, seed: int) -> Tensor:
    """Unit directions of no meaning, uniform on the sphere, (n_concepts, n_layers, d_model)."""
    generator = torch.Generator().manual_seed(seed)
    normal = torch.randn(n_concepts, n_layers, d_model, generator=generator)
    return torch.nn.functional.normalize(normal, dim=2)


def permuted(labels: Sequence[str], seed: int) -> tuple[str, ...]:
    """The same labels in a random order."""
    shuffled = list(labels)
    random.Random(seed).shuffle(shuffled)
    return tuple(shuffled)


@dataclass(frozen=True)
class Scores:
    """How well scores of labelled texts pick out their concepts."""

    macro_auroc: float
    """Mean over the concepts of `per_concept`; 0.5 is chance."""
    per_concept: Mapping[str, float]
    """One-vs-rest AUROC of every concept that some but not all texts are labelled with."""
    top1: float
    """Part of the labelled texts whose own concept scores highest among the candidates."""
    candidates: tuple[str, ...]
    """The concepts that top-1 chose from; chance is one in their number."""


def one_vs_rest(
    scores: Floats,
    labels: Sequence[str],
    concepts: Sequence[str],
    candidates: Sequence[str] | None = None,
) -> Scores:
    """AUROC of every concept that occurs among the labels, and top-1 among the candidates.

    Args:
        scores: (n_texts, n_concepts), comparable between concepts (centred cosine or z).
        labels: the concept of each text; a text with another label is positive for no concept and
            does not count for top-1.
        concepts: names of the columns.
        candidates: what top-1 chooses from; by default the concepts that occur as labels.
    """
    own = np.asarray(labels)[:, None] == np.asarray(concepts)  # (n_texts, n_concepts)
    aurocs = auroc(scores, own)  # (n_concepts,)
    per_concept = {name: float(value) for name, value in zip(concepts, aurocs, strict=True)}
    per_concept = {name: area for name, area in per_concept.items() if not np.isnan(area)}
    if not per_concept:
        raise ValueError("no concept has both texts of its own and texts of others")
    chosen = tuple(n for n in concepts if n in labels) if candidates is None else tuple(candidates)
    columns = [concepts.index(name) for name in chosen]
    labelled = own[:, columns].any(axis=1)  # (n_texts,)
    best = scores[np.ix_(labelled, columns)].argmax(axis=1)
    hits = np.take_along_axis(own[np.ix_(labelled, columns)], best[:, None], axis=1)
    macro = float(np.mean(list(per_concept.values())))
    return Scores(macro, per_concept, float(hits.mean()), chosen)


def centred_cosine(directions: Tensor, center: Tensor, activations: Tensor) -> Tensor:
    """Cosine between directions and activations from which the center is taken off.

    Args:
        directions: (n_concepts, n_layers, d_model), unit length or zero.
        center: (n_layers, d_model).
        activations: (n_texts, n_layers, d_model).

    Returns:
        (n_texts, n_layers, n_concepts), float32, -1..1.
    """
    layers = []
    for layer in range(directions.shape[1]):
        centred = activations[:, layer].float() - center[layer]  # (n_texts, d_model)
        unit = torch.nn.functional.normalize(centred, dim=1)
        layers.append(unit @ directions[:, layer].float().T)  # (n_texts, n_concepts)
    return torch.stack(layers, dim=1)
