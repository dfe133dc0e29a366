"""Small sets of files that appear on disk all at once: folders by rename, zips with fixed bytes."""

from __future__ import annotations

import io
import os
import secrets
import shutil
import zipfile
import zlib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from readout_ui.errors import UserError
from readout_ui.files import sync_folder, write_file

MAX_BYTES = 16 << 30
"""More than the largest export there can be; a file beyond it is not read into memory."""
_ZIP_TIME = (1980, 1, 1, 0, 0, 0)


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
        target.parent.mkdir(parents=True, exist_ok=True)
        fill_folder(partial, files)
        swap_folders(partial, target)
    except OSError as error:
        raise _cannot_write(folder, error) from error
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


def zip_bytes(files: Mapping[str, bytes]) -> bytes:
    """An uncompressed zip (vectors hardly compress) without times or owners."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, _ZIP_TIME)
            entry.create_system = 3  # Unix everywhere: the default depends on the system
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, files[name])
    return buffer.getvalue()


def read_files(source: Path, names: Sequence[str]) -> dict[str, bytes]:
    """The named files of a folder or zip; other files in it are not looked at.

    Raises:
        UserError: it is neither, or one of the files is missing, too large or cannot be read.
    """
    try:
        if source.is_dir():
            return {name: _read(source / name) for name in names}
        return _read_zip(source, names)
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


def _read_zip(path: Path, names: Sequence[str]) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(path) as archive:
            return {name: _read_entry(archive, name, path) for name in names}
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, zlib.error) as error:
        raise UserError(f"not a folder and not a readable zip: {error}", where=str(path)) from error


def _read_entry(archive: zipfile.ZipFile, name: str, path: Path) -> bytes:
    if name not in archive.namelist():
        raise UserError(f"there is no {name} in the zip", where=str(path))
    # Exports are stored, so an entry larger than its zip is a bomb.
    if archive.getinfo(name).file_size > path.stat().st_size * 20:
        raise UserError(f"{name} unpacks to more than an export can be", where=str(path))
    return archive.read(name)


def _zip_names(path: Path) -> list[str] | None:
    try:
        with zipfile.ZipFile(path) as archive:
            return sorted(archive.namelist())
    except (zipfile.BadZipFile, OSError):
        return None


def _cannot_write(path: Path, error: OSError) -> UserError:
    return UserError(
        f"cannot be written ({error.strerror or type(error).__name__})",
        where=str(path),
        fix="check the folder's permissions and free space",
    )
