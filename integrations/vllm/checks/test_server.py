"""The OpenAI server of vLLM with readouts: every route, streamed and whole, right and wrong."""

from __future__ import annotations

import json
import os
import pickle
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import MODEL, Starting
from parity import Reference

CHAT = {
    "model": MODEL,
    "messages": [{"role": "user", "content": "I am angry that they do not listen to me. " * 6}],
    "max_tokens": 12,
    "temperature": 0,
    "return_token_ids": True,
}
PLAIN = {
    "model": MODEL,
    "prompt": ["All of me is calm and slow", "I shout at the wall because nothing is fair"],
    "max_tokens": 7,
    "temperature": 0,
    "return_token_ids": True,
}


class Server:
    """A started server and the ways to ask it."""

    def __init__(self, url: str) -> None:
        self.url = url

    def send(self, path: str, body: dict[str, Any] | None = None) -> tuple[int, str]:
        """Status and body of a request."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            self.url + path, data, {"content-type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def answer(self, path: str, body: dict[str, Any], **asks: Any) -> Any:
        """A whole answer that must be right."""
        status, text = self.send(path, {**body, "vllm_xargs": asks} if asks else body)
        assert status == 200, text
        return json.loads(text)

    def chunks(self, path: str, body: dict[str, Any], **asks: Any) -> list[Any]:
        """The choices of a streamed answer, in order."""
        body = {**body, "stream": True, **({"vllm_xargs": asks} if asks else {})}
        status, text = self.send(path, body)
        assert status == 200, text
        lines = [line for line in text.splitlines() if line.startswith("data: {")]
        return [choice for line in lines for choice in json.loads(line[6:])["choices"]]


@pytest.fixture(scope="module")
def server(starting: Starting) -> Server:
    one = Server(f"http://127.0.0.1:{starting.port}")
    for _ in range(600):
        assert starting.process.is_alive(), starting.log.read_text()[-3000:]
        try:
            if one.send("/health")[0] == 200:
                return one
        except OSError:
            time.sleep(0.5)
    raise AssertionError("the server did not start in five minutes")


def joined(chunks: list[Any], key: str, index: int = 0) -> Any:
    """One list of what chunks of a choice carried under a key."""
    return [row for one in chunks if one["index"] == index for row in one.get(key, ())]


def test_the_manifest_is_the_exports(server: Server, served: Path) -> None:
    status, text = server.send("/v1/readout/manifest")
    assert status == 200
    assert json.loads(text) == json.loads((served / "export" / "readout.json").read_text())


def test_a_chat_carries_a_row_per_token_streamed_or_whole(
    server: Server, reference: Reference
) -> None:
    asks = {"readout": 1, "readout_prompt": 1, "readout_z": 1}
    whole = server.answer("/v1/chat/completions", CHAT, **asks)
    chunks = server.chunks("/v1/chat/completions", CHAT, **asks)
    choice = whole["choices"][0]
    prompt, new = whole["prompt_token_ids"], choice["token_ids"]
    for rows, of_prompt in (
        (choice["readout"], choice["readout_prompt"]),
        (joined(chunks, "readout"), joined(chunks, "readout_prompt")),
    ):
        difference = reference.difference(prompt, new, np.array(rows), np.array(of_prompt))
        assert difference <= 1e-5
    assert len(joined(chunks, "readout_z")) == len(new)
    assert np.array(choice["readout_prompt_z"]).shape == np.array(choice["readout_prompt"]).shape


def test_a_chunk_carries_as_many_rows_as_tokens(server: Server) -> None:
    for chunk in server.chunks("/v1/chat/completions", CHAT, readout=1):
        assert len(chunk.get("readout", ())) == len(chunk.get("token_ids") or ())


def test_a_request_that_does_not_ask_gets_vllms_own_answer(server: Server) -> None:
    whole = server.answer("/v1/chat/completions", CHAT)
    chunks = server.chunks("/v1/chat/completions", CHAT)
    for choice in (*whole["choices"], *chunks):
        assert not [key for key in choice if key.startswith("readout")]


def test_completions_of_several_prompts_keep_their_rows_apart(
    server: Server, reference: Reference
) -> None:
    asked = {**PLAIN, "n": 2, "temperature": 0.9, "seed": 3}
    whole = server.answer("/v1/completions", asked, readout=1)
    assert len(whole["choices"]) == 4
    for choice in whole["choices"]:
        rows = np.array(choice["readout"])
        difference = reference.difference(
            choice["prompt_token_ids"], choice["token_ids"], rows, None
        )
        assert difference <= 1e-5


def test_streamed_completions_are_the_whole_ones(server: Server) -> None:
    whole = server.answer("/v1/completions", PLAIN, readout=1)
    chunks = server.chunks("/v1/completions", PLAIN, readout=1)
    for choice in whole["choices"]:
        streamed = np.array(joined(chunks, "readout", choice["index"]))
        np.testing.assert_allclose(streamed, np.array(choice["readout"]), rtol=1e-3, atol=1e-4)


def test_aggregates_come_in_the_last_chunk_without_rows(server: Server) -> None:
    asks = {"readout_summary": ["mean", "max", "last"], "readout_top": 2}
    rows = np.array(server.answer("/v1/chat/completions", CHAT, readout=1)["choices"][0]["readout"])
    chunks = server.chunks("/v1/chat/completions", CHAT, **asks)
    assert not joined(chunks, "readout")
    summary = chunks[-1]["readout_summary"]
    np.testing.assert_allclose(summary["mean"], rows.mean(axis=0), rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(summary["max"], rows.max(axis=0), rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(summary["last"], rows[-1], rtol=1e-3, atol=1e-3)
    assert len(chunks[-1]["readout_top"]) == 2


def test_a_watched_concept_ends_the_answer_at_its_token(server: Server) -> None:
    asks = {"readout": 1, "readout_z": 1, "readout_watch": "all", "readout_false_positives": 0.49}
    free = server.answer("/v1/chat/completions", CHAT, **asks)["choices"][0]
    assert free["readout_fired"], "at half of all tokens some concept must fire"
    first = free["readout_fired"][0]
    stopped = server.answer("/v1/chat/completions", CHAT, **asks, readout_stop=1)["choices"][0]
    assert stopped["finish_reason"] == "stop"
    assert stopped["stop_reason"] == f"readout:{first['concept']}"
    assert len(stopped["readout"]) == len(stopped["token_ids"]) == first["token"] + 1
    assert stopped["token_ids"] == free["token_ids"][: first["token"] + 1]


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions"])
def test_a_wrong_wish_is_refused_in_a_sentence(server: Server, path: str) -> None:
    body = {**(CHAT if "chat" in path else PLAIN), "vllm_xargs": {"readout_promt": 1}}
    status, text = server.send(path, body)
    assert status == 400
    assert "readout_promt is unknown" in text


def test_concurrent_clients_and_one_that_leaves(server: Server, reference: Reference) -> None:
    answers: dict[int, Any] = {}

    def ask(place: int) -> None:
        body = {
            **CHAT,
            "max_tokens": 6 + place,
            "messages": [
                {"role": "user", "content": f"Number {place}: how do you feel? " * (place + 1)}
            ],
        }
        answers[place] = server.answer("/v1/chat/completions", body, readout=1, readout_prompt=1)

    leaving = socket.create_connection(("127.0.0.1", int(server.url.rsplit(":", 1)[1])))
    body = json.dumps({**CHAT, "max_tokens": 200, "ignore_eos": True, "vllm_xargs": {"readout": 1}})
    leaving.sendall(
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n{body}".encode()
    )
    threads = [threading.Thread(target=ask, args=(place,)) for place in range(6)]
    for thread in threads:
        thread.start()
    leaving.close()
    for thread in threads:
        thread.join()
    for answer in answers.values():
        choice = answer["choices"][0]
        difference = reference.difference(
            answer["prompt_token_ids"],
            choice["token_ids"],
            np.array(choice["readout"]),
            np.array(choice["readout_prompt"]),
        )
        assert difference <= 1e-5
    assert len(answers) == 6


def test_prometheus_has_a_histogram_per_concept(server: Server) -> None:
    server.answer("/v1/chat/completions", CHAT, readout=1)
    status, text = server.send("/metrics")
    assert status == 200
    counts = [line for line in text.splitlines() if line.startswith("readout_z_scores_count")]
    assert any('concept="calm"' in line and not line.endswith(" 0.0") for line in counts), text
    assert "readout_fired_total" in text


def test_the_app_reads_through_vllm(
    server: Server, reference: Reference, served: Path, tmp_path: Path
) -> None:
    """The project's own Python is named by READOUT_PYTHON: vLLM's venv has no app."""
    script, output = Path(__file__).with_name("through_server.py"), tmp_path / "found"
    places = [served / "model", tmp_path / "runs", output]
    command = [os.environ["READOUT_PYTHON"], script, server.url, *places]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    found = pickle.loads(output.read_bytes())
    assert set(found) == {"assistant", "user", "raw", "chat", "answer"}
    for token_ids, raw, z in found.values():
        expected = reference.rows(token_ids)
        np.testing.assert_allclose(raw, expected, rtol=0, atol=1e-4 * np.abs(expected).max())
        expected = reference.z_scores(expected)
        np.testing.assert_allclose(z, expected, rtol=0, atol=1e-4 * np.abs(expected).max())
