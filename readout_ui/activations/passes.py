"""Many texts through a model: longest first, and in smaller batches when memory runs out."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from readout_ui.activations.batches import Feed, batch_end, pad_batch
from readout_ui.activations.capture import PooledBatch, capture_batch
from readout_ui.activations.pooling import TextActivations
from readout_ui.activations.prefix import SharedPrefix
from readout_ui.errors import UserError
from readout_ui.models.devices import is_out_of_memory, release_memory, wanted_memory

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
        stop = batch_end(lengths, start, budget, limits.batch_size)
        batch = {text: feeds[text] for text in texts[start:stop]}
        passed, shortage = _try_batch(model, paths, batch, prefix)
        if passed is None:
            release_memory()
            if len(batch) == 1:
                raise _too_large(model, next(iter(batch.values())), shortage)
            budget = len(batch) * lengths[start] // 2
            note = f"Memory ran out: from here on at most {budget} tokens at once."
            continue
        yield PassedBatch(passed, note)
        start, note = stop, ""


def _try_batch(
    model: "LoadedModel", paths: "BlockPaths", batch: Mapping[str, Feed], prefix: SharedPrefix
) -> tuple[dict[str, TextActivations] | None, str]:
    """The batch's activations, or None and how much memory was wanted.

    The error itself stays in here: its traceback holds the very tensors that fill the memory.
    """
    feeds = list(batch.values())
    try:
        padded = pad_batch(feeds, model.device)
        past = None if prefix.states is None else prefix.repeated(len(feeds))
        captured = capture_batch(model, paths, padded, past)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        return None, wanted_memory(error)
    return dict(zip(batch, _per_text(captured, feeds, padded.kept_counts), strict=True)), ""


def _per_text(
    captured: PooledBatch, feeds: list[Feed], kept_counts: tuple[int, ...]
) -> Iterator[TextActivations]:
    kept = torch.split(captured.kept, list(kept_counts))
    for pooled, tokens, feed in zip(captured.pooled, kept, feeds, strict=True):
        framed = feed.framed
        yield TextActivations(
            pooled=pooled.clone(),  # (n_rules, n_layers, d_model), not a view of the whole batch
            tokens=tokens.clone(),  # (n_kept, n_layers, d_model)
            n_tokens=framed.content_stop - framed.content_start,
            truncated=framed.truncated,
        )


def _too_large(model: "LoadedModel", feed: Feed, shortage: str) -> UserError:
    wanted = f": {shortage} more was needed" if shortage else ""
    return UserError(
        f"{model.device} has no memory for one text of {feed.n_tokens} tokens{wanted}",
        where=model.name,
        fix="free memory, choose a smaller model or maximum length, or another device",
    )
