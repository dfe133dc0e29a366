"""Files on disk: bounded reads, locks, writes that appear at once and whole, zips, own folders."""

from __future__ import annotations

import hashlib
import math
import os
import platform
import re
import secrets
import shutil
import stat
import tempfile
import threading
import time
from atexit import register
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any, BinaryIO

from platformdirs import user_cache_path

from readout_ui.errors import UnreadableFile, UserError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

MAX_FILE_BYTES = 5_000_000
_CHUNK = 1 << 20
_SPACE = "check the folder's permissions and free space"


def shown(path: Path) -> str:
    """The file's name for a message, whatever bytes it is made of."""
    return os.fsencode(path.name).decode("utf-8", "backslashreplace")


@contextmanager
def os_errors(
    what: str, where: str, fix: str = "", kind: type[UserError] = UserError
) -> Iterator[None]:
    """What the system refuses inside the block, as one error for a person.

    Args:
        what: what cannot be done; the system's reason follows it in brackets.
        where: file or folder.
        fix: what to do about it.
        kind: class of the error.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise kind(f"{what} ({reason})", where=where, fix=fix) from error


def require_regular(path: Path) -> os.stat_result:
    """The file's status.

    Raises:
        UnreadableFile: missing, a dangling link, a folder, or no regular file.
    """
    try:
        status = path.stat()
    except OSError as error:
        broken_link = path.is_symlink()
        reason = error.strerror or type(error).__name__
        what = "the link points to nothing" if broken_link else f"cannot be read ({reason})"
        raise UnreadableFile(what, where=shown(path), fix="remove or repair it") from None
    if stat.S_ISDIR(status.st_mode):
        raise UnreadableFile(
            "this is a folder, not a text file", where=shown(path), fix="rename the folder"
        )
    if not stat.S_ISREG(status.st_mode):
        raise UnreadableFile("this is not a regular file", where=shown(path), fix="remove it")
    return status


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    refused = os_errors("cannot be read", shown(path), "check its permissions", UnreadableFile)
    with refused, path.open("rb") as file:
        yield file


def read_bytes(path: Path, limit: int = MAX_FILE_BYTES) -> bytes:
    """The whole file, if it has at most `limit` bytes.

    Raises:
        UnreadableFile: see `require_regular`; larger than that; or the system refuses.
    """
    size = require_regular(path).st_size
    if size > limit:
        raise too_large(shown(path), size, limit)
    with _opened(path) as file:
        raw = file.read(limit + 1)
    if len(raw) > limit:
        raise too_large(shown(path), len(raw), limit)
    return raw


def sha256_of(raw: bytes) -> str:
    """sha256 in hex."""
    return hashlib.sha256(raw).hexdigest()


_WAIT_SECONDS = 30.0


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Held while something in a folder is checked and replaced; the folder is made if missing.

    No other thread and no other program of ours comes between, and nothing is left behind when one
    is killed. The same thread may hold it twice.

    Raises:
        UserError: another program holds it for half a minute, or the system refuses.
    """
    lock = _lock_of(Path(os.path.realpath(folder)))
    with lock.threads:
        if lock.depth == 0:
            with os_errors("cannot be written", str(folder), _SPACE):
                lock.path.mkdir(parents=True, exist_ok=True)
                release = _taken(lock.path)
        lock.depth += 1
        try:
            yield
        finally:
            lock.depth -= 1
            if lock.depth == 0:
                release()


@dataclass
class _Lock:
    """What keeps the threads of this program apart; the system keeps programs apart."""

    path: Path
    threads: threading.RLock = field(default_factory=threading.RLock)
    depth: int = 0


@cache
def _lock_of(path: Path) -> _Lock:
    return _Lock(path)


def _taken(folder: Path) -> Callable[[], None]:
    """Wait for the system's lock on a folder; what lets go of it again."""
    end = time.monotonic() + _WAIT_SECONDS
    while True:
        with suppress(BlockingIOError):
            return _try_lock(folder)
        if time.monotonic() > end:
            fix = "try again when it is done"
            raise UserError("another program is writing here", where=str(folder), fix=fix)
        time.sleep(0.005)


def _try_lock(folder: Path) -> Callable[[], None]:
    """BlockingIOError where another program has it."""
    if fcntl is not None:
        handle = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            raise
        except OSError:  # a network drive that locks files only
            os.close(handle)
        else:
            return partial(os.close, handle)
    return _lock_by_file(folder)


def _lock_by_file(folder: Path) -> Callable[[], None]:
    """The same where folders cannot be locked: by a file in the user's cache."""
    from filelock import FileLock, Timeout

    place = cache_folder() / "locks" / sha256_of(os.fsencode(folder))[:16]
    place.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(place, thread_local=False)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise BlockingIOError from None
    return lock.release


