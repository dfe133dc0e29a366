"""What moved from one run to another."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from readout_ui.evaluation.results import Rows
from readout_ui.evaluation.run_changes import change_rows, changes_csv, moved
from readout_ui.evaluation.run_diff import (
    Moves,
    RunDiff,
    ScoreChange,
    ScoreChanges,
    TextChange,
    compare_runs,
    diff_json,
    text_changes,
)
from readout_ui.runs.manifest import ModelPart
from readout_ui.runs.run import Run
from readout_ui.runs.store import RunStore
from readout_ui.vectors.settings import TrainSettings
from tests.support.trained_example import make_run, make_vectors


def diff_of(tmp_path: Path, old: Run, new: Run) -> RunDiff:
    store = RunStore(tmp_path / "runs")
    first, second = store.save(old), store.save(new)
    return compare_runs(first, second)


def test_a_run_compared_with_its_twin_differs_in_nothing(tmp_path: Path) -> None:
    diff = diff_of(tmp_path, make_run(), make_run())
    assert not diff.texts
    assert {*diff.settings, *diff.concepts_added, *diff.concepts_removed} == set()
    assert diff.moves is not None
    assert diff.moves.cosine == pytest.approx(1.0)


def test_the_direction_that_turned_is_the_one_that_moved(tmp_path: Path) -> None:
    vectors = make_vectors()
    directions = vectors.directions.clone()
    directions[1, 0] = -directions[1, 0]
    turned = replace(vectors, directions=directions)
    moves = diff_of(tmp_path, make_run(), make_run(vectors=turned)).moves
    assert moves is not None
    assert moves.cosine[1, 0] == pytest.approx(-1)
    assert moves.mean() == pytest.approx([1, 0, 1])


def test_only_common_concepts_and_layers_are_compared(tmp_path: Path) -> None:
    fewer = make_vectors().select(concepts=["sad", "calm"], layers=[3])
    diff = diff_of(tmp_path, make_run(), make_run(vectors=fewer))
    assert diff.moves is not None
    assert (diff.moves.concepts, diff.moves.layers) == (("sad", "calm"), (3,))
    assert diff.concepts_removed == ("afraid",)
    assert diff.moves.cosine == pytest.approx(1.0)


def test_a_zero_direction_has_no_cosine_and_json_says_null(tmp_path: Path) -> None:
    vectors = make_vectors()
    directions = vectors.directions.clone()
    directions[0, 0] = 0
    empty = replace(vectors, directions=directions)
    diff = diff_of(tmp_path, make_run(), make_run(vectors=empty))
    assert diff.moves is not None
    assert np.isnan(diff.moves.cosine[0, 0])
    values = json.loads(json.dumps(diff_json(diff), allow_nan=False))
    assert values["moves"]["cosine"]["afraid"][0] is None


def test_runs_of_different_models_are_compared_in_texts_only(tmp_path: Path) -> None:
    other = make_run(model=ModelPart(id="other/model", revision="", fingerprint="e" * 16))
    diff = diff_of(tmp_path, make_run(), other)
    assert diff.moves is None
    assert "different models" in diff.why_no_moves
    assert diff.settings == ("model: tiny/model → other/model",)


def test_settings_that_differ_are_named(tmp_path: Path) -> None:
    pca = make_run(settings=TrainSettings(method="pca"))
    assert diff_of(tmp_path, make_run(), pca).settings == ("method: whitened → pca",)


def test_texts_are_added_removed_and_edited() -> None:
    old = {"calm": ("I rest in the shade. Nothing pulls.", "gone"), "sad": ("x",)}
    new = {"calm": ("I rest in the sun. Nothing pulls.",), "sad": ("x", "y"), "new": ("z",)}
    assert text_changes(old, new) == (
        TextChange("calm", "edited", old["calm"][0], new["calm"][0]),
        TextChange("calm", "removed", "gone", ""),
        TextChange("new", "added", "", "z"),
        TextChange("sad", "added", "", "y"),
    )


def test_another_order_of_the_texts_is_no_change() -> None:
    assert text_changes({"a": ("x", "y")}, {"a": ("y", "x")}) == ()


def score(concept: str, before: float, after: float, p: float) -> ScoreChange:
    change = after - before
    return ScoreChange(concept, 8, before, after, change - 0.02, change + 0.02, p)


def test_every_concept_has_a_row_new_minus_old_and_a_verdict() -> None:
    moves = Moves(("a", "b", "c", "d"), (1, 3), np.array([[1, 0.9], [1, 1], [0, 0.96], [1, 1.0]]))
    rows = [score("a", 0.5, 0.9, 0.001), score("b", 0.9, 0.8, 0.01), score("c", 0.9, 0.91, 0.7)]
    rows.append(score("d", 0.9, 0.9, 1.0))
    diff = RunDiff("old", "new", (), (), ("e",), ("f",), moves, "", True, ())
    found = change_rows(diff, ScoreChanges(3, 32, score("macro", 0.8, 0.87, 0.5), Rows(rows)))
    verdicts = [(row.concept, row.verdict) for row in found]
    assert verdicts == [
        *(("a", "better"), ("b", "worse"), ("e", "new"), ("f", "gone")),
        *(("c", "within noise"), ("d", "did not move")),
    ]
    first = found[0]
    assert first.turned == pytest.approx(0.1)  # at layer 3, where the scores are of
    assert first.change == pytest.approx(0.4)
    assert [row.concept for row in moved(found)] == ["a", "b", "e", "f", "c"]
    lines = changes_csv(found).splitlines()
    assert lines[0].startswith("concept,turned,before,after,change,low,high,p,verdict")
    assert lines[3] == "e,,,,,,,,new"


def test_without_scores_a_row_tells_how_far_the_direction_turned_in_the_mean() -> None:
    moves = Moves(("a", "b"), (1, 3), np.array([[1, 0.9], [np.nan, 1]]))
    found = change_rows(RunDiff("o", "n", (), (), (), (), moves, "", True, ()), None)
    assert [(row.concept, row.verdict) for row in found] == [("a", "turned"), ("b", "did not move")]
    assert found[0].turned == pytest.approx(0.05)
