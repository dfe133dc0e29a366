"""What is looked for in a large file and what was found, also as lines for other programs."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from readout_ui.errors import UserError
from readout_ui.snippet_ranks import REACH
from readout_ui.snippet_texts import BadLine

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
