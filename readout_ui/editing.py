"""What the concept editor does, without a page: open, check, save, earlier texts, trash.

The page holds the boxes a person types in; everything here is asked about one concept by name, so
any number of open pages may ask at once. Nothing is written when the desk is read-only.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from readout_ui.concept_names import check_name, is_neutral_name, printable
from readout_ui.descriptions import (
    FileChanged,
    create_concept,
    delete_concept,
    rename_concept,
    save_concept,
)
from readout_ui.desk import Desk, refuse_if_read_only
from readout_ui.errors import UserError
from readout_ui.history import (
    TrashEntry,
    Version,
    list_trash,
    list_versions,
    read_version,
    restore_trashed,
    restore_version,
)
from readout_ui.library import Concept
from readout_ui.lint import Finding, check_concept


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
