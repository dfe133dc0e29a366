"""What a client of the server may ask for: the part of OpenAI's chat completions that is served."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from readout_ui.errors import UserError
from readout_ui.frames import Turn
from readout_ui.sampling import Sampling

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
