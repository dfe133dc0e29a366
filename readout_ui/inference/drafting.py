"""Drafts by a language model: the loaded one, or one behind an OpenAI-compatible endpoint."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from readout_ui.errors import UserError, printable
from readout_ui.progress import Progress, Report
from readout_ui.texts.drafts import Draft, DraftRequest, checked, parse_answer
from readout_ui.texts.words import words_of

if TYPE_CHECKING:
    from readout_ui.inference.decoding import Live
    from readout_ui.models.loading import LoadedModel

PER_CALL = 4
"""Texts asked for at once: small models lose count of more."""
_TOKENS_PER_TEXT = 90
_TEMPERATURE = 0.9
_MOST_CHARACTERS = 200_000
"""Of one answer."""
_SECONDS = 60.0
"""Without a sign from the endpoint."""
KEY_VARIABLE = "OPENAI_API_KEY"


@dataclass(frozen=True)
class Drafts:
    """What was drafted, with real counts."""

    drafts: tuple[Draft, ...]
    writer: str
    """The model that wrote them."""
    asked: int
    n_calls: int
    n_dropped: int
    """Texts of its answers that said again what was there."""

    def summary(self) -> str:
        """How many came of how many, in a sentence."""
        dropped = f", {self.n_dropped} said the same again" if self.n_dropped else ""
        return (
            f"{self.writer} wrote {len(self.drafts)} of {self.asked} texts in {self.n_calls} "
            f"answers{dropped}."
        )


@dataclass(frozen=True)
class Endpoint:
    """A model that answers `POST {url}/chat/completions` as OpenAI's does."""

    url: str
    """Such as http://127.0.0.1:8000/v1."""
    model: str = ""
    """Its name there; empty: the first that the endpoint lists."""
    key_variable: str = KEY_VARIABLE
    """Environment variable that holds the key; where it is not set, none is sent."""

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
            fix = "name one as http://127.0.0.1:8000/v1, its key in an environment variable"
            raise UserError("this is no endpoint", where=printable(self.url), fix=fix)


Ask = Callable[[str, int, int, Callable[[], None]], str]
"""Instruction, number of texts, seed, what is called at every sign of life -> the answer."""


def draft(writer: LoadedModel | Endpoint, request: DraftRequest, report: Report) -> Drafts:
    """Ask until there are as many texts as were asked for, or enough answers were in vain.

    Args:
        writer: the loaded model or an endpoint; nothing is sent anywhere but to that endpoint.
        request: what to draft, in whose style.
        report: told after every token or piece of an answer; it may raise Cancelled.

    Raises:
        UserError: the endpoint does not answer, or refuses.
    """
    if isinstance(writer, Endpoint):
        name, ask = _at_endpoint(writer)
    else:
        name, ask = writer.name, _with_model(writer)
    seen = {words_of(text) for some in request.library.texts().values() for text in some}
    found: list[Draft] = []
    n_calls = n_dropped = 0
    most_calls = 2 + 2 * -(-request.count // PER_CALL)

    def alive() -> None:
        report(Progress("Drafting", len(found), request.count))

    while len(found) < request.count and n_calls < most_calls:
        alive()
        n = min(PER_CALL, request.count - len(found))
        answer = ask(request.instruction(n), n, n_calls, alive)
        n_calls += 1
        for each in parse_answer(answer, request.kind):
            if words_of(each.text) in seen:
                n_dropped += 1
            elif len(found) < request.count:
                seen.add(words_of(each.text))
                found.append(each)
    alive()
    return Drafts(checked(request, found), name, request.count, n_calls, n_dropped)


def _with_model(model: LoadedModel) -> Ask:
    from readout_ui.inference.generation import frame_for_answer, generate
    from readout_ui.inference.sampling import Sampling
    from readout_ui.models.chat_template import Turn

    def ask(instruction: str, n: int, seed: int, alive: Callable[[], None]) -> str:
        prompt = frame_for_answer(model, [Turn("user", instruction)])
        length = n * _TOKENS_PER_TEXT
        sampling = Sampling(temperature=_TEMPERATURE, max_new_tokens=length, seed=seed)

        def on_text(_live: Live) -> None:
            alive()

        return generate(model, prompt, sampling, on_text=on_text).text

    return ask


def _at_endpoint(endpoint: Endpoint) -> tuple[str, Ask]:
    """The model's name there, and how it is asked."""
    url = endpoint.url.rstrip("/").removesuffix("/chat/completions")
    key = os.environ.get(endpoint.key_variable, "")
    headers = {"authorization": f"Bearer {key}"} if key else {}
    name = endpoint.model or _first_model(url, headers)

    def ask(instruction: str, n: int, seed: int, alive: Callable[[], None]) -> str:
        body = {
            "model": name,
            "messages": [{"role": "user", "content": instruction}],
            "temperature": _TEMPERATURE,
            "max_tokens": n * _TOKENS_PER_TEXT,
            "seed": seed,
            "stream": True,
        }
        answer = ""
        for line in _lines(f"{url}/chat/completions", headers, body):
            alive()
            answer += _piece(line, url)
            if len(answer) > _MOST_CHARACTERS:
                break
        return answer

    return name, ask


def _first_model(url: str, headers: Mapping[str, str]) -> str:
    try:
        listed = json.loads("".join(_lines(f"{url}/models", headers, None)))
        return str(listed["data"][0]["id"])
    except (ValueError, KeyError, IndexError, TypeError, RecursionError):
        fix = "name one with --endpoint-model"
        raise UserError("the endpoint lists no model", where=url, fix=fix) from None


def _lines(url: str, headers: Mapping[str, str], body: Mapping[str, Any] | None) -> Iterator[str]:
    """The lines of an answer as they come; redirects are not followed, they would take the key."""
    import httpx

    method = "GET" if body is None else "POST"
    try:
        with (
            httpx.Client(timeout=_SECONDS, follow_redirects=False) as client,
            client.stream(method, url, headers=dict(headers), json=body) as answer,
        ):
            if answer.status_code != httpx.codes.OK:
                said = " ".join(answer.read()[:300].decode("utf-8", "replace").split())
                status = f"the endpoint answers {answer.status_code}"
                raise UserError(f"{status}: {printable(said)}" if said else status, where=url)
            if "json" in answer.headers.get("content-type", ""):  # it does not stream
                yield " ".join(answer.read().decode("utf-8", "replace").splitlines())
            else:
                yield from answer.iter_lines()
    except httpx.HTTPError as error:
        reason = printable(str(error)) or type(error).__name__
        fix = "check the address and that its server runs"
        raise UserError(f"the endpoint does not answer ({reason})", where=url, fix=fix) from None


def _piece(line: str, url: str) -> str:
    """The text in one line: of a stream, or of an answer that came as a whole."""
    data = line.removeprefix("data:").strip()
    if not data.startswith("{"):
        return ""  # a blank line, a comment, or [DONE]
    try:
        value = cast("dict[str, Any]", json.loads(data))
        if "error" in value:
            said = printable(str(value["error"]))[:300]
            raise UserError(f"the endpoint reports: {said}", where=url)
        choice = value["choices"][0] if value.get("choices") else {}
        return str((choice.get("delta") or choice.get("message") or {}).get("content") or "")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise UserError("the endpoint answers something else than chats", where=url) from None
