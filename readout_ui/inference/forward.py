"""One forward over one prompt: its scores, projected inside the hooks, and its perplexity."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from inspect import signature
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from readout_ui.activations.hooks import inference, recording
from readout_ui.activations.prefix import is_usual, lengths_that_change
from readout_ui.errors import UserError
from readout_ui.inference.projection import Projections, Projector, Scorer
from readout_ui.inference.reading import Reading
from readout_ui.models.blocks import bare_model
from readout_ui.models.calling import cache_argument, returned_cache
from readout_ui.models.chat_template import Turn
from readout_ui.models.devices import Result, Shortage, not_finite, within_memory
from readout_ui.models.tokens import visible_tokens
from readout_ui.texts.reading import require_readable

if TYPE_CHECKING:
    from readout_ui.models.blocks import BlockPaths
    from readout_ui.models.loading import LoadedModel
    from readout_ui.models.prompt import FramedChat, PromptFrame
    from readout_ui.vectors.vectors import ConceptVectors

READ_MODES = ("assistant", "user", "raw", "chat")


def frame_content(frame: PromptFrame, content: str | Sequence[Turn], mode: str) -> FramedChat:
    """The prompt as the model gets it, with the role of each token.

    Args:
        frame: the model's prompt frame.
        content: a text, or the turns of a chat when `mode` is "chat".
        mode: "assistant" puts the text where a training description stands, "user" asks it,
            "raw" uses no template.
    """
    if mode not in READ_MODES:
        raise UserError(f"a prompt cannot be read as '{mode}'", options=READ_MODES)
    if isinstance(content, str) == (mode == "chat"):
        raise UserError("a chat is read as turns, everything else as one text", where=mode)
    words = content if isinstance(content, str) else "".join(turn.text for turn in content)
    require_readable(words, "")
    if not isinstance(content, str):
        return frame.frame_chat(content)
    if not content.strip():
        raise UserError("there is nothing to read", fix="type or paste a text")
    if mode == "raw":
        return frame.frame_raw(content)
    if mode == "user":
        return frame.frame_chat([Turn("user", content)], add_generation_prompt=True)
    return frame.frame_alone(content)


def read_chat(
    model: LoadedModel,
    vectors: ConceptVectors,
    framed: FramedChat,
) -> Reading:
    """The scores of every token for every concept at every layer of `vectors`.

    Memory grows with n_tokens x n_layers x n_concepts, never with d_model x n_layers.

    Raises:
        UserError: the prompt is longer than the model's context, or the vectors do not fit it.
    """
    require_room(model, framed)
    require_fit(model, vectors)
    projections = project_tokens(model, vectors, framed.token_ids)
    return Scorer(vectors).reading(
        projections,
        tokens=visible_tokens(model.tokenizer, framed.token_ids),
        roles=[str(role) for role in framed.roles],
    )


def require_room(model: LoadedModel, framed: FramedChat) -> None:
    """UserError when the prompt is empty or does not fit the context window."""
    n_tokens = len(framed.token_ids)
    if n_tokens == 0:
        raise UserError("there is nothing to read", fix="type or paste a text")
    if model.context_length is not None and n_tokens > model.context_length:
        raise UserError(
            f"the prompt has {n_tokens} tokens, {model.name} takes {model.context_length}",
            fix=f"shorten it by {n_tokens - model.context_length} tokens",
        )


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


def require_fit(model: LoadedModel, vectors: ConceptVectors) -> None:
    """UserError when the vectors were made for a model of another width or depth."""
    d_model = vectors.directions.shape[-1]
    if d_model != model.d_model:
        raise UserError(
            f"the vectors have d_model {d_model}, {model.name} has {model.d_model}",
            fix="load the model they were trained on, or train again",
        )
    beyond = [layer for layer in vectors.layers if not 0 <= layer < model.n_layers]
    if beyond:
        raise UserError(
            f"the vectors have layer {beyond[-1]}, {model.name} has {model.n_layers} layers",
            fix="load the model they were trained on, or train again",
        )


def read_blocks(model: LoadedModel, vectors: ConceptVectors) -> BlockPaths:
    """The module that the vectors were read from, for every layer of the model."""
    return model.blocks(vectors.layer_type, dict(vectors.layer_config))


def project_tokens(
    model: LoadedModel, vectors: ConceptVectors, token_ids: Sequence[int]
) -> Projections:
    """Run the model once; each hook keeps (n_tokens, n_concepts) numbers and one length.

    Args:
        model: the model.
        vectors: directions and center, and where they were read.
        token_ids: the whole prompt.

    Raises:
        UserError: no memory for it even in small parts, or numbers that are not finite, or not
            one state for each token.
    """
    paths = read_blocks(model, vectors)

    def read(n_parts: int) -> Projections:
        projector = Projector(vectors)
        with inference(model.model), recording(model.model, paths, projector, vectors.layers):
            deque(_fed(model, bare_model(model.model), token_ids, n_parts), maxlen=0)
        return projector.projections()

    found = _in_parts(model, token_ids, read)
    if found.n_tokens != len(token_ids):
        raise UserError(
            f"the model makes {found.n_tokens} states of {len(token_ids)} tokens",
            where=model.name,
            fix="read shorter texts with it, or choose another model",
        )
    return found


SMALLEST_PART = 64
"""Tokens; below that the keys and values of the rest are what takes the memory."""


def _in_parts(
    model: LoadedModel, token_ids: Sequence[int], work: Callable[[int], Result]
) -> Result:
    """`work` on the prompt whole or, where memory runs out, in 2, 4, 8... parts."""
    most = _most_parts(model, len(token_ids))
    found = first = within_memory(partial(work, 1))
    for n_parts in (2**i for i in range(1, most.bit_length())):
        if isinstance(found, Shortage):
            found = within_memory(partial(work, n_parts))
    if isinstance(found, Shortage) and isinstance(first, Shortage):
        raise first.error(model.device, f"{len(token_ids)} tokens", model.name, "shorten the text")
    assert not isinstance(found, Shortage)
    return found


def _most_parts(model: LoadedModel, n_tokens: int) -> int:
    """1 where the model computes differently beyond some length: parts would give other numbers."""
    changes = min(lengths_that_change(model), default=n_tokens)
    return n_tokens // SMALLEST_PART if changes >= n_tokens else 1


def _fed(
    model: LoadedModel,
    module: nn.Module,
    token_ids: Sequence[int],
    n_parts: int,
    scored_from: int | None = None,
) -> Iterator[tuple[int, Any]]:
    """One past the last position, and the output, of every part of a prompt in turn.

    Args:
        model: the model.
        module: the whole of it, or its decoder alone.
        token_ids: the prompt.
        n_parts: how many forwards it takes.
        scored_from: first position whose logits are wanted; others are left out where they can be.
    """
    ids = torch.tensor([list(token_ids)], device=model.device)  # (1, n_tokens)
    few = scored_from is not None and "logits_to_keep" in signature(module.forward).parameters
    cache, stop = None, 0
    for part in ids.tensor_split(n_parts, dim=1):
        start, stop = stop, stop + part.shape[1]
        mask = torch.ones((1, stop), dtype=torch.long, device=model.device)
        more: dict[str, Any] = {} if cache is None else {cache_argument(module): cache}
        if few and scored_from is not None:
            more["logits_to_keep"] = max(1, stop - max(start, scored_from))
        output = module(input_ids=part, attention_mask=mask, use_cache=n_parts > 1, **more)
        if n_parts > 1 and not is_usual(cache := returned_cache(output)):
            raise MemoryError("another cache than the usual one may not go on rightly")
        yield stop, output


def perplexity(model: LoadedModel, token_ids: Sequence[int], start: int) -> float | None:
    """exp of the mean negative log likelihood of `token_ids[start:]`, each given all before it.

    A setup that steers the model steers this forward as well.

    Args:
        model: the model.
        token_ids: prompt and text.
        start: index of the text's first token; the very first token of all has no prediction.

    Returns:
        At least 1; infinite where a token got no probability at all; None without tokens.

    Raises:
        UserError: no memory for it even in small parts, or logits that are not finite.
    """
    start = max(start, 1)
    if start >= len(token_ids):
        return None

    def measure(n_parts: int) -> float:
        with inference(model.model):
            return _mean_loss(model, token_ids, start, n_parts)

    mean = _in_parts(model, token_ids, measure)
    if math.isnan(mean):
        raise not_finite(model.dtype, model.device)
    return math.exp(mean) if mean < 700 else math.inf


def next_tokens(
    model: LoadedModel, token_ids: Sequence[int], n: int = 10
) -> tuple[tuple[str, float], ...]:
    """The likeliest tokens after a prompt, as `visible_tokens` shows them, and their probabilities.

    Only the last position's logits are computed where the model can leave out the others.

    Raises:
        UserError: no memory for it even in small parts, or logits that are not finite.
    """

    def measure(n_parts: int) -> tuple[list[int], list[float]]:
        with inference(model.model):
            *_, (_, output) = _fed(model, model.model, token_ids, n_parts, len(token_ids) - 1)
            shares = output.logits[0, -1].float().softmax(-1)  # (n_vocabulary,)
            found = shares.topk(min(n, len(shares)))
        return found.indices.tolist(), found.values.tolist()

    ids, shares = _in_parts(model, token_ids, measure)
    if not all(map(math.isfinite, shares)):
        raise not_finite(model.dtype, model.device)
    return tuple(zip(visible_tokens(model.tokenizer, ids), shares, strict=True))


TOKENS_AT_ONCE = 256
"""Rows of logits that are turned into float32 at a time; a vocabulary has up to 260,000 columns."""


def _mean_loss(model: LoadedModel, token_ids: Sequence[int], start: int, n_parts: int) -> float:
    """Mean negative log likelihood of `token_ids[start:]`, in one wait for the device."""
    following = torch.tensor(token_ids[1:], device=model.device)  # of position i token i + 1
    losses: list[torch.Tensor] = []
    for stop, output in _fed(model, model.model, token_ids, n_parts, start - 1):
        before = stop - output.logits.shape[1]  # the position of the first logits
        first = max(before, start - 1)
        for low in range(first, min(stop, len(following)), TOKENS_AT_ONCE):
            targets = following[low : min(low + TOKENS_AT_ONCE, stop)]
            logits = output.logits[0, low - before :][: len(targets)].float()  # (n, n_vocabulary)
            loss = cross_entropy(logits, targets.to(logits.device), reduction="sum")
            losses.append(loss.to(model.device))
    return float(torch.stack(losses).sum()) / (len(token_ids) - start)
