"""Reading a set of descriptions from a file somebody sent: CSV, JSON lines or a zip of text files.

Whatever the file holds, nothing of it is written anywhere here. A file whose structure is wrong is
refused as a whole; a concept that cannot be stored is refused by name, with the reason.

A zip of description files: written the same every time, read without trusting a byte of it.

Nothing is unpacked to disk: entries are read in memory, up to fixed bounds.
"""

import csv
import io
import json
import stat
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import PurePosixPath

from readout_ui.errors import UserError
from readout_ui.files import MAX_FILE_BYTES, too_large
from readout_ui.texts.description_text import (
    decode_text,
    encode_descriptions,
    normalise_descriptions,
    parse_descriptions,
)
from readout_ui.texts.library import Concept
from readout_ui.texts.names import SUFFIX, check_name, fold_name, is_neutral_name, printable

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


MAX_ENTRIES = 10_000
MAX_UNPACKED_BYTES = 50_000_000

_FIRST_DAY = (1980, 1, 1, 0, 0, 0)
_ENTRY_MARK = b"PK\x01\x02"
DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,
    OSError,
    OverflowError,
    RuntimeError,
    ValueError,
)
"""What zipfile lets out for archives that lie about themselves."""


def zip_bytes(concepts: Iterable[Concept]) -> bytes:
    """One `<concept>.txt` per concept; equal concepts give equal bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for concept in concepts:
            entry = zipfile.ZipInfo(f"{concept.name}{SUFFIX}", _FIRST_DAY)
            entry.external_attr = (stat.S_IFREG | 0o644) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3
            archive.writestr(entry, encode_descriptions(concept.descriptions, entry.filename))
    return buffer.getvalue()


def read_zip(raw: bytes, file: str) -> ImportedSet:
    """The `.txt` entries, in folders or not; an entry that cannot be trusted is refused by name.

    Raises:
        UserError: no zip file, too many entries, or too much text altogether.
    """
    refuse_many_entries(raw, file)
    concepts: dict[str, tuple[str, ...]] = {}
    refused: list[Refusal] = []
    notes: list[str] = []
    unpacked = 0
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            for entry in archive.infolist():
                path = PurePosixPath(entry.filename.replace("\\", "/"))
                if (
                    not entry.filename
                    or entry.is_dir()
                    or path.name.startswith(".")
                    or "__MACOSX" in path.parts
                ):
                    continue
                if not path.name.lower().endswith(SUFFIX):
                    notes.append(f"{printable(path.name)} is no .txt file and is ignored.")
                    continue
                try:
                    data = read_entry(archive, entry, path)
                    unpacked += len(data)
                    texts = parse_descriptions(data, printable(path.name))
                    name, texts = check_set_entry(path.name[: -len(SUFFIX)], texts, concepts)
                except UserError as error:
                    refused.append(Refusal(printable(entry.filename), str(error)))
                else:
                    concepts[name] = texts
                if unpacked > MAX_UNPACKED_BYTES:
                    break
    except DAMAGE:
        raise UserError("this is not a zip file, or it is damaged", where=file) from None
    if unpacked > MAX_UNPACKED_BYTES:
        raise UserError(f"the zip unpacks to more than {MAX_UNPACKED_BYTES / 1e6:g} MB", where=file)
    return ImportedSet(concepts, tuple(refused), tuple(notes[:20]))


def refuse_many_entries(raw: bytes, file: str) -> None:
    """Raise a UserError before a list of entries is made that fills the memory."""
    if raw.count(_ENTRY_MARK) > MAX_ENTRIES:
        raise UserError(f"the zip has more than {MAX_ENTRIES:,} entries", where=file)


def read_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, path: PurePosixPath) -> bytes:
    """The bytes of one entry.

    Raises:
        UserError: it is too large or damaged, or its name or kind cannot be trusted.
    """
    where = printable(entry.filename)
    fault = _fault(entry, path)
    if fault:
        raise UserError(fault, where=where)
    if entry.file_size > MAX_FILE_BYTES:
        raise too_large(where, entry.file_size)
    try:
        with archive.open(entry) as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except DAMAGE:
        raise UserError("the entry is damaged", where=where) from None
    if len(data) > MAX_FILE_BYTES:
        raise too_large(where, len(data))
    return data


def _fault(entry: zipfile.ZipInfo, path: PurePosixPath) -> str:
    rules = (
        (path.is_absolute(), "the entry has an absolute path"),
        (":" in entry.filename, "the entry names a drive"),
        (".." in path.parts, "the entry leads out of its folder"),
        (stat.S_ISLNK(entry.external_attr >> 16), "the entry is a link, not a file"),
        (entry.flag_bits & 1, "the entry is encrypted"),
        (
            entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED),
            "the entry is compressed in an unusual way",
        ),
    )
    return next((message for wrong, message in rules if wrong), "")
