"""What the engine does with rows, without a model."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from readout_vllm import engine
from readout_vllm.settings import Settings
from readout_vllm.wire import Rows

from tests.integrations.exported import write_export

HIGH = np.full((1, 2, 3), 99.0, np.float32)
"""Scores of one token, over any threshold."""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    folder = write_export(tmp_path)
    return Settings(folder / "readout.safetensors", folder / "readout.json")


def request(**extra: Any) -> SimpleNamespace:
    return SimpleNamespace(sampling_params=SimpleNamespace(extra_args=extra), num_output_tokens=4)


def test_a_watched_concept_fires_once_and_wishes_are_read_once(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Any] = []

    def counted(extra: Any, settings: Settings) -> Any:
        read.append(extra)
        return asked(extra, settings)

    asked = engine.asked
    monkeypatch.setattr(engine, "asked", counted)
    stops: dict[str, tuple[int, str]] = {}
    one = engine.EngineReadout(settings, stops)
    requests = {
        "watches": request(readout_watch=["sad"], readout_stop=1),
        "only asks": request(readout=1),
    }
    found = {name: Rows(HIGH, None) for name in [*requests, "has left"]}
    passes = [one.watch(requests, found) for _ in range(3)]
    assert [list(fired) for fired in passes] == [["watches"], [], []]
    assert passes[0]["watches"][0][:2] == (2, 0)
    assert stops == {"watches": (5, "readout:sad")}
    assert len(read) == 2


def test_a_new_request_of_the_same_name_fires_again(settings: Settings) -> None:
    one = engine.EngineReadout(settings, {})
    for _ in range(2):
        assert one.watch({"a": request(readout_watch="all")}, {"a": Rows(HIGH, None)})
