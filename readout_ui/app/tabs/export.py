"""The Export tab: a zip, a folder or a hub repository of the vectors, and exports taken back."""

from __future__ import annotations

import json
import shutil
import tempfile
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from readout_ui.app.events import (
    DEVICE,
    HIDDEN,
    PRIVATE,
    QUIET,
    Changes,
    Part,
    Values,
    bound,
    components,
    guarded,
    seen_if,
)
from readout_ui.app.session import Studio
from readout_ui.app.widgets import count, local_time
from readout_ui.errors import UserError
from readout_ui.files import scratch_folder
from readout_ui.runs.export import BARE_FORMATS, FORMATS
from readout_ui.runs.hub import GET_TOKEN, NO_TOKEN, hub_token, push
from readout_ui.runs.manifest import MANIFEST_FILE
from readout_ui.runs.run import Run
from readout_ui.runs.store import adopted

if TYPE_CHECKING:
    from readout_ui.inference.readout import Readout

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
    studio.use_run(run.id)
    return (
        f"<p class='done'>In use now: {_counted(run.concepts, run.layers)} of {escape(name)}. "
        f"{escape(verdict)}. The Train tab lists it among the runs.</p>"
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


WITHOUT = f"Nothing can be pushed: {NO_TOKEN}. To push, {GET_TOKEN}, then open this again."
WITH = (
    "Uploads the chosen concepts, layers and format with the token of this machine, when you press "
    "the button and not before. Among the files: the manifest, which quotes up to eight of your "
    "texts as probes, and a model card."
)


EMPTY = "<p class='empty'>There is nothing to export yet. Press <b>Train</b> first.</p>"
ABOUT_FORMATS = {
    "readout": "`readout.safetensors` (one `layer_<i>.vectors` per layer, float16) and "
    "`readout.json` (the manifest), with `calibration.safetensors` beside them for z-scores. "
    "The page docs/formats.md has a loader of 20 lines.",
    "steering": "One `steering_vectors.SteeringVector` per concept, as safetensors and JSON.",
    "gguf": "One control vector per concept. Layer 0 cannot be in it.",
    "npz": "Plain NumPy arrays in float32 with the manifest; nothing is lost.",
    "steering-pkl": FORMATS["steering-pkl"].warning,
}


class ExportTab(Part):
    """The tab: which run would be exported, what of it, and where to."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio
        self.about = gr.HTML(draw_about(studio), elem_id="export-about", padding=False)
        self._build_chosen()
        what = {self.concepts, self.layers, self.form, self.scale}
        self.chosen: set[Any] = {*what, self.allow_changed}
        pack, write = self._build_places()
        self._build_hub()
        with gr.Accordion("Manifest", open=False):
            self.manifest = gr.Code(language="json", label="readout.json", interactive=False)
        build_bring_section(studio)
        pack.click(bound(self.make_zip), self.chosen, components(self), **PRIVATE)
        write.click(
            bound(self.write_folder), {*self.chosen, self.folder}, components(self), **PRIVATE
        )

    def _build_chosen(self) -> None:
        run = self.studio.runs.current()
        with gr.Row():
            self.concepts = gr.Dropdown(
                list(run.concepts) if run else [],
                value=[],
                multiselect=True,
                label="Concepts",
                info="Leave empty for all of them.",
                elem_id="export-concepts",
            )
            self.layers = gr.Dropdown(
                **_layers(run),
                multiselect=True,
                label="Layers",
                info="The best by cross-validation is chosen; each further one costs time per "
                "token.",
                elem_id="export-layers",
            )
        self.form = gr.Radio(
            [(one.title, name) for name, one in FORMATS.items()],
            value="readout",
            label="Format",
            elem_id="export-format",
        )
        self.explained = gr.Markdown(ABOUT_FORMATS["readout"], elem_id="export-explained")
        self.scale = gr.Radio(
            [("1.0 is one dose", "norm"), ("Vectors of length 1", "unit")],
            value="norm",
            label="Scale of vectors to steer with",
            visible=HIDDEN,
            elem_id="export-scale",
        )
        outputs = [self.explained, self.scale]
        self.form.change(bound(self.explain), self.form, outputs, **QUIET)
        self.allow_changed = gr.Checkbox(
            label="Export although descriptions changed since this training",
            visible=seen_if(_changed(self.studio)),
            elem_id="export-allow-changed",
        )

    def _build_places(self) -> tuple[gr.Button, gr.Button]:
        """The zip and the folder; gives the button of each."""
        with gr.Row():
            pack = gr.Button("Make zip", variant="primary", elem_id="export-zip")
            self.download = gr.File(
                label="Download", interactive=False, visible=HIDDEN, elem_id="export-file"
            )
        with gr.Accordion("Write to a folder on this machine", open=False):
            self.folder = gr.Textbox(
                str(self.studio.options.runs.parent / "exports" / "readout"),
                label="Folder",
                info="Made if missing; an older export in it is replaced, others are refused.",
                elem_id="export-path",
            )
            write = gr.Button(
                "Write folder", elem_id="export-folder", interactive=not self.studio.read_only
            )
            self.written = gr.HTML(elem_id="export-written")
        return pack, write

    def _build_hub(self) -> None:
        ready = hub_token() is not None
        with gr.Accordion("Push to the Hugging Face hub", open=False, elem_id="hub") as section:
            about = gr.Markdown(WITH if ready else WITHOUT, elem_id="hub-about")
            with gr.Group(visible=seen_if(ready)) as form:
                self.repository = gr.Textbox(
                    label="Repository",
                    placeholder="owner/name",
                    info="Made if missing; an earlier export in it is replaced, others refused.",
                    elem_id="hub-name",
                )
                self.public = gr.Checkbox(
                    label="Public: everybody can read it", value=False, elem_id="hub-public"
                )
                button = gr.Button(
                    "Push", elem_id="hub-push", interactive=not self.studio.read_only
                )
            self.pushed = gr.HTML(elem_id="hub-pushed", padding=False)

        def look() -> Changes:
            found = hub_token() is not None
            return {about: WITH if found else WITHOUT, form: gr.Group(visible=seen_if(found))}

        section.expand(look, None, [about, form], **QUIET)
        asked = {*self.chosen, self.repository, self.public}
        button.click(bound(self.push), asked, self.pushed, **PRIVATE)

    def _choices(self, values: Values) -> dict[str, Any]:
        """Arguments of `Studio.export`."""
        names = ("concepts", "layers", "form", "allow_changed")
        chosen = {name: values[getattr(self, name)] for name in names}
        return {**chosen, "scale": values[self.scale] if chosen["form"] in BARE_FORMATS else ""}

    def explain(self, form: str) -> Changes:
        """What a format holds, and its scale where it has one."""
        scale = gr.Radio(visible=seen_if(form in BARE_FORMATS))
        return {self.explained: ABOUT_FORMATS[form], self.scale: scale}

    def make_zip(self, values: Values) -> Changes:
        """A zip to download, and its manifest on the page."""
        path = self.studio.export(**self._choices(values))
        file = gr.File(str(path), visible=True)
        return {self.download: file, self.manifest: _manifest_text(path)}

    def write_folder(self, values: Values) -> Changes:
        """A folder on this machine."""
        path = self.studio.export(folder=Path(values[self.folder]), **self._choices(values))
        done = f"<p class='done'>Written to <code>{escape(str(path))}</code>.</p>"
        return {self.written: done}

    def push(self, values: Values) -> Changes:
        """A repository on the hub."""
        self.studio.refuse_if_read_only("push to the hub")
        run = self.studio.run()
        if not (run.source or values[self.allow_changed]):
            run.refuse_changed(self.studio.training_library())
        chosen = self._choices(values)
        concepts, layers = chosen["concepts"] or None, chosen["layers"] or None
        files = run.files(chosen["form"], concepts, layers, chosen["scale"])
        sent = push(files, values[self.repository], public=values[self.public])
        return {self.pushed: f"<p class='done'>{escape(sent.sentence())}.</p>"}

    def refresh(self) -> Changes:
        """What can be exported, after a run was made or chosen."""
        run = self.studio.runs.current()
        return {
            self.about: draw_about(self.studio),
            self.concepts: gr.Dropdown(choices=list(run.concepts) if run else [], value=[]),
            self.layers: gr.Dropdown(**_layers(run)),
            self.allow_changed: gr.Checkbox(visible=seen_if(_changed(self.studio)), value=False),
        }


def draw_about(studio: Studio) -> str:
    """The run that would be exported in one sentence, with a warning when texts changed."""
    run = studio.runs.current()
    if run is None:
        return EMPTY
    text = (
        f"<p>Exports the run of <b>{local_time(run)}</b>: {count(len(run.concepts), 'concept')}, "
        f"model {escape(run.model_name)}, best layer {run.best_layer}.</p>"
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


def _layers(run: Run | None) -> dict[str, Any]:
    """Layers of a run, of which the best one is chosen."""
    return (
        {"choices": list(run.layers), "value": [run.best_layer]}
        if run
        else {"choices": [], "value": []}
    )
