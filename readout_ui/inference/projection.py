"""Projections taken inside a forward pass: what the hooks leave of each activation.

From projections to scores in all three units, with what depends only on the vectors kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from readout_ui.inference.reading import (
    TEMPLATE_ROLE,
    FloatArray,
    Reading,
    centred_cosines,
    scored_tokens,
    z_scores,
)

if TYPE_CHECKING:
    from readout_ui.vectors.vectors import ConceptVectors


@dataclass(frozen=True, eq=False)
class Projections:
    """What the hooks leave of the activations of some tokens."""

    raw: FloatArray
    """Activation on direction, (n_tokens, n_layers, n_concepts) float32."""
    norms: FloatArray
    """Length of (activation - center), (n_tokens, n_layers) float32."""

    @property
    def n_tokens(self) -> int:
        """How many tokens there are."""
        return len(self.raw)


class Projector:
    """The `on_activation` of `recording()`: projects every token that any pass feeds, in order.

    One pass over a whole text and a prompt followed by single cached tokens leave the same numbers.
    Directions and center go to the device once; per token and layer there remain n_concepts + 1
    numbers, on the device until they are asked for, so that a hook never waits for it.

    Args:
        vectors: directions and center of the layers to read; other layers are passed over.
        device: where the numbers are collected.
        n_rows: how many texts are fed side by side.
    """

    def __init__(self, vectors: ConceptVectors, device: torch.device, n_rows: int = 1) -> None:
        self._vectors, self._device, self._n_rows = vectors, device, n_rows
        self._place = {layer: place for place, layer in enumerate(vectors.layers)}
        self._on_device: dict[torch.device, tuple[Tensor, Tensor]] = {}
        self._raw: list[list[Tensor]] = [[] for _ in vectors.layers]
        self._norms: list[list[Tensor]] = [[] for _ in vectors.layers]
        self._gathered: list[tuple[FloatArray, FloatArray]] = []

    def __call__(self, layer: int, output: Tensor) -> None:
        """Keep the projections of one module's output, as `recording` hands it over."""
        place = self._place.get(layer)
        if place is None:
            return
        directions, center = self._constants(output.device)
        activation = output.float().reshape(self._n_rows, -1, output.shape[-1])
        self._raw[place].append(activation @ directions[place])  # (n_rows, n_new, n_concepts)
        centred = activation - center[place]  # (n_rows, n_new, d_model)
        self._norms[place].append(torch.linalg.vector_norm(centred, dim=-1))  # (n_rows, n_new)

    def projections(self, row: int = 0, start: int = 0, stop: int | None = None) -> Projections:
        """What was kept of the tokens start..stop of one row; waits for the device."""
        self._gather()
        raw, norms = [], []
        position = 0
        for block_raw, block_norms in self._gathered:
            inside = slice(max(0, start - position), None)
            raw.append(block_raw[row, inside])
            norms.append(block_norms[row, inside])
            position += block_raw.shape[1]
        length = None if stop is None else max(0, stop - start)
        return Projections(
            _joined(raw, self._shape)[:length], _joined(norms, self._shape[:1])[:length]
        )

    @property
    def _shape(self) -> tuple[int, int]:
        return len(self._vectors.layers), len(self._vectors.concepts)

    def _constants(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Directions (n_layers, d_model, n_concepts) and center (n_layers, d_model) there."""
        if device not in self._on_device:
            directions = self._vectors.directions.float().permute(1, 2, 0).contiguous()
            center = self._vectors.center.float()
            self._on_device[device] = directions.to(device), center.to(device)
        return self._on_device[device]

    def _gather(self) -> None:
        """Move what is new to the host, in one transfer each."""
        if not any(self._raw):
            return
        raw, norms = self._stacked(self._raw), self._stacked(self._norms)
        self._gathered.append((raw, norms))
        for kept in (*self._raw, *self._norms):
            kept.clear()

    def _stacked(self, by_layer: Sequence[Sequence[Tensor]]) -> FloatArray:
        """(n_rows, n_new, n_layers, ...) on the host."""
        layers = [torch.cat(list(passes), dim=1).to(self._device) for passes in by_layer]
        stacked: FloatArray = torch.stack(layers, dim=2).cpu().numpy()
        return stacked


def _joined(blocks: Sequence[FloatArray], shape: tuple[int, ...]) -> FloatArray:
    empty = np.zeros((0, *shape), dtype=np.float32)
    joined: FloatArray = np.concatenate([empty, *blocks])
    return joined


class Scorer:
    """Turns projections on one set of vectors into a Reading, as often as wanted."""

    def __init__(self, vectors: ConceptVectors) -> None:
        directions = vectors.directions.float()  # (n_concepts, n_layers, d_model)
        by_layer = directions.transpose(0, 1)  # (n_layers, n_concepts, d_model)
        self._vectors = vectors
        self._center_raw = _numpy(torch.einsum("cld,ld->lc", directions, vectors.center.float()))
        self._similarity = _numpy(by_layer @ by_layer.transpose(1, 2))
        self._neutral = _numpy(vectors.neutral_mean), _numpy(vectors.neutral_std)

    def reading(
        self,
        projections: Projections,
        *,
        tokens: Sequence[str],
        roles: Sequence[str],
        start: int = 0,
    ) -> Reading:
        """The scores of these tokens; `start` is the position of the first of them in its text."""
        raw = projections.raw
        before = [TEMPLATE_ROLE] * min(start, 1)
        return Reading(
            tokens=tuple(tokens),
            roles=tuple(roles),
            concepts=tuple(self._vectors.concepts),
            layers=tuple(self._vectors.layers),
            raw=raw,
            cosine=centred_cosines(raw, projections.norms, self._center_raw),
            z=z_scores(raw, *self._neutral),
            similarity=self._similarity,
            scored=scored_tokens([*before, *roles])[len(before) :],
        )


def _numpy(tensor: torch.Tensor) -> FloatArray:
    array: FloatArray = tensor.detach().float().cpu().numpy()
    return array
