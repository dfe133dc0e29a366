"""Max-activating snippets: the places of a large file at which every concept is strongest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from readout_ui.errors import UserError
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
from readout_ui.progress import Progress, Report
from readout_ui.texts.streams import BadLine, TextFile

if TYPE_CHECKING:
    from readout_ui.inference.reading import FloatArray
    from readout_ui.inference.readout import Readout
    from readout_ui.inference.search_passes import Window, WindowReader

BYTES_PER_TOKEN = 4
"""Rough, for spreading a sample over a file whose tokens nobody has counted."""
HELD_WINDOWS = 64
"""Windows that are held to be sorted into batches."""
SHOWN_BAD = 20


@dataclass(eq=False)
class Search:
    """A search while it runs; only the worker's thread changes it, anybody may look at counts."""

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
        from readout_ui.inference.model import require_fit
        from readout_ui.inference.search_passes import WindowReader

        model, report = readout.model, readout.report
        require_fit(model, readout.vectors)
        chosen = readout.vectors.select(layers=[self.settings.layer])
        reader = WindowReader(model, chosen, self.settings.kind)
        self.run_id = readout.run.id if readout.run else ""
        self._ranks = _Ranks(chosen.concepts, model.tokenizer, self.settings)
        held: list[Window] = []
        for window in self._windows(reader):
            held.append(window)
            self.n_held = max(self.n_held, len(held))
            if len(held) >= HELD_WINDOWS:
                self._read(reader, held, report)
                held = []
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

    def _windows(self, reader: WindowReader) -> Iterator[Window]:
        """Every window that is to be read; a sample takes every n-th."""
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

    def _read(self, reader: WindowReader, windows: Sequence[Window], report: Report) -> None:
        assert self._ranks is not None
        before, after, done = self.n_bytes, max((w.n_bytes for w in windows), default=0), 0
        for batch, scores in reader.scores(windows):
            for window, of_window in zip(batch, scores, strict=True):
                self._ranks.add(window, of_window)
                self.n_tokens += len(of_window) - window.counted
            done += len(batch)
            self.n_bytes = before + (after - before) * done // len(windows)
            report(self.progress())

    def progress(self) -> Progress:
        """How far the file has been gone through."""
        done, total = self.n_bytes >> 10, max(1, self.texts.n_bytes >> 10)
        return Progress("Reading the file", min(done, total), total, "kB")

    def _leave_out(self, line: BadLine) -> None:
        self.n_bad += 1
        if len(self.bad) < SHOWN_BAD:
            self.bad.append(line)


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
    from readout_ui.models.tokens import visible_tokens

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
        f"no line can be read: line {bad[0].line} {bad[0].reason}", where=name, fix="mend the file"
    )
