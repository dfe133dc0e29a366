"""Vectors from another machine or program, taken back as a run."""

from __future__ import annotations

import shutil
import tempfile
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from readout_ui.app.session import Studio
from readout_ui.app.widgets import count
from readout_ui.errors import UserError
from readout_ui.files import scratch_folder
from readout_ui.runs.run import Run
from readout_ui.runs.store import adopted

if TYPE_CHECKING:
    from readout_ui.inference.readout import Readout


def bring(studio: Studio, files: list[Path]) -> str:
    """Keep an export as a run and use it, if it belongs here; what happened, as HTML.

    Raises:
        UserError: the files are damaged or hostile, texts are missing, or the scores differ.
    """
    studio.refuse_if_read_only("bring vectors")
    if not files:
        raise UserError("there is no file", fix="choose one, or drop it on the box")
    with tempfile.TemporaryDirectory(dir=scratch_folder()) as folder:
        source = files[0] if len(files) == 1 else _together(files, Path(folder))
        name = files[0].name if len(files) == 1 else f"{len(files)} files"
        try:
            export = Run.open(source)
            _ = export.vectors  # every check, while the files are here
        except UserError as error:
            raise _with_name(error, source, name) from None
    if not export.manifest.calibrated:
        return _told(export, name)
    run, verdict = _kept(studio, export, name)
    studio.runs.describe(run.id, origin=name[:80])
    studio.use_run(run.id)
    return (
        f"<p class='done'>In use now: {_counted(run.concepts, run.layers)} of {escape(name)}. "
        f"{escape(verdict)}. It is among the runs.</p>"
    )


def _told(bare: Run, name: str) -> str:
    of_model = f" of {bare.model_name}" if bare.model_name else ""
    return (
        f"<p class='warning'>{escape(name)} holds directions alone: "
        f"{_counted(bare.concepts, bare.layers)}{escape(of_model)}. Without calibration and texts "
        "they are no run. <code>readout-ui read --score raw --vectors FILE</code> reads with them, "
        "<code>readout-ui export --vectors FILE</code> converts them.</p>"
    )


def _kept(studio: Studio, export: Run, name: str) -> tuple[Run, str]:
    """The run, once its probe texts read as they did, and the verdict; nothing stays otherwise."""
    run = studio.runs.save(adopted(export, name, studio.library(), studio.runs.list()))
    return run, certify(studio, run, name)


def certify(studio: Studio, run: Run, name: str) -> str:
    """Read a new run's probe texts again; the verdict in words.

    Args:
        studio: with the model that the run is to be used on.
        run: just kept; it is deleted where its scores are others.
        name: what messages call it.

    Raises:
        UserError: the scores are others, or the model is.
    """
    certified = False
    try:
        job = studio.on_device("verify", "Checking vectors", _verified, run.id)
        certified, verdict = job.result()
        if not certified:
            raise UserError(verdict, fix="nothing was kept")
    except UserError as error:
        raise UserError(error.what, where=name, fix=error.fix, options=error.options) from None
    finally:
        if not certified:
            studio.runs.delete(run.id)
    return verdict


def _verified(used: Readout) -> tuple[bool, str]:
    """Whether the probe texts read as they did, and the verdict in words."""
    from readout_ui.runs.verify import verify

    if used.vectors.probes is None:
        return True, "There are no probe texts in it to check it by"
    certificate = verify(used.run, used.model, used.report)
    return certificate.certified, certificate.sentence()


def _together(files: list[Path], folder: Path) -> Path:
    for file in files:
        if (folder / file.name).exists():
            raise UserError(f"{file.name} is there twice", fix="choose the files of one export")
        shutil.copyfile(file, folder / file.name)
    return folder


def _with_name(error: UserError, source: Path, name: str) -> UserError:
    """The same error without the folder that the browser's upload went to."""
    where = error.where.replace(str(source), name).replace(str(source.parent), "")
    return UserError(
        error.what.replace(str(source), name),
        where=where.lstrip("/"),
        fix=error.fix,
        options=error.options,
    )


def _counted(concepts: tuple[str, ...], layers: tuple[int, ...]) -> str:
    return f"{count(len(concepts), 'concept')} at {count(len(layers), 'layer')}"
