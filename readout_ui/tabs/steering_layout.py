"""What the Steering tab is made of: prompt, buttons, results."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from readout_ui.runs import RunRecord
from readout_ui.tabs.layer_choices import layer_slider
from readout_ui.tabs.plots import build_plot
from readout_ui.tabs.steering_results import Side, build_side
from readout_ui.tabs.visibility import HIDDEN

PLACEHOLDER = "What the user says, for example: How was your day?"
KINDS = {"z-score": "z", "Cosine": "cosine", "Raw": "raw"}
READS = {"While steered": "during", "Its words alone": "alone"}


@dataclass(frozen=True)
class Ask:
    """Everything that is sent to the model."""

    prompt: Any
    system: Any
    sampling: tuple[Any, ...]
    """Temperature, longest answer, seed."""
    factors: Any

    @property
    def inputs(self) -> list[Any]:
        """In the order in which `wish_from` takes them."""
        return [self.prompt, self.system, *self.sampling, self.factors]


@dataclass(frozen=True)
class Buttons:
    """What can be pressed."""

    steer: Any
    sweep: Any
    cancel: Any
    save: Any
    load: Any


@dataclass(frozen=True)
class Results:
    """Everything below the buttons."""

    progress: Any
    found: gr.State
    """The pair that is shown."""
    swept: gr.State
    """The sweep that is shown."""
    pair: Any
    look: tuple[Any, ...]
    """Inputs of `PairLook`."""
    summary: Any
    means: Any
    sides: tuple[Side, Side]
    sweep: Any
    sweep_look: tuple[Any, Any]
    curves: Any
    table: Any

    @property
    def pair_drawn(self) -> list[Any]:
        """What `draw_pair` fills."""
        return [self.summary, self.means, *self.sides[0].outputs, *self.sides[1].outputs]

    @property
    def sweep_drawn(self) -> list[Any]:
        """What `draw_sweep` fills."""
        return [self.curves, self.table]


def build_ask() -> Ask:
    """Lay out the prompt and everything about sampling."""
    prompt = gr.Textbox(
        label="Prompt", lines=2, max_lines=8, placeholder=PLACEHOLDER, elem_id="steer-prompt"
    )
    with gr.Accordion("System prompt, sampling and sweep", open=False, elem_id="steer-more"):
        system = gr.Textbox("", label="System prompt", lines=1, max_lines=6)
        with gr.Row():
            temperature = gr.Slider(0, 2, value=0.7, step=0.05, label="Temperature", min_width=180)
            longest = gr.Slider(
                4, 384, value=48, step=4, label="Longest answer, tokens", min_width=180
            )
            seed = gr.Number(0, label="Seed", precision=0, minimum=0, min_width=100)
            factors = gr.Textbox(
                "-2..2:9",
                label="Sweep over",
                info="From..to:steps, or a list. Every multiplier is taken times each factor.",
                min_width=200,
                elem_id="steer-factors",
            )
    return Ask(prompt, system, (temperature, longest, seed), factors)


def build_buttons() -> Buttons:
    """Lay out the row of buttons."""
    with gr.Row(elem_id="steer-go"):
        steer = gr.Button("Steer", variant="primary", elem_id="steer-run", min_width=120, scale=0)
        sweep = gr.Button("Sweep", elem_id="steer-sweep", min_width=110, scale=0)
        save = gr.Button("Save setup", elem_id="steer-save", min_width=130, scale=0)
        load = gr.UploadButton(
            "Load setup",
            file_types=[".json"],
            type="binary",
            elem_id="steer-load",
            min_width=130,
            scale=0,
        )
        cancel = gr.Button("Cancel", elem_id="steer-cancel", visible=HIDDEN, min_width=100, scale=0)
    return Buttons(steer, sweep, cancel, save, load)


def build_results(run: RunRecord | None) -> Results:
    """Lay out everything below the buttons; hidden until there is something."""
    progress = gr.HTML(elem_id="steer-progress", padding=False)
    with gr.Column(visible=HIDDEN, elem_id="steer-pair") as pair:
        summary = gr.HTML(elem_id="steer-summary", padding=False)
        look = _build_look(run)
        with gr.Row(elem_id="steer-sides"):
            sides = build_side("plain"), build_side("steered")
        means = gr.HTML(elem_id="steer-means", padding=False)
    with gr.Column(visible=HIDDEN, elem_id="steer-swept") as swept:
        with gr.Row():
            layer = gr.Slider(**layer_slider(run), step=1, label="Scores at layer", min_width=200)
            read = gr.Radio(list(READS.items()), value="during", label="Answers read")
        curves = build_plot("steer-curves")
        table = gr.HTML(elem_id="steer-table", padding=False)
    return Results(
        progress=progress,
        found=gr.State(None),
        swept=gr.State(None),
        pair=pair,
        look=look,
        summary=summary,
        means=means,
        sides=sides,
        sweep=swept,
        sweep_look=(layer, read),
        curves=curves,
        table=table,
    )


def _build_look(run: RunRecord | None) -> tuple[Any, ...]:
    """Inputs in the order of PairLook's fields."""
    with gr.Accordion("Look", open=False, elem_id="steer-look"):
        with gr.Row():
            layer = gr.Slider(**layer_slider(run), step=1, label="Layer", min_width=200)
            concept = gr.Dropdown([], label="Text coloured by", min_width=180)
            chosen = gr.Dropdown(
                [], label="Concepts (empty: moved most)", multiselect=True, value=[], min_width=220
            )
        with gr.Row():
            kind = gr.Radio(list(KINDS.items()), value="z", label="Score")
            read = gr.Radio(
                list(READS.items()),
                value="during",
                label="Steered answer read",
                elem_id="steer-read",
            )
            prompt = gr.Checkbox(False, label="Show the prompt's tokens", elem_id="steer-whole")
    return layer, concept, kind, read, prompt, chosen
