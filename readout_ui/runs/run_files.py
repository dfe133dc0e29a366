"""The files of a kept run: written as one folder that appears at once, read with every check.

A run's folder holds `vectors.safetensors` (float32), `manifest.json` and `descriptions.json`, whose
bytes depend only on texts, model, settings and seed, and `run.json`, which holds what differs from
one training to the next.
"""

from __future__ import annotations

import os
import secrets
import shutil
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, TypeAdapter, ValidationError

from readout_ui.errors import UserError
from readout_ui.files import fill_folder, read_files, sha256_of
from readout_ui.runs.manifest import Manifest, parse_manifest
from readout_ui.vectors.settings import TrainSettings

VECTORS_FILE = "vectors.safetensors"
MANIFEST_FILE = "manifest.json"
DESCRIPTIONS_FILE = "descriptions.json"
RUN_FILE = "run.json"
_TEXTS = TypeAdapter(dict[str, tuple[str, ...]])
_STALE_SECONDS = 3600


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
    partial = runs / f".saving-{secrets.token_hex(6)}"
    try:
        _remove_leftovers(runs)
        fill_folder(partial, files)
        return _settle(partial, created, files[MANIFEST_FILE])
    except OSError as error:
        raise UserError(
            f"the run could not be saved ({error.strerror or type(error).__name__})",
            where=str(runs),
            fix="check the folder's permissions and free space",
        ) from error
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
            return folder
        number += 1


def _remove_leftovers(runs: Path) -> None:
    """Remove what a killed program left behind, an hour later."""
    for pattern in (".saving-*", ".deleted-*"):
        for folder in runs.glob(pattern) if runs.is_dir() else ():
            if time.time() - folder.stat().st_mtime > _STALE_SECONDS:
                shutil.rmtree(folder, ignore_errors=True)
