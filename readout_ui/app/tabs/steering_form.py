"""What a person sets on the Steering tab, and how it becomes a setup and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr

from readout_ui.app.events import HIDDEN, Changes, Values, seen_if
from readout_ui.app.session import Studio
from readout_ui.errors import UserError
from readout_ui.inference.sampling import Sampling
from readout_ui.inference.steering_setup import Steer, SteeringSetup, Where, parse_where
from readout_ui.runs.run import Run

if TYPE_CHECKING:
    pass

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
PICKED = ("from", "spans")
"""Places that need positions of tokens."""


@dataclass(frozen=True)
class SteerRow:
    """The components of one steer."""

    box: gr.Row
    concept: gr.Dropdown
    operator: gr.Dropdown
    multiplier: gr.Number
    value: gr.Number
    """What "clamp" sets; hidden for the others."""
    unit: gr.Dropdown
    layers: gr.Textbox
    remove: gr.Button

    @property
    def inputs(self) -> list[Any]:
        """Everything that makes a steer."""
        how = [self.operator, self.multiplier, self.value, self.unit]
        return [self.concept, *how, self.layers]


@dataclass(frozen=True)
class SetupInputs:
    """Everything that makes a setup."""

    rows: tuple[SteerRow, ...]
    add: gr.Button
    place: gr.Radio
    tokens: gr.Textbox
    """Positions, for "from" and "spans"."""
    open: gr.State
    """Which rows are shown, a tuple of booleans."""

    @property
    def inputs(self) -> set[Any]:
        """What `setup_from` takes."""
        return {self.place, self.tokens, *(each for row in self.rows for each in row.inputs)}

    def show_rows(self, shown: tuple[bool, ...]) -> Changes:
        """These rows and no others."""
        rows = zip(self.rows, shown, strict=True)
        return {self.open: shown, **{row.box: gr.Row(visible=seen_if(it)) for row, it in rows}}


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
    return SteerRow(box, concept, operator, multiplier, value, unit, layers, remove)


def setup_from(run: Run, setup: SetupInputs, values: Values) -> SteeringSetup:
    """The setup on screen; a row without a concept counts for nothing.

    Raises:
        UserError: there is no concept at all, or a number, layer or position that makes no sense.
    """
    steers = tuple(_steer(run, row, values) for row in setup.rows if values[row.concept])
    if not steers:
        raise UserError("no concept is chosen", fix="choose one in the first row")
    return SteeringSetup(steers, where_from(values[setup.place], values[setup.tokens] or ""))


def where_from(place: str, tokens: str) -> Where:
    """The tokens on screen as a Where."""
    return parse_where(f"{place}:{tokens}" if place in PICKED else place)


def _steer(run: Run, row: SteerRow, values: Values) -> Steer:
    concept, operator = values[row.concept], values[row.operator]
    multiplier, value = values[row.multiplier], values[row.value]
    if concept not in run.concepts:
        raise UserError(f"concept {concept} was not trained", options=run.concepts)
    if multiplier is None or (operator == "clamp" and value is None):
        raise UserError("a number is missing", where=f"steering with {concept}", fix="fill it in")
    return Steer(
        concept=concept,
        layers=_layers(run, values[row.layers]),
        multiplier=float(multiplier),
        unit=values[row.unit],
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


def show_setup(setup: SetupInputs, found: SteeringSetup) -> Changes:
    """Rows, place and tokens of a setup.

    Raises:
        UserError: the setup has more steers than the tab has rows.
    """
    steers = found.steers
    if len(steers) > MOST_STEERS:
        raise UserError(
            f"the setup has {len(steers)} steers, the tab has room for {MOST_STEERS}",
            fix="use it with readout-ui steer --setup",
        )
    kind, _, tokens = str(found.where).partition(":")
    changes = setup.show_rows(tuple(n < max(1, len(steers)) for n in range(MOST_STEERS)))
    changes[setup.place] = kind
    changes[setup.tokens] = gr.Textbox(value=tokens, visible=seen_if(kind in PICKED))
    for number, row in enumerate(setup.rows):
        changes |= _show_row(row, steers[number] if number < len(steers) else None)
    return changes


def _show_row(row: SteerRow, steer: Steer | None) -> Changes:
    clamp = steer is not None and steer.operator == "clamp"
    changes = {
        row.concept: steer.concept if steer else None,
        row.operator: steer.operator if steer else "add",
        row.multiplier: steer.multiplier if steer else DEFAULT_MULTIPLIER,
        row.unit: steer.unit if steer else "norm",
        row.value: gr.Number(visible=seen_if(clamp)),
    }
    if steer is not None:
        value = steer.value if clamp else 1.0
        changes[row.value] = gr.Number(value=value, visible=seen_if(clamp))
        changes[row.layers] = ",".join(map(str, steer.layers))
    return changes


def add_row(setup: SetupInputs, values: Values) -> Changes:
    """One more row, with the layers of the first."""
    shown = values[setup.open]
    if all(shown):
        raise UserError(f"{MOST_STEERS} concepts are the most that fit here")
    fresh = shown.index(False)
    now = tuple(there or number == fresh for number, there in enumerate(shown))
    return {**setup.show_rows(now), setup.rows[fresh].layers: values[setup.rows[0].layers]}


def remove_row(setup: SetupInputs, row: SteerRow, shown: tuple[bool, ...]) -> Changes:
    """One row less; without a concept it counts for nothing."""
    now = tuple(there and other is not row for there, other in zip(shown, setup.rows, strict=True))
    return {**setup.show_rows(now), row.concept: None}


def operator_fields(row: SteerRow, operator: str) -> Changes:
    """Multiplier and value for an operator: a length for some, the share of a change for others."""
    if operator in ("ablate", "clamp"):
        multiplier = gr.Number(value=1.0, label="Share", info=None)
    else:
        multiplier = gr.Number(value=DEFAULT_MULTIPLIER, label="Multiplier")
    return {
        row.multiplier: multiplier,
        row.value: gr.Number(visible=seen_if(operator == "clamp")),
    }


PLACEHOLDER = "What the user says, for example: How was your day?"


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


@dataclass(frozen=True, eq=False)
class Request:
    """One press of a button, checked."""

    setup: SteeringSetup
    prompt: str
    system: str
    sampling: Sampling


def request_from(studio: Studio, ask: Ask, setup: SetupInputs, values: Values) -> Request:
    """What is on screen, checked; UserError for a missing prompt or a setup that makes no sense."""
    if not str(values[ask.prompt]).strip():
        raise UserError("there is no prompt", fix="write what the user says")
    sampling = Sampling(
        temperature=float(values[ask.temperature]),
        max_new_tokens=int(values[ask.longest]),
        seed=int(values[ask.seed] or 0),
    )
    found = setup_from(studio.run(), setup, values)
    return Request(found, values[ask.prompt], values[ask.system] or "", sampling)
