"""One layer of a method that is a linear map: its directions, and scores of held-out texts.

Both follow from the same images of the texts, so a training makes them once for each layer. A fold
changes the map by as many rows as it holds texts, so no fold solves for all of them again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.linalg
from torch import Tensor

from readout_ui.errors import UserError
from readout_ui.vectors.auroc import Bools
from readout_ui.vectors.whitening import (
    MOST_TEXTS,
    Floats,
    Indices,
    LinearMap,
    Members,
    base_map,
    factor_of,
    lengths_of,
    mean_differences,
    taken_off,
)

NOISE = 1e-6
"""Of a text's length; float32 forward passes in other batches differ by a few 1e-7."""


def wide(activations: Tensor, layer: int) -> Floats:
    """A layer of activations (n, n_layers, d_model), (n, d_model) float64, made on one thread."""
    found: Floats = activations[:, layer].float().numpy().astype(np.float64)
    return found


def layer_of(activations: Tensor, layer: int) -> Floats:
    """A layer's activations (n_texts, d_model) in float64.

    Raises:
        UserError: they are not finite.
    """
    texts = wide(activations, layer)
    if not np.isfinite(texts.sum()):
        raise UserError(
            "the model's activations are not finite numbers",
            where=f"layer {layer}",
            fix="load the model in bf16 or fp32",
        )
    return texts


@dataclass(frozen=True, eq=False)
class MappedLayer:
    """Members' activations at one layer, and what a method's map makes of them."""

    texts: Floats
    """(n_members, d_model) float64, minus their mean."""
    noise: float
    """Differences below this length are rounding errors of the model's forward pass."""
    members: Members
    base: LinearMap
    """The part of the map that needs no text, and the weight that residuals have beside it."""
    contrasts: Floats | None = None
    """See `Members.contrasts`; minus the mean of the members, as they are."""

    @classmethod
    def of(
        cls, activations: Tensor, layer: int, members: Members, method: str, tokens: Tensor | None
    ) -> MappedLayer:
        """Of activations (n_texts, n_layers, d_model) and, if any, neutral tokens like them.

        Raises:
            UserError: activations that are not finite.
        """
        every = layer_of(activations, layer)
        noise = NOISE * float(np.sqrt(np.einsum("td,td->", every, every) / len(every)))
        middle = every[members.rows].mean(axis=0) if members.against else every.mean(axis=0)
        every = every - middle
        texts = members.of_texts(every)
        some = None if tokens is None else wide(tokens, layer)
        residuals = members.residuals(texts, members.spread())
        base = base_map(method, residuals, members, some)
        return cls(texts, noise, members, base, members.contrasts(every))

    @cached_property
    def _narrow(self) -> Floats:
        return self.texts.astype(np.float32)

    @cached_property
    def _along(self) -> Floats:
        """Dot products of members with what the base takes off, (n_members, n_rows)."""
        along: Floats = self._narrow @ self.base.taken.T
        return along

    @cached_property
    def _images(self) -> Floats:
        """What the base makes of the members, (n_members, d_model) float32."""
        scaled: Floats = self._narrow * self.base.precision.astype(np.float32)
        return scaled - self._along @ self.base.taken

    @cached_property
    def _whole(self) -> _Whole:
        members, places = self.members, self.members.spread()
        scaled = self._narrow * np.sqrt(self.base.precision).astype(np.float32)
        # Not of all members with their images, which would grow with the square of the texts.
        rows, along = (members.residuals(each, places) for each in (scaled, self._along))
        products = rows @ scaled.T - along @ self._along.T  # (n_places, n_members)
        return _Whole.of(products, members, places, self.base.weight)

    def directions(self, differences: Floats | None = None) -> tuple[Floats, Floats]:
        """Directions before they are given unit length, and the differences that they are of.

        Args:
            differences: (n_concepts, d_model); None for those of means.

        Returns:
            (n_concepts, d_model) each; zero where nothing differs.
        """
        apart = differences
        if apart is None:
            apart = mean_differences(self.members, self.texts, self.contrasts)
        apart = apart * (np.linalg.norm(apart, axis=1, keepdims=True) > self.noise)
        found = self.base.images(apart)
        if self.base.weight:
            along = self._images @ apart.T.astype(np.float32)  # (n_members, n_concepts)
            found -= self._whole.solve(along).T @ self._images
        return found, apart

    def held_out(self, fold: Indices, n_folds: int) -> Floats:
        """Centred cosine of held-out members with directions that never saw their fold.

        What the map takes from the texts, it takes from those of the other folds; the scale of the
        dimensions, one number for each, is that of all texts.

        Args:
            fold: (n_members,), n_folds for members that no fold holds out.
            n_folds: how many there are.

        Returns:
            (n_members, n_concepts).
        """
        judged = self._fold_directions(fold, n_folds)
        scores = np.zeros((len(fold), self.members.n_groups - 1), dtype=np.float32)
        for number, directions in enumerate(judged):
            held_out = fold == number
            own = self._narrow[held_out]
            apart = own + own.sum(axis=0) / (len(fold) - len(own))  # the mean of all is 0
            lengths = lengths_of(apart)[:, None] * lengths_of(directions)
            scores[held_out] = (apart @ directions.T) / lengths
        return scores

    def _fold_directions(self, fold: Indices, n_folds: int) -> Iterable[Floats]:
        """Directions from the members outside of each fold, (n_concepts, d_model) each."""
        every = [fold == number for number in range(n_folds)]
        members = self.members
        many = len(fold) > 2 * MOST_TEXTS  # what relates all of them to all would be too large
        refit = many or self.contrasts is not None
        if refit or (self.base.weight and not self._whole.has_all):
            return (self._refitted(~held_out) for held_out in every)
        factors = np.concatenate([self._whole.without(held_out) for held_out in every], axis=1)
        factors -= self._whole.weight * (self._whole.apart @ factors)  # parts of the base's images
        return (factors.T @ self._images).reshape(n_folds, members.n_groups - 1, -1)

    def _refitted(self, kept: Bools) -> Floats:
        """Directions from some of the members, (n_concepts, d_model)."""
        part, weight = self.members.some(kept), self.base.weight
        texts, images = self._narrow[kept], self._images[kept]
        contrasts = None if self.contrasts is None else self.contrasts.astype(np.float32)
        mapped = None if contrasts is None else self.base.images(contrasts)
        found = mean_differences(part, images, mapped)
        places = part.spread()
        if not (len(places) and weight):
            return found
        rows, row_images = part.residuals(texts, places), part.residuals(images, places)
        taken = taken_off(rows @ row_images.T, row_images, weight)
        return found - (mean_differences(part, texts, contrasts) @ taken.T) @ taken


