"""The prompt's tokens with their positions, to be clicked where only some are steered."""

from __future__ import annotations

from functools import partial
from html import escape
from typing import TYPE_CHECKING, Any

import gradio as gr

from readout_ui.app.events import QUIET, guarded
from readout_ui.app.follow import draw_failure
from readout_ui.app.session import Studio
from readout_ui.app.tabs.steering_form import Ask, SetupInputs
from readout_ui.app.tabs.steering_run import framed_prompt
from readout_ui.errors import UserError

if TYPE_CHECKING:
    from readout_ui.inference.readout import Readout


def wire_picker(studio: Studio, setup: SetupInputs, ask: Ask, picker: Any) -> None:
    """For chosen tokens: the prompt's tokens with their positions, to be clicked."""

    def show(place: str, *typed: str | None) -> str:
        prompt, system, chosen = (text or "" for text in typed)
        if place not in ("from", "spans"):
            return ""
        if not prompt.strip():
            return _draw_picker((), place, chosen)
        try:
            job = studio.on_device("read", "Splitting a prompt", partial(_tokens, prompt, system))
            tokens = job.result()
        except UserError as error:
            return draw_failure(str(error))
        return _draw_picker(tokens, place, chosen)

    def pick(place: str, chosen: str | None, event: gr.EventData) -> str:
        return pick_token(place, chosen or "", int(event.token))

    inputs = [setup.place, ask.prompt, ask.system, setup.tokens]
    gr.on(
        [setup.place.change, ask.prompt.blur, setup.tokens.change],
        guarded(show),
        inputs,
        picker,
        trigger_mode="always_last",
        concurrency_limit=None,
        **QUIET,
    )
    picker.select(guarded(pick), [setup.place, setup.tokens], setup.tokens, **QUIET)


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
