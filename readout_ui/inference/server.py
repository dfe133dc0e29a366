"""A small OpenAI-compatible server whose chunks carry the concept scores of every token.

`readout.scores` of a chunk is `[n_layers][n_concepts]`, raw dot products as the vLLM ReadoutManager
gives them, of the pass that produced the chunk's token: of the activations at `readout.position`,
the token before it. `readout.z` is the same in standard deviations from neutral tokens.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Coroutine
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from readout_ui.errors import UserError, naming_lost_device, printable
from readout_ui.inference.answers import (
    Asked,
    Choice,
    Piece,
    Service,
    first_chunk,
    head_of,
    last_chunks,
    piece_chunk,
    whole,
)
from readout_ui.inference.gate import Gate, Hosts, same_secret
from readout_ui.inference.requests import ChatRequest, TextRequest, parse_body

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send


class Ticket:
    """A place in the queue."""

    def __init__(self) -> None:
        self.before = 0
        """How many are answered first."""
        self._moved = asyncio.Event()

    async def moved(self) -> None:
        """Wait until the place is another one than when this was last waited for."""
        await self._moved.wait()
        self._moved.clear()

    async def turn(self) -> None:
        """Wait until no other is before it."""
        while self.before:
            await self.moved()

    def move(self, before: int) -> None:
        """Tell that so many are left before."""
        self.before = before
        self._moved.set()


class Queue:
    """Tickets in order; the first has the device.

    Args:
        most_waiting: how many may wait behind the one that is answered.
    """

    def __init__(self, most_waiting: int) -> None:
        self._most = most_waiting
        self._tickets: list[Ticket] = []

    def join(self) -> Ticket:
        """A place at the end.

        Raises:
            HTTPException: 429, too many wait already.
        """
        waiting = max(0, len(self._tickets) - 1)
        if self._tickets and waiting >= self._most:
            why = f"{waiting} requests wait already; try again later."
            raise HTTPException(429, why, {"Retry-After": "5"})
        ticket = Ticket()
        ticket.before = len(self._tickets)
        self._tickets.append(ticket)
        return ticket

    def leave(self, ticket: Ticket) -> None:
        """Give the place up, answered or not; those behind move on."""
        if ticket in self._tickets:
            self._tickets.remove(ticket)
            for before, other in enumerate(self._tickets):
                other.move(before)


MOST_BYTES = 8_000_000
"""Longest body of a request."""
MOST_WAITING = 16
KEEP_ALIVE_SECONDS = 15
CLIENT_GONE = 499
_CODES = {401: "invalid_api_key", 404: "not_found", 429: "rate_limit_exceeded"}


def build_server(
    service: Service,
    hosts: Hosts = Hosts("127.0.0.1"),  # noqa: B008  a frozen value
    api_key: str = "",
    most_waiting: int = MOST_WAITING,
) -> FastAPI:
    """The routes over one service.

    Args:
        service: what answers.
        hosts: the names the server answers to.
        api_key: what a client has to send; empty lets everybody in.
        most_waiting: requests that may wait behind the one that is answered.
    """
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    queue = Queue(most_waiting)
    _add_refusals(app)
    _add_lists(app, service)

    @app.post("/v1/chat/completions", response_model=None)
    async def chat(request: Request) -> Response:
        return await _respond(service, queue, request, ChatRequest)

    @app.post("/v1/completions", response_model=None)
    async def complete(request: Request) -> Response:
        return await _respond(service, queue, request, TextRequest)

    if api_key:
        app.add_middleware(KeyNeeded, key=api_key)
    app.add_middleware(Gate, hosts=hosts, most_bytes=MOST_BYTES, say=refusal_of)
    return app


def _add_refusals(app: FastAPI) -> None:
    """Every refusal in OpenAI's form."""

    @app.exception_handler(UserError)
    async def refuse(_request: Request, error: UserError) -> Response:
        return _error(400, str(error))

    @app.exception_handler(HTTPException)
    async def refuse_http(_request: Request, error: HTTPException) -> Response:
        return refusal_of(error)

    @app.exception_handler(Exception)
    async def fail(_request: Request, error: Exception) -> Response:
        return _error(500, f"Unexpected {type(error).__name__}; the server's terminal says more.")


def _add_lists(app: FastAPI, service: Service) -> None:
    """What there is: the model, and the manifest of the vectors."""

    def described() -> dict[str, Any]:
        one = {"id": service.model.name, "object": "model", "created": service.started}
        return {**one, "owned_by": "readout-ui"}

    @app.get("/v1/readout/manifest", response_model=None)
    def manifest() -> Response:
        if service.run is None:
            why = "no vectors are loaded; start the server with --vectors DIR"
            raise HTTPException(404, why)
        return JSONResponse(service.run.manifest.model_dump(mode="json"))

    @app.get("/v1/models")
    def models() -> dict[str, Any]:
        return {"object": "list", "data": [described()]}

    @app.get("/v1/models/{name:path}")
    def one_model(name: str) -> dict[str, Any]:
        refuse_other_model(service, name)
        return described()


