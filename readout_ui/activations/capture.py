"""One batch through the model, pooled inside the forward pass."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from readout_ui.activations.batches import Feed, TokenBatch, pad_batch
from readout_ui.activations.hooks import inference, not_run, recording
from readout_ui.activations.pooling import host_block
from readout_ui.errors import UserError
from readout_ui.models.blocks import bare_model
from readout_ui.models.calling import cache_argument, returned_cache
from readout_ui.models.devices import Moment, not_finite

if TYPE_CHECKING:
    from readout_ui.models.blocks import BlockPaths
    from readout_ui.models.loading import LoadedModel


@dataclass(frozen=True, eq=False)
class PooledBatch:
    """What is left of a batch: its size does not depend on the length of the texts."""

    pooled: Tensor
    """(n_texts, n_rules, n_layers, d_model) float32 on the CPU."""
    kept: Tensor
    """(n_kept, n_layers, d_model) float32 on the CPU, text after text."""


def start_batch(
    model: "LoadedModel",
    paths: "BlockPaths",
    batch: TokenBatch,
    past: Any = None,
    keep_states: bool = False,
) -> "StartedBatch":
    """Runs the decoder without its head and pools every layer where it is computed.

    Args:
        model: the model; any dtype, pooling is in float32.
        paths: the modules whose outputs are read.
        batch: what is fed.
        past: keys and values of the shared prefix for every text of the batch; it is used up.
        keep_states: whether to return the keys and values of what was fed.

    Raises:
        UserError: a module was not run, or returned another shape.
    """
    pool = _Pool(batch, len(paths.names))
    decoder = bare_model(model.model)
    before = {} if past is None else {cache_argument(decoder): past}
    with inference(model.model), recording(model.model, paths, pool.take):
        output = decoder(
            input_ids=batch.input_ids,
            attention_mask=batch.attention_mask,
            use_cache=keep_states or past is not None,
            **before,
        )
    pool.rows.end(paths)
    return StartedBatch(
        model, pool.rows, batch.weights.shape[:2], returned_cache(output) if keep_states else None
    )


@dataclass(frozen=True, eq=False)
class StartedBatch:
    """A batch that a GPU may still be at work on."""

    model: "LoadedModel"
    rows: "_Rows"
    shape: tuple[int, ...]
    """(n_texts, n_rules)."""
    states: Any
    """The model's own cache behind the fed tokens, where it was asked for."""

    def finish(self) -> PooledBatch:
        """Waits for this batch, not for what was started after it.

        Raises:
            UserError: numbers that are not finite.
        """
        rows = self.rows.on_host(self.model)  # (n_texts * n_rules + n_kept, n_layers, d_model)
        n_pooled = math.prod(self.shape)
        pooled = rows[:n_pooled].view(*self.shape, *rows.shape[1:])
        return PooledBatch(pooled=pooled, kept=rows[n_pooled:])


class _Rows:
    """Rows of every layer, written in place on the layer's own device; no hook waits for it."""

    def __init__(self, n_rows: int, n_layers: int) -> None:
        self._n_rows, self._n_layers = n_rows, n_layers
        self._rows: dict[torch.device, Tensor] = {}
        self._layers: dict[torch.device, list[int]] = {}
        self._sums: list[Tensor] = []

    def end(self, paths: "BlockPaths") -> None:
        """Nothing more comes; UserError if nothing came."""
        if not self._rows:
            raise not_run(paths.names[0])
        first, shape = self._sums[0].device, next(iter(self._rows.values())).shape
        self._sum = torch.stack([one.to(first) for one in self._sums]).sum()
        self._moments = {device: Moment(device) for device in self._rows}
        # Asked for here, where memory that runs out makes batches smaller.
        self._host = self._rows[first] if self._on_cpu else host_block(*shape)

    @property
    def _on_cpu(self) -> bool:
        return all(device.type == "cpu" for device in self._rows)

    def place(self, layer: int, device: torch.device, d_model: int) -> Tensor:
        """Where a layer's rows are put, (n_rows, d_model)."""
        self._layers.setdefault(device, []).append(layer)
        return self._room(device, d_model)[:, layer]

    def look_at(self, part: Tensor) -> None:
        """Keep whether these numbers are finite."""
        # A sum is not finite where a number is not, and takes no memory of the numbers' size.
        self._sums.append(part.sum(dtype=torch.float32))

    def on_host(self, model: "LoadedModel") -> Tensor:
        """(n_rows, n_layers, d_model) float32: one transfer for each device.

        Raises:
            UserError: numbers that are not finite.
        """
        with self._moments[self._sum.device].only():
            if not self._sum.isfinite():
                raise not_finite(model.dtype, model.device)
        if not self._on_cpu:
            for device, moment in self._moments.items():
                with moment.only():
                    self._copy(self._rows[device], self._layers[device])
        return self._host

    def _copy(self, rows: Tensor, layers: list[int]) -> None:
        if len(layers) == rows.shape[1]:
            self._host.copy_(rows)
            return
        low = min(layers)  # A list of layers would itself be copied to the device first.
        there = rows[:, low : max(layers) + 1].cpu()
        self._host[:, layers] = there[:, [layer - low for layer in layers]]

    def _room(self, device: torch.device, d_model: int) -> Tensor:
        if device not in self._rows:
            shape = (self._n_rows, self._n_layers, d_model)
            with torch.inference_mode(False):  # what stays is an ordinary tensor
                on_host = device.type == "cpu"
                room = host_block(*shape) if on_host else torch.empty(shape, device=device)
                self._rows[device] = room
        return self._rows[device]


