"""What the concept editor does, without a page: open, check, save, earlier texts, trash.

The page holds the boxes a person types in; everything here is asked about one concept by name, so
any number of open pages may ask at once. Nothing is written when the desk is read-only.

What the concept editor needs of the running app.

The list of concepts as the page shows it: counts, states and files that cannot be used.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from readout_ui.errors import UserError, printable
from readout_ui.files import sha256_of
from readout_ui.texts.editing import (
    FileChanged,
    create_concept,
    delete_concept,
    list_versions,
    read_version,
    rename_concept,
    restore_trashed,
    restore_version,
    save_concept,
)
from readout_ui.texts.library import Concept, Library
from readout_ui.texts.lint import Finding, check_concept
from readout_ui.texts.names import check_name, is_neutral_name
from readout_ui.texts.versions import TrashEntry, Version, list_trash

if TYPE_CHECKING:
    from readout_ui.evaluation.influence import Influence


class Desk(Protocol):
    """What the editor needs of the running app; `Studio` is one."""

    @property
    def folder(self) -> Path:
        """The description folder."""
        ...

    @property
    def read_only(self) -> bool:
        """True when nothing may be written."""
        ...

    def library(self) -> Library:
        """What is on disk now."""
        ...

    def concept_states(self) -> dict[str, str]:
        """Name to "new", "edited", "trained", "empty" or "problem"."""
        ...

    def count_tokens(self, texts: Sequence[str]) -> list[int] | None:
        """Tokens of each text; None while no model is loaded."""
        ...


@runtime_checkable
class JudgingDesk(Protocol):
    """A desk that also knows what each text did to the vectors in use; not every desk does."""

    def influence(self, name: str) -> tuple["Influence", ...] | None:
        """Of a concept's texts as they were trained on; None while it is being worked out."""
        ...


def influence_notes(desk: Desk, name: str, boxes: Sequence[str]) -> list[str] | None:
    """One line per box, mostly empty; a text that was edited since the training has none.

    None while the desk is still working it out.
    """
    influences = desk.influence(name) if isinstance(desk, JudgingDesk) else ()
    if influences is None:
        return None
    notes = {one.text.strip(): one.note() for one in influences}
    return [notes.get(text.strip(), "") for text in boxes]


def refuse_if_read_only(desk: Desk, wish: str) -> None:
    """Raise a UserError when nothing may be written."""
    if desk.read_only:
        raise UserError(
            f"cannot {wish}: the app runs read-only", fix="start it without --read-only"
        )


@dataclass(frozen=True)
class Opened:
    """One concept as the editor shows it."""

    name: str
    neutral: bool
    fingerprint: str
    """sha256 of the file this was read from; saving gives it back."""
    descriptions: tuple[str, ...]


@dataclass(frozen=True)
class Conflict:
    """A save that was not done, because the file is not the one that was opened."""

    message: str
    mine: tuple[str, ...]
    theirs: tuple[str, ...]
    """Empty when the file is gone."""
    theirs_fingerprint: str | None
    """What to save with to keep mine; None when the file is gone."""


@dataclass(frozen=True)
class Review:
    """Lint and token counts for texts that are being typed."""

    findings: tuple[Finding, ...]
    """`index` counts the boxes, empty ones included."""
    tokens: tuple[int | None, ...] | None
    """Per box, None for an empty one; None as a whole while no model is loaded."""


def open_concept(desk: Desk, name: str) -> Opened:
    """One concept as it is on disk.

    Raises:
        UserError: there is none of that name.
    """
    return _opened(desk.library().concept(name))


def review(desk: Desk, name: str, boxes: Sequence[str]) -> Review:
    """Check the texts in the boxes against each other and the rest of the library."""
    filled = [index for index, text in enumerate(boxes) if text.strip()]
    counts = desk.count_tokens([boxes[index] for index in filled]) if filled else []
    return Review(
        check_concept(desk.library(), name, boxes),
        None if counts is None else _per_box(len(boxes), dict(zip(filled, counts, strict=True))),
    )


def save(desk: Desk, name: str, boxes: Sequence[str], opened: str | None) -> Opened | Conflict:
    """Write the boxes, unless the file is not the one that was opened.

    Args:
        desk: where the folder is.
        name: the concept.
        boxes: its texts; empty ones are left out.
        opened: fingerprint of the file that was opened; None: it must not exist.

    Raises:
        UserError: read-only, unsafe name, or the system refuses.
    """
    refuse_if_read_only(desk, "save")
    try:
        return _opened(save_concept(desk.folder, name, boxes, opened))
    except FileChanged as changed:
        return Conflict(str(changed), changed.mine, changed.theirs, changed.theirs_fingerprint)


