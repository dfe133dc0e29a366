"""The Steering tab: push the model along concept directions, see what it says and what it costs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from html import escape
from typing import Any

import gradio as gr

from readout_ui.steering_setups import parse_setup, setup_json
from readout_ui.studio import Studio
from readout_ui.tabs.events import PRIVATE, QUIET, guarded
from readout_ui.tabs.layer_choices import layer_slider
from readout_ui.tabs.notices import draw_notice
from readout_ui.tabs.steering_events import wire_work
from readout_ui.tabs.steering_inputs import (
    MOST_STEERS,
    SetupInputs,
    add_row,
    best_of,
    build_setup,
    operator_fields,
    set_outputs,
    setup_from,
    show_setup,
)
from readout_ui.tabs.steering_layout import (
    Buttons,
    Results,
    build_ask,
    build_buttons,
    build_results,
)
from readout_ui.tabs.steering_picker import PICK, wire_picker
from readout_ui.tabs.steering_results import draw_pair, draw_sweep
from readout_ui.tabs.steering_work import NO_RUN, run_in_use
from readout_ui.tabs.visibility import HIDDEN, seen_if

SAVE = """(text) => {
  if (!text) return [];
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob([text], { type: 'application/json' }));
  link.download = 'steering.json';
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  return [];
}"""


@dataclass(frozen=True)
class SteeringTab:
    """Components of the Steering tab that others listen to."""

    setup: SetupInputs
    prompt: gr.Textbox
    notice: gr.HTML
    """What to do first; empty when there is something to steer with."""
    layers: tuple[gr.Slider, gr.Slider]
    """Whose scores are shown, of a pair and of a sweep."""

    @property
    def refreshed(self) -> list[Any]:
        """The outputs of `refresh_steering`."""
        concepts = [row.inputs[0] for row in self.setup.rows]
        return [self.notice, *self.layers, self.setup.rows[0].inputs[5], *concepts]


def build_steering_tab(studio: Studio) -> SteeringTab:
    """Lay out the tab and wire its own events."""
    run = studio.runs.current()
    notice = gr.HTML(draw_notice(None if run else NO_RUN), elem_id="steer-notice")
    with gr.Group(elem_id="steer-setup"):
        setup = build_setup(run)
    picker = gr.HTML(elem_id="steer-picker", padding=False, js_on_load=PICK)
    ask = build_ask()
    buttons = build_buttons()
    results = build_results(run)
    tab = SteeringTab(setup, ask.prompt, notice, (results.look[0], results.sweep_look[0]))
    _wire_setup(studio, setup, buttons, results)
    wire_picker(studio, setup, ask, picker)
    wire_work(studio, setup, ask, buttons, results)
    _wire_looks(results)
    return tab


def refresh_steering(studio: Studio) -> tuple[Any, ...]:
    """New values for `SteeringTab.refreshed` after a run was made or chosen; results stay."""
    run = studio.runs.current()
    names = list(run.concepts) if run else []
    slider = layer_slider(run)
    layers = gr.Textbox(placeholder=best_of(run))
    return (
        draw_notice(None if run else NO_RUN),
        *(gr.Slider(**slider), gr.Slider(**slider)),
        layers,
        *(gr.Dropdown(choices=names) for _ in range(MOST_STEERS)),
    )


def _wire_setup(studio: Studio, setup: SetupInputs, buttons: Buttons, results: Results) -> None:
    layers = [row.inputs[5] for row in setup.rows]
    setup.add.click(
        guarded(add_row), [setup.open, layers[0]], [setup.open, *setup.boxes, *layers], **QUIET
    )
    for number, row in enumerate(setup.rows):
        row.inputs[1].input(operator_fields, row.inputs[1], [row.inputs[2], row.inputs[4]], **QUIET)
        row.remove.click(
            partial(_remove_row, number), setup.open, [setup.open, row.box, row.inputs[0]], **QUIET
        )
    setup.place.input(
        lambda place: gr.Textbox(visible=seen_if(place in ("from", "spans"))),
        setup.place,
        setup.tokens,
        **QUIET,
    )
    text = gr.Textbox(visible=False)

    def save(*values: Any) -> str:
        run = run_in_use(studio)
        return setup_json(setup_from(run, *values), run.model_name, run.model_fingerprint)

    def load(raw: bytes) -> tuple[Any, ...]:
        run = run_in_use(studio)
        found = parse_setup(raw, "the setup file", run.model_name, run.model_fingerprint)
        note = f"<p class='steer-note'><b>Loaded.</b> {escape(found.describe())}</p>"
        return note, *show_setup(found)

    buttons.save.click(guarded(save), setup.values, text, **PRIVATE).success(
        None, text, js=SAVE, **PRIVATE
    )
    outputs = [results.progress, *set_outputs(setup)]
    buttons.load.upload(guarded(load), buttons.load, outputs, **QUIET)


def _remove_row(number: int, shown: tuple[bool, ...]) -> tuple[Any, ...]:
    now = tuple(there and i != number for i, there in enumerate(shown))
    return now, gr.Row(visible=HIDDEN), None


def _wire_looks(results: Results) -> None:
    gr.on(
        [each.input for each in results.look],
        guarded(draw_pair),
        [results.found, *results.look],
        results.pair_drawn,
        trigger_mode="always_last",
        **QUIET,
    )
    gr.on(
        [each.input for each in results.sweep_look],
        guarded(draw_sweep),
        [results.swept, *results.sweep_look],
        results.sweep_drawn,
        trigger_mode="always_last",
        **QUIET,
    )
