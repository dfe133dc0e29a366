"""The header: rooms, news in one line, the model and its picker, Train."""

from __future__ import annotations

from html import escape
from typing import Any
from urllib.parse import quote

import gradio as gr

from readout_ui.app.assets import on_load
from readout_ui.app.events import (
    AWAY,
    QUIET,
    Call,
    Changes,
    Nothing,
    Part,
    Values,
    answering,
    bound,
    guarded,
    on_threads,
)
from readout_ui.app.follow import Follower, Task, draw_progress
from readout_ui.app.jobs import JobState, JobView
from readout_ui.app.session import Studio
from readout_ui.app.status import Status
from readout_ui.app.train import counted
from readout_ui.app.widgets import drawer_head
from readout_ui.errors import UserError
from readout_ui.runs.report import RunReport
from readout_ui.runs.run import Run

OTHER = ""
"""The choice of a model that is not in the list."""


class ModelPicker(Part):
    """Models on this machine, or any by its name; the one in use stays until another is loaded."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio
        options, editable = studio.options, not studio.read_only
        with gr.Column(elem_id="model-drawer", elem_classes="drawer"):
            drawer_head("Model", "model-drawer")
            self.about = gr.HTML(draw_loaded(studio.status()), elem_id="model-about", padding=False)
            self.known = gr.Radio(
                [("Another, named below", OTHER)],
                value=OTHER,
                label="Models on this machine",
                elem_id="model-known",
                interactive=editable,
            )
            self.name = gr.Textbox(
                label="Another model",
                info="A hub id, a folder or a .gguf file.",
                placeholder="Qwen/Qwen3-0.6B",
                elem_id="model-name",
                interactive=editable,
            )
            self._build_how(options.device, options.dtype, options.quantization, editable)
            self.free = gr.HTML(elem_id="model-free", padding=False)
            with gr.Row():
                self.load = gr.Button(
                    "Load", variant="primary", elem_id="model-load", interactive=editable
                )
                self.stop = gr.Button("Cancel", elem_classes=AWAY, elem_id="model-cancel")
            self.progress = gr.HTML(elem_id="model-progress", padding=False)
        self._wire()

    def _build_how(self, device: str, dtype: str, quantization: str, editable: bool) -> None:
        with gr.Row():
            self.device = gr.Dropdown(
                ["auto", "cpu", "cuda", "mps"],
                value=device,
                label="Device",
                allow_custom_value=True,
                min_width=90,
                interactive=editable,
            )
            self.dtype = gr.Dropdown(
                ["auto", "bf16", "fp16", "fp32"],
                value=dtype,
                label="Numbers",
                min_width=90,
                interactive=editable,
            )
            self.quantization = gr.Dropdown(
                ["none", "8bit", "4bit"],
                value=quantization,
                label="Quantized",
                min_width=90,
                interactive=editable,
            )

    def _wire(self) -> None:
        follower = Follower(self.studio.worker, self.progress, self.stop, (self.load,))
        inputs = {self.known, self.name, self.device, self.dtype, self.quantization}
        follower.wire(self.load, self.ask, inputs, [self.about, self.free])
        follower.wire_cancel()
        self.device.change(bound(self.measure), {self.device}, self.free, **QUIET)

    def refresh(self) -> Changes:
        """What is on this machine now, when the drawer opens."""
        from readout_ui.models.checkpoints import models_here

        here = [(f"{name} · {size / 1e9:.1f} GB", name) for name, size in models_here()]
        return {
            self.about: draw_loaded(self.studio.status()),
            self.known: gr.Radio(choices=[*here, ("Another, named below", OTHER)]),
            self.free: draw_free(self.studio.options.device),
        }

    def measure(self, values: Values) -> Changes:
        """Free memory of the device that is chosen."""
        return {self.free: draw_free(values[self.device])}

    def ask(self, values: Values) -> Task:
        """Start to load what is chosen."""
        from readout_ui.models.loading import ModelSpec

        model = str(values[self.known] or values[self.name]).strip()
        if not model:
            raise UserError("no model is named", fix="choose one of the list or type a name")
        spec = ModelSpec(
            model,
            device=str(values[self.device]),
            dtype=values[self.dtype],
            quantization=values[self.quantization],
        )
        return Task(self.studio.load_model(spec), self.loaded, outlives_page=True)

    def loaded(self, _nothing: Any) -> Changes:
        """What is loaded now, and what that asks for."""
        device = self.studio.options.device
        return {self.about: draw_loaded(self.studio.status()), self.free: draw_free(device)}


def draw_loaded(status: Status) -> str:
    """The loaded model, how it is read, and whether the vectors in use belong to it."""
    if not status.model_ready:
        return "<p class='dim'>No model is loaded.</p>"
    notes = "".join(f"<li>{escape(note)}</li>" for note in status.model_notes)
    misfit = (
        f"<p class='warning'>{escape(status.misfit)} Press Train, or "
        "<a href='#/ship'>use another run</a>. Your texts stay as they are.</p>"
        if status.misfit
        else ""
    )
    about = escape(status.model_description)
    return f"<p><b>In use:</b> {about}</p>{misfit}<ul class='notes'>{notes}</ul>"


def draw_free(device: str) -> str:
    """How much memory a new model could take."""
    from readout_ui.models.devices import choose_device, free_bytes

    try:
        chosen = choose_device(device)
    except UserError as error:
        return f"<p class='warning'>{escape(str(error))}</p>"
    free = free_bytes(chosen, device == "auto") / 2**30
    return f"<p class='dim'>Free on {escape(str(chosen))}: {free:.1f} GiB</p>"


_ICONS = {
    "Write": "M4 16l1-4 8.5-8.5 3 3L8 15z",
    "Read": "M2 10s3-5 8-5 8 5 8 5-3 5-8 5-8-5-8-5zM10 8a2 2 0 1 0 0 4a2 2 0 1 0 0-4",
    "Judge": "M10 3v14M6 17h8M4 6h12M4 6l-2.5 6h5zM16 6l-2.5 6h5z",
    "Ship": "M10 12V3M6.5 6L10 2.5 13.5 6M3 11v6h14v-6",
}
_LINKS = "".join(
    f"<a href='#/{name.lower()}' data-label='{name}'>"
    f"<svg aria-hidden='true' viewBox='0 0 20 20'><path d='{path}'/></svg><span>{name}</span></a>"
    for name, path in _ICONS.items()
)
_GEAR = (
    "<button type='button' class='btn ico' data-drawer='train-drawer' aria-expanded='false' "
    "aria-controls='train-drawer' aria-label='Training settings' title='Training settings'>"
    "<svg aria-hidden='true' viewBox='0 0 16 16'><path d='M4 6.5l4 4 4-4'/></svg></button>"
)

_UNTRAINED = (
    "<span class='moved'>Not trained yet. Press Train to read any text by your concepts.</span>"
    "<a href='#/read'>See an example</a>"
)


class Header(Part):
    """Name and rooms, one line of news, the model, and two buttons: train, and stop."""

    def __init__(self, studio: Studio) -> None:
        status = studio.status()
        with gr.Row(elem_id="header", equal_height=True):
            gr.HTML(
                draw_masthead(studio.home()),
                elem_id="masthead",
                padding=False,
                js_on_load=on_load("shell/header.js"),
                server_functions=on_threads([names_of(studio)]),
            )
            self.news = gr.HTML(draw_news(status, None), elem_id="status", padding=False)
            self.model = gr.HTML(
                draw_model(status), elem_id="model", padding=False, js_on_load=on_load("clicks.js")
            )
            self.cancel = gr.Button(
                "Cancel", elem_id="cancel-training", elem_classes=AWAY, min_width=80
            )
            self.retrain = gr.Button(
                elem_id="retrain", min_width=168, **train_button(status, studio.read_only)
            )
            gr.HTML(_GEAR, elem_id="train-gear", padding=False)
        self.cancel.click(guarded(studio.cancel_shown), **QUIET)


def names_of(studio: Studio) -> Call:
    """The server function that tells the palette which concepts there are."""
    return answering("concept_names", Nothing, lambda _r: {"names": list(studio.library().names())})


def draw_masthead(home: str) -> str:
    """Skip link, name and rooms; `home` is the room of an address that names none."""
    return (
        f"<a class='skip' href='#/{home}' data-skip>Skip to the page</a>"
        f"<a class='name' href='#/{home}' data-home='{home}'>Readout<em> Studio</em></a>"
        f"<nav class='rooms' aria-label='Rooms'>{_LINKS}</nav>"
    )


def train_button(status: Status, read_only: bool) -> dict[str, Any]:
    """The one Train button: what a press would train, and how it looks; always 168 px wide."""
    busy = status.is_training
    fresh = bool(status.run and not status.run.source and not status.changed and not status.misfit)
    return {
        "value": train_label(status),
        "interactive": not busy and not read_only,
        "variant": "secondary" if fresh or busy else "primary",
    }


def train_label(status: Status) -> str:
    """What the button says; it trains on the descriptions, whatever the run in use was made of."""
    if status.is_training:
        return "Training…"
    is_new = status.run is None or bool(status.run.source)
    if status.misfit and not is_new:
        return "Train · new model"
    if not is_new and not status.changed:
        return "Train · up to date"
    if status.chosen < status.concepts:  # some concepts are left out
        return f"Train · {status.chosen} of {status.concepts}"
    return "Train" if is_new else f"Train · {status.changed} changed"


def draw_news(status: Status, report: RunReport | None) -> str:
    """The one line: what is under way, what went wrong, or what came of the last training."""
    kind, words = _news(status, report)
    return f"<div class='news {kind}' role='status'>{words}</div>"


def _news(status: Status, report: RunReport | None) -> tuple[str, str]:
    training, model = status.training, status.model
    jobs = (training, model, status.judging)
    busy = next((job for job in jobs if job and not job.state.finished), None)
    if busy is not None:
        return "busy", draw_progress(busy)
    if model is not None and model.state is JobState.FAILED:
        return "failed", _failed(model, "" if status.model_ready else "No model. ")
    if training is not None and training.state is JobState.FAILED:
        return "failed", _failed(training, "Training failed. ")
    if training is not None and training.state is JobState.CANCELLED:
        return "", "Cancelled; the vectors in use are as before."
    if status.misfit:
        return "", f"{escape(status.misfit)} <a href='#/ship'>Runs</a>"
    return "", _outcome(status.run, training, report) if status.run else _UNTRAINED


def _failed(job: JobView, about: str) -> str:
    return f"<span title='{escape(job.error)}'><b>{about}</b>{escape(job.error)}</span>"


def _outcome(run: Run, job: JobView | None, report: RunReport | None) -> str:
    """What the training of the run in use moved, and where to look."""
    if job is None and not run.source:
        return ""
    judged = report is not None and report.run_id == run.id
    moved = report.moved if report is not None and judged else ""
    if not moved:
        took = f" in {job.seconds:.1f}\N{NO-BREAK SPACE}s" if job is not None else ""
        moved = f"Trained {counted(run)}{took}."
    said = moved[:1].upper() + moved[1:]
    return (
        f"<span class='moved' title='{escape(said)}'>{_linked(said, run)}</span>"
        "<a href='#/read'>Try it</a><a href='#/judge'>See the report</a>"
    )


def _linked(moved: str, run: Run) -> str:
    """A sentence about what turned, as HTML; names lead to the pages of their concepts."""
    names = {name[:1].upper() + name[1:]: name for name in run.concepts}
    parts = []
    for part in moved.split("; "):
        said, turned, rest = part.partition(" turned ")
        name = names.get(said[:1].upper() + said[1:])
        if turned and name:
            said = f"<a href='#/write/{quote(name, safe='')}'>{escape(said)}</a>"
        else:
            said = escape(said)
        parts.append(said + escape(turned + rest))
    return "; ".join(parts)


def draw_model(status: Status) -> str:
    """The palette's key and the model chip, which opens the model picker."""
    kind, name, place = "ready", status.model_name, status.model_place
    if not status.model_ready:
        failed = status.model is not None and status.model.state is JobState.FAILED
        kind, name, place = ("failed", "No model", "") if failed else ("busy", "Loading…", "")
    return (
        "<button type='button' class='kbd' data-palette title='Find anything'>Ctrl K</button>"
        f"<button type='button' class='chip {kind}' id='model-chip' data-drawer='model-drawer' "
        "data-picker='open' "
        "aria-expanded='false' aria-controls='model-drawer' "
        f"title='{escape(status.model_description)}'><i class='dot'></i>"
        f"<span class='vh'>Model: </span><b>{escape(name)}</b>"
        f"<span class='dev'>{escape(place)}</span></button>"
    )
