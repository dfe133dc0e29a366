"""One forward over one prompt: its scores, projected inside the hooks, and its perplexity."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch.nn.functional import cross_entropy

from readout_ui.activations.hooks import inference, recording
from readout_ui.errors import UserError
from readout_ui.inference.projection import Projections, Projector, Scorer
from readout_ui.inference.reading import Reading
from readout_ui.models.blocks import bare_model
from readout_ui.models.chat_template import Turn
from readout_ui.models.tokens import visible_tokens

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
    """
    projector, paths = Projector(vectors, model.device), read_blocks(model, vectors)
    ids = torch.tensor([list(token_ids)], device=model.device)  # (1, n_tokens)
    with inference(model.model), recording(model.model, paths, projector):
        bare_model(model.model)(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False)
    return projector.projections()


TOKENS_AT_ONCE = 256
"""Rows of logits that are turned into float32 at a time; a vocabulary has up to 260,000 columns."""


def perplexity(model: LoadedModel, token_ids: Sequence[int], start: int) -> float | None:
    """exp of the mean negative log likelihood of `token_ids[start:]`, each given all before it.

    A setup that steers the model steers this forward as well.

    Args:
        model: the model.
        token_ids: prompt and text.
        start: index of the text's first token; the very first token of all has no prediction.

    Returns:
        At least 1; infinite where a token got no probability at all; None without tokens.
    """
    start = max(start, 1)
    if start >= len(token_ids):
        return None
    ids = torch.tensor([list(token_ids)], device=model.device)  # (1, n_tokens)
    with inference(model.model):
        logits = model.model(
            input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False
        ).logits[0, start - 1 : -1]  # (n_scored, n_vocabulary)
        targets = ids[0, start:].to(logits.device)
        total = 0.0
        for first in range(0, len(targets), TOKENS_AT_ONCE):
            rows = slice(first, first + TOKENS_AT_ONCE)
            loss = cross_entropy(logits[rows].float(), targets[rows], reduction="sum")
            total += float(loss)
    mean = total / len(targets)
    return math.exp(mean) if mean < 700 else math.inf
