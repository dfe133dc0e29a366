"""What a person sets on the Steering tab, and how it becomes a setup and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr

from readout_ui.app.events import HIDDEN, QUIET, Changes, Part, Values, bound, components, seen_if
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


class SteerRow(Part):
    """The components of one steer."""

    def __init__(self, run: Run | None, first: bool) -> None:
        names = list(run.concepts) if run else []
        shown = gr.Row(visible=seen_if(first), elem_classes="steer-row", equal_height=True)
        with shown as self.box:
            self.concept = gr.Dropdown(
                names,
                value=names[0] if first and run is not None else None,
                label="Concept",
                allow_custom_value=True,
                scale=3,
                min_width=150,
                elem_classes="steer-concept",
            )
            self.operator = gr.Dropdown(
                list(OPERATORS.items()), value="add", label="Operator", scale=3, min_width=130
            )
            self.multiplier = gr.Number(
                DEFAULT_MULTIPLIER,
                label="Multiplier",
                step=0.05,
                scale=2,
                min_width=96,
                elem_classes="steer-multiplier",
            )
            self.value = gr.Number(  # what "clamp" sets
                1.0, label="Value", step=0.1, visible=HIDDEN, scale=2, min_width=96
            )
            self.unit = gr.Dropdown(
                list(UNITS.items()),
                value="norm",
                label="Unit",
                scale=2,
                min_width=118,
                elem_classes="steer-unit",
            )
            self.layers = gr.Textbox(
                str(run.best_layer) if run else "",
                label="Layers",
                placeholder=best_of(run),
                scale=2,
                min_width=90,
            )
            self.remove = gr.Button(
                "✕", scale=0, min_width=44, elem_classes="steer-remove", size="sm"
            )
        outputs = [self.multiplier, self.value]
        self.operator.input(bound(self.operator_fields), self.operator, outputs, **QUIET)

    @property
    def inputs(self) -> list[Any]:
        """Everything that makes a steer."""
        how = [self.operator, self.multiplier, self.value, self.unit]
        return [self.concept, *how, self.layers]

    def steer(self, run: Run, values: Values) -> Steer:
        """What is on screen; UserError where it makes no sense."""
        concept, operator = values[self.concept], values[self.operator]
        multiplier, value = values[self.multiplier], values[self.value]
        if concept not in run.concepts:
            raise UserError(f"concept {concept} was not trained", options=run.concepts)
        if multiplier is None or (operator == "clamp" and value is None):
            raise UserError(
                "a number is missing", where=f"steering with {concept}", fix="fill it in"
            )
        return Steer(
            concept=concept,
            layers=_layers(run, values[self.layers]),
            multiplier=float(multiplier),
            unit=values[self.unit],
            operator=operator,
            value=float(value) if operator == "clamp" else None,
        )

    def show(self, steer: Steer | None) -> Changes:
        """A steer of a setup; None empties the row."""
        clamp = steer is not None and steer.operator == "clamp"
        changes = {
            self.concept: steer.concept if steer else None,
            self.operator: steer.operator if steer else "add",
            self.multiplier: steer.multiplier if steer else DEFAULT_MULTIPLIER,
            self.unit: steer.unit if steer else "norm",
            self.value: gr.Number(visible=seen_if(clamp)),
        }
        if steer is not None:
            value = steer.value if clamp else 1.0
            changes[self.value] = gr.Number(value=value, visible=seen_if(clamp))
            changes[self.layers] = ",".join(map(str, steer.layers))
        return changes

    def operator_fields(self, operator: str) -> Changes:
        """Multiplier and value for an operator: a length, or the share of a change."""
        if operator in ("ablate", "clamp"):
            multiplier = gr.Number(value=1.0, label="Share", info=None)
        else:
            multiplier = gr.Number(value=DEFAULT_MULTIPLIER, label="Multiplier")
        return {
            self.multiplier: multiplier,
            self.value: gr.Number(visible=seen_if(operator == "clamp")),
        }


class SetupInputs(Part):
    """Everything that makes a setup: rows, of which the first is shown, and where they act."""

    def __init__(self, run: Run | None) -> None:
        self.rows = tuple(SteerRow(run, number == 0) for number in range(MOST_STEERS))
        self.open = gr.State(tuple(number == 0 for number in range(MOST_STEERS)))
        self.add = gr.Button(
            "+ Add a concept", size="sm", elem_id="steer-add", scale=0, min_width=140
        )
        self.place = gr.Radio(
            list(PLACES.items()), value="all", label="Where", elem_id="steer-place"
        )
        self.tokens = gr.Textbox(
            "",
            label="Tokens",
            info="Positions from 0, the prompt's first token: 12 for “from”, such as 3-7,12 for "
            "spans.",
            visible=HIDDEN,
            elem_id="steer-tokens",
        )
        self._wire()

    def _wire(self) -> None:
        """Rows come and go; places ask for what they need."""
        outputs, first = components(self), self.rows[0].layers
        self.add.click(bound(self.add_row), {self.open, first}, outputs, **QUIET)
        for row in self.rows:
            row.remove.click(bound(self.remove_row, row), self.open, outputs, **QUIET)

        def show_tokens(place: str) -> gr.Textbox:
            return gr.Textbox(visible=seen_if(place in PICKED))

        self.place.input(show_tokens, self.place, self.tokens, **QUIET)

    @property
    def inputs(self) -> set[Any]:
        """What `setup` takes."""
        return {self.place, self.tokens, *(each for row in self.rows for each in row.inputs)}

    def show_rows(self, shown: tuple[bool, ...]) -> Changes:
        """These rows and no others."""
        rows = zip(self.rows, shown, strict=True)
        return {self.open: shown, **{row.box: gr.Row(visible=seen_if(it)) for row, it in rows}}

    def setup(self, run: Run, values: Values) -> SteeringSetup:
        """The setup on screen; a row without a concept counts for nothing.

        Raises:
            UserError: there is no concept, or a number, layer or position that makes no sense.
        """
        steers = tuple(row.steer(run, values) for row in self.rows if values[row.concept])
        if not steers:
            raise UserError("no concept is chosen", fix="choose one in the first row")
        return SteeringSetup(steers, where_from(values[self.place], values[self.tokens] or ""))

    def show(self, found: SteeringSetup) -> Changes:
        """Rows, place and tokens of a self.

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
        changes = self.show_rows(tuple(n < max(1, len(steers)) for n in range(MOST_STEERS)))
        changes[self.place] = kind
        changes[self.tokens] = gr.Textbox(value=tokens, visible=seen_if(kind in PICKED))
        for number, row in enumerate(self.rows):
            changes |= row.show(steers[number] if number < len(steers) else None)
        return changes

    def add_row(self, values: Values) -> Changes:
        """One more row, with the layers of the first."""
        shown = values[self.open]
        if all(shown):
            raise UserError(f"{MOST_STEERS} concepts are the most that fit here")
        fresh = shown.index(False)
        now = tuple(there or number == fresh for number, there in enumerate(shown))
        return {**self.show_rows(now), self.rows[fresh].layers: values[self.rows[0].layers]}

    def remove_row(self, row: SteerRow, shown: tuple[bool, ...]) -> Changes:
        """One row less; without a concept it counts for nothing."""
        now = tuple(
            there and other is not row for there, other in zip(shown, self.rows, strict=True)
        )
        return {**self.show_rows(now), row.concept: None}


