"""The server, asked by the official openai client over a real connection."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import openai
import pytest
import torch

from readout_ui.app.session import Studio
from readout_ui.inference.answers import Growing, Piece, Service
from readout_ui.inference.forward import read_chat
from readout_ui.inference.gate import Hosts
from readout_ui.inference.server import Queue, build_server
from readout_ui.models.chat_template import Turn
from readout_ui.models.loading import LoadedModel, ModelSpec, load_model
from readout_ui.models.prompt import frame_for
from readout_ui.runs.run import Run
from tests.support.architectures import CHATML, tiny_tokenizer
from tests.support.running_app import serving

ASK: list[Any] = [{"role": "user", "content": "I feel calm. What do you feel?"}]
HOSTS = Hosts("127.0.0.1")


@pytest.fixture(scope="module")
def model(tiny_folder: Path) -> LoadedModel:
    return load_model(ModelSpec(str(tiny_folder), device="cpu", dtype="fp32"))


@pytest.fixture
def run(studio: Studio, tmp_path: Path) -> Run:
    studio.load_model()
    studio.start_training().result()
    return Run.open(studio.export([], [1, 2], tmp_path / "out"))


@pytest.fixture(scope="module")
def plain(model: LoadedModel) -> Iterator[tuple[Service, str]]:
    """A service without vectors."""
    service = Service(model, None)
    with serving(build_server(service, HOSTS, most_waiting=2)) as url:
        yield service, f"{url}v1"


@pytest.fixture
def service(plain: tuple[Service, str]) -> Service:
    return plain[0]


@pytest.fixture
def url(plain: tuple[Service, str]) -> str:
    return plain[1]


@pytest.fixture
def client(url: str) -> Any:
    return openai.OpenAI(base_url=url, api_key="none", max_retries=0)


@pytest.fixture
def ask(client: Any, service: Service) -> Callable[..., Any]:
    """A chat of the client's, short and greedy where nothing else is said."""

    def create(**asked: Any) -> Any:
        usual = {"model": service.model.name, "messages": ASK, "max_tokens": 6, "temperature": 0}
        return client.chat.completions.create(**{**usual, **asked})

    return create


def post(url: str, body: Any, path: str = "chat/completions", **headers: str) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    given = {"content-type": "application/json", **headers}
    return httpx.post(f"{url}/{path}", content=content, headers=given, timeout=60)


# Readouts


def test_streamed_chunks_carry_the_scores_of_every_token(run: Run, model: LoadedModel) -> None:
    with serving(build_server(Service(model, run), HOSTS)) as url:
        client: Any = openai.OpenAI(base_url=f"{url}v1", api_key="none", max_retries=0)
        asked = {"model": model.name, "messages": ASK, "max_tokens": 6, "temperature": 0}
        chunks = list(client.chat.completions.create(**asked, stream=True))
        whole = client.chat.completions.create(**asked)
        two = client.chat.completions.create(**asked, n=2)
        manifest = httpx.get(f"{url}v1/readout/manifest").json()
    readouts = [chunk.readout for chunk in chunks if hasattr(chunk, "readout")]
    vectors = run.vectors
    assert len(readouts) == chunks[-1].usage.completion_tokens
    assert np.shape(readouts[0]["scores"]) == (len(vectors.layers), len(vectors.concepts))
    assert chunks[-1].choices[0].finish_reason in ("length", "stop")
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert text == whole.choices[0].message.content
    assert whole.readout["scores"] == [one["scores"] for one in readouts]
    for choice in two.choices:
        assert np.allclose(choice.readout["scores"], whole.readout["scores"], atol=1e-4)
    prompt = model.frame.frame_chat([Turn("user", ASK[0]["content"])], True)
    offline = read_chat(model, run.vectors, prompt)
    assert whole.readout["position"][0] == len(prompt.token_ids) - 1
    assert np.allclose(whole.readout["scores"][0], offline.raw[-1], rtol=1e-3, atol=1e-4)
    assert np.allclose(whole.readout["z"][0], offline.z[-1], rtol=1e-3, atol=1e-3)
    assert manifest["concepts"] == list(run.manifest.concepts)


