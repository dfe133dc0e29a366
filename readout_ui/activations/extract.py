"""Activations of texts: each unique text through the model at most once, pooled by a read rule."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from readout_ui.activations.batches import Batches, BatchLimits, Feed, default_token_budget
from readout_ui.activations.cache import ActivationCache, cache_key
from readout_ui.activations.capture import Pooling, capture_by
from readout_ui.activations.passes import (
    CaptureSettings,
    Wanted,
    compute,
    frame_texts,
    read_paths,
    timed,
)
from readout_ui.activations.pooling import (
    Layered,
    Rows,
    TextActivations,
    in_memory,
    in_one,
    rule_group,
    text_block,
)
from readout_ui.errors import UserError
from readout_ui.files import cache_folder
from readout_ui.progress import Cancelled, Progress, Report, silent

if TYPE_CHECKING:
    from readout_ui.models.blocks import LayerConfig
    from readout_ui.models.loading import LoadedModel


STAGE = "Reading texts"
_LOOKED_UP = 64
"""Texts that are fetched from the cache at a time, for what comes from disk is copied once."""


@dataclass(frozen=True, eq=False)
class Activations:
    """One activation per text, in the order in which the texts were given."""

    texts: tuple[str, ...]
    """The texts, repeated ones included."""
    keys: tuple[str, ...]
    """Of each text, what is the same exactly where its numbers and kept tokens are."""
    read: str
    """The read rule."""
    rows: Layered
    """Activations of the texts, (n_texts, n_layers, d_model) float32 on the CPU."""
    tokens: Rows
    """Single content tokens of those asked for, text after text, each text once."""
    truncated: tuple[str, ...]
    """Texts whose end was cut off."""
    n_computed: int
    """Unique texts that went through the model."""
    n_cached: int
    """Unique texts that were known."""
    notes: tuple[str, ...]
    """What did not go as planned, in sentences."""
    seconds: dict[str, float]
    """Time per step: look_up, frame, prefix (while a GPU reads the first batch), forward, store."""

    @property
    def pooled(self) -> Tensor:
        """The texts' in one tensor."""
        return in_one(self.rows)

    @property
    def kept(self) -> Tensor:
        """The tokens' in one tensor, (n_kept_total, n_layers, d_model)."""
        return self.tokens.whole


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
    gathered = Gathered(texts)
    found = gathered.entries
    keys = partial(_keys, model, settings=settings, keep=keep)
    with timed(seconds, "look_up"):
        own = keys(unique, settings.read)
        for start in range(0, len(unique) if cache else 0, _LOOKED_UP):
            asked = unique[start : start + _LOOKED_UP]
            known = cache.get_many([own[text] for text in asked]) if cache else {}
            gathered.take({text: known[own[text]] for text in asked if own[text] in known})
    missing = [text for text in unique if text not in found]
    rules = _rules_to_pool(settings.read, missing, keys, cache)
    notes: list[str] = []
    n_done = 0
    if missing:
        known_note = _share_known(len(found), len(unique))
        report(Progress(STAGE, 0, len(missing), note=known_note))
    try:
        for batch in compute(model, missing, Wanted(rules, settings, keep), seconds):
            with timed(seconds, "store"):
                for rule, of_rule in _by_rule(batch.activations, rules).items():
                    if rule == settings.read:
                        gathered.take(of_rule)
                    if cache and of_rule:
                        named = keys(list(of_rule), rule)
                        entries = {named[text]: entry for text, entry in of_rule.items()}
                        cache.put_later(entries, model.name)
            notes += [batch.note] if batch.note else []
            n_done += len(batch.activations)
            report(Progress(STAGE, n_done, len(missing), note=batch.note))
    except (Cancelled, UserError, KeyboardInterrupt):
        if cache:  # whoever tries again finds what was computed
            cache.flush()
        raise
    notes += cache.take_notes() if cache else ()
    return Activations(
        texts=tuple(texts),
        keys=tuple(own[text] for text in texts),
        read=settings.read,
        rows=gathered.rows(),
        tokens=gathered.tokens(unique),
        truncated=tuple(text for text in unique if found[text].truncated),
        n_computed=len(missing),
        n_cached=len(unique) - len(missing),
        notes=tuple(notes),
        seconds=seconds,
    )


class Gathered:
    """Activations of texts as they come; where they are many, copied into one block at once."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._texts = texts
        self._places: dict[str, list[int]] = {}
        self._block: Tensor | None = None
        self.entries: dict[str, TextActivations] = {}

    def take(self, found: Mapping[str, TextActivations]) -> None:
        """Keep what was found; nothing of it is held where it was copied."""
        for text, entry in found.items():
            if not self.entries:
                self._begin(entry.pooled.shape[1:])
            self.entries[text] = entry if self._block is None else self._copied(text, entry)

    def rows(self) -> Layered:
        """All texts in their order."""
        if self._block is not None:
            return self._block
        parts = tuple(self.entries[text].pooled[0] for text in self._texts)
        return Rows(parts, *parts[0].shape)

    def tokens(self, unique: Sequence[str]) -> Rows:
        """The single tokens of each text once."""
        parts = tuple(t for text in unique for t in self.entries[text].tokens.unbind())
        return Rows(parts, *self.entries[unique[0]].pooled.shape[1:])

    def _begin(self, shape: torch.Size) -> None:
        if not in_memory(len(self._texts), *shape):
            self._block = text_block(len(self._texts), *shape)
            for row, text in enumerate(self._texts):
                self._places.setdefault(text, []).append(row)

    def _copied(self, text: str, entry: TextActivations) -> TextActivations:
        assert self._block is not None
        rows = self._places[text]
        self._block[rows] = entry.pooled[0]
        own = self._block[rows[0] : rows[0] + 1]
        return replace(entry, pooled=own, tokens=entry.tokens.clone())


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
    framed_model, paths = model.framed(settings.frame), read_paths(model, settings)
    framed = frame_texts(framed_model, texts, settings.max_length)
    feeds = [Feed(one, 0, ("content_mean",)) for one in framed]
    order = sorted(range(len(texts)), key=lambda row: -feeds[row].n_tokens)
    pooled = torch.empty(len(texts), len(paths.names), model.d_model)
    limits = BatchLimits(settings.token_budget or default_token_budget(model), settings.batch_size)
    work = partial(capture_by, model, paths, pooling=pooling)
    n_done = 0
    for found, _note in Batches(model, [feeds[row] for row in order], limits, work):
        pooled[order[n_done : n_done + len(found)]] = found
        n_done += len(found)
        report(Progress(STAGE, n_done, len(order)))
    return pooled


def _keys(
    model: LoadedModel,
    texts: Sequence[str],
    rule: str,
    settings: CaptureSettings,
    keep: Mapping[str, int],
) -> dict[str, str]:
    """The cache key of every text, read by a rule."""
    paths = read_paths(model, settings)
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
