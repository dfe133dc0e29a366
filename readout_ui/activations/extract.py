"""Activations of texts: each unique text through the model at most once, pooled by a read rule."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from readout_ui.activations.batches import (
    Feed,
    batch_end,
    default_token_budget,
    tokens_beside_a_text,
)
from readout_ui.activations.cache import ActivationCache, cache_key
from readout_ui.activations.capture import Pooling, capture_by
from readout_ui.activations.passes import BatchLimits, PassedBatch, run_passes
from readout_ui.activations.pooling import Rows, TextActivations, rule_group, token_index
from readout_ui.activations.prefix import NO_PREFIX, find_prefix
from readout_ui.errors import UserError
from readout_ui.files import cache_folder
from readout_ui.models.prompt import FRAMES
from readout_ui.progress import Cancelled, Progress, Report, silent

if TYPE_CHECKING:
    from readout_ui.models.blocks import BlockPaths, LayerConfig, LayerPath
    from readout_ui.models.loading import LoadedModel
    from readout_ui.models.prompt import FramedText


STAGE = "Reading texts"
_LOOKED_UP = 64
"""Texts that are fetched from the cache at a time, for what comes from disk is copied once."""


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


@dataclass(frozen=True, eq=False)
class Activations:
    """One activation per text, in the order in which the texts were given."""

    texts: tuple[str, ...]
    """The texts, repeated ones included."""
    read: str
    """The read rule."""
    rows: Rows
    """Activations of the texts, and single content tokens of those asked for."""
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

    @property
    def pooled(self) -> Tensor:
        """(n_texts, n_layers, d_model) float32 on the CPU."""
        return self.rows.pooled

    @property
    def kept(self) -> Tensor:
        """(n_kept_total, n_layers, d_model) float32: single tokens, text after text."""
        return self.rows.kept


def read_activations(
    model: LoadedModel,
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
    model = model.framed(settings.frame)
    keep = dict(keep_tokens or {})
    seconds: dict[str, float] = {}
    unique = list(dict.fromkeys(texts))
    found: dict[str, TextActivations] = {}
    keys = partial(_keys, model, settings=settings, keep=keep)
    with _timed(seconds, "look_up"):
        own = keys(unique, settings.read)
        for start in range(0, len(unique) if cache else 0, _LOOKED_UP):
            asked = unique[start : start + _LOOKED_UP]
            known = cache.get_many([own[text] for text in asked]) if cache else {}
            found |= {text: known[own[text]] for text in asked if own[text] in known}
    missing = [text for text in unique if text not in found]
    rules = _rules_to_pool(settings.read, missing, keys, cache)
    notes: list[str] = []
    if missing:
        known_note = _share_known(len(found), len(unique))
        report(Progress(STAGE, 0, len(missing), note=known_note))
    try:
        for batch in _compute(model, missing, rules, settings, keep, seconds):
            with _timed(seconds, "store"):
                for rule, of_rule in _by_rule(batch.activations, rules).items():
                    if rule == settings.read:
                        found |= of_rule
                    if cache:
                        named = keys(list(of_rule), rule)
                        entries = {named[text]: entry for text, entry in of_rule.items()}
                        cache.put_later(entries, model.name)
            notes += [batch.note] if batch.note else []
            done = len(missing) - sum(text not in found for text in missing)
            report(Progress(STAGE, done, len(missing), note=batch.note))
    except (Cancelled, UserError):
        if cache:  # whoever tries again finds what was computed
            cache.flush()
        raise
    notes += cache.take_notes() if cache else ()
    return Activations(
        texts=tuple(texts),
        read=settings.read,
        rows=Rows(
            tuple(found[text].pooled[0] for text in texts),
            tuple(token for text in unique for token in found[text].tokens.unbind()),
        ),
        truncated=tuple(text for text in unique if found[text].truncated),
        n_computed=len(missing),
        n_cached=len(unique) - len(missing),
        notes=tuple(notes),
        seconds=seconds,
    )


def _rules_to_pool(
    read: str,
    missing: Sequence[str],
    keys: Callable[[Sequence[str], str], Mapping[str, str]],
    cache: ActivationCache | None,
) -> tuple[str, ...]:
    """The read rule alone; its whole group where a text is known by another rule of it.

    Who reads known texts by another rule compares rules, and will ask for the rest.
    """
    others = [rule for rule in rule_group(read) if rule != read]
    if cache is None or not missing or not others:
        return (read,)
    own = {rule: keys(missing[:1], rule)[missing[0]] for rule in others}
    known = cache.get_many(own.values())
    return (read, *(rule for rule in others if own[rule] not in known)) if known else (read,)


def _by_rule(
    found: Mapping[str, TextActivations], rules: Sequence[str]
) -> dict[str, dict[str, TextActivations]]:
    """What one pass gave, as an entry of the cache for each rule and text."""
    return {
        rule: {
            text: replace(entry, pooled=entry.pooled[row : row + 1])
            for text, entry in found.items()
        }
        for row, rule in enumerate(rules)
    }


def extract_activations(
    texts: Sequence[str],
    model: LoadedModel,
    *,
    read: str = "content_mean",
    pooling: Pooling | None = None,
    layer_type: str = "decoder_block",
    layer_config: LayerConfig | None = None,
    frame: str = "chat",
    max_length: int = 256,
    batch_size: int | None = None,
    cache: ActivationCache | None = None,
    report: Report = silent,
) -> Tensor:
    """The pooled activation of every text at every layer.

    Example:
        >>> activations = extract_activations(["I am calm.", "I am afraid."], model)
        >>> activations.shape == (2, model.n_layers, model.d_model)
        True
        >>> def strongest(hidden, mask):  # the largest value of each dimension over a text
        ...     return hidden.masked_fill(~mask[..., None], -1e9).amax(dim=1)
        >>> extract_activations(["I am calm."], model, pooling=strongest).shape[0]
        1

    Args:
        texts: at least one; each goes through the model once, and not at all if it is cached.
        model: from `load_model`.
        read: which token positions are averaged: "content_mean", "content_last", "content_tail",
            "template_last", or "token:N" for one position of the framed text.
        pooling: instead of `read`, a function (see `Pooling`); what it returns is not cached.
        layer_type: which module of every block is read.
        layer_config: own module paths by layer type: "model.layers.{num}.mlp", or a function of
            layer number and model.
        frame: what stands round a text: "chat" (the model's chat template) or "none".
        max_length: a text's own tokens that are read; the rest is cut off.
        batch_size: most texts in one batch; by default as memory allows.
        cache: where known activations are found and new ones kept; by default the user's own.
        report: told after every batch.

    Returns:
        (n_texts, n_layers, d_model), float32 on the CPU, in the order of `texts`.

    Raises:
        UserError: no texts, an empty one, one too long for the model or for memory, an unknown
            read rule, layer type or frame, or a pooling that returns another shape.
        Cancelled: `report` raised it.
    """
    settings = CaptureSettings(
        read=read,
        layer_type=layer_type,
        layer_config=tuple((layer_config or {}).items()),
        max_length=max_length,
        batch_size=batch_size,
        frame=frame,
    )
    if pooling is not None:
        return _pool_by(pooling, texts, model, settings, report)
    own = ActivationCache(cache_folder() / "activations") if cache is None else cache
    try:
        return read_activations(model, texts, settings, own, report=report).pooled
    finally:
        if cache is None:
            own.close()


def _pool_by(
    pooling: Pooling,
    texts: Sequence[str],
    model: LoadedModel,
    settings: CaptureSettings,
    report: Report,
) -> Tensor:
    """(n_texts, n_layers, d_model): every text read whole, pooled by the caller's function."""
    if not texts:
        raise UserError("there are no texts to read", fix="give at least one")
    framed_model, paths = model.framed(settings.frame), _paths(model, settings)
    feeds = [
        Feed(_frame(framed_model, t, settings.max_length), 0, ("content_mean",)) for t in texts
    ]
    order = sorted(range(len(texts)), key=lambda row: -feeds[row].n_tokens)
    lengths = [feeds[row].n_tokens for row in order]
    budget = settings.token_budget or default_token_budget(model)
    pooled = torch.empty(len(texts), len(paths.names), model.d_model)
    start = 0
    while start < len(order):
        stop = batch_end(lengths, start, budget, settings.batch_size)
        rows = order[start:stop]
        pooled[rows] = capture_by(model, paths, [feeds[row] for row in rows], pooling)
        report(Progress(STAGE, stop, len(order)))
        start = stop
    return pooled


def _compute(
    model: LoadedModel,
    texts: Sequence[str],
    rules: tuple[str, ...],
    settings: CaptureSettings,
    keep: Mapping[str, int],
    seconds: dict[str, float],
) -> Iterator[PassedBatch]:
    if not texts:
        return
    paths = _paths(model, settings)
    with _timed(seconds, "frame"):
        framed = {text: _frame(model, text, settings.max_length) for text in texts}
    with _timed(seconds, "prefix"):
        prefix = NO_PREFIX
        if settings.share_prefix and token_index(settings.read) is None:
            prefix = find_prefix(model, paths, list(framed.values()))
    feeds = {text: Feed(framed[text], prefix.n_tokens, rules, keep.get(text, 0)) for text in texts}
    budget = settings.token_budget or default_token_budget(model)
    if prefix.note:
        yield PassedBatch({}, prefix.note)
    rows = len(rules) + max(feeds[text].n_kept for text in texts)
    beside = tokens_beside_a_text(model, prefix.n_tokens, rows)
    limits = BatchLimits(budget, settings.batch_size, beside)
    passes = run_passes(model, paths, feeds, prefix, limits)
    while True:
        with _timed(seconds, "forward"):
            batch = next(passes, None)
        if batch is None:
            return
        yield batch


def _frame(model: LoadedModel, text: str, max_length: int) -> FramedText:
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


def _paths(model: LoadedModel, settings: CaptureSettings) -> BlockPaths:
    return model.blocks(settings.layer_type, dict(settings.layer_config))


def _keys(
    model: LoadedModel,
    texts: Sequence[str],
    rule: str,
    settings: CaptureSettings,
    keep: Mapping[str, int],
) -> dict[str, str]:
    """The cache key of every text, read by a rule."""
    paths = _paths(model, settings)
    return {
        text: cache_key(
            model_fingerprint=model.identity,
            frame_fingerprint=model.frame.fingerprint,
            read=rule,
            layer_type=paths.layer_type,
            paths=paths.names,
            dtype=str(model.dtype),
            max_length=settings.max_length,
            kept_tokens=keep.get(text, 0),
            text=text,
        )
        for text in texts
    }


def _share_known(n_known: int, n_texts: int) -> str:
    return f"{n_known} of {n_texts} texts were read before." if n_known else ""


@contextmanager
def _timed(seconds: dict[str, float], step: str) -> Iterator[None]:
    start = time.perf_counter()
    try:
        yield
    finally:
        seconds[step] = seconds.get(step, 0.0) + time.perf_counter() - start
