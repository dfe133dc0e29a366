"""Max-activating spans: the places of a large file at which every concept is strongest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

import torch

from readout_ui.activations.batches import (
    Feed,
    batch_end,
    default_token_budget,
    pad_batch,
    tokens_beside_a_text,
)
from readout_ui.activations.hooks import inference, recording
from readout_ui.activations.prefix import SharedPrefix, find_prefix
from readout_ui.errors import UserError
from readout_ui.inference.forward import read_blocks, require_fit
from readout_ui.inference.projection import FarEnough, Projector
from readout_ui.inference.reading import FloatArray, centred_cosines, z_scores
from readout_ui.inference.top_tokens import (
    REACH,
    Place,
    RunningQuantile,
    Snippet,
    Snippets,
    SnippetSettings,
    StrongestPlaces,
    average_over,
)
from readout_ui.models.blocks import bare_model
from readout_ui.models.calling import cache_argument
from readout_ui.models.devices import Shortage, within_memory
from readout_ui.models.tokens import visible_tokens
from readout_ui.models.workers import SpreadModel
from readout_ui.progress import Progress, Report
from readout_ui.texts.streams import BadLine, TextFile

if TYPE_CHECKING:
    from readout_ui.inference.readout import Readout
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
        self.model, self._vectors, self._kind = model, vectors, kind
        self._paths = read_blocks(model, vectors)
        self._budget: int | None = None
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
            framed = self.model.frame.frame(text, max_length=len(text.encode()) + 1)
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
        self._budget = self._budget or default_token_budget(self.model)
        if self._prefix is None or not self._prefix.fits([each.framed for each in windows]):
            self._prefix = find_prefix(self.model, self._paths, [each.framed for each in windows])
        order = sorted(windows, key=lambda each: -len(each.framed.token_ids))
        lengths = [len(each.framed.token_ids) - self._prefix.n_tokens for each in order]
        beside = tokens_beside_a_text(self.model, self._prefix.n_tokens, 0)
        start = 0
        while start < len(order):
            stop = batch_end(lengths, start, self._budget, text_tokens=beside)
            batch = order[start:stop]
            scores = within_memory(partial(self._score, batch))
            if isinstance(scores, Shortage):
                if len(batch) == 1:
                    tokens, model = f"{lengths[start]} tokens", self.model
                    raise scores.error(model.device, tokens, model.name, "split the longest texts")
                self._budget = len(batch) * (lengths[start] + beside) // 2
                continue
            yield batch, scores
            start = stop

    def _score(self, batch: Sequence[Window]) -> list[FloatArray]:
        assert self._prefix is not None
        model, prefix = self.model, self._prefix
        feeds = [Feed(each.framed, prefix.n_tokens, _RULES) for each in batch]
        padded = pad_batch(feeds, model.device)
        decoder = bare_model(model.model)
        before = {}
        if prefix.states is not None:
            before[cache_argument(decoder)] = prefix.repeated(len(feeds), model.device)
        projector = Projector(self._vectors, n_rows=len(feeds))
        (layer,) = self._vectors.layers

        def project(at: int, output: torch.Tensor) -> None:
            projector(at, output)
            raise FarEnough

        watched = recording(model.model, self._paths, project, [layer])
        with inference(model.model), suppress(FarEnough), watched:
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
        return scores

    def _window_size(self, n_before: int) -> int:
        room = self.model.context_length
        size = WINDOW if room is None else min(WINDOW, room - n_before)
        if size < _FEWEST:
            raise UserError(
                f"the frame has {n_before} tokens, {self.model.name} takes {room}",
                fix="load a model with a longer context",
            )
        return size


BYTES_PER_TOKEN = 4
"""Rough, for spreading a sample over a file whose tokens are not counted."""
HELD_WINDOWS = 64
"""Windows that are held to be sorted into batches."""
SHOWN_BAD = 20


@dataclass(eq=False)
class Search:
    """A search while it runs; one thread changes it, others may look at the counts."""

    texts: TextFile
    settings: SnippetSettings
    run_id: str = ""
    n_texts: int = 0
    n_tokens: int = 0
    n_bytes: int = 0
    n_bad: int = 0
    n_held: int = 0
    """Most windows that were held at once."""
    bad: list[BadLine] = field(default_factory=list)
    _ranks: _Ranks | None = None

    def run(self, readout: Readout) -> Snippets:
        """Send the file through the model.

        Every passage is framed as in training and read up to the chosen layer, in windows of
        WINDOW tokens with OVERLAP tokens of context before them. Memory holds one batch, a
        histogram and the strongest places per concept, whatever the size of the file.

        Raises:
            UserError: the vectors have no such layer, no text can be read, or scores overflow.
            Cancelled: asked to stop; `result` has what was found until then.
        """
        model, report = readout.model, readout.report
        require_fit(model, readout.vectors)
        chosen = readout.vectors.select(layers=[self.settings.layer])
        reader = WindowReader(model.framed(readout.settings.frame), chosen, self.settings.kind)
        self.run_id = readout.run.id
        self._ranks = _Ranks(chosen.concepts, model.tokenizer, self.settings)
        if isinstance(reader.model, SpreadModel):
            self._read_spread(reader.model, reader, chosen, report)
        else:
            for held in self._held(reader, report):
                self._read(reader, held, report)
        if self.n_tokens == 0:
            raise _nothing(self.texts.name, self.bad)
        self.n_bytes = self.texts.n_bytes
        return self.result()

    def result(self) -> Snippets:
        """What was found so far; not while it runs.

        Raises:
            UserError: no token has been read.
        """
        if self._ranks is None or self.n_tokens == 0:
            raise UserError("nothing was read before it stopped", fix="search again")
        thresholds = self._ranks.thresholds()
        return Snippets(
            file=self.texts.name,
            run_id=self.run_id,
            settings=self.settings,
            thresholds=thresholds,
            exactness=self._ranks.exactness,
            by_concept=self._ranks.snippets(thresholds),
            n_texts=self.n_texts,
            n_tokens=self.n_tokens,
            n_bad=self.n_bad,
            bad=tuple(self.bad),
            share=min(1.0, self.n_bytes / self.texts.n_bytes),
        )

    def _windows(self, reader: WindowReader, report: Report) -> Iterator[Window]:
        """Every window that is to be read; a sample takes every n-th and can be stopped between."""
        wanted, every, count = self.settings.max_tokens, 1, 0
        if wanted:
            every = max(1, round(self.texts.n_bytes / BYTES_PER_TOKEN / wanted))
        for passage in self.texts.passages(self._leave_out):
            taken = False
            for window in reader.windows(passage):
                count += 1
                if (count - 1) % every == 0:
                    taken = True
                    yield window
            self.n_texts += taken
            if not taken:
                report(self.progress())

    def _held(self, reader: WindowReader, report: Report) -> Iterator[list[Window]]:
        """Windows that are sorted into batches together."""
        windows = self._windows(reader, report)
        while held := list(islice(windows, HELD_WINDOWS)):
            self.n_held = max(self.n_held, len(held))
            yield held

    def _read(self, reader: WindowReader, windows: Sequence[Window], report: Report) -> None:
        before, after, done = self.n_bytes, max(w.n_bytes for w in windows), 0
        for batch, scores in reader.scores(windows):
            self._take(batch, scores)
            done += len(batch)
            self.n_bytes = before + (after - before) * done // len(windows)
            report(self.progress())

    def _read_spread(
        self, model: SpreadModel, reader: WindowReader, vectors: ConceptVectors, report: Report
    ) -> None:
        """The same on the workers of a cluster, in the order in which they are done."""
        shards = ((vectors, self.settings.kind, held) for held in self._held(reader, report))
        for found in model.spread(_score_windows, shards):
            if found is not None:
                (_, _, windows), scores = found
                self._take(windows, scores)
                self.n_bytes = max(self.n_bytes, *(window.n_bytes for window in windows))
            report(self.progress())

    def _take(self, windows: Sequence[Window], scores: Sequence[FloatArray]) -> None:
        assert self._ranks is not None
        for window, of_window in zip(windows, scores, strict=True):
            self._ranks.add(window, of_window)
            self.n_tokens += len(of_window) - window.counted

    def progress(self) -> Progress:
        """How far the file has been gone through."""
        done, total = self.n_bytes >> 10, max(1, self.texts.n_bytes >> 10)
        return Progress("Reading the file", min(done, total), total, "kB")

    def _leave_out(self, line: BadLine) -> None:
        self.n_bad += 1
        if len(self.bad) < SHOWN_BAD:
            self.bad.append(line)


def _score_windows(
    model: LoadedModel, vectors: ConceptVectors, kind: str, windows: Sequence[Window]
) -> list[FloatArray]:
    """On a worker: (n_tokens, n_concepts) of every window."""
    found: dict[int, FloatArray] = {}
    for batch, scores in WindowReader(model, vectors, kind).scores(windows):
        found |= {id(window): each for window, each in zip(batch, scores, strict=True)}
    return [found[id(window)] for window in windows]


class _Ranks:
    """Quantiles and strongest places of all concepts."""

    def __init__(self, concepts: Sequence[str], tokenizer: Any, settings: SnippetSettings) -> None:
        n = len(concepts)
        self._concepts, self._tokenizer, self._settings = tuple(concepts), tokenizer, settings
        self._quantile = RunningQuantile(n, REACH[settings.kind])
        self._places = StrongestPlaces(n, settings.n_kept, settings.n_context)

    @property
    def exactness(self) -> float:
        return self._quantile.width

    def add(self, window: Window, scores: FloatArray) -> None:
        framed = window.framed
        averaged = average_over(scores, self._settings.width)
        self._quantile.add(averaged[window.counted :])
        ids = framed.token_ids[framed.content_start : framed.content_stop]
        self._places.add(ids, scores, averaged, window.counted, window.line)

    def thresholds(self) -> dict[str, float]:
        found = self._quantile.at(self._settings.quantile)
        return dict(zip(self._concepts, found, strict=True))

    def snippets(self, thresholds: Mapping[str, float]) -> dict[str, tuple[Snippet, ...]]:
        return {
            concept: tuple(
                _snippet(concept, place, thresholds[concept], self._tokenizer)
                for place in self._places.of(index)
                if place.strength >= thresholds[concept]
            )
            for index, concept in enumerate(self._concepts)
        }


def _snippet(concept: str, place: Place, threshold: float, tokenizer: Any) -> Snippet:
    start, stop = place.span(threshold)
    groups = list(_whole_characters(tokenizer, place.token_ids))
    pieces = tuple(text for text, _, _ in groups)
    scores = tuple(float(place.scores[a:b].mean()) for _, a, b in groups)
    inside = [i for i, (_, a, b) in enumerate(groups) if a < stop and b > start]
    first, last = inside[0], inside[-1] + 1
    return Snippet(concept, place.strength, place.line, pieces, scores, first, last, place.cut)


def _whole_characters(tokenizer: Any, ids: Sequence[int]) -> Iterator[tuple[str, int, int]]:
    """Text and token range of every piece; tokens that share a character are one piece."""
    start, shown = 0, visible_tokens(tokenizer, ids)
    for index, token in enumerate(shown):
        loose = token.endswith(">") and "<0x" in token
        follows = index + 1 < len(shown) and shown[index + 1].startswith("<0x")
        if loose and follows:
            continue
        if index > start or loose:
            text = tokenizer.decode(list(ids[start : index + 1]), skip_special_tokens=False)
        else:
            text = token.replace("·", " ").replace("⏎", "\n").replace("⇥", "\t")
        yield text, start, index + 1
        start = index + 1


def _nothing(name: str, bad: Sequence[BadLine]) -> UserError:
    if not bad:
        return UserError("there is no text in it", where=name, fix="bring one with text")
    return UserError(
        f"no line can be read: line {bad[0].line} {bad[0].reason}",
        where=name,
        fix="correct the file",
    )