def where_from(place: str, tokens: str) -> Where:
    """The tokens on screen as a Where."""
    return parse_where(f"{place}:{tokens}" if place in PICKED else place)


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


@dataclass(frozen=True, eq=False)
class Request:
    """One press of a button, checked."""

    setup: SteeringSetup
    prompt: str
    system: str
    sampling: Sampling
    thinking: bool | None


class Ask(Part):
    """Everything that is sent to the model."""

    def __init__(self) -> None:
        self.prompt = gr.Textbox(
            label="Prompt",
            lines=2,
            max_lines=8,
            placeholder="What the user says, for example: How was your day?",
            elem_id="steer-prompt",
        )
        with gr.Accordion("System prompt, sampling and sweep", open=False, elem_id="steer-more"):
            self.system = gr.Textbox("", label="System prompt", lines=1, max_lines=6)
            self.thinking = gr.Radio(
                [("as the model likes", ""), ("on", "on"), ("off", "off")],
                value="",
                label="Thinking",
                info="Whether the model reasons first, if its template can be told.",
                elem_id="steer-thinking",
            )
            with gr.Row():
                self.temperature = gr.Slider(
                    0, 2, value=0.7, step=0.05, label="Temperature", min_width=180
                )
                self.longest = gr.Slider(
                    4, 384, value=48, step=4, label="Longest answer, tokens", min_width=180
                )
                self.seed = gr.Number(0, label="Seed", precision=0, minimum=0, min_width=100)
                self.factors = gr.Textbox(
                    "-2..2:9",
                    label="Sweep over",
                    info="From..to:steps, or a list. Every multiplier is taken times each factor.",
                    min_width=200,
                    elem_id="steer-factors",
                )

    def request(self, setup: SteeringSetup, values: Values) -> Request:
        """What is on screen, checked; UserError for a missing prompt."""
        if not str(values[self.prompt]).strip():
            raise UserError("there is no prompt", fix="write what the user says")
        sampling = Sampling(
            temperature=float(values[self.temperature]),
            max_new_tokens=int(values[self.longest]),
            seed=int(values[self.seed] or 0),
        )
        thinking = wants_thinking(values[self.thinking])
        return Request(setup, values[self.prompt], values[self.system] or "", sampling, thinking)


def wants_thinking(chosen: object) -> bool | None:
    """What the page's choice means: on, off, or (None) as the model likes."""
    return None if not chosen else chosen == "on"
