"""Reading a set of descriptions from a file somebody sent: CSV, JSON lines or a zip of text files.

Whatever the file holds, nothing of it is written anywhere here. A file whose structure is wrong is
refused as a whole; a concept that cannot be stored is refused by name, with the reason.
"""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from readout_ui.concept_names import check_name, fold_name, is_neutral_name, printable
from readout_ui.description_text import (
    MAX_FILE_BYTES,
    decode_text,
    encode_descriptions,
    normalise_descriptions,
)
from readout_ui.errors import UserError

# A cell may hold as much as a concept's file; the csv module's own bound is 131 kB.
csv.field_size_limit(max(csv.field_size_limit(), MAX_FILE_BYTES))

_CONCEPT_TITLES = ("concept", "name")
_TEXT_TITLES = ("description", "text")


@dataclass(frozen=True)
class Refusal:
    """Something in the file that is not taken."""

    name: str
    """Concept or entry, printable."""
    reason: str
    """One sentence."""


@dataclass(frozen=True)
class ImportedSet:
    """What a file holds that can be stored."""

    concepts: dict[str, tuple[str, ...]]
    """Checked name -> normalised descriptions, in the file's order."""
    refused: tuple[Refusal, ...]
    notes: tuple[str, ...]
    """What was passed over, e.g. extra columns."""


@dataclass(frozen=True)
class Row:
    """One description with the concept it is for."""

    concept: str
    description: str
    """Empty for a concept without descriptions."""


def read_csv(raw: bytes, file: str) -> ImportedSet:
    """Columns `concept` and `description` in any order, or the first two without a header.

    Commas, semicolons or tabs separate.

    Raises:
        UserError: not UTF-8, broken quoting, or a row with too few columns; it names the line.
    """
    text = decode_text(raw, file).removeprefix("\ufeff")
    lines = _csv_lines(text, file)
    first = next(lines, None)
    if first is None:
        return gather([], [])
    columns, has_header = _columns(first.cells, file)
    rows = lines if has_header else chain([first], lines)
    notes = _extra_columns(first.cells, columns, has_header)
    return gather((_csv_row(line, columns, file) for line in rows), notes)


def read_jsonl(raw: bytes, file: str) -> ImportedSet:
    """One object per line with `concept` and `description`; blank lines are passed over.

    Raises:
        UserError: not UTF-8, or a line that is no such object; it names the line.
    """
    text = decode_text(raw, file).removeprefix("\ufeff")
    extra: dict[str, None] = {}
    rows = [
        _json_row(line, f"{file} line {number}", extra)
        for number, line in enumerate(text.split("\n"), start=1)
        if line.strip()
    ]
    return gather(rows, [f"The key '{printable(key)}' is ignored." for key in extra])


def gather(rows: Iterable[Row], notes: Sequence[str]) -> ImportedSet:
    """Put the rows of each concept together, in order; check names and texts."""
    texts: dict[str, list[str]] = {}
    for row in rows:
        texts.setdefault(row.concept, []).append(row.description)
    concepts: dict[str, tuple[str, ...]] = {}
    refused = []
    for typed, descriptions in texts.items():
        try:
            name, normal = check_set_entry(typed, descriptions, concepts)
        except UserError as error:
            refused.append(Refusal(printable(typed), str(error)))
        else:
            concepts[name] = normal
    return ImportedSet(concepts, tuple(refused), tuple(notes))


def check_set_entry(
    typed: str, descriptions: Sequence[str], taken: Iterable[str]
) -> tuple[str, tuple[str, ...]]:
    """The name and descriptions as they would be stored.

    Raises:
        UserError: unsafe name, a name of `taken` in other spelling, or text no file can hold.
    """
    name = check_name(typed, neutral=is_neutral_name(typed.strip()))
    other = next((t for t in taken if fold_name(t) == fold_name(name)), None)
    if other is not None:
        raise UserError(
            f"the file has '{printable(other)}' too, which is the same name",
            where=f"concept name '{printable(typed)}'",
            fix="rename one of the two",
        )
    encode_descriptions(descriptions, name)
    return name, normalise_descriptions(descriptions)


@dataclass(frozen=True)
class _Line:
    number: int
    cells: list[str]


@dataclass(frozen=True)
class _Columns:
    concept: int
    description: int


def _csv_lines(text: str, file: str) -> Iterator[_Line]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text), strict=True)
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield _Line(reader.line_num, cells)
    except csv.Error as error:
        raise UserError(
            f"the line is not CSV ({error})",
            where=f"{file} line {reader.line_num}",
            fix='put text with commas, quotes or line breaks in "quotes"',
        ) from None


def _delimiter(text: str) -> str:
    # The first column is a title or a concept's name, so the first separator is the separator.
    head = next((line for line in text.split("\n") if line.strip()), "").split('"')[0]
    return next((c for c in head if c in ",;\t"), ",")


def _columns(cells: Sequence[str], file: str) -> tuple[_Columns, bool]:
    titles = [cell.strip().casefold() for cell in cells]
    concept = next((titles.index(title) for title in _CONCEPT_TITLES if title in titles), None)
    text = next((titles.index(title) for title in _TEXT_TITLES if title in titles), None)
    if concept is not None and text is not None:
        return _Columns(concept, text), True
    if titles[0] == "concept":
        raise UserError(
            "the header has no column 'description'",
            where=f"{file} line 1",
            fix="name the columns concept,description",
            options=[printable(cell) for cell in cells],
        )
    return _Columns(0, 1), False


def _extra_columns(cells: Sequence[str], columns: _Columns, has_header: bool) -> list[str]:
    extra = [
        f"'{printable(cell)}'" if has_header else str(index + 1)
        for index, cell in enumerate(cells)
        if index not in (columns.concept, columns.description)
    ]
    return [f"Column {title} is ignored." for title in extra[:20]]


def _csv_row(line: _Line, columns: _Columns, file: str) -> Row:
    if len(line.cells) <= max(columns.concept, columns.description):
        raise UserError(
            "the row has no description",
            where=f"{file} line {line.number}",
            fix="every row needs a concept and a description",
        )
    return Row(line.cells[columns.concept], line.cells[columns.description])


def _json_row(line: str, where: str, extra: dict[str, None]) -> Row:
    fix = 'write {"concept": "calm", "description": "I am at ease."}'
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        raise UserError("the line is not JSON", where=where, fix=fix) from None
    if not isinstance(value, dict):
        raise UserError("the line is no JSON object", where=where, fix=fix)
    for key in ("concept", "description"):
        if not isinstance(value.get(key), str):
            raise UserError(f"'{key}' is missing or no text", where=where, fix=fix)
    for key in value.keys() - {"concept", "description"}:
        if len(extra) < 20:
            extra[key] = None
    return Row(value["concept"], value["description"])
