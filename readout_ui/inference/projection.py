"""Projections taken inside a forward pass: what the hooks leave of each activation.

From projections to scores in all three units, with what depends only on the vectors kept.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

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
        directions = pad(vectors.directions.float().permute(1, 2, 0), (0, 1))
        self._directions = directions.to(device)  # (n_layers, d_model, n_concepts + 1)
        self._center = vectors.center.float()[:, None].to(device)  # (n_layers, 1, d_model)
        self._staged = torch.empty(0)
        shape = 0, len(directions), n_rows, directions.shape[-1]
        self.kept = torch.empty(shape, device=device)
        """(room, n_layers, n_rows, n_concepts + 1): projections, then the length."""
        self.places: list[int] = []

    def stage(self, place: int, states: Tensor) -> Tensor:
        """Where one layer's (n_rows * n_new, d_model) wait until the pass is over."""
        if self._staged.shape[1:] != states.shape:
            shape = len(self._directions), *states.shape
            self._staged = torch.empty(shape, device=self.kept.device)
        return self._staged[place]

    def project_staged(self, start: int) -> None:
        """All layers that this device computed in the pass, in one product."""
        self.project(min(self.places), self._staged[self._part], start)

    def project_held(self, held: Mapping[int, Tensor], start: int) -> None:
        """The same of the modules' own outputs, by place."""
        self.project(min(self.places), self._stacked(held), start)

    def untouched(self, held: Mapping[int, Tensor]) -> bool:
        """Whether these outputs are alike and still what was staged; waits for the device."""
        part, shapes = self._staged[self._part], {held[place].shape for place in self.places}
        if len(part) > len(self.places) or len(shapes) > 1:
            return False
        return torch.equal(self._stacked(held), part)

    @property
    def _part(self) -> slice:
        return slice(min(self.places), max(self.places) + 1)

    def _stacked(self, held: Mapping[int, Tensor]) -> Tensor:
        rows = torch.stack([held[place] for place in sorted(self.places)]).float()
        return rows.view(len(rows), -1, rows.shape[-1])  # (n, n_rows, d_model)

    def project(self, place: int, states: Tensor, start: int) -> None:
        """Layers from `place` on, (n, n_rows * n_new, d_model) float32; tokens from `start` on."""
        part, n_rows = slice(place, place + len(states)), self.kept.shape[2]
        n_new = states.shape[1] // n_rows
        room = self._room(start + n_new)[start : start + n_new, part]  # (n_new, n, n_rows, ...)
        found = torch.bmm(states, self._directions[part], out=room[0] if n_new == 1 else None)
        torch.linalg.vector_norm(states - self._center[part], dim=-1, out=found[..., -1])
        if n_new > 1:
            room.copy_(found.view(len(states), n_rows, n_new, -1).permute(2, 0, 1, 3))

    def _room(self, n_tokens: int) -> Tensor:
        room, *rest = self.kept.shape
        if room < n_tokens:
            size = max(2 * room, n_tokens + _AHEAD), *rest
            grown = torch.empty(size, device=self.kept.device)
            grown[:room] = self.kept
            self.kept = grown
        return self.kept


