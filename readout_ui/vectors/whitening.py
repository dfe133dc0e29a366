"""Linear maps that turn a difference of means into a direction, one for each layer.

    mean          M = 1
    neutral_pcs   M = 1 - Q'Q, Q the first principal components of neutral tokens
    whitened      M = ((1 - l) S + l diag(s^2))^-1, in the coordinates of the activations

For `whitened`, s is the scale of every dimension: one for all, or the standard deviation within
concepts of a dimension that spreads much further than others. S is half the covariance of the
texts about the mean of their concept and half that of the neutral tokens, each of mean variance 1
once the dimensions are divided by s. M is symmetric, so a text scores on a
direction what the difference of means, the texts' own differences discounted, says of it.

Nothing of the size d_model x d_model is ever built: every part is solved among the rows that it
is made of (Woodbury's identity).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import scipy.linalg
from scipy.sparse import csr_array

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
NEUTRAL_PART = 0.5
"""Share of the neutral tokens' variance that `neutral_pcs` removes, as Anthropic (2026) does."""
_TINY = np.finfo(np.float32).tiny


@dataclass(frozen=True, eq=False)
class Update:
    """Rows whose outer products the inverse of a map took up."""

    images: Floats
    """(n_rows, d_model) float32: what the map made of the rows before."""
    factor: Floats
    """(n_rows, n_rows): Cholesky factor of 1 + weight * rows images'."""
    weight: float

    @classmethod
    def of(cls, rows: Floats, images: Floats, weight: float) -> Update:
        """The update by weight * x x' of rows x (n_rows, d_model) with these images."""
        return cls(images, _factor(rows @ images.T, weight), weight)

    @staticmethod
    def solve(products: Floats, along: Floats, weight: float) -> Floats:
        """How much of each row is taken off, from dot products alone, (n_rows, n_texts).

        Args:
            products: of rows with images of rows, (n_rows, n_rows).
            along: of rows with images of texts, (n_rows, n_texts).
            weight: of each row.
        """
        factor = _factor(products, weight), False
        solved: Floats = scipy.linalg.cho_solve(factor, weight * along, check_finite=False)
        return solved

    def taken_off(self, texts: Floats) -> Floats:
        """What the images of texts (n_texts, d_model) lose by it."""
        along = self.weight * (self.images @ texts.T)  # (n_rows, n_texts)
        solved = scipy.linalg.cho_solve((self.factor, False), along, check_finite=False)
        lost: Floats = solved.T @ self.images
        return lost


def _factor(products: Floats, weight: float) -> Floats:
    """Cholesky factor of 1 + weight * products, (n_rows, n_rows)."""
    matrix = weight * products
    matrix[np.diag_indices_from(matrix)] += 1
    factor: Floats = scipy.linalg.cho_factor(matrix, overwrite_a=True, check_finite=False)[0]
    return factor


@dataclass(frozen=True, eq=False)
class LinearMap:
    """A symmetric map M of one layer's activations; a direction is M times a difference of means.

    M x = precision * x - what each update takes off.
    """

    precision: Floats
    """(d_model,), 1 / s^2."""
    updates: tuple[Update, ...] = ()
    texts: Indices = field(default_factory=lambda: np.zeros(0, dtype=np.intp))
    """Rows of the activations whose distance r from the mean of their concept is in M."""
    weight: float = 0.0
    """M^-1 holds weight * r r' of each of them; 0 where M does not depend on the texts."""

    def images(self, texts: Floats) -> Floats:
        """Rows M x of texts x, (n_texts, d_model) of their number type."""
        found = texts * self.precision.astype(texts.dtype)
        narrow = texts.astype(np.float32)
        for update in self.updates:
            found -= update.taken_off(narrow)
        return found

    def plus(self, rows: Floats, weight: float) -> LinearMap:
        """The map whose inverse holds weight * x x' of these rows x (n_rows, d_model) as well."""
        narrow = rows.astype(np.float32)
        update = Update.of(narrow, self.images(narrow), weight)
        return replace(self, updates=(*self.updates, update))


