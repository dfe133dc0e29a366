"""A training that is known: taken whole where nothing changed, and never where something did."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from readout_ui.models.loading import ModelSpec
from readout_ui.progress import silent
from readout_ui.runs.known import (
    KEPT,
    KnownRun,
    forget_trainings,
    keep_training,
    kept_trainings,
    known_training,
    training_key,
)
from readout_ui.texts.library import Library
from readout_ui.vectors.settings import TrainSettings
from tests.support.tiny_model import save_tiny_model
from tests.support.trained_example import make_run


@pytest.fixture(autouse=True)
def trainings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("READOUT_UI_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache/trainings"


def test_a_known_training_exports_and_saves_what_the_training_did(tmp_path: Path) -> None:
    run = make_run()
    assert known_training("key") is None
    keep_training("key", run)
    known = known_training("key")
    assert isinstance(known, KnownRun)
    assert known.files() == run.files()
    assert known.files(layers=[1]) == run.files(layers=[1]) != run.files()
    first, second = run.save(tmp_path / "first"), known.save(tmp_path / "second", log=["Known"])
    assert first.folder is not None
    assert second.folder is not None
    for name in ("vectors.safetensors", "manifest.json", "descriptions.json"):
        assert (second.folder / name).read_bytes() == (first.folder / name).read_bytes()
    assert second.log == ("Known",)
    assert set(second.timings) == {"look_up"}


@pytest.mark.parametrize("file", ["export/readout.safetensors", "run/vectors.safetensors"])
def test_a_damaged_one_is_not_known(trainings: Path, file: str) -> None:
    keep_training("key", make_run())
    (found,) = trainings.glob(f"key/{file}")
    content = bytearray(found.read_bytes())
    content[-1] ^= 1
    found.write_bytes(content)
    assert known_training("key") is None


def test_the_latest_are_kept_and_all_are_forgotten_together(trainings: Path) -> None:
    for number in range(KEPT + 2):
        keep_training(f"key {number}", make_run())
        os.utime(trainings / f"key {number}", (number, number))
    assert known_training("key 0") is None
    assert known_training(f"key {KEPT + 1}") is not None
    count, size = kept_trainings()
    assert count == KEPT
    assert size > 0
    forget_trainings()
    assert kept_trainings() == (0, 0)


def test_whatever_decides_the_result_changes_the_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "library"
    folder.mkdir()
    (folder / "calm.txt").write_text("I feel calm.\n")
    model = save_tiny_model(tmp_path / "tiny")
    spec = ModelSpec(str(model), device="cpu")

    def key(settings: TrainSettings = TrainSettings(), spec: ModelSpec = spec) -> str:  # noqa: B008
        return training_key(Library(folder), settings, spec, silent)

    keys = [key(), key(TrainSettings(method="mean")), key(spec=replace(spec, dtype="bf16"))]
    assert key() == keys[0]
    with monkeypatch.context() as patch:
        patch.setenv("CUDA_VISIBLE_DEVICES", "1")
        keys.append(key())
    with (model / "config.json").open("a") as config:
        config.write("\n")
    keys.append(key())
    (folder / "calm.txt").write_text("I feel quite calm.\n")
    keys.append(key())
    assert len(set(keys)) == 6
