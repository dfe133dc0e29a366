"""Two readings on the device's thread, watched from the page."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial

from readout_ui.jobs import Job, JobState
from readout_ui.progress import Report
from readout_ui.reading_sides import model_of, read_side, read_with_other_model
from readout_ui.readout import Readout
from readout_ui.studio import Studio
from readout_ui.tabs.compare_choices import MODELS, Asked, side_names
from readout_ui.tabs.compare_look import Compared

POLL_SECONDS = 0.12
Jobs = tuple[Job[Readout], Job[Readout]]


def watch_reading(studio: Studio, asked: Asked) -> Iterator[str | Compared]:
    """Words about where the two readings stand, whenever they change; at last what was read.

    Whoever stops listening cancels what has not begun.

    Raises:
        UserError: one of the two cannot be read.
        Cancelled: a job was cancelled.
    """
    jobs = _start(studio, asked)
    try:
        said = ""
        while not all(job.view().state.finished for job in jobs):
            words = _words(studio, jobs)
            if words != said:
                yield (said := words)
            time.sleep(POLL_SECONDS)
        readouts = jobs[0].result(), jobs[1].result()
    finally:
        for job in jobs:
            job.cancel()
    runs = studio.runs.record(asked.runs[0]), studio.runs.record(asked.runs[1])
    yield Compared(
        *readouts,
        names=side_names(asked, runs),
        best_layers=(runs[0].best_layer, runs[1].best_layer),
        same_model=runs[0].model_fingerprint == runs[1].model_fingerprint,
    )


def _start(studio: Studio, asked: Asked) -> Jobs:
    contents, runs = asked.contents, asked.runs

    def here(side: int) -> Job[Readout]:
        work = partial(read_side, contents[side], asked.mode)
        return studio.on_device("compare", f"Comparing: {'AB'[side]}", work, runs[side])

    first = here(0)
    if asked.way != MODELS:
        return first, here(1)
    run, vectors = studio.runs.load(runs[1])

    def elsewhere(report: Report) -> Readout:
        spec = model_of(run, asked.location.strip(), studio.options)
        return read_with_other_model(spec, run, vectors, contents[1], asked.mode, report)

    title = f"Comparing: B, with {run.model_name}"
    return first, studio.worker.submit("compare", title, elsewhere)


def _words(studio: Studio, jobs: Jobs) -> str:
    """Where the first of the two stands that is not done."""
    letter, job = next(
        ((letter, job) for letter, job in zip("AB", jobs, strict=True) if not job.future.done()),
        ("B", jobs[1]),
    )
    view = job.view()
    if view.state is JobState.WAITING:
        before = [other for other in studio.worker.unfinished() if other.number < view.number]
        if before:
            count = f"{len(before)} job{'s' if len(before) > 1 else ''} before this one"
            return f"Waiting: {count}: {before[0].title}."
    stage = view.progress.stage if view.progress else "Reading"
    return f"{letter}: {stage} …"
