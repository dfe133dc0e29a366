"""The Export tab: chosen concepts and layers as a zip or a folder an inference server loads."""

from __future__ import annotations

import json
from dataclasses import dataclass
from html import escape
from pathlib import Path

import gradio as gr

from readout_ui.formats import FORMATS
from readout_ui.manifest import MANIFEST_FILE
from readout_ui.runs import RunRecord
from readout_ui.studio import Studio
from readout_ui.tabs.events import PRIVATE, QUIET, guarded
from readout_ui.tabs.export_bring import build_bring_section
from readout_ui.tabs.export_hub import build_hub_section
from readout_ui.tabs.train_tab import local_time
from readout_ui.tabs.visibility import HIDDEN, seen_if

EMPTY = "<p class='empty'>There is nothing to export yet. Press <b>Train</b> first.</p>"
ABOUT_FORMATS = {
    "readout": "`readout.safetensors` (one `layer_<i>.vectors` per layer, float16) and "
    "`readout.json` (the manifest), with `calibration.safetensors` beside them for z-scores. "
    "The README has a loader of 20 lines.",
    "steering": "One `steering_vectors.SteeringVector` per concept, as safetensors and JSON.",
    "gguf": "One control vector per concept. Layer 0 cannot be in it.",
    "npz": "Plain NumPy arrays in float32 with the manifest; nothing is lost.",
    "steering-pkl": FORMATS["steering-pkl"].warning,
}


@dataclass(frozen=True)
class ExportTab:
    """Components of the Export tab that others listen to."""

    about: gr.HTML
    """Which run would be exported, or what to do first."""
    concepts: gr.Dropdown
    """Concepts to export; empty means all."""
    layers: gr.Dropdown
    """Layers to export."""
    allow_changed: gr.Checkbox
    """Export although descriptions changed since the training."""


def build_export_tab(studio: Studio) -> ExportTab:
    """Lay out the tab and wire its two buttons."""
    run = studio.runs.current()
    about = gr.HTML(draw_about(studio), elem_id="export-about", padding=False)
    with gr.Row():
        concepts = gr.Dropdown(
            list(run.concepts) if run else [],
            value=[],
            multiselect=True,
            label="Concepts",
            info="Leave empty for all of them.",
            elem_id="export-concepts",
        )
        layers = gr.Dropdown(
            _layers(run),
            value=_best(run),
            multiselect=True,
            label="Layers",
            info="The best by cross-validation is chosen; each further one costs time per token.",
            elem_id="export-layers",
        )
    form = gr.Radio(
        [(one.title, name) for name, one in FORMATS.items()],
        value="readout",
        label="Format",
        elem_id="export-format",
    )
    explained = gr.Markdown(ABOUT_FORMATS["readout"], elem_id="export-explained")
    allow_changed = gr.Checkbox(
        label="Export although descriptions changed since this training",
        visible=seen_if(_changed(studio)),
        elem_id="export-allow-changed",
    )
    with gr.Row():
        pack = gr.Button("Make zip", variant="primary", elem_id="export-zip")
        download = gr.File(
            label="Download", interactive=False, visible=HIDDEN, elem_id="export-file"
        )
    with gr.Accordion("Write to a folder on this machine", open=False):
        folder = gr.Textbox(
            str(studio.options.runs.parent / "exports" / "readout"),
            label="Folder",
            info="Made if missing; an older export in it is replaced, others are refused.",
            elem_id="export-path",
        )
        write = gr.Button("Write folder", elem_id="export-folder", interactive=not studio.read_only)
        written = gr.HTML(elem_id="export-written")
    chosen = [concepts, layers, allow_changed, form]
    build_hub_section(studio, chosen)
    with gr.Accordion("Manifest", open=False):
        manifest = gr.Code(language="json", label="readout.json", interactive=False)
    build_bring_section(studio)

    def make_zip(
        names: list[str], indices: list[int], allow: bool, form: str
    ) -> tuple[object, str]:
        path = studio.export_zip(names, indices, form=form, allow_changed=allow)
        return gr.File(str(path), visible=True), _manifest_text(path)

    def write_folder(
        names: list[str], indices: list[int], allow: bool, form: str, where: str
    ) -> str:
        path = studio.export_folder(names, indices, Path(where), form=form, allow_changed=allow)
        return f"<p class='done'>Written to <code>{escape(str(path))}</code>.</p>"

    form.change(ABOUT_FORMATS.get, form, explained, **QUIET)
    pack.click(guarded(make_zip), chosen, [download, manifest], **PRIVATE)
    write.click(guarded(write_folder), [*chosen, folder], written, **PRIVATE)
    return ExportTab(about, concepts, layers, allow_changed)


def refresh_export(studio: Studio) -> tuple[object, ...]:
    """New values for `ExportTab`'s components, in their order, after a run was made or chosen."""
    run = studio.runs.current()
    return (
        draw_about(studio),
        gr.Dropdown(choices=list(run.concepts) if run else [], value=[]),
        gr.Dropdown(choices=_layers(run), value=_best(run)),
        gr.Checkbox(visible=seen_if(_changed(studio)), value=False),
    )


def draw_about(studio: Studio) -> str:
    """The run that would be exported in one sentence, with a warning when texts changed."""
    run = studio.runs.current()
    if run is None:
        return EMPTY
    noun = "concept" if len(run.concepts) == 1 else "concepts"
    text = (
        f"<p>Exports the run of <b>{local_time(run)}</b>: {len(run.concepts)} "
        f"{noun}, model {escape(run.model_name)}, best layer {run.best_layer}.</p>"
    )
    if _changed(studio):
        text += (
            "<p class='warning'>Descriptions changed since this training. Retrain, or say below "
            "that you want these vectors all the same.</p>"
        )
    return text


def _manifest_text(path: Path) -> str:
    import zipfile

    with zipfile.ZipFile(path) as archive:
        if MANIFEST_FILE not in archive.namelist():
            return ""
        return json.dumps(json.loads(archive.read(MANIFEST_FILE)), indent=2, ensure_ascii=False)


def _changed(studio: Studio) -> bool:
    return studio.runs.current() is not None and studio.changed_descriptions() > 0


def _layers(run: RunRecord | None) -> list[int]:
    return list(run.layers) if run else []


def _best(run: RunRecord | None) -> list[int]:
    return [run.best_layer] if run else []
