"""Small files on disk: bounded reads, fingerprints, atomic durable writes."""

import hashlib
import os
import secrets
import stat
import threading
from pathlib import Path

from readout_ui.description_text import MAX_FILE_BYTES, UnreadableFile, too_large
from readout_ui.errors import UserError

WRITING = threading.RLock()
"""Held while a concept is checked and replaced: two tabs cannot interleave."""

_CHUNK = 1 << 20


def shown(path: Path) -> str:
    """The file's name for a message, whatever bytes it is made of."""
    return os.fsencode(path.name).decode("utf-8", "backslashreplace")


def require_regular(path: Path) -> os.stat_result:
    """The file's status.

    Raises:
        UnreadableFile: missing, a dangling link, a folder, or no regular file.
    """
    try:
        status = path.stat()
    except OSError as error:
        broken_link = path.is_symlink()
        what = "the link points to nothing" if broken_link else _reason("cannot be read", error)
        raise UnreadableFile(what, where=shown(path), fix="remove or mend it") from None
    if stat.S_ISDIR(status.st_mode):
        raise UnreadableFile(
            "this is a folder, not a text file", where=shown(path), fix="rename the folder"
        )
    if not stat.S_ISREG(status.st_mode):
        raise UnreadableFile("this is not a regular file", where=shown(path), fix="remove it")
    return status


def read_bytes(path: Path, limit: int = MAX_FILE_BYTES) -> bytes:
    """The whole file, if it has at most `limit` bytes.

    Raises:
        UnreadableFile: see `require_regular`; larger than that; or the system refuses.
    """
    size = require_regular(path).st_size
    if size > limit:
        raise too_large(shown(path), size, limit)
    try:
        with path.open("rb") as file:
            raw = file.read(limit + 1)
    except OSError as error:
        raise UnreadableFile(
            _reason("cannot be read", error), where=shown(path), fix="check its permissions"
        ) from None
    if len(raw) > limit:
        raise too_large(shown(path), len(raw), limit)
    return raw


def fingerprint_of_bytes(raw: bytes) -> str:
    """sha256 in hex."""
    return hashlib.sha256(raw).hexdigest()


def fingerprint_of(path: Path) -> str | None:
    """sha256 of the file's bytes in hex, read in pieces; None when there is no file."""
    if not os.path.lexists(path):
        return None
    require_regular(path)
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while piece := file.read(_CHUNK):
                digest.update(piece)
    except OSError as error:
        raise UnreadableFile(
            _reason("cannot be read", error), where=shown(path), fix="check its permissions"
        ) from None
    return digest.hexdigest()


def write_file(path: Path, data: bytes) -> None:
    """Replace or make the file at once: after a crash it holds all the old or all the new bytes.

    A link is followed, so that the file it names changes and the link stays.

    Raises:
        UserError: the system refuses; the file is then as it was.
    """
    target = Path(os.path.realpath(path))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _replace(target, data)
    except OSError as error:
        raise UserError(
            _reason("could not be written", error),
            where=shown(path),
            fix="check the folder's permissions and free space; the old text is untouched",
        ) from None


def copy_file(source: Path, target: Path) -> None:
    """Copy bytes in pieces; the copy appears at once and whole."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = _partial(target)
    try:
        with source.open("rb") as old, partial.open("xb") as new:
            while piece := old.read(_CHUNK):
                new.write(piece)
            new.flush()
            os.fsync(new.fileno())
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Make a rename in the folder durable, where the system can."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _replace(target: Path, data: bytes) -> None:
    partial = _partial(target)
    try:
        with partial.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if target.exists():
            partial.chmod(stat.S_IMODE(target.stat().st_mode))
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)
    sync_folder(target.parent)


def _partial(target: Path) -> Path:
    # A leading dot: a reader of the folder never takes half a file for a concept.
    return target.parent / f".saving-{secrets.token_hex(8)}"


def _reason(what: str, error: OSError) -> str:
    return f"{what} ({error.strerror or type(error).__name__})"
