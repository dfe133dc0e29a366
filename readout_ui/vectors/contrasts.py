"""Directions of concepts that each have contrasts of their own: examples, or stories by scene."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor

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
    contrasts = scene_contrasts(groups, scenes).values()
    return torch.stack([mean_contrast(*_mean_sides(pooled, some)) for some in contrasts])


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
    centred = pooled.clone()  # (n_texts, n_layers, d_model)
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
    members: dict[str, dict[str, Rows]] = {}
    for owner, rows in _owners(groups).items():
        for row in rows:
            by_owner = members.setdefault(scenes[row], {})
            by_owner[owner] = (*by_owner.get(owner, ()), row)
    return members


def _others(by_owner: Mapping[str, Rows], concept: str) -> tuple[Rows, ...]:
    return tuple(rows for owner, rows in by_owner.items() if owner != concept)


def _mean_sides(pooled: Tensor, contrasts: Sequence[SceneContrast]) -> tuple[Tensor, Tensor]:
    """One row a scene on each side, (n_scenes, n_layers, d_model)."""
    own = [_mean(pooled, each.own) for each in contrasts]
    others = [_mean(pooled, tuple(chain(*each.others))) for each in contrasts]
    return torch.stack(own), torch.stack(others)


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
