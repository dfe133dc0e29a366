"""The one reader of tables: CSV, TSV, JSON lines and JSON, from a file or pasted.

Every source of texts comes through here. A `TextTable` is what there is before anyone said which
column holds the texts, so that columns can be chosen on screen or on the command line.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, TypeVar

from readout_ui.errors import UserError, printable
from readout_ui.files import too_large
from readout_ui.texts.reading import decode_text, json_lines, parse_json, split_text

MAX_BYTES = 20_000_000
MAX_ROWS = 20_000
MAX_COLUMNS = 100
TEXT_TITLES = ("text", "sentence", "content", "utterance", "description", "message", "comment")
LABEL_TITLES = (
    *("label", "labels", "concept", "concepts", "emotion", "emotions", "class", "category"),
)
_QUOTE = 'put text with commas, quotes or line breaks in "quotes"'
_OBJECT = 'write {"text": "I am at ease.", "label": "calm"}'
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


def _titled(columns: Sequence[str], titles: Sequence[str]) -> str | None:
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
    if not separator:
        head = "".join(first_line(text).split('"')[::2])
        separator = max("\t,;", key=head.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        for cells in reader:
            if len(cells) > MAX_COLUMNS:
                where = f"{file} line {reader.line_num}"
                raise UserError(f"there are more than {MAX_COLUMNS} columns", where=where)
            if any(cell.strip() for cell in cells):
                yield reader.line_num, cells
    except csv.Error as error:
        raise UserError(
            f"the line is not CSV ({error})", where=f"{file} line {reader.line_num}", fix=_QUOTE
        ) from None


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


def read_json_lines(text: str, file: str) -> TextTable:
    """One JSON object per line; blank lines are passed over.

    Raises:
        UserError: a line that is no JSON object; it is named.
    """
    lines = json_lines(text.split("\n"), file, _OBJECT)
    return table_of_records(((line.number, line.value) for line in lines), file, "line")


def read_json(text: str, file: str, label: str) -> TextTable:
    """A list of objects, of texts, or of [text, label] pairs; or `{"calm": ["...", ...]}`.

    Args:
        text: the JSON.
        file: what messages call it.
        label: what plain texts are labelled with; empty where they cannot be.

    Raises:
        UserError: it is none of these; it names the entry.
    """
    value = parse_json(text, file, _OBJECT)
    if isinstance(value, dict):
        return from_pairs(_by_label(value, file), file)
    if not isinstance(value, list) or not value:
        raise _not_a_collection(file)
    if all(isinstance(entry, str) for entry in value):
        if not label:
            raise UserError(
                "the texts have no labels", where=file, fix='write {"calm": ["first text", "..."]}'
            )
        return from_pairs(((entry, (label,)) for entry in value), file)
    if all(isinstance(entry, list) for entry in value):
        objects = (dict(zip(("text", "label"), entry, strict=False)) for entry in value)
        return table_of_records(enumerate(objects, start=1), file, "entry")
    return table_of_records(enumerate(value, start=1), file, "entry")


def holds_lists(text: str) -> bool:
    """True for one JSON object of lists, `{"calm": ["...", ...]}`."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return False
    # One object with a text is a single line of JSON lines, not texts by label.
    return isinstance(value, dict) and all(isinstance(texts, list) for texts in value.values())


def _by_label(value: dict[str, Any], file: str) -> Iterator[tuple[str, Cell]]:
    for label, texts in value.items():
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise UserError(
                f"'{printable(label)}' holds no list of texts",
                where=file,
                fix='write {"calm": ["first text", "second text"]}',
            )
        yield from ((text, (label,)) for text in texts)


