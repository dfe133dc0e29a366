"""The Steering tab: push the model along concept directions, see what it says and what it costs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from html import escape
from typing import TYPE_CHECKING, Any

import gradio as gr

from readout_ui.app.assets import on_load, saving
from readout_ui.app.events import PRIVATE, QUIET, Changes, Values, bound, components, seen_if
from readout_ui.app.follow import Follower, Task, draw_failure
from readout_ui.app.session import Studio
from readout_ui.app.tabs.steering_form import (
    PICKED,
    Ask,
    Buttons,
    Request,
    SetupInputs,
    add_row,
    best_of,
    build_ask,
    build_buttons,
    build_setup,
    operator_fields,
    remove_row,
    request_from,
    setup_from,
    show_setup,
)
from readout_ui.app.tabs.steering_results import Results, build_results, draw_answer, first_concept
from readout_ui.app.widgets import NO_RUN, draw_notice, layer_slider
from readout_ui.errors import UserError
from readout_ui.inference.steering_setup import (
    parse_factors,
    parse_setup,
    setup_json,
)
from readout_ui.runs.run import Run

if TYPE_CHECKING:
    from readout_ui.inference.decoding import Live
    from readout_ui.inference.readout import Readout
    from readout_ui.inference.sweep import Pair, Sweep, Trial
    from readout_ui.models.prompt import FramedChat


@dataclass(frozen=True)
class SteeringTab:
    """Components of the Steering tab."""

    notice: gr.HTML
    """What to do first; empty when there is something to steer with."""
    setup: SetupInputs
    ask: Ask
    buttons: Buttons
    results: Results


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
    outputs, first = components(setup), setup.rows[0].layers
    setup.add.click(bound(add_row, setup), {setup.open, first}, outputs, **QUIET)
    for row in setup.rows:
        fields = bound(operator_fields, row)
        row.operator.input(fields, row.operator, [row.multiplier, row.value], **QUIET)
        remove = bound(remove_row, setup, row)
        row.remove.click(remove, setup.open, outputs, **QUIET)
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
    load = bound(load_setup, studio, tab)
    tab.buttons.load.upload(load, tab.buttons.load, components(tab), **QUIET)


def save_setup(studio: Studio, tab: SteeringTab, values: Values) -> str:
    """The setup on screen as a file's text."""
    run = studio.run()
    found = setup_from(run, tab.setup, values)
    return setup_json(found, run.model_name, run.model_fingerprint)


def load_setup(studio: Studio, tab: SteeringTab, raw: bytes) -> Changes:
    """A setup file on screen."""
    run = studio.run()
    found = parse_setup(raw, "the setup file", run.model_name, run.model_fingerprint)
    note = f"<p class='steer-note'><b>Loaded.</b> {escape(found.describe())}</p>"
    return {tab.results.progress: note, **show_setup(tab.setup, found)}


