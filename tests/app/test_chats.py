"""Chats of several pages over one tiny model, driven without a page."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from readout_ui.app.jobs import JobState
from readout_ui.app.read.chat import Ask, chat_calls, pack
from readout_ui.app.read.chats import ChatRequest, LiveChats, News, framed_request
from readout_ui.app.read.waiting import ABANDONED_SECONDS
from readout_ui.app.session import Studio
from readout_ui.errors import UserError
from readout_ui.inference.sampling import Sampling, live_layers
from readout_ui.models.chat_template import Turn
from readout_ui.models.prompt import frame_for
from readout_ui.models.tokens import TokenPieces
from tests.support.architectures import CHATML, tiny_tokenizer
from tests.support.loaded_tiny import load_tiny
from tests.support.studios import device_taken, small_studio

ONE, TWO = "1" * 32, "2" * 32
SAMPLING = Sampling(temperature=0, max_new_tokens=6)


def says(*texts: str, sampling: Sampling = SAMPLING, system: str = "") -> ChatRequest:
    roles: Any = ("user", "assistant")
    turns = tuple(Turn(roles[i % 2], text) for i, text in enumerate(texts))
    return ChatRequest(turns, system, sampling)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, tiny_folder: Path) -> Iterator[Studio]:
    with small_studio(tmp_path_factory.mktemp("live"), tiny_folder) as studio:
        yield studio


@pytest.fixture
def blocked(trained: Studio) -> Iterator[threading.Event]:
    """The device works on something else until the event is set."""
    with device_taken(trained) as go_on:
        yield go_on


def test_an_answer_has_every_token_with_its_role_and_its_piece_of_the_text(trained: Studio) -> None:
    chats = LiveChats(trained)
    asked = chats.ask(ONE, says("How are you?", system="Be kind."))
    asked.job.result()
    source, ending, news = asked.stream.source, asked.stream.ending, asked.stream.news(0)
    assert source is not None
    assert ending is not None
    assert news is not None
    assert ending.n_tokens == 6
    assert len(news.tokens) == source.n_prompt + 6
    assert "".join(news.pieces[source.n_prompt :]) == ending.text
    assert set(news.roles) == {"template", "system", "user", "assistant"}
    run = trained.run()
    assert source.layers == live_layers(run.layers, run.best_layer)
    assert source.run_id == run.id


def test_a_page_gets_only_what_it_lacks_and_the_parts_make_the_whole(trained: Studio) -> None:
    asked = LiveChats(trained).ask(ONE, says("How are you?"))
    asked.job.result()
    whole = asked.stream.news(0)
    assert whole is not None
    for have in (0, 3, len(whole.tokens) - 1, len(whole.tokens)):
        part = asked.stream.news(have)
        assert part is not None
        assert (part.start, part.tokens) == (have, whole.tokens[have:])
        assert (part.pieces, part.roles) == (whole.pieces[have:], whole.roles[have:])
        np.testing.assert_array_equal(part.z, whole.z[have:])


def test_a_recipe_steers_one_answer_and_a_wrong_one_is_told(trained: Studio) -> None:
    chats = LiveChats(trained)
    plain = chats.ask(ONE, says("How are you?"))
    steered = chats.ask(TWO, replace(says("How are you?"), recipe="30 calm @generated"))
    wrong = chats.ask("3" * 32, replace(says("How are you?"), recipe="1 wrath"))
    for asked in (plain, steered):
        asked.job.result()
    with pytest.raises(UserError, match="recipe, character 3: concept wrath"):
        wrong.job.result()
    news = [asked.stream.news(0) for asked in (plain, steered)]
    assert news[0] is not None
    assert news[1] is not None
    n_prompt = plain.stream.source.n_prompt if plain.stream.source else 0
    np.testing.assert_allclose(news[1].z[: n_prompt - 1], news[0].z[: n_prompt - 1], atol=1e-3)
    assert np.abs(news[1].z[n_prompt:] - news[0].z[n_prompt : len(news[1].z)][:1]).max() > 1


def test_an_answer_goes_on_from_the_words_it_was_begun_with(trained: Studio) -> None:
    chats = LiveChats(trained)
    whole = chats.ask(ONE, says("How are you?"))
    whole.job.result()
    assert whole.stream.ending is not None
    source, news = whole.stream.source, whole.stream.news(0)
    assert source is not None
    assert news is not None
    begun = "".join(news.pieces[source.n_prompt : source.n_prompt + 3])
    rest = replace(SAMPLING, max_new_tokens=3)
    fork = chats.ask(TWO, replace(says("How are you?", sampling=rest), begun=begun))
    fork.job.result()
    assert fork.stream.ending is not None
    assert fork.stream.ending.text.startswith(begun)
    assert fork.stream.ending.n_tokens == 3
    forked = fork.stream.news(0)
    assert forked is not None
    if forked.tokens[: source.n_prompt + 3] == news.tokens[: source.n_prompt + 3]:
        assert fork.stream.ending.text == whole.stream.ending.text


def test_words_that_the_template_drops_cannot_be_gone_on_from() -> None:
    drops = "messages[0]['role'] == 'system' and m['role'] == 'assistant'"
    dropping = CHATML.replace("m['content']", f"'' if {drops} else m['content']")
    assert dropping != CHATML
    model: Any = SimpleNamespace(frame=frame_for(tiny_tokenizer(dropping)))
    used: Any = SimpleNamespace(model=model)
    request = replace(says("How are you?", system="Be kind."), begun="Fine")
    with pytest.raises(UserError, match="drops what the answer begins with"):
        framed_request(used, request)


def test_chats_never_mix(trained: Studio) -> None:
    chats = LiveChats(trained)
    first, second = chats.ask(ONE, says("calm calm")), chats.ask(TWO, says("afraid"))
    first.job.result(), second.job.result()
    assert chats.newest(ONE) is first
    assert chats.newest(TWO) is second
    said = [asked.stream.news(0) for asked in (first, second)]
    assert ["calm" in "".join(news.pieces) for news in said if news] == [True, False]


def test_whoever_waits_sees_what_comes_before(trained: Studio, blocked: threading.Event) -> None:
    calls = {call.__name__: call for call in chat_calls(trained)}
    for chat in (ONE, TWO):
        assert calls["chat_ask"](asking(chat))["ok"]
    waiting = calls["chat_poll"](polling(TWO))
    assert (waiting["state"], waiting["news"]) == ("waiting", None)
    assert list(waiting["before"]) == ["Something else", "Answering in a chat"]


def test_a_stop_before_its_turn_comes_asks_the_model_nothing(
    trained: Studio, blocked: threading.Event
) -> None:
    chats = LiveChats(trained)
    asked = chats.ask(ONE, says("How are you?"))
    chats.stop(ONE)
    blocked.set()
    assert asked.job.view().state is JobState.CANCELLED
    assert asked.stream.source is None


def test_asking_again_stops_the_answer_before(trained: Studio, blocked: threading.Event) -> None:
    chats = LiveChats(trained)
    first, second = chats.ask(ONE, says("a")), chats.ask(ONE, says("b"))
    blocked.set()
    second.job.result()
    assert first.job.view().state is JobState.CANCELLED
    assert chats.newest(ONE) is second
    assert second.number == first.number + 1


def test_an_answer_nobody_listens_to_ends(
    trained: Studio, blocked: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = LiveChats(trained).ask(ONE, says("How are you?"))
    monkeypatch.setattr("readout_ui.app.read.waiting.ABANDONED_SECONDS", -ABANDONED_SECONDS)
    blocked.set()
    with pytest.raises(BaseException):  # noqa: B017, PT011
        asked.job.result()
    assert asked.job.view().state is JobState.CANCELLED


def asking(chat: str) -> dict[str, Any]:
    sampling = {"temperature": 0, "top_p": 1, "top_k": 0, "repetition_penalty": 1}
    sampling |= {"max_new_tokens": 6, "seed": 0}
    turns = [{"role": "user", "text": "How are you?"}]
    return {"chat": chat, "turns": turns, "system": "", "sampling": sampling}


def polling(chat: str, have: int = 0) -> dict[str, Any]:
    return {"chat": chat, "have": have}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"sampling": {"temperature": -1}}, "temperature is -1"),
        ({"sampling": {"temperature": None}}, "temperature is None"),
        ({"recipe": "x" * 30_000}, "reload the page"),
        ({"chat": "../x"}, "reload the page"),
        ({"turns": [{"role": "system", "text": "x"}]}, "reload the page"),
    ],
)
def test_wrong_requests_are_answered_in_one_sentence(
    trained: Studio, changes: dict[str, Any], told: str
) -> None:
    calls = {call.__name__: call for call in chat_calls(trained)}
    answer = calls["chat_ask"](asking(ONE) | changes)
    assert not answer["ok"]
    assert told in answer["message"]


def test_a_chat_too_long_for_the_model_says_both_lengths(trained: Studio) -> None:
    calls = {call.__name__: call for call in chat_calls(trained)}
    turns = [{"role": "user", "text": "calm " * 600}]
    calls["chat_ask"](asking(ONE) | {"turns": turns})
    trained.worker.submit("wait", "Waiting", lambda _report: None).result()
    answer = calls["chat_poll"](polling(ONE))
    assert answer["state"] == "failed"
    assert "tokens, " in answer["error"]
    assert "takes 512" in answer["error"]


def test_without_vectors_the_page_says_what_to_do(studio: Studio) -> None:
    calls = {call.__name__: call for call in chat_calls(studio)}
    assert calls["chat_look"]({})["sampling"]["max_new_tokens"] == 256
    answer = calls["chat_ask"](asking(ONE))
    assert "press Train" in answer["message"]
    assert calls["chat_poll"](polling(ONE)) == {"ok": True, "number": 0}


@pytest.mark.parametrize(("n_concepts", "most"), [(36, 2000), (200, 9500)])
def test_a_tick_of_four_tokens_at_four_layers_is_small(n_concepts: int, most: int) -> None:
    z = np.random.default_rng(0).normal(size=(4, 4, n_concepts)).astype(np.float32)
    names = ("·word",) * 4
    packed = pack(News(500, names, names, ("assistant",) * 4, z))
    assert len(str(packed)) < most


@given(st.sets(st.integers(0, 60), min_size=1), st.integers(0, 60), st.integers(1, 6))
def test_few_layers_are_read_the_best_among_them(layers: set[int], best: int, count: int) -> None:
    chosen = live_layers(sorted(layers), best, count)
    assert set(chosen) <= layers
    assert len(chosen) <= count
    assert min(abs(c - best) for c in chosen) == min(abs(c - best) for c in layers)
    if len(layers) >= count:
        assert len(chosen) >= min(count, 2)


TOKENIZER = load_tiny().tokenizer


@given(st.text(max_size=40), st.integers(0, 20))
def test_pieces_are_the_text_however_the_tokens_come(text: str, first: int) -> None:
    ids = TOKENIZER(text, add_special_tokens=False)["input_ids"]
    pieces = TokenPieces(TOKENIZER)
    parts = [*pieces.extend(ids[:first]), *pieces.extend(ids[first:])]
    assert len(parts) == len(ids)
    assert "".join(parts) == TOKENIZER.decode(ids, clean_up_tokenization_spaces=False)


@pytest.mark.parametrize(("thinking", "opened"), [(None, True), (True, True), (False, False)])
def test_a_chat_is_told_whether_to_think(thinking: bool | None, opened: bool) -> None:
    request = Ask(**(asking(ONE) | {"thinking": thinking})).request()
    template = CHATML.replace("assistant\n{% endif %}", "assistant\n{% if enable_thinking is not "
        "defined or enable_thinking %}<think>{% endif %}{% endif %}")  # fmt: skip
    frame = frame_for(tiny_tokenizer(template))
    asked = frame.frame_chat(request.turns, True, frame.thinking(request.thinking))
    assert str(frame.tokenizer.decode(list(asked.token_ids))).endswith("<think>") == opened
    assert load_tiny().frame.thinking(request.thinking) == {}  # no such switch
