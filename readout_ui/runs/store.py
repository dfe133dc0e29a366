"""The kept runs in a folder: listed, opened, used and deleted; exports taken back as runs.

Nothing deletes a run but `RunStore.delete`.
"""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError
from pydantic import Field as Constrained

from readout_ui.errors import UnreadableFile, UserError
from readout_ui.files import (
    locked,
    os_errors,
    partial_name,
    read_bytes,
    remove_stale,
    sha256_of,
    write_file,
)
from readout_ui.runs.manifest import Manifest, json_bytes
from readout_ui.runs.report import RunReport
from readout_ui.runs.run import Run, read_run
from readout_ui.texts.library import Library
from readout_ui.texts.names import is_neutral_name

POINTER = "current"
REPORT_FILE = "report.json"
MAX_REPORT = 50_000_000
"""Bytes; that of 200 concepts with 12 texts each has about one million."""
JUDGED_FILE = "judged.json"
"""What was judged of a run on request, beside its report."""
ABOUT_FILE = "about.json"
_MAX_ABOUT = 100_000
_Line = StringConstraints(strip_whitespace=True, pattern=r"^[^\x00-\x1f\x7f]*$")
_Name = Annotated[str, _Line, Constrained(max_length=80)]
_Tag = Annotated[str, _Line, Constrained(min_length=1, max_length=30)]


class RunAbout(BaseModel):
    """What people call a run and say of it; kept beside it, so that its manifest stays as it is."""

    model_config = ConfigDict(frozen=True)

    name: _Name = ""
    note: Annotated[str, StringConstraints(strip_whitespace=True, max_length=2000)] = ""
    tags: Annotated[tuple[_Tag, ...], Constrained(max_length=12)] = ()
    origin: _Name = ""
    """Where it was brought from; empty for a training of this machine."""


def local_time(run: Run) -> str:
    """When a run was made, on this machine's clock."""
    return f"{run.created.astimezone():%Y-%m-%d %H:%M:%S}"


def about_of(**said: object) -> RunAbout:
    """Name, note, tags and origin of a run, checked.

    Raises:
        UserError: one of them is too long, or a name or tag has control characters.
    """
    try:
        return RunAbout.model_validate(said)
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(
            f"the {first['loc'][0]} cannot be kept ({first['msg']})",
            fix="a name has up to 80 characters in one line, a note 2,000, a tag 30; 12 tags",
        ) from None


@dataclass(frozen=True)
class BrokenRun:
    """A run folder that cannot be used."""

    id: str
    folder: Path
    reason: str
    """Why, in one sentence."""