class Projector:
    """The `on_activation` of `recording()`: projects every token that any pass feeds, in order.

    One pass over a whole text and a prompt followed by single cached tokens leave the same numbers.
    Directions and center go to each device once; per token and layer there remain n_concepts + 1
    numbers, on the device until they are asked for, so that a hook never waits for it. What a token
    costs does not depend on how many there were before: a pass of one token costs one product at
    its end, of outputs that are held until then. The first such pass shows whether the model leaves
    them as they are; else, and with more tokens, a pass costs a copy for each layer as well.

    Args:
        vectors: directions and center of the layers to read; other layers are passed over.
        n_rows: how many texts are fed side by side.
        after_pass: called once every layer of a pass was read; may raise FarEnough.
    """

    def __init__(
        self,
        vectors: ConceptVectors,
        n_rows: int = 1,
        after_pass: Callable[[], None] | None = None,
    ) -> None:
        self._vectors, self._n_rows, self._after_pass = vectors, n_rows, after_pass
        self._place = {layer: place for place, layer in enumerate(vectors.layers)}
        self._shares: dict[torch.device, _Share] = {}
        self._staged: dict[int, Tensor] = {}
        self._one_token = n_rows * vectors.directions.shape[-1]
        self._held: dict[int, Tensor] = {}
        self._may_hold: bool | None = None
        """Whether outputs were seen to stay as they are until a pass is over; None before that."""
        self._n_arrived = self._n_new = self._n_tokens = self._n_fetched = 0
        self._dtype = torch.float32
        shape = 0, len(vectors.layers), n_rows, len(vectors.concepts) + 1
        self._host: FloatArray = np.empty(shape, np.float32)

    def __call__(self, layer: int, output: Tensor) -> None:
        """Keep the projections of one module's output, as `recording` hands it over."""
        place = self._place.get(layer)
        if place is None:
            return
        if self._may_hold is not False and output.numel() == self._one_token:
            self._held[place] = output
        if not (self._held and self._may_hold):
            self._copy(place, layer, output)
        self._n_arrived += 1
        if self._n_arrived == len(self._place):
            self._end_pass()

    def projections(self, row: int = 0, start: int = 0, stop: int | None = None) -> Projections:
        """What was kept of the tokens start..stop of one row; waits for the device.

        Raises:
            UserError: the model's numbers were not finite there.
        """
        self._fetch()
        last = self._n_tokens if stop is None else min(stop, self._n_tokens)
        found = self._host[start : max(start, last), :, row]
        if not np.isfinite(found[..., -1]).all():
            raise not_finite(self._dtype, next(iter(self._shares)))
        return Projections(found[..., :-1], found[..., -1])

    def _copy(self, place: int, layer: int, output: Tensor) -> None:
        staged = self._staged.get(layer)
        if staged is not None and staged.shape == output.shape:
            staged.copy_(output)
        else:
            self._take(place, layer, output)

    def _take(self, place: int, layer: int, output: Tensor) -> None:
        """The same of a pass that is unlike the one before it."""
        if output.device not in self._shares:
            self._shares[output.device] = _Share(self._vectors, self._n_rows, output.device)
        share = self._shares[output.device]
        if place not in share.places:
            share.places.append(place)
        states = output.reshape(-1, output.shape[-1])  # (n_rows * n_new, d_model)
        self._dtype, self._n_new = output.dtype, len(states) // self._n_rows
        if len(states) <= _NARROW:
            self._staged[layer] = share.stage(place, states).view(output.shape)
            self._staged[layer].copy_(output)
        else:
            self._staged.clear()
            share.project(place, states.float()[None], self._n_tokens)

    def _end_pass(self) -> None:
        shares, held, n_new = self._shares.values(), self._held, self._n_new
        if held and self._may_hold:
            n_new = 1
            for share in shares:
                share.project_held(held, self._n_tokens)
        elif self._staged:
            for share in shares:
                share.project_staged(self._n_tokens)
            if held:
                self._may_hold = all(share.untouched(held) for share in shares)
        self._held = {}
        self._n_arrived, self._n_tokens = 0, self._n_tokens + n_new
        if self._after_pass is not None:
            self._after_pass()

    def _fetch(self) -> None:
        """Have what is new on the host, in one transfer for each device that it is not."""
        new = slice(self._n_fetched, self._n_tokens)
        if new.start == new.stop:
            return
        self._n_fetched = new.stop
        shares = list(self._shares.values())
        if len(shares) == 1 and shares[0].kept.device.type == "cpu":
            self._host = shares[0].kept.numpy()
            return
        if len(self._host) < new.stop:
            grown = np.empty((new.stop + max(new.stop, _AHEAD), *self._host.shape[1:]), np.float32)
            grown[: new.start] = self._host[: new.start]
            self._host = grown
        for share in shares:
            self._host[new, share.places] = share.kept[new].cpu().numpy()[:, share.places]


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
