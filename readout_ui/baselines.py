"""What a score is worth nothing below: words alone, random directions, shuffled labels."""

import random
from collections.abc import Sequence

import numpy as np
import torch
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from readout_ui.auroc import Floats


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
