"""Watching a model's blocks during a forward pass; nothing of the model is changed for good."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from readout_ui.errors import UserError
from readout_ui.models.blocks import modules

if TYPE_CHECKING:
    from readout_ui.models.blocks import BlockPaths

OnActivation = Callable[[int, Tensor], None]
"""Called with a layer and what its module returned, inside the forward pass."""


@contextmanager
def recording(model: nn.Module, paths: "BlockPaths", on_activation: OnActivation) -> Iterator[None]:
    """Calls `on_activation` with every output of the modules at `paths`, and removes the hooks.

    The tensor is the module's own output: what is needed of it has to be computed or copied before
    the callback returns, so that memory does not grow with text length times layers.

    Args:
        model: the model the paths were resolved on.
        paths: one module per layer.
        on_activation: what to do with layer i's output, (n_texts, n_tokens, d_model) or, where a
            block flattens its input, (n_texts * n_tokens, d_model).
    """
    hooks: list[RemovableHandle] = []
    try:
        for layer, module in enumerate(modules(model, paths)):
            hook = _hook(layer, paths.names[layer], on_activation)
            hooks.append(module.register_forward_hook(hook))
        yield
    finally:
        for handle in hooks:
            handle.remove()


@contextmanager
def inference(model: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients; a model that was in training mode is put back."""
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        if was_training:
            model.train()


def _hook(layer: int, name: str, on_activation: OnActivation) -> Callable[..., None]:
    def read(_module: nn.Module, _inputs: Any, output: Any) -> None:
        activation = output[0] if isinstance(output, tuple | list) else output
        if not isinstance(activation, Tensor):
            raise UserError(
                f"the module returned {type(activation).__name__} where a tensor was expected",
                where=name,
                fix="choose another layer type",
            )
        if activation.ndim > 3:
            raise UserError(
                f"this architecture keeps several residual streams ({tuple(activation.shape)} "
                "where one state per token was expected)",
                where=name,
                fix="choose another layer type, such as mlp or self_attn",
            )
        on_activation(layer, activation)

    return read
