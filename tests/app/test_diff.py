"""What moved between two runs, as the room Ship shows it, driven without a page."""

from pathlib import Path

import pytest

from readout_ui.app.session import Studio
from readout_ui.app.ship.diff import DiffBox, draw_choice
from readout_ui.app.status import StudioOptions
from readout_ui.errors import UserError
from readout_ui.texts.editing import save_concept

gr = pytest.importorskip("gradio")


def edit_and_retrain(studio: Studio) -> str:
    calm = studio.library().concept("calm")
    texts = ("I rest. Nothing moves in me.", *calm.descriptions[1:])
    save_concept(studio.folder, "calm", texts, calm.fingerprint)
    return studio.start_training().result().id


def compared(studio: Studio, one: str, other: str) -> str:
    with gr.Blocks():
        place = DiffBox(studio)
    return str(place.compare(gr.EventData(None, {"old": one, "new": other}))[place.found])


def test_two_runs_are_compared_in_texts_scores_and_turns(trained: Studio) -> None:
    first = trained.runs.list()[0].id
    second = edit_and_retrain(trained)
    words = compared(trained, first, second)
    assert "1 text changed" in words or "2 texts changed" in words
    assert "on the 15 texts both runs have" in words
    assert "#/write/calm" in words
    assert compared(trained, second, first) == words  # the newer one minus the older, always


def test_while_the_model_is_missing_the_rest_is_compared(
    trained: Studio, tmp_path: Path, tiny_folder: Path
) -> None:
    first = trained.runs.list()[0].id
    second = edit_and_retrain(trained)
    options = StudioOptions(trained.folder, tmp_path / "runs", model=str(tiny_folder), report=False)
    fresh = Studio(options)
    words = compared(fresh, first, second)
    fresh.close()
    assert "Scores were not compared" in words
    assert "#/write/calm" in words


def test_a_run_is_not_compared_with_itself(trained: Studio) -> None:
    run = trained.runs.list()[0].id
    with pytest.raises(UserError, match="both runs are the same"):
        compared(trained, run, run)
    assert draw_choice(trained) == ""  # one run alone leaves nothing to choose
