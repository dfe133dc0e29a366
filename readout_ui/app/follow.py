"""The one way a page follows a background job: progress, Cancel, and how it ended."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from html import escape
from typing import Any

import gradio as gr

from readout_ui.app.events import PRIVATE, QUIET, Changes, Values, seen_if
from readout_ui.app.jobs import Job, JobState, JobView, Worker
from readout_ui.app.widgets import count, error_text, headline
from readout_ui.errors import UserError

LOOK_SECONDS = 0.12
"""How often a page looks at its job."""
FOLLOWING: dict[str, Any] = {
    **PRIVATE,
    "show_progress": "hidden",
    "concurrency_id": "following",
    "concurrency_limit": 32,
}
"""For events that only look at a job; the device itself runs one at a time."""


@dataclass(frozen=True)
class Task:
    """A job that a page waits for, and what the page shows of it."""

    job: Job[Any]
    show: Callable[[Any], Changes]
    """What the job's result changes."""
    meanwhile: Callable[[], Changes] = dict
    """What else changes while it runs."""
    words: Callable[[], str] = str
    """HTML below the progress."""
    end: Callable[[JobView], Changes] | None = None
    """What its end changes, where that is not the result or why there is none."""
    outlives_page: bool = False
    """Whether it goes on when no page looks, as a training does."""


class Follower:
    """What a tab shows of its jobs; a session has one, and the next one cancels it.

    Args:
        worker: runs the jobs.
        progress: where progress, failures and the end are told.
        cancel: visible while a job runs.
        starts: cannot be pressed meanwhile.
    """

    def __init__(
        self, worker: Worker, progress: gr.HTML, cancel: gr.Button, starts: Sequence[gr.Button]
    ) -> None:
        self.progress, self.cancel_button, self.starts = progress, cancel, tuple(starts)
        self._worker = worker
        self._lock = threading.Lock()
        self._jobs: dict[str, Job[Any]] = {}

    def wire(
        self,
        button: gr.Button,
        ask: Callable[[Values], Task],
        inputs: set[Any],
        outputs: Sequence[Any],
    ) -> None:
        """A press on a button starts what `ask` makes of the inputs, and the page follows it."""

        def start(values: Values, request: gr.Request) -> Iterator[Changes]:
            yield from self.follow(str(request.session_hash), partial(ask, values))

        shown = [self.progress, self.cancel_button, *self.starts]
        each_once = list(dict.fromkeys([*shown, *outputs]))
        button.click(start, inputs, each_once, **FOLLOWING)

    def wire_cancel(self) -> None:
        """Cancel stops the session's own job."""

        def cancel(request: gr.Request) -> None:
            self.cancel(str(request.session_hash))

        self.cancel_button.click(cancel, **QUIET)

    def follow(self, session: str, ask: Callable[[], Task]) -> Iterator[Changes]:
        """What changes on the page until the job has ended; a user's mistake is told at once."""
        try:
            task = ask()
        except UserError as error:
            yield {self.progress: draw_failure(error_text(error))}
            return
        before, view = "", task.job.view()
        for view in self.watch(session, task.job, outlives_page=task.outlives_page):
            if view.state.finished:
                break
            now = draw_job(view, self._worker) + task.words()
            changes = {self.progress: gr.skip() if now == before else now, **task.meanwhile()}
            yield changes if before else changes | self.busy(True)
            before = now
        yield {self.progress: draw_end(view), **self.busy(False), **_ended(task, view)}

    def watch(
        self, session: str, job: Job[Any], *, outlives_page: bool = False
    ) -> Generator[JobView]:
        """Views of a job until it has ended; a page that stops looking cancels it."""
        with self._lock:
            before = self._jobs.get(session)
            self._jobs[session] = job
        if before is not None and before is not job:
            before.cancel()
        try:
            while not (view := job.view()).state.finished:
                yield view
                time.sleep(LOOK_SECONDS)
            yield view
        finally:
            if not outlives_page and not job.view().state.finished:
                job.cancel()
            with self._lock:
                if self._jobs.get(session) is job:
                    del self._jobs[session]

    def cancel(self, session: str) -> None:
        """Stop the session's job, if there is one."""
        with self._lock:
            job = self._jobs.get(session)
        if job is not None:
            job.cancel()

    def busy(self, busy: bool) -> Changes:
        """The buttons while a job runs, and after it."""
        waiting = {start: gr.Button(interactive=not busy) for start in self.starts}
        return {self.cancel_button: gr.Button(elem_classes=seen_if(busy)), **waiting}


def _ended(task: Task, view: JobView) -> Changes:
    if task.end is not None:
        return task.end(view)
    return task.show(task.job.result()) if view.state is JobState.DONE else {}


def draw_job(view: JobView, worker: Worker) -> str:
    """A job that waits or runs, with its place in the queue."""
    before = jobs_before(worker, view)
    place = ""
    if before:
        queue = f"{count(len(before), 'job')} before this one: {', '.join(before)}"
        place = f" <span class='steer-queue'>{escape(queue)}</span>"
    return f"<div role='status'>{draw_progress(view)}{place}</div>"


def jobs_before(worker: Worker, job: JobView) -> tuple[str, ...]:
    """Titles of what the device does before it comes to a waiting job, in order."""
    if job.state is not JobState.WAITING:
        return ()
    return tuple(other.title for other in worker.unfinished() if other.number < job.number)


def draw_end(view: JobView) -> str:
    """How a job ended, where that is not a result."""
    if view.state is JobState.FAILED:
        return draw_failure(view.error)
    if view.state is JobState.CANCELLED:
        return headline("Cancelled.", "The model is as it was.", "steer-note")
    return ""


def draw_failure(sentence: str) -> str:
    """What a person can set right."""
    return headline("That did not work.", f"{sentence[:1].upper()}{sentence[1:]}", "failed")


def draw_progress(job: JobView) -> str:
    """One job's stage, real counts, time left and bar."""
    progress = job.progress
    stage = "Waiting for the device" if job.state is JobState.WAITING else job.title
    counts = ""
    if progress is not None:
        stage = progress.stage
        counts = f"{progress.done} of {progress.total} {progress.unit}" if progress.total else ""
    if job.cancelling:
        stage = "Stopping"
    left = f"about {_duration(job.seconds_left)} left" if job.seconds_left is not None else ""
    words = " · ".join(word for word in (counts, left) if word)
    bar = _bar(job.fraction)
    return (
        f"<span class='chip job {job.kind}'><b>{escape(stage)}</b>"
        f"<span class='detail'>{escape(words)}</span>{bar}</span>"
    )


def _bar(fraction: float | None) -> str:
    if fraction is None:
        return "<progress></progress>"
    return f"<progress max='1' value='{fraction:.3f}'></progress>"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min"
