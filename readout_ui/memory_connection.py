"""The connection to an MCP server: ways to reach it, when it is lost, and why in a few words."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import urlsplit

import anyio
import httpx
from mcp import McpError
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client
from mcp.types import CONNECTION_CLOSED

from readout_ui.errors import UserError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

Streams = tuple[Any, Any]
Connect = Callable[[str, httpx.AsyncClient], AbstractAsyncContextManager[Streams]]
_LOST_CODES = (httpx.codes.REQUEST_TIMEOUT, CONNECTION_CLOSED)
"""What the client itself reports where no answer came; other codes are the server's."""


def ways(url: str) -> list[tuple[Connect, str]]:
    """What to try for an address, in this order, each with the address it takes."""
    path = urlsplit(url).path.rstrip("/")
    if path.endswith("/sse"):
        return [(_over_sse, url)]
    if path:
        return [(_over_http, url), (_over_sse, url)]
    base = url.rstrip("/")
    return [(_over_http, f"{base}/mcp"), (_over_sse, f"{base}/sse"), (_over_http, url)]


@asynccontextmanager
async def _over_http(url: str, client: httpx.AsyncClient) -> AsyncIterator[Streams]:
    async with client, streamable_http_client(url, http_client=client) as streams:
        yield streams[0], streams[1]


@asynccontextmanager
async def _over_sse(url: str, client: httpx.AsyncClient) -> AsyncIterator[Streams]:
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
    """Notes when the server is gone, of which the client's session would not learn."""

    def __init__(self) -> None:
        super().__init__()
        self.lost = anyio.Event()
        self.reason = ""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """As usual, noting a failure."""
        try:
            response = await super().handle_async_request(request)
        except httpx.TransportError as error:
            self._lose(str(error) or type(error).__name__)
            raise
        if request.method == "POST" and response.status_code >= 400:
            self._lose(f"HTTP status {response.status_code}")
        return response

    def _lose(self, reason: str) -> None:
        self.reason = self.reason or reason
        self.lost.set()

    async def raise_when_lost(self) -> NoReturn:
        """Waits as long as the server is there.

        Raises:
            ConnectionError: it is no longer.
        """
        await self.lost.wait()
        raise ConnectionError(self.reason)


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
