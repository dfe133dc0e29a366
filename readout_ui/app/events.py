"""How event handlers are wired: by the names of components, with user errors as messages.

A handler with several inputs is wired with a set of components and gets one dict, `Values`; it
gives back a dict of the components that change, `Changes`. No order of inputs or outputs counts.
"""

import functools
from collections.abc import Callable
from dataclasses import is_dataclass
from typing import Any, Literal, ParamSpec, TypeVar

import gradio as gr
from gradio.blocks import Block
from gradio.context import LocalContext
from packaging.version import Version

from readout_ui.app.jobs import ASKING, CALLER
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

DEVICE: dict[str, Any] = {**PRIVATE, "concurrency_id": "device", "concurrency_limit": 4}
"""For events that wait for the device worker, which itself runs one job at a time."""


def guarded(handler: Callable[Params, Result]) -> Callable[Params, Result]:
    """Show a UserError as its sentence instead of a masked failure; jobs learn who asks."""

    @functools.wraps(handler)
    def handle(*args: Params.args, **kwargs: Params.kwargs) -> Result:
        asking = ASKING.set(_asking_page())
        try:
            return handler(*args, **kwargs)
        except UserError as error:
            raise gr.Error(str(error), title="That did not work", print_exception=False) from None
        except Cancelled:
            raise gr.Error("It was cancelled.", title="Stopped", print_exception=False) from None
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


HIDDEN: bool | Literal["hidden"] = "hidden" if Version(gr.__version__) < Version("6.18") else False
"""How a component stays away. gradio 6.17, which the plain lane has, never shows what was not on
the page (`False`) where the first news of it is that it stays away; 6.31 shows "hidden" columns."""


def seen_if(wanted: bool) -> bool | Literal["hidden"]:
    """What `visible` takes."""
    return wanted or HIDDEN
