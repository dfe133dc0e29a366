"""The Steering tab: push the model along concept directions, see what it says and what it costs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from html import escape
from typing import TYPE_CHECKING, Any

import gradio as gr

from readout_ui.app.assets import on_load
from readout_ui.app.events import HIDDEN, QUIET, Changes, Part, Values, bound, components
from readout_ui.app.follow import Follower, Task, draw_failure
from readout_ui.app.session import Studio
from readout_ui.app.tabs.steering_form import (
    PICKED,
    Ask,
    Request,
    SetupInputs,
    best_of,
    wants_thinking,
)
from readout_ui.app.tabs.steering_results import Results, draw_answer
from readout_ui.app.widgets import NO_RUN, draw_notice, layer_slider, save_button
from readout_ui.errors import UserError
from readout_ui.inference.steering_setup import parse_factors, parse_setup, setup_json
from readout_ui.runs.run import Run

if TYPE_CHECKING:
    from readout_ui.inference.decoding import Live
    from readout_ui.inference.readout import Readout
    from readout_ui.inference.sweep import Pair, Sweep, Trial
    from readout_ui.models.prompt import FramedChat


class SteeringTab(Part):
    """The tab: a setup, what is asked, and the answers with and without it."""

    def __init__(self, studio: Studio) -> None:
        self.studio, run = studio, studio.runs.current()
        self.notice = gr.HTML(draw_notice(None if run else NO_RUN), elem_id="steer-notice")
        with gr.Group(elem_id="steer-setup"):
            self.setup = SetupInputs(run)
        self.picker = gr.HTML(
            elem_id="steer-picker", padding=False, js_on_load=on_load("clicks.js")
        )
        self.ask = Ask()
        self._build_buttons()
        self.results = Results(run)
        self._wire_picker()
        self._wire_work()

    def _build_buttons(self) -> None:
        with gr.Row(elem_id="steer-go"):
            self.start = gr.Button(
                "Steer", variant="primary", elem_id="steer-run", min_width=120, scale=0
            )
            self.sweep = gr.Button("Sweep", elem_id="steer-sweep", min_width=110, scale=0)
            save = gr.Button("Save setup", elem_id="steer-save", min_width=130, scale=0)
            self.load = gr.UploadButton(
                "Load setup",
                file_types=[".json"],
                type="binary",
                elem_id="steer-load",
                min_width=130,
                scale=0,
            )
            self.cancel = gr.Button(
                "Cancel", elem_id="steer-cancel", visible=HIDDEN, min_width=100, scale=0
            )
            inputs = self.setup.inputs
            save_button(save, bound(self.save_setup), inputs, "steering.json", "application/json")

    def _wire_work(self) -> None:
        """A job's results reach the page that asked for it and no other."""
        results, starts = self.results, (self.start, self.sweep)
        loaded = components(self.setup, results.progress)
        self.load.upload(bound(self.load_setup), self.load, loaded, **QUIET)
        follower = Follower(self.studio.worker, results.progress, self.cancel, starts)
        asked, outputs = {*components(self.ask), *self.setup.inputs}, components(results)
        follower.wire(self.start, self.steer_task, asked | {*results.pair_inputs}, outputs)
        follower.wire(self.sweep, self.sweep_task, asked | {*results.sweep_inputs}, outputs)
        follower.wire_cancel()

    def refresh(self) -> Changes:
        """New concepts and layers after a run was made or chosen; results stay."""
        run = self.studio.runs.current()
        names, slider = list(run.concepts) if run else [], layer_slider(run)
        return {
            self.notice: draw_notice(None if run else NO_RUN),
            self.results.look.layer: gr.Slider(**slider),
            self.results.sweep_layer: gr.Slider(**slider),
            self.setup.rows[0].layers: gr.Textbox(placeholder=best_of(run)),
            **{row.concept: gr.Dropdown(choices=names) for row in self.setup.rows},
        }

    def save_setup(self, values: Values) -> str:
        """The setup on screen as a file's text."""
        run = self.studio.run()
        return setup_json(self.setup.setup(run, values), run.model_name, run.model_fingerprint)

    def load_setup(self, raw: bytes) -> Changes:
        """A setup file on screen."""
        run = self.studio.run()
        found = parse_setup(raw, "the setup file", run.model_name, run.model_fingerprint)
        note = f"<p class='steer-note'><b>Loaded.</b> {escape(found.describe())}</p>"
        return {self.results.progress: note, **self.setup.show(found)}

    def request(self, values: Values) -> Request:
        """What is on screen, checked; UserError where something makes no sense."""
        return self.ask.request(self.setup.setup(self.studio.run(), values), values)

    def steer_task(self, values: Values) -> Task:
        """Answer with and without steering; both texts grow on the page."""
        growing = Growing(self.results)
        work = partial(compare_answers, self.request(values), growing.on_text)
        job = self.studio.on_device("steer", "Steering", work)
        return Task(job, partial(self.results.show_pair, values), growing.news)

    def sweep_task(self, values: Values) -> Task:
        """Answer at every factor."""
        factors = parse_factors(str(values[self.ask.factors]))
        work = partial(sweep_answers, self.request(values), factors)
        job = self.studio.on_device("sweep", "Sweeping", work)
        return Task(job, partial(self.results.show_sweep, values))

    def _wire_picker(self) -> None:
        """For chosen tokens: the prompt's tokens with their positions, to be clicked."""
        setup, ask = self.setup, self.ask
        gr.on(
            [setup.place.change, ask.prompt.blur, setup.tokens.change],
            bound(self.show_tokens),
            {setup.place, ask.prompt, ask.system, ask.thinking, setup.tokens},
            self.picker,
            trigger_mode="always_last",
            concurrency_limit=None,
            **QUIET,
        )
        chosen: set[Any] = {setup.place, setup.tokens}
        self.picker.select(bound(self.click_token), chosen, setup.tokens, **QUIET)

    def show_tokens(self, values: Values) -> Changes:
        """The prompt's tokens to be clicked, where only some are steered."""
        setup, ask, picker = self.setup, self.ask, self.picker
        place, chosen = values[setup.place], values[setup.tokens] or ""
        prompt, system = values[ask.prompt] or "", values[ask.system] or ""
        if place not in PICKED:
            return {picker: ""}
        if not prompt.strip():
            return {picker: _draw_picker((), place, chosen)}
        work = partial(_tokens, prompt, system, wants_thinking(values[ask.thinking]))
        try:
            job = self.studio.on_device("read", "Splitting a prompt", work)
            return {picker: _draw_picker(job.result(), place, chosen)}
        except UserError as error:
            return {picker: draw_failure(str(error))}

    def click_token(self, values: Values, event: gr.EventData) -> Changes:
        """The positions after a click on a token."""
        place, chosen = values[self.setup.place], values[self.setup.tokens] or ""
        return {self.setup.tokens: pick_token(place, chosen, int(event.token))}


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
        prompt=framed_prompt(used, request.prompt, request.system, request.thinking),
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


def framed_prompt(
    used: Readout, prompt: str, system: str, thinking: bool | None = None
) -> FramedChat:
    """The prompt up to where the assistant is about to answer."""
    from readout_ui.inference.generation import frame_for_answer
    from readout_ui.models.chat_template import Turn

    told = used.model.frame.thinking(thinking)
    return frame_for_answer(used.model, [Turn("user", prompt)], system, told)


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


def _tokens(prompt: str, system: str, thinking: bool | None, used: Readout) -> tuple[str, ...]:
    from readout_ui.models.tokens import visible_tokens

    framed = framed_prompt(used, prompt, system, thinking)
    return visible_tokens(used.model.tokenizer, framed.token_ids)
