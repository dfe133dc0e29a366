"""The chats of the Live tab: each page's answer, one at a time on the device."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from readout_ui.chat_templates import Turn
from readout_ui.jobs import Job, JobState, JobView, Worker
from readout_ui.live_layers import live_layers
from readout_ui.progress import Cancelled, Progress
from readout_ui.sampling import Sampling
from readout_ui.speech import Speech

if TYPE_CHECKING:
    from readout_ui.in_use import InUse
    from readout_ui.studio import Studio

KEPT_CHATS = 24
"""Chats whose newest answer is kept for a page that is reloaded."""


@dataclass(frozen=True)
class Wish:
    """What a page wants answered."""

    turns: tuple[Turn, ...]
    """The chat so far, a user's turn last."""
    system: str
    """System prompt; empty for none."""
    sampling: Sampling
    """How tokens are chosen."""


@dataclass(frozen=True, eq=False)
class Asked:
    """One wish on its way through the queue."""

    number: int
    """Counts up within a chat, so that a page knows whose news it gets."""
    speech: Speech
    """What was said so far."""
    job: Job[None]
    """Where it stands."""

    def stop(self) -> None:
        """End it: at the next token, or before it began."""
        self.speech.stop()
        if self.job.view().state is JobState.WAITING:
            self.job.cancel()


class LiveChats:
    """The newest answer of every chat, by the chat's own secret id. Safe from any thread."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._lock = threading.Lock()
        self._asked: OrderedDict[str, Asked] = OrderedDict()

    def ask(self, chat: str, wish: Wish) -> Asked:
        """Queue an answer; one of the same chat that still goes on is stopped first."""
        earlier = self.newest(chat)
        if earlier is not None:
            earlier.stop()
        speech = Speech()
        job = self._studio.on_device(
            "live", "Answering in a chat", lambda used: answer(used, wish, speech)
        )
        asked = Asked(earlier.number + 1 if earlier else 1, speech, job)
        with self._lock:
            self._asked[chat] = asked
            self._asked.move_to_end(chat)
            while len(self._asked) > KEPT_CHATS:
                self._asked.popitem(last=False)[1].stop()
        return asked

    def newest(self, chat: str) -> Asked | None:
        """The newest answer of a chat, finished or not."""
        with self._lock:
            return self._asked.get(chat)

    def stop(self, chat: str) -> None:
        """End the answer that a chat waits for or gets."""
        asked = self.newest(chat)
        if asked is not None:
            asked.stop()


def answer(used: InUse, wish: Wish, speech: Speech) -> None:
    """Let the model answer, on the device's thread."""
    from readout_ui.generation import Live, frame_for_answer, generate

    if speech.stopping():
        raise Cancelled
    prompt = frame_for_answer(used.model, wish.turns, wish.system)
    layers = live_layers(used.vectors.layers, used.run.best_layer)
    speech.begin(used, prompt, layers)
    most = wish.sampling.max_new_tokens

    def hear(live: Live) -> None:
        used.report(Progress("Answering in a chat", live.n_tokens, most, "tokens"))
        speech.hear(live)

    used.report(Progress("Reading the chat", 0, 0, "tokens"))
    speech.end(
        generate(
            used.model,
            prompt,
            wish.sampling,
            vectors=used.vectors.select(layers=layers),
            layer_type=used.layer_type,
            layer_config=used.layer_config,
            on_text=hear,
            stop=speech.stopping,
        )
    )


def jobs_before(worker: Worker, job: JobView) -> tuple[str, ...]:
    """Titles of what the device does before it comes to a waiting job, in order."""
    if job.state is not JobState.WAITING:
        return ()
    return tuple(other.title for other in worker.unfinished() if other.number < job.number)
