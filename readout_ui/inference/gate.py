"""Who may ask a server of ours: hosts, origins, sizes, wrong guesses, and the port it listens on.

A server on a person's own machine is reached by every page that person's browser shows. So a
request must name a host that is served here (else a name that an attacker points at this machine
would do), and one that can change something must come from a page of this server, or from no page.
"""

from __future__ import annotations

import errno
import hmac
import ipaddress
import logging
import math
import os
import socket
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse, Response

from readout_ui.errors import UserError, printable

if TYPE_CHECKING:
    import uvicorn
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK = ("127.0.0.1", "localhost", "::1")
"""Names under which a machine reaches itself."""
EVERYWHERE = ("0.0.0.0", "::")
SAFE_METHODS = ("GET", "HEAD")
ANSWER_HEADERS = {
    "Content-Security-Policy": "frame-ancestors 'self'",
    "X-Frame-Options": "SAMEORIGIN",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""Said with every answer: no other site may frame or embed it."""


@dataclass(frozen=True)
class Hosts:
    """The names a server answers to, as its Host header may give them."""

    listens: str
    """What it listens on: `--host`."""
    allowed: tuple[str, ...] = ()
    """`--allowed-host`: a name, or a name with its port."""

    def serve(self, host: str, connected: str) -> bool:
        """Whether a request may name this host.

        Args:
            host: the Host header.
            connected: the address of this machine that the client is connected to. No attacker's
                name can be that, so it is a name of ours where we listen everywhere.
        """
        name = host_name(host)
        if not name:
            return False
        own = {*LOOPBACK, connected if self.listens in EVERYWHERE else self.listens}
        return name in own or bool({name, host.lower()} & set(self.allowed))

    def own_origin(self, origin: str, host: str) -> bool:
        """Whether a page of this server sent a request.

        A proxy in front may rewrite the Host header; then `--allowed-host` names the page's own.
        """
        scheme, _, place = origin.lower().partition("://")
        return scheme in ("http", "https") and place in {host.lower(), *self.allowed}


def host_name(host: str) -> str:
    """The name in a Host header, without port and brackets; empty for what is none."""
    if any(sign in host for sign in "/\\@?# \t"):
        return ""
    try:
        parts = urlsplit(f"//{host}")
        _ = parts.port  # raises where it is no number
        return (parts.hostname or "").rstrip(".")
    except ValueError:
        return ""


class Gate:
    """ASGI middleware that refuses what this server is not asked for by its own pages or programs.

    Args:
        app: what answers the rest.
        hosts: the names it is served under.
        most_bytes: longest body of a request.
        most_upload: longest body of a request with files.
        say: makes the answer that refuses.
    """

    def __init__(
        self,
        app: ASGIApp,
        hosts: Hosts,
        most_bytes: int,
        most_upload: int = 0,
        say: Callable[[HTTPException], Response] | None = None,
    ) -> None:
        self.app, self.hosts, self._say = app, hosts, say or in_plain_text
        self._most, self._most_upload = most_bytes, most_upload

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it in a sentence."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        limit = self._limit(headers)
        refusal = self._refusal(scope, headers, limit)
        if refusal is None:
            await self.app(scope, limited(receive, limit), marked(send))
        elif scope["type"] == "http":
            await self._say(refusal)(scope, receive, marked(send))
        else:
            await send({"type": "websocket.close", "code": 1008})

    def _limit(self, headers: Headers) -> int:
        files = headers.get("content-type", "").startswith("multipart/form-data")
        return max(self._most, self._most_upload) if files else self._most

    def _refusal(self, scope: Scope, headers: Headers, limit: int) -> HTTPException | None:
        named = headers.getlist("host")
        connected = str((scope.get("server") or ("",))[0])
        if len(named) != 1 or not self.hosts.serve(named[0], connected):
            shown = printable(named[0]) if named else "no host"
            why = f"Refused: {shown} is not served here; start with --allowed-host NAME."
            return HTTPException(421, why)
        if from_elsewhere(scope, headers, self.hosts, named[0]):
            return HTTPException(403, "Refused: sent by a page of another site.")
        length = headers.get("content-length", "0")
        if not length.isdecimal() or len(length) > 18:
            return HTTPException(400, "Refused: the Content-Length is no number.")
        return too_long(limit) if int(length) > limit else None


def from_elsewhere(scope: Scope, headers: Headers, hosts: Hosts, host: str) -> bool:
    """Whether another site's page makes a browser send this.

    Following a link is no harm; what changes something, and what is read without being looked at,
    has to come from a page of ours.
    """
    origins = headers.getlist("origin")
    writes = scope["type"] == "websocket" or scope["method"] not in SAFE_METHODS
    if writes and not all(hosts.own_origin(origin, host) for origin in origins):
        return True
    foreign = headers.get("sec-fetch-site") in ("cross-site", "same-site")
    if not foreign or (origins and all(hosts.own_origin(origin, host) for origin in origins)):
        return False
    return writes or headers.get("sec-fetch-mode") != "navigate"


def too_long(limit: int) -> HTTPException:
    """The refusal of a long body."""
    return HTTPException(413, f"Refused: the request is longer than {limit:,} bytes.")


def limited(receive: Receive, limit: int) -> Receive:
    """The same messages until the body is longer than `limit` bytes.

    Raises:
        HTTPException: it is; what reads the body passes that on.
    """
    seen = 0

    async def counted() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > limit:
            raise too_long(limit)
        return message

    return counted


def marked(send: Send) -> Send:
    """Answers with our headers, and without a word that lets other sites read them."""

    async def mark(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name in [name for name in headers if name.startswith("access-control-")]:
                del headers[name]
            headers.update(ANSWER_HEADERS)
        await send(message)

    return mark


def in_plain_text(refusal: HTTPException) -> Response:
    """One sentence as the whole answer."""
    return PlainTextResponse(refusal.detail, refusal.status_code, refusal.headers)


def same_secret(given: str, known: str) -> bool:
    """Whether both are equal, found out in a time that tells nothing."""
    return hmac.compare_digest(given.encode(errors="replace"), known.encode(errors="replace"))


class Guesses:
    """How long a client has to wait after wrong passwords: 1 second, 2, 4, up to 5 minutes."""

    FORGOTTEN_AFTER = 3600.0
    LONGEST_WAIT = 300.0
    MOST_CLIENTS = 10_000

    def __init__(self) -> None:
        self._wrong: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def refuse_early(self, client: str) -> None:
        """Raise an HTTPException while the client has to wait."""
        count, last = self._wrong.get(client, (0, 0.0))
        wait = min(2.0 ** (count - 1), self.LONGEST_WAIT) if count else 0.0
        left = math.ceil(last + wait - time.monotonic())
        if left > 0:
            seconds = "1 second" if left == 1 else f"{left} seconds"
            why = f"Too many wrong guesses; try again in {seconds}."
            raise HTTPException(429, why, {"Retry-After": str(left)})

    def wrong(self, client: str) -> None:
        """Take down a wrong guess."""
        now = time.monotonic()
        count, last = self._wrong.pop(client, (0, now))
        known = count if now - last < self.FORGOTTEN_AFTER else 0
        self._wrong[client] = (min(known + 1, 30), now)
        while len(self._wrong) > self.MOST_CLIENTS:
            self._wrong.popitem(last=False)

    def right(self, client: str) -> None:
        """Forget what was wrong before."""
        self._wrong.pop(client, None)


def client_of(scope: Scope) -> str:
    """Who asks, by address."""
    return str((scope.get("client") or ("",))[0])


def allowed_hosts(given: Collection[str]) -> tuple[str, ...]:
    """`--allowed-host` as it was given, checked.

    Raises:
        UserError: one of them is no host.
    """
    for host in given:
        if not host_name(host) or host_name(host) == "*":
            raise UserError(
                f"{printable(host)!r} is not a host",
                where="--allowed-host",
                fix="write NAME or NAME:PORT",
            )
    return tuple(host.lower() for host in given)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    try:
        return host in LOOPBACK or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def refuse_open(host: str, guarded: bool, meant: bool, fix: str) -> None:
    """Refuse to let everybody in by mistake.

    Args:
        host: what the server listens on.
        guarded: whether it asks for a password or key.
        meant: `--open`.
        fix: how to set one.

    Raises:
        UserError: other machines reach the server, and nothing asks who they are.
    """
    if is_loopback(host) or guarded or meant:
        return
    raise UserError(
        f"everybody who reaches {host} could use this server",
        where="--host",
        fix=f"{fix}, or say --open when that is meant",
    )


def keep_off_proxies(host: str) -> None:
    """Let no proxy of the environment stand between this process and its own address."""
    own = [*LOOPBACK, *(() if host in EVERYWHERE else (host,))]
    for name in ("no_proxy", "NO_PROXY"):
        known = [each for each in os.environ.get(name, "").split(",") if each.strip()]
        os.environ[name] = ",".join([*known, *(each for each in own if each not in known)])


@contextmanager
def listening(host: str, port: int) -> Iterator[socket.socket]:
    """A socket on this address.

    Raises:
        UserError: the port is taken or not ours to take, or no such address.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError, OverflowError) as error:
        raise UserError(f"there is no address {printable(host)!r}", where="--host") from error
    with socket.socket(family, kind, protocol) as listener:
        if os.name == "posix":  # elsewhere it would let two programs share the port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(address)
            listener.listen(128)
        except OSError as error:
            raise _port_refused(error, host, port) from error
        yield listener


def _port_refused(error: OSError, host: str, port: int) -> UserError:
    if error.errno == errno.EADDRINUSE:
        return UserError(
            f"port {port} is taken by another program", where="--port", fix="choose another port"
        )
    if error.errno == errno.EACCES:
        return UserError(
            f"this system does not let you listen on port {port}",
            where="--port",
            fix="choose one above 1023",
        )
    return UserError(f"cannot listen on {host}: {error.strerror or error}", where="--host")


def server_of(app: ASGIApp, **options: Any) -> uvicorn.Server:
    """What answers for an app; streams that never end are cut off a second after it is stopped.

    Headers of a proxy are not believed: with another address in each request a guesser would never
    wait.
    """
    import uvicorn

    usual = {"log_level": "warning", "timeout_graceful_shutdown": 1, "ws": "none"}
    return uvicorn.Server(uvicorn.Config(app, **{**usual, "proxy_headers": False, **options}))


def serve_until_stopped(app: ASGIApp, listener: socket.socket) -> None:
    """Answer on a socket until Ctrl+C."""
    server = server_of(app)
    # Cutting streams off is no fault to print.
    logging.getLogger("uvicorn.error").addFilter(lambda _record: not server.should_exit)
    server.run(sockets=[listener])
