"""One layer's texts, and what every direction would be without one of them, in closed form.

Where a method's directions are mean differences of the texts' images under a linear map (the
identity for plain mean differences, the whitening for whitened ones), leaving one text out changes
two sums only, so all texts are left out at once from dot products alone. A map that holds how the
texts differ from the mean of their concept loses what it holds of the text as well: otherwise it
would hide just what is peculiar to that text, and nearly every text would score highest on its own
concept. How strongly a direction is moved by a text is said of the map as all texts gave it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from readout_ui.evaluation.results import Floats, Indices
from readout_ui.vectors.whitening import Members, map_of

if TYPE_CHECKING:
    from readout_ui.vectors.training import Corpus


@dataclass(frozen=True, eq=False)
class LayerTexts:
    """One layer's texts in the order of their groups, and their images."""

    concepts: tuple[str, ...]
    """Concept names; the neutral texts are the group after the last."""
    rows: Indices
    """(n_members,): row of the corpus; a text of two concepts is two members."""
    group: Indices
    """(n_members,): index of its concept; n_concepts for neutral texts."""
    texts: Floats
    """(n_members, d_model), float64, minus the mean of all members."""
    images: Floats
    """(n_members, d_model): directions are differences of means of these."""
    contrasts: Floats | None = None
    """(n_concepts, d_model): mean image of each concept's own contrast texts, NaN where it has
    none; None where no concept has any."""
    lost: Floats | None = None
    """(n_members,): w such that the map's inverse loses w r r' without a member, r being how far it
    is from the mean of its concept; None where the map holds no texts."""
    against: tuple[Floats, ...] = ()
    """Images of these texts, (n_texts, d_model) for each concept; empty where none has any."""

    @property
    def n_concepts(self) -> int:
        """Groups that are concepts."""
        return len(self.concepts)

    @cached_property
    def counts(self) -> Floats:
        """(n_concepts + 1,): members of each group."""
        return np.bincount(self.group, minlength=self.n_concepts + 1).astype(np.float64)

    def members(self, concept: int) -> Indices:
        """Places of a concept's members."""
        return np.flatnonzero(self.group == concept)

    @cached_property
    def group_sums(self) -> Floats:
        """(n_concepts + 1, d_model): sums of the groups' images."""
        return self.group_sums_of(self.images)

    def group_sums_of(self, values: Floats) -> Floats:
        """(n_concepts + 1, n): sums of each group's values, (n_members, n)."""
        ends = np.cumsum(self.counts).astype(int)
        return np.stack([part.sum(axis=0) for part in np.split(values, ends[:-1])])

    @cached_property
    def squared(self) -> Floats:
        """(n_members,): squared lengths of the images."""
        lengths: Floats = np.einsum("td,td->t", self.images, self.images)
        return lengths

    @cached_property
    def with_sums(self) -> Floats:
        """(n_members, n_concepts + 1): dot products of the images with each group's sum."""
        products: Floats = self.images @ self.group_sums.T
        return products

    @cached_property
    def sums(self) -> Floats:
        """(n_concepts + 1, n_concepts + 1): dot products of the groups' sums with each other."""
        products: Floats = self.group_sums @ self.group_sums.T
        return products

    @cached_property
    def peculiar(self) -> Peculiar | None:
        """What the map holds of each member; None where it holds none."""
        if self.lost is None:
            return None
        means = self.group_sums_of(self.texts) / np.maximum(self.counts, 1)[:, None]
        image_means = self.group_sums / np.maximum(self.counts, 1)[:, None]
        apart, images = self.texts - means[self.group], self.images - image_means[self.group]
        share = self.lost / (1 - self.lost * np.einsum("td,td->t", apart, images))
        return Peculiar(apart, images, share)

    @cached_property
    def noise(self) -> float:
        """Mean squared distance of an image from its group's true mean."""
        total = self.squared.sum() - (np.diag(self.sums) / np.maximum(self.counts, 1)).sum()
        free = len(self.group) - np.count_nonzero(self.counts)
        return float(max(total, 0.0) / free) if free else float("nan")


@dataclass(frozen=True, eq=False)
class Peculiar:
    """How each text differs from the mean of its concept, where the map holds that.

    By Sherman and Morrison's formula, without the text the map makes M d + share (r'M d) M r of a
    difference d, r being that of the text.
    """

    apart: Floats
    """(n_members, d_model): r."""
    images: Floats
    """(n_members, d_model): M r."""
    share: Floats
    """(n_members,)."""


