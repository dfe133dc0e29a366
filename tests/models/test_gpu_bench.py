"""The benchmark for a GPU, tried on the CPU with a tiny model."""

import json
import sys
from pathlib import Path

import pytest

from bench import gpu, gpu_checks

TINY = ["gpu", "--device", "cpu", "--shape", "tiny", "--concepts", "3", "--texts", "3"]


def test_it_runs_on_a_cpu_and_writes_its_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "gpu.json"
    monkeypatch.setattr(sys, "argv", [*TINY, "--tokens", "4", "--out", str(out)])
    monkeypatch.setattr(gpu_checks, "available", lambda: ("llama", "gpt2"))
    assert gpu.main() == 0
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
