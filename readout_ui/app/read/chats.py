"""The chats of the room Read: each page's answer, one at a time on the device.

The device's thread lets an answer grow, pages ask what is new.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from readout_ui.app.events import Request
from readout_ui.app.jobs import JobState
from readout_ui.app.read.calls import MOST_TEXT, MOST_TURNS, Said
from readout_ui.app.read.waiting import Asked, Newest, Watched
from readout_ui.errors import UserError
from readout_ui.inference.reading import FloatArray, Reading
from readout_ui.inference.sampling import Sampling, live_layers
from readout_ui.models.chat_template import TokenRole, Turn
from readout_ui.models.tokens import TokenPieces
from readout_ui.progress import Cancelled, Progress

if TYPE_CHECKING:
    from readout_ui.inference.decoding import Live
    from readout_ui.inference.generation import Generated
    from readout_ui.inference.readout import Readout
    from readout_ui.models.prompt import FramedChat

TICK_SECONDS = 0.1
"""How often the device's thread stops to hand over what is new."""


@dataclass(frozen=True)
class Source:
    """What the scores of an answer come from."""

    run_id: str
    """The run whose vectors are used."""
    model: str
    """The model's name."""
    concepts: tuple[str, ...]
    """Names of the columns of every score."""
    layers: tuple[int, ...]
    """Layers that are read."""
    best: int
    """The one of them nearest to the run's best layer."""
    n_prompt: int
    """Tokens of the prompt; the last of them is where the model is about to go on."""


@dataclass(frozen=True, eq=False)
class News:
    """The tokens from one position on, with their scores at every layer that is read."""

    start: int
    """Position of the first."""
    pieces: tuple[str, ...]
    """What each adds to the text."""
    tokens: tuple[str, ...]
    """Each as the model sees it."""
    roles: tuple[str, ...]
    """Who says each."""
    z: FloatArray
    """(n_new, n_layers, n_concepts)."""


@dataclass(frozen=True)
class Ending:
    """How an answer ended."""

    finish: str
    """"end", "length" or "stopped"."""
    text: str
    """The whole answer, with what it was begun with."""
    note: str
    """What the user should know; mostly empty."""
    seconds: float
    """How long it took."""
    n_tokens: int
    """New tokens."""


class TokenStream:
    """Tokens and scores of prompt and answer so far. Every method may be called from any thread."""

    def __init__(self, watched: Watched) -> None:
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._watched, self._taken_at = watched, time.monotonic()
        self._pieces: list[str] = []
        self._parts: list[Reading] = []
        self._n_read = 0
        self._decoder: TokenPieces | None = None
        self._prompt: FramedChat | None = None
        self._source: Source | None = None
        self._ending: Ending | None = None

    @property
    def source(self) -> Source | None:
        """None before the model was asked."""
        return self._source

    @property
    def ending(self) -> Ending | None:
        """None while it goes on."""
        return self._ending

    # For pages

    def stop(self) -> None:
        """End the answer at the next token."""
        self._stop.set()

    def news(self, start: int) -> News | None:
        """Everything from position `start` on; None before there is anything at all."""
        self._watched.ask()
        with self._lock:
            source, parts, pieces = self._source, tuple(self._parts), tuple(self._pieces)
        if source is None:
            return None
        shape = len(source.layers), len(source.concepts)
        fresh, position = [], 0
        for part in parts:
            length = len(part.tokens)
            if position + length > start:
                fresh.append(part.select(tokens=range(max(0, start - position), length)))
            position += length
        return News(
            start=start,
            pieces=pieces[start:position],
            tokens=tuple(token for part in fresh for token in part.tokens),
            roles=tuple(role for part in fresh for role in part.roles),
            z=np.concatenate([np.zeros((0, *shape), np.float32), *(part.z for part in fresh)]),
        )

    # For the device's thread

    def stopping(self) -> bool:
        """Whether Stop was pressed, or no page has asked for long."""
        return self._stop.is_set() or self._watched.gone()

    def begin(self, used: Readout, prompt: FramedChat, layers: tuple[int, ...]) -> None:
        """The model is about to read the prompt."""
        best = min(layers, key=lambda layer: (abs(layer - used.run.best_layer), layer))
        self._prompt, self._decoder = prompt, TokenPieces(used.model.tokenizer)
        self._source = Source(
            run_id=used.run.id,
            model=used.model.name,
            concepts=used.concepts,
            layers=layers,
            best=best,
            n_prompt=len(prompt.token_ids),
        )

    def on_token(self, live: Live) -> None:
        """Take what is new, now and then."""
        now = time.monotonic()
        if self._n_read and now - self._taken_at < TICK_SECONDS:
            return
        self._taken_at = now
        self._take(live.reading(self._n_read), live.token_ids)

    def end(self, made: Generated, begun: str = "") -> None:
        """Take the rest; nothing comes after it. `begun` is what the answer was begun with."""
        if made.reading is not None:
            rest = range(self._n_read, len(made.reading.tokens))
            self._take(made.reading.select(tokens=rest), made.token_ids)
        text = begun + self._said(made) if begun else made.text
        self._ending = Ending(made.finish, text, made.note, made.seconds, len(made.token_ids))

    def _said(self, made: Generated) -> str:
        """The new tokens as they go on from what was there, which keeps a leading space."""
        new = self._pieces[len(made.prompt.token_ids) :]
        said = zip(new, made.roles, strict=True)
        return "".join(piece for piece, role in said if role != TokenRole.TEMPLATE)

    def _take(self, part: Reading | None, new_ids: tuple[int, ...]) -> None:
        if part is None or self._prompt is None or self._decoder is None or not part.tokens:
            return
        stop = self._n_read + len(part.tokens)
        ids = (*self._prompt.token_ids, *new_ids)[self._n_read : stop]
        pieces = self._decoder.extend(ids)
        with self._lock:
            self._parts.append(part)
            self._pieces += pieces
            self._n_read = stop


