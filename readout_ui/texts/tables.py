"""Tables of texts: their rows, columns and labels, and CSV; `table_files` reads them all.

Every source of texts comes through here. A `TextTable` is what there is before anyone said which
column holds the texts, so that columns can be chosen on screen or on the command line.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from readout_ui.errors import UserError, printable

MAX_BYTES = 20_000_000
MAX_ROWS = 20_000
MAX_COLUMNS = 100
TEXT_TITLES = ("text", "sentence", "content", "utterance", "description", "message", "comment")
LABEL_TITLES = (
    *("label", "labels", "concept", "concepts", "emotion", "emotions", "class", "category"),
)
_QUOTE = 'put text with commas, quotes or line breaks in "quotes"'
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
        if found := titled(self.columns, TEXT_TITLES):
            return found
        return max(self.columns, key=lambda name: sum(self._lengths(name)))

    def guess_labels(self, text: str) -> tuple[str, ...]:
        """The columns that most likely hold labels: by title, else the least varied other one."""
        others = tuple(name for name in self.columns if name != text)
        if found := titled(others, LABEL_TITLES):
            return (found,)
        return tuple(sorted(others, key=lambda name: len(set(self.column(name))))[:1])

    def column(self, name: str) -> tuple[Cell, ...]:
        """The cells of one column, top first."""
        index = self.columns.index(name)
        return tuple(row.cells[index] for row in self.rows)

    def require(self, names: Iterable[str]) -> None:
        """Raise a UserError that lists the columns, unless all of these are there."""
        for name in names:
            if name not in self.columns:
                what = f"there is no column '{printable(name)}'"
                raise UserError(what, where=self.file, options=self.columns)

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


def bounded(rows: Iterable[Item], file: str) -> Iterator[Item]:
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


def titled(columns: Sequence[str], titles: Sequence[str]) -> str | None:
    """The column of the first of these titles, in any case; None where none is there."""
    folded = {name.casefold(): name for name in reversed(columns)}
    return next((folded[title] for title in titles if title in folded), None)


csv.field_size_limit(max(csv.field_size_limit(), MAX_BYTES))


def read_delimited(text: str, file: str) -> TextTable:
    """CSV or TSV; a first row that looks like titles names the columns.

    Raises:
        UserError: broken quoting, or a row that is longer or shorter than the first.
    """
    lines = (TableRow(n, tuple((cell,) for cell in cells)) for n, cells in csv_rows(text, file))
    first = next(lines, None)
    if first is None:
        raise UserError("there is no row", where=file, fix="bring texts with labels")
    body = list(bounded(lines, file))
    width = len(first.cells)
    wrong = next((row for row in body if len(row.cells) != width), None)
    if wrong is not None:
        raise UserError(
            f"the row has {len(wrong.cells)} columns, the first has {width}",
            where=f"{file} line {wrong.line}",
            fix=_QUOTE,
        )
    if _are_titles(first, body):
        return TextTable(file, column_names([cell[0] for cell in first.cells]), tuple(body))
    return TextTable(file, column_names([""] * width), (first, *body))


def csv_rows(text: str, file: str, separator: str = "") -> Iterator[tuple[int, list[str]]]:
    """Line number and cells of every row that is not blank.

    Args:
        text: the whole file.
        file: what messages call it.
        separator: between cells; empty: the one that the first line has most of, outside quotes.

    Raises:
        UserError: broken quoting or too many columns; it names the line.
    """
    named = _NAMED_SEPARATOR.match(text)  # a first line that Excel reads and writes
    if named:
        separator, text = named[1], text[named.end() :]
    if not separator:
        head = "".join(first_line(text).split('"')[::2])
        separator = max("\t,;", key=head.count)
    before = 1 if named else 0
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        for cells in reader:
            if len(cells) > MAX_COLUMNS:
                where = f"{file} line {before + reader.line_num}"
                raise UserError(f"there are more than {MAX_COLUMNS} columns", where=where)
            if any(cell.strip() for cell in cells):
                yield before + reader.line_num, cells
    except csv.Error as error:
        raise UserError(
            f"the line is not CSV ({error})",
            where=f"{file} line {before + reader.line_num}",
            fix=_QUOTE,
        ) from None


_NAMED_SEPARATOR = re.compile(r'"?sep=([^\n"])"?[^\S\n]*(?:\n|$)', re.IGNORECASE)


def first_line(text: str) -> str:
    """The first line that is not blank; empty where there is none."""
    return next((line for line in text.split("\n") if line.strip()), "")


def _are_titles(first: TableRow, body: Sequence[TableRow]) -> bool:
    """Known titles, or single words that differ and do not come again in their column."""
    titles = [cell[0].strip() for cell in first.cells]
    folded = {title.casefold() for title in titles}
    if body and folded & set(TEXT_TITLES):
        return True
    single = all(title and len(title.split()) == 1 for title in titles)
    again = any(row.cells[i][0].strip() == title for row in body for i, title in enumerate(titles))
    return bool(body) and single and len(folded) == len(titles) and not again