def table_of_records(numbered: Iterable[tuple[int, Any]], file: str, noun: str) -> TextTable:
    """A table of numbered dicts, whose keys become the columns.

    Raises:
        UserError: one is no dict, there is none, or there are too many of them or of their keys.
    """
    rows: list[tuple[int, dict[str, Cell]]] = []
    columns: dict[str, None] = {}
    for number, value in bounded(numbered, file):
        where = f"{file} {noun} {number}"
        if not isinstance(value, dict) or not value:
            raise UserError(f"the {noun} is no JSON object", where=where, fix=_OBJECT)
        rows.append((number, {key: _cell(item) for key, item in value.items()}))
        columns |= dict.fromkeys(value)
        if len(columns) > MAX_COLUMNS:
            raise UserError(f"there are more than {MAX_COLUMNS} different keys", where=where)
    if not rows:
        raise _not_a_collection(file)
    names = tuple(columns)
    return TextTable(
        file,
        column_names(names),
        tuple(TableRow(n, tuple(row.get(name, ()) for name in names)) for n, row in rows),
    )


def _cell(value: Any) -> Cell:
    if isinstance(value, list):
        return tuple(str(item) for item in value if isinstance(item, str | int | float))
    if value is None or isinstance(value, dict):
        return ()
    return (str(value),)


def _not_a_collection(file: str) -> UserError:
    return UserError(
        "there are no labelled texts in it",
        where=file,
        fix='write [{"text": "I am at ease.", "label": "calm"}]',
    )


def read_table(raw: bytes, file: str) -> TextTable:
    """The table in a file's bytes, by the suffix of its name.

    Args:
        raw: the whole file.
        file: its name: .csv, .tsv, .jsonl, .json or .txt. A .json list of plain texts and a .txt
            file are labelled with the file's name.

    Raises:
        UserError: too large, not UTF-8, or not what the suffix says; it names file and line.
    """
    if len(raw) > MAX_BYTES:
        raise too_large(file, len(raw), MAX_BYTES)
    stem, _, suffix = file.rpartition(".")
    text = decode_text(raw, file).removeprefix("\ufeff")
    match suffix.lower():
        case "csv" | "tsv":
            return read_delimited(text, file)
        case "jsonl" | "ndjson":
            return read_json_lines(text, file)
        case "json":
            return read_json(text, file, stem)
        case "txt" if stem:
            return from_pairs(((text, (stem,)) for text in split_texts(text)), file)
    raise UserError(
        "the file has no suffix that says how to read it",
        where=printable(file),
        fix="rename it",
        options=(".csv", ".tsv", ".jsonl", ".json", ".txt"),
    )


def read_pasted(text: str) -> TextTable:
    """The table in pasted text: JSON, JSON lines, CSV or TSV, or lines `label: text`.

    Raises:
        UserError: it is none of these; it names the line.
    """
    file, start = "pasted text", text.lstrip()
    if len(text) > MAX_BYTES:
        raise too_large(file, len(text), MAX_BYTES)
    if not start:
        raise UserError("there is nothing pasted", fix="paste texts with labels")
    if start[0] == "[" or (start[0] == "{" and holds_lists(text)):
        return read_json(text, file, "")
    if start[0] == "{":
        return read_json_lines(text, file)
    if _is_labelled_lines(text):
        return from_pairs(_labelled_lines(text), file)
    return read_delimited(text, file)


def split_texts(text: str) -> tuple[str, ...]:
    """The texts of a plain file: separated by blank lines, or one per line where there are none."""
    paragraphs = split_text(text)
    return tuple(paragraphs[0].split("\n")) if len(paragraphs) == 1 else paragraphs


def _is_labelled_lines(text: str) -> bool:
    """Whether every line is `label: text` with a short label before the first colon."""
    lines = [line for line in text.splitlines() if line.strip()]
    heads = [line.partition(":")[0] for line in lines if ":" in line]
    short = all(len(head) <= 40 and not set(head) & set(',;\t"') for head in heads)
    return len(heads) == len(lines) and short


def _labelled_lines(text: str) -> Iterator[tuple[str, Cell]]:
    for line in filter(str.strip, text.splitlines()):
        label, _, rest = line.partition(":")
        yield rest.strip(), (label.strip(),)