@dataclass(frozen=True, eq=False)
class _Whole:
    """A map with the residuals of members in it, from which those of a fold are taken again.

    With R the residuals, R = C X, its inverse is that of the base plus w R'R. Without the texts H
    of a fold it is w R'R - w H'H, where H are their residuals, stretched by what leaving them out
    moves the means of their groups.
    """

    members: Members
    weight: float
    places: Indices
    """Members whose residuals are in it."""
    factor: Floats
    """(n_places, n_places): Cholesky factor of 1 + w R B R', B the base."""
    products: Floats
    """(n_places, n_members): dot products of residuals with members under the base."""

    @classmethod
    def of(cls, products: Floats, members: Members, places: Indices, weight: float) -> _Whole:
        """From dot products of the residuals at some places with members under the base."""
        return cls(
            members,
            weight,
            places,
            factor_of(members.residuals(products.T, places), weight),
            products,
        )

    @property
    def has_all(self) -> bool:
        """Whether every member that is not alone in its group is in it."""
        counts = self.members.counts
        return len(self.places) == int(counts[counts > 1].sum())

    def solve(self, along: Floats) -> Floats:
        """How much of each member's image is taken off.

        Args:
            along: dot products of members' images with rows, (n_members, n_rows).
        """
        right = self.weight * self.members.residuals(along, self.places)
        return self._spread(scipy.linalg.cho_solve((self.factor, False), right, check_finite=False))

    def _spread(self, solved: Floats) -> Floats:
        """Parts of residuals, (n_places, n), as parts of members."""
        parts = np.zeros((len(self.members.group), solved.shape[1]), dtype=solved.dtype)
        parts[self.places] = solved
        return self.members.centred(parts)

    @cached_property
    def apart(self) -> Floats:
        """(n_members, n_members): dot products of residuals with members under this map."""
        return self._spread(
            scipy.linalg.cho_solve((self.factor, False), self.products, check_finite=False)
        )

    @cached_property
    def _between(self) -> Floats:
        """The same of residuals with residuals."""
        return self.members.centred(self.apart.T)

    def without(self, held_out: Bools) -> Floats:
        """Directions without these, as parts of what this map makes of each member.

        Returns:
            (n_members, n_concepts).
        """
        factors = self._differences(~held_out)  # (n_members, n_concepts)
        stretch = self._stretch(held_out)  # (n_held_out, n_held_out)
        inner = stretch @ self._between[held_out][:, held_out] @ stretch
        matrix = np.eye(len(inner), dtype=inner.dtype) - self.weight * inner
        solved = np.linalg.solve(matrix, stretch @ (self.apart[held_out] @ factors))
        added = np.zeros_like(factors)
        added[held_out] = self.weight * stretch @ solved
        return factors + self.members.centred(added)

    def _differences(self, kept: Bools) -> Floats:
        """How much of each member is in each difference of means, (n_members, n_concepts)."""
        members = self.members
        own = ((members.group == np.arange(members.n_groups)[:, None]) & kept).astype(np.float32)
        n_own = own.sum(axis=1, keepdims=True)  # (n_groups, 1)
        others = (kept - own[:-1]) / (np.count_nonzero(kept) - n_own[:-1])
        found: Floats = (own[:-1] / n_own[:-1] - others).T
        return found

    def _stretch(self, held_out: Bools) -> Floats:
        """The symmetric root of 1 + 1 / n_left for members of the same group."""
        group = self.members.group[held_out]
        n_out = np.bincount(group, minlength=self.members.n_groups)[group]
        n_left = self.members.counts[group] - n_out
        same = group[:, None] == group
        root = (np.sqrt(1 + n_out / n_left) - 1) / n_out
        found: Floats = (np.eye(len(group)) + same * root).astype(np.float32)
        return found
