"""Linear maps that turn a difference of means into a direction, one for each layer.

    mean          M = 1
    neutral_pcs   M = 1 - Q'Q, Q the first principal components of neutral tokens
    whitened      M = ((1 - l) S + l diag(s^2))^-1, in the coordinates of the activations

For `whitened`, s is the scale of every dimension: one for all, or the standard deviation within
concepts of a dimension that spreads much further than others; of each dimension where many spread
much less. S is half the covariance of the
texts about the mean of their concept and half that of the neutral tokens, each of mean variance 1
once the dimensions are divided by s. M is symmetric, so a text scores on a
direction what the difference of means, the texts' own differences discounted, says of it.

Nothing of the size d_model x d_model is ever built: every part is solved among the rows that it
is made of (Woodbury's identity).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.linalg

from readout_ui.vectors.groups import TextGroups

Floats = npt.NDArray[np.floating]
Indices = npt.NDArray[np.intp]
SHRINKAGE = 0.7
"""l: how much of S is left out in favour of equal variance. Cross-validated descriptions and other
writers' situations are flat from 0.5 to 0.8, so it is fixed."""
TOKEN_SHARE = 0.5
"""Of the covariance that is the neutral tokens', the rest is the texts'."""
FEWEST_CONCEPTS = 4
"""Fewer concepts without neutral tokens are not whitened: of draws of two or three concepts, 13 to
52 % became worse. With neutral tokens it helped on average at any number (see docs/methods.md)."""
MOST_TEXTS = 384
"""Texts that S is estimated from, evenly spread over the concepts: more cost more than they add."""
USUAL_SPREADS = 2.0
"""Dimensions that spread up to so many times as far as the median one have one scale together;
those that spread further, as a few do in language models, are scaled by their own deviation."""
NARROW_SHARE = 0.1
"""Share of dimensions that spread less than half as far as the median one (1 / USUAL_SPREADS) from
which every dimension is scaled by its own deviation; with fewer of them the common scale sinks in
proportion. SmolLM2 has none, Gemma 3 up to a third."""
_NEARLY = 0.8
"""Of the variance from which a dimension has a scale of its own: an edit may take it there."""
NEUTRAL_PART = 0.5
"""Share of the neutral tokens' variance that `neutral_pcs` removes, as Anthropic (2026) does."""
_TINY = np.finfo(np.float32).tiny


def factor_of(products: Floats, weight: float) -> Floats:
    """Cholesky factor of 1 + weight * products, (n_rows, n_rows), upper."""
    matrix = weight * products
    matrix[np.diag_indices_from(matrix)] += 1
    factor: Floats = scipy.linalg.cholesky(matrix, overwrite_a=True, check_finite=False)
    return factor


def taken_off(products: Floats, images: Floats, weight: float) -> Floats:
    """Rows z such that a map whose inverse takes up weight * x x' of rows x loses z z' of each.

    Args:
        products: of rows with images of rows, (n_rows, n_rows).
        images: what the map made of the rows before, (n_rows, d_model).
        weight: of each row.
    """
    factor = factor_of(products, weight)
    solved: Floats = scipy.linalg.solve_triangular(factor, images, trans=1, check_finite=False)
    found: Floats = images.dtype.type(np.sqrt(weight)) * solved
    return found


@dataclass(frozen=True, eq=False)
class LinearMap:
    """A symmetric map M of one layer's activations; a direction is M times a difference of means.

    M x = precision * x - the sum of z (z'x) over rows z that are taken off.
    """

    precision: Floats
    """(d_model,), 1 / s^2."""
    taken: Floats
    """(n_rows, d_model) float32."""
    texts: Indices = field(default_factory=lambda: np.zeros(0, dtype=np.intp))
    """Rows of the activations whose distance r from the mean of their concept is in M."""
    weight: float = 0.0
    """M^-1 holds weight * r r' of each of them; 0 where M does not depend on the texts."""

    def images(self, texts: Floats) -> Floats:
        """Rows M x of texts x, (n_texts, d_model) of their number type."""
        found = texts * self.precision.astype(texts.dtype)
        found -= (texts.astype(np.float32) @ self.taken.T) @ self.taken
        return found

    def plus(self, rows: Floats, weight: float) -> LinearMap:
        """The map whose inverse holds weight * x x' of these rows x (n_rows, d_model) as well."""
        narrow = rows.astype(np.float32)
        images = self.images(narrow)
        found = taken_off(narrow @ images.T, images, weight)
        return replace(self, taken=np.concatenate([self.taken, found]))


