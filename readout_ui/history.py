"""Earlier versions of concepts and the trash: list them, read them, bring them back."""

import os
from pathlib import Path

from readout_ui.concept_names import SUFFIX, check_name, is_neutral_name, printable
from readout_ui.description_text import UnreadableFile, parse_descriptions
from readout_ui.descriptions import find_concept_file, replace_bytes
from readout_ui.errors import UserError
from readout_ui.files import (
    WRITING,
    fingerprint_of,
    fingerprint_of_bytes,
    read_bytes,
    shown,
    sync_folder,
)
from readout_ui.library import Concept, Library, concept_name, read_concept
from readout_ui.versions import TrashEntry, Version, keep_version, trash_of, versions_of

__all__ = [
    "NameTaken",
    "TrashEntry",
    "Version",
    "list_trash",
    "list_versions",
    "read_trashed",
    "read_version",
    "record_library",
    "record_version",
    "restore_trashed",
    "restore_version",
]


class NameTaken(UserError):
    """A deleted concept's name is in use again; both texts are untouched."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"there is a concept '{printable(name)}' again",
            where="trash",
            fix="restore under another name, or replace the present one, which goes to its history",
        )


def list_versions(folder: Path | str, name: str) -> list[Version]:
    """Earlier versions that differ from the file as it is now, newest first."""
    folder = Path(folder)
    present = _present_fingerprint(folder, name)
    return [v for v in versions_of(folder, name) if v.fingerprint != present]


def read_version(version: Version) -> tuple[str, ...]:
    """The descriptions of an earlier version.

    Raises:
        UserError: the stored bytes are gone, damaged, or were never readable.
    """
    return parse_descriptions(_stored_bytes(version), shown(version.path))


def restore_version(folder: Path | str, name: str, version: Version) -> Concept:
    """Put an earlier version's exact bytes back; the present version goes to the history.

    Raises:
        UserError: the stored bytes are gone, damaged, or were never readable.
    """
    folder = Path(folder)
    with WRITING:
        data = _stored_bytes(version)
        parse_descriptions(data, shown(version.path))
        name = check_name(name, neutral=is_neutral_name(name))
        path = find_concept_file(folder, name) or folder / f"{name}{SUFFIX}"
        return replace_bytes(folder, path, data)


def record_version(folder: Path | str, concept: Concept) -> None:
    """Store the file as another editor left it, unless these bytes are stored already.

    Raises:
        UserError: the history cannot be written.
    """
    folder = Path(folder)
    with WRITING:
        if concept.path.is_file():
            keep_version(folder, concept.name, concept.path, again=False)


def record_library(library: Library, known: dict[str, str] | None = None) -> dict[str, str]:
    """Record every concept whose fingerprint is not the one in `known`; call it after a poll.

    A history that cannot be written (a read-only folder) must not keep anyone from reading: what
    was not recorded is missing in the answer and so tried again at the next call.

    Args:
        library: as read just now.
        known: what the last call returned; None records all.

    Returns:
        The fingerprints of what is recorded.
    """
    seen = known or {}
    recorded = {n: f for n, f in library.fingerprints().items() if seen.get(n) == f}
    for concept in library.files:
        if concept.name not in recorded:
            try:
                record_version(library.folder, concept)
            except UserError:
                break
            recorded[concept.name] = concept.fingerprint
    return recorded


def list_trash(folder: Path | str) -> list[TrashEntry]:
    """Deleted concepts, newest first."""
    return trash_of(Path(folder))


def read_trashed(entry: TrashEntry) -> tuple[str, ...]:
    """The descriptions of a deleted concept.

    Raises:
        UserError: the bytes are gone or were never readable.
    """
    return parse_descriptions(read_bytes(entry.path), shown(entry.path))


def restore_trashed(
    folder: Path | str, entry: TrashEntry, new_name: str | None = None, *, replace: bool = False
) -> Concept:
    """Undo a deletion: the file moves back as it was, readable or not.

    Args:
        folder: the library's folder.
        entry: from `list_trash` or `delete_concept`.
        new_name: bring it back under this name.
        replace: overwrite a present concept of the name; it goes to the history.

    Raises:
        NameTaken: the name is in use and `replace` is False.
        UnreadableFile: the file is back, but its bytes cannot be used as descriptions.
        UserError: unsafe new name, the entry is gone, or the system refuses.
    """
    folder = Path(folder)
    with WRITING:
        name = entry.name
        if new_name is not None:
            name = check_name(new_name, neutral=is_neutral_name(name))
        present = find_concept_file(folder, name)
        if present is not None and not replace:
            raise NameTaken(name)
        if present is not None:
            keep_version(folder, concept_name(present), present)
        target = present or folder / f"{name}{SUFFIX}"
        _move_back(entry, target)
        return read_concept(target)


def _move_back(entry: TrashEntry, target: Path) -> None:
    try:
        os.replace(entry.path, target)
        sync_folder(target.parent)
    except FileNotFoundError:
        raise UserError("this is no longer in the trash", where=printable(entry.name)) from None
    except OSError as error:
        raise UserError(
            f"could not be brought back ({error.strerror})",
            where=printable(entry.name),
            fix="check the folder's permissions; it is still in the trash",
        ) from None


def _present_fingerprint(folder: Path, name: str) -> str | None:
    path = find_concept_file(folder, name)
    try:
        return fingerprint_of(path) if path is not None else None
    except UnreadableFile:
        return None


def _stored_bytes(version: Version) -> bytes:
    raw = read_bytes(version.path)
    if fingerprint_of_bytes(raw) != version.fingerprint:
        raise UserError("this stored version is damaged", where=shown(version.path))
    return raw
