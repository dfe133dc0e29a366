"""What a client of the server may ask for: the part of OpenAI's dialect that is served.

What cannot be done is refused by name; what changes nothing (defaults, nulls, a client's own notes)
is taken.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from typing import Annotated, Any, Literal, NoReturn, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
)

from readout_ui.errors import UserError, printable
from readout_ui.inference.sampling import Sampling
from readout_ui.models.chat_template import Turn

DEFAULT_NEW_TOKENS = {"chat": 1024, "text": 16}
MOST_ANSWERS = 16
"""Of one request: prompts times `n`."""
MOST_STOPS = 16
MOST_TURNS = 10_000
"""More are framed for seconds, and no context window holds them."""
NOTES = (
    *("user", "metadata", "safety_identifier", "prompt_cache_key", "prompt_cache_retention"),
    *("name", "parallel_tool_calls"),
)
"""Taken whatever they say: they are about the client, not about the answer."""
HARMLESS: dict[str, tuple[Any, ...]] = {
    "add_generation_prompt": (True,),
    "annotations": ([],),
    "best_of": (1,),
    "echo": (False,),
    "function_call": ("none", "auto"),
    "functions": ([],),
    "ignore_eos": (False,),
    "length_penalty": (1,),
    "logit_bias": ({},),
    "min_tokens": (0,),
    "modalities": (["text"],),
    "reasoning_effort": ("none",),
    "response_format": ({"type": "text"},),
    "service_tier": ("auto", "default"),
    "skip_special_tokens": (True,),
    "store": (False,),
    "suffix": ("",),
    "tool_calls": ([],),
    "tool_choice": ("none", "auto"),
    "tools": ([],),
    "use_beam_search": (False,),
    "verbosity": ("medium",),
}
"""Values that ask for what happens anyway."""
Model = TypeVar("Model", bound=BaseModel)


def parse_body(raw: bytes, content_type: str, kind: type[Model]) -> Model:
    """The request of a body.

    Raises:
        UserError: it is not JSON, or not what this request takes.
    """
    if content_type.partition(";")[0].strip().lower() != "application/json":
        raise UserError("the body is not marked as JSON", fix="send Content-Type: application/json")
    try:
        value = json.loads(raw, parse_constant=_no_number)
    except RecursionError:
        raise UserError("the body is nested too deeply") from None
    except ValueError as error:
        raise UserError(f"the body is not JSON ({error})") from None
    if not isinstance(value, dict):
        raise UserError("the body is not a JSON object")
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        raise _refusal(error) from None


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def _refusal(error: ValidationError) -> UserError:
    first = error.errors(include_url=False, include_context=False)[0]
    place = printable(".".join(str(part) for part in first["loc"]))
    message = str(first["msg"]).removeprefix("Value error, ")
    return UserError(f"{place}: {message[0].lower()}{message[1:]}" if place else message)


def refuse_unserved(asked: Mapping[str, Any]) -> None:
    """Raise a UserError that names what would silently do nothing."""
    for name, value in asked.items():
        if value is None or name in NOTES or value in HARMLESS.get(name, ()):
            continue
        if name in ("tools", "functions") and _no_tools(asked):
            continue
        if name == "logit_bias" and isinstance(value, dict) and not any(value.values()):
            continue
        raise UserError(f"{printable(name)} is not served", fix=f"leave {printable(name)} out")


def _no_tools(asked: Mapping[str, Any]) -> bool:
    return "none" in (asked.get("tool_choice"), asked.get("function_call"))


def _content(value: Any) -> str:
    """The text of a message: a text, or parts that are texts."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if not isinstance(value, list):
        raise ValueError("write a text")
    return "".join(_part(part) for part in value)


def _part(part: Any) -> str:
    if not isinstance(part, dict) or part.get("type") != "text":
        kind = part.get("type") if isinstance(part, dict) else part
        raise ValueError(f"a part is {printable(str(kind))!r}, only text is served")
    if not isinstance(part.get("text"), str):
        raise ValueError("a part has no text")
    return str(part["text"])


def _stops(value: Any) -> Any:
    return [value] if isinstance(value, str) else [] if value is None else value


def _some(value: list[str]) -> list[str]:
    if "" in value:
        raise ValueError("an empty text would stop every answer at once")
    return value


class Message(BaseModel):
    """One turn of the chat."""

    model_config = ConfigDict(extra="allow")

    role: Literal["system", "developer", "user", "assistant"]
    content: Annotated[str, BeforeValidator(_content)] = ""

    def turn(self) -> Turn:
        """The turn as the prompt frame takes it.

        Raises:
            UserError: it holds what is not served, or a person says nothing at all.
        """
        refuse_unserved(self.model_extra or {})
        if self.role != "assistant" and "content" not in self.model_fields_set:
            raise UserError(f"a {self.role} message has no content")
        return Turn("system" if self.role == "developer" else self.role, self.content)