class RunStore:
    """The kept runs in one folder, which need not exist yet."""

    def __init__(self, folder: Path, now: Callable[[], datetime] | None = None) -> None:
        self.folder = folder
        self._now = now or (lambda: datetime.now(UTC))
        self._reports: dict[str, tuple[int, RunReport | None]] = {}

    def save(self, run: Run, log: Sequence[str] = ()) -> Run:
        """Keep a training; its folder appears at once and whole.

        Raises:
            UserError: the disk refuses.
        """
        return run.save(self.folder, log, self._now())

    def list(self) -> tuple[Run, ...]:
        """All runs that can be used, newest first."""
        runs = [entry for entry in self._entries() if isinstance(entry, Run)]
        return tuple(sorted(runs, key=lambda run: (run.created, run.id), reverse=True))

    def broken(self) -> tuple[BrokenRun, ...]:
        """The folders among the runs that cannot be used, with the reason."""
        return tuple(entry for entry in self._entries() if isinstance(entry, BrokenRun))

    def open(self, run_id: str) -> Run:
        """A run, whose vectors are read and checked when they are first needed.

        Raises:
            UserError: there is no such run, or it is broken; the message says how.
        """
        return read_run(self._folder_of(run_id))

    def current(self) -> Run | None:
        """The run in use; None when there is none, or when it is broken (see `broken`)."""
        try:
            run_id = (self.folder / POINTER).read_text("utf-8").strip()
            return self.open(run_id)
        except (OSError, UnicodeDecodeError, UserError):
            return None

    def set_current(self, run_id: str) -> None:
        """Use this run from now on; UserError if there is none or it is broken."""
        self.open(run_id)
        with locked(self.folder):
            self.open(run_id)  # another program may have deleted it meanwhile
            write_file(self.folder / POINTER, f"{run_id}\n".encode())

    def about(self, run_id: str) -> RunAbout:
        """Name, note and tags of a run; empty ones where there are none or their file is damaged.

        Raises:
            UserError: there is no such run.
        """
        try:
            raw = read_bytes(self._folder_of(run_id) / ABOUT_FILE, _MAX_ABOUT)
            return RunAbout.model_validate_json(raw)
        except (UnreadableFile, ValidationError):
            return RunAbout()

    def describe(self, run_id: str, **said: object) -> RunAbout:
        """Change some of a run's name, note, tags and origin; gives all of them as they are now.

        Raises:
            UserError: there is no such run, or one of them cannot be kept (see `about_of`).
        """
        with locked(self.folder):
            about = about_of(**{**self.about(run_id).model_dump(), **said})
            file = self._folder_of(run_id) / ABOUT_FILE
            write_file(file, json_bytes(about.model_dump(mode="json")))
        return about

    def title(self, run: Run) -> str:
        """What people call a run: its name, else when it was made, on this machine's clock."""
        named = self.about(run.id).name if run.id else ""
        return named or local_time(run)

    def origin(self, run: Run) -> str:
        """Where a run's vectors are from, e.g. "descriptions", "stories", "brought from a.zip"."""
        brought = self.about(run.id).origin
        return f"brought from {brought}" if brought else run.source or "descriptions"

    def report(self, run_id: str) -> RunReport | None:
        """How the run was judged; None where it was not yet, or by another version.

        Raises:
            UserError: there is no such run.
        """
        path = self._folder_of(run_id) / REPORT_FILE
        try:
            changed = path.stat().st_mtime_ns
        except OSError:
            return None
        if self._reports.get(run_id, (0, None))[0] != changed:
            self._reports[run_id] = changed, _report_of(path, run_id)
        return self._reports[run_id][1]

    def keep_report(self, report: RunReport) -> None:
        """Keep how a run was judged beside it, instead of what was kept before.

        Raises:
            UserError: the run is gone, or the disk refuses.
        """
        folder = self._folder_of(report.run_id)
        with os_errors("the report cannot be kept", str(folder)):
            write_file(folder / REPORT_FILE, report.to_json())

    def judged(self, run_id: str) -> bytes | None:
        """What was kept of a run's judgements; None where nothing was.

        Raises:
            UserError: there is no such run, or the file cannot be read.
        """
        path = self._folder_of(run_id) / JUDGED_FILE
        return read_bytes(path, MAX_REPORT) if path.exists() else None

    def keep_judged(self, run_id: str, change: Callable[[bytes | None], bytes]) -> None:
        """Change what is kept of a run's judgements, as one step for all programs.

        Args:
            run_id: which run.
            change: gives the new bytes for those that are there; None also where they are
                unreadable.

        Raises:
            UserError: the run is gone, or the disk refuses.
        """
        folder = self._folder_of(run_id)
        with locked(self.folder), os_errors("the judgement cannot be kept", str(folder)):
            try:
                before = self.judged(run_id)
            except UserError:
                before = None
            write_file(folder / JUDGED_FILE, change(before))

    def mark(self) -> str:
        """Changes with anything that is kept here: runs, their names and reports, packs."""
        seen: list[tuple[str, int]] = []
        with suppress(OSError), os.scandir(self.folder) as entries:
            for each in entries:
                with suppress(OSError):  # it is just being deleted
                    seen.append((each.name, each.stat().st_mtime_ns))
        return sha256_of(repr(sorted(seen)).encode())[:16]

    def delete(self, run_id: str) -> None:
        """Remove a run for good, broken or not; after the run in use there is none in use."""
        folder = self._folder_of(run_id)
        doomed, pointer = self.folder / partial_name("deleted"), self.folder / POINTER
        with locked(self.folder):
            with os_errors("cannot be deleted", str(folder)):
                os.rename(folder, doomed)  # at once: a half deleted run is never listed
            with suppress(OSError, UnicodeDecodeError):
                if pointer.read_text("utf-8").strip() == run_id:
                    pointer.unlink()
        shutil.rmtree(doomed, ignore_errors=True)  # what stays of it is stale and goes later

    def tidy(self) -> None:
        """Remove what programs that were killed left here."""
        remove_stale(self.folder)

    def _entries(self) -> Sequence[Run | BrokenRun]:
        if not self.folder.is_dir():
            return ()
        folders = [f for f in self.folder.iterdir() if f.is_dir() and not f.name.startswith(".")]
        return [_run_or_reason(folder) for folder in sorted(folders)]

    def _folder_of(self, run_id: str) -> Path:
        # The name may come from a browser: it must stay inside the store.
        folder = self.folder / run_id
        safe = run_id != "" and Path(run_id).name == run_id and not run_id.startswith(".")
        if not safe or not folder.is_dir():
            known = [run.id for run in self.list()[:5]]
            raise UserError(f"there is no run {run_id!r}", where=str(self.folder), options=known)
        return folder


