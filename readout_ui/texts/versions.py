"""Earlier versions and deleted concepts as files: `.history/<name>/` and `.trash/` in the folder.

A file's name is the moment in UTC, a number that only grows, and the sha256 of its bytes (in the
trash the concept's name); contents are the replaced file's exact bytes. The number tells what is
newer, whatever the clock says. Nothing stored is relied upon before its bytes were read again.
"""

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from readout_ui.errors import UnreadableFile, UserError
from readout_ui.files import (
    fsync_file,
    locked,
    os_errors,
    put_bytes,
    read_bytes,
    remove_stale,
    sha256_of,
    shown,
    sync_folder,
)
from readout_ui.texts.names import SUFFIX
from readout_ui.texts.reading import parse_descriptions

HISTORY = ".history"
TRASH = ".trash"
MAX_KEPT_BYTES = 200_000_000
"""Larger files are not kept as versions: they are no descriptions, and are never replaced."""

_NOT_KEPT = "the present version could not be put into the history"
_UNCHANGED = "check the folder's permissions and free space; nothing was changed"
_MOMENT = "%Y%m%dT%H%M%S.%fZ"
# Files of before there was a number have none and come before all others.
_NAME = re.compile(r"(\d{8}T\d{6}\.\d{6}Z)(?:\.(\d{1,18}))?-(.+)\.txt", re.DOTALL)
_RENAMING = ".renaming"


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


@dataclass(frozen=True)
class _Kept:
    """What a file's name in the history or the trash says."""

    number: int
    when: datetime
    rest: str
    """Fingerprint of a version, name of a deleted concept."""
    path: Path

    def holds_its_bytes(self) -> bool:
        """Whether the bytes of a version are those that its name says."""
        try:
            return sha256_of(read_bytes(self.path, MAX_KEPT_BYTES)) == self.rest
        except UnreadableFile:
            return False


@contextmanager
def changing(folder: Path) -> Iterator[None]:
    """Held while a concept's file is checked and replaced, by this program alone.

    Raises:
        UserError: see `files.locked`.
    """
    with locked(folder):
        with suppress(OSError):
            _finish_rename(folder)
        yield


def keep_version(folder: Path, name: str, source: Path, *, again: bool = True) -> None:
    """Store the bytes of `source` as a version of `name`; see `keep_bytes`."""
    keep_bytes(folder, name, read_bytes(source, MAX_KEPT_BYTES), again=again)


def keep_bytes(
    folder: Path, name: str, data: bytes, *, again: bool = True, durable: bool = True
) -> None:
    """Store bytes as a version of `name`; equal ones are stored once.

    Args:
        folder: the library's folder.
        name: the concept.
        data: bytes that are to be replaced, or written.
        again: let an equal stored version become the newest one.
        durable: wait until the disk has them; needless while the file itself still holds them.

    Raises:
        UserError: they cannot be stored; nothing should be replaced then.
    """
    shelf, fingerprint = folder / HISTORY / name, sha256_of(data)
    with os_errors(_NOT_KEPT, shown(shelf), _UNCHANGED):
        kept = _kept_in(shelf)
        stored = next((each for each in kept if each.rest == fingerprint), None)
        if stored is not None and not stored.holds_its_bytes():
            _repair(shelf)
            kept, stored = _kept_in(shelf), None
        if stored is None:
            put_bytes(shelf / _new_name(kept, fingerprint), data, durable=durable)
            return
        if durable:
            fsync_file(stored.path)
        if again and stored is not kept[-1]:
            os.replace(stored.path, shelf / _new_name(kept, fingerprint))


def versions_of(folder: Path, name: str) -> list[Version]:
    """All stored versions, newest first; foreign files are passed over."""
    kept = reversed(_kept_in(folder / HISTORY / name))
    return [Version(k.when, k.rest, _count(k.path, k.rest), k.path) for k in kept]


def begin_rename(folder: Path, old: str, new: str) -> None:
    """Note that `old` becomes `new`, so that its history follows even when this program is killed.

    Raises:
        UserError: it cannot be noted; nothing should be renamed then.
    """
    note = folder / HISTORY / _RENAMING
    with os_errors("the history cannot be written", shown(folder), _UNCHANGED):
        _finish_rename(folder)
        put_bytes(note, json.dumps({"old": old, "new": new}).encode())


def end_rename(folder: Path) -> None:
    """Let the history follow a rename; where the system refuses, the next change does it."""
    with suppress(OSError):
        _finish_rename(folder)


