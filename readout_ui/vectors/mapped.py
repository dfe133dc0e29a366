"""One layer of a method that is a linear map: its directions, and scores of held-out texts.

Texts are taken as the means of their concepts and what each differs from its own by. All that a
map and the folds of a cross-validation need follows from dot products of these rows and of neutral
tokens with each other; only directions are as wide as the model.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from readout_ui.activations.pooling import Layered, at_layer
from readout_ui.errors import UserError
from readout_ui.vectors.held_out import leaving, shares_of
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
_FEW = 16
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
    require_finite(float(texts.sum()), layer)
    return texts


def require_finite(number: float, layer: int) -> None:
    """Of a layer's activations, any number that is not finite where they are not.

    Raises:
        UserError: it is not.
    """
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
    """(n_members + n_tokens + n_means, d_model) float32: members minus the mean of their group;
    neutral tokens minus their mean; means of groups, and of the contrast texts of concepts, minus
    the same text."""
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
        shape = n + n_tokens + n_means, d_model
        rows = np.empty(shape, dtype=np.float32) if before is None else before.rows
        texts, others, means = np.split(rows, [n, n + n_tokens])
        origin = None if kept is None else kept.origin
        if origin is None:
            few = range(0, n_texts, max(1, n_texts // _ORIGIN))
            origin = at_layer(activations, layer, few).mean(axis=0)
        for place, contrasts in enumerate(members.against, start=members.n_groups):
            found = at_layer(activations, layer, contrasts).mean(axis=0) if contrasts else origin
            means[place] = found - origin
        squares = _apart(activations, layer, origin, members, texts, means)
        lengths = lengths_of(means[: members.n_groups] + origin)
        length = float(members.counts @ lengths**2 + squares.sum()) / n
        neutral, of_tokens = None, None
        if tokens is not None:
            neutral = None if kept is None else kept.tokens
            if neutral is None:
                neutral = TokenLayer.centred(at_layer(tokens, layer, room=others), out=others)
            else:
                for part in _portions(n_tokens):
                    some = at_layer(tokens, layer, range(n_tokens)[part], others[part])
                    np.subtract(some, neutral.mean, out=others[part])
            of_tokens = neutral.squares
        require_finite(length + (0.0 if of_tokens is None else float(of_tokens.sum())), layer)
        if kept is not None:
            kept.origin, kept.tokens = origin, neutral
        n_spread, n_concepts = len(members.spread), members.n_groups - 1
        scale = Scale.of(method, n_concepts, squares, n_spread, of_tokens, n_tokens)
        return cls(method, members, rows, NOISE * float(np.sqrt(length)), scale, kept, neutral)

    @property
    def _n(self) -> int:
        return len(self.members.rows)

    @property
    def _n_means(self) -> int:
        return self.members.n_groups + len(self.members.against)

    @property
    def _n_tokens(self) -> int:
        return len(self.rows) - self._n - self._n_means

    @property
    def _means(self) -> Floats:
        """(n_means, d_model)."""
        return self.rows[len(self.rows) - self._n_means :]

    @cached_property
    def _mapped(self) -> Products:
        n_own = len(self._spread) - self._n_tokens - self._n_means
        kept = self.kept if self._has_all else None
        return Products.of(self._spread, n_own, self._n_tokens, self.scale, self.method, kept)

    @cached_property
    def _has_all(self) -> bool:
        """Whether every member that is not alone in its group is in the map."""
        return self.members.all_spread

    @cached_property
    def _spread(self) -> Floats:
        """The rows, with only those members that the map is estimated from."""
        if self._has_all:
            return self.rows  # a member alone in its group is zero and changes nothing
        return np.concatenate([self.rows[self.members.spread], self.rows[self._n :]])

    def directions(self, differences: Floats | None = None) -> Directions:
        """Directions before they are given unit length.

        Args:
            differences: (n_concepts, d_model); None for those of means.
        """
        precision = self.scale.precision.astype(np.float32)
        shares = shares_of(self.members, self.members.counts)
        apart = shares @ self._means if differences is None else differences.astype(np.float32)
        shown = lengths_of(apart)[:, None] > self.noise
        apart *= shown
        if not self.scale.weight and not self._n_tokens:
            return Directions(apart * precision, apart)  # nothing is taken off
        n_taken = len(self._spread) - self._n_means
        rows = self._spread[:n_taken]
        if differences is None:
            along = self._mapped.scaled[:n_taken, n_taken:] @ (shares * shown).T
        else:
            along = rows @ (apart * precision).T
        taken = self._mapped.taken_off(along)  # (n_taken, n_concepts)
        found = taken.T @ rows
        np.subtract(apart, found, out=found)
        found *= precision
        calibrated = None
        if self.tokens is not None:
            lengths = lengths_of(found)
            found /= lengths[:, None]
            along = self._mapped.left_of_tokens(along, taken) / lengths
            calibrated = self.tokens.calibrated(found, along)
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
        left = leaving(self.members, tuple(held_out.tolist()))
        n, factors = len(held_out), left.factors
        across = self._mapped.among(left.chosen)
        along = across @ factors
        if weight := np.float32(self.scale.weight):
            back = np.linalg.solve(left.inner - weight * across[:n, :n], weight * along[:n])
            factors = factors.copy()
            factors[:n] += back
            along += across[:, :n] @ back
        scores = left.texts @ along
        scores += scores.sum(axis=0) / left.n_left  # the mean of all members is 0
        squares = self._mapped.squares(held_out, factors, (factors * along).sum(axis=0))
        squares = np.maximum(squares, self._mapped.common * _least(across, factors))
        lengths = _text_lengths(self._text_products[np.ix_(held_out, held_out)], left.n_left)
        found: Floats = scores / (lengths[:, None] * np.sqrt(squares))
        return found

    @cached_property
    def _text_products(self) -> Floats:
        """Of members minus their mean, (n_members, n_members)."""
        shares = (self.members.counts / self._n).astype(np.float32)
        return self._mapped.of_texts(self.members.group, shares)

    @cached_property
    def _texts(self) -> Floats:
        """(n_members, d_model), minus their mean."""
        texts: Floats = self.rows[: self._n] + self._means[self.members.group]
        texts -= self._middle
        return texts

    @property
    def _middle(self) -> Floats:
        """The mean of all members, (d_model,), minus what the means are measured from."""
        means = self._means[: self.members.n_groups]
        middle: Floats = (self.members.counts / self._n).astype(np.float32) @ means
        return middle

    @cached_property
    def _base(self) -> LinearMap:
        """The part of the map that needs no text."""
        tokens = self.rows[self._n : self._n + self._n_tokens]
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
        places = part.spread
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
        found = self._means[self.members.n_groups :] - self._middle
        found[[not texts for texts in self.members.against]] = np.nan
        return found


def _apart(
    activations: Layered,
    layer: int,
    origin: Floats,
    members: Members,
    texts: Floats,
    means: Floats,
) -> Floats:
    """Members minus the means of their groups, and these minus the origin, put into their room.

    One group after the other: what is done with its few texts is done in the processor's cache.

    Args:
        activations: (n_texts, n_layers, d_model).
        layer: which layer.
        origin: (d_model,), what is taken off first.
        members: which text belongs to which group.
        texts: room for the members, (n_members, d_model).
        means: room for the means of their groups, and more behind it, (n_means, d_model).

    Returns:
        (d_model,): sums of squares of those members that a map is estimated from.
    """
    thinned = not members.all_spread
    squares = np.zeros_like(origin)
    stops = np.cumsum(members.counts)
    for group, (stop, count) in enumerate(zip(stops, members.counts, strict=True)):
        own, rows = texts[stop - count : stop], members.rows[stop - count : stop]
        np.subtract(at_layer(activations, layer, rows.tolist(), own), origin, out=own)
        np.add.reduce(own, axis=0, out=means[group])  # many times as fast as np.add.reduceat
        means[group] /= max(count, 1)
        own -= means[group]
        if not thinned:
            squares += squares_of(own)
    return squares_of(texts[members.spread]) if thinned else squares


def _portions(n: int) -> Iterator[slice]:
    """A few rows at a time, which the processor's cache holds."""
    return (slice(start, start + _FEW) for start in range(0, n, _FEW))


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
