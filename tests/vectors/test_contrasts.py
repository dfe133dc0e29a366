"""Directions from contrasts: a planted scene dominates unpaired stories and cancels in pairs."""

from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from readout_ui.vectors.contrasts import (
    contrast,
    paired_directions,
    scene_contrasts,
    scene_differences,
    without_scenes,
)
from readout_ui.vectors.groups import PairSettings, TextGroups
from readout_ui.vectors.methods import METHODS

CONCEPTS = ("awe", "calm", "joy")
D_MODEL = 24
PAIRS = PairSettings(seed=3)


def planted(
    scenes: dict[str, list[int]], strength: float, noise: float = 0.05
) -> tuple[Tensor, TextGroups, tuple[str, ...], Tensor]:
    """Stories of three concepts: own direction + `strength` x the direction of their scene."""
    generator = torch.Generator().manual_seed(1)
    axes = torch.linalg.qr(torch.randn(D_MODEL, D_MODEL, generator=generator)).Q
    texts: list[Tensor] = []
    names: list[str] = []
    rows: list[tuple[int, ...]] = []
    for concept, (_, where) in enumerate(scenes.items()):
        rows.append(tuple(range(len(texts), len(texts) + len(where))))
        for scene in where:
            blur = noise * torch.randn(2, D_MODEL, generator=generator)
            texts.append(axes[concept] + strength * axes[6 + scene] + blur)
            names.append(f"scene{scene}")
    pooled = torch.stack(texts)  # (n_texts, n_layers, d_model)
    return pooled, TextGroups(tuple(scenes), tuple(rows), ()), tuple(names), axes


def own_part(directions: Tensor, axes: Tensor) -> float:
    """The smallest cosine of a concept's direction with what was planted of it, all concepts' mean
    taken off."""
    own = axes[: len(directions)] - axes[: len(directions)].mean(dim=0)
    own = own / own.norm(dim=1, keepdim=True)
    return float(torch.einsum("cld,cd->cl", directions, own).min())


def scene_part(directions: Tensor, axes: Tensor) -> float:
    return float((directions @ axes[6:12].T).norm(dim=2).max())


def directions_of(method: str, pooled: Tensor, groups: TextGroups, scenes: Sequence[str]) -> Tensor:
    if method != "mean":
        return paired_directions(pooled, groups, scenes, METHODS[method], PAIRS)
    return torch.nn.functional.normalize(scene_differences(pooled, groups, scenes), dim=2)


# Each concept has scenes the others mostly lack, all share scene 0 and 1 at least.
LOPSIDED = {"awe": [0, 1, 2, 2, 2], "calm": [0, 0, 0, 1, 3], "joy": [0, 1, 1, 1, 4]}


# A logistic regression leans on whatever separates, so the scene takes less of it.
@pytest.mark.parametrize(("method", "dominates"), [("mean", 0.8), ("pca", 0.8), ("logistic", 0.3)])
def test_a_scene_that_dominates_unpaired_stories_cancels_in_pairs(
    method: str, dominates: float
) -> None:
    pooled, groups, scenes, axes = planted(LOPSIDED, strength=8)
    unpaired = METHODS[method](pooled, groups, PAIRS)
    assert scene_part(unpaired, axes) > dominates
    paired = directions_of(method, pooled, groups, scenes)
    assert paired.shape == unpaired.shape
    assert scene_part(paired, axes) < 0.2 < dominates
    assert own_part(paired, axes) > 0.9


def test_the_mean_is_that_of_the_scenes_differences() -> None:
    pooled, groups, scenes, _ = planted(LOPSIDED, strength=8)
    found = scene_differences(pooled, groups, scenes)
    calm_0, calm_1 = pooled[5:8].mean(dim=0), pooled[8]
    others_0, others_1 = pooled[[0, 10]].mean(dim=0), pooled[[1, 11, 12, 13]].mean(dim=0)
    expected = (calm_0 - others_0 + calm_1 - others_1) / 2
    assert torch.allclose(found[1], expected, atol=1e-4)


@pytest.mark.parametrize("method", ["mean", "pca", "logistic"])
def test_without_scenes_the_directions_are_those_of_descriptions(method: str) -> None:
    pooled, groups, scenes, _ = planted(LOPSIDED, strength=1)
    paired = directions_of(method, pooled, groups, [""] * len(scenes))
    assert torch.allclose(paired, METHODS[method](pooled, groups, PAIRS), atol=1e-4)


def test_neutral_stories_without_a_scene_are_contrasts_of_stories_without_one() -> None:
    pooled, groups, _, _ = planted(LOPSIDED, strength=1)
    groups = TextGroups(groups.concepts[:2], groups.rows[:2], groups.rows[2])
    paired = directions_of("mean", pooled, groups, [""] * len(pooled))
    assert torch.allclose(paired, METHODS["mean"](pooled, groups, PAIRS), atol=1e-5)


def test_a_scene_of_one_concept_is_left_out_and_a_concept_without_shared_one_meets_all() -> None:
    groups = TextGroups(("a", "b", "c"), ((0, 1), (2,), (3,)), (4,))
    found = scene_contrasts(groups, ["x", "own", "x", "alone", ""])
    assert [(each.own, each.others) for each in found["a"]] == [((0,), ((2,),))]
    assert [(each.own, each.others) for each in found["c"]] == [((3,), ((0, 1), (2,), (4,)))]


def test_stories_minus_their_scene_hold_nothing_of_it() -> None:
    pooled, groups, scenes, axes = planted({c: [0, 1, 2] for c in CONCEPTS}, 8, noise=0)
    centred = without_scenes(pooled, groups, scenes)
    assert float((centred @ axes[6:12].T).abs().max()) < 1e-5
    assert float((centred[0] @ axes[:3].T).abs().max()) > 0.5


@settings(max_examples=20)
@given(st.integers(1, 4), st.integers(1, 4), st.sampled_from(["mean", "pca", "logistic"]))
def test_a_contrast_is_a_unit_vector_towards_the_positives(
    n_positive: int, n_negative: int, method: str
) -> None:
    generator = torch.Generator().manual_seed(n_positive + 7 * n_negative)
    positive = torch.randn(n_positive, 2, 8, generator=generator) + 2
    negative = torch.randn(n_negative, 2, 8, generator=generator) - 2
    found = contrast(METHODS[method], "calm", positive, negative, PAIRS)
    assert found.shape == (2, 8)
    assert torch.allclose(found.norm(dim=1), torch.ones(2), atol=1e-5)
    difference = positive.mean(dim=0) - negative.mean(dim=0)
    assert (torch.einsum("ld,ld->l", found, difference) > 0).all()
