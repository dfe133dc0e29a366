"""A first pass over a few tokens: whether a model runs as everything else takes for granted.

Every block runs once in a pass, one after another, returns one state per token, and knows only what
stands before a token; and a pass that goes on from the cache gives what a whole pass gives.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
import transformers
from torch import Tensor, nn
from transformers import GenerationConfig

from readout_ui.errors import UserError, first_line
from readout_ui.models.blocks import (
    bare_model,
    config_values,
    modules,
    resolve_blocks,
    text_config,
)
from readout_ui.models.calling import NO_TOKEN, own_choices
from readout_ui.models.devices import Shortage, is_out_of_memory, within_memory

N_TOKENS = 24
"""How long the trial text is; a third of it is read first, the rest comes behind."""
LONGEST = 256
"""Up to which length of `turning_points` the trial at load goes; the others are tried when a text
first grows beyond them."""
N_STEPS = 2
"""Tokens of the answer that it has to read from its cache."""
CANNOT_RUN = (RuntimeError, ValueError, TypeError, AttributeError, LookupError, AssertionError)
"""What a model raises that cannot do what is asked of it."""
_OTHER_FIX = "choose another model"


def try_model(model: nn.Module, token_ids: Sequence[int], room: int | None = None) -> str:
    """Run a model on a few tokens, and refuse it where what is read of it would be wrong.

    Args:
        model: with its LM head, in eval mode.
        token_ids: at least one; they are repeated to `N_TOKENS`, or beyond what `turning_points`
            names up to `LONGEST`.
        room: how many tokens it takes at most, where that is known.

    Returns:
        Why the model cannot go on from its own cache, so that it cannot answer; "" if it can.

    Raises:
        UserError: it does not run, its blocks do not run once each and in order, they return
            something else than states of the tokens, or tokens change those before them.
    """
    near = max((n for n in turning_points(model) if n <= LONGEST), default=0)
    ids = repeated(token_ids, min(max(N_TOKENS, near + N_TOKENS // 3), room or LONGEST * 2))
    n_start = max(1, len(ids) // 3)
    if within_memory(partial(_looks_ahead, model, ids, n_start)) is True:
        raise UserError(
            f"{_kind(model)} reads what comes after a token too, so it is no causal language model",
            fix=_OTHER_FIX,
        )
    if n_start + N_STEPS >= len(ids):
        return ""
    why = within_memory(partial(why_no_cache, model, ids[:n_start]))
    # The reading itself will say what there is no memory for.
    return "" if isinstance(why, Shortage) else why


_TURNING = re.compile(
    r"(window|chunk|block)(_size|_len|_length)$|^(sliding_window|local_attention)$|_topk$|_budget$"
)
"""Names of numbers of tokens in configs; how many experts there are (moe_topk) is small besides."""


def turning_points(model: nn.Module) -> list[int]:
    """Numbers of tokens beyond which a model may compute otherwise, by its config.

    Windows of attention, chunks of a scan or a hash, how many tokens an indexer lets through.
    """
    names = filter(_TURNING.search, text_config(model).to_dict())
    values = [value for name in names for value in config_values(model, name)]
    return sorted({value for value in values if type(value) is int and value > 0})


def repeated(token_ids: Sequence[int], length: int) -> list[int]:
    """Tokens, again from the first, up to a length."""
    return [token_ids[place % len(token_ids)] for place in range(length)]


def why_no_cache(model: nn.Module, token_ids: Sequence[int]) -> str:
    """Why the scores of tokens that `generate` adds to these would be wrong; "" if right.

    Raises:
        RuntimeError: memory ran out, which says nothing about the model.
        UserError: with a cache these tokens themselves are read otherwise, so that whatever is read
            of the model may be wrong.
    """
    try:
        text, answered = _answered(model, token_ids)
        whole = _states(model, text)
    except (*CANNOT_RUN, UserError) as error:
        if is_out_of_memory(error):
            raise
        said = error.what if isinstance(error, UserError) else first_line(error)
        return f"{_kind(model)} cannot go on from a cache ({said})"
    n_given, bound = len(token_ids), _bound(whole.dtype)
    if difference(whole[:, :n_given], answered[:, :n_given]) > bound:
        raise UserError(
            f"this version of transformers ({transformers.__version__}) reads the same text "
            f"otherwise with a cache than without in {_kind(model)}, and one of both is wrong",
            fix="install another version, or choose another model",
        )
    if difference(whole[:, n_given:], answered[:, n_given:]) > bound:
        return (
            f"{_kind(model)} reads a token otherwise behind its cache than in a whole text of "
            f"{len(text)} tokens"
        )
    return ""


def reads_padding(model: nn.Module, token_ids: Sequence[int], padding: Sequence[int]) -> bool:
    """Whether `generate` goes on otherwise from these tokens where padding stands before them."""
    text, alone = _answered(model, token_ids)
    text_padded, padded = _answered(model, token_ids, padding)
    return text != text_padded or difference(alone, padded) > _bound(alone.dtype)


def difference(expected: Tensor, found: Tensor) -> float:
    """Mean over layers and tokens of the relative difference, (n_layers, n_tokens, width) each."""
    scale = expected.float().norm(dim=-1).clamp_min(torch.finfo(torch.float32).tiny)
    return float(((expected.float() - found.float()).norm(dim=-1) / scale).mean())


def _bound(dtype: torch.dtype) -> float:
    """What rounding and experts chosen by a hair's breadth stay below; a wrong token does not."""
    return 0.01 if torch.finfo(dtype).bits >= 32 else 0.1


