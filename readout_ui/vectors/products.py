"""Dot products of texts, means and neutral tokens under a method's map, at one layer."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.linalg

from readout_ui.vectors.vectors import TokenLayer
from readout_ui.vectors.whitening import Floats, Indices, Scale, component_parts, factor_of


def _usual(rows: Floats, far: Indices, some: Indices | None = None) -> tuple[Floats, Floats]:
    """Dot products of some rows, or all, with all over the usual dimensions; the others' numbers.

    Args:
        rows: (n_rows, d_model); they are as before afterwards.
        far: dimensions that are left out.
        some: which rows.
    """
    at_far = rows[:, far]
    rows[:, far] = 0
    found: Floats = rows @ rows.T if some is None else rows[some] @ rows.T  # all: one half of it
    rows[:, far] = at_far
    return found, at_far


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

    def usual(self, rows: Floats, n_own: int, scale: Scale) -> tuple[Floats, Floats, Indices]:
        """Products over the usual dimensions, numbers at the others, and which these are.

        Args:
            rows: members by group, then the means of groups and of contrasts, then tokens.
            n_own: how many are no tokens.
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
            means = stops[-1] + np.array(self._changed, dtype=np.intp)
            of_contrasts = np.arange(stops[-1] + len(stops), n_own)
            some = np.concatenate([*of_groups, means, of_contrasts])
            found, at_far = _usual(rows, self._far, some)
            self._products[some], self._products[:, some] = found, found.T
        return self._products, at_far, self._far


@dataclass(frozen=True, eq=False)
class Products:
    """Dot products of rows under a map, and of what it makes of them.

    Rows are members, then means, then tokens; `own` are the first two. The inverse of the map holds
    its scale, tokens and members' rows, and is solved for the tokens first: with them alone, it is
    the base.
    """

    scale: Scale
    method: str
    n_members: int
    n_own: int
    usual: Floats
    """(n_rows, n_rows): dot products over the dimensions of the usual scale."""
    far: Floats
    """(n_rows, n_far): the rows at the other dimensions."""
    common: float
    """Precision of the usual scale."""
    weights: Floats
    """(n_far,): of the other dimensions, as parts of it."""

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
        n_own = len(rows) - n_tokens
        if method == "neutral_pcs":  # dimensions that spread far are not scaled, and go
            rows, kept = rows.astype(np.float64), None
        if kept is None:
            places = scale.far
            usual, far = _usual(rows, places)
        else:
            usual, far, places = kept.usual(rows, n_own, scale)
        common = float(scale.precision.max())
        weights = (scale.precision[places] / common).astype(rows.dtype)
        return cls(scale, method, n_members, n_own, usual, far, common, weights)

    def _under(self, power: int) -> Floats:
        """Dot products in which a dimension counts as its precision to a power."""
        scaled = self.far * self.weights ** (power / 2)
        found = scaled @ scaled.T
        found += self.usual
        found *= self.common**power
        return found

    @cached_property
    def scaled(self) -> Floats:
        """Of rows with rows under the scale alone, (n_rows, n_rows)."""
        return self._under(1)

    @cached_property
    def token_parts(self) -> Floats:
        """How much of each scaled token is in each row that the base takes off, (n_tokens, n)."""
        products = self.scaled[self.n_own :, self.n_own :]
        if self.method == "neutral_pcs" and len(products):
            return component_parts(products)
        weight = self.scale.token_weight
        if not weight:
            return np.zeros((len(products), 0), dtype=np.float32)
        ones = weight**0.5 * np.eye(len(products), dtype=np.float32)
        found = scipy.linalg.solve_triangular(factor_of(products, weight), ones, check_finite=False)
        return np.asarray(found, dtype=np.float32)

    @cached_property
    def _along(self) -> Floats:
        """Of what the base takes off with own rows, (n, n_own)."""
        along: Floats = self.token_parts.T @ self.scaled[self.n_own :, : self.n_own]
        return along

    @cached_property
    def _gone(self) -> Floats:
        """How much of each token the base takes off an own row, (n_tokens, n_own)."""
        gone: Floats = self.token_parts @ self._along
        return gone

    @cached_property
    def _base(self) -> Floats:
        """Of own rows under the base, (n_own, n_own)."""
        found: Floats = self.scaled[: self.n_own, : self.n_own] - self._along.T @ self._along
        return found

    @cached_property
    def _base_images(self) -> Floats:
        """Of what the base makes of own rows, (n_own, n_own)."""
        n, twice = self.n_own, self._under(2)
        half = twice[n:, :n] - twice[n:, n:] @ self._gone / 2
        shared = self._gone.T @ half
        found: Floats = twice[:n, :n] - shared - shared.T
        return found

    @cached_property
    def _factor(self) -> Floats:
        n = self.n_members
        return factor_of(self._base[:n, :n], self.scale.weight)

    @cached_property
    def _rest(self) -> tuple[Floats, Floats, Floats]:
        """Beside the base, of own rows: roots of what members take off, how much of each member
        that is, and its products with the base's images less half of it; (n_own, n_members)."""
        n, weight = self.n_members, self.scale.weight
        if not weight:
            none = np.zeros((self.n_own, 0), dtype=np.float32)
            return none, none, none
        solve = scipy.linalg.solve_triangular
        roots = weight**0.5 * solve(self._factor, self._base[:n], trans=1, check_finite=False)
        parts = weight**0.5 * solve(self._factor, roots, check_finite=False)
        half = self._base_images[:, :n] - parts.T @ self._base_images[:n, :n] / 2
        return np.ascontiguousarray(roots.T), np.ascontiguousarray(parts.T), half

    def among(self, own: Indices) -> tuple[Floats, Floats, Floats]:
        """Dot products of some own rows with each other, (n, n) each.

        Returns:
            Under the map, of what the map makes of them, and as they are.
        """
        places = np.ix_(own, own)
        roots, parts, half = (of_rows[own] for of_rows in self._rest)
        shared, far = parts @ half.T, self.far[own]
        across: Floats = self._base[places] - roots @ roots.T
        images: Floats = self._base_images[places] - shared - shared.T
        bare: Floats = self.usual[places] + far @ far.T
        return across, images, bare

    def left_of_tokens(self, along: Floats, taken: Floats) -> Floats:
        """Of tokens with what the map makes of differences, (n_tokens, n_differences).

        Args:
            along: dot products of rows with the differences under the scale.
            taken: how much of each row the map takes off, as `taken_off` says.
        """
        found: Floats = along[self.n_own :] - self.scaled[self.n_own :] @ taken
        return found

    def taken_off(self, along: Floats) -> Floats:
        """How much of each row the map takes off differences, (n_rows, n_differences).

        Args:
            along: dot products of rows with the differences under the scale, of the same shape.
        """
        n, taken = self.n_members, np.zeros_like(along)
        first = self.token_parts.T @ along[self.n_own :]
        gone = self.token_parts @ first
        if weight := self.scale.weight:
            left = along[:n] - self._along[:, :n].T @ first
            solved = scipy.linalg.cho_solve((self._factor, False), left, check_finite=False)
            taken[:n] = weight * solved
            gone -= self._gone[:, :n] @ taken[:n]
        taken[self.n_own :] = gone
        return taken
