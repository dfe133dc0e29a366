"""Following a job of the worker from a page."""

from __future__ import annotations

from typing import Any

import gradio as gr

from readout_ui.app.follow import Follower, Task
from readout_ui.app.jobs import JobState, Worker
from readout_ui.errors import UserError


def test_who_stops_following_a_job_cancels_it() -> None:
    worker = Worker()
    with gr.Blocks():
        follower = Follower(worker, gr.HTML(), gr.Button(), [gr.Button()])
    blocked = worker.submit("train", "Long work", _until_cancelled)
    waiting = worker.submit("steer", "Steering", lambda _report: 1)
    watching = follower.follow("me", lambda: Task(waiting, lambda found: {"found": found}))
    first = next(watching)
    assert "1 job before this one: Long work" in first[follower.progress]
    assert first[follower.cancel_button].elem_classes == []
    assert first[follower.starts[0]].interactive is False
    follower.cancel("someone else")
    assert not waiting.future.cancelled()
    watching.close()  # type: ignore[attr-defined]
    assert waiting.view().state is JobState.CANCELLED
    again = worker.submit("steer", "Steering", lambda _report: 1)
    watching = follower.follow("me", lambda: Task(again, lambda found: {"found": found}))
    next(watching)
    follower.cancel("me")
    ended = list(watching)[-1]
    assert "Cancelled." in ended[follower.progress]
    assert "found" not in ended
    blocked.cancel()
    worker.close()


def test_a_job_that_is_done_shows_its_result_and_a_mistake_is_told() -> None:
    worker = Worker()
    with gr.Blocks():
        follower = Follower(worker, gr.HTML(), gr.Button(), [])
    job = worker.submit("steer", "Steering", lambda _report: 7)
    *_, ended = follower.follow("me", lambda: Task(job, lambda found: {"found": found}))
    assert (ended[follower.progress], ended["found"]) == ("", 7)

    def mistaken() -> Task:
        raise UserError("there is no prompt", fix="write one")

    (told,) = follower.follow("me", mistaken)
    assert "There is no prompt" in told[follower.progress]
    worker.close()


def _until_cancelled(report: Any) -> None:
    from readout_ui.progress import Progress

    while True:
        report(Progress("Working", 0, 0))