def _looks_ahead(model: nn.Module, token_ids: Sequence[int], n_start: int) -> bool:
    """Whether the first tokens are read otherwise where others follow."""
    whole, start = _whole(model, token_ids), _whole(model, token_ids[:n_start])
    return difference(whole[:, :n_start], start) > _bound(whole.dtype)


def _whole(model: nn.Module, token_ids: Sequence[int]) -> Tensor:
    try:
        return _states(model, token_ids)
    except CANNOT_RUN as error:
        if is_out_of_memory(error):
            raise
        raise UserError(
            f"{_kind(model)} cannot run on a few tokens ({first_line(error)})", fix=_OTHER_FIX
        ) from error


def _states(model: nn.Module, token_ids: Sequence[int]) -> Tensor:
    """(n_layers, n_tokens, width): what the blocks return in one pass over a text."""
    ids = torch.tensor([list(token_ids)], device=_device(model))
    with torch.inference_mode(), _watched(model) as ran:
        bare_model(model)(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False)
    return _ordered(model, ran, len(token_ids))


def _answered(
    model: Any, token_ids: Sequence[int], padding: Sequence[int] = ()
) -> tuple[list[int], Tensor]:
    """Text with `N_STEPS` new tokens, and the states of all its tokens as `generate` fed them.

    Raises:
        UserError: a pass was fed something else than the next token.
    """
    n_padding, n_fed = len(padding), len(padding) + len(token_ids)
    ids = torch.tensor([[*padding, *token_ids]], device=_device(model))
    mask = torch.ones_like(ids)
    mask[:, :n_padding] = 0
    settings: Any = GenerationConfig
    greedy = settings(max_new_tokens=N_STEPS + 1, do_sample=False, use_cache=True)
    greedy.eos_token_id, greedy.pad_token_id = NO_TOKEN, 0
    with own_choices(model), torch.inference_mode(), _watched(model) as ran:
        made = model.generate(input_ids=ids, attention_mask=mask, generation_config=greedy)
    size = len(resolve_blocks(model).names)
    first, *steps = (ran[start : start + size] for start in range(0, len(ran), size))
    states = [_ordered(model, first, n_fed)[:, n_padding:]]
    for pass_number, step in enumerate(steps, 1):
        if tuple(step[0][1].shape[:2]) == (1, n_fed + pass_number):
            raise UserError("each new token is read together with the whole text again")
        states.append(_ordered(model, step, 1))
    return made[0, n_padding:-1].tolist(), torch.cat(states, dim=1)


@contextmanager
def _watched(model: nn.Module) -> Iterator[list[tuple[int, Any]]]:
    """Layers with what their blocks returned, in the order in which they ran."""
    ran: list[tuple[int, Any]] = []

    def keep(layer: int, _module: Any, _inputs: Any, output: Any) -> None:
        ran.append((layer, output[0] if isinstance(output, tuple | list) else output))

    with ExitStack() as hooks:
        for layer, block in enumerate(modules(model, resolve_blocks(model))):
            hooks.callback(block.register_forward_hook(partial(keep, layer)).remove)
        yield ran


def _ordered(model: nn.Module, ran: list[tuple[int, Any]], n_tokens: int) -> Tensor:
    """(n_layers, n_tokens, width) on one device, of blocks that ran once each and in order.

    Raises:
        UserError: they did not, or they return something else.
    """
    order = [layer for layer, _output in ran]
    if order != list(range(len(resolve_blocks(model).names))):
        shown = ", ".join(map(str, order[:12])) or "none"
        raise UserError(
            f"the layers of {_kind(model)} do not run once each, one after another, in a pass: "
            f"{shown}{', ...' if len(order) > 12 else ''}",
            fix=_OTHER_FIX,
        )
    states = [_per_token(model, output, n_tokens) for _layer, output in ran]
    return torch.stack([state.to(states[0].device) for state in states])


def _per_token(model: nn.Module, output: Any, n_tokens: int) -> Tensor:
    """(n_tokens, width); several residual streams side by side, wherever their axis is."""
    shape = tuple(getattr(output, "shape", ()))
    if shape[:2] == (1, n_tokens) and len(shape) > 2:
        state: Tensor = output[0]
    elif len(shape) == 4 and shape[1:3] == (1, n_tokens):
        state = output[:, 0].movedim(0, 1)
    elif len(shape) == 2 and len(output) == n_tokens:
        state = output
    else:
        raise UserError(
            f"the layers of {_kind(model)} return {shape or type(output).__name__} where one state "
            f"was expected for every token fed ({n_tokens})",
            fix=_OTHER_FIX,
        )
    return state.flatten(1)


def _device(model: nn.Module) -> torch.device:
    """Where tokens go; accelerate moves them on from the CPU to weights that it fetches."""
    embeddings: Any = model.get_input_embeddings()  # type: ignore[operator]
    device: torch.device = embeddings.weight.device
    return torch.device("cpu") if device.type == "meta" else device


def _kind(model: nn.Module) -> str:
    return type(model).__name__
