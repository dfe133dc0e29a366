"""Earlier versions and deleted concepts as files: `.history/<name>/` and `.trash/` in the folder.

Every file name begins with the moment in UTC; contents are the replaced file's exact bytes.
"""

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from readout_ui.errors import UnreadableFile
from readout_ui.files import (
    copy_file,
    fingerprint_of,
    os_errors,
    read_bytes,
    require_regular,
    sha256_of,
    shown,
    sync_folder,
    write_file,
)
from readout_ui.texts.names import SUFFIX
from readout_ui.texts.reading import parse_descriptions

HISTORY = ".history"
TRASH = ".trash"

_NOT_KEPT = "the present version could not be put into the history"
_UNCHANGED = "check the folder's permissions and free space; nothing was changed"
_MOMENT = "%Y%m%dT%H%M%S.%fZ"
_MOMENT_LENGTH = 23


@dataclass(frozen=True)
class Version:
    """One earlier content of a concept's file."""

    when: datetime
    """When it was stored last, UTC."""
    fingerprint: str
    """sha256 of the bytes, hex."""
    n_descriptions: int
    """0 when the bytes were not readable as descriptions."""
    path: Path


@dataclass(frozen=True)
class TrashEntry:
    """One deleted concept."""

    name: str
    when: datetime
    """When it was deleted, UTC."""
    n_descriptions: int
    """0 when the bytes were not readable as descriptions."""
    path: Path


def keep_version(folder: Path, name: str, source: Path, *, again: bool = True) -> None:
    """Store the bytes of `source` as a version of `name`; equal bytes are stored once.

    Args:
        folder: the library's folder.
        name: the concept.
        source: the file as it is now.
        again: move an equal stored version to the present moment.

    Raises:
        UserError: it cannot be stored; nothing should be replaced then.
    """
    require_regular(source)
    fingerprint = fingerprint_of(source)
    with os_errors(_NOT_KEPT, shown(source), _UNCHANGED):
        target = _shelve(folder / HISTORY / name, f"{fingerprint}{SUFFIX}", again=again)
        if target is not None:
            copy_file(source, target)


def keep_bytes(folder: Path, name: str, data: bytes) -> None:
    """Store bytes that are about to be written as a version of `name`; see `keep_version`."""
    shelf = folder / HISTORY / name
    with os_errors(_NOT_KEPT, shown(shelf), _UNCHANGED):
        target = _shelve(shelf, f"{sha256_of(data)}{SUFFIX}", again=True)
    if target is not None:
        write_file(target, data)


def versions_of(folder: Path, name: str) -> list[Version]:
    """All stored versions, newest first; foreign files are passed over."""
    shelf = folder / HISTORY / name
    if not shelf.is_dir():
        return []
    found = (_version(path) for path in shelf.iterdir())
    return sorted((v for v in found if v is not None), key=lambda v: v.path.name, reverse=True)


def move_versions(folder: Path, old: str, new: str) -> None:
    """Give the versions of `old` to `new`, beside those that `new` has already."""
    source, target = folder / HISTORY / old, folder / HISTORY / new
    if not source.is_dir() or source == target:
        return
    if not target.exists():
        os.replace(source, target)
        return
    if source.samefile(target):  # the same folder on a disk that ignores case
        return
    for path in source.iterdir():
        os.replace(path, target / path.name)
    source.rmdir()


def move_to_trash(folder: Path, name: str, path: Path) -> TrashEntry:
    """Move a concept's file into the trash."""
    target = folder / TRASH / f"{_now()}-{name}{SUFFIX}"
    fix = "check the folder's permissions; nothing was deleted"
    with os_errors("could not be moved to the trash", shown(path), fix):
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(path, target)
        sync_folder(folder)
    entry = _trash_entry(target)
    assert entry is not None
    return entry


def list_trash(folder: Path | str) -> list[TrashEntry]:
    """What was deleted, newest first."""
    shelf = Path(folder) / TRASH
    if not shelf.is_dir():
        return []
    found = (_trash_entry(path) for path in shelf.iterdir())
    return sorted((e for e in found if e is not None), key=lambda e: e.path.name, reverse=True)


def _shelve(shelf: Path, ending: str, *, again: bool) -> Path | None:
    """Where a version should be written; None when it is stored already."""
    target = shelf / f"{_now()}-{ending}"
    stored = next(iter(shelf.glob(f"*-{ending}")), None) if shelf.is_dir() else None
    if stored is not None and again:
        os.replace(stored, target)
    return target if stored is None else None


def _now() -> str:
    return datetime.now(UTC).strftime(_MOMENT)


def _moment(file: str) -> datetime | None:
    try:
        return datetime.strptime(file[:_MOMENT_LENGTH], _MOMENT).replace(tzinfo=UTC)
    except ValueError:
        return None


def _version(path: Path) -> Version | None:
    when = _moment(path.name)
    if when is None or not path.name.endswith(SUFFIX):
        return None
    fingerprint = path.name[_MOMENT_LENGTH + 1 : -len(SUFFIX)]
    return Version(when, fingerprint, _count(path, fingerprint), path)


def _trash_entry(path: Path) -> TrashEntry | None:
    when = _moment(path.name)
    name = path.name[_MOMENT_LENGTH + 1 : -len(SUFFIX)]
    if when is None or not name or not path.name.endswith(SUFFIX):
        return None
    return TrashEntry(name, when, _count(path, None), path)


def _count(path: Path, fingerprint: str | None) -> int:
    try:
        raw = read_bytes(path)
        intact = fingerprint is None or sha256_of(raw) == fingerprint
        return len(parse_descriptions(raw, shown(path))) if intact else 0
    except UnreadableFile:
        return 0
