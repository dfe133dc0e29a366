"""Answers of the server: what is generated for a request, and how OpenAI's dialect says it."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from readout_ui.errors import UserError
from readout_ui.inference.forward import require_room
from readout_ui.inference.generation import frame_for_answer, generate_batch
from readout_ui.inference.readout import Readout
from readout_ui.inference.recipe import parse_recipe
from readout_ui.inference.requests import ChatRequest, RowsAsked, TextRequest
from readout_ui.models.chat_template import TokenRole
from readout_ui.models.prompt import FramedChat
from readout_ui.texts.reading import require_readable

if TYPE_CHECKING:
    from readout_ui.inference.decoding import Live
    from readout_ui.inference.generation import Generated
    from readout_ui.inference.sampling import Sampling
    from readout_ui.inference.steering import Patch
    from readout_ui.inference.steering_setup import SteeringSetup
    from readout_ui.models.loading import LoadedModel
    from readout_ui.runs.run import Run

FINISH = {"end": "stop", "length": "length", "stopped": "stop"}


@dataclass(frozen=True)
class Asked:
    """A request that can be answered."""

    form: Literal["chat", "text"]
    prompts: tuple[FramedChat, ...]
    """One for each answer."""
    sampling: Sampling
    stops: tuple[str, ...]
    n_likeliest: int | None
    """How many tokens are named at each place; None where no probability is asked for."""
    stream: bool
    with_usage: bool
    steer: SteeringSetup | None = None
    """What steers the model meanwhile."""
    rows: RowsAsked | None = None
    """Which rows of scores stand in each choice; None for those of every chunk beside it."""
    with_ids: bool = False
    """Whether token ids are said."""


@dataclass(frozen=True)
class TokenChance:
    """A new token, and how likely the model took it and others to be."""

    text: str
    logprob: float
    others: tuple[tuple[str, float], ...]
    """The likeliest with their logarithms, likeliest first."""


@dataclass(frozen=True)
class Piece:
    """What one pass added to one answer."""

    index: int
    """Which answer."""
    text: str
    readout: dict[str, Any] | None = None
    """Scores of the pass that produced the token."""
    chance: TokenChance | None = None
    lists: dict[str, list[Any]] = field(default_factory=dict)
    """What the choice has of this piece in lists that grow: rows of scores, token ids."""


@dataclass(frozen=True)
class Choice:
    """One finished answer."""

    text: str
    finish: str
    """As OpenAI names it."""
    n_tokens: int
    """New tokens, up to the one that completed a stop text."""


class Growing:
    """The text of one answer while it grows: what may be sent of it, and where it stops."""

    def __init__(self, stops: Sequence[str]) -> None:
        self.n_tokens = 0
        self.stopped = False
        self.sent = ""
        self._stops = stops

    def take(self, text: str, last: bool = False) -> str:
        """New text that can be sent; what may be the beginning of a stop text is kept back.

        Args:
            text: all there is.
            last: whether nothing follows.
        """
        found = [place for place in (text.find(stop) for stop in self._stops) if place >= 0]
        if found:
            self.stopped = True
            text = text[: min(found)]
        kept = 0 if self.stopped or last else max(map(self._begun(text), self._stops), default=0)
        new = text[len(self.sent) : len(text) - kept]
        self.sent += new
        return new

    @staticmethod
    def _begun(text: str) -> Callable[[str], int]:
        """How many characters of a stop text the text ends with."""
        return lambda stop: next(
            (n for n in range(min(len(stop) - 1, len(text)), 0, -1) if text.endswith(stop[:n])), 0
        )


class Service:
    """One model on one device, with or without vectors."""

    def __init__(self, model: LoadedModel, run: Run | None) -> None:
        self.model, self.run = model, run
        self.readout = Readout(model, run) if run else None
        self.started = int(time.time())

    def prepare(self, request: ChatRequest | TextRequest) -> Asked:
        """The request as it can be answered.

        Raises:
            UserError: something is asked for that is not served, or a prompt is too long.
        """
        sampling, n_likeliest = request.sampling(), request.n_likeliest()
        if isinstance(request, ChatRequest):
            prompts = [self._chat(request)]
        else:
            prompts = self._texts(request)
        for prompt in prompts:
            require_room(self.model, prompt)
        copies = request.copies(len(prompts))
        return Asked(
            form="chat" if isinstance(request, ChatRequest) else "text",
            prompts=tuple(prompt for prompt in prompts for _ in range(copies)),
            sampling=sampling,
            stops=tuple(request.stop),
            n_likeliest=n_likeliest,
            stream=bool(request.stream),
            with_usage=request.with_usage,
            steer=self._setup(request.steer) if request.steer is not None else None,
            rows=self._rows_asked(request.vllm_xargs),
            with_ids=bool(request.return_token_ids),
        )

    def _rows_asked(self, asked: RowsAsked | None) -> RowsAsked | None:
        if asked is not None and self.run is None:
            raise UserError("readouts need vectors", fix="start the server with --vectors")
        return asked

    def _setup(self, recipe: str) -> SteeringSetup:
        if self.readout is None:
            raise UserError("steer needs vectors", fix="start the server with --vectors")
        run = self.readout.run
        return parse_recipe(recipe, (run.best_layer,), run)

    def _chat(self, request: ChatRequest) -> FramedChat:
        turns = [message.turn() for message in request.messages]
        kwargs = request.chat_template_kwargs or {}
        return frame_for_answer(self.model, turns, template_kwargs=kwargs)

    def _texts(self, request: TextRequest) -> list[FramedChat]:
        given = request.prompts()
        if not given:
            raise UserError("there is no prompt", fix="write one")
        request.copies(len(given))
        require_readable("".join(one for one in given if isinstance(one, str)), "prompt")
        frame_raw = self.model.frame.frame_raw
        return [self._ids(one) if isinstance(one, list) else frame_raw(one) for one in given]

    def _ids(self, ids: list[int]) -> FramedChat:
        known = len(self.model.tokenizer)
        if not ids or not all(0 <= one < known for one in ids):
            raise UserError("a prompt of token ids is empty or has an unknown id")
        return FramedChat(tuple(ids), (TokenRole.ASSISTANT,) * len(ids))

    def answer(
        self, asked: Asked, send: Callable[[Piece], None], stop: Callable[[], bool]
    ) -> list[Choice]:
        """Generate on the calling thread; every new piece of text is sent as it comes.

        Args:
            asked: what to answer.
            send: called with every piece.
            stop: asked after every token; True ends it all.
        """
        growing = [Growing(asked.stops) for _ in asked.prompts]

        def on_text(rows: Sequence[Live]) -> None:
            for index, (row, live) in enumerate(zip(growing, rows, strict=True)):
                if live.n_tokens > row.n_tokens and not row.stopped:
                    row.n_tokens = live.n_tokens
                    chance = self._chance(live, asked.n_likeliest)
                    prompt, text = asked.prompts[index], row.take(live.text)
                    readout = None if asked.rows else self._scores(live, prompt)
                    send(Piece(index, text, readout, chance, _lists(asked, live, prompt)))

        made = generate_batch(
            self.model,
            asked.prompts,
            asked.sampling,
            vectors=self.run.vectors if self.run else None,
            on_text=on_text,
            stop=lambda: stop() or all(row.stopped for row in growing),
            steering=partial(self._steered, asked.steer) if asked.steer else None,
        )
        return [
            _finished(index, row, one, send)
            for index, (row, one) in enumerate(zip(growing, made, strict=True))
        ]

    def _steered(self, setup: SteeringSetup, prompts: Sequence[FramedChat]) -> Patch:
        assert self.readout is not None
        return self.readout.steer(setup, prompt_length=[len(one.token_ids) for one in prompts])

    def _scores(self, live: Live, prompt: FramedChat) -> dict[str, Any] | None:
        position = len(prompt.token_ids) + live.n_tokens - 2
        read = live.scores(position)
        if read is None:
            return None
        raw, z = read
        return {"position": position, "scores": raw[0].tolist(), "z": z[0].tolist()}

    def _chance(self, live: Live, count: int | None) -> TokenChance | None:
        if count is None:
            return None
        logprob, others = live.likeliest(count)
        decode = self.model.tokenizer.decode
        return TokenChance(
            text=str(decode([live.token_ids[-1]])),
            logprob=logprob,
            others=tuple((str(decode([token])), value) for token, value in others),
        )


def _lists(asked: Asked, live: Live, prompt: FramedChat) -> dict[str, list[Any]]:
    """Rows of the newest token, and with the first those of the prompt before it."""
    found: dict[str, list[Any]] = {"token_ids": [live.token_ids[-1]]} if asked.with_ids else {}
    rows, newest = asked.rows, len(prompt.token_ids) + live.n_tokens - 2
    whole = rows is not None and rows.readout_prompt and live.n_tokens == 1
    read = None if rows is None else live.scores(0 if whole else newest)
    if rows is None or read is None:
        return found
    for name, scores in zip(("", "_z") if rows.readout_z else ("",), read, strict=False):
        if rows.readout:
            found[f"readout{name}"] = scores[-1:].tolist()
        if whole:
            found[f"readout_prompt{name}"] = scores[:-1].tolist()
    return found


def _grown(pieces: Sequence[Piece]) -> dict[str, list[Any]]:
    """The lists of some pieces, each as one."""
    names = dict.fromkeys(name for piece in pieces for name in piece.lists)
    return {
        name: [entry for piece in pieces for entry in piece.lists.get(name, ())] for name in names
    }


def _finished(index: int, row: Growing, made: Generated, send: Callable[[Piece], None]) -> Choice:
    if not row.stopped:
        row.n_tokens = len(made.token_ids)
    rest = "" if row.stopped else row.take(made.text, last=True)
    if rest:  # half a character, or the beginning of a stop text, was held back
        send(Piece(index, rest))
    return Choice(row.sent, "stop" if row.stopped else FINISH[made.finish], row.n_tokens)


def head_of(asked: Asked, model: str) -> dict[str, Any]:
    """What every chunk of an answer says first."""
    kind = "chatcmpl" if asked.form == "chat" else "cmpl"
    return {"id": f"{kind}-{secrets.token_hex(12)}", "created": int(time.time()), "model": model}


def whole(
    asked: Asked, head: dict[str, Any], choices: Sequence[Choice], pieces: Sequence[Piece]
) -> dict[str, Any]:
    """The answer to a request that is not streamed."""
    of = [[piece for piece in pieces if piece.index == index] for index in range(len(choices))]
    readouts = [_columns([piece.readout for piece in own if piece.readout]) for own in of]
    listed = [
        {
            "index": index,
            **_said(asked, choice.text),
            "logprobs": _logprobs(asked, of[index]),
            "finish_reason": choice.finish,
            **({"readout": readouts[index]} if readouts[index] and len(choices) > 1 else {}),
            **_grown(of[index]),
        }
        for index, choice in enumerate(choices)
    ]
    return {
        **head,
        "object": "chat.completion" if asked.form == "chat" else "text_completion",
        "choices": listed,
        "usage": usage(asked, choices),
        **({"readout": readouts[0]} if len(choices) == 1 and readouts[0] else {}),
    }


def _said(asked: Asked, text: str) -> dict[str, Any]:
    if asked.form == "chat":
        return {"message": {"role": "assistant", "content": text, "refusal": None}}
    return {"text": text}


def first_chunk(asked: Asked, head: dict[str, Any], index: int) -> dict[str, Any]:
    """Says that an answer begins; of a chat only."""
    return _chunk(asked, head, index, {"role": "assistant", "content": ""})


def piece_chunk(asked: Asked, head: dict[str, Any], piece: Piece) -> dict[str, Any]:
    """A piece as it is streamed."""
    chunk = _chunk(asked, head, piece.index, {"content": piece.text}, [piece])
    return {**chunk, **({"readout": piece.readout} if piece.readout else {})}


def last_chunks(
    asked: Asked, head: dict[str, Any], choices: Sequence[Choice]
) -> list[dict[str, Any]]:
    """How each answer ended, and what all took."""
    ends = [
        {**_chunk(asked, head, index, {}, finish=choice.finish), "usage": usage(asked, choices)}
        for index, choice in enumerate(choices)
    ]
    if asked.with_usage:
        ends.append({**ends[-1], "choices": []})
    return ends


def _chunk(
    asked: Asked,
    head: dict[str, Any],
    index: int,
    delta: dict[str, Any],
    pieces: Sequence[Piece] = (),
    finish: str | None = None,
) -> dict[str, Any]:
    chat = asked.form == "chat"
    said = {"delta": delta} if chat else {"text": delta.get("content", "")}
    choice = {"index": index, **said, "logprobs": _logprobs(asked, pieces), "finish_reason": finish}
    choice |= _grown(pieces)
    kind = "chat.completion.chunk" if chat else "text_completion"
    return {**head, "object": kind, "choices": [choice]}


def _columns(readouts: list[dict[str, Any]]) -> dict[str, list[Any]]:
    return {key: [readout[key] for readout in readouts] for key in readouts[0]} if readouts else {}


def _logprobs(asked: Asked, pieces: Sequence[Piece]) -> dict[str, Any] | None:
    chances = [piece.chance for piece in pieces if piece.chance]
    if asked.n_likeliest is None or not chances:
        return None
    if asked.form == "chat":
        return {"content": [_described(chance) for chance in chances], "refusal": None}
    offsets = [sum(len(one.text) for one in chances[:place]) for place in range(len(chances))]
    return {
        "tokens": [chance.text for chance in chances],
        "token_logprobs": [chance.logprob for chance in chances],
        "top_logprobs": [dict(chance.others) for chance in chances],
        "text_offset": offsets,
    }


def _described(chance: TokenChance) -> dict[str, Any]:
    def one(text: str, logprob: float) -> dict[str, Any]:
        return {"token": text, "logprob": logprob, "bytes": list(text.encode())}

    return {
        **one(chance.text, chance.logprob),
        "top_logprobs": [one(text, value) for text, value in chance.others],
    }


def usage(asked: Asked, choices: Sequence[Choice]) -> dict[str, int]:
    """How many tokens went in and came out; the same prompt counts once."""
    n_prompt = sum(len(prompt.token_ids) for prompt in {id(p): p for p in asked.prompts}.values())
    n_new = sum(choice.n_tokens for choice in choices)
    return {
        "prompt_tokens": n_prompt,
        "completion_tokens": n_new,
        "total_tokens": n_prompt + n_new,
    }