def test_a_recipe_steers_one_answer_and_no_other(run: Run, model: LoadedModel) -> None:
    name = run.concepts[0]
    with serving(build_server(Service(model, run), HOSTS)) as url:
        at, body = f"{url}v1", {"model": model.name, "messages": ASK, "max_tokens": 6}

        def ask(**more: Any) -> Any:
            return post(at, {**body, "temperature": 0, **more}).json()

        plain, off = ask(), ask(steer=f"0 {name}")
        steered, again = ask(steer=f"30 {name} @generated"), ask()
        wrong = post(at, {**body, "steer": "30 wrath"})
    texts = [one["choices"][0]["message"]["content"] for one in (plain, off, steered, again)]
    assert texts[0] == texts[1] == texts[3] != texts[2]
    assert wrong.status_code == 400
    assert "recipe, character 4: concept wrath" in wrong.json()["error"]["message"]


def test_without_vectors_there_is_nothing_to_steer_with(url: str, service: Service) -> None:
    refused = post(url, {"model": service.model.name, "messages": ASK, "steer": "1 calm"})
    assert refused.status_code == 400
    assert "steer needs vectors" in refused.json()["error"]["message"]


def test_without_vectors_there_is_no_manifest(url: str, ask: Callable[..., Any]) -> None:
    missing = httpx.get(f"{url}/readout/manifest")
    assert missing.status_code == 404
    assert "--vectors" in missing.json()["error"]["message"]
    assert not hasattr(ask(max_tokens=2), "readout")


# OpenAI's dialect


def test_models_are_listed_and_looked_up(client: Any, service: Service) -> None:
    name = service.model.name
    assert [one.id for one in client.models.list()] == [name]
    assert client.models.retrieve(name).id == name
    with pytest.raises(openai.NotFoundError, match="there is no model 'x/y'"):
        client.models.retrieve("x/y")


HARMLESS: list[dict[str, Any]] = [
    {"stream": None, "stop": None, "n": None, "seed": None, "tools": None, "logprobs": None},
    {"n": 1, "user": "u-1", "metadata": {"a": "b"}, "store": False, "tools": [], "logit_bias": {}},
    {"response_format": {"type": "text"}, "service_tier": "auto", "modalities": ["text"]},
    {"tools": [{"type": "function", "function": {"name": "f"}}], "tool_choice": "none"},
    {"logprobs": False, "top_logprobs": 0, "frequency_penalty": 0, "presence_penalty": 0.0},
    {"top_k": -1, "min_p": 0, "repetition_penalty": 1, "parallel_tool_calls": True},
    {"stream_options": {"include_usage": True}, "verbosity": "medium", "logit_bias": {"5": 0}},
    {"messages": [{"role": "user", "content": "Hi.", "name": "ann"}]},
    {"messages": [*ASK, {"role": "assistant", "content": None}, *ASK]},
    {"messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]},
    {"messages": [{"role": "developer", "content": "Be brief."}, *ASK]},
]


@pytest.mark.parametrize("given", HARMLESS, ids=",".join)
def test_defaults_nulls_and_notes_change_nothing(
    url: str, service: Service, given: dict[str, Any]
) -> None:
    asked = {"model": service.model.name, "messages": ASK, "max_tokens": 1, **given}
    answer = post(url, asked)
    assert answer.status_code == 200, answer.text
    assert answer.json()["choices"][0]["message"]["role"] == "assistant"


REFUSED: list[tuple[dict[str, Any], int, str]] = [
    ({"model": "gpt-9"}, 404, "there is no model 'gpt-9' here"),
    ({"n": 0}, 400, "0 answers"),
    ({"n": 99}, 400, "99 answers"),
    ({"stop": ""}, 400, "stop: an empty text"),
    ({"stop": ["a"] * 99}, 400, "stop"),
    ({"temperature": -1}, 400, "temperature"),
    ({"frequency_penalty": 3}, 400, "frequency penalty"),
    ({"top_p": 0}, 400, "top p is 0"),
    ({"max_tokens": 0}, 400, "max new tokens is 0"),
    ({"top_logprobs": 3}, 400, "top_logprobs needs logprobs"),
    ({"logprobs": True, "top_logprobs": 21}, 400, "top_logprobs"),
    ({"tools": [{"type": "function"}]}, 400, "tools is not served"),
    ({"response_format": {"type": "json_object"}}, 400, "response_format is not served"),
    ({"logit_bias": {"5": 7}}, 400, "logit_bias is not served"),
    ({"reasoning_effort": "high"}, 400, "reasoning_effort is not served"),
    ({"no_such_thing": 1}, 400, "no_such_thing is not served"),
    ({"audio": {"voice": "x"}}, 400, "audio is not served"),
    ({"messages": []}, 400, "messages"),
    ({"messages": [{"role": "user"}]}, 400, "has no content"),
    ({"messages": [{"role": "tool", "content": "x"}]}, 400, "role"),
    ({"messages": [{"role": "user", "content": 5}]}, 400, "messages.0.content: write a text"),
    ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, 400, "'image_url'"),
    ({"messages": [*ASK, {"role": "assistant", "tool_calls": [{}]}]}, 400, "tool_calls"),
    ({"messages": [{"role": "user", "content": "word " * 5000}]}, 400, "tokens"),
    ({"messages": [{"role": "user", "content": "a" * 600_000}]}, 400, "600,000 characters"),
    ({"messages": [{"role": "user", "content": "hi \ud83d"}]}, 400, "U+D83D"),
    ({"messages": [{"role": "user", "content": ""}] * 10_001}, 400, "at most 10000 items"),
]


