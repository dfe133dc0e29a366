"""Passages cut into windows and read up to one layer, many windows at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from readout_ui.activations.batches import Feed, batch_end, default_token_budget, pad_batch
from readout_ui.activations.hooks import inference, recording
from readout_ui.activations.prefix import SharedPrefix, find_prefix
from readout_ui.errors import UserError
from readout_ui.inference.model import read_blocks
from readout_ui.inference.projection import Projector
from readout_ui.inference.reading import FloatArray, centred_cosines, z_scores
from readout_ui.models.blocks import bare_model
from readout_ui.models.devices import is_out_of_memory, release_memory
from readout_ui.models.kv_cache import cache_argument

if TYPE_CHECKING:
    from readout_ui.models.loading import LoadedModel
    from readout_ui.models.prompt import FramedText
    from readout_ui.texts.streams import Passage
    from readout_ui.vectors.vectors import ConceptVectors

WINDOW = 192
"""Content tokens of one window."""
OVERLAP = 32
"""Tokens of the window before that are fed again as context; each token is counted once."""
_RULES = ("content_mean",)
"""Feeds everything up to the last content token; nothing is pooled here."""
_FEWEST = 8
"""Content tokens that have to fit behind the frame."""


class _FarEnough(Exception):
    """The last layer that is needed has been read."""


@dataclass(frozen=True)
class Window:
    """Some tokens of a passage that go through the model together."""

    framed: FramedText
    """The tokens in the frame."""
    counted: int
    """The first content token that was in no window before."""
    line: int
    n_bytes: int


class WindowReader:
    """Scores windows with one layer's vectors."""

    def __init__(self, model: LoadedModel, vectors: ConceptVectors, kind: str) -> None:
        self._model, self._vectors, self._kind = model, vectors, kind
        self._paths = read_blocks(model, vectors)
        self._budget = default_token_budget(model)
        self._prefix: SharedPrefix | None = None
        directions = vectors.directions[:, 0].float()  # (n_concepts, d_model)
        self._center_raw = (vectors.center.float() @ directions.T).cpu().numpy()
        self._neutral = [
            each.float().cpu().numpy() for each in (vectors.neutral_mean, vectors.neutral_std)
        ]

    def windows(self, passage: Passage) -> Iterator[Window]:
        """The passage in its frame, in one or several windows; none where it has no tokens."""
        text = passage.text.strip()
        try:
            framed = self._model.frame.frame(text, max_length=len(text.encode()) + 1)
        except UserError:
            return
        start, stop = framed.content_start, framed.content_stop
        size = self._window_size(start)
        first = start
        while first < stop:
            fed = max(start, first - min(OVERLAP, size // 4))
            last = min(stop, fed + size)
            ids = framed.token_ids[:start] + framed.token_ids[fed:last]
            window = replace(framed, text="", token_ids=ids, content_stop=start + last - fed)
            yield Window(window, first - fed, passage.line, passage.n_bytes)
            first = last

    def scores(
        self, windows: Sequence[Window]
    ) -> Iterator[tuple[Sequence[Window], list[FloatArray]]]:
        """Batches of these windows, each with (n_tokens, n_concepts) of every window.

        Raises:
            UserError: no memory for a single window, or scores that are not finite.
        """
        if not windows:
            return
        if self._prefix is None or not self._prefix.fits([each.framed for each in windows]):
            self._prefix = find_prefix(self._model, self._paths, [each.framed for each in windows])
        order = sorted(windows, key=lambda each: -len(each.framed.token_ids))
        lengths = [len(each.framed.token_ids) - self._prefix.n_tokens for each in order]
        start = 0
        while start < len(order):
            stop = batch_end(lengths, start, self._budget)
            batch = order[start:stop]
            scores = self._try(batch)
            if scores is None:
                release_memory()
                if len(batch) == 1:
                    raise UserError(
                        f"{self._model.device} has no memory for {lengths[start]} tokens",
                        fix="free memory or choose another device",
                    )
                self._budget = len(batch) * lengths[start] // 2
                continue
            yield batch, scores
            start = stop

    def _try(self, batch: Sequence[Window]) -> list[FloatArray] | None:
        """Scores of a batch; None when memory runs out, so that the traceback frees its tensors."""
        try:
            return self._score(batch)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            return None

    def _score(self, batch: Sequence[Window]) -> list[FloatArray]:
        assert self._prefix is not None
        model, prefix = self._model, self._prefix
        feeds = [Feed(each.framed, prefix.n_tokens, _RULES) for each in batch]
        padded = pad_batch(feeds, model.device)
        decoder = bare_model(model.model)
        before = {}
        if prefix.states is not None:
            before[cache_argument(decoder)] = prefix.repeated(len(feeds))
        projector = Projector(self._vectors, model.device, n_rows=len(feeds))
        (layer,) = self._vectors.layers

        def project(at: int, output: torch.Tensor) -> None:
            projector(at, output)
            if at == layer:
                raise _FarEnough

        watched = recording(model.model, self._paths, project)
        with inference(model.model), suppress(_FarEnough), watched:
            decoder(
                input_ids=padded.input_ids,
                attention_mask=padded.attention_mask,
                use_cache=bool(before),
                **before,
            )
        found = []
        for row, feed in enumerate(feeds):
            begin = feed.framed.content_start - feed.start
            projections = projector.projections(row, begin, feed.n_tokens)
            found.append(self._unit(projections.raw, projections.norms))
        return found

    def _unit(self, raw: FloatArray, norms: FloatArray) -> FloatArray:
        """Scores of one window in the chosen unit, (n_tokens, n_concepts)."""
        if self._kind == "cosine":
            scores = centred_cosines(raw, norms, self._center_raw)[:, 0]
        else:
            scores = z_scores(raw, *self._neutral)[:, 0]
        if not np.isfinite(scores).all():
            raise UserError(
                f"the model's activations overflow in {self._model.dtype}".replace("torch.", ""),
                where=self._model.name,
                fix="load it as bf16 or fp32",
            )
        return scores

    def _window_size(self, n_before: int) -> int:
        room = self._model.context_length
        size = WINDOW if room is None else min(WINDOW, room - n_before)
        if size < _FEWEST:
            raise UserError(
                f"the frame has {n_before} tokens, {self._model.name} takes {room}",
                fix="load a model with a longer context",
            )
        return size