@dataclass(frozen=True, eq=False)
class Members:
    """Texts with the concept each belongs to; a text of two concepts is two members."""

    rows: Indices
    """(n_members,): row of the activations."""
    group: Indices
    """(n_members,): index of the concept, ascending; the last group holds the neutral texts."""
    n_groups: int
    against: tuple[tuple[int, ...], ...] = ()
    """As `TextGroups.against`."""

    @classmethod
    def of(cls, groups: TextGroups) -> Members:
        """All texts of the groups, concept by concept, neutral ones last."""
        members = (*groups.rows, groups.neutral)
        group = np.repeat(np.arange(len(members)), [len(rows) for rows in members])
        rows = np.array(groups.all_rows(), dtype=np.intp)
        return cls(rows, group, len(members), groups.against)

    def some(self, kept: npt.NDArray[np.bool_]) -> Members:
        """Those of these members, in as many groups."""
        return Members(self.rows[kept], self.group[kept], self.n_groups, self.against)

    def contrasts(self, texts: Floats) -> Floats | None:
        """Mean of each concept's contrast texts, (n_concepts, d_model), NaN where it has none.

        None where no concept has any. Texts are all of them, not the members' alone.
        """
        if not self.against:
            return None
        none = np.full(texts.shape[1], np.nan)
        return np.stack([texts[list(o)].mean(axis=0) if o else none for o in self.against])

    @cached_property
    def counts(self) -> Indices:
        """(n_groups,): members of each."""
        return np.bincount(self.group, minlength=self.n_groups)

    def of_texts(self, texts: Floats) -> Floats:
        """The members' rows of all texts, which are not copied where they are the same."""
        return texts if self.are_all(len(texts)) else texts[self.rows]

    def are_all(self, n_texts: int) -> bool:
        """Whether the members are so many texts in their order."""
        return n_texts == len(self.rows) and bool((self.rows == np.arange(n_texts)).all())

    @cached_property
    def spread(self) -> Indices:
        """Places of at most MOST_TEXTS members that are not alone in their group."""
        places = np.flatnonzero(self.counts[self.group] > 1)
        step = max(1, -(-len(places) // MOST_TEXTS))
        return places[::step]

    @cached_property
    def all_spread(self) -> bool:
        """Whether none is left out of `spread` but those alone in their group."""
        return len(self.spread) == int(self.counts[self.counts > 1].sum())

    def sums(self, texts: Floats) -> Floats:
        """Sum of each group's texts, (n_groups, d_model); texts are those of the members."""
        shown = self.counts > 0
        starts = np.cumsum(self.counts) - self.counts
        sums = np.zeros((self.n_groups, *texts.shape[1:]), dtype=texts.dtype)
        sums[shown] = np.add.reduceat(texts, starts[shown], axis=0)
        return sums

    def residuals(self, texts: Floats, places: Indices) -> Floats:
        """Members at these places minus the mean of their group, (n_places, d_model)."""
        counts = np.maximum(self.counts, 1)[:, None].astype(texts.dtype)
        means = self.sums(texts) / counts
        return texts[places] - means[self.group[places]]

    def centred(self, texts: Floats) -> Floats:
        """The same of all members; one alone in its group becomes zero."""
        return self.residuals(texts, np.arange(len(texts)))


def mean_differences(members: Members, texts: Floats, contrasts: Floats | None = None) -> Floats:
    """Mean of each concept's texts minus the mean of all others, (n_concepts, d_model).

    Args:
        members: which text belongs to which concept.
        texts: theirs, (n_members, d_model).
        contrasts: (n_concepts, d_model), subtracted in place of the others' mean where not NaN.
    """
    sums = members.sums(texts)  # (n_groups, d_model)
    n_own = members.counts[:-1, None].astype(texts.dtype)
    own = sums[:-1]
    found: Floats = own / n_own - (sums.sum(axis=0) - own) / (len(members.group) - n_own)
    if contrasts is not None:
        known = ~np.isnan(contrasts[:, 0])
        found[known] = (own / n_own - contrasts)[known]
    return found


def map_of(method: str, texts: Floats, groups: TextGroups, tokens: Floats | None) -> LinearMap:
    """The map of a method at one layer.

    Args:
        method: one of `MAPPED`.
        texts: activations (n_texts, d_model), float64, minus any mean.
        groups: which rows belong to which concept.
        tokens: neutral tokens (n_tokens, d_model) at the layer; None or empty where there are none.
    """
    members = Members.of(groups)
    return map_of_members(method, members.of_texts(texts), members, tokens)


def map_of_members(
    method: str, texts: Floats, members: Members, tokens: Floats | None
) -> LinearMap:
    """The same from the members' own activations, (n_members, d_model) float64."""
    places = members.spread
    residuals = members.residuals(texts, places)
    base = base_map(method, residuals, members, tokens)
    if not base.weight or not len(places):
        return replace(base, weight=0.0)
    return replace(base.plus(residuals, base.weight), texts=members.rows[places])


def base_map(method: str, residuals: Floats, members: Members, tokens: Floats | None) -> LinearMap:
    """The part of a method's map that needs no text, and the weight that residuals have in it.

    Args:
        method: one of `MAPPED`.
        residuals: texts minus the mean of their concept, (n_texts, d_model), float64.
        members: whose they are.
        tokens: neutral tokens (n_tokens, d_model); None or empty where there are none.
    """
    apart = None if tokens is None or len(tokens) < 2 else tokens - tokens.mean(axis=0)
    if method == "neutral_pcs" and apart is not None:
        rows = component_parts(apart @ apart.T).T @ apart
        return LinearMap(np.ones(residuals.shape[1]), rows.astype(np.float32))
    squares, n_tokens = (None, 0) if apart is None else (squares_of(apart), len(apart))
    own = squares_of(residuals)
    scale = Scale.of(method, members.n_groups - 1, own, len(residuals), squares, n_tokens)
    taken: Floats = np.zeros((0, residuals.shape[1]), dtype=np.float32)
    if apart is not None and scale.token_weight:
        narrow = np.sqrt(scale.precision).astype(np.float32)
        scaled = apart.astype(np.float32) * narrow
        taken = taken_off(scaled @ scaled.T, scaled * narrow, scale.token_weight)
    return LinearMap(scale.precision, taken, weight=scale.weight)


@dataclass(frozen=True, eq=False)
class Scale:
    """What a method's map takes of every dimension, and of the rows that it takes off."""

    precision: Floats
    """(d_model,), 1 / s^2."""
    token_weight: float = 0.0
    """The map's inverse holds weight * t t' of each neutral token minus their mean."""
    weight: float = 0.0
    """And weight * r r' of each text minus the mean of its concept."""
    far: Indices = field(default_factory=lambda: np.zeros(0, dtype=np.intp))
    """Dimensions whose precision is not that of most, or may no longer be after an edit."""

    @classmethod
    def of(
        cls,
        method: str,
        n_concepts: int,
        squares: Floats,
        n_texts: int,
        token_squares: Floats | None,
        n_tokens: int,
    ) -> Scale:
        """From sums of squares of both kinds of rows, (d_model,) each; None without tokens."""
        known = [some for some in (squares, token_squares) if some is not None and some.any()]
        too_few = token_squares is None and n_concepts < FEWEST_CONCEPTS
        if method != "whitened" or too_few or not known:
            return cls(np.ones(len(squares)))
        n_rows = n_texts if squares.any() or token_squares is None else n_tokens
        variance = _variances(known[0].astype(np.float64) / n_rows)  # (d_model,)
        odds = (1 - SHRINKAGE) / SHRINKAGE
        share, token_weight = (TOKEN_SHARE if len(known) == 2 else 1.0), 0.0
        if token_squares is not None and token_squares.any():
            # Squares divided by it have mean variance 1 in scaled dimensions.
            token_weight = share * odds / float((token_squares / variance).mean())
            share = 1 - share
        weight = share * odds / float((squares / variance).mean()) if share else 0.0
        far = np.flatnonzero(known[0] / n_rows > _NEARLY * variance.min())
        if 2 * len(far) > len(variance):
            far = np.arange(len(variance))  # what few others have in common is lost in rounding
        return cls(1 / variance, token_weight, weight, far)


def squares_of(rows: Floats) -> Floats:
    """Sums of squares of each dimension, (d_model,)."""
    squares: Floats = np.einsum("td,td->d", rows, rows)
    return squares


def component_parts(products: Floats) -> Floats:
    """How much of each centred token is in each principal component that goes, (n_tokens, n).

    The first ones, of length 1, that hold NEUTRAL_PART of the tokens' variance.

    Args:
        products: dot products of the tokens with each other.
    """
    values, vectors = scipy.linalg.eigh(products)  # ascending
    held = np.cumsum(values[::-1]) / max(values.sum(), _TINY)
    n = int(np.searchsorted(held, NEUTRAL_PART)) + 1
    parts: Floats = vectors[:, ::-1][:, :n] / np.sqrt(np.maximum(values[::-1][:n], _TINY))
    return parts


def _variances(variances: Floats) -> Floats:
    """s^2 of every dimension from its variance, (d_model,)."""
    deviation = np.sqrt(variances)
    median = float(np.median(deviation))
    narrow = float((deviation < median / USUAL_SPREADS).mean())
    common = USUAL_SPREADS * median * max(0.0, 1 - narrow / NARROW_SHARE)
    least = max(common, 1e-3 * float(deviation.max()))
    found: Floats = np.maximum(deviation, least) ** 2
    return found


def lengths_of(vectors: Floats) -> Floats:
    """Lengths along the last axis, never zero."""
    squares = np.einsum("...d,...d->...", vectors, vectors)
    lengths: Floats = np.maximum(np.sqrt(squares), np.sqrt(np.finfo(vectors.dtype).tiny))
    return lengths


MAPPED = ("mean", "whitened", "neutral_pcs")
"""Methods whose directions are a linear map of differences of means."""


def stand_in(method: str, n_concepts: int, n_tokens: int) -> str:
    """What a method does where it lacks something it needs; empty where nothing is lacking.

    Args:
        method: the run's.
        n_concepts: how many concepts it has.
        n_tokens: how many neutral tokens were kept.
    """
    few = n_concepts < FEWEST_CONCEPTS
    if method == "whitened" and n_tokens >= 2 and few:
        return (
            f"With fewer than {FEWEST_CONCEPTS} concepts, whitening rests on neutral tokens for "
            "the most part: it helps as a rule, not always. Compare with the method mean."
        )
    if method in ("whitened", "neutral_pcs") and n_tokens < 2:
        if method == "whitened" and not few:
            return "There are no neutral tokens, so whitening knows the spread of the texts alone."
        rest = f", or {FEWEST_CONCEPTS} concepts or more" if few and method == "whitened" else ""
        return f"Directions are plain mean differences: {method} needs neutral texts{rest}."
    return ""


def fit_parameters(
    method: str, instead: str, groups: TextGroups
) -> dict[str, float | str | dict[str, int]]:
    """A method's own numbers, as a manifest states them.

    Args:
        method: the run's.
        instead: what `stand_in` said.
        groups: of the texts; concepts with contrast texts of their own are named.
    """
    pairs = zip(groups.concepts, groups.against, strict=False)
    contrasts = {concept: len(rows) for concept, rows in pairs if rows}
    numbers: dict[str, dict[str, float | str]] = {
        "whitened": {"shrinkage": SHRINKAGE, "token_share": TOKEN_SHARE},
        "neutral_pcs": {"variance_removed": NEUTRAL_PART},
    }
    told: dict[str, Any] = {"instead": instead, "contrasts": contrasts}
    return {**numbers.get(method, {}), **{key: value for key, value in told.items() if value}}
