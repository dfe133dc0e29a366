"""Kept runs: one folder per training, with its vectors, texts, settings and timings.

A run folder holds `vectors.safetensors` (float32), `manifest.json` and `descriptions.json`, whose
bytes depend only on texts, model, settings and seed, and `run.json`, which holds what differs from
one training to the next. Nothing deletes a run but `RunStore.delete`.
"""

from __future__ import annotations

import os
import secrets
import shutil
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from readout_ui.errors import UserError
from readout_ui.files import fill_folder, read_files, sha256_of, write_file
from readout_ui.runs.manifest import describe, json_bytes
from readout_ui.runs.run import (
    DESCRIPTIONS_FILE,
    MANIFEST_FILE,
    RUN_FILE,
    VECTORS_FILE,
    BrokenRun,
    RunFile,
    RunRecord,
    read_record,
    record_or_reason,
    size_of,
)

if TYPE_CHECKING:
    from readout_ui.vectors.settings import Trained
    from readout_ui.vectors.vectors import ConceptVectors

POINTER = "current"
_STALE_SECONDS = 3600


class RunStore:
    """The kept runs in one folder, which need not exist yet."""

    def __init__(self, folder: Path, now: Callable[[], datetime] | None = None) -> None:
        self.folder = folder
        self._now = now or (lambda: datetime.now(UTC))

    def save(self, trained: Trained, log: Sequence[str] = ()) -> RunRecord:
        """Keep a training; its folder appears at once and whole.

        Raises:
            UserError: the disk refuses.
        """
        created = self._now()
        files = _run_files(trained, created, log)
        partial = self.folder / f".saving-{secrets.token_hex(6)}"
        try:
            self._remove_leftovers()
            fill_folder(partial, files)
            folder = self._settle(partial, created, files[MANIFEST_FILE])
        except OSError as error:
            raise UserError(
                f"the run could not be saved ({error.strerror or type(error).__name__})",
                where=str(self.folder),
                fix="check the folder's permissions and free space",
            ) from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        return read_record(folder)

    def list(self) -> tuple[RunRecord, ...]:
        """All runs that can be used, newest first."""
        records = [entry for entry in self._entries() if isinstance(entry, RunRecord)]
        return tuple(sorted(records, key=lambda run: (run.created, run.id), reverse=True))

    def broken(self) -> tuple[BrokenRun, ...]:
        """The folders among the runs that cannot be used, with the reason."""
        return tuple(entry for entry in self._entries() if isinstance(entry, BrokenRun))

    def record(self, run_id: str) -> RunRecord:
        """What is known about a run.

        Raises:
            UserError: there is no such run, or it is broken.
        """
        return read_record(self._folder_of(run_id))

    def load(self, run_id: str) -> tuple[RunRecord, ConceptVectors]:
        """A run with its vectors, after every check of its files.

        Raises:
            UserError: there is no such run, or it is broken; the message says how.
        """
        from readout_ui.runs.run_vectors import parse_vectors

        record = self.record(run_id)
        raw = read_files(record.folder, (VECTORS_FILE,))[VECTORS_FILE]
        return record, parse_vectors(raw, record.manifest, record.folder / VECTORS_FILE)

    def current(self) -> RunRecord | None:
        """The run in use; None when there is none, or when it is broken (see `broken`)."""
        try:
            run_id = (self.folder / POINTER).read_text("utf-8").strip()
            return self.record(run_id)
        except (OSError, UnicodeDecodeError, UserError):
            return None

    def set_current(self, run_id: str) -> None:
        """Use this run from now on; UserError if there is none or it is broken."""
        self.record(run_id)
        write_file(self.folder / POINTER, f"{run_id}\n".encode())

    def delete(self, run_id: str) -> None:
        """Remove a run for good, broken or not; after the run in use there is none in use."""
        folder = self._folder_of(run_id)
        doomed = self.folder / f".deleted-{secrets.token_hex(6)}"
        try:
            pointer = self.folder / POINTER
            if pointer.exists() and pointer.read_text("utf-8").strip() == run_id:
                pointer.unlink()
            os.rename(folder, doomed)  # at once: a half deleted run is never listed
            shutil.rmtree(doomed)
        except OSError as error:
            raise UserError(f"cannot be deleted ({error.strerror})", where=str(folder)) from error

    def total_bytes(self) -> int:
        """Size of everything that is kept."""
        return sum(size_of(entry.folder) for entry in self._entries())

    def _entries(self) -> Sequence[RunRecord | BrokenRun]:
        if not self.folder.is_dir():
            return ()
        folders = [f for f in self.folder.iterdir() if f.is_dir() and not f.name.startswith(".")]
        return [record_or_reason(folder) for folder in sorted(folders)]

    def _folder_of(self, run_id: str) -> Path:
        # The name may come from a browser: it must stay inside the store.
        folder = self.folder / run_id
        safe = run_id != "" and Path(run_id).name == run_id and not run_id.startswith(".")
        if not safe or not folder.is_dir():
            known = [run.id for run in self.list()[:5]]
            raise UserError(f"there is no run {run_id!r}", where=str(self.folder), options=known)
        return folder

    def _settle(self, partial: Path, created: datetime, manifest: bytes) -> Path:
        stem = f"{created.astimezone(UTC):%Y%m%d-%H%M%S}-{sha256_of(manifest)[:6]}"
        number = 1
        while True:
            folder = self.folder / (stem if number == 1 else f"{stem}-{number}")
            if not os.path.lexists(folder):
                os.rename(partial, folder)
                return folder
            number += 1

    def _remove_leftovers(self) -> None:
        if not self.folder.is_dir():
            return
        for pattern in (".saving-*", ".deleted-*"):
            for folder in self.folder.glob(pattern):
                if time.time() - folder.stat().st_mtime > _STALE_SECONDS:
                    shutil.rmtree(folder, ignore_errors=True)


def _run_files(trained: Trained, created: datetime, log: Sequence[str]) -> dict[str, bytes]:
    from readout_ui.runs.run_vectors import vectors_bytes

    files = {
        VECTORS_FILE: vectors_bytes(trained.vectors),
        DESCRIPTIONS_FILE: json_bytes({k: list(v) for k, v in trained.descriptions.items()}),
    }
    hashes = {name: sha256_of(raw) for name, raw in files.items()}
    run = RunFile(
        created=created,
        timings=trained.timings,
        warnings=trained.warnings,
        log=tuple(log),
        vectors_bytes=len(files[VECTORS_FILE]),
    )
    return {
        **files,
        MANIFEST_FILE: describe(trained, trained.vectors, "float32", hashes).to_bytes(),
        RUN_FILE: json_bytes(run.model_dump(mode="json")),
    }
