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
    FloatArray,
    Reading,
    centred_cosines,
    scored_tokens,
    z_scores,
)
from readout_ui.models.devices import not_finite

if TYPE_CHECKING:
    from readout_ui.vectors.vectors import ConceptVectors


class FarEnough(Exception):
    """The last layer that is needed has been read; ends a pass from inside."""


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


_NARROW = 64
"""Rows times tokens of a pass up to which its layers are kept until one product takes them all."""
_AHEAD = 64
"""Tokens for which room is made beside those of the first pass."""


class _Share:
    """What one device keeps of every token: projections and length, by place of the layer."""

    def __init__(self, vectors: ConceptVectors, n_rows: int, device: torch.device) -> None:
        directions = vectors.directions.float().permute(1, 2, 0).contiguous()
        self._directions = directions.to(device)  # (n_layers, d_model, n_concepts)
        self._center = vectors.center.float()[:, None].to(device)  # (n_layers, 1, d_model)
        self._n_layers, _, self._n_concepts = directions.shape
        self._n_rows, self._device = n_rows, device
        self._staged = torch.empty(0)
        self.kept = torch.empty(0)
        """(n_rows, room, n_layers, n_concepts + 1): projections, then the length."""
        self.places: list[int] = []

    def stage(self, place: int, states: Tensor) -> None:
        """Copy one layer's (n_rows * n_new, d_model) until the pass is over."""
        if self._staged.shape[1:] != states.shape:
            self._staged = torch.empty((self._n_layers, *states.shape), device=self._device)
        self._staged[place].copy_(states)

    def project_staged(self, start: int) -> None:
        """All layers that this device computed in the pass, in one product."""
        low, high = min(self.places), max(self.places) + 1
        self.project(low, self._staged[low:high], start)

    def project(self, place: int, states: Tensor, start: int) -> None:
        """Layers from `place` on, (n, n_rows * n_new, d_model) float32; tokens from `start` on."""
        part, n_new = slice(place, place + len(states)), states.shape[1] // self._n_rows
        raw = torch.bmm(states, self._directions[part])  # (n, n_rows * n_new, n_concepts)
        lengths = torch.linalg.vector_norm(states - self._center[part], dim=-1, keepdim=True)
        found = torch.cat([raw, lengths], dim=-1).view(len(states), self._n_rows, n_new, -1)
        self._room(start + n_new)[:, start : start + n_new, part] = found.permute(1, 2, 0, 3)

    def _room(self, n_tokens: int) -> Tensor:
        room = self.kept.shape[1] if self.kept.ndim > 1 else 0
        if room < n_tokens:
            shape = (self._n_rows, max(2 * room, n_tokens + _AHEAD), self._n_layers)
            grown = torch.empty((*shape, self._n_concepts + 1), device=self._device)
            if room:
                grown[:, :room] = self.kept
            self.kept = grown
        return self.kept


