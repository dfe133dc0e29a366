"""Many texts through a model: longest first, and in smaller batches when memory runs out."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import torch

from readout_ui.activations.batches import Feed, batch_end, pad_batch
from readout_ui.activations.capture import PooledBatch, capture_batch
from readout_ui.activations.pooling import TextActivations
from readout_ui.activations.prefix import SharedPrefix
from readout_ui.models.devices import Shortage, within_memory

if TYPE_CHECKING:
    from readout_ui.models.blocks import BlockPaths
    from readout_ui.models.loading import LoadedModel


@dataclass(frozen=True)
class BatchLimits:
    """How much goes through the model at once."""

    token_budget: int
    """Bound on texts times longest text, padding included."""
    batch_size: int | None = None
    """Bound on the number of texts."""
    text_tokens: int = 0
    """What a text takes beside its tokens, counted in tokens."""


@dataclass(frozen=True, eq=False)
class PassedBatch:
    """What one forward pass gave."""

    activations: dict[str, TextActivations]
    """By text."""
    note: str = ""
    """What did not go as planned before it, in a sentence."""


def run_passes(
    model: "LoadedModel",
    paths: "BlockPaths",
    feeds: Mapping[str, Feed],
    prefix: SharedPrefix,
    limits: BatchLimits,
) -> Iterator[PassedBatch]:
    """Activations of all texts, a batch at a time; sorted by length, so that padding is small.

    The longest texts come first: if memory is too small, that shows at once.

    Args:
        model: the loaded model.
        paths: the modules that are read.
        feeds: by text, what of it is fed.
        prefix: the shared start that the feeds leave out.
        limits: how much at once.

    Raises:
        UserError: a single text does not fit into memory.
    """
    texts = sorted(feeds, key=lambda text: feeds[text].n_tokens, reverse=True)
    lengths = [feeds[text].n_tokens for text in texts]
    budget, start, note = limits.token_budget, 0, ""
    while start < len(texts):
        stop = batch_end(lengths, start, budget, limits.batch_size, limits.text_tokens)
        batch = {text: feeds[text] for text in texts[start:stop]}
        passed = within_memory(partial(_read_batch, model, paths, batch, prefix))
        if isinstance(passed, Shortage):
            if len(batch) == 1:
                n_tokens = next(iter(batch.values())).n_tokens
                what, lower = f"one text of {n_tokens} tokens", "choose a smaller maximum length"
                raise passed.error(model.device, what, model.name, lower)
            budget = len(batch) * (lengths[start] + limits.text_tokens) // 2
            note = f"Memory ran out: from here on at most {budget} tokens at once."
            continue
        yield PassedBatch(passed, note)
        start, note = stop, ""


def _read_batch(
    model: "LoadedModel", paths: "BlockPaths", batch: Mapping[str, Feed], prefix: SharedPrefix
) -> dict[str, TextActivations]:
    feeds = list(batch.values())
    padded = pad_batch(feeds, model.device)
    past = None if prefix.states is None else prefix.repeated(len(feeds), model.device)
    captured = capture_batch(model, paths, padded, past)
    return dict(zip(batch, _per_text(captured, feeds, padded.kept_counts), strict=True))


def _per_text(
    captured: PooledBatch, feeds: list[Feed], kept_counts: tuple[int, ...]
) -> Iterator[TextActivations]:
    kept = torch.split(captured.kept, list(kept_counts))
    for pooled, tokens, feed in zip(captured.pooled, kept, feeds, strict=True):
        framed = feed.framed
        yield TextActivations(
            pooled=pooled,  # (n_rules, n_layers, d_model), a part of the batch
            tokens=tokens,  # (n_kept, n_layers, d_model)
            n_tokens=framed.content_stop - framed.content_start,
            truncated=framed.truncated,
        )
