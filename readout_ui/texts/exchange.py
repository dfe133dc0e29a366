"""Sets of descriptions as one file (zip, CSV, JSON lines): export, and import by way of a plan.

Whatever a file holds, nothing of it is written before the plan was shown. A file whose structure
is wrong is refused as a whole; a concept that cannot be stored is refused by name, with the reason.
"""

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from readout_ui.errors import UserError, printable
from readout_ui.files import read_bytes, shown, too_large, write_file
from readout_ui.texts.editing import bytes_of, concept_index, mark_of, put_concept
from readout_ui.texts.library import Concept, Library
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
from readout_ui.texts.versions import changing

_CONCEPT_TITLES = ("concept", "name")
_TEXT_TITLES = ("description", "text")
_LINE = 'write {"concept": "calm", "description": "I am at ease."}'
Row = tuple[str, str]
"""A concept and one of its descriptions, which is empty where it has none."""
MAX_SET_BYTES = 50_000_000

Change = Literal["added", "changed", "same"]


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


@dataclass(frozen=True)
class PlannedConcept:
    """What an import would do to one concept."""

    name: str
    """As it is or will be on disk."""
    change: Change
    """changed: the descriptions on disk are replaced, and kept in the history."""
    descriptions: tuple[str, ...]
    """Those of the file."""
    before: tuple[str, ...]
    """Those on disk now."""
    opened: str | None
    """Fingerprint of the file on disk now, None where there is none."""


@dataclass(frozen=True)
class ImportPlan:
    """What an import would do; nothing has been written."""

    concepts: tuple[PlannedConcept, ...]
    refused: tuple[Refusal, ...]
    notes: tuple[str, ...]

    def of(self, change: Change) -> tuple[PlannedConcept, ...]:
        """The concepts with that change."""
        return tuple(concept for concept in self.concepts if concept.change == change)

    def summary(self) -> str:
        """One line, e.g. `3 added, 1 changed, 5 the same, 1 refused`."""
        counts = (
            f"{len(self.of('added'))} added",
            f"{len(self.of('changed'))} changed",
            f"{len(self.of('same'))} the same",
            f"{len(self.refused)} refused",
        )
        return ", ".join(counts)


def export_set(library: Library, path: Path | str) -> Path:
    """Write all concepts and neutral texts to one `.zip`, `.csv` or `.jsonl` file.

    Raises:
        UserError: another suffix, or the system refuses.
    """
    path = Path(path)
    write_file(path, export_bytes(library, path.suffix))
    return path


def export_bytes(library: Library, suffix: str) -> bytes:
    """The set as a file's bytes; a concept without descriptions is a row with an empty one.

    Args:
        library: what to export; files that cannot be used are left out.
        suffix: `.zip`, `.csv` or `.jsonl`.

    Raises:
        UserError: another suffix.
    """
    _, write = _format(suffix)
    return write(library.files)


def import_set(path: Path | str) -> ImportedSet:
    """Read a set; nothing is written.

    Raises:
        UserError: another suffix, too large, or not what the suffix says (with the line).
    """
    path = Path(path)
    _format(path.suffix)
    return read_set(read_bytes(path, MAX_SET_BYTES), shown(path))


def read_set(raw: bytes, file: str) -> ImportedSet:
    """A set's bytes, by the ending of the file's name; UserError as `import_set`."""
    if len(raw) > MAX_SET_BYTES:
        raise too_large(file, len(raw), MAX_SET_BYTES)
    read, _ = _format(PurePosixPath(file).suffix)
    return read(raw, file)


def plan_import(library: Library, imported: ImportedSet) -> ImportPlan:
    """Compare a set with what is on disk; names are matched under case folding."""
    present = {fold_name(c.name): c for c in library.files}
    broken = {fold_name(p.file.removesuffix(SUFFIX)): p.file for p in library.problems}
    planned = []
    refused = list(imported.refused)
    for name, descriptions in imported.concepts.items():
        key = fold_name(name)
        if key in broken and key not in present:
            reason = f"{broken[key]} on disk cannot be used; correct or delete it first."
            refused.append(Refusal(printable(name), reason))
        else:
            planned.append(_planned(name, descriptions, present.get(key)))
    return ImportPlan(tuple(planned), tuple(refused), imported.notes)


def apply_import(folder: Path | str, plan: ImportPlan) -> tuple[Concept, ...]:
    """Write what the plan adds and changes; every replaced version goes to the history.

    Raises:
        UserError: a file is not what it was when the plan was made (nothing is written then), or
            the system refuses.
    """
    folder = Path(folder)
    due = (*plan.of("added"), *plan.of("changed"))
    with changing(folder):
        files = concept_index(folder)
        paths = [files.get(c.name) or files.get(fold_name(c.name)) for c in due]
        for concept, path in zip(due, paths, strict=True):
            if mark_of(bytes_of(path)) != concept.opened:
                raise UserError(
                    "the file changed since the plan was made, so nothing was imported",
                    where=f"{concept.name}{SUFFIX}",
                    fix="open the import again and look at the new plan",
                )
        return tuple(_import_all(folder, zip(due, paths, strict=True)))


