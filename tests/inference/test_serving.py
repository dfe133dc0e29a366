"""The server, asked by the official openai client over a real connection."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import openai
import pytest
import uvicorn

from readout_ui.app.session import Studio
from readout_ui.inference.forward import read_chat
from readout_ui.inference.generation import Generated
from readout_ui.inference.server import Service, build_server
from readout_ui.models.loading import LoadedModel, ModelSpec, load_model
from readout_ui.runs.run import Run
from tests.support.running_app import free_port

ASK: list[Any] = [{"role": "user", "content": "I feel calm. What do you feel?"}]


@pytest.fixture
def model(tiny_folder: Path) -> LoadedModel:
    return load_model(ModelSpec(str(tiny_folder), device="cpu", dtype="fp32"))


@pytest.fixture
def run(studio: Studio, tmp_path: Path) -> Run:
    studio.load_model()
    studio.start_training().result()
    return Run.open(studio.export([], [1, 2], tmp_path / "out"))


def started(service: Service) -> tuple[uvicorn.Server, str]:
    port = free_port()
    server = uvicorn.Server(
        uvicorn.Config(build_server(service), host="127.0.0.1", port=port, log_level="error")
    )
    threading.Thread(target=server.run, daemon=True).start()
    deadline = time.monotonic() + 60
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.02)
    return server, f"http://127.0.0.1:{port}/v1"


@pytest.fixture
def service(model: LoadedModel, run: Run) -> Service:
    return Service(model, run)


@pytest.fixture
def url(service: Service) -> Iterator[str]:
    server, address = started(service)
    yield address
    server.should_exit = True


@pytest.fixture
def client(url: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=url, api_key="none", max_retries=0)


def test_streamed_chunks_carry_the_scores_of_every_token(
    client: openai.OpenAI, service: Service
) -> None:
    stream: Any = client.chat.completions.create(
        model=service.model.name, messages=ASK, stream=True, max_tokens=6, temperature=0
    )
    chunks = list(stream)
    readouts = [chunk.readout for chunk in chunks if hasattr(chunk, "readout")]
    assert service.run
    vectors = service.run.vectors
    assert len(readouts) == chunks[-1].usage.completion_tokens
    assert np.shape(readouts[0]["scores"]) == (len(vectors.layers), len(vectors.concepts))
    assert chunks[-1].choices[0].finish_reason in ("length", "stop")
    whole: Any = client.chat.completions.create(
        model=service.model.name, messages=ASK, max_tokens=6, temperature=0
    )
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert text == whole.choices[0].message.content
    assert whole.readout["scores"] == [one["scores"] for one in readouts]


def test_the_scores_are_those_of_an_offline_read_of_the_prompt(
    client: openai.OpenAI, service: Service
) -> None:
    from readout_ui.models.chat_template import Turn

    whole: Any = client.chat.completions.create(
        model=service.model.name, messages=ASK, max_tokens=1, temperature=0
    )
    prompt = service.model.frame.frame_chat([Turn("user", ASK[0]["content"])], True)
    assert service.run
    offline = read_chat(service.model, service.run.vectors, prompt)
    assert whole.readout["position"] == [len(prompt.token_ids) - 1]
    assert np.allclose(whole.readout["scores"][0], offline.raw[-1], rtol=1e-3, atol=1e-4)
    assert np.allclose(whole.readout["z"][0], offline.z[-1], rtol=1e-3, atol=1e-3)


def test_the_manifest_is_served_and_without_vectors_it_is_404(
    url: str, service: Service, model: LoadedModel
) -> None:
    assert service.run
    answer = httpx.get(f"{url}/readout/manifest")
    assert answer.json()["concepts"] == list(service.run.manifest.concepts)
    server, bare = started(Service(model, None))
    missing = httpx.get(f"{bare}/readout/manifest")
    assert missing.status_code == 404
    assert "--vectors" in missing.json()["error"]["message"]
    plain: Any = openai.OpenAI(base_url=bare, api_key="none").chat.completions.create(
        model=model.name, messages=ASK, max_tokens=2
    )
    assert not hasattr(plain, "readout")
    server.should_exit = True


@pytest.mark.parametrize(
    ("change", "status", "words"),
    [
        ({"model": "gpt-9"}, 404, "there is no model 'gpt-9' here"),
        ({"n": 2}, 400, "n is 2"),
        ({"stop": "x"}, 400, "stop is not served"),
        ({"temperature": -1}, 400, "temperature"),
        ({"messages": []}, 400, "messages"),
        ({"messages": [{"role": "tool", "content": "x"}]}, 400, "role"),
        ({"messages": [{"role": "user", "content": "word " * 5000}]}, 400, "tokens"),
    ],
)
def test_what_cannot_be_served_is_said_in_a_sentence(
    client: openai.OpenAI, service: Service, change: Any, status: int, words: str
) -> None:
    asked: Any = {"model": service.model.name, "messages": ASK, "max_tokens": 2, **change}
    with pytest.raises(openai.APIStatusError) as refused:
        client.chat.completions.create(**asked)
    assert refused.value.status_code == status
    assert words in str(refused.value)


def test_a_client_that_goes_away_stops_the_generation(
    client: openai.OpenAI, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Generated] = []
    answer, scores = service.answer, service._scores

    def slowly(*args: Any) -> Any:
        time.sleep(0.05)
        return scores(*args)

    def watched(*args: Any) -> Generated:
        made.append(answer(*args))
        return made[-1]

    monkeypatch.setattr(service, "_scores", slowly)
    monkeypatch.setattr(service, "answer", watched)
    stream: Any = client.chat.completions.create(
        model=service.model.name, messages=ASK, stream=True, max_tokens=400, seed=1
    )
    next(iter(stream))
    stream.close()
    again: Any = client.chat.completions.create(
        model=service.model.name, messages=ASK, max_tokens=2
    )
    assert again.usage.completion_tokens <= 2
    assert made[0].finish == "stopped"
