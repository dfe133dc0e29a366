"""One session's job on the device: started, followed by its page, cancelled by it or by leaving."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator
from html import escape
from typing import Any

from readout_ui.app.header import draw_progress
from readout_ui.app.jobs import Job, JobState, JobView, Worker

LOOK_SECONDS = 0.12
"""How often a page looks at its job."""


class SessionJobs:
    """The newest job of every session, so that Cancel finds it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._jobs: dict[str, Job[Any]] = {}

    def start(self, session: str, job: Job[Any]) -> None:
        """Remember a job; the one before is cancelled."""
        with self._lock:
            before = self._jobs.get(session)
            self._jobs[session] = job
        if before is not None:
            before.cancel()

    def cancel(self, session: str) -> None:
        """Stop the session's job, if there is one."""
        with self._lock:
            job = self._jobs.get(session)
        if job is not None:
            job.cancel()

    def forget(self, session: str, job: Job[Any]) -> None:
        """The job is over."""
        with self._lock:
            if self._jobs.get(session) is job:
                del self._jobs[session]


def follow(jobs: SessionJobs, session: str, job: Job[Any]) -> Generator[JobView]:
    """Views of a job until it has ended; who stops listening, cancels it."""
    jobs.start(session, job)
    try:
        while not (view := job.view()).state.finished:
            yield view
            time.sleep(LOOK_SECONDS)
        yield view
    finally:
        if not job.view().state.finished:
            job.cancel()
        jobs.forget(session, job)


def draw_job(view: JobView, worker: Worker) -> str:
    """A job that waits or runs, with its place in the queue."""
    before = [other.title for other in worker.unfinished() if other.number < view.number]
    waits = view.state is JobState.WAITING and before
    queue = ""
    if waits:
        noun = "job" if len(before) == 1 else "jobs"
        queue = f"{len(before)} {noun} before this one: {', '.join(before)}"
    place = f" <span class='steer-queue'>{escape(queue)}</span>" if queue else ""
    return f"<div role='status'>{draw_progress(view)}{place}</div>"


def draw_end(view: JobView) -> str:
    """How a job ended, where that is not a result."""
    if view.state is JobState.FAILED:
        return draw_failure(view.error)
    if view.state is JobState.CANCELLED:
        return "<p class='steer-note'><b>Cancelled.</b> The model is as it was.</p>"
    return ""


def draw_failure(sentence: str) -> str:
    """What a person can mend."""
    text = sentence[:1].upper() + sentence[1:]
    return f"<p class='failed'><b>That did not work.</b> {escape(text)}</p>"
