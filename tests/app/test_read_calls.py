"""What the room Read gets from the server: scores, details, chance, tables, what is kept."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from readout_ui.app.read.calls import STEPS, own_tokens, pack_cells, read_calls
from readout_ui.app.session import Studio
from readout_ui.inference.reading import FloatArray
from tests.support.studios import small_studio

TEXT = "I am calm and the sea is calm"


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    with small_studio(tmp_path_factory.mktemp("read")) as studio:
        yield studio


@pytest.fixture
def ask(studio: Studio) -> Any:
    calls = {call.__name__: call for call in read_calls(studio)}
    return lambda call, **request: calls[call](request)


def asking(text: str = TEXT, **more: Any) -> dict[str, Any]:
    return {"text": text, "mode": "assistant", "kind": "z", "layers": None, **more}


def unpacked(packed: str, n_layers: int, n_tokens: int) -> FloatArray:
    """(n_tokens, n_layers, n_concepts), as static/read/reading.js does it."""
    raw, n_steps = base64.b64decode(packed), n_layers * n_tokens
    steps = np.frombuffer(raw, "<f4", n_steps).reshape(n_layers, n_tokens, 1)
    whole = np.frombuffer(raw, "<i2", offset=4 * n_steps).reshape(n_layers, n_tokens, -1)
    cells: FloatArray = (whole * steps).transpose(1, 0, 2)
    return cells


def test_a_far_token_costs_the_others_no_digits() -> None:
    scores = np.random.default_rng(0).normal(size=(5, 3, 4)).astype(np.float32)
    scores[0] *= 1e6
    back = unpacked(pack_cells(scores), 3, 5)
    for token in range(5):
        largest = np.abs(scores[token]).max()
        np.testing.assert_allclose(back[token], scores[token], atol=0.51 * largest / STEPS)


def test_nothing_and_infinity_are_packed_too() -> None:
    scores = np.array([[[np.nan, 1.0]], [[0.0, 0.0]]], np.float32)
    np.testing.assert_allclose(unpacked(pack_cells(scores), 1, 2)[0, 0], [0, 1], atol=1e-4)


def test_a_text_comes_with_its_scores_at_every_layer(studio: Studio, ask: Any) -> None:
    answer = ask("read_text", **asking())
    reading = studio.read(TEXT, "assistant")
    assert answer["tokens"] == reading.tokens
    assert answer["held"] == list(reading.layers)
    cells = unpacked(answer["scores"], len(reading.layers), len(reading.tokens))
    for token in range(len(reading.tokens)):
        largest = np.abs(reading.z[token]).max()
        np.testing.assert_allclose(cells[token], reading.z[token], atol=largest / STEPS + 1e-6)
    assert [turn["role"] for turn in answer["turns"]] == ["user", "assistant"]
    assert answer["turns"][1]["text"] == TEXT


def test_other_units_and_single_layers_come_when_asked(studio: Studio, ask: Any) -> None:
    layer = studio.run().layers[0]
    answer = ask("read_text", **asking(kind="cosine", layers=[layer]))
    reading = studio.read(TEXT, "assistant")
    cells = unpacked(answer["scores"], 1, len(reading.tokens))
    wanted = reading.cosine[:, [reading.layer_index(layer)]]
    np.testing.assert_allclose(cells, wanted, atol=1e-4)


def test_of_a_long_text_only_the_best_layer_is_sent(
    ask: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("readout_ui.app.read.calls.MOST_CELLS", 10)
    answer = ask("read_text", **asking())
    assert answer["held"] == [answer["best"]]
    assert len(answer["layers"]) > 1


@pytest.mark.parametrize(
    ("how", "roles"),
    [
        ({"mode": "user"}, ["user"]),
        ({"mode": "raw"}, []),
        ({"mode": "chat", "text": "User: hi\nAssistant: calm"}, ["user", "assistant"]),
        ({"turns": [{"role": "user", "text": "calm?"}]}, ["user"]),
    ],
)
def test_a_text_is_read_as_chosen(ask: Any, how: dict[str, Any], roles: list[str]) -> None:
    answer = ask("read_text", **asking(**how))
    assert answer["ok"]
    assert [turn["role"] for turn in answer["turns"]] == roles


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"text": " "}, "nothing to read"),
        ({"mode": "chat", "text": "hello"}, "does not say who speaks"),
        ({"layers": [99]}, "no layer 99"),
    ],
)
def test_a_mistake_is_one_sentence(ask: Any, how: dict[str, Any], said: str) -> None:
    answer = ask("read_text", **asking(**how))
    assert not answer["ok"]
    assert said in answer["message"]


def test_a_token_has_its_layers_and_what_comes_next(studio: Studio, ask: Any) -> None:
    reading = studio.read(TEXT, "assistant")
    at = own_tokens(reading)[2]
    request = {"text": TEXT, "mode": "assistant", "position": at}
    answer = ask("read_token", **request, token=reading.tokens[at])
    shares = [each["share"] for each in answer["next"]]
    assert len(shares) == 10
    assert shares == sorted(shares, reverse=True)
    assert 0 < sum(shares) <= 1.001
    cells = unpacked(answer["scores"], len(reading.layers), 1)
    np.testing.assert_allclose(cells[0], reading.z[at], rtol=1e-3, atol=1e-3)
    assert "no longer in the text" in ask("read_token", **request, token="?")["message"]


def test_chance_comes_in_pieces_and_is_of_the_run_in_use(studio: Studio, ask: Any) -> None:
    told = [ask("read_chance", length=3)]
    while "ends" not in told[-1]:
        assert told[-1]["read"] < told[-1]["texts"]
        told.append(ask("read_chance", length=3))
    answer = told[-1]
    assert answer["length"] <= answer["asked"] == 3
    low, high, word_low, word_high, threshold = unpacked(answer["ends"], len(answer["layers"]), 5)
    assert np.all(low <= high)
    assert np.all(word_low <= word_high)
    assert np.all(threshold >= word_low)
    assert ask("read_chance", length=2)["asked"] == 2


def test_many_texts_give_a_mean_each_and_say_which_could_not_be_read(
    studio: Studio, ask: Any
) -> None:
    layer = studio.run().best_layer
    answer = ask("read_rows", texts=[TEXT, " "], mode="assistant", layer=layer)
    reading = studio.read(TEXT, "assistant")
    wanted = reading.z[own_tokens(reading), reading.layer_index(layer)].mean(axis=0)
    np.testing.assert_allclose(answer["means"][0]["z"], wanted, atol=1e-3)
    assert "nothing to read" in answer["means"][1]["error"]


@pytest.mark.parametrize(
    ("file", "content", "texts"),
    [
        ("", "one calm day\nand another", ["one calm day", "and another"]),
        ("", "a, b and c\n\nsecond\nstill second", ["a, b and c", "second\nstill second"]),
        ("", 'id,text\n1,"so, calm"\n2,sad', ["so, calm", "sad"]),
        ("", '{"text": "so calm"}\n{"text": "sad"}', ["so calm", "sad"]),
        ("rows.csv", "id,text\n1,calm", ["calm"]),
        ("rows.jsonl", '{"prompt": "a longer text", "id": "1"}', ["a longer text"]),
    ],
)
def test_texts_come_from_what_was_pasted_or_from_a_file(
    ask: Any, file: str, content: str, texts: list[str]
) -> None:
    sent = base64.b64encode(content.encode()).decode() if file else content
    answer = ask("read_table", file_name=file, content=sent)
    assert answer["ok"], answer
    assert [row["text"] for row in answer["rows"]] == texts


def test_a_table_that_is_none_says_why(ask: Any) -> None:
    assert "no text" in ask("read_table", file_name="", content=" ")["message"]
    broken = base64.b64encode(b'{"text": ').decode()
    assert "line 1" in ask("read_table", file_name="a.jsonl", content=broken)["message"]


def test_thresholds_and_texts_are_kept_beside_the_runs(studio: Studio, ask: Any) -> None:
    concept = studio.run().concepts[0]
    assert ask("keep_threshold", concept=concept, z=2.5)["thresholds"] == {concept: 2.5}
    ask("keep_prompt", name="sea", text=TEXT, mode="assistant")
    ask("keep_prompt", name="sea", text="other", mode="raw")
    assert ask("read_look")["prompts"] == [{"name": "sea", "text": "other", "mode": "raw"}]
    assert ask("keep_threshold", concept=concept, z=None)["thresholds"] == {}
    assert ask("drop_prompt", name="sea")["prompts"] == []
    assert "needs a name" in ask("keep_prompt", name=" ", text="x", mode="raw")["message"]
    (studio.options.runs / "reading.json").write_text("{")
    assert ask("read_look")["prompts"] == []
    assert studio.runs.list()


def test_the_cells_on_screen_download_as_csv(studio: Studio, ask: Any) -> None:
    layer = studio.run().best_layer
    lines = ask("read_csv", **asking(layers=[layer]))["csv"].splitlines()
    reading = studio.read(TEXT, "assistant")
    assert lines[0] == "position,token,role,scored,layer,concept,z,cosine,raw"
    assert len(lines) == 1 + len(reading.tokens) * len(reading.concepts)


def test_likeness_orders_every_concept_once(studio: Studio, ask: Any) -> None:
    found = ask("read_alike", **asking(layers=[studio.run().best_layer]))["concepts"]
    assert sorted(found) == sorted(studio.run().concepts)