def layer_texts(corpus: Corpus, layer: int, method: str = "") -> LayerTexts:
    """One layer's texts, centred, with their images.

    Args:
        corpus: the run's texts with their activations.
        layer: which layer, from 0.
        method: whose map; by default the run's own where it is linear, else plain mean differences.
    """
    groups, here = corpus.groups, corpus.at(layer)
    members = (*groups.rows, groups.neutral)
    rows = np.array(groups.all_rows(), dtype=np.intp)
    every = here.pooled[:, 0].double().numpy()  # (n_texts, d_model)
    every -= every[rows].mean(axis=0)
    texts = every[rows]  # (n_members, d_model)
    images, contrasts = texts, Members.of(groups).contrasts(every)
    against, lost = tuple(every[list(own)] for own in groups.against), None
    group = np.repeat(np.arange(len(members)), [len(some) for some in members])
    if (method or corpus.mapped_method) != "mean":
        tokens = None if here.tokens is None else here.tokens[:, 0].double().numpy()
        fitted = map_of(method or corpus.mapped_method, every, groups, tokens)
        images = fitted.images(texts)
        contrasts = None if contrasts is None else fitted.images(contrasts)
        against = tuple(map(fitted.images, against))
        n = np.array([len(some) for some in members])[group]
        held = np.isin(rows, fitted.texts) & (n > 1)
        lost = np.where(held, fitted.weight * n / np.maximum(n - 1, 1), 0.0) if held.any() else None
    return LayerTexts(groups.concepts, rows, group, texts, images, contrasts, lost, against)


@dataclass(frozen=True, eq=False)
class LeftOut:
    """What every direction would be without one text, and what it says of that text."""

    scores: Floats
    """(n_members, n_concepts): centred cosine of each text with the directions fitted without it;
    NaN on a concept whose only description it is."""
    standard: Floats
    """The same in standard deviations above the mean of the texts of other concepts."""
    influence: Floats
    """(n_members,): 1 - cosine of its concept's direction with and without it; NaN for neutral
    texts and only descriptions."""
    shift: Floats
    """(n_members, n_concepts): by how much the text raises the cosine of its concept's direction
    with each other one; NaN as above and at the concept itself."""


def leave_out(texts: LayerTexts) -> LeftOut:
    """Leave every text out in turn; all at once, from dot products."""
    scores = left_out_scores(texts)
    influence, shift = _moved(texts)
    return LeftOut(scores, _standardized(texts, scores), influence, shift)


def left_out_scores(texts: LayerTexts) -> Floats:
    """Centred cosine of every text with every direction fitted without it, NaN where none is left.

    Returns:
        (n_members, n_concepts), 0 where the text or the direction has no length.
    """
    product, squares = _read_by(texts, texts.texts), _squared_lengths(texts)
    if (own := texts.peculiar) is not None:
        added = own.share[:, None] * _read_by(texts, own.apart)  # (n_members, n_concepts)
        product += added * np.einsum("td,td->t", texts.texts, own.images)[:, None]
        squares += 2 * added * _read_by(texts, own.images)
        squares += added**2 * np.einsum("td,td->t", own.images, own.images)[:, None]
    lengths = np.einsum("td,td->t", texts.texts, texts.texts)[:, None]
    scale = np.sqrt(_positive(squares) * _positive(lengths))
    return np.where(squares <= 0, 0.0, product / np.where(squares <= 0, 1.0, scale))


def _read_by(texts: LayerTexts, vectors: Floats) -> Floats:
    """Dot products of a vector for each text with the directions without that text.

    The map is as all texts gave it.

    Args:
        texts: of one layer.
        vectors: (n_members, d_model).

    Returns:
        (n_members, n_concepts).
    """
    share, step = _coefficients(texts)  # (n_members, n_concepts) each
    found = share * (vectors @ texts.group_sums[: texts.n_concepts].T)
    found -= step * np.einsum("td,td->t", vectors, texts.images)[:, None]
    if texts.contrasts is not None:
        found -= vectors @ np.nan_to_num(texts.contrasts).T
    return found


