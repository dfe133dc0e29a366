"""Applying concept vectors while the model runs: `steering_vectors` with positions that hold.

The library's own position masks count inside one forward call, so under a KV cache they never meet
a generated token. Here its vectors and operators are applied everywhere, and what they would add is
zeroed outside the positions that were asked for, counted from the prompt's first real token. What
is only added needs no operator, and costs one kernel a layer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, cast

import torch
from steering_vectors import (
    SteeringVector,
    ablation_operator,
    ablation_then_addition_operator,
)
from steering_vectors.torch_utils import untuple_tensor
from torch import Tensor, nn

from readout_ui.activations.extract import read_activations
from readout_ui.errors import UserError, library_error
from readout_ui.inference.forward import read_blocks, require_fit
from readout_ui.inference.steering_setup import Operator, Steer, SteeringSetup, Where, as_where
from readout_ui.models.blocks import bare_model, modules
from readout_ui.models.calling import arguments_by_name, past_length
from readout_ui.progress import Report, silent
from readout_ui.vectors.groups import group_texts
from readout_ui.vectors.training import (
    CALIBRATION_TOKENS,
    capture_settings,
    tokens_to_keep,
)
from readout_ui.vectors.vectors import ConceptVectors

if TYPE_CHECKING:
    from steering_vectors.steering_vector import PatchDeltaOperator, SteeringPatchHandle
    from torch.utils.hooks import RemovableHandle

    from readout_ui.activations.cache import ActivationCache
    from readout_ui.models.blocks import BlockPaths
    from readout_ui.models.loading import LoadedModel
    from readout_ui.vectors.settings import TrainSettings

NEUTRAL_TEXTS = (
    "I am sitting upright. My hands rest where they are.",
    "I read the list from top to bottom. Then I turn the page.",
    "The form has four fields. I fill in the first one with today's date.",
    "I count the items again. There are twelve of them.",
)
"""What lengths are measured on where the vectors come without their texts."""
_SHARE_OPERATORS = ("ablate", "clamp")
"""Operators whose multiplier is a share of a change; that of the others is a length."""
_VECTOR = "the steering vector"


class Patch:
    """Steering at work: a context that ends with its block, or with `remove()`."""

    def __init__(self, undo: ExitStack) -> None:
        self._undo = undo

    def remove(self) -> None:
        """Take the steering off; the model is then as before. A second call does nothing."""
        self._undo.close()

    def __enter__(self) -> Patch:
        return self

    def __exit__(self, *_error: object) -> None:
        self.remove()


def steered(
    model: LoadedModel,
    setup: SteeringSetup,
    vectors: ConceptVectors,
    norms: Mapping[int, float],
    prompt_lengths: Sequence[int],
) -> Patch:
    """Steers every forward of the model until it is removed, then the model is as before.

    A setup that does nothing (no steers, or every multiplier 0) puts no hook on the model.

    Args:
        model: the model.
        setup: what to do, and at which tokens.
        vectors: the directions of its concepts at its layers.
        norms: mean length of the residual stream by layer, as `residual_norms` gives them.
        prompt_lengths: tokens of each prompt in the batch without padding; one for all rows.

    Raises:
        UserError: a concept or layer was not trained, or has no direction there.
    """
    active = setup.active
    if not active:
        return Patch(ExitStack())
    require_fit(model, vectors)
    paths = read_blocks(model, vectors)
    positions = _Positions(model.model, setup.where, prompt_lengths)
    pushes = [(one, _units(one, vectors, norms)) for one in active]
    with ExitStack() as stack:
        for module in dict.fromkeys((model.model, bare_model(model.model))):
            hook = module.register_forward_pre_hook(positions.see, with_kwargs=True)
            stack.callback(hook.remove)
        for steer, units in pushes:
            if steer.operator == "add":
                patched = _added(model, paths, steer.multiplier, units, positions)
            else:
                patched = _operated(model, paths, steer, units, positions)
            for handle in patched:
                stack.callback(handle.remove)
        return Patch(stack.pop_all())


def setup_of_vector(
    vector: SteeringVector, multiplier: float, operator: Operator, where: Where | str
) -> tuple[SteeringSetup, ConceptVectors]:
    """A vector of the steering-vectors library as a setup and the unit directions it is about.

    Raises:
        UserError: it has no layers, or its tensors are not vectors of one width.
    """
    layers, tensors = tuple(vector.layer_activations), list(vector.layer_activations.values())
    if not layers or any(each.shape != tensors[0].shape or each.ndim != 1 for each in tensors):
        raise UserError("the steering vector must have one tensor (d_model,) for each layer")
    stacked = torch.stack([each.detach().float().cpu() for each in tensors])  # (n_layers, d_model)
    lengths = stacked.norm(dim=1)  # (n_layers,)
    units = stacked / lengths.clamp_min(torch.finfo(torch.float32).tiny)[:, None]
    vectors = ConceptVectors(
        concepts=(_VECTOR,),
        layers=layers,
        directions=units[None],
        center=torch.zeros_like(units),
        neutral_mean=torch.zeros(1, len(layers)),
        neutral_std=torch.ones(1, len(layers)),
        layer_type=vector.layer_type,
    )
    share = operator == "ablate"  # Its multiplier is no length.
    steers = [
        Steer(_VECTOR, (layer,), multiplier * (1.0 if share else length), "raw", operator)
        for layer, length in zip(layers, lengths.tolist(), strict=True)
    ]
    return SteeringSetup(tuple(steers), as_where(where)), vectors


def residual_norms(
    model: LoadedModel,
    settings: TrainSettings,
    descriptions: Mapping[str, Sequence[str]] | None = None,
    cache: ActivationCache | None = None,
    report: Report = silent,
) -> dict[int, float]:
    """Mean length of what a steer changes, by layer, over tokens of neutral texts.

    The content tokens that the training calibrated on are taken, so nothing goes through the model
    that the cache still has.

    Args:
        model: the model.
        settings: how the run read its texts.
        descriptions: the run's texts by file name; None or empty takes `NEUTRAL_TEXTS`.
        cache: activations read earlier.
        report: told after every batch.
    """
    keep = dict.fromkeys(NEUTRAL_TEXTS, CALIBRATION_TOKENS // len(NEUTRAL_TEXTS))
    if descriptions:
        texts, groups = group_texts(descriptions)
        keep = dict(tokens_to_keep(texts, groups.neutral or groups.all_rows()))
    activations = read_activations(
        model, tuple(keep), capture_settings(settings), cache, keep, report
    )
    lengths = activations.kept.norm(dim=-1).mean(dim=0)  # (n_layers,)
    return dict(enumerate(lengths.tolist()))


class _Positions:
    """Which tokens of the forward that runs are steered; told by hooks before each forward."""

    def __init__(self, whole: nn.Module, where: Where, prompt_lengths: Sequence[int]) -> None:
        self._whole, self._where = whole, where
        lengths = torch.tensor(prompt_lengths)[:, None]  # (n_rows or 1, 1)
        self._lengths = {lengths.device: lengths}
        self._masks: dict[torch.device, Tensor] = {}
        self._alike: bool | None = None
        """What is so of every token of the forward; None where they differ or nobody knows."""

    def see(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Work out the mask of a forward from what it is called with.

        The attention mask reaches back over the cache and shows the padding. Where it is not
        given as one row of zeros and ones per text (transformers leaves it out where nothing is
        padded), the cache's own length must do, which the host knows.

        Raises:
            UserError: neither tells where the tokens are.
        """
        given = arguments_by_name(module, args, kwargs)
        tokens = _tokens(given)
        if module is self._whole:  # Nothing of an earlier forward counts for this one.
            self._masks = {}
        attention = given.get("attention_mask")
        if isinstance(attention, Tensor) and attention.ndim == 2:
            self._choose(_positions(tokens, attention))
        elif attention is None or not self._fits(tokens.shape[1]):
            past = past_length(module, given)
            n_rows, n_tokens = tokens.shape[:2]
            self._choose(torch.arange(past, past + n_tokens).expand(n_rows, -1))

    def keep(self, delta: Tensor, activation: Tensor) -> Tensor:
        """`delta` where tokens are steered, 0 elsewhere."""
        assert self._masks, "a block ran outside its model"
        mask = _on(activation.device, self._masks)  # (n_rows, n_tokens)
        if activation.ndim == 2:
            return delta.reshape(-1, delta.shape[-1]) * mask.reshape(-1, 1)
        return delta * mask[:, :, None]

    def add(self, delta: Tensor, activation: Tensor) -> None:
        """Add `delta`, (d_model,) float32, in place where tokens are steered."""
        if self._alike is None:
            activation.add_(self.keep(delta, activation))
        elif self._alike:
            activation.add_(delta)

    def _fits(self, n_tokens: int) -> bool:
        return any(mask.shape[1] == n_tokens for mask in self._masks.values())

    def _choose(self, positions: Tensor) -> None:
        prompt = _on(positions.device, self._lengths)
        if len(prompt) not in (1, len(positions)):
            raise ValueError(f"{len(prompt)} prompt lengths for {len(positions)} rows")
        mask = steered_positions(self._where, positions, prompt)
        self._masks, self._alike = {mask.device: mask}, None
        if mask.device.type == "cpu" and bool(mask.all()) == bool(mask.any()):
            self._alike = bool(mask.all())


