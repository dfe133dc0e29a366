"""What the Steering tab asks of the device: two answers, a sweep, the tokens of a prompt."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from html import escape
from typing import TYPE_CHECKING, Any

import gradio as gr

from readout_ui.app.events import QUIET, Changes, Values, bound
from readout_ui.app.follow import draw_failure
from readout_ui.app.session import Studio
from readout_ui.app.tabs.steering_form import PICKED, SetupInputs, setup_from
from readout_ui.app.tabs.steering_results import Ask
from readout_ui.errors import UserError
from readout_ui.inference.sampling import Sampling
from readout_ui.inference.steering_setup import SteeringSetup
from readout_ui.runs.run import Run

if TYPE_CHECKING:
    from readout_ui.inference.decoding import Live
    from readout_ui.inference.readout import Readout
    from readout_ui.inference.sweep import Pair, Sweep, Trial
    from readout_ui.models.prompt import FramedChat

NO_RUN = UserError("there are no vectors to steer with yet", fix="press Train first")

MOST_SCORES = 4000
"""Layers times concepts that are kept of every token; a session holds three readings."""


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
    found = setup_from(run_in_use(studio), setup, values)
    return Request(found, values[ask.prompt], values[ask.system] or "", sampling)


def run_in_use(studio: Studio) -> Run:
    """The run whose vectors steer; UserError before the first training."""
    run = studio.runs.current()
    if run is None:
        raise NO_RUN
    return run


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
