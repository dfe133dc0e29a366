"""A server of a model with vectors, as a client asks it: ours, or vLLM with our plugin."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import ValidationError

from readout_ui.errors import UserError, printable
from readout_ui.inference.reading import FloatArray
from readout_ui.runs.manifest import Manifest

if TYPE_CHECKING:
    import httpx

_SECONDS = 300.0
"""A server may have others before us."""
_ROWS = {"readout": 1, "readout_prompt": 1, "readout_z": 1}


@dataclass(frozen=True)
class Server:
    """A server that speaks OpenAI's dialect and has a manifest of ours."""

    url: str
    """Without a path, e.g. http://127.0.0.1:8000."""
    key: str = field(default="", repr=False)

    @classmethod
    def at(cls, url: str, key: str = "") -> Server:
        """From an address as people write it.

        Raises:
            UserError: it is none.
        """
        if not url.startswith(("http://", "https://")):
            raise UserError("this is no address of a server", where=printable(url), fix="write URL")
        return cls(url.rstrip("/").removesuffix("/v1"), key)

    def manifest(self) -> Manifest:
        """What the vectors there are.

        Raises:
            UserError: the server does not answer, has no vectors, or vectors without calibration.
        """
        try:
            found = Manifest.model_validate(self._said("readout/manifest"))
        except ValidationError:
            raise self.error("its manifest lacks what a reading needs", "serve an export") from None
        if not found.calibrated:
            raise self.error("its vectors have no calibration", "serve an export")
        return found

    @cached_property
    def model(self) -> tuple[str, bool]:
        """What requests call the model, and whether the server is our own."""
        first = _at(self._said("models"), "data", 0)
        name = _at(first, "id")
        if not isinstance(name, str):
            raise self.error("it lists no model", "name a server of a language model")
        return name, _at(first, "owned_by") == "readout-ui"

    def rows(self, token_ids: Sequence[int], recipe: str = "") -> tuple[FloatArray, FloatArray]:
        """Raw scores and z of every token, (n_tokens, n_layers, n_concepts) each.

        Args:
            token_ids: the whole text.
            recipe: what steers the model meanwhile, empty for nothing.
        """
        body: dict[str, Any] = {"prompt": list(token_ids), "max_tokens": 1, "temperature": 0}
        body |= {"steer": recipe} if recipe else {}
        choice = _at(self._said("completions", self._asking(body)), "choices", 0)
        raw, z = (
            self._array(
                [
                    *rows_named(choice, f"readout_prompt{name}"),
                    *rows_named(choice, f"readout{name}"),
                ]
            )
            for name in ("", "_z")
        )
        if not len(raw) == len(z) == len(token_ids):
            raise self.error(f"it sent {len(raw)} rows for {len(token_ids)} tokens")
        return raw, z

    def growing(self, body: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        """The choices of a streamed answer to token ids, one after another."""
        asked = self._asking({**body, "stream": True, "return_token_ids": True})
        for line in self._lines("completions", asked):
            data = line.removeprefix("data:").strip()
            if not data.startswith("{"):
                continue  # a blank line, a comment, or [DONE]
            said = self._json(data)
            if "error" in said:
                raise self.error(f"it says: {printable(str(_at(said, 'error', 'message')))}")
            yield from rows_named(said, "choices")

    def error(self, what: str, fix: str = "look at the server's own output") -> UserError:
        """What to raise of it."""
        return UserError(what, where=self.url, fix=fix)

    def array(self, choice: Mapping[str, Any], name: str) -> FloatArray:
        """The rows of that name in a choice, (n, n_layers, n_concepts), or none of any shape."""
        return self._array(rows_named(choice, name))

    def _array(self, rows: list[Any]) -> FloatArray:
        try:
            return np.array(rows, np.float32)
        except (TypeError, ValueError):
            raise self.error("it sent rows of different shapes") from None

    def _asking(self, body: Mapping[str, Any]) -> dict[str, Any]:
        return {"model": self.model[0], **body, "vllm_xargs": _ROWS}

    def _said(self, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        return self._json("".join(self._lines(path, body)))

    def _json(self, text: str) -> dict[str, Any]:
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise self.error("it answers something else than JSON", "name the server's address")
        return found

    def _lines(self, path: str, body: Mapping[str, Any] | None) -> Iterator[str]:
        """The lines of an answer as they come; redirects would take the key elsewhere."""
        import httpx

        headers = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        method, url = "GET" if body is None else "POST", f"{self.url}/v1/{path}"
        try:
            with (
                httpx.Client(timeout=_SECONDS, follow_redirects=False) as client,
                client.stream(method, url, headers=headers, json=body) as answer,
            ):
                if answer.status_code != httpx.codes.OK:
                    raise self._refused(answer, path)
                yield from answer.iter_lines()
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            reason = printable(str(error)) or type(error).__name__
            fix = "check the address and that the server runs"
            raise UserError(f"it does not answer ({reason})", where=self.url, fix=fix) from None

    def _refused(self, answer: httpx.Response, path: str) -> UserError:
        if answer.status_code in (401, 403):
            return self.error("it wants another key", "set READOUT_SERVER_KEY")
        if answer.status_code == 404 and path == "readout/manifest":
            fix = "serve with `readout-ui serve --vectors`, or vLLM with our plugin"
            return self.error("it has no vectors to read with", fix)
        said = " ".join(answer.read()[:400].decode("utf-8", "replace").split())
        return self.error(f"it answers {answer.status_code}: {said}"[:500])


def _at(value: Any, *path: str | int) -> Any:
    """What lies there in a server's JSON, None where it does not."""
    for step in path:
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError):
            return None
    return value


def rows_named(choice: Any, name: str) -> list[Any]:
    """A list in a choice; empty where it has none of that name."""
    found = _at(choice, name)
    return found if isinstance(found, list) else []
