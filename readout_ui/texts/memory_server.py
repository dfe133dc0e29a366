"""Memory nodes from an MCP server, page by page, up to fixed bounds."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

import anyio
import httpx
from mcp import ClientSession, McpError
from mcp.types import CallToolRequest, CallToolRequestParams, CallToolResult, ClientRequest

from readout_ui.errors import UserError
from readout_ui.progress import Progress, Report, silent
from readout_ui.texts.memory import USUAL, Fields, StoredNode
from readout_ui.texts.memory_connection import (
    Connect,
    WatchedTransport,
    failure_reason,
    quiet_client,
    ways,
)
from readout_ui.texts.memory_pages import (
    Bounds,
    Page,
    Paging,
    key_argument,
    listing_tool,
    page_of,
)

if TYPE_CHECKING:
    from mcp.types import Tool

MAX_TOOL_PAGES = 100
R = TypeVar("R")
STAGE = "Reading memory"


@dataclass(frozen=True)
class MemoryRequest:
    """What is asked of a memory server."""

    url: str = ""
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
    command: tuple[str, ...] = ()
    """Instead of an address: a program that speaks over its input and output, with arguments."""

    @property
    def where(self) -> str:
        """What messages call the server."""
        return self.url or " ".join(self.command)

    def __post_init__(self) -> None:
        if self.command and not self.url:
            return
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
    for connect, address in ways(request.url, request.command):
        transport = WatchedTransport(address)
        fetch = _Fetch(request, store, cursor, set(known), report, transport)
        with quiet_client():
            failure = _run(fetch, connect)
        if failure is None:
            return
        if fetch.connected:
            raise ServerLost(
                f"the server stopped answering ({failure}) after {fetch.n_nodes} more nodes",
                where=request.where,
                fix="run the same command again to go on from there",
            )
        failures.append(f"{address}: {failure}")
    raise UserError(
        f"no MCP server answers ({'; '.join(failures)})",
        where=request.where,
        fix="start it, or check the address or command",
    )


def _run(fetch: _Fetch, connect: Connect) -> str | None:
    """Fetch everything; why it failed, or None."""
    try:
        anyio.run(fetch.all_pages, connect)
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
    _transport: WatchedTransport
    _bounds: Bounds = field(default_factory=Bounds)
    connected: bool = False
    n_nodes: int = 0

    async def all_pages(self, connect: Connect) -> None:
        """Connect, choose the tool, and hand on page after page."""
        wait = timedelta(seconds=self._request.timeout)
        async with (
            connect(self._transport, self._request.timeout) as (read, write),
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
        for _ in range(MAX_TOOL_PAGES):
            some = await self._answer(session.list_tools(cursor))
            tools |= {tool.name: tool for tool in some.tools}
            cursor = some.nextCursor
            if not cursor:
                return tools
        raise UserError("the server lists tools without end", where=self._request.where)

    async def _pages(self, session: ClientSession, tools: dict[str, Tool]) -> None:
        name = listing_tool(list(tools), self._request.tool, self._request.where)
        getter = self._request.node_tool
        if getter:
            getter = listing_tool(list(tools), getter, self._request.where)
        paging, cursor = Paging.of(tools[name].inputSchema), self._cursor
        while True:
            arguments = {**self._request.arguments, **paging.arguments(cursor)}
            page = await self._call(session, name, arguments, only_keys=bool(getter))
            if getter:
                await self._contents(session, tools[getter], page.keys)
            where = f"{self._request.where} {name}"
            cursor = paging.after(cursor, page, self._bounds.take(page, where), where)
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
        # Not call_tool: it refuses answers that are not quite what the server's schema says, such
        # as those of the official memory server.
        params = CallToolRequestParams(name=tool, arguments=arguments)
        asked = ClientRequest(CallToolRequest(method="tools/call", params=params))
        answer = await self._answer(session.send_request(asked, CallToolResult))
        texts = [part.text for part in answer.content if part.type == "text"]
        where = f"{self._request.where} {tool}"
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
