"""Running statistics of token scores: a quantile and the strongest places of every concept.

What is looked for in a large file and what was found, also as lines for other programs.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from readout_ui.errors import UserError
from readout_ui.inference.reading import FloatArray
from readout_ui.texts.streams import BadLine

N_BINS = 4_000
"""Bins of a histogram; the quantile is exact to the width of one."""
REACH = {"z": 40.0, "cosine": 1.0}
"""Largest score that the histogram tells apart, by kind; what lies beyond counts as that."""
_KEY_REACH = 4
"""Tokens on either side of a peak that make two places the same, such as a repeated sentence."""


class RunningQuantile:
    """A quantile per concept over any number of tokens, from one histogram each.

    Every token counts, nothing is sampled; the answer is the lower edge of the bin that holds the
    quantile, so it is too low by at most the width of a bin.
    """

    def __init__(self, n_concepts: int, reach: float) -> None:
        self._counts = np.zeros((n_concepts, N_BINS), np.int64)
        self._reach = reach

    @property
    def width(self) -> float:
        """How exact the quantile is, in the unit of the scores."""
        return 2 * self._reach / N_BINS

    def add(self, scores: FloatArray) -> None:
        """Count the scores of some tokens, (n_tokens, n_concepts)."""
        shifted = scores.astype(np.float64) + self._reach
        bins = np.clip(shifted / self.width, 0, N_BINS - 1).astype(np.intp)
        np.add.at(self._counts, (np.arange(scores.shape[1]), bins), 1)

    def at(self, quantile: float) -> list[float]:
        """The quantile of every concept, (n_concepts,); minus the reach before the first token."""
        totals = self._counts.sum(axis=1, keepdims=True)  # (n_concepts, 1)
        reached = self._counts.cumsum(axis=1) >= quantile * totals
        edges: list[float] = (reached.argmax(axis=1) * self.width - self._reach).tolist()
        return edges


@dataclass(frozen=True, eq=False)
class Place:
    """A token at which a concept is strong, and what stands around it."""

    strength: float
    """The averaged score at the peak."""
    peak: int
    """Its index in what follows."""
    token_ids: tuple[int, ...]
    """The peak's surroundings, (n_context,)."""
    scores: FloatArray
    """The concept's score of each of these tokens."""
    averaged: FloatArray
    """The same, averaged over neighbouring tokens."""
    line: int
    """Where in the file its passage begins."""
    cut: tuple[bool, bool]
    """Whether the text goes on before and after it."""

    def span(self, threshold: float) -> tuple[int, int]:
        """From and up to which token the averaged score stays at or above the threshold."""
        start, stop = self.peak, self.peak + 1
        while start > 0 and self.averaged[start - 1] >= threshold:
            start -= 1
        while stop < len(self.averaged) and self.averaged[stop] >= threshold:
            stop += 1
        return start, stop


class StrongestPlaces:
    """The strongest places of every concept so far; one per window, repeats of a text once."""

    def __init__(self, n_concepts: int, n_kept: int, n_context: int) -> None:
        self._n_kept, self._n_context = n_kept, n_context
        self._kept: list[dict[tuple[int, ...], Place]] = [{} for _ in range(n_concepts)]
        self._floors = np.full(n_concepts, -np.inf, np.float32)

    def add(
        self,
        token_ids: tuple[int, ...],
        scores: FloatArray,
        averaged: FloatArray,
        counted: int,
        line: int,
    ) -> None:
        """Look at one window.

        Args:
            token_ids: its tokens.
            scores: (n_tokens, n_concepts).
            averaged: the same, averaged over neighbours.
            counted: the first token that was in no window before.
            line: where its passage begins.
        """
        peaks = averaged[counted:].argmax(axis=0) + counted  # (n_concepts,)
        strengths = averaged[peaks, np.arange(averaged.shape[1])]
        for concept in np.flatnonzero(strengths > self._floors).tolist():
            peak = int(peaks[concept])
            first = max(0, peak - self._n_context)
            around = slice(first, peak + self._n_context + 1)
            place = Place(
                float(strengths[concept]),
                peak - first,
                token_ids[around],
                scores[around, concept].copy(),
                averaged[around, concept].copy(),
                line,
                (first > 0 or counted > 0, around.stop < len(token_ids)),
            )
            key = token_ids[max(0, peak - _KEY_REACH) : peak + _KEY_REACH + 1]
            self._keep(concept, key, place)

    def of(self, concept: int) -> tuple[Place, ...]:
        """The strongest places of one concept, strongest first."""
        kept = self._kept[concept].values()
        return tuple(sorted(kept, key=lambda place: (-place.strength, place.line)))

    def __len__(self) -> int:
        return sum(map(len, self._kept))

    def _keep(self, concept: int, key: tuple[int, ...], place: Place) -> None:
        kept = self._kept[concept]
        if key in kept and kept[key].strength >= place.strength:
            return
        kept[key] = place
        if len(kept) > self._n_kept:
            del kept[min(kept, key=lambda each: kept[each].strength)]
        if len(kept) == self._n_kept:
            self._floors[concept] = min(each.strength for each in kept.values())


