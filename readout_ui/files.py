"""Files on disk: bounded reads, writes that appear at once and whole, zips, the cache folder."""

from __future__ import annotations

import hashlib
import io
import math
import os
import secrets
import shutil
import stat
import threading
import zipfile
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from platformdirs import user_cache_path

from readout_ui.errors import UnreadableFile, UserError

WRITING = threading.RLock()
"""Held while a concept is checked and replaced: two tabs cannot interleave."""

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


def fingerprint_of(path: Path) -> str | None:
    """sha256 of the file's bytes in hex, read in pieces; None when there is no file."""
    if not os.path.lexists(path):
        return None
    require_regular(path)
    digest = hashlib.sha256()
    with _opened(path) as file:
        while piece := file.read(_CHUNK):
            digest.update(piece)
    return digest.hexdigest()


def write_file(path: Path, data: bytes) -> None:
    """Replace or make the file at once: after a crash it holds all the old or all the new bytes.

    A link is followed, so that the file it names changes and the link stays.

    Raises:
        UserError: the system refuses; the file is then as it was.
    """
    target = Path(os.path.realpath(path))
    with os_errors("could not be written", shown(path), f"{_SPACE}; the old text is untouched"):
        target.parent.mkdir(parents=True, exist_ok=True)
        _replace(target, data)


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


MAX_BYTES = 16 << 30
"""More than the largest export there can be; a file beyond it is not read into memory."""
MAX_ZIP_ENTRIES = 10_000
_ZIP_TIME = (1980, 1, 1, 0, 0, 0)
_ENTRY_MARK = b"PK\x01\x02"
ZIP_DAMAGE = (
    *(zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, OverflowError),
    *(RuntimeError, ValueError),
)
"""What zipfile raises for archives whose parts contradict each other."""


def write_folder(folder: Path, files: Mapping[str, bytes], replaceable: Collection[str]) -> None:
    """Write `files` as a new folder that appears at once; a folder of the same kind is replaced.

    Args:
        folder: where to; missing parents are made.
        files: bytes by file name.
        replaceable: a folder that is there may hold these names and no others.

    Raises:
        UserError: something else is there, or the disk refuses; what was there is untouched.
    """
    target = Path(os.path.realpath(folder))
    require_replaceable(target, replaceable)
    partial = target.parent / f".{target.name}-{secrets.token_hex(6)}"
    try:
        with os_errors("cannot be written", str(folder), _SPACE):
            target.parent.mkdir(parents=True, exist_ok=True)
            fill_folder(partial, files)
            swap_folders(partial, target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def require_replaceable(folder: Path, replaceable: Collection[str]) -> None:
    """Raise a UserError when writing `folder` would lose something."""
    if not os.path.lexists(folder):
        return
    if not folder.is_dir():
        raise UserError("there is a file of that name", where=str(folder), fix="name a folder")
    if os.path.ismount(folder):
        raise UserError(
            "a mount point cannot be replaced",
            where=str(folder),
            fix=f"name a folder inside it, such as {folder / 'readout'}",
        )
    if foreign := sorted({entry.name for entry in folder.iterdir()} - set(replaceable)):
        raise UserError(
            f"the folder holds {foreign[0]}, so it is not an earlier export",
            where=str(folder),
            fix="name a new or empty folder",
        )


def fill_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Make the folder and write every file through to the disk."""
    folder.mkdir(parents=True)
    for name, raw in files.items():
        with (folder / name).open("xb") as file:
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
    sync_folder(folder)


def swap_folders(new: Path, target: Path) -> None:
    """Rename `new` to `target`; what was there is removed afterwards, or put back on failure."""
    old = target.parent / f".{target.name}-{secrets.token_hex(6)}-old"
    had_old = target.exists()
    if had_old:
        os.rename(target, old)
    try:
        os.rename(new, target)
    except OSError:
        if had_old:
            os.rename(old, target)
        raise
    sync_folder(target.parent)
    if had_old:
        shutil.rmtree(old, ignore_errors=True)


def write_zip(path: Path, files: Mapping[str, bytes]) -> None:
    """Write a zip with the same bytes for the same files; a file that is there is replaced only
    if it is a zip of the same names.

    Raises:
        UserError: another file or a folder is there, or the disk refuses.
    """
    if path.is_dir():
        raise UserError("there is a folder of that name", where=str(path), fix="name a file")
    if path.exists() and _zip_names(path) != sorted(files):
        raise UserError("another file is there", where=str(path), fix="choose another name")
    write_file(path, zip_bytes(files))


def zip_bytes(files: Mapping[str, bytes], compress: bool = False) -> bytes:
    """A zip without times or owners, so that equal files give equal bytes.

    Args:
        files: bytes by name.
        compress: for texts; vectors hardly become smaller.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, _ZIP_TIME)
            entry.create_system = 3  # Unix everywhere: the default depends on the system
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
            archive.writestr(entry, files[name])
    return buffer.getvalue()


@contextmanager
def open_zip(
    source: Path | bytes, where: str, what: str = "this is not a zip file, or it is damaged"
) -> Iterator[zipfile.ZipFile]:
    """A zip to read from; the one place where an archive is opened that may be hostile.

    Args:
        source: the file, or its bytes.
        where: what messages call it.
        what: what a message says of a file that cannot be read.

    Raises:
        UserError: it is no zip, it is damaged, or it has too many entries.
    """
    if isinstance(source, bytes) and source.count(_ENTRY_MARK) > MAX_ZIP_ENTRIES:
        # Before a list of entries is made that fills the memory.
        raise UserError(f"the zip has more than {MAX_ZIP_ENTRIES:,} entries", where=where)
    try:
        with zipfile.ZipFile(io.BytesIO(source) if isinstance(source, bytes) else source) as opened:
            yield opened
    except ZIP_DAMAGE:
        raise UserError(what, where=where) from None
    except OSError:
        if isinstance(source, Path):
            raise
        raise UserError(what, where=where) from None


def read_files(source: Path, names: Sequence[str]) -> dict[str, bytes]:
    """The named files of a folder or zip; other files in it are not looked at.

    Raises:
        UserError: it is neither, or one of the files is missing, too large or cannot be read.
    """
    try:
        if source.is_dir():
            return {name: _read(source / name) for name in names}
        with open_zip(source, str(source), "not a folder and not a readable zip") as archive:
            return {name: _read_entry(archive, name, source) for name in names}
    except FileNotFoundError as error:
        raise UserError("no such file or folder", where=str(error.filename)) from error
    except OSError as error:
        raise UserError(f"cannot be read ({error.strerror})", where=str(source)) from error


def _read(path: Path) -> bytes:
    if path.is_dir():
        raise UserError("this is a folder, not a file", where=str(path))
    if path.stat().st_size > MAX_BYTES:
        raise UserError("the file is too large for an export", where=str(path))
    return path.read_bytes()


def _read_entry(archive: zipfile.ZipFile, name: str, path: Path) -> bytes:
    if name not in archive.namelist():
        raise UserError(f"there is no {name} in the zip", where=str(path))
    # Exports are stored, so an entry larger than its zip is a bomb.
    if archive.getinfo(name).file_size > path.stat().st_size * 20:
        raise UserError(f"{name} unpacks to more than an export can be", where=str(path))
    return archive.read(name)


def _zip_names(path: Path) -> list[str] | None:
    try:
        with open_zip(path, str(path)) as archive:
            return sorted(archive.namelist())
    except (UserError, OSError):
        return None


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
