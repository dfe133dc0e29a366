"""Connections to an MCP server: over streamable HTTP, SSE, or the lines of a program.

The server is not trusted: an answer is bounded, and one that never ends is left.
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import urlsplit

import anyio
import httpx
from mcp import McpError
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.message import SessionMessage
from mcp.types import CONNECTION_CLOSED, JSONRPCMessage
from pydantic import ValidationError

from readout_ui.errors import UserError

if TYPE_CHECKING:
    from anyio.abc import Process

Streams = tuple[Any, Any]
Connect = Callable[["WatchedTransport", float], AbstractAsyncContextManager[Streams]]
MAX_ANSWER_BYTES = 50_000_000
"""Of one answer."""
_LOST_CODES = (httpx.codes.REQUEST_TIMEOUT, CONNECTION_CLOSED)
"""What the client itself reports where no answer came; other codes are the server's."""


def ways(url: str, command: Sequence[str] = ()) -> list[tuple[Connect, str]]:
    """How to reach a server: what to try, in this order, each with what messages call it."""
    if command:
        return [(partial(_over_lines, command), " ".join(command))]
    path = urlsplit(url).path.rstrip("/")
    base = url.rstrip("/")
    http, sse = (_over_http, url), (_over_sse, url)
    if path.endswith("/sse"):
        tried = [sse]
    elif path:
        tried = [http, sse]
    else:
        tried = [(_over_http, f"{base}/mcp"), (_over_sse, f"{base}/sse"), http]
    return [(partial(connect, address), address) for connect, address in tried]


def _client(transport: WatchedTransport, timeout: float) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        transport=transport,
        follow_redirects=True,
        timeout=httpx.Timeout(30.0, read=timeout),
        headers={"Accept-Encoding": "identity"},
    )


@asynccontextmanager
async def _over_http(
    url: str, transport: WatchedTransport, timeout: float
) -> AsyncIterator[Streams]:
    client = _client(transport, timeout)
    async with client, streamable_http_client(url, http_client=client) as streams:
        yield streams[0], streams[1]


@asynccontextmanager
async def _over_sse(
    url: str, transport: WatchedTransport, timeout: float
) -> AsyncIterator[Streams]:
    client = _client(transport, timeout)

    def given(
        headers: dict[str, str] | None = None,
        timeout: httpx.Timeout | None = None,
        auth: httpx.Auth | None = None,
    ) -> httpx.AsyncClient:
        del timeout, auth
        client.headers.update(headers or {})
        return client

    async with sse_client(url, httpx_client_factory=given) as streams:
        yield streams


@asynccontextmanager
async def _over_lines(
    command: Sequence[str], transport: WatchedTransport, timeout: float
) -> AsyncIterator[Streams]:
    """A server that is a program: JSON, one message a line; it ends with the connection."""
    del timeout
    found = shutil.which(command[0]) or command[0]
    to_us, received = anyio.create_memory_object_stream[Any](0)
    sent, from_us = anyio.create_memory_object_stream[Any](0)
    alone: dict[str, Any] = {"start_new_session": True} if hasattr(os, "killpg") else {}
    process = await anyio.open_process([found, *command[1:]], stderr=None, **alone)
    try:
        async with anyio.create_task_group() as group:
            group.start_soon(_read_lines, process, to_us, transport)
            group.start_soon(_write_lines, process, from_us)
            yield received, sent
            group.cancel_scope.cancel()
    finally:
        with anyio.CancelScope(shield=True):
            await _end(process)


async def _read_lines(process: Process, to_us: Any, transport: WatchedTransport) -> None:
    assert process.stdout is not None
    rest = bytearray()
    async with to_us:
        async for piece in process.stdout:
            rest += piece
            if len(rest) > MAX_ANSWER_BYTES:
                transport.lose(too_long(transport.where))
                return
            if b"\n" in piece:
                *lines, last = bytes(rest).split(b"\n")
                rest = bytearray(last)
                for line in lines:
                    with suppress(ValidationError):  # a program may print other things as well
                        message = JSONRPCMessage.model_validate_json(line)
                        await to_us.send(SessionMessage(message))


