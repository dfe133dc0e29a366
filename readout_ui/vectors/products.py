"""Dot products of texts, means and neutral tokens under a method's map, at one layer."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.linalg
from scipy.linalg import lapack

from readout_ui.vectors.vectors import TokenLayer
from readout_ui.vectors.whitening import Floats, Indices, Scale, component_parts, factor_of

_SMALL = 80
"""Rows of a matrix that LAPACK inverts alone: it is slower than products are with larger ones."""


def _usual(rows: Floats, far: Indices, some: Indices | None = None) -> tuple[Floats, Floats]:
    """Dot products of some rows, or all, with all over the usual dimensions; the others' numbers.

    Args:
        rows: (n_rows, d_model); they are as before afterwards.
        far: dimensions that are left out.
        some: which rows.
    """
    if len(far) == rows.shape[1]:
        n_chosen = len(rows) if some is None else len(some)
        return np.zeros((n_chosen, len(rows)), dtype=rows.dtype), rows
    at_far = rows[:, far]
    if some is not None:
        chosen = rows[some]
        chosen[:, far] = 0
        few: Floats = rows @ chosen.T  # the other way round takes half as long again
        return few.T, at_far
    rows[:, far] = 0
    found: Floats = rows @ rows.T  # one half of it
    rows[:, far] = at_far
    return found, at_far


def inverse_of(matrix: Floats) -> Floats:
    """Inverse of a symmetric positive matrix (n, n) float32, by halves: twice as fast as LAPACK."""
    if len(matrix) <= _SMALL:
        factor, _ = lapack.spotrf(matrix.T, clean=0)
        upper, _ = lapack.spotri(factor, overwrite_c=1)
        found: Floats = np.triu(upper)
        found += np.triu(upper, 1).T
        return found
    n, found = len(matrix) // 2, np.empty_like(matrix)
    first, across = inverse_of(matrix[:n, :n]), matrix[:n, n:]
    moved = first @ across
    last = inverse_of(matrix[n:, n:] - across.T @ moved)
    between = np.negative(moved @ last, out=found[:n, n:])
    found[n:, :n], found[n:, n:] = between.T, last
    np.subtract(first, between @ moved.T, out=found[:n, :n])
    return found


class KeptLayer:
    """What the last training of the same texts, or nearly so, knew of a layer."""

    def __init__(self) -> None:
        self.origin: Floats | None = None
        """(d_model,): what members were measured from."""
        self.tokens: TokenLayer | None = None
        self._method = ""
        self._keys: tuple[tuple[str, ...], ...] = ()
        self._asked: tuple[tuple[str, ...], ...] = ()
        self._far: Indices = np.zeros(0, dtype=np.intp)
        self._products: Floats | None = None
        self._changed: list[int] | None = None

    @property
    def n_bytes(self) -> int:
        """Of the dot products."""
        return 0 if self._products is None else self._products.nbytes

    def begin(self, method: str, keys: tuple[tuple[str, ...], ...]) -> None:
        """Say by group whose texts are to come, neutral ones last; what is of no use is forgotten.

        Tokens are of neutral texts, so that where these changed nothing is the same.
        """
        sizes = [len(some) for some in keys] == [len(some) for some in self._keys]
        same = method == self._method and sizes and keys[-1] == self._keys[-1]
        self._changed, self._method = None, method
        if self._products is not None and same:
            pairs = zip(keys, self._keys, strict=True)
            self._changed = [group for group, (new, old) in enumerate(pairs) if new != old]
        else:
            self.origin = self.tokens = self._products = None
        self._asked = keys

    def usual(self, rows: Floats, n_tokens: int, scale: Scale) -> tuple[Floats, Floats, Indices]:
        """Products over the usual dimensions, numbers at the others, and which these are.

        Args:
            rows: members by group, then tokens, then the means of groups and of contrasts.
            n_tokens: how many of them are tokens.
            scale: which dimensions are not usual.
        """
        odd = np.flatnonzero(scale.precision != scale.precision.max())
        self._keys = self._asked
        stops = np.cumsum([len(some) for some in self._keys])
        if self._products is None or self._changed is None or not np.isin(odd, self._far).all():
            self._far = scale.far
            self._products, at_far = _usual(rows, self._far)
        else:
            of_groups = [np.arange(stops[g] - len(self._keys[g]), stops[g]) for g in self._changed]
            first_mean = stops[-1] + n_tokens
            means = first_mean + np.array(self._changed, dtype=np.intp)
            of_contrasts = np.arange(first_mean + len(stops), len(rows))
            some = np.concatenate([*of_groups, means, of_contrasts])
            found, at_far = _usual(rows, self._far, some)
            self._products[some], self._products[:, some] = found, found.T
        return self._products, at_far, self._far


@dataclass(frozen=True, eq=False)
class Products:
    """Dot products of rows under a map, and of what it makes of them.

    Rows are members, then tokens, then means; a map takes parts of the first two off what it is
    given. The inverse of `whitened` holds its scale and these rows, all at once.
    """

    scale: Scale
    method: str
    n_members: int
    n_taken: int
    """Members and tokens."""
    usual: Floats
    """(n_rows, n_rows): dot products over the dimensions of the usual scale."""
    far: Floats
    """(n_rows, n_far): the rows at the other dimensions."""
    common: float
    """Precision of the usual scale."""
    weights: Floats
    """(n_far,): of the other dimensions, as parts of it."""
    all_far: bool
    """Whether no dimension has the usual scale."""

    @classmethod
    def of(
        cls,
        rows: Floats,
        n_members: int,
        n_tokens: int,
        scale: Scale,
        method: str,
        kept: KeptLayer | None = None,
    ) -> Products:
        """From rows (n_rows, d_model), and what the last training knew of them."""
        if method == "neutral_pcs":  # dimensions that spread far are not scaled, and go
            rows, kept = rows.astype(np.float64), None
        if kept is None:
            places = scale.far
            usual, far = _usual(rows, places)
        else:
            usual, far, places = kept.usual(rows, n_tokens, scale)
        common = float(scale.precision.max())
        weights = (scale.precision[places] / common).astype(rows.dtype)
        everywhere = len(places) == rows.shape[1]
        n_taken = n_members + n_tokens
        return cls(scale, method, n_members, n_taken, usual, far, common, weights, everywhere)

    @cached_property
    def scaled(self) -> Floats:
        """Of rows with rows under the scale alone, (n_rows, n_rows)."""
        found = self.usual * np.float32(self.common)
        if len(self.weights):
            far = self.far * np.sqrt(self.common * self.weights)
            found += far @ far.T
        return found

    @property
    def _whitens(self) -> bool:
        return bool(self.scale.weight or self.scale.token_weight)

    @cached_property
    def token_parts(self) -> Floats:
        """How much of each scaled token is in each row that tokens take off, (n_tokens, n)."""
        tokens = slice(self.n_members, self.n_taken)
        products = self.scaled[tokens, tokens]
        if self.method == "neutral_pcs" and len(products):
            return component_parts(products)
        weight = self.scale.token_weight
        if not weight:
            return np.zeros((len(products), 0), dtype=np.float32)
        ones = weight**0.5 * np.eye(len(products), dtype=np.float32)
        found = scipy.linalg.solve_triangular(factor_of(products, weight), ones, check_finite=False)
        return np.asarray(found, dtype=np.float32)

    @cached_property
    def _roots(self) -> Floats:
        """(n_taken,): of the weight that a row has in the map's inverse."""
        weights = np.full(self.n_taken, self.scale.token_weight, dtype=np.float32)
        weights[: self.n_members] = self.scale.weight
        return np.sqrt(weights)

    @cached_property
    def _inverse(self) -> Floats:
        """Of 1 + the products of members and tokens times the roots, (n_taken, n_taken)."""
        matrix = self.scaled[: self.n_taken, : self.n_taken] * self._roots
        matrix *= self._roots[:, None]
        matrix[np.diag_indices_from(matrix)] += 1
        return inverse_of(matrix)

    @cached_property
    def _of_means(self) -> Floats:
        """Roots times products of members and tokens with images of means, (n_means, n_taken)."""
        found: Floats = (self.scaled[self.n_taken :, : self.n_taken] * self._roots) @ self._inverse
        return found

    @property
    def _member_share(self) -> float:
        """1 / the root of a member's weight; 0 where members differ from their means by nothing."""
        return self.scale.weight**-0.5 if self.scale.weight else 0.0

    @cached_property
    def _across(self) -> Floats:
        """Of members and means with their images, (n_own, n_own)."""
        if self._whitens:
            return self._whitened_across
        n, m = self.n_members, self.n_taken
        own = [*range(n), *range(m, len(self.usual))]
        found: Floats = self.scaled[np.ix_(own, own)]
        if self.method == "neutral_pcs":
            along = self.token_parts.T @ self.scaled[n:m, own]
            found -= along.T @ along
        return found

    @property
    def _whitened_across(self) -> Floats:
        """Of whatever the inverse holds, the products with the images follow from it alone."""
        n, m, share = self.n_members, self.n_taken, np.float32(self._member_share)
        size = len(self.usual) - m + n
        found = np.empty((size, size), dtype=np.float32)
        members, means = found[:n, :n], found[n:, n:]
        np.multiply(self._inverse[:n, :n], -(share**2), out=members)
        members[np.diag_indices_from(members)] += share**2
        np.multiply(self._of_means[:, :n], share, out=found[n:, :n])
        found[:n, n:] = found[n:, :n].T
        taken = self._of_means @ (self.scaled[m:, :m] * self._roots).T
        np.subtract(self.scaled[m:, m:], taken, out=means)
        return found

    def of_texts(self, group: Indices, shares: Floats) -> Floats:
        """Dot products of members minus the mean of all with each other, under no map.

        Args:
            group: (n_members,), whose mean each was measured from.
            shares: (n_groups,), of all members.

        Returns:
            (n_members, n_members).
        """
        n, means = self.n_members, slice(self.n_taken, self.n_taken + len(shares))
        far, far_means = self.far[:n], self.far[means]
        with_means = self.usual[:n, means] + far @ far_means.T
        of_means = self.usual[means, means] + far_means @ far_means.T
        with_means -= (with_means @ shares)[:, None]
        of_means -= (of_means @ shares)[:, None]
        of_means -= shares @ of_means
        along = with_means[:, group]
        found: Floats = self.usual[:n, :n] + along
        found += along.T
        found += of_means[group][:, group]
        if len(self.weights):
            found += far @ far.T
        return found

    def among(self, own: Indices) -> Floats:
        """Dot products of some members and means with their images, (n, n)."""
        found: Floats = self._across[np.ix_(own, own)]
        return found

    def squares(self, members: Indices, factors: Floats, across: Floats) -> Floats:
        """Squared lengths of the images of sums of rows, (n_sums,).

        With M the map, D one over its scale and x a sum, x' M D M x is x' M x minus the weighted
        squares of the products of members and tokens with M x. Where the scale is the usual one,
        that is the square of M x divided by it.

        Args:
            members: which of them are summed, before all means.
            factors: how much of each, (n_members + n_means, n_sums).
            across: (n_sums,): products of the sums with their images.
        """
        if not self._whitens:
            return across  # the map is a projection
        n, share = len(members), np.float32(self._member_share)
        along = factors[n:].T @ self._of_means  # (n_sums, n_taken)
        along -= share * (factors[:n].T @ self._inverse[members])
        along[:, members] += share * factors[:n].T
        far = self._far_images(members, factors, along)  # (n_far, n_sums)
        usual: Floats = across - np.einsum("st,st->s", along, along)
        usual -= np.einsum("fs,fs->s", far, far / (self.common * self.weights[:, None]))
        at_far: Floats = np.einsum("fs,fs->s", far, far)
        return at_far if self.all_far else np.float32(self.common) * usual + at_far

    def _far_images(self, members: Indices, factors: Floats, along: Floats) -> Floats:
        n, m = len(members), self.n_taken
        found = self.far[members].T @ factors[:n] + self.far[m:].T @ factors[n:]
        found -= self.far[:m].T @ (along * self._roots).T
        found *= self.common * self.weights[:, None]
        return found

    def taken_off(self, along: Floats) -> Floats:
        """How much of each row the map takes off differences, (n_taken, n_differences).

        Args:
            along: dot products of members and tokens with the differences under the scale.
        """
        if self.method == "neutral_pcs":
            taken = np.zeros_like(along)
            parts = self.token_parts
            taken[self.n_members :] = parts @ (parts.T @ along[self.n_members :])
            return taken
        roots = self._roots[:, None]
        found: Floats = roots * (self._inverse @ (roots * along))
        return found

    def left_of_tokens(self, along: Floats, taken: Floats) -> Floats:
        """Of tokens with what the map makes of differences, (n_tokens, n_differences).

        Args:
            along: dot products of members and tokens with the differences under the scale.
            taken: how much of each the map takes off, as `taken_off` says.
        """
        n, weight = self.n_members, self.scale.token_weight
        if weight:
            left: Floats = taken[n:] / np.float32(weight)
            return left
        tokens = self.scaled[n : self.n_taken, : self.n_taken]
        found: Floats = along[n:] - tokens @ taken
        return found
