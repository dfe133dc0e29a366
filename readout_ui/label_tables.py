"""A collection of texts as a table, before anyone said which column is text and which is label.

CSV and TSV, JSON lines, JSON lists and folders of `{concept}.txt` all become the same table, so
that its columns can be chosen on screen or on the command line.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TypeVar

from readout_ui.concept_names import printable
from readout_ui.errors import UserError

MAX_BYTES = 20_000_000
MAX_ROWS = 20_000
MAX_COLUMNS = 100
TEXT_TITLES = ("text", "sentence", "content", "utterance", "description", "message", "comment")
LABEL_TITLES = (
    "label",
    "labels",
    "concept",
    "concepts",
    "emotion",
    "emotions",
    "class",
    "category",
)
Item = TypeVar("Item")
Cell = tuple[str, ...]
"""One value, or the several of a JSON list."""


@dataclass(frozen=True)
class TableRow:
    """One row and where it stands."""

    line: int
    """In the file, from 1; in JSON lists the place in the list."""
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class TextTable:
    """Rows with named columns, and a guess which of them matter."""

    file: str
    """What messages call it."""
    columns: tuple[str, ...]
    rows: tuple[TableRow, ...]

    def __post_init__(self) -> None:
        if len(set(self.columns)) != len(self.columns):
            raise ValueError(f"columns are named alike: {self.columns}")
        if any(len(row.cells) != len(self.columns) for row in self.rows):
            raise ValueError("a row has more or fewer cells than there are columns")

    def guess_text(self) -> str:
        """The column that most likely holds the texts: by its title, else the longest one."""
        titled = _titled(self.columns, TEXT_TITLES)
        if titled is not None:
            return titled
        return max(self.columns, key=lambda name: fmean(self._lengths(name)))

    def guess_labels(self, text: str) -> tuple[str, ...]:
        """The columns that most likely hold labels: by title, else the least varied other one."""
        others = tuple(name for name in self.columns if name != text)
        titled = _titled(others, LABEL_TITLES)
        if titled is not None:
            return (titled,)
        return tuple(sorted(others, key=lambda name: len(set(self.column(name))))[:1])

    def column(self, name: str) -> tuple[Cell, ...]:
        """The cells of one column, top first."""
        index = self.columns.index(name)
        return tuple(row.cells[index] for row in self.rows)

    def _lengths(self, name: str) -> list[int]:
        return [sum(map(len, cell)) for cell in self.column(name)]


def from_pairs(pairs: Iterator[tuple[str, Cell]], file: str) -> TextTable:
    """A table of columns text and label.

    Raises:
        UserError: there is none, or there are too many.
    """
    rows = (TableRow(n, ((text,), labels)) for n, (text, labels) in enumerate(pairs, start=1))
    kept = tuple(bounded(rows, file))
    if not kept:
        raise UserError("there is no text", where=file, fix="bring texts with labels")
    return TextTable(file, ("text", "label"), kept)


def bounded(rows: Iterator[Item], file: str) -> Iterator[Item]:
    """The rows one by one; UserError as soon as there are too many."""
    for number, row in enumerate(rows, start=1):
        if number > MAX_ROWS:
            raise UserError(
                f"there are more than {MAX_ROWS:,} texts", where=file, fix="bring a part of them"
            )
        yield row


def column_names(titles: Sequence[str]) -> tuple[str, ...]:
    """Titles that differ: empty ones are numbered, repeated ones too."""
    names: list[str] = []
    for place, title in enumerate(titles, start=1):
        name = printable(title.strip()) or f"column {place}"
        while name in names:
            name = f"{name} ({place})"
        names.append(name)
    return tuple(names)


def _titled(columns: Sequence[str], titles: Sequence[str]) -> str | None:
    folded = {name.casefold(): name for name in reversed(columns)}
    return next((folded[title] for title in titles if title in folded), None)
