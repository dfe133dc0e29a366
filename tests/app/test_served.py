"""An app that reads through a server gives what one with the model in its own process gives."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi import FastAPI

from readout_ui.app.read.calls import read_calls
from readout_ui.app.read.chats import ChatRequest, LiveChats, TokenStream
from readout_ui.app.served import ServedStudio
from readout_ui.app.session import Studio
from readout_ui.errors import UserError
from readout_ui.inference.answers import Service
from readout_ui.inference.client import Server
from readout_ui.inference.decoding import Live
from readout_ui.inference.gate import Hosts
from readout_ui.inference.reading import Reading
from readout_ui.inference.readout import Begun
from readout_ui.inference.sampling import Sampling
from readout_ui.inference.server import build_server
from readout_ui.models.chat_template import Turn
from readout_ui.progress import silent
from readout_ui.vectors.settings import TrainSettings
from tests.support.running_app import free_port, serving
from tests.support.studios import small_studio

KEY = "secret"
TEXT = "I am calm, the sea is calm. Größe 🙂!"
CHAT = (Turn("system", "Be kind."), Turn("user", "Are you afraid?"), Turn("assistant", "No."))


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory, tiny_folder: Path) -> Iterator[Studio]:
    """The model in this process, three layers of vectors."""
    with small_studio(tmp_path_factory.mktemp("served"), tiny_folder, train=False) as studio:
        studio.start_training(TrainSettings(layers="0,1,2")).result()
        yield studio


@pytest.fixture(scope="module")
def url(here: Studio) -> Iterator[str]:
    """A server of the same model and vectors."""
    service = Service(here.readout_of(here.run(), silent).model, here.run())
    with serving(build_server(service, Hosts("127.0.0.1"), KEY)) as address:
        yield address


@pytest.fixture
def there(here: Studio, url: str, tmp_path: Path) -> Iterator[ServedStudio]:
    """An app without the model."""
    studio = ServedStudio(replace(here.options, runs=tmp_path / "runs"), Server.at(url, KEY))
    studio.load_model().result()
    yield studio
    studio.close()


def close_to(found: Any, expected: Any) -> None:
    """The same to 1e-4 of the largest number."""
    reach = 1e-4 * float(np.abs(expected).max())
    np.testing.assert_allclose(found, expected, atol=reach, rtol=0)


@pytest.mark.parametrize(
    ("content", "mode"), [(TEXT, "assistant"), (TEXT, "user"), (TEXT, "raw"), (CHAT, "chat")]
)
def test_a_text_reads_as_with_the_model_here(
    here: Studio, there: ServedStudio, content: Any, mode: str
) -> None:
    found, expected = there.read(content, mode), here.read(content, mode)
    assert (found.tokens, found.roles) == (expected.tokens, expected.roles)
    assert (found.concepts, found.layers) == (expected.concepts, expected.layers)
    assert found.best_layer == expected.best_layer
    np.testing.assert_array_equal(found.scored, expected.scored)
    close_to(found.raw, expected.raw)
    close_to(found.z, expected.z)
    with pytest.raises(UserError, match="a server does not say the cosine"):
        found.scores("cosine")


@pytest.mark.parametrize("recipe", ["", "0.5 calm"])
def test_a_chat_goes_on_as_with_the_model_here(
    here: Studio, there: ServedStudio, recipe: str
) -> None:
    sampling = Sampling(temperature=0, max_new_tokens=6)
    request = ChatRequest(CHAT[:2], "", sampling, recipe=recipe)

    def answered(studio: Studio) -> TokenStream:
        asked = LiveChats(studio).ask("1" * 32, request)
        asked.job.result()
        return asked.stream

    found, expected = answered(there), answered(here)
    news, known = found.news(0), expected.news(0)
    assert news is not None
    assert known is not None
    assert (news.tokens, news.pieces, news.roles) == (known.tokens, known.pieces, known.roles)
    close_to(news.z, known.z)
    assert found.ending is not None
    assert expected.ending is not None
    assert replace(found.ending, seconds=0) == replace(expected.ending, seconds=0)


def test_a_stopped_chat_keeps_what_was_said(there: ServedStudio) -> None:
    readout = there.readout_of(there.run(), silent)
    prompt = readout.model.frame.frame_chat(CHAT[:2], True)
    sampling = Sampling(temperature=0, max_new_tokens=30)
    heard: list[int] = []
    begun = Begun(
        prompt,
        sampling,
        on_text=lambda live: heard.append(live.n_tokens),
        stop=lambda: bool(heard) and heard[-1] >= 3,
    )
    made = readout.grow(begun)
    assert made.finish == "stopped"
    assert made.reading is not None
    assert len(made.token_ids) == 3
    assert len(made.reading.tokens) == len(prompt.token_ids) + 3


def test_what_is_read_of_a_new_token_does_not_touch_those_before_it(
    there: ServedStudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    readout = there.readout_of(there.run(), silent)
    prompt = readout.model.frame.frame_chat(CHAT[:2], True)
    n_prompt = len(prompt.token_ids)
    joined: list[int] = []
    parts: list[tuple[int, Reading | None]] = []

    def counted(rows: Any) -> Any:
        joined.append(sum(map(len, rows)))
        return concatenate(rows)

    def read(live: Live) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(np, "concatenate", counted)
            parts.append((live.n_tokens, live.reading(n_prompt + live.n_tokens - 2)))

    concatenate = np.concatenate
    made = readout.grow(Begun(prompt, Sampling(temperature=0, max_new_tokens=12), on_text=read))
    assert made.reading is not None
    assert [n for n, _ in parts[:12]] == [*range(1, 13)]
    assert max(joined[2:]) <= 2  # the first two see the prompt, which came as one part
    for n_tokens, part in parts[:12]:
        assert part is not None
        rest = made.reading.select(tokens=range(n_prompt + n_tokens - 2, n_prompt + n_tokens - 1))
        assert part.tokens == rest.tokens
        assert part.roles == rest.roles
        np.testing.assert_array_equal(part.scored, rest.scored)
        np.testing.assert_array_equal(part.z, rest.z)


def test_the_room_read_answers_its_page(here: Studio, there: ServedStudio, url: str) -> None:
    far, near = ({call.__name__: call for call in read_calls(studio)} for studio in (there, here))
    asked = {"text": TEXT, "mode": "assistant"}
    assert far["read_look"]({})["ready"]
    rows = {"texts": [TEXT, " "], "mode": "assistant", "layer": 1}
    found, expected = (calls["read_rows"](rows)["means"] for calls in (far, near))
    close_to(found[0]["z"], expected[0]["z"])
    assert found[1] == expected[1]
    told = far["read_csv"]({**asked, "layers": [1]})["csv"]
    assert told.splitlines()[0] == "position,token,role,scored,layer,concept,z,raw"
    token = {**asked, "position": 3, "token": here.read(TEXT, "assistant").tokens[3]}
    steered = ChatRequest(CHAT[:2], "", Sampling(temperature=0), recipe="1 calm @generated")
    with pytest.raises(UserError, match="cannot steer some places alone"):
        LiveChats(there).ask("1" * 32, steered).job.result()
    for name, request in (("read_token", token), ("read_alike", asked)):
        answer = far[name](request)
        assert "server" in answer["message"] or url.rstrip("/") in answer["message"], name


def test_what_takes_the_weights_says_where_they_are(there: ServedStudio, url: str) -> None:
    at = f"are at {url.rstrip('/')}; start without --server."
    refusals: tuple[Callable[[], Any], ...] = (
        there.start_training,
        lambda: there.use_run("served"),
        lambda: there.export([], []),
        lambda: there.on_device("x", "X", lambda readout: readout.steer(calm=1)).result(),
        lambda: there.on_device("x", "X", lambda readout: readout.corpus()).result(),
        lambda: there.on_device("x", "X", lambda readout: readout.activations(["a"], 1)).result(),
    )
    for refused in refusals:
        with pytest.raises(UserError) as told:
            refused()
        assert str(told.value).endswith(at) or "not there" in str(told.value)


def test_a_server_that_cannot_serve_is_one_sentence(here: Studio, url: str, tmp_path: Path) -> None:
    bare = Service(here.readout_of(here.run(), silent).model, None)
    page = FastAPI()
    with (
        serving(build_server(bare, Hosts("127.0.0.1"))) as without,
        serving(page) as nothing,
    ):
        for address, key, said in (
            (f"http://127.0.0.1:{free_port()}", KEY, "it does not answer"),
            (url, "wrong", "it wants another key; set READOUT_SERVER_KEY"),
            (without, "", "it has no vectors to read with"),
            (nothing, "", "it has no vectors to read with"),
            ("localhost:8000", "", "this is no address of a server"),
        ):
            with pytest.raises(UserError, match=said) as told:
                ServedStudio(replace(here.options, runs=tmp_path), Server.at(address, key))
            assert "\n" not in str(told.value)


@pytest.mark.parametrize("answer", ["[" * 100_000, '{"a":' * 100_000, "null", '{"data": 5}', ""])
def test_whatever_a_server_answers_is_one_sentence(
    answer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Server, "_lines", lambda *_asked: iter([answer]))
    with pytest.raises(UserError, match=r"something else than JSON|lists no model"):
        _ = Server("http://there").model


def test_a_chunk_without_a_list_of_choices_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = ['data: {"choices": 5}', 'data: {"choices": [{"text": "a"}]}', "data: [DONE]"]
    monkeypatch.setattr(Server, "_lines", lambda *_asked: iter(lines))
    monkeypatch.setattr(Server, "model", ("there", True))
    assert list(Server("http://there").growing({})) == [{"text": "a"}]


def test_a_tokenizer_that_frames_texts_otherwise_is_refused(there: ServedStudio) -> None:
    model = there._loaded()
    vars(model).update(frame=replace(model.frame, fingerprint="0" * 64))
    with pytest.raises(UserError, match="another prompt frame"):
        there.read(TEXT, "assistant")


def test_rows_are_asked_for_in_the_plugins_words(here: Studio, url: str) -> None:
    model = here.readout_of(here.run(), silent).model
    ids = list(model.frame.frame_raw(TEXT).token_ids)
    body = {"model": model.name, "prompt": [ids, ids], "max_tokens": 3, "temperature": 0}
    body |= {"vllm_xargs": {"readout": 1, "readout_prompt": 1}, "return_token_ids": True}
    headers = {"Authorization": f"Bearer {KEY}"}
    answer = httpx.post(f"{url}v1/completions", json=body, headers=headers, timeout=60).json()
    expected = here.read(TEXT, "raw").raw
    for choice in answer["choices"]:
        assert len(choice["readout"]) == len(choice["token_ids"]) == 3
        close_to(choice["readout_prompt"] + choice["readout"][:1], expected)
        assert "readout_z" not in choice
    assert "readout" not in answer
    body["vllm_xargs"] = {"readout_watch": "all"}
    refused = httpx.post(f"{url}v1/completions", json=body, headers=headers, timeout=60)
    assert refused.status_code == 400
    assert "readout_watch" in refused.json()["error"]["message"]
