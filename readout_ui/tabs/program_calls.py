"""How programs reach the app: checked arguments, errors as sentences, and named endpoints only."""

import functools
import inspect
import json
import re
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import gradio as gr
from gradio_client.utils import is_file_obj_with_meta
from pydantic import ValidationError, validate_call
from starlette.middleware import Middleware
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from readout_ui.errors import UserError
from readout_ui.tabs.events import guarded

Params = ParamSpec("Params")
Result = TypeVar("Result")
NAMES = ("list_concepts", "read_text", "train", "evaluate", "export")
"""Every endpoint there is; gradio keeps "predict" for the page's own direct calls."""
_CALL = re.compile(r"/gradio_api/(?:call/v2|call|run|api)/([^/]*)/?$")


def checked(program: Callable[Params, Result]) -> Callable[Params, Result]:
    """Refuse arguments of the wrong type in a sentence; gradio passes on whatever was sent."""
    validated = validate_call(program)

    @functools.wraps(program)
    def call(*args: Params.args, **kwargs: Params.kwargs) -> Result:
        try:
            return validated(*args, **kwargs)
        except ValidationError as error:
            raise _refusal(program, error) from None

    return guarded(call)


def _refusal(program: Callable[..., Any], error: ValidationError) -> UserError:
    first = error.errors(include_url=False)[0]
    argument, *inside = first["loc"]
    if isinstance(argument, int):  # gradio passes arguments by position
        argument = list(inspect.signature(program).parameters)[argument]
    place = ".".join(str(part) for part in (argument, *inside))
    message = first["msg"][0].lower() + first["msg"][1:]
    return UserError(f"{message}, not {repr(first['input'])[:60]}", where=place)


class NamedEndpointsOnly:
    """ASGI middleware: what is called by name has to be published.

    Gradio names the page's own callbacks too and hides them from clients, but answers all the same
    when somebody calls one.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or say which endpoints there are."""
        called = _CALL.search(scope["path"]) if scope["type"] == "http" else None
        if called and scope["method"] == "POST" and called[1] not in (*NAMES, "predict"):
            refusal = UserError(f"there is no endpoint {called[1]!r}", options=NAMES)
            await JSONResponse({"error": str(refusal)}, 404)(scope, receive, send)
            return
        await self.app(scope, receive, send)


NAMED_ONLY = Middleware(NamedEndpointsOnly)


def answer_in_json(app: gr.Blocks) -> None:
    """Make a launched app's MCP tools answer in JSON; gradio would write Python's `repr`."""
    server: Any = app.mcp_server_obj
    as_content = server.postprocess_output_data

    def in_json(data: list[Any], root_url: str) -> Any:
        return as_content([_text(value) for value in data], root_url)

    server.postprocess_output_data = in_json


def _text(value: Any) -> Any:
    if isinstance(value, str) or is_file_obj_with_meta(value):
        return value
    return json.dumps(value, ensure_ascii=False)