def refuse_other_model(service: Service, name: str) -> None:
    """Raise an HTTPException for a model that is not the one here."""
    if name != service.model.name:
        why = f"there is no model {printable(name)!r} here, it is {service.model.name!r}"
        raise HTTPException(404, why)


async def _respond(
    service: Service, queue: Queue, request: Request, kind: type[ChatRequest | TextRequest]
) -> Response:
    body = parse_body(await request.body(), request.headers.get("content-type", ""), kind)
    refuse_other_model(service, body.model)
    ticket = queue.join()
    try:
        asked = await asyncio.to_thread(service.prepare, body)
    except BaseException:
        queue.leave(ticket)
        raise
    answering = Answering(service, queue, ticket, asked)
    if asked.stream:
        place = {"X-Queue-Position": str(ticket.before), "Cache-Control": "no-cache"}
        return StreamingResponse(answering.events(), headers=place, media_type="text/event-stream")
    return await unless_gone(request, answering.whole())


async def unless_gone(request: Request, work: Coroutine[Any, Any, Response]) -> Response:
    """What the work answers; it is cancelled once its reader is gone."""
    task, gone = asyncio.ensure_future(work), asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        return task.result() if task.done() else Response(status_code=CLIENT_GONE)
    finally:
        gone.cancel()
        if not task.done():
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


class Answering:
    """One request while it waits and is answered.

    Whoever stops reading, streaming or not, cancels the coroutine that gathers the pieces; the
    device is asked to stop at its next token, and the next in the queue follows when it has.
    """

    def __init__(self, service: Service, queue: Queue, ticket: Ticket, asked: Asked) -> None:
        self._service, self._asked = service, asked
        self._queue, self._ticket = queue, ticket
        self._head = head_of(asked, service.model.name)
        self._stopped = threading.Event()
        self._pieces: asyncio.Queue[Piece | None] = asyncio.Queue()
        self._task: asyncio.Future[list[Choice]] | None = None

    async def whole(self) -> Response:
        """The answer in one piece."""
        try:
            await self._ticket.turn()
            pieces = [piece async for piece in self._generated()]
            return JSONResponse(whole(self._asked, self._head, await self._choices(), pieces))
        finally:
            self._leave()

    async def events(self) -> AsyncIterator[str]:
        """Server-sent events; comments tell the place in the queue while others are answered."""
        try:
            while self._ticket.before:
                yield f": {self._ticket.before} before this one\n\n"
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._ticket.moved(), KEEP_ALIVE_SECONDS)
            if self._asked.form == "chat":
                for index in range(len(self._asked.prompts)):
                    yield _event(first_chunk(self._asked, self._head, index))
            async for piece in self._generated():
                yield _event(piece_chunk(self._asked, self._head, piece))
            try:
                for chunk in last_chunks(self._asked, self._head, await self._choices()):
                    yield _event(chunk)
            except UserError as error:
                yield _event(_error_body(400, str(error)))
            yield "data: [DONE]\n\n"
        finally:
            self._leave()

    async def _generated(self) -> AsyncIterator[Piece]:
        """Generate on another thread; the pieces as they come."""
        loop = asyncio.get_running_loop()

        def send(piece: Piece) -> None:
            loop.call_soon_threadsafe(self._pieces.put_nowait, piece)

        def answer() -> list[Choice]:
            with naming_lost_device():
                return self._service.answer(self._asked, send, self._stopped.is_set)

        self._task = asyncio.ensure_future(asyncio.to_thread(answer))
        self._task.add_done_callback(self._ended)
        while (piece := await self._pieces.get()) is not None:
            yield piece

    async def _choices(self) -> list[Choice]:
        assert self._task is not None
        return await self._task

    def _ended(self, task: asyncio.Future[list[Choice]]) -> None:
        self._queue.leave(self._ticket)
        self._pieces.put_nowait(None)
        if not task.cancelled():
            task.exception()  # a caller that left is not told

    def _leave(self) -> None:
        self._stopped.set()
        if self._task is None:
            self._queue.leave(self._ticket)


class KeyNeeded:
    """ASGI middleware: no one is answered without the key."""

    def __init__(self, app: ASGIApp, key: str) -> None:
        self.app, self._key = app, key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or ask for the key."""
        kind, _, given = Headers(scope=scope).get("authorization", "").partition(" ")
        known = kind.lower() == "bearer" and same_secret(given.strip(), self._key)
        if scope["type"] == "lifespan" or known:
            await self.app(scope, receive, send)
        else:
            refusal = HTTPException(401, "the API key is missing or wrong")
            await refusal_of(refusal)(scope, receive, send)


def _event(chunk: dict[str, Any]) -> str:
    return f"data: {json.dumps(chunk)}\n\n"


def refusal_of(error: HTTPException) -> Response:
    """A refusal in OpenAI's form."""
    return _error(error.status_code, str(error.detail), error.headers)


def _error(status: int, message: str, headers: Any = None) -> JSONResponse:
    return JSONResponse(_error_body(status, message), status, headers)


def _error_body(status: int, message: str) -> dict[str, Any]:
    kind = "server_error" if status >= 500 else "invalid_request_error"
    code = _CODES.get(status)
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}
