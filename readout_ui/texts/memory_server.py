"""Memory nodes from an MCP server, page by page, over streamable HTTP or SSE."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Collection, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar
from urllib.parse import urlsplit

import anyio
import httpx
from mcp import ClientSession, McpError
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client
from mcp.types import CONNECTION_CLOSED

from readout_ui.errors import UserError
from readout_ui.progress import Progress, Report, silent
from readout_ui.texts.memory import USUAL, Fields, StoredNode
from readout_ui.texts.memory_pages import Page, Paging, key_argument, listing_tool, page_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from mcp.types import Tool

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


R = TypeVar("R")
STAGE = "Reading memory"


@dataclass(frozen=True)
class MemoryRequest:
    """What is asked of a memory server."""

    url: str
    """http or https; without a path, /mcp and /sse are tried as well."""
    tool: str = ""
    """The tool that gives nodes or their keys; empty: the only one, or one of a usual name."""
    node_tool: str = ""
    """The tool that gives one node by its key, where the other one only gives keys."""
    arguments: dict[str, Any] = field(default_factory=dict)
    """Further arguments of the first tool."""
    fields: Fields = USUAL
    """Of a node's text and key."""
    timeout: float = 120.0
    """Seconds that one answer may take."""

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UserError(
                f"{self.url!r} is no address of a server", options=("http://localhost:7777",)
            )


class ServerLost(UserError):
    """The server no longer answers; what it gave before has been handed on."""


def fetch_nodes(
    request: MemoryRequest,
    store: Callable[[Page], None],
    *,
    cursor: str | None = None,
    known: Collection[str] = (),
    report: Report = silent,
) -> None:
    """Every node of the server, handed to `store` as soon as it is there.

    Args:
        request: which server and tools.
        store: takes a page, or a single node where those are fetched by key.
        cursor: where an earlier fetch stopped.
        known: keys of nodes that are not fetched by key again.
        report: told after every batch; may raise Cancelled.

    Raises:
        ServerLost: the server stopped answering midway.
        UserError: no server, no such tool, or an answer without nodes.
    """
    failures = []
    for connect, url in ways(request.url):
        fetch = _Fetch(request, store, cursor, set(known), report)
        with quiet_client():
            failure = _run(fetch, connect, url)
        if failure is None:
            return
        if fetch.connected:
            raise ServerLost(
                f"the server stopped answering ({failure}) after {fetch.n_nodes} more nodes",
                where=request.url,
                fix="run the same command again to go on from there",
            )
        failures.append(f"{url}: {failure}")
    raise UserError(
        f"no MCP server answers ({'; '.join(failures)})",
        where=request.url,
        fix="start it or check the address",
    )


def _run(fetch: _Fetch, connect: Connect, url: str) -> str | None:
    """Fetch everything; why it failed, or None."""
    try:
        anyio.run(fetch.all_pages, connect, url)
    except BaseExceptionGroup as group:
        return failure_reason(group)
    except (McpError, httpx.HTTPError, OSError) as error:
        return failure_reason(error)
    return None


@dataclass
class _Fetch:
    """One connection and what came over it."""

    _request: MemoryRequest
    _store: Callable[[Page], None]
    _cursor: str | None
    _known: set[str]
    _report: Report
    _transport: WatchedTransport = field(init=False)
    connected: bool = False
    n_nodes: int = 0

    async def all_pages(self, connect: Connect, url: str) -> None:
        """Connect, choose the tool, and hand on page after page."""
        self._transport = WatchedTransport()
        client = httpx.AsyncClient(
            transport=self._transport,
            follow_redirects=True,
            timeout=httpx.Timeout(30.0, read=self._request.timeout),
        )
        wait = timedelta(seconds=self._request.timeout)
        async with (
            connect(url, client) as (read, write),
            ClientSession(read, write, read_timeout_seconds=wait) as session,
        ):
            await self._answer(session.initialize())
            self.connected = True
            await self._pages(session, await self._tools(session))

    async def _answer(self, call: Awaitable[R]) -> R:
        async with anyio.create_task_group() as group:
            group.start_soon(self._transport.raise_when_lost)
            answer = await call
            group.cancel_scope.cancel()
        return answer

    async def _tools(self, session: ClientSession) -> dict[str, Tool]:
        tools: dict[str, Tool] = {}
        cursor = None
        while True:
            some = await self._answer(session.list_tools(cursor))
            tools |= {tool.name: tool for tool in some.tools}
            cursor = some.nextCursor
            if not cursor:
                return tools

    async def _pages(self, session: ClientSession, tools: dict[str, Tool]) -> None:
        name = listing_tool(list(tools), self._request.tool, self._request.url)
        getter = self._request.node_tool
        if getter:
            getter = listing_tool(list(tools), getter, self._request.url)
        paging, seen, cursor = Paging.of(tools[name].inputSchema), set[str](), self._cursor
        while True:
            arguments = {**self._request.arguments, **paging.arguments(cursor)}
            page = await self._call(session, name, arguments, only_keys=bool(getter))
            if getter:
                await self._contents(session, tools[getter], page.keys)
            new = {*page.keys, *(node.key for node in page.nodes)} - seen
            seen |= new
            cursor = paging.after(cursor, page, len(new), f"{self._request.url} {name}")
            self._hand_on(Page(page.nodes, (), cursor, is_last=cursor is None))
            if cursor is None:
                return

    async def _contents(self, session: ClientSession, getter: Tool, keys: tuple[str, ...]) -> None:
        argument = key_argument(getter.inputSchema, getter.name)
        for key in keys:
            if key not in self._known:
                page = await self._call(session, getter.name, {argument: key})
                content = "\n".join(node.content for node in page.nodes)
                self._known.add(key)
                self._hand_on(Page((StoredNode(key, content),)))

    async def _call(
        self, session: ClientSession, tool: str, arguments: dict[str, Any], only_keys: bool = False
    ) -> Page:
        answer = await self._answer(session.call_tool(tool, arguments))
        texts = [part.text for part in answer.content if part.type == "text"]
        where = f"{self._request.url} {tool}"
        if answer.isError:
            given = ", ".join(f"{name} {value}" for name, value in arguments.items())
            raise UserError(
                f"the tool says: {' '.join(' '.join(texts).split())[:300]}",
                where=f"{where} {given}".strip(),
                fix="use --refresh to start from the beginning" if self._cursor else "",
            )
        return page_of(answer.structuredContent, texts, where, self._request.fields, only_keys)

    def _hand_on(self, page: Page) -> None:
        self.n_nodes += len(page.nodes)
        self._store(page)
        self._report(Progress(STAGE, self.n_nodes, 0, "nodes"))
