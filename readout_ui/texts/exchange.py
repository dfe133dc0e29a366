"""Sets of descriptions as one file (zip, CSV, JSON lines): export, and import by way of a plan.

Whatever a file holds, nothing of it is written before the plan was shown. A file whose structure
is wrong is refused as a whole; a concept that cannot be stored is refused by name, with the reason.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from readout_ui.errors import UserError, printable
from readout_ui.files import read_bytes, shown, too_large, write_file
from readout_ui.texts.editing import bytes_of, concept_index, mark_of, put_concept
from readout_ui.texts.library import Concept, Library
from readout_ui.texts.names import SUFFIX, fold_name
from readout_ui.texts.set_files import ImportedSet, Refusal, format_of
from readout_ui.texts.tags import Tags, change_tags, read_tags
from readout_ui.texts.versions import changing

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
    tags: tuple[str, ...] = ()
    """Those that the file adds to the present ones."""


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
    _, write = format_of(suffix)
    return write(library.files, _tags_beside(library))


def import_set(path: Path | str) -> ImportedSet:
    """Read a set; nothing is written.

    Raises:
        UserError: another suffix, too large, or not what the suffix says (with the line).
    """
    path = Path(path)
    format_of(path.suffix)
    return read_set(read_bytes(path, MAX_SET_BYTES), shown(path))


def read_set(raw: bytes, file: str) -> ImportedSet:
    """A set's bytes, by the ending of the file's name; UserError as `import_set`."""
    if len(raw) > MAX_SET_BYTES:
        raise too_large(file, len(raw), MAX_SET_BYTES)
    read, _ = format_of(PurePosixPath(file).suffix)
    return read(raw, file)


def plan_import(library: Library, imported: ImportedSet) -> ImportPlan:
    """Compare a set with what is on disk; names are matched under case folding."""
    present = {fold_name(c.name): c for c in library.files}
    broken = {fold_name(p.file.removesuffix(SUFFIX)): p.file for p in library.problems}
    planned, said = [], _tags_beside(library)
    refused = list(imported.refused)
    for name, descriptions in imported.concepts.items():
        key = fold_name(name)
        if key in broken and key not in present:
            reason = f"{broken[key]} on disk cannot be used; correct or delete it first."
            refused.append(Refusal(printable(name), reason))
        else:
            there, tags = present.get(key), imported.tags.get(name, ())
            more = [tag for tag in tags if tag not in said.of(there.name if there else name)]
            planned.append(_planned(name, descriptions, there, tuple(more)))
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
        written = tuple(_import_all(folder, zip(due, paths, strict=True)))
        if any(concept.tags for concept in due):
            change_tags(folder, lambda said: _with_more(said, due))
        return written


def _with_more(said: Tags, due: Iterable[PlannedConcept]) -> Tags:
    for concept in due:
        said = said.with_tags(concept.name, [*said.of(concept.name), *concept.tags])
    return said


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


def _planned(
    name: str, descriptions: tuple[str, ...], present: Concept | None, tags: tuple[str, ...]
) -> PlannedConcept:
    if present is None:
        return PlannedConcept(name, "added", descriptions, (), None, tags)
    same = present.descriptions == descriptions and not tags
    return PlannedConcept(
        present.name,
        "same" if same else "changed",
        descriptions,
        present.descriptions,
        present.fingerprint,
        tags,
    )


def _tags_beside(library: Library) -> Tags:
    """The tags of the folder that a library was read from; none for texts from Python."""
    return read_tags(library.folder) if any(c.path.name for c in library.files) else Tags()
