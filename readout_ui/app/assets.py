"""The page's own scripts and styles: files of `static/`, served by the app itself.

A component's script is a module of `static/` that exports `start`; what an event calls in the
browser is a function that a module exports. Both are imported by address, so that they work behind
a login, under `root_path` and from an installed package.
"""

from __future__ import annotations

import json
import mimetypes
from pathlib import Path
from urllib.parse import quote

import gradio as gr
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

STATIC = Path(__file__).resolve().parent / "static"
STYLES = sorted((STATIC / "styles").glob("*.css"))
"""For `css_paths` of `launch`."""

# Browsers refuse a module of another type; some machines' own tables say text/plain.
mimetypes.add_type("text/javascript", ".js")
gr.set_static_paths([STATIC])

_ADDRESS = "${window.gradio_config.root}${window.gradio_config.api_prefix}/file="
_GIVEN = "element, trigger, props, server, watch"


def on_load(module: str, *events: str) -> str:
    """For `js_on_load`: `start` of a module of `static/`, told the component's own tools.

    Args:
        module: its path below `static/`.
        events: own events that it triggers; gradio finds them by their names in this text.
    """
    named = f" // triggers {json.dumps(events)[1:-1]}" if events else ""
    return f"{_imported(module)}.then(({{ start }}) => start({{ {_GIVEN} }}));{named}"


def calling(module: str, function: str, *arguments: str) -> str:
    """For `js` of an event: a function of a module, given the event's inputs, then `arguments`."""
    given = "".join(f", {json.dumps(argument)}" for argument in arguments)
    return f"async (...values) => (await {_imported(module)}).{function}(...values{given})"


def saving(name: str, kind: str) -> str:
    """For `js` of an event whose one input is a text: the browser saves it as a file.

    Args:
        name: the file's name.
        kind: its media type; "text/csv" begins with the mark that spreadsheets need for UTF-8.
    """
    return calling("lib/download.js", "saveText", name, kind)


def _imported(module: str) -> str:
    if not (STATIC / module).is_file():
        raise FileNotFoundError(STATIC / module)
    return f"import(`{_ADDRESS}{quote((STATIC / module).as_posix())}`)"


class AskAgain:
    """ASGI middleware: browsers ask for scripts anew, so that an update never meets old modules."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; an answer with a file of `static/` says that it may not be kept."""

        async def mark(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["Cache-Control"] = "no-cache"
            await send(message)

        ours = scope["type"] == "http" and f"/file={STATIC.as_posix()}/" in scope["path"]
        await self.app(scope, receive, mark if ours else send)


ASK_AGAIN = Middleware(AskAgain)


class StartAgain:
    """ASGI middleware: puts the script that watches the page's start in front of all others.

    Gradio adds what it is given for the head only when its own scripts have come and run.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        script = (STATIC / "shell" / "start.js").read_bytes()
        self.head = b"<head><script>" + script + b"</script>"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; the page comes back with the script in its head."""
        started: list[Message] = []  # told when the page is there and its length is known

        async def insert(message: Message) -> None:
            if message["type"] == "http.response.start":
                started.append(message)
                return
            if started:
                body = message["body"].replace(b"<head>", self.head, 1)
                message = {**message, "body": body}
                begun = started.pop()
                MutableHeaders(scope=begun)["Content-Length"] = str(len(body))
                await send(begun)
            await send(message)

        await self.app(scope, receive, insert if _is_page(scope) else send)


def _is_page(scope: Scope) -> bool:
    if scope["type"] != "http" or scope["method"] != "GET":
        return False
    return str(scope["path"]).removeprefix(scope.get("root_path", "")) in ("", "/")


START_AGAIN = Middleware(StartAgain)