@dataclass(frozen=True, eq=False)
class Members:
    """Texts with the concept each belongs to; a text of two concepts is two members."""

    rows: Indices
    """(n_members,): row of the activations."""
    group: Indices
    """(n_members,): index of the concept; the last group holds the neutral texts."""
    n_groups: int

    @classmethod
    def of(cls, groups: TextGroups) -> Members:
        """All texts of the groups, concept by concept, neutral ones last."""
        members = (*groups.rows, groups.neutral)
        group = np.repeat(np.arange(len(members)), [len(rows) for rows in members])
        return cls(np.array(groups.all_rows(), dtype=np.intp), group, len(members))

    def of_texts(self, texts: Floats) -> Floats:
        """The members' rows of all texts, which are not copied where they are the same."""
        same = len(texts) == len(self.rows) and (self.rows == np.arange(len(texts))).all()
        return texts if same else texts[self.rows]

    def spread(self) -> Indices:
        """Places of at most MOST_TEXTS members that are not alone in their group."""
        counts = np.bincount(self.group, minlength=self.n_groups)
        places = np.flatnonzero(counts[self.group] > 1)
        step = max(1, -(-len(places) // MOST_TEXTS))
        return places[::step]

    def sums(self, texts: Floats) -> Floats:
        """Sum of each group's texts, (n_groups, d_model); texts are those of the members."""
        ones = np.ones(len(self.group), dtype=texts.dtype)
        places = np.arange(len(self.group))
        matrix = csr_array((ones, (self.group, places)), shape=(self.n_groups, len(places)))
        sums: Floats = matrix @ texts
        return sums

    def residuals(self, texts: Floats, places: Indices) -> Floats:
        """Members at these places minus the mean of their group, (n_places, d_model)."""
        counts = np.maximum(np.bincount(self.group, minlength=self.n_groups), 1)
        means = self.sums(texts) / counts[:, None].astype(texts.dtype)
        return texts[places] - means[self.group[places]]


def mean_differences(members: Members, texts: Floats) -> Floats:
    """Mean of each concept's texts minus the mean of all others, (n_concepts, d_model)."""
    sums = members.sums(texts)  # (n_groups, d_model)
    n_own = np.bincount(members.group, minlength=members.n_groups)[:-1, None].astype(texts.dtype)
    own = sums[:-1]
    found: Floats = own / n_own - (sums.sum(axis=0) - own) / (len(members.group) - n_own)
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
    places = members.spread()
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
    ones = np.ones(residuals.shape[1])
    apart = None if tokens is None or len(tokens) < 2 else tokens - tokens.mean(axis=0)
    if method == "neutral_pcs" and apart is not None:
        return LinearMap(ones, (_components(apart),))
    too_few = apart is None and members.n_groups - 1 < FEWEST_CONCEPTS
    if method != "whitened" or too_few:
        return LinearMap(ones)
    return _whitening(residuals, apart)


def _whitening(residuals: Floats, tokens: Floats | None) -> LinearMap:
    """Scale and token part of a whitening map; residuals (n, d_model) are still to be added."""
    parts = [part for part in (residuals, tokens) if part is not None and part.any()]
    if not parts:
        return LinearMap(np.ones(residuals.shape[1]))
    variance = _variances(parts[0])  # (d_model,)
    odds = (1 - SHRINKAGE) / SHRINKAGE
    share = TOKEN_SHARE if len(parts) == 2 else 1.0
    found = LinearMap(1 / variance)
    if tokens is not None and tokens.any():
        found = found.plus(tokens, share * odds / _size(tokens, variance))
        share = 1 - share
    return replace(found, weight=share * odds / _size(residuals, variance) if share else 0.0)


def _size(rows: Floats, variance: Floats) -> float:
    """What a sum of x x' is divided by to have mean variance 1 in scaled dimensions."""
    return float(((rows**2).sum(axis=0) / variance).mean())


def _variances(rows: Floats) -> Floats:
    """s^2 of every dimension, from rows (n, d_model) of mean 0."""
    deviation = np.sqrt((rows**2).mean(axis=0))
    least = max(USUAL_SPREADS * float(np.median(deviation)), 1e-3 * float(deviation.max()))
    variances: Floats = np.maximum(deviation, least) ** 2
    return variances


def _components(tokens: Floats) -> Update:
    """Takes off the first principal components of centred tokens, which hold NEUTRAL_PART."""
    values, vectors = scipy.linalg.eigh(tokens @ tokens.T)  # ascending
    held = np.cumsum(values[::-1]) / max(values.sum(), _TINY)
    n = int(np.searchsorted(held, NEUTRAL_PART)) + 1
    sizes = np.sqrt(np.maximum(values[::-1][:n], _TINY))
    rows = (vectors[:, ::-1][:, :n] / sizes).T @ tokens  # (n, d_model)
    return Update(rows.astype(np.float32), np.eye(n, dtype=np.float32), 1.0)


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


def fit_parameters(method: str, instead: str) -> dict[str, float | str]:
    """A method's own numbers, as a manifest states them.

    Args:
        method: the run's.
        instead: what `stand_in` said.
    """
    numbers: dict[str, dict[str, float | str]] = {
        "whitened": {"shrinkage": SHRINKAGE, "token_share": TOKEN_SHARE},
        "neutral_pcs": {"variance_removed": NEUTRAL_PART},
    }
    return {**numbers.get(method, {}), **({"instead": instead} if instead else {})}
