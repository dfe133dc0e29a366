"""What the header says, from a status to HTML."""

from dataclasses import replace

import pytest

from readout_ui.app.follow import draw_progress
from readout_ui.app.header import draw_news, train_button, train_label
from readout_ui.app.jobs import JobState, JobView
from readout_ui.app.status import Status
from readout_ui.progress import Progress
from tests.support.reports import make_report
from tests.support.trained_example import make_run

RUNNING = JobView(
    number=1,
    kind="train",
    title="Training",
    state=JobState.RUNNING,
    progress=Progress("Reading texts", 12, 48),
    seconds=3.0,
    seconds_left=9.0,
    log=(),
    error="",
    cancelling=False,
)
IDLE = Status(
    model=None,
    model_description="tiny on cpu",
    model_notes=(),
    run=None,
    training=None,
    changed=3,
)


def test_a_running_training_shows_real_counts_and_the_time_left() -> None:
    shown = draw_progress(RUNNING)
    assert "12 of 48 texts" in shown
    assert "about 9 s left" in shown
    assert "value='0.250'" in shown


def test_a_training_that_waits_says_what_for() -> None:
    waiting = replace(RUNNING, state=JobState.WAITING, progress=None, seconds_left=None)
    assert "Waiting for the device" in draw_progress(waiting)


def test_a_wish_to_cancel_is_shown_until_it_is_done() -> None:
    assert "Stopping" in draw_progress(replace(RUNNING, cancelling=True))


def test_a_judgement_that_somebody_waits_for_is_told_like_a_training() -> None:
    judging = replace(RUNNING, kind="judge", title="Generalization")
    status = replace(IDLE, judging=judging)
    assert "12 of 48 texts" in draw_news(status, None)
    assert status.stoppable is judging
    assert replace(status, training=RUNNING).stoppable is RUNNING


def test_a_model_that_did_not_load_shows_the_whole_sentence_and_no_markup_of_its_own() -> None:
    failed = replace(RUNNING, kind="load", state=JobState.FAILED, error="no <b>model</b> here.")
    shown = draw_news(replace(IDLE, model_description="", model=failed), None)
    assert "no &lt;b&gt;model&lt;/b&gt; here." in shown


@pytest.mark.parametrize(
    ("training", "label", "busy"),
    [(None, "Train", False), (RUNNING, "Training…", True)],
)
def test_the_button_says_what_a_click_does(
    training: JobView | None, label: str, busy: bool
) -> None:
    status = replace(IDLE, training=training)
    assert train_label(status) == label
    assert status.is_training is busy
    assert train_button(status, read_only=False)["interactive"] is not busy
    assert not train_button(status, read_only=True)["interactive"]


def test_before_the_first_training_the_header_says_so() -> None:
    assert "Not trained yet" in draw_news(IDLE, None)


def test_after_a_training_the_header_says_what_moved_and_where_to_look() -> None:
    run, ended = make_run(), replace(RUNNING, state=JobState.DONE)
    n = len(run.concepts)
    trained = replace(IDLE, run=run, training=ended, changed=0)
    assert train_button(trained, read_only=False)["value"] == "Train · up to date"
    assert train_label(replace(trained, changed=2)) == "Train · 2 changed"
    some = replace(trained, changed=8, chosen=34, concepts=36)
    assert train_label(some) == "Train · 34 of 36"
    assert f"Trained {n} concepts in 3.0\N{NO-BREAK SPACE}s." in draw_news(trained, None)
    moved = make_report(run_id=run.id, moved="calm turned 0.04; nothing <else> moved")
    shown = draw_news(trained, moved)
    assert "title='Calm turned 0.04; nothing &lt;else&gt; moved'" in shown
    assert "<a href='#/write/calm'>Calm</a> turned 0.04; nothing &lt;else&gt; moved" in shown
    assert "#/judge" in shown
    # What a training before this one moved is not said of it.
    assert f"Trained {n} concepts" in draw_news(trained, replace(moved, run_id="another"))
    # A page of an app that was started with this run has no news.
    assert "Trained" not in draw_news(replace(trained, training=None), moved)
