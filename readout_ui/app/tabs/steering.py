"""The Steering tab: push the model along concept directions, see what it says and what it costs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from html import escape
from typing import TYPE_CHECKING, Any

import gradio as gr

from readout_ui.app.assets import on_load, saving
from readout_ui.app.events import PRIVATE, QUIET, Changes, Values, bound, seen_if
from readout_ui.app.follow import Follower, Task
from readout_ui.app.session import Studio
from readout_ui.app.tabs.steering_form import (
    PICKED,
    SetupInputs,
    add_row,
    best_of,
    build_setup,
    operator_fields,
    remove_row,
    setup_from,
    show_setup,
)
from readout_ui.app.tabs.steering_html import draw_answer, first_concept
from readout_ui.app.tabs.steering_results import (
    Ask,
    Buttons,
    Results,
    build_ask,
    build_buttons,
    build_results,
)
from readout_ui.app.tabs.steering_run import (
    NO_RUN,
    compare_answers,
    request_from,
    run_in_use,
    sweep_answers,
    wire_picker,
)
from readout_ui.app.widgets import draw_notice, layer_slider
from readout_ui.inference.steering_setup import parse_factors, parse_setup, setup_json

if TYPE_CHECKING:
    from readout_ui.inference.decoding import Live
    from readout_ui.inference.sweep import Pair, Sweep


@dataclass(frozen=True)
class SteeringTab:
    """Components of the Steering tab."""

    notice: gr.HTML
    """What to do first; empty when there is something to steer with."""
    setup: SetupInputs
    ask: Ask
    buttons: Buttons
    results: Results

    @property
    def refreshed(self) -> list[Any]:
        """The outputs of `refresh_steering`."""
        concepts = [row.concept for row in self.setup.rows]
        layers = [self.setup.rows[0].layers, self.results.look.layer, self.results.sweep_layer]
        return [self.notice, *layers, *concepts]


def build_steering_tab(studio: Studio) -> SteeringTab:
    """Lay out the tab and wire its own events."""
    run = studio.runs.current()
    notice = gr.HTML(draw_notice(None if run else NO_RUN), elem_id="steer-notice")
    with gr.Group(elem_id="steer-setup"):
        setup = build_setup(run)
    picker = gr.HTML(elem_id="steer-picker", padding=False, js_on_load=on_load("clicks.js"))
    ask, buttons, results = build_ask(), build_buttons(), build_results(run)
    tab = SteeringTab(notice, setup, ask, buttons, results)
    _wire_setup(setup)
    _wire_files(studio, tab)
    wire_picker(studio, setup, ask, picker)
    _wire_work(studio, tab)
    _wire_looks(results)
    return tab


def refresh_steering(studio: Studio, tab: SteeringTab) -> Changes:
    """New concepts and layers after a run was made or chosen; results stay."""
    run = studio.runs.current()
    names, slider = list(run.concepts) if run else [], layer_slider(run)
    return {
        tab.notice: draw_notice(None if run else NO_RUN),
        tab.results.look.layer: gr.Slider(**slider),
        tab.results.sweep_layer: gr.Slider(**slider),
        tab.setup.rows[0].layers: gr.Textbox(placeholder=best_of(run)),
        **{row.concept: gr.Dropdown(choices=names) for row in tab.setup.rows},
    }


def _wire_setup(setup: SetupInputs) -> None:
    """Rows come and go; operators and places ask for what they need."""
    rows = [setup.open, *(row.box for row in setup.rows)]
    setup.add.click(
        bound(add_row, setup),
        {setup.open, setup.rows[0].layers},
        [*rows, *(row.layers for row in setup.rows)],
        **QUIET,
    )
    for row in setup.rows:
        changed = [row.multiplier, row.value]
        row.operator.input(bound(operator_fields, row), row.operator, changed, **QUIET)
        remove = bound(remove_row, setup, row)
        row.remove.click(remove, setup.open, [*rows, row.concept], **QUIET)
    setup.place.input(
        lambda place: gr.Textbox(visible=seen_if(place in PICKED)),
        setup.place,
        setup.tokens,
        **QUIET,
    )


def _wire_files(studio: Studio, tab: SteeringTab) -> None:
    """A setup is saved to disk by the browser, and loaded from there."""
    text = gr.Textbox(visible=False)
    tab.buttons.save.click(
        bound(save_setup, studio, tab), tab.setup.inputs, text, **PRIVATE
    ).success(None, text, js=saving("steering.json", "application/json"), **PRIVATE)
    outputs = [tab.results.progress, *tab.setup.outputs]
    load = bound(load_setup, studio, tab)
    tab.buttons.load.upload(load, tab.buttons.load, outputs, **QUIET)


def save_setup(studio: Studio, tab: SteeringTab, values: Values) -> str:
    """The setup on screen as a file's text."""
    run = run_in_use(studio)
    found = setup_from(run, tab.setup, values)
    return setup_json(found, run.model_name, run.model_fingerprint)


def load_setup(studio: Studio, tab: SteeringTab, raw: bytes) -> Changes:
    """A setup file on screen."""
    run = run_in_use(studio)
    found = parse_setup(raw, "the setup file", run.model_name, run.model_fingerprint)
    note = f"<p class='steer-note'><b>Loaded.</b> {escape(found.describe())}</p>"
    return {tab.results.progress: note, **show_setup(tab.setup, found)}