class Projector:
    """The `on_activation` of `recording()`: projects every token that any pass feeds, in order.

    One pass over a whole text and a prompt followed by single cached tokens leave the same numbers.
    Directions and center go to each device once; per token and layer there remain n_concepts + 1
    numbers, on the device until they are asked for, so that a hook never waits for it. What a token
    costs does not depend on how many there were before.

    Args:
        vectors: directions and center of the layers to read; other layers are passed over.
        n_rows: how many texts are fed side by side.
    """

    def __init__(self, vectors: ConceptVectors, n_rows: int = 1) -> None:
        self._vectors, self._n_rows = vectors, n_rows
        self._place = {layer: place for place, layer in enumerate(vectors.layers)}
        self._shares: dict[torch.device, _Share] = {}
        self._n_arrived = self._n_tokens = self._n_fetched = 0
        self._dtype = torch.float32
        width = len(vectors.concepts) + 1
        self._host: FloatArray = np.empty((n_rows, 0, len(vectors.layers), width), np.float32)

    def __call__(self, layer: int, output: Tensor) -> None:
        """Keep the projections of one module's output, as `recording` hands it over."""
        place = self._place.get(layer)
        if place is None:
            return
        share = self._share(output.device)
        if self._n_arrived == 0:
            self._dtype = output.dtype
            for each in self._shares.values():
                each.places = []
        share.places.append(place)
        states = output.reshape(-1, output.shape[-1])  # (n_rows * n_new, d_model)
        narrow = len(states) <= _NARROW
        if narrow:
            share.stage(place, states)
        else:
            share.project(place, states.float()[None], self._n_tokens)
        self._n_arrived += 1
        if self._n_arrived == len(self._place):
            self._end_pass(len(states) // self._n_rows, narrow)

    @property
    def between_passes(self) -> bool:
        """Whether every layer of the newest pass has arrived."""
        return self._n_arrived == 0

    def projections(self, row: int = 0, start: int = 0, stop: int | None = None) -> Projections:
        """What was kept of the tokens start..stop of one row; waits for the device.

        Raises:
            UserError: the model's numbers were not finite there.
        """
        self._fetch()
        last = self._n_tokens if stop is None else min(stop, self._n_tokens)
        found = self._host[row, start : max(start, last)]
        if not np.isfinite(found[..., -1]).all():
            raise not_finite(self._dtype, next(iter(self._shares)))
        return Projections(found[..., :-1], found[..., -1])

    def _share(self, device: torch.device) -> _Share:
        if device not in self._shares:
            self._shares[device] = _Share(self._vectors, self._n_rows, device)
        return self._shares[device]

    def _end_pass(self, n_new: int, narrow: bool) -> None:
        for share in self._shares.values():
            if narrow and share.places:
                share.project_staged(self._n_tokens)
        self._n_arrived, self._n_tokens = 0, self._n_tokens + n_new

    def _fetch(self) -> None:
        """Move what is new to the host, in one transfer for each device."""
        new = slice(self._n_fetched, self._n_tokens)
        if new.start == new.stop:
            return
        if self._host.shape[1] < new.stop:
            n_rows, _, *rest = self._host.shape
            grown = np.empty((n_rows, new.stop + max(new.stop, _AHEAD), *rest), np.float32)
            grown[:, : new.start] = self._host[:, : new.start]
            self._host = grown
        for share in self._shares.values():
            self._host[:, new, share.places] = share.kept[:, new].cpu().numpy()[:, :, share.places]
        self._n_fetched = new.stop


class Scorer:
    """Turns projections on one set of vectors into a Reading, as often as wanted."""

    def __init__(self, vectors: ConceptVectors) -> None:
        directions = vectors.directions.float()  # (n_concepts, n_layers, d_model)
        by_layer = directions.transpose(0, 1)  # (n_layers, n_concepts, d_model)
        self._vectors = vectors
        self._center_raw = _numpy(torch.einsum("cld,ld->lc", directions, vectors.center.float()))
        self._similarity = _numpy(by_layer @ by_layer.transpose(1, 2))
        self._neutral = _numpy(vectors.neutral_mean), _numpy(vectors.neutral_std)

    def z(self, raw: FloatArray) -> FloatArray:
        """Raw scores (n_tokens, n_layers, n_concepts) in standard deviations."""
        return z_scores(raw, *self._neutral)

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
        return Reading(
            tokens=tuple(tokens),
            roles=tuple(roles),
            concepts=tuple(self._vectors.concepts),
            layers=tuple(self._vectors.layers),
            raw=raw,
            cosine=centred_cosines(raw, projections.norms, self._center_raw),
            z=self.z(raw),
            similarity=self._similarity,
            scored=scored_tokens(roles, start),
        )


def _numpy(tensor: torch.Tensor) -> FloatArray:
    array: FloatArray = tensor.detach().float().cpu().numpy()
    return array
