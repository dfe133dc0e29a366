"""What transformers' `generate` is told: limits, chance, end tokens."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from transformers import GenerationConfig

from readout_ui.errors import UserError, required
from readout_ui.sampling import Sampling

if TYPE_CHECKING:
    from readout_ui.models import LoadedModel

_NO_TOKEN = 2**31 - 1
"""An end token that no vocabulary has: `Growth` ends rows, one pass later than transformers."""


def room_for_answer(model: LoadedModel, n_prompt: int, wanted: int) -> tuple[int, str]:
    """How many tokens may be added, and what to say when the context window ends before."""
    if model.context_length is None:
        return wanted, ""
    room = model.context_length - n_prompt
    if room < 1:
        raise UserError(
            f"the prompt has {n_prompt} tokens, {model.name} takes {model.context_length}, so "
            "there is no room for an answer",
            fix="shorten it or remove earlier turns",
        )
    if wanted <= room:
        return wanted, ""
    return room, (
        f"The context window of {model.context_length} tokens left room for {room} new tokens, "
        f"not {wanted}."
    )


def decoding_config(
    model: LoadedModel, sampling: Sampling, max_new_tokens: int
) -> GenerationConfig:
    """For transformers' `generate`, every choice made here and none by the checkpoint."""
    chance: dict[str, Any] = {"do_sample": False, "temperature": 1.0, "top_p": 1.0, "top_k": 50}
    if not sampling.greedy:
        chance = {
            "do_sample": True,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "top_k": sampling.top_k,
        }
    make: Any = GenerationConfig
    config: GenerationConfig = make(
        **chance,
        repetition_penalty=sampling.repetition_penalty,
        max_new_tokens=max_new_tokens,
        num_beams=1,
        pad_token_id=pad_token(model),
        eos_token_id=_NO_TOKEN,
    )
    return config


def end_tokens(model: LoadedModel) -> frozenset[int]:
    """What ends an answer: the checkpoint's end tokens and the template's end of a turn."""
    configured = required(model.model.generation_config, "eos_token_id", "transformers")
    several = configured if isinstance(configured, list | tuple) else [configured]
    tokenizer: Any = model.tokenizer
    special = special_tokens(model)
    after = tokenizer(model.frame.after, add_special_tokens=False)["input_ids"][:1]
    ends = [*several, tokenizer.eos_token_id, *(token for token in after if token in special)]
    return frozenset(int(token) for token in ends if token is not None)


@contextmanager
def seeded(device: torch.device, seed: int) -> Iterator[None]:
    """Torch's chance starts from `seed` and is as before afterwards."""
    gpus = list(range(torch.cuda.device_count())) if device.type == "cuda" else []
    with torch.random.fork_rng(devices=gpus):
        torch.manual_seed(seed)
        yield


def special_tokens(model: LoadedModel) -> frozenset[int]:
    """Ids that are no text, such as those around a turn."""
    added = model.tokenizer.added_tokens_decoder.items()
    return frozenset(index for index, token in added if token.special)


def pad_token(model: LoadedModel) -> int:
    """What fills up shorter prompts; it is masked, so any token would do."""
    tokenizer: Any = model.tokenizer
    known = (tokenizer.pad_token_id, tokenizer.eos_token_id, 0)
    return int(next(token for token in known if token is not None))
