"""Activations of texts: each unique text through the model at most once, pooled by a read rule.

Activations of many texts as they come in: one row each of one tensor, and nothing besides.

Many texts through a model: longest first, and in smaller batches when memory runs out.
"""

import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from readout_ui.activations.batches import Feed, batch_end, default_token_budget, pad_batch
from readout_ui.activations.cache import ActivationCache, cache_key
from readout_ui.activations.capture import PooledBatch, capture_batch
from readout_ui.activations.pooling import READ_RULES, TextActivations, rule_group
from readout_ui.activations.prefix import NO_PREFIX, SharedPrefix, find_prefix
from readout_ui.errors import UserError
from readout_ui.models.devices import is_out_of_memory, release_memory, wanted_memory
from readout_ui.progress import Progress, Report, silent

if TYPE_CHECKING:
    from readout_ui.models.blocks import BlockPaths
    from readout_ui.models.loading import LoadedModel
    from readout_ui.models.prompt import FramedText


class Gathered:
    """What one read rule needs of every text, so that nothing else stays in memory."""

    def __init__(self, texts: Sequence[str], rule: int) -> None:
        self._rows: dict[str, list[int]] = {}
        for row, text in enumerate(texts):
            self._rows.setdefault(text, []).append(row)
        self._n_texts, self._rule = len(texts), rule
        self.pooled = torch.empty(0)
        self.tokens: dict[str, Tensor] = {}
        self.truncated: set[str] = set()

    def take(self, found: Mapping[str, TextActivations]) -> None:
        """Copy what is needed of these texts."""
        for text, entry in found.items():
            pooled = entry.pooled[self._rule]  # (n_layers, d_model)
            if not self.tokens:
                self.pooled = torch.empty(self._n_texts, *pooled.shape)
            self.pooled[self._rows[text]] = pooled
            self.tokens[text] = entry.tokens.clone()  # not a view of what the cache read
            if entry.truncated:
                self.truncated.add(text)


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


STAGE = "Reading texts"
_LOOKED_UP = 64
"""Texts that are fetched from the cache at a time: at 64 layers of 5120 each takes 4 MB there."""


