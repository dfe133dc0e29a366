"""One batch through the model, pooled inside the forward pass."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from readout_ui.activations.batches import Feed, TokenBatch, pad_batch
from readout_ui.activations.hooks import inference, recording
from readout_ui.errors import UserError
from readout_ui.models.blocks import bare_model
from readout_ui.models.calling import cache_argument, returned_cache
from readout_ui.models.devices import not_finite

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
    states: Any = None
    """The model's own cache behind the fed tokens, where it was asked for."""


def capture_batch(
    model: "LoadedModel",
    paths: "BlockPaths",
    batch: TokenBatch,
    past: Any = None,
    keep_states: bool = False,
) -> PooledBatch:
    """Runs the decoder without its head and pools every layer where it is computed.

    Args:
        model: the model; any dtype, pooling is in float32.
        paths: the modules whose outputs are read.
        batch: what is fed.
        past: keys and values of the shared prefix for every text of the batch; it is used up.
        keep_states: whether to return the keys and values of what was fed.

    Raises:
        UserError: a module was not run, returned another shape, or numbers that are not finite.
    """
    pools = [_Pool(batch) for _ in paths.names]
    decoder = bare_model(model.model)
    before = {} if past is None else {cache_argument(decoder): past}
    with inference(model.model), recording(model.model, paths, lambda i, a: pools[i].take(a)):
        output = decoder(
            input_ids=batch.input_ids,
            attention_mask=batch.attention_mask,
            use_cache=keep_states or past is not None,
            **before,
        )
    for name, pool in zip(paths.names, pools, strict=True):
        if pool.pooled is None:
            raise UserError("the model did not run this module", where=name)
    # Layers may be on different devices; stacking outside inference mode gives ordinary tensors.
    captured = PooledBatch(
        pooled=torch.stack([pool.pooled.cpu() for pool in pools if pool.pooled is not None], 2),
        kept=torch.stack([pool.kept.cpu() for pool in pools if pool.kept is not None], 1),
        states=returned_cache(output) if keep_states else None,
    )
    if not torch.isfinite(captured.pooled).all():
        raise not_finite(model.dtype, model.device)
    return captured


class _Pool:
    """Receives one layer's output and keeps its pooled rows, on the layer's own device."""

    def __init__(self, batch: TokenBatch) -> None:
        self._batch = batch
        self.pooled: Tensor | None = None
        self.kept: Tensor | None = None

    def take(self, activation: Tensor) -> None:
        batch, device = self._batch, activation.device
        activation = _per_token(batch, activation)
        weights = batch.weights.to(device)
        self.pooled = torch.bmm(weights, activation.float())  # (n_texts, n_rules, d_model)
        rows, columns = batch.kept_rows.to(device), batch.kept_columns.to(device)
        self.kept = activation[rows, columns].float()  # (n_kept, d_model)


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
) -> Tensor:
    """One batch pooled by the caller's function, (n_texts, n_layers, d_model) float32 on the CPU.

    Raises:
        UserError: the function returns another shape, or a module was not run.
    """
    batch = pad_batch(feeds, model.device)
    mask = batch.weights[:, 0] > 0  # (n_texts, n_fed)
    layers: list[Tensor | None] = [None] * len(paths.names)

    def take(layer: int, activation: Tensor) -> None:
        hidden = _per_token(batch, activation).float()
        found = pooling(hidden, mask.to(hidden.device))
        if tuple(found.shape) != (len(feeds), hidden.shape[-1]):
            raise UserError(
                f"the pooling returned the shape {tuple(found.shape)} for hidden states "
                f"{tuple(hidden.shape)}",
                fix=f"return one row per text, {(len(feeds), hidden.shape[-1])}",
            )
        layers[layer] = found.float().cpu()

    with inference(model.model), recording(model.model, paths, take):
        bare_model(model.model)(
            input_ids=batch.input_ids, attention_mask=batch.attention_mask, use_cache=False
        )
    for name, layer in zip(paths.names, layers, strict=True):
        if layer is None:
            raise UserError("the model did not run this module", where=name)
    return torch.stack([layer for layer in layers if layer is not None], 1)
