"""Trainings of this machine that need not be done again: whatever decides their result is the same.

What decides it is the texts, the settings, the model's files, the libraries and our own code. A
training that is known is found without torch, which takes longer to import than all else together.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, fields
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from readout_ui.errors import UserError
from readout_ui.files import cache_folder, sha256_of
from readout_ui.models.loading import find_files
from readout_ui.models.remembered import installed, state_of
from readout_ui.runs.export import READOUT_FILES
from readout_ui.runs.manifest import MANIFEST_FILE as EXPORT_MANIFEST
from readout_ui.runs.manifest import json_bytes
from readout_ui.runs.run import Run, read_run
from readout_ui.runs.run_files import (
    DESCRIPTIONS_FILE,
    MANIFEST_FILE,
    RUN_FILE,
    VECTORS_FILE,
    RunFile,
    read_files,
    write_folder,
)

if TYPE_CHECKING:
    from readout_ui.models.loading import ModelSpec
    from readout_ui.progress import Report
    from readout_ui.texts.library import Library
    from readout_ui.vectors.settings import TrainSettings

_LIBRARIES = ("torch", "transformers", "tokenizers", "safetensors", "numpy", "scipy")
_CODE = Path(__file__).parents[1]
KEPT = 8
"""Trainings that are kept; they hold the layers that were asked for, mostly one."""


def training_key(library: Library, settings: TrainSettings, spec: ModelSpec, report: Report) -> str:
    """What stands for everything that decides a training's result.

    Raises:
        UserError: there is no such model.
    """
    found = find_files(spec, report)
    folders = {one.folder for one in found} | {one.adapter for one in found if one.adapter}
    files = [file for folder in sorted(folders) for file in sorted(folder.iterdir())]
    decides = {
        "texts": library.texts(),
        "settings": settings.as_json(),
        "spec": asdict(spec),
        "files": [state_of(file) for file in (*files, *sorted(_CODE.rglob("*.py")))],
        "libraries": [installed(name) for name in _LIBRARIES],
        "processors": [os.environ.get("CUDA_VISIBLE_DEVICES"), *_gpus()],
    }
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()


def _gpus() -> list[str]:
    return sorted(str(device) for device in Path("/dev").glob("nvidia[0-9]*"))


class KnownRun(Run):
    """A training that was found: it is kept and exported by copying its files."""

    def _kept_export(self) -> dict[str, bytes]:
        return _export(self.folder.parent) if self.folder else {}

    def _run_files(self, created: datetime, log: Sequence[str]) -> dict[str, bytes]:
        assert self.folder is not None
        files = _run(self.folder.parent)
        now = {"created": created, "timings": self.timings, "log": tuple(log)}
        told = RunFile.model_validate_json(files[RUN_FILE]).model_copy(update=now)
        unsaid = None if self.distances else {"distances"}
        return {**files, RUN_FILE: json_bytes(told.model_dump(mode="json", exclude=unsaid))}


def known_training(key: str) -> Run | None:
    """The training of that key, None where there is none or its files are damaged."""
    folder, started = _folder(key), time.perf_counter()
    with suppress(UserError, OSError, ValueError, LookupError):  # damaged: trained again
        _export(folder), _run(folder)
        os.utime(folder)  # the newest ones are kept
        found = read_run(folder / "run")
        known = {each.name: getattr(found, each.name) for each in fields(Run)}
        seconds = {"look_up": time.perf_counter() - started}
        return KnownRun(**{**known, "timings": seconds, "id": ""})
    return None


def keep_training(key: str, run: Run) -> None:
    """Keep a training for the next time; a disk that refuses costs that alone."""
    folder = _folder(key)
    shutil.rmtree(folder, ignore_errors=True)
    with suppress(UserError, OSError):
        saved = run.save(folder)
        os.rename(saved.folder or folder, folder / "run")
        write_folder(folder / "export", run.files(), replaceable=READOUT_FILES)
        others = sorted(folder.parent.iterdir(), key=lambda one: one.stat().st_mtime)
        for old in others[:-KEPT]:
            shutil.rmtree(old, ignore_errors=True)


def kept_trainings() -> tuple[int, int]:
    """How many trainings are kept, and how many bytes they take."""
    folders = [one for one in _folder("").glob("*") if one.is_dir()]
    files = [file for folder in folders for file in folder.rglob("*") if file.is_file()]
    return len(folders), sum(file.stat().st_size for file in files)


def forget_trainings() -> None:
    """Delete all of them, with the texts and vectors in them."""
    if _folder("").is_dir():
        shutil.rmtree(_folder(""))


def _folder(key: str) -> Path:
    return cache_folder() / "trainings" / key


def _export(folder: Path) -> dict[str, bytes]:
    return _whole(folder / "export", READOUT_FILES, EXPORT_MANIFEST)


def _run(folder: Path) -> dict[str, bytes]:
    names = (VECTORS_FILE, DESCRIPTIONS_FILE, MANIFEST_FILE, RUN_FILE)
    return _whole(folder / "run", names, MANIFEST_FILE)


def _whole(folder: Path, names: Sequence[str], manifest: str) -> dict[str, bytes]:
    """The files of a folder; UserError where they are not there or not those of their manifest."""
    files = read_files(folder, names)
    hashes: Mapping[str, str] = json.loads(files[manifest])["files"]
    if any(sha256_of(files[name]) != found for name, found in hashes.items()):
        raise UserError("its files are not those that were written", where=str(folder))
    return files