def _finish_rename(folder: Path) -> None:
    note = folder / HISTORY / _RENAMING
    if not note.exists():
        return
    try:
        names = json.loads(note.read_bytes())
        old, new = (str(Path(names[key]).name) for key in ("old", "new"))
    except (ValueError, KeyError, TypeError):
        note.unlink()
        return
    if (folder / f"{new}{SUFFIX}").exists() or not (folder / f"{old}{SUFFIX}").exists():
        _move_versions(folder / HISTORY / old, folder / HISTORY / new)
    note.unlink()


def _move_versions(source: Path, target: Path) -> None:
    """Give the versions of one concept to another, as the newest beside those it has already."""
    if not source.is_dir() or (target.exists() and source.samefile(target)):
        return
    if not target.exists():
        os.replace(source, target)
        sync_folder(target.parent)
        return
    there = _kept_in(target)
    for each in _kept_in(source):
        moved = target / _new_name(there, each.rest, each.when)
        os.replace(each.path, moved)
        there.append(_Kept(_number(there), each.when, each.rest, moved))
    with suppress(OSError):  # a file that is not ours stays
        source.rmdir()


def move_to_trash(folder: Path, name: str, path: Path) -> TrashEntry:
    """Move a concept's file into the trash."""
    shelf = folder / TRASH
    fix = "check the folder's permissions; nothing was deleted"
    with os_errors("could not be moved to the trash", shown(path), fix):
        shelf.mkdir(parents=True, exist_ok=True)
        when, kept = datetime.now(UTC), _kept_in(shelf)
        target = shelf / _name_of(when, _number(kept), name)
        os.replace(path, target)
    sync_folder(shelf)
    sync_folder(folder)
    return _trash_entry(_Kept(_number(kept), when, name, target))


def list_trash(folder: Path | str) -> list[TrashEntry]:
    """What was deleted, newest first."""
    return [_trash_entry(kept) for kept in reversed(_kept_in(Path(folder) / TRASH))]


def _trash_entry(kept: _Kept) -> TrashEntry:
    return TrashEntry(kept.rest, kept.when, _count(kept.path, None), kept.path)


def tidy_texts(folder: Path) -> None:
    """What a killed program left: its unfinished files, a half done rename, damaged versions.

    Bytes that lie under another hash get their own, so that they are found; nothing is deleted
    that is not stored elsewhere. Does nothing where the folder cannot be written.
    """
    if not folder.is_dir():
        return
    with suppress(UserError, OSError), changing(folder):
        for place in (folder, folder / TRASH, folder / HISTORY):
            remove_stale(place)
        for shelf in (folder / HISTORY).iterdir() if (folder / HISTORY).is_dir() else ():
            if shelf.is_dir():
                remove_stale(shelf)
                _repair(shelf)


def _repair(shelf: Path) -> None:
    kept = _kept_in(shelf)
    intact = {each.rest for each in kept if each.holds_its_bytes()}
    for each in kept:
        if each.rest not in intact:
            try:
                found = sha256_of(read_bytes(each.path, MAX_KEPT_BYTES))
            except UnreadableFile:
                continue
            if found in intact:
                each.path.unlink()
            else:
                os.replace(each.path, shelf / _name_of(each.when, each.number, found))
                intact.add(found)


def _kept_in(shelf: Path) -> list[_Kept]:
    """What is kept in a folder, oldest first; other files are passed over."""
    if not shelf.is_dir():
        return []
    found = (_kept(path) for path in shelf.iterdir())
    return sorted((k for k in found if k is not None), key=lambda k: (k.number, k.path.name))


def _kept(path: Path) -> _Kept | None:
    parts = _NAME.fullmatch(path.name)
    if parts is None:
        return None
    try:
        when = datetime.strptime(parts[1], _MOMENT).replace(tzinfo=UTC)
    except ValueError:
        return None
    return _Kept(int(parts[2] or 0), when, parts[3], path)


def _new_name(kept: list[_Kept], rest: str, when: datetime | None = None) -> str:
    """The name of what is newer than everything that is kept there already."""
    return _name_of(when or datetime.now(UTC), _number(kept), rest)


def _number(kept: list[_Kept]) -> int:
    return kept[-1].number + 1 if kept else 1


def _name_of(when: datetime, number: int, rest: str) -> str:
    return f"{when.strftime(_MOMENT)}.{number}-{rest}{SUFFIX}"


def _count(path: Path, fingerprint: str | None) -> int:
    try:
        raw = read_bytes(path)
        intact = fingerprint is None or sha256_of(raw) == fingerprint
        return len(parse_descriptions(raw, shown(path))) if intact else 0
    except UnreadableFile:
        return 0
