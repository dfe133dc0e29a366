"""Directions of concepts that each have contrasts of their own: examples, or stories by scene."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import torch
from torch import Tensor

from readout_ui.activations.pooling import text_block
from readout_ui.vectors.auroc import Floats
from readout_ui.vectors.cross_validation import layer_blocks
from readout_ui.vectors.groups import PairSettings, TextGroups
from readout_ui.vectors.methods import Method

Rows = tuple[int, ...]


def contrast(
    method: Method, concept: str, positive: Tensor, negative: Tensor, pairs: PairSettings
) -> Tensor:
    """A concept's direction from texts for it and texts against it alone.

    Args:
        method: fits it, e.g. one of `METHODS`.
        concept: its name, which with the seed chooses the pairs.
        positive: activations of the texts for it, (n_positive, n_layers, d_model).
        negative: of those against it, (n_negative, n_layers, d_model).
        pairs: how the methods that pair texts do it.

    Returns:
        (n_layers, d_model), float32, unit length or zero.
    """
    n_positive, n_all = len(positive), len(positive) + len(negative)
    groups = TextGroups((concept,), (tuple(range(n_positive)),), tuple(range(n_positive, n_all)))
    both = torch.cat([positive, negative])  # (n_positive + n_negative, n_layers, d_model)
    return method(both, groups, pairs)[0]


@dataclass(frozen=True)
class SceneContrast:
    """A concept's stories in one scene and the other stories in it."""

    own: Rows
    others: tuple[Rows, ...]
    """By concept; neutral stories are one of them."""


def scene_contrasts(
    groups: TextGroups, scenes: Sequence[str]
) -> dict[str, tuple[SceneContrast, ...]]:
    """For every concept, the scenes that it shares with others.

    Stories without a scene share one, with neutral ones. A concept that shares none is contrasted
    with all other stories, whatever their scenes.

    Args:
        groups: which rows belong to which concept.
        scenes: of every row, empty where it has none.
    """
    members = _members(groups, scenes)
    found = {}
    for concept, rows in zip(groups.concepts, groups.rows, strict=True):
        shared = tuple(
            SceneContrast(by_owner[concept], _others(by_owner, concept))
            for by_owner in members.values()
            if concept in by_owner and len(by_owner) > 1
        )
        everyone = SceneContrast(rows, _others(_owners(groups), concept))
        found[concept] = shared or (everyone,)
    return found


def scene_differences(pooled: Tensor, groups: TextGroups, scenes: Sequence[str]) -> Tensor:
    """Means over the scenes of (a concept's stories minus the other concepts' stories in it).

    Args:
        pooled: (n_texts, n_layers, d_model).
        groups: which rows belong to which concept.
        scenes: of every row, empty where it has none.

    Returns:
        (n_concepts, n_layers, d_model), float32.
    """
    every = list(_members(groups, scenes).values())
    shared = [by_owner for by_owner in every if len(by_owner) > 1]
    told = {concept for by_owner in shared for concept in by_owner}
    blocks = []
    for block in layer_blocks(pooled):
        found = _differences(block, groups, shared)  # (n_concepts, n_some_layers, d_model)
        alone = [i for i, concept in enumerate(groups.concepts) if concept not in told]
        if alone:
            found[alone] = _differences(block, groups, [_owners(groups)])[alone]
        blocks.append(found)
    return torch.from_numpy(np.concatenate(blocks, axis=1)).float()


def _differences(texts: Floats, groups: TextGroups, shared: Sequence[Mapping[str, Rows]]) -> Floats:
    """Means over scenes of (a concept's stories minus the others'), each story added up once.

    Args:
        texts: (n_texts, n_layers, d_model).
        groups: whose concepts.
        shared: rows by owner of scenes that several have.

    Returns:
        (n_concepts, n_layers, d_model) float64; zero for a concept that is in no scene.
    """
    place = {concept: i for i, concept in enumerate(groups.concepts)}
    found = np.zeros((len(place), *texts.shape[1:]))
    n_scenes = np.zeros((len(place), 1, 1))
    for by_owner in shared:
        sums = np.stack([texts[list(rows)].sum(axis=0, dtype=float) for rows in by_owner.values()])
        counts = np.array([len(rows) for rows in by_owner.values()])[:, None, None]
        apart = sums / counts - (sums.sum(axis=0) - sums) / (counts.sum() - counts)
        owners = [i for i, owner in enumerate(by_owner) if owner]  # not the neutral stories
        rows = [place[owner] for owner in by_owner if owner]
        found[rows] += apart[owners]
        n_scenes[rows] += 1
    return found / np.maximum(n_scenes, 1)


