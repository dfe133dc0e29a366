"""The questions that chat, steering and compare of the room Read ask the server.

A page polls with the number of tokens it has, so nothing is lost when an answer comes late, twice
or after a reload.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from pydantic import Field

from readout_ui.app.events import Answer, Call, Nothing, answering
from readout_ui.app.follow import jobs_before
from readout_ui.app.jobs import JobState
from readout_ui.app.read.calls import pack_cells
from readout_ui.app.read.chats import AskedAnswer, Chat, LiveChats, News, Told
from readout_ui.app.read.compare import compare_calls
from readout_ui.app.read.steering import steering_calls
from readout_ui.inference.sampling import Sampling

if TYPE_CHECKING:
    from readout_ui.app.session import Studio


class Ask(Chat, Told):
    """A chat to be answered."""


class Poll(Chat):
    """What the page has of an answer."""

    have: int = Field(ge=0)


def chat_calls(studio: Studio) -> list[Call]:
    """The server functions of the chat, its steering and the comparisons."""
    chats = LiveChats(studio)

    def stop(asked: Chat) -> Answer:
        chats.stop(asked.chat)
        return {}

    return [
        answering("chat_look", Nothing, lambda _r: {"sampling": asdict(Sampling())}),
        answering("chat_ask", Ask, lambda r: {"number": chats.ask(r.chat, r.request()).number}),
        answering("chat_poll", Poll, lambda r: poll(studio, chats, r)),
        answering("chat_stop", Chat, stop),
        *steering_calls(studio),
        *compare_calls(studio),
    ]


def poll(studio: Studio, chats: LiveChats, request: Poll) -> Answer:
    """Where the newest answer of a chat stands, and its tokens from `have` on."""
    asked = chats.newest(request.chat)
    if asked is None:
        return {"number": 0}
    # State before tokens: once it says the end, every token is there.
    state = _state(studio, asked)
    news = asked.stream.news(request.have)
    source = asked.stream.source
    return {
        **state,
        "source": asdict(source) if source and request.have == 0 else None,
        "news": pack(news) if news else None,
    }


def pack(news: News) -> Answer:
    """Tokens as lists, z as bytes; see `pack_cells`."""
    return {
        "start": news.start,
        "pieces": news.pieces,
        "tokens": news.tokens,
        "roles": [str(role) for role in news.roles],
        "z": pack_cells(news.z),
    }


def _state(studio: Studio, asked: AskedAnswer) -> dict[str, Any]:
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
