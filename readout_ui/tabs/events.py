"""How every event handler is wired: user errors become messages, device work queues up."""

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import gradio as gr

from readout_ui.errors import UserError
from readout_ui.progress import Cancelled

Params = ParamSpec("Params")
Result = TypeVar("Result")

PRIVATE: dict[str, Any] = {"api_visibility": "private"}
"""For every event: callbacks of the page are no API."""

QUIET: dict[str, Any] = {**PRIVATE, "show_progress": "hidden"}
"""For polling and small updates that must not flash."""

DEVICE: dict[str, Any] = {**PRIVATE, "concurrency_id": "device", "concurrency_limit": 4}
"""For events that wait for the device worker, which itself runs one job at a time."""


def guarded(handler: Callable[Params, Result]) -> Callable[Params, Result]:
    """Show a UserError as its sentence instead of a masked failure."""

    @functools.wraps(handler)
    def handle(*args: Params.args, **kwargs: Params.kwargs) -> Result:
        try:
            return handler(*args, **kwargs)
        except UserError as error:
            raise gr.Error(str(error), title="That did not work", print_exception=False) from None
        except Cancelled:
            raise gr.Error("It was cancelled.", title="Stopped", print_exception=False) from None

    return handle
