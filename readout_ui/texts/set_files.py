"""The files that a set of descriptions travels in (zip, CSV, JSON lines), read and made.

Tags travel along: in a zip as its `tags.json`, else in a column or key `tags` (`fear|to rewrite`).
A file whose structure is wrong is refused as a whole; a concept that cannot be stored is refused by
name, with the reason.
"""

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import Any

from readout_ui.errors import UserError, printable
from readout_ui.texts.library import Concept
from readout_ui.texts.names import SUFFIX, check_name, fold_name, is_neutral_name
from readout_ui.texts.reading import (
    decode_text,
    encode_descriptions,
    json_lines,
    normalise_descriptions,
    parse_descriptions,
    zip_bytes,
    zip_entries,
)
from readout_ui.texts.tables import csv_rows, first_line
from readout_ui.texts.tags import TAGS_FILE, Tags, check_tag, parse_tags

_CONCEPT_TITLES = ("concept", "name")
_TEXT_TITLES = ("description", "text")
_LINE = 'write {"concept": "calm", "description": "I am at ease."}'
_BAR = "|"
Row = tuple[str, str, str]
"""A concept, one of its descriptions (empty where it has none), and its tags with bars between."""


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

    concepts: Mapping[str, tuple[str, ...]]
    """Checked name -> normalised descriptions, in the file's order."""
    refused: tuple[Refusal, ...]
    notes: tuple[str, ...]
    """What was passed over, e.g. extra columns."""
    tags: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Tags of concepts that have some."""


def read_csv(raw: bytes, file: str) -> ImportedSet:
    """Columns `concept` and `description` in any order, or the first two without a header.

    Commas, semicolons or tabs separate.

    Raises:
        UserError: not UTF-8, broken quoting, or a row with too few columns; it names the line.
    """
    text = decode_text(raw, file).removeprefix("\ufeff")
    # The first column is a title or a concept's name, so the first separator is the separator.
    head = first_line(text).split('"')[0]
    lines = csv_rows(text, file, next((c for c in head if c in ",;\t"), ","))
    first = next(lines, None)
    if first is None:
        return ImportedSet({}, (), ())
    columns, has_header = _columns(first[1], file)
    tags_at = _titles(first[1]).index("tags") if has_header and "tags" in _titles(first[1]) else -1
    titles = [
        f"'{printable(cell)}'" if has_header else str(n) for n, cell in enumerate(first[1], 1)
    ]
    extra = [title for index, title in enumerate(titles) if index not in (*columns, tags_at)]
    body = lines if has_header else chain([first], lines)
    rows = (_csv_row(*line, (*columns, tags_at), file) for line in body)
    return _gather(rows, [f"Column {title} is ignored." for title in extra[:20]])


def read_jsonl(raw: bytes, file: str) -> ImportedSet:
    """One object per line with `concept` and `description`; blank lines are passed over.

    Raises:
        UserError: not UTF-8, or a line that is no such object; it names the line.
    """
    lines = list(json_lines(decode_text(raw, file).split("\n"), file, _LINE))
    rows = [_json_row(line.value, line.where) for line in lines]
    extra = dict.fromkeys(key for line in lines for key in line.value)
    ignored = [key for key in extra if key not in ("concept", "description", "tags")]
    return _gather(rows, [f"The key '{printable(key)}' is ignored." for key in ignored[:20]])


def read_zip(raw: bytes, file: str) -> ImportedSet:
    """The `.txt` entries, in folders or not; an entry that cannot be trusted is refused by name.

    Raises:
        UserError: no zip file, too many entries, or too much text altogether.
    """
    taken = _Taken()
    notes: list[str] = []
    for entry in zip_entries(raw, file, SUFFIX):
        path = entry.path
        if path.name == TAGS_FILE:
            continue
        if entry.data is None:
            what = "concept" if path.name.lower().endswith(SUFFIX) else ".txt file"
            notes.append(f"{printable(path.name)} is no {what} and is ignored.")
        elif isinstance(entry.data, UserError):
            taken.refused.append(Refusal(printable(str(path)), str(entry.data)))
        else:
            where, data = printable(path.name), entry.data
            texts = partial(parse_descriptions, data, where)
            taken.add(path.name[: -len(SUFFIX)], texts, str(path))
    for entry in zip_entries(raw, file, TAGS_FILE):
        if isinstance(entry.data, bytes) and entry.path.name == TAGS_FILE:
            for name, tags in parse_tags(entry.data, TAGS_FILE).tags.items():
                taken.tag(name, tags)
    return taken.as_set(notes)


def _gather(rows: Iterable[Row], notes: Sequence[str]) -> ImportedSet:
    """Put the rows of each concept together, in order; check names and texts."""
    texts: dict[str, list[str]] = {}
    tags: dict[str, dict[str, None]] = {}
    for concept, description, some in rows:
        texts.setdefault(concept, []).append(description)
        tags.setdefault(concept, {}).update(dict.fromkeys(filter(str.strip, some.split(_BAR))))
    taken = _Taken()
    for typed, descriptions in texts.items():
        taken.add(typed, partial(normalise_descriptions, descriptions), typed)
        taken.tag(typed, tags[typed])
    return taken.as_set(notes)


class _Taken:
    """Concepts of a file as they would be stored, and what of it cannot be."""

    def __init__(self) -> None:
        self._concepts: dict[str, tuple[str, ...]] = {}
        self._names: dict[str, str] = {}
        self._tags: dict[str, list[str]] = {}
        self.refused: list[Refusal] = []

    def add(self, typed: str, read: Callable[[], tuple[str, ...]], where: str) -> None:
        """Take a concept, unless its name is unsafe or taken or no file can hold its texts."""
        try:
            name = check_name(typed, neutral=is_neutral_name(typed.strip()))
            if (other := self._names.get(fold_name(name))) is not None:
                raise UserError(
                    f"the file has '{printable(other)}' too, which is the same name",
                    where=f"concept name '{printable(typed)}'",
                    fix="rename one of the two",
                )
            texts = read()
            encode_descriptions(texts, name)
        except UserError as error:
            self.refused.append(Refusal(printable(where), str(error)))
        else:
            self._names[fold_name(name)] = name
            self._concepts[name] = texts

    def tag(self, typed: str, tags: Iterable[str]) -> None:
        """Tags of a concept that was taken; those that cannot be stored are refused by name."""
        for tag in tags:
            try:
                self._tags.setdefault(typed.strip(), []).append(check_tag(tag))
            except UserError as error:
                self.refused.append(Refusal(printable(typed), str(error)))

    def as_set(self, notes: Sequence[str]) -> ImportedSet:
        """All of it, with the first notes."""
        tags = {fold_name(name): tuple(some) for name, some in self._tags.items()}
        told = {name: tags[fold_name(name)] for name in self._concepts if fold_name(name) in tags}
        return ImportedSet(self._concepts, tuple(self.refused), tuple(notes[:20]), told)


def _titles(cells: Sequence[str]) -> list[str]:
    return [cell.strip().casefold() for cell in cells]


def _columns(cells: Sequence[str], file: str) -> tuple[tuple[int, int], bool]:
    """Where concept and description stand, and whether these cells are titles."""
    titles = _titles(cells)
    concept = next((titles.index(title) for title in _CONCEPT_TITLES if title in titles), None)
    text = next((titles.index(title) for title in _TEXT_TITLES if title in titles), None)
    if concept is not None and text is not None:
        return (concept, text), True
    if titles[0] == "concept":
        raise UserError(
            "the header has no column 'description'",
            where=f"{file} line 1",
            fix="name the columns concept,description",
            options=[printable(cell) for cell in cells],
        )
    return (0, 1), False


def _csv_row(number: int, cells: Sequence[str], columns: tuple[int, int, int], file: str) -> Row:
    concept, text, tags = columns
    if len(cells) <= max(concept, text):
        raise UserError(
            "the row has no description",
            where=f"{file} line {number}",
            fix="every row needs a concept and a description",
        )
    return cells[concept], cells[text], cells[tags] if 0 <= tags < len(cells) else ""


def _json_row(value: Any, where: str) -> Row:
    if not isinstance(value, dict):
        raise UserError("the line is no JSON object", where=where, fix=_LINE)
    for key in ("concept", "description"):
        if not isinstance(value.get(key), str):
            raise UserError(f"'{key}' is missing or no text", where=where, fix=_LINE)
    tags = value.get("tags", "")
    tags = _BAR.join(map(str, tags)) if isinstance(tags, list) else str(tags)
    return value["concept"], value["description"], tags


def _zip_bytes(concepts: Iterable[Concept], said: Tags) -> bytes:
    names = ((f"{concept.name}{SUFFIX}", concept.descriptions) for concept in concepts)
    files = {name: encode_descriptions(texts, name) for name, texts in names}
    if said.tags or said.left_out:
        files[TAGS_FILE] = said.as_json()
    return zip_bytes(files, compress=True)


def _csv_bytes(concepts: Iterable[Concept], said: Tags) -> bytes:
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer)
    width = 3 if said.tags else 2
    writer.writerow(("concept", "description", "tags")[:width])
    writer.writerows(row[:width] for row in _rows(concepts, said))
    return buffer.getvalue().encode("utf-8")


def _jsonl_bytes(concepts: Iterable[Concept], said: Tags) -> bytes:
    lines = (
        {"concept": name, "description": text, **({"tags": tags.split(_BAR)} if tags else {})}
        for name, text, tags in _rows(concepts, said)
    )
    return "".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in lines).encode("utf-8")


def _rows(concepts: Iterable[Concept], said: Tags) -> Iterator[Row]:
    for concept in concepts:
        for text in concept.descriptions or ("",):
            yield concept.name, text, _BAR.join(said.of(concept.name))


_Read = Callable[[bytes, str], ImportedSet]
_Write = Callable[[Iterable[Concept], Tags], bytes]
_FORMATS: dict[str, tuple[_Read, _Write]] = {
    ".zip": (read_zip, _zip_bytes),
    ".csv": (read_csv, _csv_bytes),
    ".jsonl": (read_jsonl, _jsonl_bytes),
}

SET_SUFFIXES = tuple(_FORMATS)
"""What a set's file name may end in."""


def format_of(suffix: str) -> tuple[_Read, _Write]:
    """What reads and writes files with that ending; UserError for any other ending."""
    try:
        return _FORMATS[suffix.lower()]
    except KeyError:
        raise UserError(
            f"a set of descriptions cannot be a '{printable(suffix)}' file",
            fix="choose another format",
            options=SET_SUFFIXES,
        ) from None