def _wire_work(studio: Studio, tab: SteeringTab) -> None:
    """A job's results reach the page that asked for it and no other."""
    results, buttons = tab.results, tab.buttons
    starts = (buttons.steer, buttons.sweep)
    follower = Follower(studio.worker, results.progress, buttons.cancel, starts)
    asked = {*tab.ask.inputs, *tab.setup.inputs}
    look = results.look
    chosen = [look.layer, look.concept, look.chosen]
    follower.wire(
        buttons.steer,
        partial(steer, studio, tab),
        {*asked, *look.components.values()},
        [results.pair, results.found, *chosen, *results.pair_drawn],
    )
    follower.wire(
        buttons.sweep,
        partial(sweep, studio, tab),
        {*asked, results.sweep_layer, results.sweep_read},
        [results.sweep, results.swept, results.sweep_layer, *results.sweep_drawn],
    )
    follower.wire_cancel()


def steer(studio: Studio, tab: SteeringTab, values: Values) -> Task:
    """Answer with and without steering; both texts grow on the page.

    Raises:
        UserError: something on screen makes no sense.
    """
    request = request_from(studio, tab.ask, tab.setup, values)
    growing = Growing(tab.results)
    job = studio.on_device("steer", "Steering", partial(compare_answers, request, growing.on_text))
    return Task(job, partial(show_pair, tab.results, values), growing.news)


def sweep(studio: Studio, tab: SteeringTab, values: Values) -> Task:
    """Answer at every factor.

    Raises:
        UserError: something on screen makes no sense.
    """
    factors = parse_factors(str(values[tab.ask.factors]))
    request = request_from(studio, tab.ask, tab.setup, values)
    job = studio.on_device("sweep", "Sweeping", partial(sweep_answers, request, factors))
    return Task(job, partial(show_sweep, tab.results, values))


class Growing:
    """The texts of both answers while the model writes them."""

    def __init__(self, results: Results) -> None:
        self._results = results
        self._now = {"baseline": "", "steered": ""}
        self._shown = dict(self._now)

    def on_text(self, side: str, answer: Live) -> None:
        """Called on the device's thread."""
        self._now[side] = answer.text

    def news(self) -> Changes:
        """What has changed since the last call; the column appears with the first words."""
        now, before = dict(self._now), self._shown
        self._shown = now
        places = {"baseline": self._results.plain.text, "steered": self._results.steered.text}
        begins = not any(before.values()) and any(now.values())
        changes: Changes = {
            place: draw_answer(now[side], "")
            for side, place in places.items()
            if begins or now[side] != before[side]
        }
        return {self._results.pair: gr.Column(visible=True), **changes} if begins else changes


def show_pair(results: Results, values: Values, pair: Pair) -> Changes:
    """Both answers, with the choices that fit them."""
    look, names = results.look.look(values), list(pair.alone.concepts)
    settled = replace(
        look,
        layer=pair.alone.nearest_layer(int(look.layer)),
        concept=first_concept(pair),
        chosen=[name for name in look.chosen if name in names],
    )
    return {
        results.pair: gr.Column(visible=True),
        results.found: pair,
        results.look.layer: gr.Slider(value=settled.layer),
        results.look.concept: gr.Dropdown(choices=names, value=settled.concept),
        results.look.chosen: gr.Dropdown(choices=names, value=settled.chosen),
        **results.show_pair(pair, settled),
    }


def show_sweep(results: Results, values: Values, swept: Sweep) -> Changes:
    """A sweep, at the layer nearest to the chosen one."""
    wanted = int(values[results.sweep_layer])
    layer = min(swept.layers, key=lambda other: abs(other - wanted))
    return {
        results.sweep: gr.Column(visible=True),
        results.swept: swept,
        results.sweep_layer: gr.Slider(value=layer),
        **results.show_sweep(swept, layer, values[results.sweep_read]),
    }


def _wire_looks(results: Results) -> None:
    """Another look draws anew from what was found; the model is not asked."""
    looks = list(results.look.components.values())
    manner: dict[str, Any] = {"trigger_mode": "always_last", **QUIET}
    gr.on(
        [each.input for each in looks],
        bound(redraw_pair, results),
        {results.found, *looks},
        results.pair_drawn,
        **manner,
    )
    gr.on(
        [results.sweep_layer.input, results.sweep_read.input],
        bound(redraw_sweep, results),
        {results.swept, results.sweep_layer, results.sweep_read},
        results.sweep_drawn,
        **manner,
    )


def redraw_pair(results: Results, values: Values) -> Changes:
    """The pair that was found last, as it is to be shown now."""
    pair: Pair | None = values[results.found]
    return results.show_pair(pair, results.look.look(values)) if pair else {}


def redraw_sweep(results: Results, values: Values) -> Changes:
    """The sweep that was found last, as it is to be shown now."""
    swept: Sweep | None = values[results.swept]
    if swept is None:
        return {}
    return results.show_sweep(swept, values[results.sweep_layer], values[results.sweep_read])