def write_file(path: Path, data: bytes, check: Callable[[], None] = lambda: None) -> None:
    """Replace or make the file at once: after a crash it holds all the old or all the new bytes.

    A link is followed, so that the file it names changes and the link stays.

    Args:
        path: the file; missing folders are made.
        data: its new bytes.
        check: called in the last moment before they replace the old ones; may raise.

    Raises:
        UserError: the system refuses; the file is then as it was.
    """
    with os_errors("could not be written", shown(path), f"{_SPACE}; the old text is untouched"):
        put_bytes(path, data, check)


def put_bytes(
    path: Path, data: bytes, check: Callable[[], None] = lambda: None, *, durable: bool = True
) -> None:
    """`write_file` that raises OSError as it comes.

    Args:
        path: as there.
        data: as there.
        check: as there.
        durable: wait until the disk has the bytes, so that they survive a power cut as well.
    """
    target = Path(os.path.realpath(path))
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.parent / partial_name("saving")
    try:
        _write_new(unfinished, data, durable)
        if target.exists():
            unfinished.chmod(stat.S_IMODE(target.stat().st_mode))
        check()
        os.replace(unfinished, target)
    finally:
        with suppress(OSError):
            unfinished.unlink()
    if durable:
        sync_folder(target.parent)


def _write_new(path: Path, data: bytes, durable: bool = True) -> None:
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        if durable:
            os.fsync(file.fileno())


def fsync_file(path: Path) -> None:
    """Wait until the disk has what was written to a file; OSError where it cannot."""
    with path.open("r+b") as file:  # for writing: Windows flushes no other
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Make a rename in the folder durable, where the system can; it has happened in any case."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def fill_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Make the folder and write every file through to the disk."""
    folder.mkdir(parents=True)
    for name, raw in files.items():
        _write_new(folder / name, raw)
    sync_folder(folder)


_PARTIAL = re.compile(r"\.(?:saving|deleted|export)-(?:([0-9a-f]{6})-(\d{1,10})-)?[0-9a-z]{4,16}")
_HERE = sha256_of(platform.node().encode())[:6]
"""This machine or container, whose process numbers mean nothing on others."""
_STALE_SECONDS = 3600


def partial_name(what: str) -> str:
    """A new name for something unfinished; no reader takes what begins with a dot for a text.

    Args:
        what: "saving", "deleted" or "export".
    """
    return f".{what}-{_HERE}-{os.getpid()}-{secrets.token_hex(6)}"


def remove_stale(folder: Path) -> None:
    """Remove what our own programs left unfinished in a folder: they are gone, or an hour is."""
    if not folder.is_dir():
        return
    for path in folder.iterdir():
        found = _PARTIAL.fullmatch(path.name)
        if found and _is_stale(path, found[2] if found[1] == _HERE else None):
            _remove(path)


def _is_gone(process: str) -> bool:
    import psutil

    return not psutil.pid_exists(int(process))


def _is_stale(path: Path, process: str | None) -> bool:
    if process is not None and _is_gone(process):
        return True
    with suppress(OSError):
        return time.time() - path.lstat().st_mtime > _STALE_SECONDS
    return False


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


_SCRATCH = re.compile(r"readout-([0-9a-f]{6})-(\d{1,10})-[a-z0-9_]{8}")


def scratch_folder() -> Path:
    """This process's own folder for what is offered for download; gone when the process ends."""
    made = _scratch()
    made.mkdir(mode=0o700, exist_ok=True)  # where the system cleaned up after some days
    return made


@cache
def _scratch() -> Path:
    """A new folder; those of processes that were killed are removed at this moment."""
    place = Path(tempfile.gettempdir())
    for path in place.glob("readout-*"):
        found = _SCRATCH.fullmatch(path.name)
        if found and found[1] == _HERE and _is_own(path) and _is_gone(found[2]):
            _remove(path)
    made = Path(tempfile.mkdtemp(prefix=f"readout-{_HERE}-{os.getpid()}-"))
    register(shutil.rmtree, made, ignore_errors=True)
    return made


def _is_own(path: Path) -> bool:
    with suppress(OSError):
        return not hasattr(os, "getuid") or path.lstat().st_uid == os.getuid()
    return False


def cache_folder() -> Path:
    """The user's cache folder, or `$READOUT_UI_CACHE` where that is set."""
    chosen = os.environ.get("READOUT_UI_CACHE")
    return Path(chosen).expanduser() if chosen else user_cache_path("readout-ui", appauthor=False)


def size_text(n_bytes: int) -> str:
    """A size for people, in powers of 1000."""
    size = float(n_bytes)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def json_values(value: Any) -> Any:
    """The same dicts, lists and numbers; what is no finite number becomes None, JSON's null.

    Too few texts leave a number open (NaN) or an interval without an end (infinite): JSON has
    neither, and programs in other languages refuse a file with them.
    """
    if isinstance(value, Mapping):
        return {name: json_values(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [json_values(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def too_large(file: str, n_bytes: int, limit: int = MAX_FILE_BYTES) -> UnreadableFile:
    """The error for a file of `n_bytes` bytes."""
    return UnreadableFile(
        f"{n_bytes / 1e6:,.1f} MB is more than the {limit / 1e6:g} MB that are read",
        where=file,
        fix="keep only descriptions in it",
    )
