"""Kept runs: nothing is lost, nothing half written is seen, and broken ones say why."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from readout_ui.cli import program as cli
from readout_ui.errors import UserError
from readout_ui.runs.run import Run
from readout_ui.runs.store import RunAbout, RunStore
from tests.support.reports import make_report
from tests.support.trained_example import CONCEPTS, LAYERS, make_run

ROOT = Path(__file__).parents[2]
START = datetime(2026, 11, 21, 8, 0, 0, tzinfo=UTC)
FIXED = ("vectors.safetensors", "manifest.json", "descriptions.json")


def place(run: Run) -> Path:
    assert run.folder is not None
    return run.folder


def minutes() -> Iterator[datetime]:
    when = START
    while True:
        yield when
        when += timedelta(minutes=1)


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    clock = minutes()
    return RunStore(tmp_path / "runs", now=lambda: next(clock))


def test_a_run_comes_back_whole(store: RunStore) -> None:
    trained = make_run()
    saved = store.save(trained, log=["Reading texts", "Fitting"])
    record = store.open(saved.id)
    vectors = record.vectors
    assert record.created == START
    assert record.concepts == CONCEPTS
    assert record.layers == LAYERS
    assert record.settings == trained.settings
    assert record.texts == trained.texts
    assert record.fingerprints == trained.fingerprints
    assert record.layer_scores == trained.layer_scores
    assert record.best_layer == 3
    assert record.n_texts == 7
    assert record.timings == trained.timings
    assert record.warnings == trained.warnings
    assert record.log == ("Reading texts", "Fitting")
    assert record.model_name == "tiny/model"
    for part in ("directions", "center", "neutral_mean", "neutral_std"):
        assert torch.equal(getattr(vectors, part), getattr(trained.vectors, part))


def test_an_export_of_a_kept_run_equals_the_export_of_the_training(
    store: RunStore, tmp_path: Path
) -> None:
    trained = make_run()
    record = store.open(store.save(trained).id)
    trained.export(tmp_path / "one")
    record.export(tmp_path / "two")
    for file in (tmp_path / "one").iterdir():
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes()


def test_runs_are_listed_newest_first(store: RunStore) -> None:
    ids = [store.save(make_run(seed)).id for seed in range(3)]
    assert [run.id for run in store.list()] == ids[::-1]


def test_a_store_without_a_folder_is_empty(store: RunStore) -> None:
    assert store.list() == ()
    assert store.broken() == ()
    assert store.current() is None


def test_two_equal_trainings_in_one_second_are_both_kept(tmp_path: Path) -> None:
    store = RunStore(tmp_path, now=lambda: START)
    first, second = store.save(make_run()), store.save(make_run())
    assert first.id != second.id
    assert len(store.list()) == 2


SCRIPT = """
import pathlib
from tests.support.trained_example import make_run
from readout_ui.runs.store import RunStore
RunStore(pathlib.Path({folder!r})).save(make_run())
"""


def test_another_process_keeps_the_same_bytes(store: RunStore, tmp_path: Path) -> None:
    here = store.save(make_run())
    other = tmp_path / "other"
    script = SCRIPT.format(folder=str(other))
    subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT)
    (there,) = RunStore(other).list()
    for name in FIXED:
        assert (place(here) / name).read_bytes() == (place(there) / name).read_bytes()


def test_listing_runs_loads_neither_torch_nor_transformers(store: RunStore) -> None:
    store.save(make_run())
    script = (
        "import sys, pathlib; from readout_ui.runs.store import RunStore;"
        f"assert len(RunStore(pathlib.Path({str(store.folder)!r})).list()) == 1;"
        "sys.exit(any(name in sys.modules for name in ('torch', 'transformers', 'numpy')))"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False, cwd=ROOT).returncode == 0


def test_the_run_in_use_is_remembered(store: RunStore) -> None:
    first, _second = store.save(make_run(1)), store.save(make_run(2))
    assert store.current() is None
    store.set_current(first.id)
    current = RunStore(store.folder).current()
    assert current is not None
    assert current.id == first.id


def test_a_run_that_is_not_there_cannot_be_used(store: RunStore) -> None:
    kept = store.save(make_run()).id
    store.set_current(kept)
    with pytest.raises(UserError, match=kept):
        store.set_current("20200101-000000-abcdef")
    current = store.current()
    assert current is not None
    assert current.id == kept


@pytest.mark.parametrize("run_id", ["", ".", "..", "../runs", "/etc", "a/b", ".hidden", "x\0y"])
def test_a_run_is_never_looked_for_outside_the_store(store: RunStore, run_id: str) -> None:
    store.save(make_run())
    (store.folder / ".hidden").mkdir()
    for action in (store.open, store.delete, store.set_current):
        with pytest.raises(UserError, match="no run"):
            action(run_id)
    assert len(store.list()) == 1


@pytest.mark.parametrize("name", [*FIXED, "run.json"])
def test_a_run_without_one_of_its_files_is_listed_as_broken(store: RunStore, name: str) -> None:
    good, bad = store.save(make_run(1)), store.save(make_run(2))
    (place(bad) / name).unlink()
    assert [run.id for run in store.list()] == [good.id]
    (broken,) = store.broken()
    assert broken.id == bad.id
    assert name in broken.reason


@pytest.mark.parametrize("name", [*FIXED, "run.json"])
def test_a_truncated_file_breaks_only_its_run(store: RunStore, name: str) -> None:
    good, bad = store.save(make_run(1)), store.save(make_run(2))
    raw = (place(bad) / name).read_bytes()
    (place(bad) / name).write_bytes(raw[:-20])
    assert [run.id for run in store.list()] == [good.id]
    with pytest.raises(UserError):
        _ = store.open(bad.id).vectors


def test_a_flipped_bit_in_the_vectors_is_found_when_they_are_loaded(store: RunStore) -> None:
    run = store.save(make_run())
    raw = bytearray((place(run) / "vectors.safetensors").read_bytes())
    raw[-1] ^= 1
    (place(run) / "vectors.safetensors").write_bytes(raw)
    with pytest.raises(UserError, match="changed since it was saved"):
        _ = store.open(run.id).vectors


def test_changed_texts_are_found(store: RunStore) -> None:
    run = store.save(make_run())
    path = place(run) / "descriptions.json"
    path.write_text(path.read_text().replace("chest", "belly"))
    (broken,) = store.broken()
    assert "the texts are not those of the manifest" in broken.reason


def test_a_run_of_a_later_version_is_broken_with_the_reason(store: RunStore) -> None:
    run = store.save(make_run())
    manifest = json.loads((place(run) / "manifest.json").read_text())
    manifest["schema_version"] = 7
    (place(run) / "manifest.json").write_text(json.dumps(manifest))
    (broken,) = store.broken()
    assert "unknown schema version 7" in broken.reason


def test_a_setting_of_a_later_version_is_broken_with_the_reason(store: RunStore) -> None:
    run = store.save(make_run())
    manifest = json.loads((place(run) / "manifest.json").read_text())
    manifest["settings"]["magic"] = 1
    (place(run) / "manifest.json").write_text(json.dumps(manifest))
    (broken,) = store.broken()
    assert "unknown setting 'magic'" in broken.reason


def test_a_broken_run_in_use_means_none_is_in_use(store: RunStore) -> None:
    run = store.save(make_run())
    store.set_current(run.id)
    (place(run) / "run.json").write_text("{")
    assert store.current() is None
    (store.folder / "current").write_bytes(b"\xff")
    assert store.current() is None


def test_a_killed_save_leaves_nothing_that_is_listed(store: RunStore) -> None:
    kept = store.save(make_run())
    shutil.copytree(place(kept), store.folder / ".saving-0123456789ab")
    assert [run.id for run in store.list()] == [kept.id]
    assert store.broken() == ()


def test_what_a_killed_save_left_is_removed_only_when_it_is_old(store: RunStore) -> None:
    kept = store.save(make_run())
    fresh, stale = store.folder / ".saving-fresh", store.folder / ".saving-stale"
    shutil.copytree(place(kept), fresh)
    shutil.copytree(place(kept), stale)
    os.utime(stale, (0, 0))
    store.save(make_run(1))
    assert fresh.exists()
    assert not stale.exists()


def test_a_save_that_fails_keeps_the_others_and_leaves_no_rubbish(
    store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = store.save(make_run())

    def refuse(*_args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("readout_ui.files.os.fsync", refuse)
    with pytest.raises(UserError, match="No space left on device"):
        store.save(make_run(1))
    assert [entry.name for entry in store.folder.iterdir()] == [kept.id]


def test_only_the_named_run_is_deleted(store: RunStore) -> None:
    first, second = store.save(make_run(1)), store.save(make_run(2))
    store.set_current(second.id)
    store.delete(first.id)
    assert [run.id for run in store.list()] == [second.id]
    current = store.current()
    assert current is not None
    assert current.id == second.id


def test_after_the_run_in_use_is_deleted_none_is_in_use(store: RunStore) -> None:
    run = store.save(make_run())
    store.set_current(run.id)
    store.delete(run.id)
    assert store.current() is None
    assert list(store.folder.iterdir()) == []


def test_a_broken_run_can_be_deleted(store: RunStore) -> None:
    run = store.save(make_run())
    (place(run) / "manifest.json").unlink()
    store.delete(run.id)
    assert store.broken() == ()


def test_the_size_of_what_is_kept_is_known(store: RunStore) -> None:
    run = store.save(make_run())
    assert run.n_bytes == sum(file.stat().st_size for file in place(run).iterdir())


def fake_model(**changes: str) -> Any:
    parts = {"name": "tiny/model", "fingerprint": "f" * 16, "d_model": 64, "n_layers": 4}
    framed = SimpleNamespace(frame=SimpleNamespace(fingerprint="a" * 64))
    return SimpleNamespace(**{**parts, **changes}, framed=lambda _: framed)


def test_a_run_refuses_another_model_by_name(store: RunStore) -> None:
    run = store.save(make_run())
    run.refuse_other_model(fake_model())
    with pytest.raises(UserError, match=r"trained on tiny/model, the loaded model is big/model"):
        run.refuse_other_model(fake_model(name="big/model", fingerprint="0" * 16))
    with pytest.raises(UserError, match="weights of tiny/model differ"):
        run.refuse_other_model(fake_model(fingerprint="0" * 16))


def test_name_note_and_tags_stand_beside_the_run_and_leave_it_as_it_is(store: RunStore) -> None:
    run = store.save(make_run())
    manifest = (store.folder / run.id / "manifest.json").read_bytes()
    assert store.title(run) == f"{run.created.astimezone():%Y-%m-%d %H:%M:%S}"
    assert (store.about(run.id), store.origin(run)) == (RunAbout(), "descriptions")
    store.describe(run.id, name=" second try ", note="one text\nrewritten", tags=("a", "b"))
    kept = store.describe(run.id, tags=("c",))
    assert kept == store.about(run.id)
    assert (kept.name, kept.note, kept.tags) == ("second try", "one text\nrewritten", ("c",))
    assert store.title(store.open(run.id)) == "second try"
    assert (store.folder / run.id / "manifest.json").read_bytes() == manifest
    store.describe(run.id, origin="care.zip")
    assert store.origin(store.open(run.id)) == "brought from care.zip"


@pytest.mark.parametrize(
    "said", [{"name": "x" * 81}, {"name": "a\nb"}, {"tags": ("t",) * 13}, {"note": "n" * 2001}]
)
def test_what_cannot_be_said_of_a_run_changes_nothing(
    store: RunStore, said: dict[str, Any]
) -> None:
    run = store.save(make_run())
    store.describe(run.id, name="kept")
    with pytest.raises(UserError, match="cannot be kept"):
        store.describe(run.id, **said)
    assert store.about(run.id).name == "kept"
    with pytest.raises(UserError, match="no run"):
        store.describe("../elsewhere", name="x")


@pytest.mark.parametrize("raw", [b"{", b'{"name": 3}', b"\xff", b'{"name": "' + b"x" * 200_000])
def test_a_damaged_about_file_costs_the_name_and_not_the_run(store: RunStore, raw: bytes) -> None:
    run = store.save(make_run())
    (store.folder / run.id / "about.json").write_bytes(raw)
    assert store.about(run.id) == RunAbout()
    assert [each.id for each in store.list()] == [run.id]


def test_the_command_line_lists_names_uses_and_deletes_runs(
    store: RunStore, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = store.save(make_run(1)), store.save(make_run(2))
    runs = ["runs", "--runs", str(store.folder)]
    told = ["--name", "second try", "--note", "one text", "--tags", "diary,draft", "--use"]
    assert cli.run([*runs, second.id, *told]) == 0
    assert capsys.readouterr().out.splitlines()[1].startswith(f"{second.id} *  second try")
    assert cli.run([*runs, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["runs"]
    assert {row["id"]: (row["name"], row["tags"], row["in_use"]) for row in rows} == {
        second.id: ("second try", ["diary", "draft"], True),
        first.id: ("", [], False),
    }
    assert cli.run([*runs, first.id, "--delete"]) == 0
    assert first.id not in capsys.readouterr().out
    assert cli.run([*runs, "--name", "which?"]) == 2
    assert "nothing says which run" in capsys.readouterr().err


def test_the_mark_changes_with_everything_that_is_kept(store: RunStore) -> None:
    marks = [store.mark()]
    run = store.save(make_run())
    marks.append(store.mark())
    store.describe(run.id, name="second try")
    marks.append(store.mark())
    store.keep_report(make_report(run.id))
    marks.append(store.mark())
    assert store.mark() == marks[-1]
    assert len({*marks}) == len(marks)
    store.delete(run.id)
    assert store.mark() == marks[0]
