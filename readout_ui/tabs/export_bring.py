"""The part of the Export tab that takes an export back: checked on the model, kept as a run."""

from __future__ import annotations

import shutil
import tempfile
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import gradio as gr

from readout_ui.errors import UserError
from readout_ui.in_use import InUse
from readout_ui.runs import RunRecord
from readout_ui.studio import Studio
from readout_ui.tabs.events import DEVICE, guarded

if TYPE_CHECKING:
    from readout_ui.artifacts import LoadedReadout
    from readout_ui.bare_directions import BareDirections

ABOUT = (
    "An export made here or on another machine: a `.zip`, a `.npz`, or the files of a `readout` "
    "folder. It becomes a run and is used if every text it was trained on is here and its scores "
    "are the same on the loaded model. Control vectors (`.gguf`) and steering-vectors files hold "
    "directions alone; they are looked at and told about. Pickles (`.pkl`) are never opened."
)


def build_bring_section(studio: Studio) -> None:
    """Lay it out and wire it."""
    with gr.Accordion("Bring vectors", open=False, elem_id="bring"):
        gr.Markdown(ABOUT)
        files = gr.File(
            label="Files of one export",
            file_count="multiple",
            elem_id="bring-files",
            interactive=not studio.read_only,
        )
        button = gr.Button("Check and use", elem_id="bring-use", interactive=not studio.read_only)
        found = gr.HTML(elem_id="bring-found", padding=False)

    def take(paths: list[str] | None) -> str:
        return bring(studio, [Path(path) for path in paths or []])

    button.click(guarded(take), files, found, **DEVICE)


def bring(studio: Studio, files: list[Path]) -> str:
    """Keep an export as a run and use it, if it belongs here; what happened, as HTML.

    Raises:
        UserError: the files are damaged or hostile, texts are missing, or the scores differ.
    """
    from readout_ui.artifacts import LoadedReadout
    from readout_ui.vector_files import read_vectors

    studio.refuse_if_read_only("bring vectors")
    if not files:
        raise UserError("there is no file", fix="choose one, or drop it on the box")
    with tempfile.TemporaryDirectory(prefix="readout-") as folder:
        source = files[0] if len(files) == 1 else _together(files, Path(folder))
        name = files[0].name if len(files) == 1 else f"{len(files)} files"
        try:
            loaded = read_vectors(source)
        except UserError as error:
            raise _with_name(error, source, name) from None
    if not isinstance(loaded, LoadedReadout):
        return _told(loaded, name)
    run, verdict = _kept(studio, loaded, name)
    studio.use_run(run.id)
    return (
        f"<p class='done'>In use now: {_counted(run.concepts, run.layers)} of {escape(name)}. "
        f"{escape(verdict)}. The Train tab lists it among the runs.</p>"
    )


def _told(bare: BareDirections, name: str) -> str:
    of_model = f" of {bare.model['id']}" if bare.model.get("id") else ""
    return (
        f"<p class='warning'>{escape(name)} holds directions alone: "
        f"{_counted(bare.concepts, bare.layers)}{escape(of_model)}. Without calibration and texts "
        "they are no run. <code>readout-ui read --score raw --vectors FILE</code> reads with them, "
        "<code>readout-ui export --vectors FILE</code> converts them.</p>"
    )


def _kept(studio: Studio, loaded: LoadedReadout, name: str) -> tuple[RunRecord, str]:
    """The run, once its probe texts read as they did, and the verdict; nothing stays otherwise."""
    from readout_ui.adoption import adopted

    run = studio.runs.save(adopted(loaded, name, studio.library(), studio.runs.list()))
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
    return run, verdict


def _verified(used: InUse) -> tuple[bool, str]:
    """Whether the probe texts read as they did, and the verdict in words."""
    from readout_ui.artifacts import LoadedReadout
    from readout_ui.verify import verify

    if used.vectors.probes is None:
        return True, "There are no probe texts in it to check it by"
    certificate = verify(LoadedReadout(used.vectors, used.run.manifest), used.model, used.report)
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
    return (
        f"{len(concepts)} {'concept' if len(concepts) == 1 else 'concepts'} at "
        f"{len(layers)} {'layer' if len(layers) == 1 else 'layers'}"
    )