def _squared_lengths(texts: LayerTexts) -> Floats:
    """Of the directions without each text, the map as all gave it, (n_members, n_concepts)."""
    share, step = _coefficients(texts)
    k = texts.n_concepts
    squared, along = texts.squared[:, None], texts.with_sums[:, :k]
    found = share**2 * np.diag(texts.sums)[:k] - 2 * share * step * along + step**2 * squared
    if texts.contrasts is not None:
        against = np.nan_to_num(texts.contrasts)  # (n_concepts, d_model)
        away = share * (texts.group_sums[:k] * against).sum(axis=1)
        away -= step * (texts.images @ against.T)
        found += (against**2).sum(axis=1) - 2 * away
    return found


def _coefficients(texts: LayerTexts) -> tuple[Floats, Floats]:
    """A direction without a text is `share * sum - step * text`, (n_members, n_concepts) each.

    The sum of all texts is zero, so the mean of the others is a multiple of the concept's sum and
    of the missing text. From a concept with contrast texts of its own, their mean is still to be
    subtracted.
    """
    n, k = len(texts.group), texts.n_concepts
    own = texts.group[:, None] == np.arange(k)
    left = np.where(own, texts.counts[:k] - 1, texts.counts[:k])  # (n_members, n_concepts)
    others = 1 / np.maximum(n - 1 - left, 1)
    if texts.contrasts is not None:
        others = np.where(np.isnan(texts.contrasts[:, 0]), others, 0.0)
    with np.errstate(divide="ignore"):
        per_text = np.where(left > 0, 1 / left, np.nan)
    return per_text + others, np.where(own, per_text, -others)


def own_coefficients(texts: LayerTexts) -> tuple[Floats, Floats]:
    """The same for each text and its own concept, (n_members,) each; of neutral texts nothing."""
    place, own = np.arange(len(texts.group)), _own_concept(texts)
    share, step = _coefficients(texts)
    return share[place, own], step[place, own]


def _own_concept(texts: LayerTexts) -> Indices:
    """(n_members,): index of each text's concept, 0 for neutral texts."""
    return np.where(texts.group < texts.n_concepts, texts.group, 0)


def _axes(texts: LayerTexts) -> tuple[Floats, Floats, Floats]:
    """Multiples of the directions, by their dot products, and what each text adds to its own.

    Returns:
        Dot products of these axes with each other, (n_concepts, n_concepts); of what each text
        adds with every axis, (n_members, n_concepts); its squared length, (n_members,).
    """
    k = texts.n_concepts
    if texts.contrasts is None:
        return texts.sums[:k, :k], texts.with_sums[:, :k], texts.squared
    against = np.nan_to_num(texts.contrasts)  # (n_concepts, d_model)
    axes = texts.group_sums[:k] - texts.counts[:k, None] * against
    added = texts.images - against[_own_concept(texts)]
    return axes @ axes.T, added @ axes.T, np.einsum("td,td->t", added, added)


def _standardized(texts: LayerTexts, scores: Floats) -> Floats:
    own = texts.group[:, None] == np.arange(texts.n_concepts)  # (n_members, n_concepts)
    others = np.where(own, np.nan, scores)
    standard: Floats = (scores - np.nanmean(others, axis=0)) / _positive(np.nanstd(others, axis=0))
    return standard


def _moved(texts: LayerTexts) -> tuple[Floats, Floats]:
    own, place = _own_concept(texts), np.arange(len(texts.group))
    share, step = own_coefficients(texts)
    axes, added, squared = _axes(texts)
    whole = np.diag(axes)[own]  # (n_members,)
    along = added[place, own]
    without = _positive(share**2 * whole - 2 * share * step * along + step**2 * squared)
    # 1 - cos = sin^2 / (1 + cos), which keeps its digits where the direction hardly moves.
    sine = step**2 * (squared * whole - along**2) / _positive(whole * without)
    cosine = (share * whole - step * along) / np.sqrt(_positive(whole * without))
    influence = np.maximum(sine, 0) / np.maximum(1 + cosine, 1e-3)
    to_others = axes[own]  # (n_members, n_concepts)
    lengths = np.sqrt(_positive(np.diag(axes)))
    before = to_others / np.sqrt(_positive(whole))[:, None]
    after = share[:, None] * to_others - step[:, None] * added
    shift = (before - after / np.sqrt(without)[:, None]) / lengths
    shift[place, own] = np.nan
    neutral = texts.group == texts.n_concepts
    influence[neutral], shift[neutral] = np.nan, np.nan
    return influence, shift


def _positive(values: Floats) -> Floats:
    return np.maximum(values, np.finfo(np.float64).tiny)