def average_over(scores: FloatArray, width: int) -> FloatArray:
    """Scores (n_tokens, n_concepts) averaged over `width` neighbouring tokens, fewer at the ends.

    Args:
        scores: per token.
        width: odd, so that the window is centred; 1 leaves the scores as they are.
    """
    n_tokens, half = len(scores), width // 2
    if half == 0 or n_tokens == 0:
        return scores
    sums = np.zeros((n_tokens + 1, scores.shape[1]))
    sums[1:] = scores.cumsum(axis=0, dtype=np.float64)
    positions = np.arange(n_tokens)
    starts: npt.NDArray[np.intp] = np.maximum(positions - half, 0)
    stops = np.minimum(positions + half + 1, n_tokens)
    means = (sums[stops] - sums[starts]) / (stops - starts)[:, None]
    return means.astype(np.float32)


WIDTHS = (1, 5, 15)
"""Over how many tokens a score may be averaged."""


@dataclass(frozen=True)
class SnippetSettings:
    """What is looked for."""

    layer: int
    kind: str = "z"
    """"z" or "cosine"."""
    width: int = 5
    """Tokens that a strength is averaged over; odd."""
    quantile: float = 0.99
    """Share of the tokens that a snippet's peak is above."""
    n_kept: int = 25
    """Snippets per concept."""
    n_context: int = 24
    """Tokens shown on either side of a peak."""
    max_tokens: int = 0
    """Read about so many, spread evenly over the file; 0 reads everything."""

    def __post_init__(self) -> None:
        if self.kind not in REACH:
            raise UserError(f"snippets are not ranked by '{self.kind}'", options=tuple(REACH))
        if self.width not in WIDTHS:
            raise UserError(
                f"a strength is not averaged over {self.width} tokens", options=map(str, WIDTHS)
            )
        if not 0 < self.quantile < 1:
            raise UserError(f"{self.quantile} is no quantile", fix="choose between 0 and 1")
        if self.n_kept < 1 or self.n_context < 0 or self.max_tokens < 0:
            raise UserError("a number of snippets or tokens is too small", fix="choose above 0")


@dataclass(frozen=True)
class Snippet:
    """One place at which a concept is strong."""

    concept: str
    strength: float
    """Averaged score at the peak."""
    line: int
    """Where in the file its text begins."""
    pieces: tuple[str, ...]
    """The tokens as text, whole characters only."""
    scores: tuple[float, ...]
    """The concept's score of each piece."""
    start: int
    """First piece of the span that stays above the threshold."""
    stop: int
    """One past its last piece."""
    cut: tuple[bool, bool] = (False, False)
    """Whether the text goes on before and after the pieces."""

    def part(self, start: int, stop: int) -> str:
        """Some pieces as running text."""
        return "".join(self.pieces[start:stop])

    @property
    def span(self) -> str:
        """The text that is above the threshold."""
        return self.part(self.start, self.stop)

    @property
    def text(self) -> str:
        """The span with its context."""
        return self.part(0, len(self.pieces))


@dataclass(frozen=True, eq=False)
class Snippets:
    """What was found in one file."""

    file: str
    run_id: str
    settings: SnippetSettings
    thresholds: Mapping[str, float]
    """The quantile of every concept's averaged token scores."""
    exactness: float
    """How far a threshold may be from the exact quantile."""
    by_concept: Mapping[str, tuple[Snippet, ...]]
    """Strongest first; none where nothing lies above the threshold."""
    n_texts: int
    n_tokens: int
    n_bad: int
    """Lines that were left out."""
    bad: tuple[BadLine, ...]
    """The first of them."""
    share: float
    """How much of the file was gone through, 0..1."""

    @property
    def n_snippets(self) -> int:
        """How many there are in all."""
        return sum(map(len, self.by_concept.values()))


def snippets_jsonl(found: Snippets) -> str:
    """One object per snippet, with what its numbers mean."""
    return "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in _rows(found))


def snippets_csv(found: Snippets) -> str:
    """The same rows under a header."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(_TITLES)
    writer.writerows(row.values() for row in _rows(found))
    return file.getvalue()


_TITLES = (
    *("concept", "rank", "strength", "threshold", "before", "span", "after", "line", "file"),
    *("layer", "unit", "averaged_over", "run"),
)


def _rows(found: Snippets) -> Iterator[dict[str, Any]]:
    settings = found.settings
    for concept, snippets in found.by_concept.items():
        for rank, snippet in enumerate(snippets, start=1):
            values = (
                *(concept, rank, round(snippet.strength, 4), round(found.thresholds[concept], 4)),
                *(snippet.part(0, snippet.start), snippet.span),
                *(snippet.part(snippet.stop, len(snippet.pieces)), snippet.line, found.file),
                *(settings.layer, settings.kind, settings.width, found.run_id),
            )
            yield dict(zip(_TITLES, values, strict=True))
