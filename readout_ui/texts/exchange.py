"""Sets of descriptions as one file: export, import, and a plan shown before anything is written."""

import csv
import io
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from readout_ui.errors import UserError
from readout_ui.files import WRITING, fingerprint_of, read_bytes, shown, write_file
from readout_ui.texts.editing import find_concept_file, save_concept
from readout_ui.texts.library import Concept, Library
from readout_ui.texts.names import SUFFIX, fold_name, printable
from readout_ui.texts.set_reading import (
    ImportedSet,
    Refusal,
    read_csv,
    read_jsonl,
    read_zip,
    zip_bytes,
)

MAX_SET_BYTES = 50_000_000

Change = Literal["added", "changed", "same"]


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
    return _format(suffix).write(library.files)


def import_set(path: Path | str) -> ImportedSet:
    """Read a set; nothing is written.

    Raises:
        UserError: another suffix, too large, or not what the suffix says (with the line).
    """
    path = Path(path)
    read = _format(path.suffix).read
    return read(read_bytes(path, MAX_SET_BYTES), shown(path))


def plan_import(library: Library, imported: ImportedSet) -> ImportPlan:
    """Compare a set with what is on disk; names are matched under case folding."""
    present = {fold_name(c.name): c for c in library.files}
    broken = {fold_name(p.file.removesuffix(SUFFIX)): p.file for p in library.problems}
    planned = []
    refused = list(imported.refused)
    for name, descriptions in imported.concepts.items():
        key = fold_name(name)
        if key in broken and key not in present:
            reason = f"{broken[key]} on disk cannot be used; mend or delete it first."
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
    with WRITING:
        for concept in due:
            path = find_concept_file(folder, concept.name)
            if (fingerprint_of(path) if path is not None else None) != concept.opened:
                raise UserError(
                    "the file changed since the plan was made, so nothing was imported",
                    where=f"{concept.name}{SUFFIX}",
                    fix="open the import again and look at the new plan",
                )
        return tuple(save_concept(folder, c.name, c.descriptions, c.opened) for c in due)


@dataclass(frozen=True)
class _Format:
    read: Callable[[bytes, str], ImportedSet]
    write: Callable[[Iterable[Concept]], bytes]


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


def _rows(concepts: Iterable[Concept]) -> Iterable[tuple[str, str]]:
    for concept in concepts:
        for text in concept.descriptions or ("",):
            yield concept.name, text


_FORMATS = {
    ".zip": _Format(read_zip, zip_bytes),
    ".csv": _Format(read_csv, _csv_bytes),
    ".jsonl": _Format(read_jsonl, _jsonl_bytes),
}

SET_SUFFIXES = tuple(_FORMATS)
"""What a set's file name may end in."""


def _format(suffix: str) -> _Format:
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
