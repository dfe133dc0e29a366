"""One layer of a method that is a linear map: its directions, and scores of held-out texts.

Texts are taken as the means of their concepts and what each differs from its own by. All that a
map and the folds of a cross-validation need follows from dot products of these rows and of neutral
tokens with each other; only directions are as wide as the model.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from readout_ui.activations.pooling import Layered, at_layer
from readout_ui.errors import UserError
from readout_ui.vectors.products import KeptLayer, Products
from readout_ui.vectors.vectors import TokenLayer
from readout_ui.vectors.whitening import (
    Floats,
    Indices,
    LinearMap,
    Members,
    Scale,
    lengths_of,
    mean_differences,
    squares_of,
    taken_off,
)

NOISE = 1e-6
"""Of a text's length; float32 forward passes in other batches differ by a few 1e-7."""
_ORIGIN = 16
"""Texts whose mean is taken off at first: what all texts share would cost digits."""


def wide(activations: Layered, layer: int) -> Floats:
    """A layer of activations (n, n_layers, d_model), (n, d_model) float64, made on one thread."""
    return at_layer(activations, layer).astype(np.float64)


def layer_of(activations: Layered, layer: int) -> Floats:
    """A layer's activations (n_texts, d_model) in float64.

    Raises:
        UserError: they are not finite.
    """
    texts = wide(activations, layer)
    _require_finite(float(texts.sum()), layer)
    return texts


def _require_finite(number: float, layer: int) -> None:
    if not np.isfinite(number):
        raise UserError(
            "the model's activations are not finite numbers",
            where=f"layer {layer}",
            fix="load the model in bf16 or fp32",
        )


@dataclass(frozen=True, eq=False)
class Directions:
    """What a map makes of differences at one layer."""

    mapped: Floats
    """(n_concepts, d_model), of any length; zero where nothing differs."""
    plain: Floats
    """The differences themselves, of the same shape."""
    calibrated: tuple[Floats, Floats, float] | None = None
    """As `TokenLayer.calibrated` says of the neutral tokens, where the map knows them."""


