"""How surprised a model is by a text: perplexity of the tokens after a prompt."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch.nn.functional import cross_entropy

from readout_ui.activations.hooks import inference

if TYPE_CHECKING:
    from readout_ui.models.loading import LoadedModel

TOKENS_AT_ONCE = 256
"""Rows of logits that are turned into float32 at a time; a vocabulary has up to 260,000 columns."""


def perplexity(model: LoadedModel, token_ids: Sequence[int], start: int) -> float | None:
    """exp of the mean negative log likelihood of `token_ids[start:]`, each given all before it.

    Whatever steers the model at the moment steers this forward as well.

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
