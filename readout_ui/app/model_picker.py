"""The drawer behind the model chip: which model is loaded, and loading another one."""

from __future__ import annotations

from html import escape
from typing import Any

import gradio as gr

from readout_ui.app.events import HIDDEN, QUIET, Changes, Part, Values, bound
from readout_ui.app.follow import Follower, Task
from readout_ui.app.session import Studio
from readout_ui.app.status import Status
from readout_ui.app.widgets import drawer_head
from readout_ui.errors import UserError

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
                self.stop = gr.Button("Cancel", visible=HIDDEN, elem_id="model-cancel")
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