def _wire_work(studio: Studio, tab: SteeringTab) -> None:
    """A job's results reach the page that asked for it and no other."""
    results, buttons = tab.results, tab.buttons
    starts = (buttons.steer, buttons.sweep)
    follower = Follower(studio.worker, results.progress, buttons.cancel, starts)
    asked = {*tab.ask.inputs, *tab.setup.inputs}
    looks = {*components(results.look)}
    follower.wire(buttons.steer, partial(steer, studio, tab), asked | looks, components(results))
    looks = {results.sweep_layer, results.sweep_read}
    follower.wire(buttons.sweep, partial(sweep, studio, tab), asked | looks, components(results))
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
    of_pair: list[Any] = components(results.look)
    of_sweep: list[Any] = [results.sweep_layer, results.sweep_read]
    for looks, redraw, found in (
        (of_pair, redraw_pair, results.found),
        (of_sweep, redraw_sweep, results.swept),
    ):
        gr.on(
            [each.input for each in looks],
            bound(redraw, results),
            {found, *looks},
            components(results),
            trigger_mode="always_last",
            **QUIET,
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


MOST_SCORES = 4000
"""Layers times concepts that are kept of every token; a session holds three readings."""


def compare_answers(request: Request, on_text: Callable[[str, Live], None], used: Readout) -> Pair:
    """Answer with and without steering, on the device's thread."""
    from readout_ui.inference.sweep import compare

    return compare(_trial(request, used), request.setup, used.report, on_text)


def sweep_answers(request: Request, factors: tuple[float, ...], used: Readout) -> Sweep:
    """Answer at every factor, on the device's thread."""
    from readout_ui.inference.sweep import sweep

    return sweep(_trial(request, used), request.setup, factors, used.report)


def _trial(request: Request, used: Readout) -> Trial:
    from readout_ui.inference.sweep import Trial

    return Trial(
        readout=used.select(layers=layers_to_read(used.run, request.setup.layers)),
        steers=used,
        prompt=framed_prompt(used, request.prompt, request.system),
        sampling=request.sampling,
    )


def layers_to_read(run: Run, steered: Sequence[int]) -> tuple[int, ...]:
    """All layers of a run, or some of them where every score of all would fill the memory.

    Args:
        run: the run; its best layer is always among them.
        steered: layers that are always among them as well.
    """
    room = MOST_SCORES // len(run.concepts)
    step = max(1, -(-len(run.layers) // max(1, room)))
    wanted = {*run.layers[::step], run.best_layer, *steered}
    return tuple(layer for layer in run.layers if layer in wanted)


def framed_prompt(used: Readout, prompt: str, system: str) -> FramedChat:
    """The prompt up to where the assistant is about to answer."""
    from readout_ui.inference.generation import frame_for_answer
    from readout_ui.models.chat_template import Turn

    return frame_for_answer(used.model, [Turn("user", prompt)], system)


def wire_picker(studio: Studio, setup: SetupInputs, ask: Ask, picker: gr.HTML) -> None:
    """For chosen tokens: the prompt's tokens with their positions, to be clicked."""
    gr.on(
        [setup.place.change, ask.prompt.blur, setup.tokens.change],
        bound(show_tokens, studio, setup, ask, picker),
        {setup.place, ask.prompt, ask.system, setup.tokens},
        picker,
        trigger_mode="always_last",
        concurrency_limit=None,
        **QUIET,
    )
    chosen: set[Any] = {setup.place, setup.tokens}
    picker.select(bound(click_token, setup), chosen, setup.tokens, **QUIET)


def show_tokens(
    studio: Studio, setup: SetupInputs, ask: Ask, picker: gr.HTML, values: Values
) -> Changes:
    """The prompt's tokens to be clicked, where only some are steered."""
    place, prompt, system = values[setup.place], values[ask.prompt] or "", values[ask.system] or ""
    if place not in PICKED:
        return {picker: ""}
    chosen = values[setup.tokens] or ""
    if not prompt.strip():
        return {picker: _draw_picker((), place, chosen)}
    try:
        job = studio.on_device("read", "Splitting a prompt", partial(_tokens, prompt, system))
        return {picker: _draw_picker(job.result(), place, chosen)}
    except UserError as error:
        return {picker: draw_failure(str(error))}


def click_token(setup: SetupInputs, values: Values, event: gr.EventData) -> Changes:
    """The positions after a click on a token."""
    place, chosen = values[setup.place], values[setup.tokens] or ""
    return {setup.tokens: pick_token(place, chosen, int(event.token))}


def pick_token(place: str, chosen: str, token: int) -> str:
    """The positions after a click: the first one for "from", else one more or one less."""
    if place == "from":
        return str(token)
    positions = _positions(chosen)
    kept = sorted(positions ^ {token})
    spans: list[list[int]] = []
    for position in kept:
        if spans and spans[-1][1] == position - 1:
            spans[-1][1] = position
        else:
            spans.append([position, position])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in spans)


def _positions(chosen: str) -> set[int]:
    from readout_ui.inference.steering_setup import parse_where

    if not chosen.strip():
        return set()
    spans = parse_where(f"spans:{chosen}").spans
    return {position for first, stop in spans for position in range(first, min(stop, 100_000))}


def _draw_picker(tokens: tuple[str, ...], place: str, chosen: str) -> str:
    if not tokens:
        return "<p class='steer-note'>Write a prompt to see its tokens here.</p>"
    try:
        marked = _positions(chosen)
    except UserError:
        marked = set()
    if place == "from" and marked:
        marked = set(range(min(marked), len(tokens)))
    buttons = "".join(
        f"<button type='button' data-token='{i}' aria-pressed='{str(i in marked).lower()}'>"
        f"<i>{i}</i>{escape(token)}</button>"
        for i, token in enumerate(tokens)
    )
    after = f"Answer tokens follow from {len(tokens)} on."
    return f"<div class='steer-tokens'>{buttons}</div><p class='steer-about'>{after}</p>"


def _tokens(prompt: str, system: str, used: Readout) -> tuple[str, ...]:
    from readout_ui.models.tokens import visible_tokens

    framed = framed_prompt(used, prompt, system)
    return visible_tokens(used.model.tokenizer, framed.token_ids)
