"""Other people's vectors beside a run's own: every format, calibrated here where it has none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from readout_ui.app.judge.kept import KeptBeside
from readout_ui.app.judge.leaderboard import LeaderboardPart, draw_board, judge_place
from readout_ui.app.session import Studio
from readout_ui.errors import UserError
from tests.support.studios import small_studio
from tests.support.trained_example import make_run

gr = pytest.importorskip("gradio")


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    with small_studio(tmp_path_factory.mktemp("board")) as opened:
        yield opened


@pytest.mark.parametrize("form", ["readout", "npz", "gguf", "steering"])
def test_own_vectors_that_went_out_and_came_back_do_as_well_as_before(
    studio: Studio, tmp_path: Path, form: str
) -> None:
    place = studio.run().export(tmp_path / form, form)
    found = judge_place(studio, place)
    assert found.n_texts == 12 * len(found.labels)
    assert abs(found.difference.value) < 0.05
    assert found.calibrated is (form in ("readout", "npz"))
    assert f"{found.theirs.value:.3f}"[1:] in draw_board([KeptBeside(found=found)])


def test_the_board_outlives_the_page_and_the_program(studio: Studio, tmp_path: Path) -> None:
    with gr.Blocks():
        part = LeaderboardPart(studio)
    before = part.refresh("")[part.shown]
    for name in ("ours", "again", "ours"):
        place = studio.run().export(tmp_path / name, "npz")
        drawn = part.add(str(place))
    later = Studio(studio.options)  # no model is loaded in this one
    try:
        with gr.Blocks():
            fresh = LeaderboardPart(later)
        shown = fresh.refresh(before)
        assert shown[fresh.board] == drawn[part.board]
        assert shown[fresh.board].count("<tr>") == 1 + 2
        assert "data-csv='leaderboard'" in shown[fresh.board]
        assert fresh.refresh(shown[fresh.shown]) == {}
    finally:
        later.close()


def test_vectors_of_another_model_are_refused(studio: Studio, tmp_path: Path) -> None:
    folder = make_run().export(tmp_path / "other", "npz")
    with pytest.raises(UserError, match="64 numbers"):
        judge_place(studio, folder)
