"""The login: one user and password before everything the app serves, and which routes it serves.

Gradio's own login leaves some routes open (`/cancel`, `/reset`), takes as many guesses as one can
send, and its tools' server knows none; so this one stands in front of gradio as a whole.
"""

from __future__ import annotations

import base64
import binascii
import re
import secrets
from collections.abc import Callable, Collection, Mapping
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from readout_ui.app.jobs import CALLER
from readout_ui.errors import UserError
from readout_ui.files import read_bytes, shown
from readout_ui.inference.gate import Guesses, client_of, limited, same_secret

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST_SESSIONS = 10_000
LONGEST_FORM = 10_000
PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width"><title>Readout Studio: log in</title>
<style>body{font:16px system-ui,sans-serif;max-width:20rem;margin:15vh auto;padding:0 1rem}
label{display:block;margin:.8rem 0}input{display:block;width:100%;padding:.5rem;
box-sizing:border-box;font:inherit}button{font:inherit;padding:.5rem 1.2rem}p{color:#b00020}
</style></head><body><h1>Readout Studio</h1><form method="post" action="login">
<label>Username<input name="username" autocomplete="username" required autofocus></label>
<label>Password<input name="password" type="password" autocomplete="current-password" required>
</label><button>Login</button><p role="alert">SAID</p></form></body></html>"""


def read_login(
    flag: str | None, file: Path | None, environment: Mapping[str, str]
) -> tuple[str, str] | None:
    """User and password from `--auth`, else `--auth-file`, else READOUT_AUTH; None where none is.

    Raises:
        UserError: what is there is not user:password; the message does not say it.
    """
    if flag is not None:
        return split_login(flag, "--auth")
    if file is not None:
        text = read_bytes(file, LONGEST_FORM).decode("utf-8-sig", "replace")
        return split_login(text.strip("\r\n"), shown(file))
    known = environment.get("READOUT_AUTH", "")
    return split_login(known, "READOUT_AUTH") if known else None


def split_login(text: str, where: str) -> tuple[str, str]:
    """User and password of `user:password`."""
    user, colon, password = text.partition(":")
    if not (user and colon and password) or "\n" in text:
        raise UserError("this is not a login", where=where, fix="write user:password")
    return user, password


class Login:
    """ASGI middleware: no one is answered before they gave user and password.

    A browser gets a page to log in; programs send the form to /login and keep the cookie, as
    gradio_client does, or send both with every request (HTTP basic authentication).
    """

    def __init__(self, app: ASGIApp, user: str, password: str) -> None:
        self.app = app
        self._login = (user, password)
        self._sessions: dict[str, None] = {}
        self._guesses = Guesses()
        # Cookies know no port: under one name, two apps on a machine would log each other out.
        self._cookie = f"readout-{secrets.token_hex(4)}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or ask who this is."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        request = Request(scope, receive)
        try:
            response = await self._response(request)
        except HTTPException as refusal:
            response = self._refused(request, refusal)
        await (response or self.app)(scope, receive, send)

    async def _response(self, request: Request) -> Response | None:
        """What is answered here; None for what may pass."""
        path = request.url.path.rstrip("/")
        if path == "/login" and request.method == "POST":
            return await self._enter(request)
        if path == "/logout":
            self._sessions.pop(request.cookies.get(self._cookie, ""), None)
            return RedirectResponse("./", 303)
        if request.cookies.get(self._cookie, "") in self._sessions:
            return None
        if (given := _basic(request.headers)) is None:
            raise HTTPException(401, "Log in first.")
        self._check(request, given)
        return None

    async def _enter(self, request: Request) -> Response:
        # Counted as it comes: a body in chunks does not say its length.
        body = await Request(request.scope, limited(request.receive, LONGEST_FORM)).body()
        form = parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True)
        self._check(request, (form.get("username", [""])[0], form.get("password", [""])[0]))
        response: Response = JSONResponse({"success": True})
        if _is_page(request):
            response = RedirectResponse("./", 303)
        token = secrets.token_urlsafe(32)
        self._sessions[token] = None
        if len(self._sessions) > MOST_SESSIONS:
            del self._sessions[next(iter(self._sessions))]
        response.set_cookie(self._cookie, token, httponly=True, samesite="lax")
        return response

    def _check(self, request: Request, given: tuple[str, str]) -> None:
        client = client_of(request.scope)
        self._guesses.refuse_early(client)
        same = [same_secret(*pair) for pair in zip(given, self._login, strict=True)]
        if not all(same):
            self._guesses.wrong(client)
            raise HTTPException(401, "Wrong username or password.")
        self._guesses.right(client)

    def _refused(self, request: Request, refusal: HTTPException) -> Response:
        status, headers = refusal.status_code, refusal.headers
        if not _is_page(request):
            return JSONResponse({"detail": refusal.detail}, status, headers)
        said = "" if refusal.detail == "Log in first." else escape(refusal.detail)
        return HTMLResponse(PAGE.replace("SAID", said), status, headers)


def _is_page(request: Request) -> bool:
    return "text/html" in request.headers.get("accept", "")


def _basic(headers: Headers) -> tuple[str, str] | None:
    """User and password of HTTP basic authentication."""
    kind, _, value = headers.get("authorization", "").partition(" ")
    if kind.lower() != "basic":
        return None
    try:
        text = base64.b64decode(value, validate=True).decode()
    except (binascii.Error, ValueError):
        return None
    user, _, password = text.partition(":")
    return user, password


_PAGE = re.compile(r"/gradio_api/(?:heartbeat/([^/]+)|call/(?:v2/)?[^/]+/([^/]+)|queue/data)/?$")


class WatchPages:
    """ASGI middleware: tells which pages, or programs that waited for an answer, have gone.

    Args:
        app: what answers.
        left: told the page whose stream broke off.
    """

    def __init__(self, app: ASGIApp, left: Callable[[str], None]) -> None:
        self.app, self._left = app, left

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; a stream that ends before its end was sent has lost its page."""
        page, ended, gone = _page_of(scope), False, False
        if _is_tool_call(scope):
            page = f"tools-{secrets.token_hex(8)}"
            named = (CALLER.encode(), page.encode())
            kept = [pair for pair in scope["headers"] if pair[0] != named[0]]
            scope = {**scope, "headers": [*kept, named]}

        async def received() -> Message:
            nonlocal gone
            message = await receive()
            gone = gone or (message["type"] == "http.disconnect" and not ended)
            return message

        async def watched(message: Message) -> None:
            nonlocal ended
            await send(message)
            last = message["type"] == "http.response.body" and not message.get("more_body")
            ended = ended or last

        if not page:
            await self.app(scope, receive, send)
            return
        try:
            await self.app(scope, received, watched)
        finally:
            if gone or not ended:
                self._left(page)


def _is_tool_call(scope: Scope) -> bool:
    return scope["type"] == "http" and scope["method"] == "POST" and "/mcp" in str(scope["path"])


def _page_of(scope: Scope) -> str:
    """Whose stream a request opens; empty for every other request."""
    if scope["type"] != "http" or scope["method"] != "GET":
        return ""
    found = _PAGE.search(str(scope["path"]))
    if not found:
        return ""
    return found[1] or found[2] or Request(scope).query_params.get("session_hash", "")


_CALL = re.compile(r"/(?:call/v2|call|run|api)/([^/]*)/?$")
_SERVED = re.compile(
    r"/(?:(?:login|logout|config|theme\.css|favicon\.ico|robots\.txt|manifest\.json)/?"
    r"|(?:assets|static|svelte)/.*"
    r"|gradio_api/(?:(?:info|openapi\.json|app_id|user|login_check|startup-events|theme\.css"
    r"|queue/(?:join|data|status)|component_server|upload|upload_progress|cancel|reset)/?"
    r"|heartbeat/[^/]*|file=(?!/*https?:).*|mcp(?:/.*)?"
    r"|(?:call/v2|call|run|api)/.*))?",
    re.IGNORECASE | re.DOTALL,
)
"""What the page and programs need of gradio's routes. Not: fetching addresses for a visitor
(`proxy=`, `file=http:`), its own history of runs, monitoring, recordings, deep links, editing."""


class ServedRoutes:
    """ASGI middleware: only what the page and programs need, and named endpoints that are ours.

    Gradio names the page's own callbacks too and hides them from clients, but answers all the same
    when one is called.

    Args:
        app: what answers.
        endpoints: names of ours.
    """

    def __init__(self, app: ASGIApp, endpoints: Collection[str]) -> None:
        self.app, self.endpoints = app, endpoints

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or say what there is."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        path = str(scope["path"])
        called = _CALL.search(path) if scope["method"] == "POST" else None
        refusal = ""
        if not _SERVED.fullmatch(path):
            refusal = "Nothing is served here."
        elif called and called[1] not in (*self.endpoints, "predict"):
            refusal = str(UserError(f"there is no endpoint {called[1]!r}", options=self.endpoints))
        if refusal:
            await JSONResponse({"error": refusal}, 404)(scope, receive, send)
        else:
            await self.app(scope, receive, send)