def create(desk: Desk, name: str, *, neutral: bool) -> Opened:
    """Make an empty concept or file of neutral texts."""
    refuse_if_read_only(desk, "create a concept")
    return _opened(create_concept(desk.folder, name, neutral=neutral))


def rename(desk: Desk, name: str, to: str) -> Opened:
    """Give a concept another name; its history goes along."""
    refuse_if_read_only(desk, "rename")
    return _opened(rename_concept(desk.folder, name, to))


def delete(desk: Desk, name: str) -> TrashEntry:
    """Move a concept, or a file that cannot be used, to the trash."""
    refuse_if_read_only(desk, "delete")
    return delete_concept(desk.folder, name)


def trash(desk: Desk) -> list[TrashEntry]:
    """What was deleted, newest first."""
    return list_trash(desk.folder)


def undelete(desk: Desk, entry: str, to: str | None = None) -> Opened:
    """Bring a deleted concept back.

    Args:
        desk: where the folder is.
        entry: file name of the trashed file.
        to: another name for it.

    Raises:
        UserError: read-only, gone from the trash, unreadable, or the name is in use.
    """
    refuse_if_read_only(desk, "restore")
    found = next((item for item in list_trash(desk.folder) if item.path.name == entry), None)
    if found is None:
        raise UserError("this is no longer in the trash", where=printable(entry))
    return _opened(restore_trashed(desk.folder, found, to))


def versions(desk: Desk, name: str) -> list[Version]:
    """Earlier versions of a concept that differ from the present one, newest first."""
    return list_versions(desk.folder, _safe(name))


def version_texts(desk: Desk, name: str, fingerprint: str) -> tuple[str, ...]:
    """The descriptions of one earlier version."""
    return read_version(_version(desk, name, fingerprint))


def put_back(desk: Desk, name: str, fingerprint: str) -> Opened:
    """Replace a concept's file by an earlier version; the present one goes to the history."""
    refuse_if_read_only(desk, "restore a version")
    version = _version(desk, name, fingerprint)
    return _opened(restore_version(desk.folder, name, version))


def _opened(concept: Concept) -> Opened:
    return Opened(concept.name, concept.is_neutral, concept.fingerprint, concept.descriptions)


def _per_box(n_boxes: int, counts: Mapping[int, int]) -> tuple[int | None, ...]:
    return tuple(counts.get(index) for index in range(n_boxes))


def _safe(name: str) -> str:
    # It becomes a folder below .history, so nothing but a plain file name may pass.
    return check_name(name, neutral=is_neutral_name(name))


def _version(desk: Desk, name: str, fingerprint: str) -> Version:
    for version in list_versions(desk.folder, _safe(name)):
        if version.fingerprint == fingerprint:
            return version
    raise UserError("there is no such version any more", where=printable(name))


@dataclass(frozen=True)
class Row:
    """One concept in the list."""

    name: str
    n_descriptions: int
    state: str
    """ "new", "edited", "trained" or "empty"."""
    neutral: bool
    fingerprint: str
    """sha256 of the file, by which the page notices that it changed."""


@dataclass(frozen=True)
class BrokenFile:
    """One file in the list that cannot be used."""

    file: str
    message: str


@dataclass(frozen=True)
class Overview:
    """The whole list."""

    folder: str
    read_only: bool
    rows: tuple[Row, ...]
    """Concepts by name, then neutral files by name."""
    problems: tuple[BrokenFile, ...]
    error: str
    """Why the folder cannot be read, empty when it can."""

    @property
    def revision(self) -> str:
        """Changes whenever anything in the list does."""
        return sha256_of(repr(self).encode("utf-8", "backslashreplace"))


def overview(desk: Desk) -> Overview:
    """The list as it is now; a folder that cannot be read gives an empty list and the reason."""
    try:
        library = desk.library()
        states = desk.concept_states()
    except UserError as error:
        return Overview(str(desk.folder), desk.read_only, (), (), str(error))
    return Overview(
        str(desk.folder),
        desk.read_only,
        tuple(_row(concept, states) for concept in library.files),
        tuple(BrokenFile(problem.file, problem.message) for problem in library.problems),
        "",
    )


def _row(concept: Concept, states: Mapping[str, str]) -> Row:
    fallback = "new" if concept.descriptions else "empty"
    return Row(
        concept.name,
        len(concept.descriptions),
        states.get(concept.name, fallback),
        concept.is_neutral,
        concept.fingerprint,
    )
