"""Many texts through a model: longest first, and in smaller batches when memory runs out.

Here or on the workers of a cluster, which give the same numbers up to rounding: a row of a batch is
not summed in the same order among other rows, nor by another number of threads.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

import torch

from readout_ui.activations.batches import (
    ACCELERATOR_TOKEN_BUDGET,
    CPU_TOKEN_BUDGET,
    Batches,
    BatchLimits,
    Feed,
    default_token_budget,
    pad_batch,
    tokens_beside_a_text,
)
from readout_ui.activations.capture import PooledBatch, start_batch
from readout_ui.activations.pooling import TextActivations, rule_group, token_index
from readout_ui.activations.prefix import NO_PREFIX, SharedPrefix, find_prefix
from readout_ui.errors import UserError
from readout_ui.models.prompt import FRAMES
from readout_ui.models.workers import SpreadModel

if TYPE_CHECKING:
    from readout_ui.models.blocks import BlockPaths, LayerPath
    from readout_ui.models.loading import LoadedModel
    from readout_ui.models.prompt import FramedText

_END = object()
_Step = TypeVar("_Step")
_FRAMED = 4096
"""Texts whose tokens are held at once."""
_SHARD_BYTES = 2**28
"""Of activations that a worker gives back at once."""


@dataclass(frozen=True)
class CaptureSettings:
    """What is read of every text, and in which portions."""

    read: str = "content_mean"
    """Which token positions become one activation: one of `READ_RULES`, or "token:N"."""
    layer_type: str = "decoder_block"
    """Which module of every block is read."""
    layer_config: tuple[tuple[str, LayerPath], ...] = ()
    """(layer type, module path with {num} or function) pairs for models that need their own."""
    max_length: int = 256
    """Content tokens of a text that are read; the rest is cut off and reported."""
    token_budget: int | None = None
    """Bound on texts times longest text of a batch; None chooses by device."""
    batch_size: int | None = None
    """Bound on texts per batch."""
    frame: str = "chat"
    """What stands round a text: "chat" (the model's template) or "none"."""
    share_prefix: bool = True
    """Whether the start that all texts share may be computed once."""

    def __post_init__(self) -> None:
        rule_group(self.read)
        if self.frame not in FRAMES:
            raise UserError(f"unknown frame {self.frame!r}", options=FRAMES)
        for name in ("max_length", "token_budget", "batch_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UserError(f"{name} is {value}", fix="choose at least 1")


@dataclass(frozen=True)
class Wanted:
    """What is read of texts that are not known."""

    rules: tuple[str, ...]
    """Read rules that one pass pools."""
    settings: CaptureSettings
    keep: Mapping[str, int]
    """By text, how many of its single tokens are kept as well."""


@dataclass(frozen=True, eq=False)
class PassedBatch:
    """What one forward pass gave."""

    activations: dict[str, TextActivations]
    """By text."""
    note: str = ""
    """What did not go as planned before it, in a sentence."""


def compute(
    model: LoadedModel,
    texts: Sequence[str],
    wanted: Wanted,
    seconds: dict[str, float],
) -> Iterator[PassedBatch]:
    """Activations of texts that are not known, wherever the model is."""
    if isinstance(model, SpreadModel):
        yield from _by_workers(model, texts, wanted, seconds)
        return
    for some in [texts] if len(texts) <= _FRAMED else by_length(texts, math.inf, _FRAMED):
        if some:
            yield from _here(model, some, wanted, seconds)


def _here(
    model: LoadedModel,
    texts: Sequence[str],
    wanted: Wanted,
    seconds: dict[str, float],
) -> Iterator[PassedBatch]:
    settings = wanted.settings
    with timed(seconds, "frame"):
        found = frame_texts(model, texts, settings.max_length)
    framed = dict(zip(texts, found, strict=True))
    begun: dict[SharedPrefix, _Reading] = {}

    def begin(prefix: SharedPrefix) -> None:
        if model.device.type != "cuda":  # it would only have to wait
            return
        begun.clear()
        begun[prefix] = _Reading(model, framed, wanted, prefix)
        begun[prefix].batches.begin()

    with timed(seconds, "prefix"):
        prefix = NO_PREFIX
        if settings.share_prefix and token_index(settings.read) is None:
            prefix = find_prefix(model, read_paths(model, settings), found, begin)
    if prefix.note:
        yield PassedBatch({}, prefix.note)
    reading = begun.get(prefix) or _Reading(model, framed, wanted, prefix)
    begun.clear()  # of a prefix that did not hold, with all that it keeps on the device
    yield from _stepped(iter(reading), seconds)


class _Reading:
    """Texts on their way through the model, sorted by length, so that padding is small."""

    def __init__(
        self,
        model: LoadedModel,
        framed: Mapping[str, FramedText],
        wanted: Wanted,
        prefix: SharedPrefix,
    ) -> None:
        settings, rules, keep = wanted.settings, wanted.rules, wanted.keep
        feeds = [
            (text, Feed(one, prefix.n_tokens, rules, keep.get(text, 0)))
            for text, one in framed.items()
        ]
        self._feeds = dict(sorted(feeds, key=lambda one: one[1].n_tokens, reverse=True))
        self._model, self._prefix, self._paths = model, prefix, read_paths(model, settings)
        rows = len(rules) + max(feed.n_kept for _, feed in feeds)
        limits = BatchLimits(
            settings.token_budget or default_token_budget(model),
            settings.batch_size,
            tokens_beside_a_text(model, prefix.n_tokens, rows),
        )
        self.batches = Batches(model, [*self._feeds.values()], limits, self._start)

    def __iter__(self) -> Iterator[PassedBatch]:
        texts = iter(self._feeds)
        for found, note in self.batches:
            yield PassedBatch({next(texts): entry for entry in found}, note)

    def _start(self, feeds: Sequence[Feed]) -> Callable[[], Iterator[TextActivations]]:
        padded, prefix = pad_batch(feeds, self._model.device), self._prefix
        past = None if prefix.states is None else prefix.repeated(len(feeds), self._model.device)
        started = start_batch(self._model, self._paths, padded, past)
        return lambda: _per_text(started.finish(), feeds, padded.kept_counts)


def _per_text(
    captured: PooledBatch, feeds: Sequence[Feed], kept_counts: tuple[int, ...]
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


def _by_workers(
    model: SpreadModel,
    texts: Sequence[str],
    wanted: Wanted,
    seconds: dict[str, float],
) -> Iterator[PassedBatch]:
    """The same from workers; a batch is a shard of texts, or empty where none came for a while."""
    share = sum(map(len, texts)) / (2 * model.n_workers)
    budget = ACCELERATOR_TOKEN_BUDGET if model.on_gpus else 8 * CPU_TOKEN_BUDGET
    size = 4 * len(wanted.rules) * model.n_layers * model.d_model
    shards = (
        (some, replace(wanted, keep={t: wanted.keep[t] for t in some if t in wanted.keep}))
        for some in by_length(texts, min(share, 4 * budget), max(1, _SHARD_BYTES // size))
    )
    told: set[str] = set()
    for found in _stepped(model.spread(_read_shard, shards), seconds):
        if found is None:
            yield PassedBatch({})
            continue
        (some, *_), (entries, notes) = found
        fresh = [note for note in notes if note not in told]
        told.update(fresh)
        # torch.tensor copies, so that the cluster's memory is free again
        read = (
            TextActivations(torch.tensor(pooled), torch.tensor(kept), *more)
            for pooled, kept, *more in entries
        )
        yield PassedBatch(dict(zip(some, read, strict=True)), " ".join(fresh))


def _read_shard(
    model: LoadedModel,
    texts: Sequence[str],
    wanted: Wanted,
) -> tuple[list[tuple[Any, ...]], list[str]]:
    """On a worker: the parts of every text's activations, as NumPy arrays, and what to tell."""
    found: dict[str, TextActivations] = {}
    notes = []
    for batch in _here(model, texts, wanted, {}):
        found |= batch.activations
        notes += [batch.note] if batch.note else []
    entries = [found[text] for text in texts]
    parts = [(e.pooled.numpy(), e.tokens.numpy(), e.n_tokens, e.truncated) for e in entries]
    return parts, notes


def by_length(
    texts: Sequence[str], most_characters: float, most_texts: int
) -> Iterator[Sequence[str]]:
    """Texts of similar length together, the longest first, so that padding is small.

    Args:
        texts: all of them.
        most_characters: a shard ends with the text that reaches so many.
        most_texts: of a shard.
    """
    shard: list[str] = []
    n_characters = 0
    for text in sorted(texts, key=len, reverse=True):
        shard.append(text)
        n_characters += len(text)
        if n_characters >= most_characters or len(shard) == most_texts:
            yield shard
            shard, n_characters = [], 0
    if shard:
        yield shard


def _stepped(passes: Iterator[_Step], seconds: dict[str, float]) -> Iterator[_Step]:
    """The same, with the time that they take."""
    while True:
        with timed(seconds, "forward"):
            one: Any = next(passes, _END)
        if one is _END:
            return
        yield one


def frame_texts(model: LoadedModel, texts: Sequence[str], max_length: int) -> list[FramedText]:
    """Texts in the model's frame; UserError where one is more than the model reads."""
    found = model.frame.frame_all(texts, max_length)
    room = model.context_length
    for text, framed in zip(texts, found, strict=True):
        if room is not None and len(framed.token_ids) > room:
            raise UserError(
                f"a text takes {len(framed.token_ids)} tokens with its frame, "
                f"and the model reads at most {room}",
                where=repr(text[:40]),
                fix=f"shorten it, or choose a maximum length below {max_length}",
            )
    return found


def read_paths(model: LoadedModel, settings: CaptureSettings) -> BlockPaths:
    """The modules that the settings read."""
    return model.blocks(settings.layer_type, dict(settings.layer_config))


@contextmanager
def timed(seconds: dict[str, float], step: str) -> Iterator[None]:
    """Add the time of the block to a step's."""
    start = time.perf_counter()
    try:
        yield
    finally:
        seconds[step] = seconds.get(step, 0.0) + time.perf_counter() - start
