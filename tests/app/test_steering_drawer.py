"""What the steering drawer asks the server, over one tiny model and without a page."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from readout_ui.app.read.chat import chat_calls
from readout_ui.app.read.steering import layers_to_read
from readout_ui.app.session import Studio
from tests.support.studios import device_taken, small_studio
from tests.support.trained_example import make_run

ONE, TWO = "1" * 32, "2" * 32
TOLD: dict[str, Any] = {
    "turns": [{"role": "user", "text": "How are you?"}],
    "system": "",
    "sampling": {"temperature": 0, "max_new_tokens": 4},
    "thinking": None,
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, tiny_folder: Path) -> Iterator[Studio]:
    with small_studio(tmp_path_factory.mktemp("steer"), tiny_folder) as studio:
        yield studio


@pytest.fixture
def call(trained: Studio) -> Any:
    calls = {call.__name__: call for call in chat_calls(trained)}
    return lambda name, **asked: calls[name](asked)


def test_a_control_rewrites_the_line_and_nothing_else(call: Any) -> None:
    line = "0.4 calm + -0.2 angry @generated"
    first = call("steer_check", recipe=line)
    assert (first["ok"], first["recipe"], first["where"]) == (True, line, "generated")
    assert [(term["concept"], term["amount"]) for term in first["terms"]] == [
        ("calm", 0.4),
        ("angry", -0.2),
    ]
    for change, expected in (
        ({"term": 1, "amount": 0.5}, "0.4 calm + 0.5 angry @generated"),
        ({"add": "happy"}, "0.4 calm + -0.2 angry + 0.25 happy @generated"),
        ({"drop": 0}, "-0.2 angry @generated"),
        ({"where": "spans:3-4,9"}, "0.4 calm + -0.2 angry @spans:3-4,9"),
        ({"where": "all"}, "0.4 calm + -0.2 angry"),
        ({"layers": ""}, line),
        ({"layers": "0,1"}, "0.4 calm:0,1 + -0.2 angry:0,1 @generated"),
    ):
        assert call("steer_check", recipe=line, **change)["recipe"] == expected
    assert call("steer_check", recipe="", add="calm")["recipe"] == "0.25 calm"
    assert call("steer_check", recipe="")["terms"] == []


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"recipe": "0.4 clam"}, "character 5: concept clam was not trained (options: calm"),
        ({"recipe": "0.4 calm", "layers": "99"}, "layer"),
        ({"recipe": "0.4 calm", "where": "from:"}, "cannot steer 'from:'"),
        ({"recipe": "", "add": "wrath"}, "concept wrath was not trained"),
    ],
)
def test_a_mistake_is_told_in_one_sentence(call: Any, asked: dict[str, str], told: str) -> None:
    answer = call("steer_check", **asked)
    assert not answer["ok"]
    assert told in answer["message"]


def test_a_cost_is_the_plain_one_at_strength_0_and_another_under_a_push(call: Any) -> None:
    same = call("steer_cost", **TOLD, recipe="0 calm", text="calm and happy")
    assert same["ok"]
    assert same["plain"] == same["steered"] > 1
    pushed = call("steer_cost", **TOLD, recipe="30 calm @generated", text="calm and happy")
    assert pushed["plain"] == same["plain"] != pushed["steered"]


def finished(call: Any, page: str, name: str = "sweep_poll", **look: Any) -> dict[str, Any]:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        answer: dict[str, Any] = call(name, chat=page, **look)
        if answer["state"] not in ("waiting", "running"):
            return answer
        time.sleep(0.02)
    raise AssertionError("it never ended")


def test_a_sweep_is_asked_for_polled_and_shown_at_any_layer(call: Any, trained: Studio) -> None:
    assert call("sweep_poll", chat=ONE, layer=0) == {"ok": True, "state": "none"}
    asked = {**TOLD, "recipe": "2 calm + ablate angry", "factors": "0,1,2"}
    assert call("sweep_ask", chat=ONE, **asked) == {"ok": True}
    best = trained.run().best_layer
    result = finished(call, ONE, layer=best)["result"]
    assert result["layer"] == best
    assert result["steered"] == ["calm", "angry"]
    assert [point["factor"] for point in result["points"]] == [0, 1, 2]
    plain = result["points"][0]
    assert plain["during"] == plain["alone"]
    other = next(layer for layer in trained.run().layers if layer != best)
    assert call("sweep_poll", chat=ONE, layer=other)["result"]["layer"] == other
    assert not call("sweep_ask", chat=ONE, **{**asked, "factors": "2..1:3"})["ok"]


def test_a_sweep_that_nobody_wants_any_more_ends(call: Any, trained: Studio) -> None:
    with device_taken(trained):
        asked = {**TOLD, "recipe": "2 calm", "factors": "0,1"}
        for _ in range(2):  # the second one takes the place of the first
            call("sweep_ask", chat=TWO, **asked)
        waiting = call("sweep_poll", chat=TWO, layer=0)
        assert (waiting["state"], list(waiting["before"])) == ("waiting", ["Something else"])
        call("sweep_stop", chat=TWO)
    assert finished(call, TWO, layer=0)["state"] == "cancelled"


def test_many_scores_are_read_at_some_layers_only(monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run()
    assert layers_to_read(run, (1,)) == run.layers
    monkeypatch.setattr("readout_ui.app.read.steering.MOST_SCORES", 3)
    assert layers_to_read(run, ()) == tuple(sorted({run.layers[0], run.best_layer}))
