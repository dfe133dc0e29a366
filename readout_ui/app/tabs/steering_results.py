"""What the Steering tab is made of below the setup: prompt, buttons, results."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import gradio as gr

from readout_ui.app.events import HIDDEN, Changes, Values
from readout_ui.app.tabs.steering_html import DrawnSide, PairLook, draw_pair, draw_sweep
from readout_ui.app.widgets import build_plot, layer_slider
from readout_ui.runs.run import Run

if TYPE_CHECKING:
    from readout_ui.inference.sweep import Pair, Sweep

PLACEHOLDER = "What the user says, for example: How was your day?"
KINDS = {"z-score": "z", "Cosine": "cosine", "Raw": "raw"}
READS = {"While steered": "during", "Its words alone": "alone"}


@dataclass(frozen=True)
class Ask:
    """Everything that is sent to the model."""

    prompt: gr.Textbox
    system: gr.Textbox
    temperature: gr.Slider
    longest: gr.Slider
    seed: gr.Number
    factors: gr.Textbox

    @property
    def inputs(self) -> set[Any]:
        """What `request_from` takes, and the factors of a sweep."""
        sampling = {self.temperature, self.longest, self.seed}
        return {self.prompt, self.system, self.factors, *sampling}


@dataclass(frozen=True)
class Buttons:
    """What can be pressed."""

    steer: gr.Button
    sweep: gr.Button
    cancel: gr.Button
    save: gr.Button
    load: gr.UploadButton


@dataclass(frozen=True)
class Side:
    """The components of one of the two answers."""

    text: gr.HTML
    strip: gr.HTML
    rows: gr.HTML
    columns: gr.HTML
    plot: gr.Plot

    def fill(self, drawn: DrawnSide) -> Changes:
        """One answer in its place."""
        return {getattr(self, name): value for name, value in drawn._asdict().items()}


@dataclass(frozen=True)
class PairInputs:
    """How a pair is shown; the fields are those of `PairLook`."""

    layer: gr.Slider
    concept: gr.Dropdown
    kind: gr.Radio
    read: gr.Radio
    prompt: gr.Checkbox
    chosen: gr.Dropdown

    @property
    def components(self) -> dict[str, Any]:
        """All of them, by the field of `PairLook`."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def look(self, values: Values) -> PairLook:
        """What is chosen."""
        return PairLook(**{name: values[each] for name, each in self.components.items()})


@dataclass(frozen=True)
class Results:
    """Everything below the buttons."""

    progress: gr.HTML
    found: gr.State
    """The pair that is shown."""
    swept: gr.State
    """The sweep that is shown."""
    pair: gr.Column
    look: PairInputs
    summary: gr.HTML
    means: gr.HTML
    plain: Side
    steered: Side
    sweep: gr.Column
    sweep_layer: gr.Slider
    sweep_read: gr.Radio
    curves: gr.Plot
    table: gr.HTML

    @property
    def pair_drawn(self) -> list[Any]:
        """The outputs of `show_pair`."""
        sides = [*vars(self.plain).values(), *vars(self.steered).values()]
        return [self.summary, self.means, *sides]

    @property
    def sweep_drawn(self) -> list[Any]:
        """The outputs of `show_sweep`."""
        return [self.curves, self.table]

    def show_pair(self, pair: Pair, look: PairLook) -> Changes:
        """A pair as it is to be shown."""
        drawn = draw_pair(pair, look)
        words = {self.summary: drawn.summary, self.means: drawn.means}
        return {**words, **self.plain.fill(drawn.plain), **self.steered.fill(drawn.steered)}

    def show_sweep(self, swept: Sweep, layer: float, read: str) -> Changes:
        """A sweep as it is to be shown."""
        curves, table = draw_sweep(swept, layer, read)
        return {self.curves: curves, self.table: table}


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
    return Ask(prompt, system, temperature, longest, seed, factors)


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


def build_results(run: Run | None) -> Results:
    """Lay out everything below the buttons; hidden until there is something."""
    progress = gr.HTML(elem_id="steer-progress", padding=False)
    with gr.Column(visible=HIDDEN, elem_id="steer-pair") as pair:
        summary = gr.HTML(elem_id="steer-summary", padding=False)
        look = _build_look(run)
        with gr.Row(elem_id="steer-sides"):
            plain, steered = _build_side("plain"), _build_side("steered")
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
        plain=plain,
        steered=steered,
        sweep=swept,
        sweep_layer=layer,
        sweep_read=read,
        curves=curves,
        table=table,
    )


def _build_side(name: str) -> Side:
    """A place for one answer and its readout."""
    with gr.Column(min_width=320, elem_classes="steer-side"):
        text = gr.HTML(elem_id=f"steer-{name}-text", padding=False)
        strip = gr.HTML(elem_id=f"steer-{name}-strip", padding=False)
        with gr.Column(elem_classes="steer-scroll"):
            rows = gr.HTML(elem_classes="steer-rows")
            columns = gr.HTML(elem_classes="steer-columns")
            plot = gr.Plot(
                show_label=False,
                container=False,
                elem_id=f"steer-{name}-heatmap",
                elem_classes="steer-heatmap",
            )
    return Side(text, strip, rows, columns, plot)


def _build_look(run: Run | None) -> PairInputs:
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
    return PairInputs(layer, concept, kind, read, prompt, chosen)