@dataclass(frozen=True)
class CaptureSettings:
    """What is read of every text, and in which portions."""

    read: str = "content_mean"
    """One of `READ_RULES`: which token positions become one activation."""
    layer_type: str = "decoder_block"
    """Which module of every block is read."""
    layer_config: tuple[tuple[str, str], ...] = ()
    """(layer type, module path with {num}) pairs for models that need their own."""
    max_length: int = 256
    """Content tokens of a text that are read; the rest is cut off and reported."""
    token_budget: int | None = None
    """Bound on texts times longest text of a batch; None chooses by device."""
    batch_size: int | None = None
    """Bound on texts per batch."""
    share_prefix: bool = True
    """Whether the start that all texts share may be computed once."""

    def __post_init__(self) -> None:
        if self.read not in READ_RULES:
            raise UserError(f"unknown read rule {self.read!r}", options=READ_RULES)
        for name in ("max_length", "token_budget", "batch_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UserError(f"{name} is {value}", fix="choose at least 1")


@dataclass(frozen=True, eq=False)
class Activations:
    """One activation per text, in the order in which the texts were given."""

    texts: tuple[str, ...]
    """The texts, repeated ones included."""
    read: str
    """The read rule."""
    pooled: Tensor
    """(n_texts, n_layers, d_model) float32 on the CPU."""
    kept: Tensor
    """(n_kept_total, n_layers, d_model) float32: single content tokens of the texts asked for."""
    truncated: tuple[str, ...]
    """Texts whose end was cut off."""
    n_computed: int
    """Unique texts that went through the model."""
    n_cached: int
    """Unique texts that were known."""
    notes: tuple[str, ...]
    """What did not go as planned, in sentences."""
    seconds: dict[str, float]
    """Time per step: look_up, frame, prefix, forward, store."""

    def __post_init__(self) -> None:
        if self.pooled.ndim != 3 or len(self.pooled) != len(self.texts):
            raise ValueError(f"{len(self.texts)} texts but pooled is {tuple(self.pooled.shape)}")
        if self.kept.shape[1:] != self.pooled.shape[1:]:
            raise ValueError(f"kept {tuple(self.kept.shape)}, pooled {tuple(self.pooled.shape)}")


def read_activations(
    model: "LoadedModel",
    texts: Sequence[str],
    settings: CaptureSettings,
    cache: ActivationCache | None = None,
    keep_tokens: Mapping[str, int] | None = None,
    report: Report = silent,
) -> Activations:
    """Every layer's activation of every text.

    Unique texts go through the model once and known ones not at all. Batches are sorted by length
    and bounded by a token budget, which is halved when memory runs out. What was computed is in
    the cache after every batch, also when `report` raises `Cancelled`.

    Args:
        model: the loaded model.
        texts: at least one text; repeated ones are allowed.
        settings: read rule, layer type and batching.
        cache: where known activations are found and new ones kept.
        keep_tokens: for some of the texts, how many single content tokens to keep as well.
        report: told after every batch how many of the unknown texts are done.

    Raises:
        UserError: a text cannot be framed, is too long for the model or for memory, or the layer
            type is not there.
        Cancelled: `report` raised it.
    """
    if not texts:
        raise UserError("there are no texts to read", fix="write at least one description")
    keep = dict(keep_tokens or {})
    seconds: dict[str, float] = {}
    unique = list(dict.fromkeys(texts))
    gathered = Gathered(texts, rule_group(settings.read).index(settings.read))
    with _timed(seconds, "look_up"):
        keys = _keys(model, unique, settings, keep)
        for start in range(0, len(unique) if cache else 0, _LOOKED_UP):
            asked = unique[start : start + _LOOKED_UP]
            known = cache.get_many([keys[text] for text in asked]) if cache else {}
            gathered.take({text: known[keys[text]] for text in asked if keys[text] in known})
    missing = [text for text in unique if text not in gathered.tokens]
    notes: list[str] = []
    if missing:
        known_note = _share_known(len(unique) - len(missing), len(unique))
        report(Progress(STAGE, 0, len(missing), note=known_note))
    for batch in _compute(model, missing, settings, keep, seconds):
        gathered.take(batch.activations)
        with _timed(seconds, "store"):
            if cache:
                entries = {keys[text]: entry for text, entry in batch.activations.items()}
                cache.put_many(entries, model.name)
        notes += [batch.note] if batch.note else []
        done = len(missing) - sum(text not in gathered.tokens for text in missing)
        report(Progress(STAGE, done, len(missing), note=batch.note))
    notes += cache.take_notes() if cache else ()
    return Activations(
        texts=tuple(texts),
        read=settings.read,
        pooled=gathered.pooled,
        kept=torch.cat([gathered.tokens[text] for text in unique]),
        truncated=tuple(text for text in unique if text in gathered.truncated),
        n_computed=len(missing),
        n_cached=len(unique) - len(missing),
        notes=tuple(notes),
        seconds=seconds,
    )


def _compute(
    model: "LoadedModel",
    texts: Sequence[str],
    settings: CaptureSettings,
    keep: Mapping[str, int],
    seconds: dict[str, float],
) -> Iterator[PassedBatch]:
    if not texts:
        return
    rules = rule_group(settings.read)
    paths = _paths(model, settings)
    with _timed(seconds, "frame"):
        framed = {text: _frame(model, text, settings.max_length) for text in texts}
    with _timed(seconds, "prefix"):
        prefix = NO_PREFIX
        if settings.share_prefix:
            prefix = find_prefix(model, paths, list(framed.values()))
    feeds = {text: Feed(framed[text], prefix.n_tokens, rules, keep.get(text, 0)) for text in texts}
    budget = settings.token_budget or default_token_budget(model)
    if prefix.note:
        yield PassedBatch({}, prefix.note)
    passes = run_passes(model, paths, feeds, prefix, BatchLimits(budget, settings.batch_size))
    while True:
        with _timed(seconds, "forward"):
            batch = next(passes, None)
        if batch is None:
            return
        yield batch


def _frame(model: "LoadedModel", text: str, max_length: int) -> "FramedText":
    framed = model.frame.frame(text, max_length)
    room = model.context_length
    if room is not None and len(framed.token_ids) > room:
        raise UserError(
            f"a text takes {len(framed.token_ids)} tokens with its frame, "
            f"and the model reads at most {room}",
            where=repr(text[:40]),
            fix=f"shorten it, or choose a maximum length below {max_length}",
        )
    return framed


def _paths(model: "LoadedModel", settings: CaptureSettings) -> "BlockPaths":
    return model.blocks(settings.layer_type, dict(settings.layer_config))


def _keys(
    model: "LoadedModel",
    texts: Sequence[str],
    settings: CaptureSettings,
    keep: Mapping[str, int],
) -> dict[str, str]:
    """The cache key of every text."""
    paths = _paths(model, settings)
    fingerprint = f"{model.fingerprint} {_config_digest(model)}"
    return {
        text: cache_key(
            model_fingerprint=fingerprint,
            frame_fingerprint=model.frame.fingerprint,
            read_group=rule_group(settings.read),
            layer_type=paths.layer_type,
            paths=paths.names,
            dtype=str(model.dtype),
            max_length=settings.max_length,
            kept_tokens=keep.get(text, 0),
            text=text,
        )
        for text in texts
    }


def _config_digest(model: "LoadedModel") -> str:
    """What else decides the activations: equal weights may be run with another rotary base."""
    config = model.model.config.to_dict()
    for name in ("_name_or_path", "transformers_version"):
        config.pop(name, None)
    rendered = json.dumps(config, sort_keys=True, default=str)
    return hashlib.sha256(rendered.encode()).hexdigest()


def _share_known(n_known: int, n_texts: int) -> str:
    return f"{n_known} of {n_texts} texts were read before." if n_known else ""


@contextmanager
def _timed(seconds: dict[str, float], step: str) -> Iterator[None]:
    start = time.perf_counter()
    try:
        yield
    finally:
        seconds[step] = seconds.get(step, 0.0) + time.perf_counter() - start