def _on(device: torch.device, copies: dict[torch.device, Tensor]) -> Tensor:
    """A tensor on a device, copied there once: every copy from the host waits for the device."""
    if device not in copies:
        copies[device] = next(iter(copies.values())).to(device)
    return copies[device]


def _home(module: nn.Module, otherwise: torch.device) -> torch.device:
    """Where a module works; offloaded weights are nowhere until they are needed."""
    weights = next(module.parameters(), None)
    return otherwise if weights is None or weights.is_meta else weights.device


def steered_positions(where: Where, positions: Tensor, prompt_lengths: Tensor) -> Tensor:
    """Which positions a `Where` means, as zeros and ones of the same shape.

    Args:
        where: the choice.
        positions: (n_rows, n_tokens), counted from the prompt's first token; padding is negative.
        prompt_lengths: (n_rows or 1, 1).
    """
    chosen = positions >= 0
    if where.kind == "prompt":
        chosen &= positions < prompt_lengths
    elif where.kind == "generated":
        chosen &= positions >= prompt_lengths
    elif where.kind == "from":
        chosen &= positions >= where.start
    elif where.kind == "spans":
        inside = [(positions >= first) & (positions < stop) for first, stop in where.spans]
        chosen &= torch.stack(inside).any(dim=0)
    return chosen


