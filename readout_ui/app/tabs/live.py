"""The Live tab: a chat whose every token is read out while the model speaks.

The questions the Live page asks the server; answers hold only what the page does not have.

A page polls with the number of tokens it has, so nothing is lost when an answer comes late, twice
or after a reload.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import asdict
from html import escape
from typing import TYPE_CHECKING, Any, Literal

import gradio as gr
import numpy as np
from pydantic import Field

from readout_ui.app.assets import on_load
from readout_ui.app.chats import Asked, ChatRequest, LiveChats, News
from readout_ui.app.follow import jobs_before
from readout_ui.app.jobs import JobState
from readout_ui.app.requests import Answer, Call, Nothing, Request, answering
from readout_ui.inference.reading import FloatArray
from readout_ui.inference.sampling import Sampling
from readout_ui.models.chat_template import Turn
from readout_ui.plots.colours import (
    ABOVE,
    BELOW,
    ROBUST_QUANTILE,
    ROLE_COLOURS,
    ROLE_LETTERS,
    ROLE_NAMES,
    STRIP_STRENGTH,
)
from readout_ui.plots.token_grid import UNITS

if TYPE_CHECKING:
    from readout_ui.app.session import Studio

STEPS = 32_000
"""Scores are sent as whole numbers up to this, so 2 bytes each."""
MOST_TURNS, LONGEST_TURN = 2_000, 1_000_000


class Chat(Request):
    """Which chat: a secret that the page made up."""

    chat: str = Field(pattern=r"^[0-9a-f]{32}$")


class Said(Request):
    """One turn."""

    role: Literal["user", "assistant"]
    text: str = Field(max_length=LONGEST_TURN)


class Ask(Chat):
    """A chat to be answered."""

    turns: list[Said] = Field(max_length=MOST_TURNS)
    system: str = Field(max_length=LONGEST_TURN)
    sampling: dict[str, float | int | None]
    thinking: bool | None = None


class Poll(Chat):
    """What the page has of an answer, and how it shows it."""

    have: int = Field(ge=0)
    layer: int | None
    kind: Literal["z", "cosine", "raw"]


def live_calls(studio: Studio) -> list[Call]:
    """The server functions of the Live page."""
    chats = LiveChats(studio)
    return [
        answering("live_look", Nothing, lambda _r: look(studio)),
        answering("live_ask", Ask, lambda r: {"number": chats.ask(r.chat, request_from(r)).number}),
        answering("live_poll", Poll, lambda r: poll(studio, chats, r)),
        answering("live_stop", Chat, lambda r: stopped(chats, r)),
    ]


def look(studio: Studio) -> Answer:
    """What there is to talk to."""
    status = studio.status()
    run = status.run
    return {
        "ready": run is not None and status.model_ready,
        "model": status.model_description,
        "missing": _missing(run is not None, status.model_ready),
        "concepts": list(run.concepts) if run else [],
    }


def request_from(request: Ask) -> ChatRequest:
    """What a page wants, checked."""
    known: Callable[..., Sampling] = Sampling
    asked, unshown = request.sampling, ("min_p", "presence_penalty", "frequency_penalty")
    wanted = [name for name in asdict(Sampling()) if name in asked or name not in unshown]
    settings = {name: asked.get(name) for name in wanted}
    return ChatRequest(
        turns=tuple(Turn(turn.role, turn.text) for turn in request.turns),
        system=request.system,
        sampling=known(**settings),
        thinking=request.thinking,
    )


def poll(studio: Studio, chats: LiveChats, request: Poll) -> Answer:
    """Where the newest answer of a chat stands, and its tokens from `have` on."""
    asked = chats.newest(request.chat)
    if asked is None:
        return {"number": 0}
    # State before tokens: once it says the end, every token is there.
    state = _state(studio, asked)
    news = asked.stream.news(request.have, request.layer, request.kind)
    source = asked.stream.source
    return {
        **state,
        "source": asdict(source) if source and request.have == 0 else None,
        "news": pack(news) if news else None,
    }


def pack(news: News) -> Answer:
    """Tokens as lists, scores as 16-bit whole numbers in base64: (n_new, n_concepts) x `step`."""
    step, data = pack_scores(news.scores)
    return {
        "start": news.start,
        "pieces": news.pieces,
        "tokens": news.tokens,
        "roles": "".join(role[0] for role in news.roles),
        "step": step,
        "scores": data,
    }


def pack_scores(scores: FloatArray) -> tuple[float, str]:
    """Step and base64 of little-endian int16; the error is at most half a step."""
    largest = float(np.abs(scores).max(initial=0.0))
    step = largest / STEPS or 1.0
    return step, base64.b64encode(np.round(scores / step).astype("<i2").tobytes()).decode()


def stopped(chats: LiveChats, request: Chat) -> Answer:
    """The answer to a press on Stop."""
    chats.stop(request.chat)
    return {}


def _state(studio: Studio, asked: Asked) -> dict[str, Any]:
    view = asked.job.view()
    ending = asked.stream.ending
    return {
        "number": asked.number,
        "state": str(view.state),
        "before": jobs_before(studio.worker, view),
        "made": view.progress.done if view.progress else 0,
        "error": view.error if view.state is JobState.FAILED else "",
        "ending": asdict(ending) if ending else None,
    }


def _missing(has_run: bool, has_model: bool) -> str:
    if not has_model:
        return "The model is not loaded yet."
    return "" if has_run else "No vectors yet. Press Train in the header; then chat here."


def build_live_tab(studio: Studio) -> gr.HTML:
    """The whole tab in one component; it asks the server by itself what is new."""
    return gr.HTML(
        html_template=f'<div class="rs-live" data-look="{escape(page_constants())}"></div>',
        js_on_load=on_load("live/main.js"),
        apply_default_css=False,
        container=False,
        padding=False,
        elem_id="live-page",
        server_functions=live_calls(studio),
    )


def page_constants() -> str:
    """Colours, units and default settings for the page's script, as JSON."""
    return json.dumps(
        {
            "above": ABOVE,
            "below": BELOW,
            "quantile": ROBUST_QUANTILE,
            "strength": STRIP_STRENGTH,
            "units": {kind: UNITS[kind] for kind in ("z", "cosine")},
            "roles": {
                "keys": list(ROLE_NAMES),
                "names": list(ROLE_NAMES.values()),
                "letters": [ROLE_LETTERS[role] for role in ROLE_NAMES],
                "colours": [ROLE_COLOURS[role] for role in ROLE_NAMES],
            },
            "sampling": asdict(Sampling()),
        }
    )
