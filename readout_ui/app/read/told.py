"""A chat as a page sends it: who it is, what was said, and how the model goes on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Literal

from pydantic import Field

from readout_ui.app.read.chats import ChatRequest
from readout_ui.app.requests import Request
from readout_ui.inference.sampling import Sampling
from readout_ui.models.chat_template import Turn

MOST_TURNS, LONGEST_TURN, LONGEST_RECIPE = 2_000, 1_000_000, 20_000


class Chat(Request):
    """Which chat: a secret that the page made up."""

    chat: str = Field(pattern=r"^[0-9a-f]{32}$")


class Said(Request):
    """One turn."""

    role: Literal["user", "assistant"]
    text: str = Field(max_length=LONGEST_TURN)


class Told(Request):
    """A chat as far as the model's turn, and how it goes on."""

    turns: list[Said] = Field(max_length=MOST_TURNS)
    system: str = Field(default="", max_length=LONGEST_TURN)
    sampling: dict[str, float | int | None] = Field(default_factory=dict)
    thinking: bool | None = None
    recipe: str = Field(default="", max_length=LONGEST_RECIPE)
    begun: str = Field(default="", max_length=LONGEST_TURN)

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
