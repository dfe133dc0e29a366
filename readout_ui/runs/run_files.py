"""The files of runs and exports: folders and zips that appear at once, read with every check.

A run's folder holds `vectors.safetensors` (float32), `manifest.json` and `descriptions.json`, whose
bytes depend only on texts, model, settings and seed, and `run.json`, which holds what differs from
one training to the next.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import zipfile
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

from pydantic import BaseModel, TypeAdapter, ValidationError

from readout_ui.errors import UserError, printable
from readout_ui.files import (
    fill_folder,
    locked,
    os_errors,
    partial_name,
    remove_stale,
    sha256_of,
    sync_folder,
    write_file,
)
from readout_ui.runs.manifest import Manifest, parse_manifest
from readout_ui.texts.reading import open_zip, zip_bytes
from readout_ui.vectors.settings import TrainSettings

VECTORS_FILE = "vectors.safetensors"
MANIFEST_FILE = "manifest.json"
DESCRIPTIONS_FILE = "descriptions.json"
RUN_FILE = "run.json"
_TEXTS = TypeAdapter(dict[str, tuple[str, ...]])
_SPACE = "check the folder's permissions and free space"
MAX_FILES = 2000
MAX_BYTES = 16 << 30
"""More than the largest export there can be; a file beyond it is not read into memory."""


class RunFile(BaseModel):
    """What differs from one training to the next."""

    created: datetime
    timings: dict[str, float]
    warnings: tuple[str, ...]
    log: tuple[str, ...]
    vectors_bytes: int
    distances: dict[int, float] = {}


def keep_files(runs: Path, files: Mapping[str, bytes], created: datetime) -> Path:
    """Write the files as a new folder among the runs, which appears at once and whole.

    Raises:
        UserError: the disk refuses.
    """
    partial = runs / partial_name("saving")
    try:
        with os_errors("the run could not be saved", str(runs), _SPACE):
            remove_stale(runs)
            fill_folder(partial, files)
            with locked(runs):
                return _settle(partial, created, files[MANIFEST_FILE])
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def read_folder(folder: Path) -> tuple[Manifest, dict[str, tuple[str, ...]], RunFile]:
    """Manifest, texts and the rest of a run; its vectors are only measured, not read.

    Raises:
        UserError: a file is missing, damaged or does not belong to the others.
    """
    files = read_files(folder, (MANIFEST_FILE, DESCRIPTIONS_FILE, RUN_FILE))
    manifest = parse_manifest(files[MANIFEST_FILE], str(folder / MANIFEST_FILE))
    TrainSettings.from_json(manifest.settings)  # those of a later version are refused here
    if manifest.files.get(DESCRIPTIONS_FILE) != sha256_of(files[DESCRIPTIONS_FILE]):
        raise UserError("the texts are not those of the manifest", where=str(folder))
    try:
        run = RunFile.model_validate_json(files[RUN_FILE])
        texts = _TEXTS.validate_json(files[DESCRIPTIONS_FILE])
    except ValidationError as error:
        raise UserError(f"cannot be read: {error.errors()[0]['msg']}", where=str(folder)) from error
    _check_size(folder / VECTORS_FILE, run.vectors_bytes)
    return manifest, texts, run


def size_of(folder: Path) -> int:
    """Bytes of all files in a folder."""
    return sum(file.lstat().st_size for file in folder.rglob("*"))


def _check_size(path: Path, expected: int) -> None:
    try:
        found = path.stat().st_size
    except OSError as error:
        raise UserError(f"cannot be read ({error.strerror})", where=str(path)) from error
    if found != expected:
        raise UserError(
            f"the file has {found} bytes, it was saved with {expected}", where=str(path)
        )


def _settle(partial: Path, created: datetime, manifest: bytes) -> Path:
    stem = f"{created.astimezone(UTC):%Y%m%d-%H%M%S}-{sha256_of(manifest)[:6]}"
    number = 1
    while True:
        folder = partial.parent / (stem if number == 1 else f"{stem}-{number}")
        if not os.path.lexists(folder):
            os.rename(partial, folder)
            sync_folder(folder.parent)
            return folder
        number += 1


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
    partial = target.parent / partial_name("export")
    with locked(target.parent):
        _put_back(target)
        require_replaceable(target, replaceable)
        try:
            with os_errors("cannot be written", str(folder), _SPACE):
                target.parent.mkdir(parents=True, exist_ok=True)
                remove_stale(target.parent)
                fill_folder(partial, files)
                _swap_folders(partial, target)
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


def _swap_folders(new: Path, target: Path) -> None:
    """Rename `new` to `target`; what was there lies at `new` then, or is put back on failure."""
    if not target.exists():
        os.rename(new, target)
    elif not _exchanged(new, target):
        old = _old_of(target)
        os.rename(target, old)
        try:
            os.rename(new, target)
        finally:
            _put_back(target)
        shutil.rmtree(old, ignore_errors=True)
    sync_folder(target.parent)


def _exchanged(one: Path, two: Path) -> bool:
    """Whether two folders changed places in one step, which only Linux can."""
    try:
        rename = ctypes.CDLL(None).renameat2
    except (AttributeError, OSError, TypeError):
        return False
    here, swap = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    return bool(rename(here, os.fsencode(one), here, os.fsencode(two), swap) == 0)


def _old_of(target: Path) -> Path:
    return target.parent / f".{target.name}-old"


def _put_back(target: Path) -> None:
    """Undo what a failed or killed swap in two steps did."""
    if not os.path.lexists(target) and _old_of(target).is_dir():
        os.rename(_old_of(target), target)


def write_zip(path: Path, files: Mapping[str, bytes]) -> None:
    """Write a zip with the same bytes for the same files; a file that is there is replaced only
    if it is a zip of the same names.

    Raises:
        UserError: another file or a folder is there, or the disk refuses.
    """
    with locked(path.parent):
        if path.is_dir():
            raise UserError("there is a folder of that name", where=str(path), fix="name a file")
        if path.exists() and _zip_names(path) != sorted(files):
            raise UserError("another file is there", where=str(path), fix="choose another name")
        write_file(path, zip_bytes(files))


def names_in(path: Path) -> list[str]:
    """Names of the files in a folder or zip, none of which leads anywhere else.

    Raises:
        UserError: it is neither, or a zip with folders in it, with too many files or a bomb.
    """
    if path.is_dir():
        return sorted(file.name for file in path.iterdir() if file.is_file())
    if not path.exists():
        raise UserError("no such file or folder", where=str(path))
    try:
        with open_zip(path, str(path), "not a folder and not a readable zip") as archive:
            entries = [entry for entry in archive.infolist() if not entry.is_dir()]
    except OSError as error:
        raise UserError(f"cannot be read ({error.strerror})", where=str(path)) from error
    for entry in entries:
        if "\\" in entry.filename or PurePosixPath(entry.filename).name != entry.filename:
            raise UserError(
                f"the zip holds {printable(entry.filename)}, which leads into another folder",
                where=str(path),
                fix="zip the files themselves",
            )
    # Exports are stored, so a zip that unpacks to much more than itself is a bomb.
    unpacked = sum(entry.file_size for entry in entries)
    if len(entries) > MAX_FILES or unpacked > 20 * path.stat().st_size:
        raise UserError("the zip unpacks to more than an export can be", where=str(path))
    return sorted(entry.filename for entry in entries)


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
