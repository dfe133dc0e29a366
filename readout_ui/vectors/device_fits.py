"""Linear methods fitted and cross-validated on a GPU, many layers at once.

The numbers are those of `MappedLayer`, which saves products where they are dear and is made of
thousands of small steps. A GPU has products to spare and waits for each step, so here every fold's
map is solved as it is written down, for many layers together.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from readout_ui.activations.pooling import Layered, layers_on
from readout_ui.vectors.auroc import Floats
from readout_ui.vectors.cross_validation import Assignment
from readout_ui.vectors.held_out import shares_of
from readout_ui.vectors.mapped import NOISE, require_finite
from readout_ui.vectors.vectors import TokenLayer
from readout_ui.vectors.whitening import Indices, Members, Scale

DEVICE_METHODS = ("mean", "whitened")
"""Methods that a GPU fits; the others need numbers of more digits than it is fast with."""
_AT_ONCE = 2**30
"""Bytes that the layers fitted together may take: 17 of a 7B model with 600 texts and tokens."""
_COPIES = 6
"""How many numbers are held of each of the activations while a map is solved."""


@dataclass(frozen=True, eq=False)
class FittedLayers:
    """What becomes of some layers."""

    directions: Tensor
    """(n_layers, n_concepts, d_model) float32, of unit length or zero, on the CPU."""
    plain: Tensor
    """The differences themselves, likewise, but still on the device: not every fit wants them."""
    scores: Floats
    """(n_scored, n_layers, n_concepts): centred cosine of held-out texts."""
    calibrated: list[tuple[Floats, Floats, float]]
    """Of each layer as `TokenLayer.calibrated`; empty where there are no neutral tokens."""


def fitted_on_device(
    texts: Layered,
    tokens: Layered | None,
    assignment: Assignment,
    method: str,
    differences: Tensor | None,
    device: torch.device,
) -> Iterator[FittedLayers]:
    """Directions and held-out scores of all layers in order.

    Args:
        texts: what the map is estimated from, (n_texts, n_layers, d_model).
        tokens: neutral tokens like them, if there are any.
        assignment: which text belongs to which concept and is held out where.
        method: one of `DEVICE_METHODS`.
        differences: (n_concepts, n_layers, d_model); None for those of means.
        device: where the products are made, in float32.

    Raises:
        UserError: activations that are not finite.
    """
    if tokens is not None and tokens.shape[0] < 2:
        tokens = None
    n_texts, n_layers, d_model = texts.shape
    n_rows = n_texts + (0 if tokens is None else tokens.shape[0])
    together = max(1, _AT_ONCE // (4 * _COPIES * n_rows * d_model))
    for start in range(0, n_layers, together):
        layers = range(start, min(start + together, n_layers))
        given = None if differences is None else differences[:, start : layers.stop].to(device)
        with _all_digits():
            block = _Block.of(
                layers_on(device, texts, layers),
                None if tokens is None else layers_on(device, tokens, layers),
                assignment.members,
                method,
                start,
            )
            found = block.fitted(assignment, given)
            del block  # else the next one is made beside it
        yield found


@contextmanager
def _all_digits() -> Iterator[None]:
    """Products of all digits, even where a program has chosen TensorFloat-32, which has three."""
    matmul = torch.backends.cuda.matmul
    chosen = matmul.fp32_precision
    matmul.fp32_precision = "ieee"
    try:
        yield
    finally:
        matmul.fp32_precision = chosen


@dataclass(frozen=True, eq=False)
class _Block:
    """Some layers on a device, every dimension divided by its scale s: a map is then 1 minus what
    rows take off."""

    texts: Tensor
    """(n_layers, n_texts, d_model): minus their mean, scaled."""
    tokens: Tensor | None
    """(n_layers, n_tokens, d_model): minus theirs, scaled."""
    neutral: list[TokenLayer]
    """The tokens as they were, by layer."""
    root: Tensor
    """(n_layers, 1, d_model): 1 / s, by which numbers were multiplied."""
    weights: tuple[Tensor, Tensor] | None
    """(n_layers, 1, 1) each, of texts and of tokens, as `Scale` has them; None if all are zero."""
    noise: Tensor
    """(n_layers, 1): differences below this length are rounding errors."""
    members: Members

    @classmethod
    def of(
        cls, texts: Tensor, tokens: Tensor | None, members: Members, method: str, first: int
    ) -> _Block:
        """From activations (n, n_layers, d_model) on a device; `first` is the first layer's number.

        Raises:
            UserError: they are not finite.
        """
        texts = texts.transpose(0, 1)  # (n_layers, n_texts, d_model)
        rows = torch.from_numpy(members.rows).to(texts.device)
        lengths = texts.square().sum(dim=2)[:, rows].mean(dim=1, keepdim=True).sqrt()
        texts = texts - texts.mean(dim=1, keepdim=True)
        tokens, neutral = (None, []) if tokens is None else _centred(tokens.transpose(0, 1))
        for place, length in enumerate(lengths.flatten().tolist()):
            more = float(neutral[place].squares.sum()) if neutral else 0.0
            require_finite(length + more, first + place)
        scales = _scales(method, texts, members, neutral)
        root = _placed(np.sqrt([[scale.precision] for scale in scales]), texts.device)
        numbers = np.array([[scale.weight, scale.token_weight] for scale in scales])
        of_texts, of_tokens = _placed(numbers.T[:, :, None, None], texts.device)
        return cls(
            texts * root,
            None if tokens is None else tokens * root,
            neutral,
            root,
            (of_texts, of_tokens) if numbers.any() else None,
            NOISE * lengths,
            members,
        )

    def fitted(self, assignment: Assignment, differences: Tensor | None) -> FittedLayers:
        """Fit the layers, and score every fold on directions that never saw it.

        Args:
            assignment: which members are held out where.
            differences: (n_concepts, n_layers, d_model); None for those of means.
        """
        means = _means(self.texts, self.members)
        if differences is None:
            apart = self._differences(self.members, means)
        else:
            apart = differences.transpose(0, 1) * self.root
        plain = apart / self.root  # (n_layers, n_concepts, d_model)
        shown = (plain.norm(dim=2) > self.noise)[:, :, None]
        mapped = self._left(apart * shown, self.members, means)
        there = _unit(mapped * self.root)
        directions = there.cpu()
        return FittedLayers(
            directions,
            _unit(plain * shown),
            self._held_out(assignment),
            self._calibrated(there, directions.numpy()),
        )

    def _held_out(self, assignment: Assignment) -> Floats:
        n_concepts = self.members.n_groups - 1
        shape = len(assignment.fold), len(self.texts), n_concepts
        scores = np.zeros(shape, dtype=np.float32)
        for fold in range(assignment.n_folds):
            held_out = np.flatnonzero(assignment.fold == fold)
            if len(held_out):
                found = self._judged(held_out, self.members.some(assignment.fold != fold))
                scores[held_out] = found.transpose(0, 1).cpu().numpy()
        of_scored: Floats = scores[assignment.scored]
        return of_scored

    def _judged(self, held_out: Indices, rest: Members) -> Tensor:
        """Centred cosine of members with directions of the rest, (n_layers, n_some, n_concepts)."""
        means = _means(self.texts, rest)
        found = self._left(self._differences(rest, means), rest, means)
        own = self.texts[:, torch.from_numpy(self.members.rows[held_out]).to(self.texts.device)]
        shares = _placed(rest.counts[None] / rest.counts.sum(), own.device)
        own = own - shares @ means[:, : rest.n_groups]
        lengths = _lengths(own / self.root) * _lengths(found * self.root).mT
        scores: Tensor = own @ found.mT / lengths
        return scores

    def _differences(self, part: Members, means: Tensor) -> Tensor:
        """Of these members' means, scaled, (n_layers, n_concepts, d_model)."""
        return _placed(shares_of(part, part.counts), means.device) @ means

    def _left(self, differences: Tensor, part: Members, means: Tensor) -> Tensor:
        """Scaled differences without what the texts and tokens take off them, of their shape."""
        if self.weights is None:
            return differences
        of_texts, of_tokens = (weight.sqrt() for weight in self.weights)
        rows = _residuals(self.texts, part, means) * of_texts
        if self.tokens is not None:
            rows = torch.cat([rows, self.tokens * of_tokens], dim=1)
        inner = rows @ rows.mT  # (n_layers, n_rows, n_rows)
        inner.diagonal(dim1=1, dim2=2).add_(1)
        factor = torch.linalg.cholesky_ex(inner).L  # with no wait for whether it worked: it does
        along = torch.linalg.solve_triangular(factor, rows @ differences.mT, upper=False)
        taken = torch.linalg.solve_triangular(factor.mT, along, upper=True)
        left: Tensor = differences - taken.mT @ rows
        return left

    def _calibrated(self, there: Tensor, directions: Floats) -> list[tuple[Floats, Floats, float]]:
        """Of directions (n_layers, n_concepts, d_model) on the device and on the CPU."""
        if self.tokens is None:
            return []
        along = (self.tokens @ (there / self.root).mT).cpu().numpy()
        layers = zip(self.neutral, directions, along, strict=True)
        return [tokens.calibrated(here, apart) for tokens, here, apart in layers]