def _report_of(path: Path, run_id: str) -> RunReport | None:
    try:
        report = RunReport.from_json(read_bytes(path, MAX_REPORT), str(path))
    except UserError:  # it is made again
        return None
    return report if report.run_id == run_id else None


def _run_or_reason(folder: Path) -> Run | BrokenRun:
    try:
        return read_run(folder)
    except UserError as error:
        return BrokenRun(folder.name, folder, str(error))


ROUNDED = "Brought from an export, whose directions are rounded to float16."
BROUGHT = "Brought from an export."
_SHOWN = 5


def adopted(export: Run, where: str, library: Library, runs: Sequence[Run]) -> Run:
    """The run that an export was made of, ready to be kept.

    An export names its texts by hash and does not hold them. A run without its texts would be
    judged as if it had none, so every text has to be found again: in the description folder, or in
    a run that was kept.

    Args:
        export: as `Run.open` gives it; its vectors are checked here.
        where: its name, for messages.
        library: the description folder as it is now.
        runs: what was kept, whose texts count as well.

    Raises:
        UserError: it holds only some of the concepts, was trained on something else than
            descriptions, or some of its texts are not on this machine.
    """
    _require_whole(export.manifest, where)
    return brought(export, where, _texts(export.manifest, where, library, runs))


def brought(export: Run, where: str, texts: Mapping[str, tuple[str, ...]]) -> Run:
    """The run that an export was made of, with its texts; UserError where it is not whole."""
    manifest = export.manifest
    _require_whole(manifest, where)
    vectors = export.vectors.select(sorted(manifest.concepts))
    metrics = manifest.metrics.model_copy(update={"best_layer": _best(manifest)})
    return Run(
        manifest.holding(vectors).model_copy(update={"metrics": metrics}),
        lambda: vectors,
        dict(texts),
        warnings=(ROUNDED if manifest.dtype == "float16" else BROUGHT,),
    )


def _require_whole(manifest: Manifest, where: str) -> None:
    if source := manifest.source:
        raise UserError(
            f"these vectors were trained on {source}, which an export does not hold",
            where=where,
            fix="train them again, or use the file with `readout-ui read --vectors`",
        )
    trained = {name for name in manifest.descriptions if not is_neutral_name(name)}
    if missing := sorted(trained - set(manifest.concepts)):
        raise UserError(
            f"it holds {len(manifest.concepts)} of the {len(trained)} concepts of its training "
            f"(not {', '.join(missing[:_SHOWN])}), so it cannot be judged as a run",
            where=where,
            fix="export all concepts, or use the file with `readout-ui read --vectors`",
        )


def _texts(
    manifest: Manifest, where: str, library: Library, runs: Sequence[Run]
) -> dict[str, tuple[str, ...]]:
    known = {(each.name, each.fingerprint): each.descriptions for each in library.files}
    for run in runs:
        for name, mark in run.fingerprints.items():
            known[name, mark] = run.texts[name]
    wanted = manifest.descriptions.items()
    found = {name: known[name, mark] for name, mark in wanted if (name, mark) in known}
    if missing := sorted(manifest.descriptions.keys() - found.keys()):
        more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
        raise UserError(
            f"the texts it was trained on are not here: {', '.join(missing[:_SHOWN])}{more}",
            where=where,
            fix="import the descriptions it was trained on (Concepts, Import), or use the file "
            "with `readout-ui read --vectors`",
        )
    return {name: found[name] for name in sorted(found)}


def _best(manifest: Manifest) -> int:
    """The best of the layers that were exported."""
    best, scores = manifest.metrics.best_layer, manifest.metrics.layer_scores
    if best in manifest.layers:
        return best

    def score(layer: int) -> float:
        found = scores[layer] if scores and layer < len(scores) else None
        return -math.inf if found is None else found

    return max(manifest.layers, key=score)
