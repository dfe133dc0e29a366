"""What the app holds, driven without a page: states, trainings, runs, exports."""

import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from readout_ui.app.jobs import JobState
from readout_ui.app.session import Studio
from readout_ui.app.status import StudioOptions
from readout_ui.errors import UserError
from readout_ui.progress import Cancelled, Progress, Report
from readout_ui.texts.editing import save_concept
from readout_ui.texts.library import count_changes
from readout_ui.texts.tags import change_tags
from readout_ui.vectors.settings import TrainSettings


def edit(studio: Studio, text: str) -> None:
    calm = studio.library().concept("calm")
    save_concept(studio.folder, "calm", (text, *calm.descriptions[1:]), calm.fingerprint)


def train(studio: Studio) -> str:
    studio.load_model()
    return studio.start_training().result().id


def test_importing_the_studio_loads_neither_torch_nor_transformers() -> None:
    code = "import sys, readout_ui.app.session; print({'torch', 'transformers'} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"


def test_before_the_first_training_everything_is_new(studio: Studio) -> None:
    assert set(studio.concept_states().values()) == {"new"}
    assert studio.changed_descriptions() == 16
    with pytest.raises(UserError, match="press Train"):
        studio.run()


def test_a_training_asked_for_while_the_model_loads_waits_for_it(studio: Studio) -> None:
    studio.load_model()
    assert studio.start_training().result().concepts == ("afraid", "angry", "calm", "happy")


def test_after_a_training_its_run_is_in_use_and_nothing_counts_as_changed(studio: Studio) -> None:
    run_id = train(studio)
    status = studio.status()
    assert status.run is not None
    assert status.run.id == run_id
    assert status.changed == 0
    assert status.model_ready
    assert set(studio.concept_states().values()) == {"trained"}


def test_only_ticked_concepts_are_trained_and_counted_as_changed(studio: Studio) -> None:
    train(studio)
    change_tags(studio.folder, lambda said: said.with_ticks(["calm"], ticked=False))
    status = studio.status()
    assert (status.chosen, status.concepts, status.changed) == (3, 4, 3)
    run = studio.start_training().result()
    assert run.concepts == ("afraid", "angry", "happy")
    assert studio.status().changed == 0
    assert studio.library().names() == ("afraid", "angry", "calm", "happy")
    change_tags(studio.folder, lambda said: said.with_ticks(["calm"], ticked=True))
    assert studio.status().changed == 3


def test_one_edit_counts_as_one_changed_description(studio: Studio) -> None:
    train(studio)
    edit(studio, "I rest. Nothing moves.")
    assert studio.changed_descriptions() == 1
    assert studio.concept_states()["calm"] == "edited"


@pytest.mark.parametrize(
    ("now", "then", "changes"),
    [
        ({"a": ("x", "y")}, {"a": ("y", "x")}, 0),
        ({"a": ("x", "z")}, {"a": ("x", "y")}, 1),
        ({"a": ("x",)}, {"a": ("x", "y")}, 1),
        ({"a": ("x", "x")}, {"a": ("x",)}, 1),
        ({"b": ("x",)}, {"a": ("x",)}, 2),
        ({}, {}, 0),
    ],
)
def test_changes_are_counted_by_text_not_by_order(
    now: dict[str, tuple[str, ...]], then: dict[str, tuple[str, ...]], changes: int
) -> None:
    assert count_changes(now, then) == changes


def test_an_earlier_run_can_be_used_again_with_its_settings(studio: Studio) -> None:
    first = train(studio)
    edit(studio, "I rest. Nothing moves.")
    second = studio.start_training(TrainSettings(method="pca")).result().id
    assert studio.runs.list()[0].id == second
    studio.use_run(first)
    assert studio.run().id == first
    assert studio.settings.method == TrainSettings().method
    assert studio.changed_descriptions() == 1


def test_a_failed_training_leaves_the_vectors_in_use(studio: Studio) -> None:
    first = train(studio)
    (studio.folder / "proud.txt").write_text("\n", encoding="utf-8")
    job = studio.start_training()
    with pytest.raises(UserError):
        job.result()
    assert job.view().state is JobState.FAILED
    assert "proud" in job.view().error
    assert studio.run().id == first


def test_a_prompt_is_read_with_the_run_in_use(studio: Studio) -> None:
    train(studio)
    readout = studio.read("The kettle is on.", "assistant")
    assert readout.concepts == ("afraid", "angry", "calm", "happy")
    assert {"assistant", "template"} <= set(readout.roles)


def test_reading_before_any_training_says_what_to_do(studio: Studio) -> None:
    studio.load_model()
    with pytest.raises(UserError, match="press Train"):
        studio.read("The kettle is on.", "assistant")


def test_a_missing_model_is_explained_where_it_is_needed(
    tmp_path: Path, descriptions: Path
) -> None:
    studio = Studio(StudioOptions(descriptions, tmp_path / "runs", model=str(tmp_path / "none")))
    with pytest.raises(UserError):
        studio.load_model().result()
    with pytest.raises(UserError, match="no model to run"):
        studio.start_training().result()
    studio.close()


def test_vectors_of_texts_that_changed_are_exported_only_when_asked_for(
    studio: Studio, tmp_path: Path
) -> None:
    train(studio)
    edit(studio, "I rest. Nothing moves.")
    with pytest.raises(UserError, match="calm"):
        studio.export((), (), tmp_path / "out")
    folder = studio.export((), (1,), tmp_path / "out", allow_changed=True)
    assert json.loads((folder / "readout.json").read_text())["layers"] == [1]


def test_a_read_only_studio_neither_trains_nor_writes(studio: Studio, tmp_path: Path) -> None:
    before = sorted(path.name for path in studio.folder.iterdir())
    viewer = Studio(replace(studio.options, read_only=True))
    viewer.library()
    with pytest.raises(UserError, match="read-only"):
        viewer.start_training()
    with pytest.raises(UserError, match="read-only"):
        viewer.export((), (), tmp_path / "out")
    viewer.close()
    assert sorted(path.name for path in studio.folder.iterdir()) == before


def test_a_text_written_by_another_program_can_be_restored_later(studio: Studio) -> None:
    from readout_ui.texts.editing import list_versions, read_version

    studio.library()
    (studio.folder / "calm.txt").write_text("Written by vim.\n", encoding="utf-8")
    studio.library()
    versions = list_versions(studio.folder, "calm")
    assert "I feel calm." in read_version(versions[0])[0]


def test_a_judgement_that_somebody_waits_for_is_shown_and_cancelled_from_the_header(
    studio: Studio,
) -> None:
    def work(report: Report) -> None:
        while True:
            report(Progress("Reading texts", 1, 4))
            time.sleep(0.01)

    job = studio.worker.submit("judge", "Generalization", work)
    asked = ThreadPoolExecutor(1)
    waits = asked.submit(job.result)
    while (judging := studio.status().judging) is None or judging.progress is None:
        time.sleep(0.01)
    assert (judging.progress.done, judging.progress.total) == (1, 4)
    studio.cancel_shown()
    with pytest.raises(Cancelled):
        waits.result(timeout=60)
    assert studio.status().judging is None
    asked.shutdown()