class _Pool:
    """Pools a batch; what is left of every layer is in `rows`."""

    def __init__(self, batch: TokenBatch, n_layers: int) -> None:
        n_texts, n_rules, _ = batch.weights.shape
        self.rows = _Rows(n_texts * n_rules + len(batch.kept_rows), n_layers)
        self._batch = batch
        self._moved: dict[torch.device, tuple[Tensor, Tensor]] = {}

    def take(self, layer: int, activation: Tensor) -> None:
        """Pool one layer's output; `recording` calls it."""
        device = activation.device
        hidden = _per_token(self._batch, activation).float()
        weights, kept = self._constants(device)
        place = self.rows.place(layer, device, hidden.shape[-1])
        n_pooled = len(place) - len(kept)
        pooled, tokens = place[:n_pooled], place[n_pooled:]
        # Made where they stay: to copy them there takes a third longer.
        torch.bmm(weights, hidden, out=pooled.view(*weights.shape[:2], -1))
        torch.index_select(hidden.flatten(0, 1), 0, kept, out=tokens)
        self.rows.look_at(pooled)
        if activation.dtype != torch.float32:  # which may overflow
            self.rows.look_at(tokens)

    def _constants(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """The read rules as averages, and the kept tokens' places among all of the batch."""
        if device not in self._moved:
            batch = self._batch
            kept = batch.kept_rows * batch.input_ids.shape[1] + batch.kept_columns
            self._moved[device] = batch.weights.to(device), kept.to(device)
        return self._moved[device]


def _per_token(batch: TokenBatch, activation: Tensor) -> Tensor:
    """A module's output as (n_texts, n_fed, d_model)."""
    n_texts, n_fed = batch.input_ids.shape
    if activation.ndim == 2 and len(activation) == n_texts * n_fed:  # OPT's MLP flattens
        activation = activation.view(n_texts, n_fed, -1)
    if activation.ndim != 3 or activation.shape[:2] != (n_texts, n_fed):
        raise UserError(
            f"the module's output has the shape {tuple(activation.shape)} where "
            f"({n_texts}, {n_fed}, width) was expected",
            fix="choose another layer type",
        )
    return activation


Pooling = Callable[[Tensor, Tensor], Tensor]
"""Of one layer and some texts: hidden states (n_texts, n_tokens, d_model) in float32 and a mask
(n_texts, n_tokens) that is True on the texts' own tokens -> one row per text, (n_texts, d_model).
"""


def capture_by(
    model: "LoadedModel", paths: "BlockPaths", feeds: Sequence[Feed], pooling: Pooling
) -> Callable[[], Tensor]:
    """One batch pooled by the caller's function, as `start_batch`.

    Returns:
        Waits for (n_texts, n_layers, d_model) float32 on the CPU; UserError where they are not
        finite.

    Raises:
        UserError: the function returns another shape, or a module was not run.
    """
    batch = pad_batch(feeds, model.device)
    mask = batch.weights[:, 0] > 0  # (n_texts, n_fed)
    rows = _Rows(len(feeds), len(paths.names))

    def take(layer: int, activation: Tensor) -> None:
        hidden = _per_token(batch, activation).float()
        found = pooling(hidden, mask.to(hidden.device))
        if tuple(found.shape) != (len(feeds), hidden.shape[-1]):
            raise UserError(
                f"the pooling returned the shape {tuple(found.shape)} for hidden states "
                f"{tuple(hidden.shape)}",
                fix=f"return one row per text, {(len(feeds), hidden.shape[-1])}",
            )
        rows.place(layer, hidden.device, hidden.shape[-1]).copy_(found)
        rows.look_at(found)

    with inference(model.model), recording(model.model, paths, take):
        bare_model(model.model)(
            input_ids=batch.input_ids, attention_mask=batch.attention_mask, use_cache=False
        )
    rows.end(paths)
    return partial(rows.on_host, model)
