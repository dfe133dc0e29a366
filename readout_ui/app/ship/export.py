"""The card that exports the run in use: format, command, certificate, and where to."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from readout_ui.app.assets import calling, on_load
from readout_ui.app.events import (
    AWAY,
    DEVICE,
    EACH,
    QUIET,
    Changes,
    Part,
    Values,
    bound,
    components,
    in_turn,
    seen_if,
)
from readout_ui.app.session import Studio
from readout_ui.app.ship.uses import certificate, draw_checks, draw_use, stem_of
from readout_ui.errors import UserError
from readout_ui.files import size_text
from readout_ui.runs.export import BARE_FORMATS, FORMATS
from readout_ui.runs.hub import GET_TOKEN, NO_TOKEN, hub_token, push
from readout_ui.runs.run import Run

WITHOUT = (
    f"<p class='hub-none'>Nothing can be pushed: {NO_TOKEN}. To push, "
    f"{GET_TOKEN.replace('`', '')}, then press the button again.</p>"
)
WITH = (
    "<p>Uploads the chosen concepts, layers and format with the token of this machine, when you "
    "press Push and not before. Among the files: the manifest, which quotes up to eight of your "
    "texts as probes, and a model card.</p>"
)
EMPTY = "<p class='empty'>There is nothing to export yet. Press <b>Train</b> first.</p>"


@dataclass(frozen=True)
class Choice:
    """One format as a person chooses it."""

    name: str
    title: str
    line: str
    n_bytes: int
    """Of one number of a direction."""


CHOICES = (
    Choice("readout", "Readout", "with calibration: reads anywhere, vLLM too", 2),
    Choice("gguf", "GGUF", "llama.cpp and repeng, to steer with", 4),
    Choice("npz", "NPZ", "NumPy, nothing is rounded: reading, steering", 4),
    Choice("steering", "Steering", "safetensors for the steering-vectors library", 4),
    Choice("steering-pkl", "Pickle", "steering-vectors library, for old scripts", 4),
)


class ExportCard(Part):
    """Which run would be exported, what of it, and where to."""

    def __init__(self, studio: Studio) -> None:
        self.studio, run = studio, studio.runs.current()
        self.head = gr.HTML(draw_head(studio), elem_id="export-about", padding=False)
        self.form, self.shown = gr.State("readout"), gr.State(self._standing())
        with gr.Column(elem_classes=seen_if(run is not None), elem_id="export-body") as self.body:
            self.formats = gr.HTML(
                draw_formats(),
                elem_id="export-format",
                padding=False,
                js_on_load=on_load("ship/acts.js"),
            )
            self._build_chosen(run)
            self.code = gr.HTML(
                draw_use(studio, "readout", [], []),
                elem_id="export-code",
                padding=False,
                js_on_load=on_load("ship/acts.js"),
            )
            self.checks = gr.HTML(draw_checks(studio), elem_id="export-checks", padding=False)
            self.allow_changed = gr.Checkbox(
                label="Export although descriptions changed since this training",
                elem_classes=seen_if(studio.changed_descriptions() > 0),
                elem_id="export-allow-changed",
            )
            self.chosen: set[Any] = {self.concepts, self.layers, self.form, self.scale}
            self.chosen.add(self.allow_changed)
            self._build_places()
        self._wire()

    def _build_chosen(self, run: Run | None) -> None:
        with gr.Accordion("Concepts, layers and scale", open=False, elem_id="export-what"):
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
            self.scale = gr.Radio(
                [("1.0 is one dose", "norm"), ("Vectors of length 1", "unit")],
                value="norm",
                label="Scale of vectors to steer with",
                info="A dose is 0.3 of the residual stream's mean length, shared among the layers.",
                elem_classes=AWAY,  # until a format that has one is chosen
                elem_id="export-scale",
            )

    def _build_places(self) -> None:
        """Three buttons, and the forms of two of them."""
        write = not self.studio.read_only
        with gr.Row(elem_classes="ship-line"):
            self.zip = gr.Button("Download", variant="primary", size="sm", elem_id="export-zip")
            self.to_hub = gr.Button("Push to the hub", size="sm", elem_id="hub")
            self.to_folder = gr.Button("Write a folder", size="sm", elem_id="export-to-folder")
        self.file = gr.File(visible=False, elem_id="export-file")
        with gr.Column(elem_classes=AWAY, elem_id="folder-form") as self.folder_form:
            self.folder = gr.Textbox(
                str(self.studio.options.runs.parent / "exports" / "readout"),
                label="Folder on this machine",
                info="Made if missing; an older export in it is replaced, others are refused.",
                elem_id="export-path",
            )
            self.write = gr.Button("Write", size="sm", elem_id="export-folder", interactive=write)
        with gr.Column(elem_classes=AWAY, elem_id="hub-form") as self.hub_form:
            self.hub_about = gr.HTML(WITHOUT, elem_id="hub-about")
            with gr.Column(elem_classes=AWAY, elem_id="hub-fields") as self.hub_fields:
                self.repository = gr.Textbox(
                    label="Repository",
                    placeholder="owner/name",
                    info="Made if missing; an earlier export in it is replaced, others refused.",
                    elem_id="hub-name",
                )
                self.public = gr.Checkbox(
                    label="Public: everybody can read it", value=False, elem_id="hub-public"
                )
                self.push = gr.Button("Push", size="sm", elem_id="hub-push", interactive=write)
        self.said = gr.HTML(elem_id="export-said", padding=False)

    def _wire(self) -> None:
        outputs = components(self)
        known: set[Any] = {self.concepts, self.layers}
        self.formats.select(bound(self.pick), known, outputs, **EACH)
        gr.on(
            [self.concepts.change, self.layers.change],
            bound(self.show_use),
            {*known, self.form},
            outputs,
            **QUIET,
        )
        # A mistake is told in a toast: gradio's own sign would lie over every output.
        quiet = {**DEVICE, **QUIET}
        done = [self.file, self.checks, self.said]
        made = self.zip.click(bound(self.make_zip), self.chosen, done, **quiet)
        made.success(None, self.file, js=calling("ship/acts.js", "download"), **QUIET)
        self.write.click(bound(self.write_folder), {*self.chosen, self.folder}, done, **quiet)
        place = in_turn("export-place")  # the last one that is pressed stays open
        self.to_folder.click(bound(self.open_folder), None, outputs, **place)
        self.to_hub.click(bound(self.open_hub), None, outputs, **place)
        asked = {*self.chosen, self.repository, self.public}
        self.push.click(bound(self.push_to_hub), asked, done, **QUIET)

    def _choices(self, values: Values) -> dict[str, Any]:
        """Arguments of `Studio.export`."""
        names = ("concepts", "layers", "form", "allow_changed")
        chosen = {name: values[getattr(self, name)] for name in names}
        return {**chosen, "scale": values[self.scale] if chosen["form"] in BARE_FORMATS else ""}

    def pick(self, values: Values, event: gr.EventData) -> Changes:
        """Another format: its size, its command and what is checked of it."""
        form, concepts, layers = str(event.format), values[self.concepts], values[self.layers]
        if form not in FORMATS:
            raise UserError(f"unknown format {form!r}", options=FORMATS)
        return {
            self.form: form,
            self.scale: gr.Radio(elem_classes=seen_if(form in BARE_FORMATS)),
            self.head: draw_head(self.studio, form, concepts, layers),
            self.code: draw_use(self.studio, form, concepts, layers),
            self.checks: draw_checks(self.studio, form),
        }

    def show_use(self, values: Values) -> Changes:
        """Size and command of what is chosen now."""
        chosen = (values[self.form], values[self.concepts], values[self.layers])
        head, code = draw_head(self.studio, *chosen), draw_use(self.studio, *chosen)
        return {self.head: head, self.code: code}

    def make_zip(self, values: Values) -> Changes:
        """A zip to download, named after the run and read again before it is handed over."""
        chosen, run = self._choices(values), self.studio.run()
        made = self.studio.export(**chosen)
        path = made.rename(made.with_name(f"{stem_of(self.studio, run)}.zip"))
        return {self.file: str(path), self.checks: self._checked(path, chosen["form"])}

    def write_folder(self, values: Values) -> Changes:
        """A folder on this machine."""
        chosen = self._choices(values)
        path = self.studio.export(folder=Path(values[self.folder]), **chosen)
        done = f"<p class='done' role='status'>Written to <code>{escape(str(path))}</code>.</p>"
        return {self.said: done, self.checks: self._checked(path, chosen["form"])}

    def _checked(self, path: Path, form: str) -> str:
        return draw_checks(self.studio, form, certificate(self.studio, path, form))

    def open_folder(self) -> Changes:
        """Show where a folder would go."""
        return {
            self.folder_form: gr.Column(elem_classes=seen_if(True)),
            self.hub_form: gr.Column(elem_classes=AWAY),
            self.said: "",
        }

    def open_hub(self) -> Changes:
        """Show what a push needs, and whether it can be done."""
        token = hub_token()
        return {
            self.hub_form: gr.Column(elem_classes=seen_if(True)),
            self.folder_form: gr.Column(elem_classes=AWAY),
            self.hub_about: WITHOUT if token is None else WITH,
            self.hub_fields: gr.Column(elem_classes=seen_if(token is not None)),
            self.said: "",
        }

    def push_to_hub(self, values: Values) -> Changes:
        """A repository on the hub."""
        self.studio.refuse_if_read_only("push to the hub")
        run = self.studio.run()
        if not (run.source or values[self.allow_changed]):
            run.refuse_changed(self.studio.training_library())
        chosen = self._choices(values)
        concepts, layers = chosen["concepts"] or None, chosen["layers"] or None
        files = run.files(chosen["form"], concepts, layers, chosen["scale"])
        sent = push(files, values[self.repository], public=values[self.public])
        return {self.said: f"<p class='done' role='status'>{escape(sent.sentence())}.</p>"}

    @property
    def asked(self) -> set[Any]:
        """What `refresh` takes: what is chosen stays while the run is the same."""
        return {self.shown, self.form, self.concepts, self.layers}

    def _standing(self) -> list[str | int]:
        """The run in use, and how many texts changed since."""
        run = self.studio.runs.current()
        return [run.id, self.studio.changed_descriptions()] if run else ["", 0]

    def refresh(self, values: Values) -> Changes:
        """What can be exported, after a run was made, chosen or named, or texts were edited."""
        run, shown, now = self.studio.runs.current(), values[self.shown], self._standing()
        if run is not None and shown == now:
            return self.show_use(values)
        changes: Changes = {
            self.shown: now,
            self.checks: draw_checks(self.studio, values[self.form]),
            self.allow_changed: gr.Checkbox(value=False, elem_classes=seen_if(now[1] != 0)),
        }
        if shown[0] == now[0]:
            return changes
        if run is None:  # its choices stay where nobody sees them
            return {
                **changes,
                self.head: draw_head(self.studio),
                self.body: gr.Column(elem_classes=AWAY),
            }
        return {
            **changes,
            self.form: "readout",
            self.scale: gr.Radio(elem_classes=AWAY),
            self.formats: draw_formats(),
            self.head: draw_head(self.studio),
            self.code: draw_use(self.studio, "readout", [], []),
            self.checks: draw_checks(self.studio),
            self.body: gr.Column(elem_classes=seen_if(True)),
            self.concepts: gr.Dropdown(choices=list(run.concepts), value=[]),
            self.layers: gr.Dropdown(**_layers(run)),
            self.file: None,
            self.said: "",
        }


def draw_head(
    studio: Studio, form: str = "readout", concepts: list[str] | None = None, layers: Any = None
) -> str:
    """The run that would be exported, and how large the file is."""
    run = studio.runs.current()
    if run is None:
        return f"<h2>Export</h2>{EMPTY}"
    n_bytes = next(choice.n_bytes for choice in CHOICES if choice.name == form)
    n_layers = len(layers or [run.best_layer])
    size = len(concepts or run.concepts) * n_layers * run.manifest.hidden_size * n_bytes
    return (
        f"<h2>Export “{escape(studio.runs.title(run))}” "
        f"<span class='tag'>about {size_text(size)}</span></h2>"
    )


def draw_formats() -> str:
    """The formats as radio buttons with a line each."""
    rows = "".join(
        f"<label><input type='radio' name='ship-format' value='{choice.name}' data-act='format'"
        f"{' checked' if choice.name == 'readout' else ''}><b>{choice.title}</b>"
        f"<span class='dim small'>{escape(choice.line)}</span></label>"
        for choice in CHOICES
    )
    return f"<div class='fmt' role='radiogroup' aria-label='Format'>{rows}</div>"


def _layers(run: Run | None) -> dict[str, Any]:
    """Layers of a run, of which the best one is chosen."""
    return (
        {"choices": list(run.layers), "value": [run.best_layer]}
        if run
        else {"choices": [], "value": []}
    )
