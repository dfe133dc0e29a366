"""What leaving a fold's texts out is, the same at every layer."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from readout_ui.vectors.whitening import Floats, Indices, Members


@dataclass(frozen=True, eq=False)
class Left:
    """What leaving some members out is at every layer.

    It moves the means of their groups by a part of their own rows, so that directions are made of
    the means and of these rows alone.
    """

    n_left: int
    """How many members there are without them."""
    chosen: Indices
    """Their rows and those of all means, among all own rows."""
    factors: Floats
    """(n_held_out + n_means, n_concepts): how much of these is in each concept's difference."""
    texts: Floats
    """(n_held_out, n_held_out + n_means): and in each of these members minus the mean of all."""
    inner: Floats
    """(n_held_out, n_held_out): of what is taken out of the map, the inverse square of how much
    longer these rows are when measured from the means without them."""


@lru_cache(maxsize=16)
def leaving(members: Members, held_out: tuple[int, ...]) -> Left:
    """What leaving out members at these places is; kept, for every layer asks for it."""
    group, counts = members.group[list(held_out)], members.counts
    n_left = counts - np.bincount(group, minlength=len(counts))
    shares = shares_of(members, n_left)  # (n_concepts, n_means)
    parts = np.concatenate([-shares[:, group] / n_left[group], shares], axis=1)
    chosen = np.array([*held_out, *(len(members.rows) + np.arange(shares.shape[1]))])
    factors = parts.T.astype(np.float32)
    texts = np.concatenate([np.eye(len(group)), np.zeros((len(group), shares.shape[1]))], axis=1)
    texts[:, len(group) :][:, : len(counts)] = np.eye(len(counts))[group] - counts / counts.sum()
    own = texts.astype(np.float32)
    return Left(int(n_left.sum()), chosen, factors, own, _inner(group, n_left))


def shares_of(members: Members, counts: Indices) -> Floats:
    """How much of every mean is in each concept's difference, (n_concepts, n_means).

    Args:
        members: whose concepts.
        counts: (n_groups,), how many texts each mean is of.
    """
    own = np.eye(len(counts) - 1, len(counts))
    left = counts.sum() - counts[:-1, None]
    shares = own - (1 - own) * counts / left
    if members.against:
        known = np.array([bool(texts) for texts in members.against])
        shares[known] = own[known]
        shares = np.concatenate([shares, -np.diag(known.astype(float))], axis=1)
    found: Floats = shares.astype(np.float32)
    return found


def _inner(group: Indices, n_left: Indices) -> Floats:
    """The inverse of 1 + 1 / n_left for held-out members of the same group."""
    n_out = np.bincount(group)[group]
    same = group[:, None] == group
    found: Floats = (np.eye(len(group)) - same / (n_left[group] + n_out)).astype(np.float32)
    return found
