"""The Steering tab: push the model along concept directions, see what it says and what it costs.

Steer, Sweep and Cancel on the Steering tab: a job is followed until it has ended.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from html import escape
from typing import TYPE_CHECKING, Any

import gradio as gr

from readout_ui.app.assets import on_load, saving
from readout_ui.app.events import HIDDEN, PRIVATE, QUIET, guarded, seen_if
from readout_ui.app.follow import SessionJobs, draw_end, draw_failure, draw_job, follow
from readout_ui.app.jobs import Job, JobState
from readout_ui.app.session import Studio
from readout_ui.app.tabs.steering_form import (
    MOST_STEERS,
    Ask,
    Buttons,
    Results,
    SetupInputs,
    add_row,
    best_of,
    build_ask,
    build_buttons,
    build_results,
    build_setup,
    operator_fields,
    set_outputs,
    setup_from,
    show_setup,
)
from readout_ui.app.tabs.steering_html import (
    Found,
    draw_answer,
    draw_pair,
    draw_sweep,
    first_concept,
)
from readout_ui.app.tabs.steering_picker import wire_picker
from readout_ui.app.tabs.steering_run import (
    NO_RUN,
    compare_answers,
    run_in_use,
    sweep_answers,
    wish_from,
)
from readout_ui.app.widgets import draw_notice, layer_slider
from readout_ui.errors import UserError
from readout_ui.inference.steering_setup import parse_factors, parse_setup, setup_json

if TYPE_CHECKING:
    from readout_ui.inference.decoding import Live

FOLLOWING: dict[str, Any] = {
    **PRIVATE,
    "show_progress": "hidden",
    "concurrency_id": "steering",
    "concurrency_limit": 16,
}
"""For events that only look at a job; the device itself runs one at a time."""


def wire_work(
    studio: Studio, setup: SetupInputs, ask: Ask, buttons: Buttons, results: Results
) -> None:
    """Connect the buttons; a job's results reach the page that asked for it and no other."""
    jobs = SessionJobs()
    n_ask, n_look = len(ask.inputs), len(results.look)
    of_setup = [*ask.inputs, *setup.values]
    live = [results.sides[0].text, results.sides[1].text]
    busy = [results.progress, buttons.cancel, buttons.steer, buttons.sweep]

    rest = [output for output in results.pair_drawn if output not in live]
    others = [results.found, *results.look[:2], results.look[5], *rest]

    def steer(request: gr.Request, *values: Any) -> Iterator[tuple[Any, ...]]:
        asked, fields, look = values[:n_ask], values[n_ask:-n_look], values[-n_look:]
        texts = {"baseline": "", "steered": ""}
        shown_texts = ["", ""]

        def on_text(side: str, answer: Live) -> None:
            texts[side] = answer.text

        def begin() -> Job[Any]:
            wish = wish_from(studio, asked, fields)
            return studio.on_device("steer", "Steering", partial(compare_answers, wish, on_text))

        for shown, job in _working(studio, jobs, str(request.session_hash), begin):
            if job is None:
                yield *shown, *_grown(texts, shown_texts), *(gr.skip() for _ in others)
            else:
                yield *shown, *_shown_pair(job.result(), look)

    def sweep(request: gr.Request, *values: Any) -> Iterator[tuple[Any, ...]]:
        asked, fields, look = values[:n_ask], values[n_ask:-2], values[-2:]

        def begin() -> Job[Any]:
            factors = parse_factors(str(asked[-1]))
            wish = wish_from(studio, asked, fields)
            return studio.on_device("sweep", "Sweeping", partial(sweep_answers, wish, factors))

        for shown, job in _working(studio, jobs, str(request.session_hash), begin):
            if job is None:
                yield *shown, *(gr.skip() for _ in range(5))
            else:
                yield *shown, *_shown_sweep(job.result(), look)

    def cancel(request: gr.Request) -> None:
        jobs.cancel(str(request.session_hash))

    swept = [results.sweep, results.swept, results.sweep_look[0], *results.sweep_drawn]
    steered = [*busy, results.pair, *live, *others]
    buttons.steer.click(steer, [*of_setup, *results.look], steered, **FOLLOWING)
    buttons.sweep.click(sweep, [*of_setup, *results.sweep_look], [*busy, *swept], **FOLLOWING)
    buttons.cancel.click(cancel, **QUIET)


def _working(
    studio: Studio, jobs: SessionJobs, session: str, begin: Callable[[], Job[Any]]
) -> Iterator[tuple[tuple[Any, ...], Job[Any] | None]]:
    """Progress and buttons while a job runs; the job itself at the end, if it has a result."""
    try:
        job = begin()
    except UserError as error:
        yield (draw_failure(str(error)), gr.skip(), gr.skip(), gr.skip()), None
        return
    before = ""
    for view in follow(jobs, session, job):
        if view.state.finished:
            done = job if view.state is JobState.DONE else None
            yield (draw_end(view), *_busy(False)), done
            return
        now = draw_job(view, studio.worker)
        buttons = (gr.skip(),) * 3 if before else _busy(True)
        yield (gr.skip() if now == before else now, *buttons), None
        before = now


def _busy(busy: bool) -> tuple[Any, ...]:
    """Cancel, Steer, Sweep."""
    return (
        gr.Button(visible=seen_if(busy)),
        gr.Button(interactive=not busy),
        gr.Button(interactive=not busy),
    )


def _grown(texts: dict[str, str], shown: list[str]) -> tuple[Any, ...]:
    """The pair's column and both texts, as far as they have changed; `shown` is brought along."""
    now = list(texts.values())
    begins = bool(now[0]) and not shown[0]
    words = [
        draw_answer(new, "") if begins or new != old else gr.skip()
        for new, old in zip(now, shown, strict=True)
    ]
    shown[:] = now
    return gr.Column(visible=True) if begins else gr.skip(), *words


def _shown_pair(found: Found, look: tuple[Any, ...]) -> tuple[Any, ...]:
    """Column, texts, state, choices, and the rest of what is drawn."""
    pair = found.pair
    assert pair is not None
    names, concept = list(pair.alone.concepts), first_concept(pair)
    layer, chosen = pair.alone.nearest_layer(int(look[0])), [n for n in look[5] if n in names]
    kept = (*look[2:5], chosen)
    summary, means, *drawn = draw_pair(found, layer, concept, *kept)
    plain, steered = drawn[:5], drawn[5:]
    return (
        gr.Column(visible=True),
        *(plain[0], steered[0]),
        found,
        gr.Slider(value=layer),
        gr.Dropdown(choices=names, value=concept),
        gr.Dropdown(choices=names, value=chosen),
        *(summary, means, *plain[1:], *steered[1:]),
    )


def _shown_sweep(found: Found, look: tuple[Any, ...]) -> tuple[Any, ...]:
    """Column, state, layer, curves and table."""
    swept, (wished, read) = found.sweep, look
    assert swept is not None
    layer = min(swept.layers, key=lambda other: abs(other - int(wished)))
    return gr.Column(visible=True), found, gr.Slider(value=layer), *draw_sweep(found, layer, read)


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
    picker = gr.HTML(elem_id="steer-picker", padding=False, js_on_load=on_load("clicks.js"))
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
        None,
        text,
        js=saving("steering.json", "application/json"),
        **PRIVATE,
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
