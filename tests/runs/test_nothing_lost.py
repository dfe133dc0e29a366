"""Runs, exports and trainings under faults: whatever call fails or kills, every folder opens."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from readout_ui.activations.cache import ActivationCache
from readout_ui.activations.pooling import TextActivations
from readout_ui.files import remove_stale
from readout_ui.runs.run import Run
from readout_ui.runs.store import RunStore
from readout_ui.runs.training import train
from readout_ui.texts.library import Library
from readout_ui.vectors.settings import TrainSettings
from tests.support.faults import Tell, every_fault, side_by_side
from tests.support.loaded_tiny import load_tiny
from tests.support.trained_example import make_run

pytestmark = [
    pytest.mark.once,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a system that can fork"),
]
OLD, NEW = make_run(seed=1), make_run(seed=2)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_whatever_call_fails_every_kept_run_opens(tmp_path: Path) -> None:
    place = tmp_path / "runs"
    kept: list[str] = []

    def prepare() -> None:
        shutil.rmtree(place, ignore_errors=True)
        run = RunStore(place).save(OLD)
        RunStore(place).set_current(run.id)
        kept[:] = [run.id]

    def work(tell: Tell) -> None:
        store = RunStore(place)
        run = store.save(NEW)
        tell(["saved", run.id])
        store.set_current(run.id)
        tell(["current", run.id])
        store.delete(kept[0])
        tell(["deleted", kept[0]])

    for name, outcome in every_fault(work, place, prepare):
        store = RunStore(place)
        store.tidy()
        told = dict(outcome.told)
        present = {run.id for run in store.list()}
        assert store.broken() == (), name
        assert set(filter(None, [told.get("saved")])) <= present, name
        assert (kept[0] in present) or told.get("current"), name
        assert all(run.vectors.concepts for run in store.list()), name
        current = store.current()
        if "current" in told:
            assert current is not None, name
            assert current.id == told["current"], name
        elif kept[0] in present:
            assert current is not None, name
        assert not [entry for entry in names(place) if entry.startswith(".")], name


@pytest.mark.parametrize("target", ["out", "out.zip"])
def test_whatever_call_fails_an_export_opens(tmp_path: Path, target: str) -> None:
    place = tmp_path / "exports"

    def prepare() -> None:
        shutil.rmtree(place, ignore_errors=True)
        OLD.export(place / target)

    def work(tell: Tell) -> None:
        NEW.export(place / target)
        tell("new")

    old, new = (run.vectors.directions.half().float() for run in (OLD, NEW))
    for name, outcome in every_fault(work, place, prepare):
        found = Run.open(place / target).vectors.directions
        assert torch.equal(found, new) or (not outcome.told and torch.equal(found, old)), name
        remove_stale(place)
        assert names(place) == [target], name


def test_two_programs_that_export_and_choose_leave_what_opens(tmp_path: Path) -> None:
    store = RunStore(tmp_path / "runs")
    ids = [store.save(run).id for run in (OLD, NEW)]

    def worker(run: Run, own: str, other: str) -> Callable[[Tell], None]:
        def work(tell: Tell) -> None:
            for number in range(6):
                run.export(tmp_path / "out")
                run.export(tmp_path / "out.zip")
                store.set_current(own if number % 2 else other)
                saved = store.save(run)
                store.set_current(saved.id)
                store.delete(saved.id)
                tell(number)

        return work

    told = side_by_side(worker(OLD, *ids), worker(NEW, *reversed(ids)))
    assert told == [[*range(6)], [*range(6)]]
    exports = [run.vectors.directions.half().float() for run in (OLD, NEW)]
    for target in ("out", "out.zip"):
        found = Run.open(tmp_path / target).vectors.directions
        assert any(torch.equal(found, one) for one in exports)
    assert {run.id for run in store.list()} == set(ids)
    assert store.broken() == ()


def test_whatever_call_of_a_training_fails_every_folder_opens(tmp_path: Path) -> None:
    place, model = tmp_path / "all", load_tiny()
    texts = Library({"calm": ["I rest.", "I float."], "sad": ["I ache.", "I cry."]})

    def work(tell: Tell) -> None:
        cache = ActivationCache(place / "cache")
        run = RunStore(place / "runs").save(train(texts, model, TrainSettings(), cache))
        RunStore(place / "runs").set_current(run.id)
        tell(run.id)

    for name, outcome in every_fault(work, place, lambda: shutil.rmtree(place, True), step=9):
        store = RunStore(place / "runs")
        store.tidy()
        assert store.broken() == (), name
        assert {*outcome.told} <= {run.id for run in store.list()}, name
        cache = ActivationCache(place / "cache")
        assert cache.summary().on_disk, name
        cache.close()


def test_a_cache_that_cannot_be_written_costs_no_result(tmp_path: Path) -> None:
    place = tmp_path / "cache"
    entry = {"key": TextActivations(torch.ones(1, 2, 3), torch.ones(2, 2, 3), 5, False)}

    def work(tell: Tell) -> None:
        cache = ActivationCache(place)
        cache.put_many(entry, "model")
        assert cache.get_many(["key"])["key"].n_tokens == 5
        assert all("\n" not in note for note in cache.take_notes())
        cache.close()
        tell("kept")

    for name, outcome in every_fault(work, place, lambda: shutil.rmtree(place, True)):
        assert not outcome.refused, name
        cache = ActivationCache(place)
        found = cache.get_many(["key"])
        assert not found or torch.equal(found["key"].pooled, entry["key"].pooled), name
        cache.close()
