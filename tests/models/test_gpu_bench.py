"""The benchmark for a GPU, tried on the CPU with a tiny model."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from bench import gpu, gpu_checks

TINY = ["gpu", "--device", "cpu", "--shape", "tiny", "--concepts", "3", "--texts", "3"]


def test_it_runs_on_a_cpu_and_writes_its_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "gpu.json"
    monkeypatch.setattr(sys, "argv", [*TINY, "--tokens", "4", "--out", str(out)])
    monkeypatch.setattr(gpu_checks, "available", lambda: ("llama", "gpt2"))
    assert gpu.main() == 0
    assert "in half the turns)" in capsys.readouterr().out
    rows = {row["name"]: row for row in json.loads(out.read_text())["rows"]}
    assert {"first training", "live readout, all layers", "steering at every layer"} <= rows.keys()
    assert rows["difference to the CPU, llama"]["value"] <= 1e-4
    assert rows["the same model when loaded again"]["verdict"] == "met"
    assert rows["answer beyond float16: one sentence"]["verdict"] == "met"


def test_a_missed_goal_is_an_exit_status(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [*TINY, "--out", str(tmp_path / "gpu.json")])
    monkeypatch.setattr(gpu, "training", lambda bench: bench.add("waits", 3, "times", "<= 2"))
    monkeypatch.setattr(sys, "argv", [*sys.argv, "--only", "training"])
    assert gpu.main() == 1


def tiny() -> gpu.Bench:
    return gpu.Bench("tiny", torch.device("cpu"), 3, 3)


@pytest.mark.parametrize("way", ["bare", "read", "steered"])
def test_a_step_of_an_answer_holds_one_pass_and_neither_the_prompt_nor_the_last_one(
    way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    speaker, fed = gpu.Speaker(tiny()), [0]

    def count(_module: Any, _args: Any, named: dict[str, Any]) -> None:
        fed[0] += named["input_ids"].shape[1]

    speaker.model.model.register_forward_pre_hook(count, with_kwargs=True)
    monkeypatch.setattr(gpu, "time", SimpleNamespace(perf_counter=lambda: fed[0] / 1e3))
    steps = speaker.speak(
        5, read=speaker.vectors if way == "read" else None, steer=way == "steered"
    )
    assert steps == pytest.approx([1, 1, 1, 1])
    assert fed[0] > 20, "the prompt is fed as well"


def test_a_way_costs_what_it_adds_to_the_bare_answer_beside_it() -> None:
    bench, turn, order = tiny(), [0], list[str]()

    def bare(n_tokens: int) -> list[float]:
        turn[0] += 1
        order.append("bare")
        return [20.0 + turn[0]] * n_tokens + [900.0]  # ever slower, and one token for an age

    def steering(n_tokens: int) -> list[float]:
        order.append("steering")
        return [20.5 + turn[0]] * n_tokens

    gpu.costs(bench, {"bare": bare, "steering": steering})
    assert order[:6] == ["bare", "steering", "steering", "bare", "bare", "steering"]
    of_bare, of_steering = bench.rows
    assert 21 < of_bare.value < 21 + gpu.TURNS
    assert of_steering.value == pytest.approx(0, abs=0.5)
    assert of_steering.note == "-0.50 to 0.50 in half the turns"


@pytest.mark.parametrize(("shape", "goals"), [("8b", ["<= 3", "<= 0.5"]), ("70b", ["", "<= 1.5"])])
def test_goals_of_a_training_are_those_of_the_shape(shape: str, goals: list[str]) -> None:
    bench = gpu.Bench(shape, torch.device("cpu"), 2, 3)
    bench.model = gpu.random_model("tiny", bench.device)
    gpu.training(bench)
    found = {row.name: row.goal for row in bench.rows}
    assert [found["first training"], found["retrain after one edit, 1"]] == goals