def _positions(tokens: Tensor, attention: Tensor) -> Tensor:
    """(n_rows, n_tokens): each new token's position, counted without the padding in front."""
    n_new, width = tokens.shape[1], attention.shape[1]
    padding = (attention.long().cumsum(dim=1) == 0).sum(dim=1, keepdim=True)  # (n_rows, 1)
    return torch.arange(width - n_new, width, device=attention.device)[None] - padding


def _units(steer: Steer, vectors: ConceptVectors, norms: Mapping[int, float]) -> dict[int, Tensor]:
    """By layer the direction (d_model,), one unit long: the residual stream's length, or 1."""
    directions = vectors.select([steer.concept], steer.layers).directions[0]  # (n_layers, d_model)
    lengths = [norms[layer] if steer.unit == "norm" else 1.0 for layer in steer.layers]
    units = directions.float() * torch.tensor(lengths)[:, None]  # (n_layers, d_model)
    for layer, unit in zip(steer.layers, units, strict=True):
        if not unit.any():
            raise UserError(
                f"{steer.concept} has no direction at layer {layer}", fix="choose another layer"
            )
    return dict(zip(steer.layers, units, strict=True))


def _added(
    model: LoadedModel,
    paths: BlockPaths,
    multiplier: float,
    units: Mapping[int, Tensor],
    positions: _Positions,
) -> Iterator[RemovableHandle]:
    """Hooks that add what the library's patch with its `addition_operator` adds."""
    blocks = modules(model.model, paths)
    for layer, unit in units.items():
        home = _home(blocks[layer], model.device)
        # In float32: a sum with half precision is rounded once, inside the kernel.
        delta = multiplier * unit.to(home)
        yield blocks[layer].register_forward_hook(_adding({home: delta}, positions))


def _adding(deltas: dict[torch.device, Tensor], positions: _Positions) -> Callable[..., None]:
    def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
        activation = untuple_tensor(output)
        positions.add(_on(activation.device, deltas), activation)

    return hook


def _operated(
    model: LoadedModel,
    paths: BlockPaths,
    steer: Steer,
    units: Mapping[int, Tensor],
    positions: _Positions,
) -> Iterator[SteeringPatchHandle]:
    """The library's own patches with an operator, one for every device that has steered layers."""
    change, blocks = _change(steer), modules(model.model, paths)

    def operator(activation: Tensor, vector: Tensor) -> Tensor:
        return positions.keep(change(activation.float(), vector), activation)

    matchers = cast(Any, {"decoder_block": _matcher(paths)})
    homes = {layer: _home(blocks[layer], model.device) for layer in units}
    for device in dict.fromkeys(homes.values()):
        there = {layer: unit.to(device) for layer, unit in units.items() if homes[layer] == device}
        yield SteeringVector(there).patch_activations(
            model.model,
            matchers,
            operator,
            1.0 if steer.operator in _SHARE_OPERATORS else steer.multiplier,
            # One entry, which the library broadcasts over all tokens of a call.
            token_indices=torch.ones(1, device=device),
        )


def _change(steer: Steer) -> PatchDeltaOperator:
    """What is added to an activation; the library's ablation knows no multiplier, so it is here."""
    if callable(steer.operator):
        return steer.operator
    if steer.operator == "ablate_then_add":
        return ablation_then_addition_operator()
    ablate, share, value = ablation_operator(), steer.multiplier, steer.value or 0.0
    if steer.operator == "ablate":
        return lambda activation, unit: share * ablate(activation, unit)
    return lambda activation, unit: share * (ablate(activation, unit) + value * unit)


def _matcher(paths: BlockPaths) -> Callable[[nn.Module, int], str]:
    """Our module paths as the library asks for them: until one is no module of the model."""
    return lambda _model, layer: paths.names[layer] if layer < len(paths.names) else "no module"


def _tokens(given: Mapping[str, Any]) -> Tensor:
    """What is fed, as ids (n_rows, n_tokens) or embedded."""
    for name in ("input_ids", "inputs_embeds"):
        tokens = given.get(name)
        if isinstance(tokens, Tensor):
            return tokens
    raise library_error("transformers", "the model is called without input_ids or inputs_embeds")
