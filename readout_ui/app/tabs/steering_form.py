"""What a person sets on the Steering tab, and how it becomes a setup and back.

What the Steering tab is made of: prompt, buttons, results.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from readout_ui.app.events import HIDDEN, seen_if
from readout_ui.app.tabs.steering_html import Side, build_side
from readout_ui.app.widgets import build_plot, layer_slider
from readout_ui.errors import UserError
from readout_ui.inference.steering_setup import Steer, SteeringSetup, Where, parse_where
from readout_ui.runs.run import Run

MOST_STEERS = 6
"""Rows of the tab; a setup with more is for the command line."""
DEFAULT_MULTIPLIER = 0.25
OPERATORS = {
    "Add": "add",
    "Ablate": "ablate",
    "Ablate, then add": "ablate_then_add",
    "Clamp to": "clamp",
}
UNITS = {"× mean norm": "norm", "raw": "raw"}
PLACES = {
    "All tokens": "all",
    "Prompt only": "prompt",
    "Generated only": "generated",
    "From token": "from",
    "Chosen spans": "spans",
}
FIELDS = 6
"""Inputs of one row: concept, operator, multiplier, unit, value, layers."""


@dataclass(frozen=True)
class SteerRow:
    """The components of one steer."""

    box: gr.Row
    inputs: tuple[Any, ...]
    """Concept, operator, multiplier, unit, value, layers."""
    remove: gr.Button


@dataclass(frozen=True)
class SetupInputs:
    """Everything that makes a setup."""

    rows: tuple[SteerRow, ...]
    add: gr.Button
    place: Any
    tokens: Any
    """Positions, for "from" and "spans"."""
    open: gr.State
    """Which rows are shown, a tuple of booleans."""

    @property
    def values(self) -> list[Any]:
        """Inputs in the order of `setup_from`."""
        return [self.place, self.tokens, *(each for row in self.rows for each in row.inputs)]

    @property
    def boxes(self) -> list[Any]:
        """The rows themselves."""
        return [row.box for row in self.rows]


def build_setup(run: Run | None) -> SetupInputs:
    """Lay out the rows, of which the first is shown, and where they act."""
    rows = tuple(_build_row(run, number) for number in range(MOST_STEERS))
    add = gr.Button("+ Add a concept", size="sm", elem_id="steer-add", scale=0, min_width=140)
    place = gr.Radio(list(PLACES.items()), value="all", label="Where", elem_id="steer-place")
    tokens = gr.Textbox(
        "",
        label="Tokens",
        info="Positions from 0, the prompt's first token: 12 for “from”, such as 3-7,12 for spans.",
        visible=HIDDEN,
        elem_id="steer-tokens",
    )
    shown = gr.State(tuple(number == 0 for number in range(MOST_STEERS)))
    return SetupInputs(rows, add, place, tokens, shown)


def _build_row(run: Run | None, number: int) -> SteerRow:
    names = list(run.concepts) if run else []
    first = number == 0 and run is not None
    with gr.Row(visible=seen_if(number == 0), elem_classes="steer-row", equal_height=True) as box:
        concept = gr.Dropdown(
            names,
            value=names[0] if first else None,
            label="Concept",
            allow_custom_value=True,
            scale=3,
            min_width=150,
            elem_classes="steer-concept",
        )
        operator = gr.Dropdown(
            list(OPERATORS.items()), value="add", label="Operator", scale=3, min_width=130
        )
        multiplier = gr.Number(
            DEFAULT_MULTIPLIER,
            label="Multiplier",
            step=0.05,
            scale=2,
            min_width=96,
            elem_classes="steer-multiplier",
        )
        value = gr.Number(1.0, label="Value", step=0.1, visible=HIDDEN, scale=2, min_width=96)
        unit = gr.Dropdown(
            list(UNITS.items()),
            value="norm",
            label="Unit",
            scale=2,
            min_width=118,
            elem_classes="steer-unit",
        )
        layers = gr.Textbox(
            str(run.best_layer) if run else "",
            label="Layers",
            placeholder=best_of(run),
            scale=2,
            min_width=90,
        )
        remove = gr.Button("✕", scale=0, min_width=44, elem_classes="steer-remove", size="sm")
    return SteerRow(box, (concept, operator, multiplier, unit, value, layers), remove)


def setup_from(run: Run, place: str, tokens: str | None, *fields: Any) -> SteeringSetup:
    """The setup on screen; a row without a concept counts for nothing.

    Raises:
        UserError: there is no concept at all, or a number, layer or position that makes no sense.
    """
    rows = [fields[i : i + FIELDS] for i in range(0, len(fields), FIELDS)]
    steers = tuple(_steer(run, row) for row in rows if row[0])
    if not steers:
        raise UserError("no concept is chosen", fix="choose one in the first row")
    return SteeringSetup(steers, where_from(place, tokens or ""))


def where_from(place: str, tokens: str) -> Where:
    """The tokens on screen as a Where."""
    return parse_where(f"{place}:{tokens}" if place in ("from", "spans") else place)


def _steer(run: Run, row: Sequence[Any]) -> Steer:
    concept, operator, multiplier, unit, value, layers = row
    if concept not in run.concepts:
        raise UserError(f"concept {concept} was not trained", options=run.concepts)
    if multiplier is None or (operator == "clamp" and value is None):
        raise UserError("a number is missing", where=f"steering with {concept}", fix="fill it in")
    return Steer(
        concept=concept,
        layers=_layers(run, layers),
        multiplier=float(multiplier),
        unit=unit,
        operator=operator,
        value=float(value) if operator == "clamp" else None,
    )


def best_of(run: Run | None) -> str:
    """What an empty layer box stands for."""
    return f"best: {run.best_layer}" if run else "best"


def _layers(run: Run, text: str) -> tuple[int, ...]:
    """Layers as typed; nothing typed is the best one."""
    from readout_ui.vectors.settings import split_layers

    if not str(text or "").strip():
        return (run.best_layer,)
    known = run.layers
    found = list(known) if str(text).strip().lower() == "all" else split_layers(str(text), known)
    wrong = [layer for layer in found or [] if layer not in known]
    if not found or wrong:
        raise UserError(
            f"layer {wrong[0]} was not trained" if wrong else "no layer is named",
            fix=f"choose from {min(known)} to {max(known)}, such as {run.best_layer}",
        )
    return tuple(dict.fromkeys(found))


def show_setup(setup: SteeringSetup) -> tuple[Any, ...]:
    """Values for shown rows, boxes, place, tokens and fields, in the order of `set_outputs`.

    Raises:
        UserError: the setup has more steers than the tab has rows.
    """
    if len(setup.steers) > MOST_STEERS:
        raise UserError(
            f"the setup has {len(setup.steers)} steers, the tab has room for {MOST_STEERS}",
            fix="use it with readout-ui steer --setup",
        )
    n_shown = max(1, len(setup.steers))
    shown = tuple(number < n_shown for number in range(MOST_STEERS))
    kind, _, tokens = str(setup.where).partition(":")
    place = gr.Textbox(value=tokens, visible=seen_if(kind in ("from", "spans")))
    blanks: list[Steer | None] = [None] * (MOST_STEERS - len(setup.steers))
    fields = [each for steer in (*setup.steers, *blanks) for each in _fields(steer)]
    return shown, *(gr.Row(visible=seen_if(each)) for each in shown), kind, place, *fields


def _fields(steer: Steer | None) -> tuple[Any, ...]:
    if steer is None:
        return None, "add", DEFAULT_MULTIPLIER, "norm", gr.Number(visible=HIDDEN), gr.skip()
    clamp = steer.operator == "clamp"
    value = gr.Number(value=steer.value if clamp else 1.0, visible=seen_if(clamp))
    layers = ",".join(map(str, steer.layers))
    return steer.concept, steer.operator, steer.multiplier, steer.unit, value, layers


def set_outputs(inputs: SetupInputs) -> list[Any]:
    """The components that `show_setup` fills."""
    return [inputs.open, *inputs.boxes, *inputs.values]


def add_row(shown: tuple[bool, ...], layers: str) -> tuple[Any, ...]:
    """One more row, with the layers of the first."""
    places = [number for number, there in enumerate(shown) if not there]
    if not places:
        raise UserError(f"{MOST_STEERS} concepts are the most that fit here")
    now = tuple(there or number == places[0] for number, there in enumerate(shown))
    fresh = (layers if number == places[0] else gr.skip() for number in range(MOST_STEERS))
    return now, *(gr.Row(visible=seen_if(there)) for there in now), *fresh


def operator_fields(operator: str) -> tuple[Any, Any]:
    """Multiplier and value for an operator: a length for some, the share of a change for others."""
    if operator in ("ablate", "clamp"):
        multiplier = gr.Number(value=1.0, label="Share", info=None)
    else:
        multiplier = gr.Number(value=DEFAULT_MULTIPLIER, label="Multiplier")
    return multiplier, gr.Number(visible=seen_if(operator == "clamp"))


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


def build_results(run: Run | None) -> Results:
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


def _build_look(run: Run | None) -> tuple[Any, ...]:
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