@dataclass(frozen=True, eq=False)
class MappedLayer:
    """Members' activations at one layer, and what a method's map makes of them."""

    method: str
    members: Members
    rows: Floats
    """(n_members + n_means + n_tokens, d_model) float32: members minus the mean of their group;
    means of groups, and of the contrast texts of concepts, minus the same text; neutral tokens
    minus their mean."""
    noise: float
    """Differences below this length are rounding errors of the model's forward pass."""
    scale: Scale
    kept: KeptLayer | None = None
    tokens: TokenLayer | None = None
    """The neutral tokens as they were, None where there are none or none are needed."""

    @classmethod
    def of(
        cls,
        activations: Layered,
        layer: int,
        members: Members,
        method: str,
        tokens: Layered | None,
        kept: KeptLayer | None = None,
        before: MappedLayer | None = None,
    ) -> MappedLayer:
        """Of activations (n_texts, n_layers, d_model) and, if any, neutral tokens like them.

        With what was kept of the same layer, which was told of these members. The layer before is
        of no use afterwards, for its memory is used again.

        Raises:
            UserError: activations that are not finite.
        """
        n_texts, _, d_model = activations.shape
        if tokens is not None and (tokens.shape[0] < 2 or method == "mean"):
            tokens = None
        n, n_means = len(members.rows), members.n_groups + len(members.against)
        n_tokens = 0 if tokens is None else tokens.shape[0]
        shape = n + n_means + n_tokens, d_model
        rows = np.empty(shape, dtype=np.float32) if before is None else before.rows
        texts, means, others = np.split(rows, [n, n + n_means])
        every = at_layer(activations, layer, room=texts if members.are_all(n_texts) else None)
        origin = None if kept is None else kept.origin
        if origin is None:
            origin = every[:: max(1, len(every) // _ORIGIN)].mean(axis=0)
        for place, contrasts in enumerate(members.against, start=members.n_groups):
            means[place] = every[list(contrasts)].mean(axis=0) - origin if contrasts else 0
        np.subtract(members.of_texts(every), origin, out=texts)
        squares = _apart(texts, means[: members.n_groups], members)
        lengths = lengths_of(means[: members.n_groups] + origin)
        length = float(members.counts @ lengths**2 + squares.sum()) / n
        neutral, of_tokens = None, None
        if tokens is not None:
            some = at_layer(tokens, layer, room=others)
            neutral = None if kept is None else kept.tokens
            if neutral is None:
                neutral = TokenLayer.centred(some, out=others)
            else:
                np.subtract(some, neutral.mean, out=others)
            of_tokens = neutral.squares
        _require_finite(length + (0.0 if of_tokens is None else float(of_tokens.sum())), layer)
        if kept is not None:
            kept.origin, kept.tokens = origin, neutral
        n_spread, n_concepts = len(members.spread()), members.n_groups - 1
        scale = Scale.of(method, n_concepts, squares, n_spread, of_tokens, n_tokens)
        return cls(method, members, rows, NOISE * float(np.sqrt(length)), scale, kept, neutral)

    @property
    def _n(self) -> int:
        return len(self.members.rows)

    @property
    def _n_means(self) -> int:
        return self.members.n_groups + len(self.members.against)

    @cached_property
    def _mapped(self) -> Products:
        n_tokens = len(self.rows) - self._n - self._n_means
        kept = self.kept if self._has_all else None
        return Products.of(self._spread, self._n_own, n_tokens, self.scale, self.method, kept)

    @cached_property
    def _has_all(self) -> bool:
        """Whether every member that is not alone in its group is in the map."""
        counts = self.members.counts
        return len(self.members.spread()) == int(counts[counts > 1].sum())

    @cached_property
    def _spread(self) -> Floats:
        """The rows, with only those members that the map is estimated from."""
        if self._has_all:
            return self.rows  # a member alone in its group is zero and changes nothing
        return np.concatenate([self.rows[self.members.spread()], self.rows[self._n :]])

    @property
    def _n_own(self) -> int:
        """Of these, how many are members."""
        return self._n if self._has_all else len(self.members.spread())

    def directions(self, differences: Floats | None = None) -> Directions:
        """Directions before they are given unit length.

        Args:
            differences: (n_concepts, d_model); None for those of means.
        """
        precision = self.scale.precision.astype(np.float32)
        shares = _shares(self.members, self.members.counts)
        means = self.rows[self._n : self._n + self._n_means]
        apart = shares @ means if differences is None else differences.astype(np.float32)
        shown = np.linalg.norm(apart, axis=1, keepdims=True) > self.noise
        apart = apart * shown
        if not self.scale.weight and len(self.rows) == self._n + self._n_means:
            return Directions(apart * precision, apart)  # nothing is taken off
        if differences is None:
            along = self._mapped.scaled[:, self._n_own : self._n_own + self._n_means]
            along = along @ (shares * shown).T
        else:
            along = self._spread @ (apart * precision).T
        taken = self._mapped.taken_off(along)  # (n_rows, n_concepts)
        found = (apart - taken.T @ self._spread) * precision
        calibrated = None
        if self.tokens is not None:
            lengths = lengths_of(found)
            along = self._mapped.left_of_tokens(along, taken) / lengths
            calibrated = self.tokens.calibrated(found / lengths[:, None], along)
        return Directions(found, apart, calibrated)

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
        scores = np.zeros((len(fold), self.members.n_groups - 1), dtype=np.float32)
        for number in range(n_folds):
            held_out = np.flatnonzero(fold == number)
            if len(held_out):
                judged = self._judged if self._has_all else self._refitted
                scores[held_out] = judged(held_out)
        return scores

    def _judged(self, held_out: Indices) -> Floats:
        """Scores of some members without them, (n_held_out, n_concepts)."""
        left = _left(self.members, tuple(held_out.tolist()))
        n, stretch, factors = len(held_out), left.stretch, left.factors
        across, images, bare = self._mapped.among(left.chosen)
        if weight := self.scale.weight:
            inner = stretch @ across[:n, :n] @ stretch
            matrix = np.eye(n, dtype=np.float32) - weight * inner
            solved = np.linalg.solve(matrix, stretch @ (across[:n] @ factors))
            factors = factors.copy()
            factors[:n] += weight * stretch @ solved
        along = across @ factors
        scores = left.texts @ along
        scores += scores.sum(axis=0) / left.n_left  # the mean of all members is 0
        squares = np.maximum((factors * (images @ factors)).sum(axis=0), _least(images, factors))
        lengths = _text_lengths(left.texts @ bare @ left.texts.T, left.n_left)
        found: Floats = scores / (lengths[:, None] * np.sqrt(squares))
        return found

    @cached_property
    def _texts(self) -> Floats:
        """(n_members, d_model), minus their mean."""
        texts: Floats = self.rows[: self._n] + self.rows[self._n + self.members.group]
        texts -= self._middle
        return texts

    @property
    def _middle(self) -> Floats:
        """The mean of all members, (d_model,), minus what the means are measured from."""
        means = self.rows[self._n : self._n + self.members.n_groups]
        middle: Floats = (self.members.counts / self._n).astype(np.float32) @ means
        return middle

    @cached_property
    def _base(self) -> LinearMap:
        """The part of the map that needs no text."""
        tokens = self.rows[self._n + self._n_means :]
        precision = self.scale.precision.astype(np.float32)
        taken = self._mapped.token_parts.T @ (tokens * precision)
        return LinearMap(self.scale.precision, taken.astype(np.float32))

    @cached_property
    def _images(self) -> Floats:
        return self._base.images(self._texts)

    def _refitted(self, held_out: Indices) -> Floats:
        """The same scores from a map of the rest: of many texts, not all are in the map."""
        kept = np.ones(self._n, dtype=bool)
        kept[held_out] = False
        part, contrasts, weight = self.members.some(kept), self._contrasts, self.scale.weight
        texts, images = self._texts[kept], self._images[kept]
        mapped = None if contrasts is None else self._base.images(contrasts)
        found = mean_differences(part, images, mapped)
        places = part.spread()
        if len(places) and weight:
            rows, of_rows = part.residuals(texts, places), part.residuals(images, places)
            taken = taken_off(rows @ of_rows.T, of_rows, weight)
            found -= (mean_differences(part, texts, contrasts) @ taken.T) @ taken
        own = self._texts[held_out]
        apart = own + own.sum(axis=0) / len(texts)  # the mean of all is 0
        scores: Floats = apart @ found.T / (lengths_of(apart)[:, None] * lengths_of(found))
        return scores

    @property
    def _contrasts(self) -> Floats | None:
        """As `Members.contrasts`, minus the mean of the members."""
        if not self.members.against:
            return None
        found = self.rows[self._n + self.members.n_groups :][: len(self.members.against)]
        found = found - self._middle
        found[[not texts for texts in self.members.against]] = np.nan
        return found


def _apart(texts: Floats, means: Floats, members: Members) -> Floats:
    """Take the means of their groups off members, in place, and keep these.

    Returns:
        (d_model,): sums of squares of those members that a map is estimated from.
    """
    stops = np.cumsum(members.counts)
    for group, (stop, count) in enumerate(zip(stops, members.counts, strict=True)):
        own = texts[stop - count : stop]
        np.add.reduce(own, axis=0, out=means[group])  # many times as fast as np.add.reduceat
        means[group] /= max(count, 1)
        own -= means[group]
    places = members.spread()
    return squares_of(texts if len(places) == len(texts) else texts[places])


@dataclass(frozen=True, eq=False)
class _Left:
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
    stretch: Floats
    """(n_held_out, n_held_out)."""


@lru_cache(maxsize=16)
def _left(members: Members, held_out: tuple[int, ...]) -> _Left:
    group, counts = members.group[list(held_out)], members.counts
    n_left = counts - np.bincount(group, minlength=len(counts))
    shares = _shares(members, n_left)  # (n_concepts, n_means)
    parts = np.concatenate([-shares[:, group] / n_left[group], shares], axis=1)
    chosen = np.array([*held_out, *(len(members.rows) + np.arange(shares.shape[1]))])
    factors = parts.T.astype(np.float32)
    texts = np.concatenate([np.eye(len(group)), np.zeros((len(group), shares.shape[1]))], axis=1)
    texts[:, len(group) :][:, : len(counts)] = np.eye(len(counts))[group] - counts / counts.sum()
    own = texts.astype(np.float32)
    return _Left(int(n_left.sum()), chosen, factors, own, _stretch(group, n_left))


def _shares(members: Members, counts: Indices) -> Floats:
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


def _least(images: Floats, factors: Floats) -> Floats:
    """What rounding leaves of a square that is zero, for each direction."""
    least: Floats = 1e-7 * (np.diag(images) @ (factors * factors))
    return np.maximum(least, np.finfo(np.float32).tiny)


def _text_lengths(texts: Floats, n_left: int) -> Floats:
    """Lengths of held-out members minus the mean of the rest, (n_held_out,).

    Args:
        texts: dot products of these members minus the mean of all.
        n_left: how many others there are.
    """
    squares = np.diag(texts) + 2 * texts.sum(axis=1) / n_left + texts.sum() / n_left**2
    least = np.maximum(1e-7 * np.diag(texts), np.finfo(np.float32).tiny)
    found: Floats = np.sqrt(np.maximum(squares, least))
    return found


def _stretch(group: Indices, n_left: Indices) -> Floats:
    """The symmetric root of 1 + 1 / n_left for held-out members of the same group."""
    n_out = np.bincount(group)[group]
    same = group[:, None] == group
    root = (np.sqrt(1 + n_out / n_left[group]) - 1) / n_out
    found: Floats = (np.eye(len(group)) + same * root).astype(np.float32)
    return found