def _centred(tokens: Tensor) -> tuple[Tensor, list[TokenLayer]]:
    """Tokens (n_layers, n_tokens, d_model) minus their mean, and what they were, by layer."""
    mean, lengths = tokens.mean(dim=1, keepdim=True), tokens.norm(dim=2)
    tokens = tokens - mean
    parts = mean[:, 0], tokens.square().sum(dim=1), lengths
    arrays = (part.cpu().numpy() for part in parts)
    return tokens, [TokenLayer(*layer) for layer in zip(*arrays, strict=True)]


def _scales(method: str, texts: Tensor, members: Members, neutral: list[TokenLayer]) -> list[Scale]:
    """Of every layer, from texts (n_layers, n_texts, d_model)."""
    own = _residuals(texts, members, _means(texts, members))
    squares = own.square().sum(dim=1).cpu().numpy()  # (n_layers, d_model)
    n_concepts, n_own = members.n_groups - 1, own.shape[1]
    if not neutral:
        return [Scale.of(method, n_concepts, some, n_own, None, 0) for some in squares]
    return [
        Scale.of(method, n_concepts, some, n_own, tokens.squares, len(tokens.lengths))
        for some, tokens in zip(squares, neutral, strict=True)
    ]


def _means(texts: Tensor, members: Members) -> Tensor:
    """Means of groups, then of contrast texts, (n_layers, n_means, d_model); zero where empty."""
    groups = np.split(members.rows, np.cumsum(members.counts)[:-1])
    each = [*groups, *(np.array(rows, dtype=np.intp) for rows in members.against)]
    shares = np.zeros((len(each), texts.shape[1]))
    for place, rows in enumerate(each):
        np.add.at(shares[place], rows, 1 / max(len(rows), 1))
    return _placed(shares, texts.device) @ texts


def _residuals(texts: Tensor, members: Members, means: Tensor) -> Tensor:
    """Members that a map is made of minus the mean of their group, (n_layers, n, d_model)."""
    places = members.spread
    at = np.stack([members.rows[places], members.group[places]])
    rows, group = torch.from_numpy(at).to(texts.device)
    return texts[:, rows] - means[:, group]


def _placed(numbers: Floats, device: torch.device) -> Tensor:
    return torch.from_numpy(numbers.astype(np.float32)).to(device)


def _lengths(vectors: Tensor) -> Tensor:
    """(..., n, 1), never zero."""
    least = float(np.sqrt(np.finfo(np.float32).tiny))
    found: Tensor = vectors.norm(dim=-1, keepdim=True)
    return found.clamp_min(least)


def _unit(vectors: Tensor) -> Tensor:
    return vectors / _lengths(vectors)