def _import_all(
    folder: Path, due: Iterable[tuple[PlannedConcept, Path | None]]
) -> Iterator[Concept]:
    for number, (concept, path) in enumerate(due):
        try:
            target = path or folder / f"{concept.name}{SUFFIX}"
            yield put_concept(folder, target, concept.descriptions, concept.opened)
        except UserError as error:
            done = f"{number} concepts were imported before it and stay"
            fix = "; ".join(filter(None, (error.fix, done)))
            raise UserError(error.what, where=error.where, fix=fix) from error


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
    titles = [
        f"'{printable(cell)}'" if has_header else str(n) for n, cell in enumerate(first[1], 1)
    ]
    extra = [title for index, title in enumerate(titles) if index not in columns]
    rows = (
        _csv_row(*line, columns, file) for line in (lines if has_header else chain([first], lines))
    )
    return _gather(rows, [f"Column {title} is ignored." for title in extra[:20]])


def read_jsonl(raw: bytes, file: str) -> ImportedSet:
    """One object per line with `concept` and `description`; blank lines are passed over.

    Raises:
        UserError: not UTF-8, or a line that is no such object; it names the line.
    """
    lines = list(json_lines(decode_text(raw, file).split("\n"), file, _LINE))
    rows = [_json_row(line.value, line.where) for line in lines]
    extra = dict.fromkeys(key for line in lines for key in line.value)
    ignored = [key for key in extra if key not in ("concept", "description")]
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
        if entry.data is None:
            what = "concept" if path.name.lower().endswith(SUFFIX) else ".txt file"
            notes.append(f"{printable(path.name)} is no {what} and is ignored.")
        elif isinstance(entry.data, UserError):
            taken.refused.append(Refusal(printable(str(path)), str(entry.data)))
        else:
            where, data = printable(path.name), entry.data
            texts = partial(parse_descriptions, data, where)
            taken.add(path.name[: -len(SUFFIX)], texts, str(path))
    return taken.as_set(notes)


def _gather(rows: Iterable[Row], notes: Sequence[str]) -> ImportedSet:
    """Put the rows of each concept together, in order; check names and texts."""
    texts: dict[str, list[str]] = {}
    for concept, description in rows:
        texts.setdefault(concept, []).append(description)
    taken = _Taken()
    for typed, descriptions in texts.items():
        taken.add(typed, partial(normalise_descriptions, descriptions), typed)
    return taken.as_set(notes)


class _Taken:
    """Concepts of a file as they would be stored, and what of it cannot be."""

    def __init__(self) -> None:
        self._concepts: dict[str, tuple[str, ...]] = {}
        self._names: dict[str, str] = {}
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

    def as_set(self, notes: Sequence[str]) -> ImportedSet:
        """All of it, with the first notes."""
        return ImportedSet(self._concepts, tuple(self.refused), tuple(notes[:20]))


def _columns(cells: Sequence[str], file: str) -> tuple[tuple[int, int], bool]:
    """Where concept and description stand, and whether these cells are titles."""
    titles = [cell.strip().casefold() for cell in cells]
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


def _csv_row(number: int, cells: Sequence[str], columns: tuple[int, int], file: str) -> Row:
    if len(cells) <= max(columns):
        raise UserError(
            "the row has no description",
            where=f"{file} line {number}",
            fix="every row needs a concept and a description",
        )
    return cells[columns[0]], cells[columns[1]]


def _json_row(value: Any, where: str) -> Row:
    if not isinstance(value, dict):
        raise UserError("the line is no JSON object", where=where, fix=_LINE)
    for key in ("concept", "description"):
        if not isinstance(value.get(key), str):
            raise UserError(f"'{key}' is missing or no text", where=where, fix=_LINE)
    return value["concept"], value["description"]


def _zip_bytes(concepts: Iterable[Concept]) -> bytes:
    names = ((f"{concept.name}{SUFFIX}", concept.descriptions) for concept in concepts)
    files = {name: encode_descriptions(texts, name) for name, texts in names}
    return zip_bytes(files, compress=True)


def _csv_bytes(concepts: Iterable[Concept]) -> bytes:
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer)
    writer.writerow(("concept", "description"))
    writer.writerows(_rows(concepts))
    return buffer.getvalue().encode("utf-8")


def _jsonl_bytes(concepts: Iterable[Concept]) -> bytes:
    lines = (
        json.dumps({"concept": name, "description": text}, ensure_ascii=False)
        for name, text in _rows(concepts)
    )
    return "".join(f"{line}\n" for line in lines).encode("utf-8")


def _rows(concepts: Iterable[Concept]) -> Iterator[Row]:
    for concept in concepts:
        for text in concept.descriptions or ("",):
            yield concept.name, text


_Read = Callable[[bytes, str], ImportedSet]
_Write = Callable[[Iterable[Concept]], bytes]
_FORMATS: dict[str, tuple[_Read, _Write]] = {
    ".zip": (read_zip, _zip_bytes),
    ".csv": (read_csv, _csv_bytes),
    ".jsonl": (read_jsonl, _jsonl_bytes),
}

SET_SUFFIXES = tuple(_FORMATS)
"""What a set's file name may end in."""


def _format(suffix: str) -> tuple[_Read, _Write]:
    try:
        return _FORMATS[suffix.lower()]
    except KeyError:
        raise UserError(
            f"a set of descriptions cannot be a '{printable(suffix)}' file",
            fix="choose another format",
            options=SET_SUFFIXES,
        ) from None


def _planned(name: str, descriptions: tuple[str, ...], present: Concept | None) -> PlannedConcept:
    if present is None:
        return PlannedConcept(name, "added", descriptions, (), None)
    change: Change = "same" if present.descriptions == descriptions else "changed"
    return PlannedConcept(
        present.name, change, descriptions, present.descriptions, present.fingerprint
    )