async def _write_lines(process: Process, from_us: Any) -> None:
    assert process.stdin is not None
    with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):  # reading notices it
        async for sent in from_us:
            line = sent.message.model_dump_json(by_alias=True, exclude_none=True)
            await process.stdin.send(f"{line}\n".encode())


async def _end(process: Process) -> None:
    """Let the program end by itself, for two seconds."""
    if process.stdin is not None:
        await process.stdin.aclose()
    with anyio.move_on_after(2):
        await process.wait()
    if process.returncode is None:
        with suppress(ProcessLookupError):
            if hasattr(os, "killpg"):
                os.killpg(process.pid, signal.SIGKILL)
            else:
                process.kill()
    await process.aclose()


def too_long(where: str) -> UserError:
    """What to say of an answer without end."""
    what = f"an answer of the server has more than {MAX_ANSWER_BYTES // 1_000_000} MB"
    return UserError(what, where=where, fix="ask for a part of the nodes with --tool-arguments")


def failure_reason(error: BaseException) -> str:
    """Why the connection failed; what is no failure of the connection is raised again."""
    leaves = list(_leaves(error))
    failures = (McpError, httpx.HTTPError, OSError, anyio.ClosedResourceError, anyio.EndOfStream)
    for leaf in leaves:
        if not isinstance(leaf, (*failures, anyio.BrokenResourceError)):
            raise leaf
    for leaf in leaves:
        if isinstance(leaf, McpError) and leaf.error.code not in _LOST_CODES:
            raise UserError(f"the server says: {leaf.error.message}") from None
    first = next((leaf for leaf in leaves if isinstance(leaf, ConnectionError)), leaves[0])
    return str(first) or type(first).__name__


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from _leaves(each)
    else:
        yield error


class WatchedTransport(httpx.AsyncHTTPTransport):
    """Notes when the server is gone or sends too much, of which the session would not learn."""

    def __init__(self, where: str) -> None:
        super().__init__()
        self.where = where
        self._lost = anyio.Event()
        self._why: Exception = ConnectionError()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """As usual, noting a failure and counting what comes."""
        try:
            response = await super().handle_async_request(request)
        except httpx.TransportError as error:
            self.lose(ConnectionError(str(error) or type(error).__name__))
            raise
        if request.method == "POST" and response.status_code >= 400:
            self.lose(ConnectionError(f"HTTP status {response.status_code}"))
        if response.headers.get("content-encoding", "identity") != "identity":
            self.lose(UserError("the server packs its answers, unasked", where=self.where))
            raise httpx.ReadError("packed")
        assert isinstance(response.stream, httpx.AsyncByteStream)
        events = response.headers.get("content-type", "").startswith("text/event-stream")
        response.stream = _Counted(response.stream, events, self)
        return response

    def lose(self, why: Exception) -> None:
        """Let `raise_when_lost` raise; the first reason counts."""
        if not self._lost.is_set():
            self._why = why
            self._lost.set()

    async def raise_when_lost(self) -> NoReturn:
        """Waits as long as the server is there; then raises why it is not."""
        await self._lost.wait()
        raise self._why


class _Counted(httpx.AsyncByteStream):
    """An answer, or a stream of events of which each is an answer, up to the bound."""

    def __init__(
        self, stream: httpx.AsyncByteStream, events: bool, transport: WatchedTransport
    ) -> None:
        self._stream, self._events, self._transport = stream, events, transport

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for piece in self._stream:
            over = self._events and (b"\n\n" in piece or b"\r\n\r\n" in piece)
            size = len(piece) if over else size + len(piece)
            if size > MAX_ANSWER_BYTES:
                self._transport.lose(too_long(self._transport.where))
                raise httpx.ReadError("too long")
            yield piece

    async def aclose(self) -> None:
        """Let go of the connection."""
        await self._stream.aclose()


@contextmanager
def quiet_client() -> Iterator[None]:
    """The client logs tracebacks of what is said in one sentence here."""
    logger = logging.getLogger("mcp.client")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(level)