def mean_contrast(positive: Tensor, negative: Tensor) -> Tensor:
    """Mean of texts (n_texts, n_layers, d_model) minus the mean of others, (n_layers, d_model)."""
    means = (side.mean(dim=0, dtype=torch.float64) for side in (positive, negative))
    own, others = means
    return (own - others).float()


def paired_directions(
    pooled: Tensor,
    groups: TextGroups,
    scenes: Sequence[str],
    method: Method,
    pairs: PairSettings,
) -> Tensor:
    """Directions of a method that pairs texts, in which the settings of the stories cancel.

    It sees every story minus the mean of its scene (each concept in it counted once), so that a
    pair from two scenes differs by what the concepts do in them.

    Args:
        pooled: (n_texts, n_layers, d_model).
        groups: which rows belong to which concept.
        scenes: of every row, empty where it has none.
        method: fits them.
        pairs: how it pairs texts.

    Returns:
        (n_concepts, n_layers, d_model), float32, unit length or zero.
    """
    directions = [
        contrast(method, concept, *_centred_sides(pooled, contrasts), pairs)
        for concept, contrasts in scene_contrasts(groups, scenes).items()
    ]
    return torch.stack(directions)  # (n_concepts, n_layers, d_model)


def without_scenes(pooled: Tensor, groups: TextGroups, scenes: Sequence[str]) -> Tensor:
    """Every text's activation minus the mean of its scene, (n_texts, n_layers, d_model).

    Each concept counts once in its scene's mean. From the stories of a scene that no other
    concept has, the mean of all concepts is taken off.
    """
    centred = text_block(*pooled.shape)
    centred.copy_(pooled)
    overall = _mean_of_concepts(pooled, tuple(_owners(groups).values()))  # (n_layers, d_model)
    for by_owner in _members(groups, scenes).values():
        rows = tuple(by_owner.values())
        middle = _mean_of_concepts(pooled, rows) if len(rows) > 1 else overall
        inside = [row for some in rows for row in some]
        centred[inside] = pooled[inside] - middle
    return centred


def _owners(groups: TextGroups) -> dict[str, Rows]:
    """Rows by concept, the neutral ones under the empty name."""
    owners = dict(zip(groups.concepts, groups.rows, strict=True))
    return {**owners, "": groups.neutral} if groups.neutral else owners


def _members(groups: TextGroups, scenes: Sequence[str]) -> dict[str, dict[str, Rows]]:
    """Rows by scene and owner."""
    members: dict[str, dict[str, list[int]]] = {}
    for owner, rows in _owners(groups).items():
        for row in rows:
            members.setdefault(scenes[row], {}).setdefault(owner, []).append(row)
    return {
        scene: {owner: tuple(rows) for owner, rows in by_owner.items()}
        for scene, by_owner in members.items()
    }


def _others(by_owner: Mapping[str, Rows], concept: str) -> tuple[Rows, ...]:
    return tuple(rows for owner, rows in by_owner.items() if owner != concept)


def _centred_sides(pooled: Tensor, contrasts: Sequence[SceneContrast]) -> tuple[Tensor, Tensor]:
    """One row a story on each side, (n_stories, n_layers, d_model)."""
    own, others = [], []
    for each in contrasts:
        middle = _mean_of_concepts(pooled, (each.own, *each.others))  # (n_layers, d_model)
        own.append(pooled[list(each.own)] - middle)
        others.append(pooled[[*chain(*each.others)]] - middle)
    return torch.cat(own), torch.cat(others)


def _mean_of_concepts(pooled: Tensor, rows: Sequence[Rows]) -> Tensor:
    return torch.stack([_mean(pooled, some) for some in rows]).mean(dim=0)  # (n_layers, d_model)


def _mean(pooled: Tensor, rows: Rows) -> Tensor:
    return pooled[list(rows)].mean(dim=0)  # (n_layers, d_model)
