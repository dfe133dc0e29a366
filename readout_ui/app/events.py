"""How event handlers are wired: by the names of components, with user errors as messages.

A handler with several inputs is wired with a set of components and gets one dict, `Values`; it
gives back a dict of the components that change, `Changes`. No order of inputs or outputs counts.
"""

import base64
import binascii
import functools
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import is_dataclass
from typing import Any, ParamSpec, TypeVar

import gradio as gr
from anyio import CapacityLimiter, to_thread
from gradio.blocks import Block
from gradio.context import LocalContext
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from readout_ui.app.jobs import ASKING, CALLER, MOST_UNFINISHED
from readout_ui.errors import UserError
from readout_ui.progress import Cancelled

Params = ParamSpec("Params")
Result = TypeVar("Result")
Values = dict[Any, Any]
"""The value of every input, by component."""
Changes = dict[Any, Any]
"""New values or properties, by component; outputs that are not in it stay as they are."""

PRIVATE: dict[str, Any] = {"api_visibility": "private"}
"""For every event: callbacks of the page are no API."""

QUIET: dict[str, Any] = {**PRIVATE, "show_progress": "hidden"}
"""For polling and small updates that must not flash."""


def in_turn(queue: str) -> dict[str, Any]:
    """For events that are answered one after another as they were made, in a queue of this name."""
    return {
        **QUIET,
        "trigger_mode": "multiple",
        "concurrency_id": queue,
        "concurrency_limit": 1,
    }


IN_TURN = in_turn("settings")
"""For what chooses the settings of a training and what starts one, so that Train takes what was
chosen the moment before."""

LATEST: dict[str, Any] = {**QUIET, "trigger_mode": "always_last"}
"""For choices, and updates that may be asked for while one is made: the last one follows when it
has ended. Gradio's own manner loses it."""

EACH: dict[str, Any] = {**QUIET, "trigger_mode": "multiple"}
"""For those that carry details of their own, which a later one would not have: none is lost."""

DEVICE: dict[str, Any] = {**PRIVATE, "concurrency_id": "device", "concurrency_limit": 4}
"""For events that wait for the device worker, which itself runs one job at a time."""


class Told(gr.Error):
    """A sentence for whoever asked, a tool's caller too: he would get gradio's own as a `repr`."""

    def __str__(self) -> str:
        return str(self.message)


def guarded(handler: Callable[Params, Result]) -> Callable[Params, Result]:
    """Show a UserError as its sentence instead of a masked failure; jobs learn who asks."""

    @functools.wraps(handler)
    def handle(*args: Params.args, **kwargs: Params.kwargs) -> Result:
        asking = ASKING.set(_asking_page())
        try:
            return handler(*args, **kwargs)
        except UserError as error:
            raise Told(str(error), title="That did not work", print_exception=False) from None
        except Cancelled:
            raise Told("It was cancelled.", title="Stopped", print_exception=False) from None
        finally:
            ASKING.reset(asking)

    return handle


def _asking_page() -> str:
    """Whose event runs: an MCP request, a page's session, or of a call without one the event."""
    request: Any = LocalContext.request.get(None)
    session = getattr(request, "session_hash", None)
    caller = getattr(request, "headers", {}).get(CALLER)
    return str(caller or session or LocalContext.event_id.get(None) or "")


def bound(handler: Callable[..., Result], *known: Any) -> Callable[..., Result | Changes]:
    """A guarded handler whose first arguments are known.

    It may give back an empty dict, which gradio would take for a missing output. Gradio finds out
    from an annotation that a handler wants the event's data, and sees none on a
    `functools.partial`; so it is put back.
    """
    rest = functools.partial(handler, *known)

    @functools.wraps(rest)
    def call(*values: Any) -> Result | Changes:
        changes = rest(*values)
        return gr.skip() if changes == {} else changes

    hints = handler.__annotations__
    call.__annotations__ = {n: gr.EventData for n, h in hints.items() if h == "gr.EventData"}
    return guarded(call)


class Part:
    """A part of the page: its components are attributes, its methods lay out, wire and change."""

    def values_of(self, values: Values) -> dict[str, Any]:
        """The value of every component that is among the inputs, by attribute."""
        return {name: values[each] for name, each in vars(self).items() if each in values}


def components(*parts: Any) -> list[Any]:
    """Every component in some parts of the page: outputs of a handler that changes any of them."""
    found: dict[Any, None] = {}
    for part in parts:
        if isinstance(part, Block):
            found[part] = None
        elif isinstance(part, tuple):
            found |= dict.fromkeys(components(*part))
        elif isinstance(part, Part) or is_dataclass(part):
            found |= dict.fromkeys(components(*vars(part).values()))
    return list(found)


AWAY = ["away"]
"""The classes of a part that stays on the page unseen: a stylesheet hides it. What gradio's own
`visible` does to a part within another hidden one differs between its versions."""


def seen_if(wanted: bool) -> list[str]:
    """The classes of a part that is seen or not."""
    return [] if wanted else AWAY


Answer = dict[str, Any]
Call = Callable[..., Answer]
R = TypeVar("R", bound="Request")


class Request(BaseModel):
    """What a page may send: nothing it was not asked for."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Nothing(Request):
    """A question without details."""


class Named(Request):
    """A question about one concept."""

    name: str = Field(max_length=1000)


class SentFile(Request):
    """A file of at most 20 MB as a page sends it."""

    file_name: str = Field(max_length=1_000)
    content: str = Field(max_length=28_000_000)
    """Base64."""


def answering(name: str, request: type[R], handle: Callable[[R], Answer]) -> Call:
    """A server function of that name that checks what it is sent and answers with JSON.

    A page of another site can make a browser send a request to this app (it cannot read the
    answer); browsers mark such requests, and they are refused.
    """

    def call(data: object, sender: gr.Request | None = None) -> Answer:
        if sender is not None and sender.headers.get("sec-fetch-site") == "cross-site":
            return {"ok": False, "message": "Only the app's own page may ask this."}
        try:
            return {"ok": True, **handle(request.model_validate(data))}
        except ValidationError:
            return {"ok": False, "message": "The page and the app disagree; reload the page."}
        except UserError as error:
            return {"ok": False, "message": str(error)}

    call.__name__ = name
    return call


def on_threads(calls: Iterable[Call]) -> list[Callable[..., Awaitable[Answer]]]:
    """Server functions that never hold up the page's server while they wait for the device.

    Gradio 6.17 runs plain ones on its event loop. They have threads of their own, more than jobs
    can wait: those of gradio also deliver the page itself.
    """
    limiter = CapacityLimiter(2 * MOST_UNFINISHED)
    return [beside(call, limiter) for call in calls]


def beside(
    call: Callable[Params, Result], limiter: CapacityLimiter
) -> Callable[Params, Awaitable[Result]]:
    """The same on a thread of the limiter, which waits its turn there."""

    @functools.wraps(call)
    async def answer(*args: Params.args, **kwargs: Params.kwargs) -> Result:
        return await to_thread.run_sync(functools.partial(call, *args, **kwargs), limiter=limiter)

    return answer


def decoded(content: str) -> bytes:
    """A file that a page sent in base64.

    Raises:
        UserError: it is cut off or no base64.
    """
    try:
        return base64.b64decode(content, validate=True)
    except binascii.Error:
        raise UserError("the file did not arrive whole", fix="choose it again") from None
