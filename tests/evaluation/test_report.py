"""The report of a run, made on the tiny model and on planted scores."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from readout_ui.app.jobs import JobState
from readout_ui.app.session import Studio
from readout_ui.evaluation.evidence import Evidence, pair_verdict, shipped_texts
from readout_ui.evaluation.report import headline_of, lens_layer
from readout_ui.runs.report import PairReport, RunReport, layer_note
from readout_ui.texts.editing import save_concept
from tests.support.reports import make_concept
from tests.support.studios import small_studio


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    with small_studio(tmp_path_factory.mktemp("judged")) as opened:
        yield opened


@pytest.fixture(scope="module")
def report(studio: Studio) -> RunReport:
    return studio.start_report(studio.run().id).result()


def test_every_concept_has_evidence_neighbours_tokens_and_texts(
    studio: Studio, report: RunReport
) -> None:
    run = studio.run()
    assert tuple(each.name for each in report.concepts) == run.concepts
    assert set(report.order) == set(run.concepts)
    for each in report.concepts:
        assert each.low is not None
        assert each.high is not None
        assert each.auroc is not None
        assert each.low <= each.auroc <= each.high
        assert each.n_texts == len(run.texts[each.name])
        assert tuple(one.text for one in each.texts) == run.texts[each.name]
        assert len(each.raises) == len(each.lowers) == 10
        cosines = [cosine for _, cosine in each.nearest]
        assert cosines == sorted(cosines, reverse=True)
    assert report.held_out.endswith("shipped texts")
    assert report.words is not None
    assert report.beside[0].startswith("A bag of words on the same descriptions")
    assert report.moved == ""


def test_it_is_kept_and_found_again_by_another_session(studio: Studio, report: RunReport) -> None:
    assert studio.report() == studio.report(report.run_id) == report
    job = studio.report_job()
    assert job is not None
    assert job.view().state is JobState.DONE


def test_a_training_with_reports_says_what_an_edit_moved(tmp_path: Path) -> None:
    with small_studio(tmp_path) as studio:
        object.__setattr__(studio.options, "report", True)
        calm = studio.library().concept("calm")
        texts = ("My fists are hot and I want to hit the wall.", *calm.descriptions[1:])
        save_concept(studio.folder, "calm", texts, calm.fingerprint)
        before = studio.run().id
        run = studio.start_training().result()
        job = studio.report_job()
        assert job is not None
        report = job.result()
        assert (report.run_id, report.before) == (run.id, before)
        assert report.moved.startswith("calm turned 0.")
        assert "AUROC" in report.moved


def test_texts_of_the_run_judge_concepts_that_no_shipped_text_names(tmp_path: Path) -> None:
    with small_studio(tmp_path, train=False) as studio:
        folder = studio.folder
        (folder / "blorp.txt").write_text((folder / "calm.txt").read_text().replace("I", "We"))
        (folder / "single.txt").write_text("Only this one text.\n")
        run = studio.start_training().result()
        report = studio.start_report(run.id).result()
    blorp, single = report.concept("blorp"), report.concept("single")
    assert blorp is not None
    assert single is not None
    assert blorp.auroc is not None
    assert single.verdict == "not judged"
    assert report.missing == ("single",)
    said = " ".join(each.sentence for each in report.findings)
    assert "blorp" in said
    assert "No held-out text judges single" in said


def planted(**changes: Any) -> Evidence:
    """Three concepts with four texts each; c is read perfectly, a and b like each other."""
    own = np.repeat(np.eye(3, dtype=bool), 4, axis=0)
    draws = np.random.default_rng(0)
    scores = draws.normal(0, 0.01, (12, 3)) + own
    scores[:8, :2] = draws.normal(1, 0.1, (8, 2))
    known: dict[str, Any] = {
        "name": "12 texts",
        "concepts": ("a", "b", "c"),
        "texts": tuple(map(str, range(12))),
        "own": own,
        "scores": scores,
        "random": draws.normal(size=(12, 50)),
    }
    return Evidence(**known | changes)


def test_pairs_are_told_apart_where_the_difference_of_their_scores_does() -> None:
    evidence = planted()
    assert evidence.told_apart("a", "c") == 1
    assert evidence.told_apart("c", "a") == 1
    found = evidence.told_apart("a", "b")
    assert found is not None
    assert found < 0.95
    assert evidence.told_apart("a", "unknown") is None
    assert evidence.per_concept()["c"].ends()[0] == 1
    assert set(evidence.read_as("c")) == set()
    assert set(evidence.read_as("a")) <= {"b"}


def test_a_baseline_that_the_vectors_do_not_beat_is_said_plainly() -> None:
    ours = planted()
    perfect = ours.own.astype(float)
    noise = np.random.default_rng(1).normal(size=ours.own.shape)
    beaten, better = planted(words=noise, embedding=perfect).beside()
    assert beaten.startswith("A bag of words on the same descriptions reaches")
    assert "A sentence embedding on the same descriptions reads these texts" in better
    assert "the vectors are above it by 0." in beaten
    assert "the vectors are below it by 0." in better
    assert "by -" not in beaten + better
    _, missing = planted(words=noise).beside()
    assert "pip install" in missing
    assert ours.beside() == ()


@pytest.mark.parametrize(
    ("cosine", "auroc", "verdict"),
    [
        (0.5, 0.74, "confused"),
        (0.5, 0.75, "told apart"),
        (-0.5, 0.2, "opposed"),
        (0.5, None, "not judged"),
    ],
)
def test_a_pair_is_confused_below_three_of_four(
    cosine: float, auroc: float | None, verdict: str
) -> None:
    assert pair_verdict(cosine, auroc) == verdict


def test_the_headline_counts_what_is_above_chance() -> None:
    concepts = [make_concept("a", 0.95), make_concept("b", 0.5), make_concept("c", None)]
    pair = PairReport("a", "b", 0.5, 0.1, 0.6, "confused")
    assert headline_of(concepts, [pair]) == (
        "1 of 3 concepts can be read; 1 could not be judged; 1 pair is confused"
    )
    assert headline_of(concepts[:1], []).endswith("no pair is confused")
    assert "None of 1" in headline_of(concepts[2:], [])


def test_the_layer_note_says_what_is_best() -> None:
    run: Any = SimpleNamespace(layer_scores=(0.7, 0.9, 0.91))
    assert "within noise of the best, 2 (0.910)" in layer_note(run.layer_scores, 1)
    assert "is the best of 3" in layer_note(run.layer_scores, 2)
    run.layer_scores = None
    assert "no score" in layer_note(run.layer_scores, 1)


def test_tokens_are_looked_at_late_in_the_depth_or_as_near_as_the_run_has_layers() -> None:
    run: Any = SimpleNamespace(layer_scores=(0.5,) * 30, layers=tuple(range(30)))
    assert lens_layer(run) == 26
    run.layers = (14, 20)
    assert lens_layer(run) == 20


def test_spelling_alone_never_brings_a_label_to_a_concept() -> None:
    readout: Any = SimpleNamespace(concepts=("hapqy", "camlm"), texts={})
    assert shipped_texts(readout) is None
