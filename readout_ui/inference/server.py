"""A small OpenAI-compatible server whose chunks carry the concept scores of every token.

`readout.scores` of a chunk is `[n_layers][n_concepts]`, raw dot products as the vLLM ReadoutManager
gives them, of the pass that produced the chunk's token: of the activations at `readout.position`,
the token before it. `readout.z` is the same in standard deviations from neutral tokens.

What a client of the server may ask for: the part of OpenAI's chat completions that is served.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING, Any, Literal

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from readout_ui.errors import UserError
from readout_ui.inference.decoding import Live
from readout_ui.inference.forward import require_room
from readout_ui.inference.generation import (
    Generated,
    frame_for_answer,
    generate,
)
from readout_ui.inference.sampling import Sampling
from readout_ui.models.chat_template import Turn

if TYPE_CHECKING:
    from readout_ui.models.loading import LoadedModel
    from readout_ui.models.prompt import FramedChat
    from readout_ui.runs.run import Run

DEFAULT_NEW_TOKENS = 1024
_UNSERVED = ("tools", "functions", "stop", "logprobs", "response_format", "logit_bias", "audio")


class TextPart(BaseModel):
    """A piece of a message that is text."""

    type: Literal["text"]
    text: str


class Message(BaseModel):
    """One turn of the chat."""

    model_config = ConfigDict(extra="ignore")

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[TextPart]

    def turn(self) -> Turn:
        """The turn as the prompt frame takes it."""
        text = self.content
        if not isinstance(text, str):
            text = "".join(part.text for part in text)
        return Turn("system" if self.role == "developer" else self.role, text)


class ChatRequest(BaseModel):
    """The body of POST /v1/chat/completions."""

    model_config = ConfigDict(extra="allow")

    model: str
    messages: list[Message] = Field(min_length=1)
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    seed: int | None = None
    n: int | None = None
    stream: bool = False

    def sampling(self) -> Sampling:
        """How tokens are chosen; what is not given is as with OpenAI.

        Raises:
            UserError: a number out of range.
        """
        limit = self.max_completion_tokens or self.max_tokens or DEFAULT_NEW_TOKENS
        return Sampling(
            temperature=1.0 if self.temperature is None else self.temperature,
            top_p=1.0 if self.top_p is None else self.top_p,
            max_new_tokens=limit,
            seed=self.seed or 0,
        )

    def refuse_unserved(self) -> None:
        """Raise a UserError that names a parameter which would silently do nothing."""
        asked: dict[str, Any] = self.model_extra or {}
        if unserved := [name for name in _UNSERVED if asked.get(name)]:
            raise UserError(f"{unserved[0]} is not served", fix=f"leave {unserved[0]} out")
        if self.n not in (None, 1):
            raise UserError(f"n is {self.n}, one answer at a time is served", fix="leave n out")


_FINISH = {"end": "stop", "length": "length", "stopped": "stop"}
_Piece = tuple[str, dict[str, Any] | None]
"""New text, and the readout of the pass that produced it."""


class Service:
    """One model on one device, with or without vectors; answers one request after the other."""

    def __init__(self, model: LoadedModel, run: Run | None) -> None:
        self.model, self.run = model, run
        self.started = int(time.time())
        self._device = threading.Lock()

    def frame(self, request: ChatRequest) -> FramedChat:
        """The prompt of a request.

        Raises:
            UserError: something is asked for that is not served, or the prompt is too long.
        """
        request.refuse_unserved()
        prompt = frame_for_answer(self.model, [message.turn() for message in request.messages])
        require_room(self.model, prompt)
        return prompt

    def answer(
        self,
        request: ChatRequest,
        prompt: FramedChat,
        send: Callable[[_Piece], None],
        stop: Callable[[], bool],
    ) -> Generated:
        """Generate on the calling thread; every new piece of text is sent as it comes."""
        sent = 0

        def on_text(live: Live) -> None:
            nonlocal sent
            text = live.text
            send((text[sent:], self._scores(live, prompt)))
            sent = max(sent, len(text))

        run = self.run
        with self._device:
            made = generate(
                self.model,
                prompt,
                request.sampling(),
                vectors=run.vectors if run else None,
                on_text=on_text,
                stop=stop,
            )
        if len(made.text) > sent:  # half a character was held back
            send((made.text[sent:], None))
        return made

    def _scores(self, live: Live, prompt: FramedChat) -> dict[str, Any] | None:
        position = len(prompt.token_ids) + live.n_tokens - 2
        read = live.reading(position)
        if read is None:
            return None
        return {"position": position, "scores": read.raw[0].tolist(), "z": read.z[0].tolist()}


def build_server(service: Service) -> FastAPI:
    """The routes over one service."""
    app = FastAPI(title="Readout Studio", docs_url=None, redoc_url=None)

    @app.exception_handler(UserError)
    async def refuse(_request: Any, error: UserError) -> Response:
        return _error(400, str(error))

    @app.exception_handler(RequestValidationError)
    async def refuse_body(_request: Any, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"] if part != "body")
        return _error(400, f"{place}: {first['msg']}" if place else str(first["msg"]))

    @app.get("/v1/readout/manifest")
    def manifest() -> Response:
        if service.run is None:
            return _error(404, "no vectors are loaded; start the server with --vectors DIR")
        return JSONResponse(service.run.manifest.model_dump(mode="json"))

    @app.get("/v1/models")
    def models() -> dict[str, Any]:
        one = {"id": service.model.name, "object": "model", "created": service.started}
        return {"object": "list", "data": [{**one, "owned_by": "readout-ui"}]}

    @app.post("/v1/chat/completions", response_model=None)
    async def chat(request: ChatRequest) -> Response:
        if request.model != service.model.name:
            return _error(
                404, f"there is no model {request.model!r} here, it is {service.model.name!r}"
            )
        prompt = service.frame(request)
        request.sampling()
        head = {"id": f"chatcmpl-{secrets.token_hex(8)}", "created": int(time.time())}
        if request.stream:
            chunks = _stream(service, request, prompt, {**head, "model": service.model.name})
            return StreamingResponse(chunks, media_type="text/event-stream")
        return JSONResponse(await _whole(service, request, prompt, head))

    return app


async def _whole(
    service: Service, request: ChatRequest, prompt: FramedChat, head: dict[str, Any]
) -> dict[str, Any]:
    pieces: list[_Piece] = []
    stopped = threading.Event()
    try:
        made = await asyncio.to_thread(
            service.answer, request, prompt, pieces.append, stopped.is_set
        )
    finally:
        stopped.set()
    readouts = [readout for _, readout in pieces if readout]
    return {
        **head,
        "object": "chat.completion",
        "model": service.model.name,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": made.text},
                "finish_reason": _FINISH[made.finish],
            }
        ],
        "usage": _usage(made),
        **({"readout": _columns(readouts)} if readouts else {}),
    }


def _columns(readouts: list[dict[str, Any]]) -> dict[str, list[Any]]:
    return {key: [readout[key] for readout in readouts] for key in readouts[0]}


async def _stream(
    service: Service, request: ChatRequest, prompt: FramedChat, head: dict[str, Any]
) -> AsyncIterator[str]:
    """Server-sent events; a client that goes away stops the generation within one token."""
    loop, stopped = asyncio.get_running_loop(), threading.Event()
    waiting: asyncio.Queue[_Piece | None] = asyncio.Queue()

    def send(piece: _Piece | None) -> None:
        loop.call_soon_threadsafe(waiting.put_nowait, piece)

    task = asyncio.ensure_future(
        asyncio.to_thread(service.answer, request, prompt, send, stopped.is_set)
    )
    task.add_done_callback(lambda _task: waiting.put_nowait(None))
    try:
        yield _event(head, {"role": "assistant", "content": ""})
        while (piece := await waiting.get()) is not None:
            text, readout = piece
            yield _event(head, {"content": text}, readout=readout)
        for line in _ending(task, head):
            yield line
    finally:
        stopped.set()


def _ending(task: asyncio.Future[Generated], head: dict[str, Any]) -> Iterator[str]:
    failure = task.exception()
    if isinstance(failure, UserError):
        yield f"data: {json.dumps(_error_body(str(failure)))}\n\n"
    elif failure is not None:
        raise failure
    else:
        made = task.result()
        yield _event(head, {}, finish=_FINISH[made.finish], usage=_usage(made))
    yield "data: [DONE]\n\n"


def _event(
    head: dict[str, Any],
    delta: dict[str, Any],
    finish: str | None = None,
    readout: dict[str, Any] | None = None,
    usage: dict[str, int] | None = None,
) -> str:
    chunk = {
        **head,
        "object": "chat.completion.chunk",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
        **({"readout": readout} if readout else {}),
        **({"usage": usage} if usage else {}),
    }
    return f"data: {json.dumps(chunk)}\n\n"


def _usage(made: Generated) -> dict[str, int]:
    n_prompt, n_new = len(made.prompt.token_ids), len(made.token_ids)
    return {
        "prompt_tokens": n_prompt,
        "completion_tokens": n_new,
        "total_tokens": n_prompt + n_new,
    }


def _error(status: int, message: str) -> JSONResponse:
    return JSONResponse(_error_body(message), status_code=status)


def _error_body(message: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error", "code": None}}
