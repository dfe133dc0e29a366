"""Choosing the layer on held-out descriptions."""

import numpy as np
import pytest
import torch
from torch import Tensor

from readout_ui.vectors.cross_validation import cross_validated_layers
from readout_ui.vectors.groups import TextGroups

N_CONCEPTS, N_DESCRIPTIONS, N_NEUTRAL, N_LAYERS, D_MODEL = 6, 8, 12, 9, 32


def groups_of(n_descriptions: int = N_DESCRIPTIONS, n_neutral: int = N_NEUTRAL) -> TextGroups:
    n_texts = N_CONCEPTS * n_descriptions
    rows = tuple(tuple(range(i, i + n_descriptions)) for i in range(0, n_texts, n_descriptions))
    names = tuple(f"concept{i}" for i in range(N_CONCEPTS))
    return TextGroups(names, rows, tuple(range(n_texts, n_texts + n_neutral)))


def activations_with_signal(groups: TextGroups, strength: list[float]) -> Tensor:
    """Noise around a far mean; each concept shares a direction, `strength` long per layer."""
    generator = torch.Generator().manual_seed(0)
    activations = torch.randn(len(groups.all_rows()), N_LAYERS, D_MODEL, generator=generator)
    for rows in groups.rows:
        shared = torch.randn(N_LAYERS, D_MODEL, generator=generator)
        activations[list(rows)] += shared * torch.tensor(strength)[:, None]
    return activations + 50


def test_the_layer_with_the_signal_is_recommended() -> None:
    strength = [0.0, 0.0, 0.1, 0.2, 0.4, 0.6, 0.4, 0.2, 0.0]
    scores = cross_validated_layers(activations_with_signal(groups_of(), strength), groups_of())
    assert scores.best == 5
    assert scores.auroc is not None
    assert scores.auroc[5] > 0.9


def test_a_layer_without_signal_scores_like_chance_so_nothing_leaks() -> None:
    groups = groups_of(n_descriptions=30)
    activations = activations_with_signal(groups, [0.0] * N_LAYERS)
    scores = cross_validated_layers(activations, groups)
    assert scores.auroc is not None
    assert scores.top1 is not None
    assert np.mean(scores.auroc) == pytest.approx(0.5, abs=0.04)
    assert np.mean(scores.top1) == pytest.approx(1 / N_CONCEPTS, abs=0.05)


def test_scores_are_those_of_training_anew_without_each_fold() -> None:
    groups = groups_of(n_descriptions=2, n_neutral=0)
    activations = activations_with_signal(groups, [0.5] * N_LAYERS)
    scores = cross_validated_layers(activations, groups, folds=2, seed=3)
    assert scores.top1 is not None
    assert scores.top1[4] in retrained_top1s(activations[:, 4], groups)


def retrained_top1s(texts: Tensor, groups: TextGroups) -> set[float]:
    """Top-1 of every way to deal two descriptions per concept over two folds."""
    found = set()
    for choice in range(2**N_CONCEPTS):
        first = [rows[choice >> i & 1] for i, rows in enumerate(groups.rows)]
        second = [rows[1 - (choice >> i & 1)] for i, rows in enumerate(groups.rows)]
        hits = [hit for a, b in ((first, second), (second, first)) for hit in hits_of(texts, a, b)]
        found.add(sum(hits) / len(hits))
    return found


def hits_of(texts: Tensor, train: list[int], test: list[int]) -> list[bool]:
    trained = texts[train].double()
    others = (trained.sum(dim=0) - trained) / (len(train) - 1)
    directions = torch.nn.functional.normalize(trained - others, dim=1)
    scores = (texts[test].double() - trained.mean(dim=0)) @ directions.T
    return [int(scores[i].argmax()) == i for i in range(len(test))]


def test_of_layers_that_are_equally_good_the_one_at_the_usual_depth_is_recommended() -> None:
    scores = cross_validated_layers(
        activations_with_signal(groups_of(), [9.0] * N_LAYERS), groups_of()
    )
    assert scores.top1 == (1.0,) * N_LAYERS
    assert scores.best == round(0.5 * (N_LAYERS - 1))


def test_the_same_texts_and_seed_give_the_same_scores() -> None:
    activations = activations_with_signal(groups_of(), [0.2] * N_LAYERS)
    first = cross_validated_layers(activations, groups_of(), seed=1)
    assert first == cross_validated_layers(activations, groups_of(), seed=1)
    assert first.auroc != cross_validated_layers(activations, groups_of(), seed=2).auroc


def test_without_two_descriptions_of_any_concept_the_usual_depth_is_recommended() -> None:
    groups = groups_of(n_descriptions=1)
    scores = cross_validated_layers(activations_with_signal(groups, [1.0] * N_LAYERS), groups)
    assert scores.auroc is None
    assert scores.best == 4


def test_a_concept_with_one_description_is_only_ever_a_negative() -> None:
    groups = TextGroups(("a", "b"), ((0,), (1, 2, 3, 4)), (5, 6, 7, 8))
    activations = activations_with_signal(groups_of(), [1.0] * N_LAYERS)
    activations[1:5] += 3 * torch.randn(D_MODEL, generator=torch.Generator().manual_seed(1))
    scores = cross_validated_layers(activations, groups)
    assert scores.auroc is not None
    assert min(scores.auroc) > 0.9


def test_one_fold_is_refused() -> None:
    with pytest.raises(ValueError, match="1 folds"):
        cross_validated_layers(torch.zeros(60, 2, 4), groups_of(), folds=1)