@dataclass(frozen=True)
class ChatRequest:
    """What a page wants answered."""

    turns: tuple[Turn, ...]
    """The chat so far, a user's turn last."""
    system: str
    """System prompt; empty for none."""
    sampling: Sampling
    """How tokens are chosen."""
    thinking: bool | None = None
    """Whether the model reasons first, where its template can be told; None as it likes."""
    recipe: str = ""
    """What steers it meanwhile; empty for nothing."""
    begun: str = ""
    """How the answer begins; the model goes on from there."""


LONGEST_RECIPE = 20_000


class Chat(Request):
    """Which chat: a secret that the page made up."""

    chat: str = Field(pattern=r"^[0-9a-f]{32}$")


class Spoken(Said):
    """One turn of a person or of the model; the system's is asked apart."""

    role: Literal["user", "assistant"]


class Told(Request):
    """A chat as far as the model's turn, and how it goes on."""

    turns: list[Spoken] = Field(max_length=MOST_TURNS)
    system: str = Field(default="", max_length=MOST_TEXT)
    sampling: dict[str, float | int | None] = Field(default_factory=dict)
    thinking: bool | None = None
    recipe: str = Field(default="", max_length=LONGEST_RECIPE)
    begun: str = Field(default="", max_length=MOST_TEXT)

    def request(self) -> ChatRequest:
        """What a page wants, checked."""
        known: Callable[..., Sampling] = Sampling
        names = [name for name in asdict(Sampling()) if name in self.sampling]
        return ChatRequest(
            turns=tuple(Turn(turn.role, turn.text) for turn in self.turns),
            system=self.system,
            sampling=known(**{name: self.sampling[name] for name in names}),
            thinking=self.thinking,
            recipe=self.recipe.strip(),
            begun=self.begun,
        )


@dataclass(eq=False)
class AskedAnswer(Asked[None]):
    """One answer on its way through the queue."""

    number: int
    """Counts up within a chat, so that a page knows whose news it gets."""
    stream: TokenStream
    """What was said so far."""

    def stop(self) -> None:
        """End it: at the next token, or before it began."""
        self.stream.stop()
        if self.job.view().state is JobState.WAITING:
            self.job.cancel()


class LiveChats(Newest[AskedAnswer]):
    """The newest answer of every chat."""

    most = 24

    def ask(self, chat: str, request: ChatRequest) -> AskedAnswer:
        """Queue an answer; one of the same chat that still goes on is stopped first."""
        earlier, watched = self.stop(chat), Watched()
        stream = TokenStream(watched)
        job = self._studio.on_device(
            "live", "Answering in a chat", lambda used: answer(used, request, stream)
        )
        asked = AskedAnswer(job, watched, earlier.number + 1 if earlier else 1, stream)
        self.keep(chat, asked)
        return asked


def answer(used: Readout, request: ChatRequest, stream: TokenStream) -> None:
    """Let the model answer, on the device's thread."""
    from readout_ui.inference.readout import Begun

    if stream.stopping():
        raise Cancelled
    prompt = framed_request(used, request)
    layers = live_layers(used.layers, used.run.best_layer)
    stream.begin(used, prompt, layers)
    most = request.sampling.max_new_tokens
    stage = "Answering, steered" if request.recipe else "Answering"

    def on_token(live: Live) -> None:
        used.report(Progress(stage, live.n_tokens, most, "tokens"))
        stream.on_token(live)

    used.report(Progress("Reading the chat", 0, 0, "tokens"))
    begun = Begun(prompt, request.sampling, layers, request.recipe, on_token, stream.stopping)
    stream.end(used.grow(begun), request.begun)


def framed_request(used: Readout, request: ChatRequest) -> FramedChat:
    """The chat as far as where the model goes on: at the beginning of its turn, or within it.

    Raises:
        UserError: nothing is said, or an order of turns that the chat template refuses.
    """
    from readout_ui.inference.generation import frame_for_answer
    from readout_ui.models.prompt import FramedChat

    told = used.model.frame.thinking(request.thinking)
    opened = frame_for_answer(used.model, request.turns, request.system, told)
    if not request.begun:
        return opened
    system = [Turn("system", request.system.strip())] if request.system.strip() else []
    turns = [*system, *request.turns, Turn("assistant", request.begun)]
    whole = used.model.frame.frame_chat(turns, False, told)
    own = [i for i, role in enumerate(whole.roles) if role == TokenRole.ASSISTANT]
    stop = own[-1] + 1 if own else 0
    if stop <= len(opened.token_ids):
        raise UserError(
            "the chat template drops what the answer begins with",
            fix="regenerate the answer, or fork from a later word",
        )
    return FramedChat(whole.token_ids[:stop], whole.roles[:stop])