@pytest.mark.parametrize(("change", "status", "words"), REFUSED, ids=lambda value: str(value)[:40])
def test_what_cannot_be_served_is_said_in_a_sentence(
    url: str, service: Service, change: dict[str, Any], status: int, words: str
) -> None:
    answer = post(url, {"model": service.model.name, "messages": ASK, "max_tokens": 2, **change})
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert words in error["message"]
    assert error["type"] == "invalid_request_error"
    assert len(error["message"]) < 400


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff\xfe\x00", "not JSON"),
        (b"[]", "not a JSON object"),
        (b"null", "not a JSON object"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b'{"model": NaN}', "NaN is no number"),
        (b'{"model": ' + b"9" * 5000 + b"}", "not JSON"),
        (b'{"model": 5}', "model: input should be a valid string"),
        (b'{"model": "m"}', "messages: field required"),
        (b'{"model": "m", "messages": "hi"}', "messages: input should be a valid list"),
        (b'{"model": "m", "messages": [5]}', "messages.0"),
        (b'{"model": "m", "messages": [], "temperature": 1e999}', "messages"),
        (b'{"model": "m", "messages": [{"role": ["user"]}]}', "messages.0.role"),
        (b'{"model": "m", "messages": [], "stream_options": 5}', "stream_options"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_every_malformed_body_gets_one_sentence(url: str, body: bytes, words: str) -> None:
    for path in ("chat/completions", "completions"):
        answer = post(url, body, path)
        assert answer.status_code == 400, answer.text
        said = answer.json()["error"]["message"]
        assert words in said or path == "completions"
        assert len(said) < 300


def test_other_mistakes_are_said_in_the_same_form(url: str, service: Service) -> None:
    body = json.dumps({"model": service.model.name, "messages": ASK}).encode()
    unmarked = httpx.post(f"{url}/chat/completions", content=body)
    assert unmarked.status_code == 400
    assert "send Content-Type: application/json" in unmarked.json()["error"]["message"]
    assert httpx.get(f"{url}/chat/completions").json()["error"]["message"] == "Method Not Allowed"
    assert httpx.get(f"{url}/nothing").json()["error"]["code"] == "not_found"
    long = post(url, b" " * 8_000_001)
    assert long.status_code == 413
    assert "8,000,000 bytes" in long.json()["error"]["message"]
    parts = (b" " * 100_000 for _ in range(100))  # no length is announced
    assert httpx.post(f"{url}/completions", content=parts, timeout=60).status_code == 413


@pytest.mark.parametrize("stream", [False, True])
def test_a_gpu_that_stopped_is_named_to_every_client(
    stream: bool, url: str, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(*_given: object) -> None:
        raise RuntimeError("CUDA error: device-side assert triggered")

    monkeypatch.setattr(service, "answer", lost)
    body = {"model": service.model.name, "messages": ASK, "stream": stream}
    assert "restart Readout Studio" in post(url, body).text


def test_other_sites_and_unknown_hosts_are_refused(url: str) -> None:
    for headers, status in (
        ({"host": "evil.example"}, 421),
        ({"origin": "http://127.0.0.1:9"}, 403),
        ({"origin": "null"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
    ):
        answer = post(url, {}, **headers)
        assert answer.status_code == status
        assert "Refused" in answer.json()["error"]["message"]
    asked = httpx.options(f"{url}/chat/completions", headers={"origin": "http://evil.example"})
    assert asked.status_code == 403
    assert "access-control-allow-origin" not in asked.headers


def test_without_the_key_nothing_is_answered(service: Service) -> None:
    with serving(build_server(service, HOSTS, api_key="sécret")) as url:
        for given in ({}, {"authorization": "Bearer wrong"}, {"authorization": "sécret".encode()}):
            for path in ("models", "readout/manifest", "nothing"):
                answer = httpx.get(f"{url}v1/{path}", headers=given)  # type: ignore[arg-type]
                assert answer.status_code == 401
                assert answer.json()["error"]["code"] == "invalid_api_key"
    with serving(build_server(service, HOSTS, api_key="secret")) as url:
        client = openai.OpenAI(base_url=f"{url}v1", api_key="secret", max_retries=0)
        assert len(list(client.models.list())) == 1
        with pytest.raises(openai.AuthenticationError):
            openai.OpenAI(base_url=f"{url}v1", api_key="x", max_retries=0).models.list()


def test_the_clients_own_ways_of_calling_work(client: Any, service: Service) -> None:
    """As in the openai package's own tests: raw, streaming and typed answers of every resource."""
    chat = {"model": service.model.name, "messages": ASK, "max_tokens": 2}
    raw = client.chat.completions.with_raw_response.create(**chat)
    assert raw.parse().object == "chat.completion"
    with client.chat.completions.with_streaming_response.create(**chat) as answer:
        assert answer.parse().choices[0].message.role == "assistant"
    with client.chat.completions.stream(**chat) as events:
        assert {"chunk", "content.delta"} <= {event.type for event in events}
        # The client's own reading of an answer that `max_tokens` has cut off.
        with pytest.raises(openai.LengthFinishReasonError):
            events.get_final_completion()
    chunks = list(
        client.chat.completions.create(**chat, stream=True, stream_options={"include_usage": True})
    )
    assert chunks[-1].choices == []
    assert chunks[-1].usage.completion_tokens >= 1
    text = {"model": service.model.name, "prompt": "This is a test", "max_tokens": 2}
    assert client.completions.create(**text).object == "text_completion"
    streamed = client.completions.create(**text, stream=True)
    assert {chunk.object for chunk in streamed} == {"text_completion"}

    async def asynchronous() -> Any:
        opened: Any = openai.AsyncOpenAI(base_url=client.base_url, api_key="x")
        async with opened as other:
            return await other.chat.completions.create(**chat)

    assert asyncio.run(asynchronous()).usage.completion_tokens >= 1


def test_completions_take_texts_lists_and_token_ids(client: Any, service: Service) -> None:
    asked = {"model": service.model.name, "max_tokens": 4, "temperature": 0}
    one = client.completions.create(prompt="The lake", **asked)
    two = client.completions.create(prompt=["The lake", "A door"], n=2, **asked)
    assert [choice.index for choice in two.choices] == [0, 1, 2, 3]
    assert [choice.text for choice in two.choices[:2]] == [one.choices[0].text] * 2
    ids = list(service.model.frame.frame_raw("The lake").token_ids)
    assert client.completions.create(prompt=ids, **asked).choices[0].text == one.choices[0].text
    assert client.completions.create(prompt=[ids], **asked).usage == one.usage
    for wrong, words in (
        ([10**9], "unknown id"),
        ([], "no prompt"),
        ("", "empty"),
        ([[]], "empty"),
        (["a" * 260_000] * 2, "520,000 characters"),
    ):
        with pytest.raises(openai.BadRequestError, match=words):
            client.completions.create(prompt=wrong, **asked)


# Sampling


def test_no_seed_is_a_new_answer_each_time_and_a_seed_the_same(ask: Callable[..., Any]) -> None:
    def text(**asked: Any) -> str:
        return str(ask(temperature=1.5, max_tokens=12, **asked).choices[0].message.content)

    assert len({text() for _ in range(4)}) == 4
    assert len({text(seed=7) for _ in range(3)}) == 1
    assert text(seed=-7) == text(seed=-7) != text(seed=8)
    several = ask(temperature=1.5, max_tokens=12, n=4, seed=3).choices
    assert [choice.index for choice in several] == [0, 1, 2, 3]
    assert len({choice.message.content for choice in several}) == 4


def test_what_sampling_has_is_served(ask: Callable[..., Any]) -> None:
    def text(**extra: Any) -> str:
        asked = {"temperature": 2.0, "seed": 5, "max_tokens": 24, "extra_body": extra}
        return str(ask(**asked).choices[0].message.content)

    greedy = ask(max_tokens=24).choices[0].message.content
    assert text(top_k=1) == text(min_p=1.0) == greedy != text()
    plain = ask(max_tokens=24, logprobs=True).choices[0].logprobs.content
    fewer = ask(max_tokens=24, logprobs=True, frequency_penalty=2).choices[0].logprobs.content
    other = ask(max_tokens=24, logprobs=True, presence_penalty=2).choices[0].logprobs.content
    repeated = [len(tokens) - len({t.token for t in tokens}) for tokens in (plain, fewer, other)]
    assert repeated[1] <= repeated[0]
    assert [t.token for t in plain] != [t.token for t in fewer] or repeated[0] == 0
    assert ask(max_tokens=24, extra_body={"repetition_penalty": 5.0}).choices[0].finish_reason


def test_logprobs_are_those_of_a_pass_over_the_whole_text(
    ask: Callable[..., Any], service: Service
) -> None:
    found = ask(max_tokens=5, logprobs=True, top_logprobs=3, temperature=1.0, seed=2)
    listed = found.choices[0].logprobs.content
    assert len(listed) == found.usage.completion_tokens
    model = service.model
    prompt = model.frame.frame_chat([Turn("user", ASK[0]["content"])], True).token_ids
    with torch.inference_mode():
        logits = model.model(torch.tensor([prompt])).logits[0, -1]
    chances = logits.float().log_softmax(-1)
    top = chances.topk(3)
    assert [one.logprob for one in listed[0].top_logprobs] == pytest.approx(
        top.values.tolist(), abs=1e-4
    )
    assert listed[0].top_logprobs[0].token == model.tokenizer.decode([int(top.indices[0])])
    assert listed[0].logprob <= listed[0].top_logprobs[0].logprob
    assert bytes(listed[0].bytes).decode() == listed[0].token


def test_old_logprobs_have_their_own_form(client: Any, service: Service) -> None:
    asked = {"model": service.model.name, "prompt": "The lake", "max_tokens": 3}
    listed = client.completions.create(**asked, logprobs=2).choices[0].logprobs
    assert len(listed.tokens) == len(listed.token_logprobs) == len(listed.top_logprobs)
    assert listed.text_offset[0] == 0
    chunks = list(client.completions.create(**asked, logprobs=0, stream=True))
    assert next(len(c.choices[0].logprobs.tokens) for c in chunks if c.choices[0].logprobs) == 1


def test_an_answer_ends_before_its_stop_text(ask: Callable[..., Any]) -> None:
    full = ask(max_tokens=12)
    text = full.choices[0].message.content
    stop = text[4:7]
    cut = ask(max_tokens=12, stop=[stop, "never there"])
    assert cut.choices[0].message.content == text[: text.index(stop)]
    assert cut.choices[0].finish_reason == "stop"
    assert cut.usage.completion_tokens <= full.usage.completion_tokens
    chunks = list(ask(max_tokens=12, stop=stop, stream=True))
    streamed = "".join(c.choices[0].delta.content or "" for c in chunks)
    assert streamed == text[: text.index(stop)]
    assert ask(max_tokens=12, stop=text + "more").choices[0].message.content == text


@pytest.mark.parametrize(
    ("texts", "stops", "sent"),
    [
        (["a", "ab", "abc"], [], ["a", "b", "c", ""]),
        (["a", "ab", "abc"], ["bc"], ["a", "", "", ""]),
        (["a", "ab", "abx"], ["bc"], ["a", "", "bx", ""]),
        (["xx", "xxy"], ["xxyz", "q"], ["", "", "xxy"]),
        (["one STOP two STOP"], ["STOP"], ["one ", ""]),
        (["aaa", "aaab"], ["aab"], ["a", "", ""]),
    ],
)
def test_what_may_become_a_stop_text_is_kept_back(
    texts: list[str], stops: list[str], sent: list[str]
) -> None:
    growing = Growing(stops)
    got = [growing.take(text) for text in texts]
    got.append("" if growing.stopped else growing.take(texts[-1], last=True))
    assert got == sent


# Others


@pytest.fixture
def slow(service: Service, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Every token takes 50 ms; tells how many each answer had when it ended."""
    made: list[int] = []
    answer = service.answer

    def slowly(asked: Any, send: Callable[[Piece], None], stop: Callable[[], bool]) -> Any:
        count = 0

        def sent(piece: Piece) -> None:
            nonlocal count
            count += 1
            time.sleep(0.05)
            send(piece)

        try:
            return answer(asked, sent, stop)
        finally:
            made.append(count)

    monkeypatch.setattr(service, "answer", slowly)
    return made


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("path", ["chat/completions", "completions"])
def test_a_client_that_leaves_stops_its_answer_within_a_token(
    url: str, service: Service, ask: Callable[..., Any], slow: list[int], stream: bool, path: str
) -> None:
    body = {"model": service.model.name, "max_tokens": 400, "stream": stream, "seed": 1}
    body |= {"messages": ASK} if path.startswith("chat") else {"prompt": "The lake"}
    leave_after(url, path, body, 0.6)
    start = time.monotonic()
    assert ask(max_tokens=1).usage.completion_tokens == 1
    assert time.monotonic() - start < 3
    assert slow[0] < 40


def leave_after(url: str, path: str, body: Any, seconds: float) -> None:
    """Send a request and hang up."""
    address, data = httpx.URL(f"{url}/{path}"), json.dumps(body).encode()
    head = f"POST {address.path} HTTP/1.1\r\nHost: {address.netloc.decode()}\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
    with socket.create_connection((address.host, address.port)) as connection:
        connection.sendall(head.encode() + data)
        time.sleep(seconds)


def test_a_client_that_leaves_while_it_waits_is_never_answered(
    url: str, service: Service, ask: Callable[..., Any], slow: list[int]
) -> None:
    body = {"model": service.model.name, "messages": ASK, "max_tokens": 20, "seed": 1}
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(post, url, body)
        time.sleep(0.3)
        leave_after(url, "chat/completions", {**body, "max_tokens": 400}, 0.1)
        assert ask(max_tokens=1).usage.completion_tokens == 1
        assert first.result().status_code == 200
    assert len(slow) == 2


def test_who_waits_is_told_its_place_and_too_many_are_sent_away(
    url: str, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = {"model": service.model.name, "messages": ASK, "max_tokens": 30, "stream": True}
    lines: list[list[str]] = []
    places: list[str] = []
    goes_on, answer = threading.Event(), service.answer

    def held(*asked: Any) -> Any:
        assert goes_on.wait(30)
        return answer(*asked)

    def read() -> None:
        with httpx.stream("POST", f"{url}/chat/completions", json=body, timeout=60) as told:
            places.append(told.headers["x-queue-position"])
            lines.append([line for line in told.iter_lines() if line])

    monkeypatch.setattr(service, "answer", held)
    threads = [threading.Thread(target=read) for _ in range(3)]
    for n_before, thread in enumerate(threads):
        thread.start()
        while len(places) <= n_before and thread.is_alive():
            time.sleep(0.01)
    refused = post(url, body)
    goes_on.set()
    for thread in threads:
        thread.join()
    assert refused.status_code == 429
    assert refused.headers["retry-after"]
    assert refused.json()["error"]["message"] == "2 requests wait already; try again later."
    assert places == ["0", "1", "2"]
    last = max(lines, key=lambda some: sum(line.startswith(":") for line in some))
    assert last[:2] == [": 2 before this one", ": 1 before this one"]
    assert all(some[-1] == "data: [DONE]" for some in lines)


def test_places_move_up_when_somebody_leaves() -> None:
    queue = Queue(most_waiting=3)
    first, second, third = queue.join(), queue.join(), queue.join()
    assert [first.before, second.before, third.before] == [0, 1, 2]
    queue.leave(second)
    queue.leave(second)
    assert third.before == 1
    queue.leave(first)
    assert third.before == 0


def test_a_place_that_moves_while_it_is_told_is_not_missed() -> None:
    async def told_late() -> None:
        queue = Queue(most_waiting=1)
        first, second = queue.join(), queue.join()
        queue.leave(first)
        await asyncio.wait_for(second.moved(), 5)

    asyncio.run(told_late())


def test_chat_template_kwargs_reach_the_template(model: LoadedModel) -> None:
    thinking = "{% if enable_thinking is defined and not enable_thinking %}no thinking{% endif %}"
    tokenizer = tiny_tokenizer(CHATML + thinking)
    switched = replace(model, tokenizer=tokenizer, frame=frame_for(tokenizer))
    body = {"model": model.name, "messages": ASK, "max_tokens": 1}
    with serving(build_server(Service(switched, None), HOSTS)) as url:

        def n_prompt(kwargs: Any) -> int:
            answer = post(f"{url}v1", {**body, "chat_template_kwargs": kwargs})
            assert answer.status_code == 200, answer.text
            return int(answer.json()["usage"]["prompt_tokens"])

        switches: list[Any] = [None, {"enable_thinking": True}, {"enable_thinking": False}]
        plain, on, off = map(n_prompt, switches)
        assert plain == n_prompt({}) == on < off
        assert post(f"{url}v1", {**body, "chat_template_kwargs": 5}).status_code == 400