class StreamOptions(BaseModel):
    """How a stream is sent."""

    include_usage: bool | None = None


class RowsAsked(BaseModel):
    """Which rows of scores an answer carries, in the words of our plugin for vLLM."""

    model_config = ConfigDict(extra="forbid")

    readout: bool = False
    """Of the generated tokens."""
    readout_prompt: bool = False
    """Of the prompt's tokens but the last, whose row is that of the first generated token."""
    readout_z: bool = False
    """Standard deviations from neutral tokens beside the raw scores."""


class Common(BaseModel):
    """What both kinds of requests may say."""

    model_config = ConfigDict(extra="allow")

    model: str
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    max_tokens: int | None = None
    seed: int | None = None
    n: int | None = None
    stop: Annotated[
        list[str],
        BeforeValidator(_stops),
        Field(max_length=MOST_STOPS),
        AfterValidator(_some),
    ] = []
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    vllm_xargs: RowsAsked | None = None
    return_token_ids: bool | None = None
    steer: str | None = None
    """A recipe, e.g. "0.4 calm + -0.2 angry @generated"."""

    def checked_sampling(self, max_new_tokens: int) -> Sampling:
        """How tokens are chosen; what is not given is as with OpenAI.

        Raises:
            UserError: a number out of range, or something that is not served.
        """
        refuse_unserved(self.model_extra or {})
        # Without a seed every answer is a new one.
        seed = secrets.randbits(62) if self.seed is None else self.seed % 2**63
        return Sampling(
            temperature=_or(self.temperature, 1.0),
            top_p=_or(self.top_p, 1.0),
            top_k=max(0, self.top_k) if self.top_k == -1 else int(_or(self.top_k, 0)),
            min_p=_or(self.min_p, 0.0),
            repetition_penalty=_or(self.repetition_penalty, 1.0),
            presence_penalty=_or(self.presence_penalty, 0.0),
            frequency_penalty=_or(self.frequency_penalty, 0.0),
            max_new_tokens=max_new_tokens,
            seed=seed,
        )

    def copies(self, n_prompts: int) -> int:
        """How many answers each prompt gets.

        Raises:
            UserError: none, or too many at once.
        """
        n = 1 if self.n is None else self.n
        if n < 1 or n * n_prompts > MOST_ANSWERS:
            raise UserError(
                f"{n} answers to {n_prompts} prompts are asked for",
                fix=f"ask for 1 to {MOST_ANSWERS} answers in all",
            )
        return n

    @property
    def with_usage(self) -> bool:
        """Whether the stream ends with a chunk that counts tokens."""
        return bool(self.stream_options and self.stream_options.include_usage)


class ChatRequest(Common):
    """The body of POST /v1/chat/completions."""

    messages: list[Message] = Field(min_length=1, max_length=MOST_TURNS)
    max_completion_tokens: int | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = Field(default=None, ge=0, le=20)
    chat_template_kwargs: dict[str, Any] | None = None

    def sampling(self) -> Sampling:
        """How tokens are chosen."""
        limits = (self.max_completion_tokens, self.max_tokens, DEFAULT_NEW_TOKENS["chat"])
        return self.checked_sampling(next(limit for limit in limits if limit is not None))

    def n_likeliest(self) -> int | None:
        """How many tokens are named at each place; None where no probability is asked for."""
        if self.top_logprobs and not self.logprobs:
            raise UserError("top_logprobs needs logprobs", fix='send "logprobs": true')
        return (self.top_logprobs or 0) if self.logprobs else None


class TextRequest(Common):
    """The body of POST /v1/completions."""

    prompt: str | list[str] | list[int] | list[list[int]]
    logprobs: int | None = Field(default=None, ge=0, le=20)

    def sampling(self) -> Sampling:
        """How tokens are chosen."""
        return self.checked_sampling(int(_or(self.max_tokens, DEFAULT_NEW_TOKENS["text"])))

    def n_likeliest(self) -> int | None:
        """How many tokens are named at each place; None where no probability is asked for."""
        return self.logprobs

    def prompts(self) -> list[str | list[int]]:
        """Every prompt, a text or token ids."""
        given: Any = self.prompt
        one = isinstance(given, str) or bool(given and isinstance(given[0], int))
        return [given] if one else list(given)


def _or(value: float | None, usual: float) -> float:
    return usual if value is None else value
