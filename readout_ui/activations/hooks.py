"""Watching a model's blocks during a forward pass; nothing of the model is changed for good."""

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from readout_ui.errors import UserError
from readout_ui.models.blocks import hidden_size, modules
from readout_ui.models.devices import attention_without_plans

if TYPE_CHECKING:
    from readout_ui.models.blocks import BlockPaths

OnActivation = Callable[[int, Tensor], None]
"""Called with a layer and what its module returned, inside the forward pass."""


@contextmanager
def recording(
    model: nn.Module,
    paths: "BlockPaths",
    on_activation: OnActivation,
    layers: Collection[int] | None = None,
) -> Iterator[None]:
    """Calls `on_activation` with every output of the modules at `paths`, and removes the hooks.

    The tensor is the module's own output: what is needed of it has to be computed or copied before
    the callback returns, so that memory does not grow with text length times layers.

    Args:
        model: the model the paths were resolved on.
        paths: one module per layer.
        on_activation: what to do with layer i's output, (n_texts, n_tokens, d_model) or, where a
            block flattens its input, (n_texts * n_tokens, d_model).
        layers: which of them, every other runs at its usual speed; None for all.

    Raises:
        UserError: a module ran several times in a pass, or not at all, or returned no state per
            token.
    """
    hooks: list[RemovableHandle] = []
    watched = {
        layer: module
        for layer, module in enumerate(modules(model, paths))
        if layers is None or layer in layers
    }
    width = hidden_size(model) if paths.layer_type == "decoder_block" else None
    once = _OncePerPass({layer: paths.names[layer] for layer in watched})
    try:
        for layer, module in watched.items():
            hook = _hook(layer, paths.names[layer], width, once, on_activation)
            hooks.append(module.register_forward_hook(hook))
        yield
        once.require_all()
    finally:
        for handle in hooks:
            handle.remove()


class _OncePerPass:
    """Scores of a pass are told apart by layer, so each module has to run once in it."""

    def __init__(self, names: Mapping[int, str]) -> None:
        self._names, self._ran = names, set[int]()

    def take(self, layer: int) -> None:
        """A module ran."""
        if len(self._ran) == len(self._names):
            self._ran.clear()
        if layer in self._ran:
            raise UserError(
                "the model runs this module several times in a pass, or leaves others out",
                where=self._names[layer],
                fix="choose another layer type or another model",
            )
        self._ran.add(layer)

    def require_all(self) -> None:
        """The last pass is over, if there was one."""
        absent = sorted(self._names.keys() - self._ran)
        if self._ran and absent:
            raise not_run(self._names[absent[0]])


def not_run(name: str) -> UserError:
    """What to say of a module that a pass left out."""
    return UserError("the model did not run this module", where=name)


@contextmanager
def inference(model: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients; a model that was in training mode is put back."""
    was_training = model.training
    if any(module.training for module in model.modules()):  # asking takes less than telling all
        model.eval()
    try:
        with torch.inference_mode(), attention_without_plans():
            yield
    finally:
        if was_training:
            model.train()


def _hook(
    layer: int, name: str, width: int | None, once: _OncePerPass, on_activation: OnActivation
) -> Callable[..., None]:
    def read(_module: nn.Module, _inputs: Any, output: Any) -> None:
        once.take(layer)
        if not isinstance(output, Tensor):
            output = output[0] if isinstance(output, tuple | list) else output
            if not isinstance(output, Tensor):
                raise UserError(
                    f"the module returned {type(output).__name__} where a tensor was expected",
                    where=name,
                    fix="choose another layer type",
                )
        if output.ndim > 3 or width not in (None, output.shape[-1]):
            raise UserError(
                f"this architecture keeps several residual streams ({tuple(output.shape)} "
                f"where one state {f'of {width} numbers ' if width else ''}per token was expected)",
                where=name,
                fix="choose another layer type, such as mlp or self_attn",
            )
        on_activation(layer, output)

    return read
