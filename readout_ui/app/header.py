"""The header: model, device, what changed since the last training, and Retrain."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

import gradio as gr

from readout_ui.app.events import QUIET, guarded
from readout_ui.app.jobs import JobState, JobView
from readout_ui.app.session import Studio
from readout_ui.app.status import Status


@dataclass(frozen=True)
class Header:
    """Components of the header that others listen to."""

    retrain: gr.Button
    """Starts a training with the settings last used."""
    cancel: gr.Button
    """Stops the training; visible while one runs."""
    status: gr.HTML
    """Model, changes and progress."""


def build_header(studio: Studio) -> Header:
    """Lay out the header and wire its two buttons."""
    with gr.Row(elem_id="header", equal_height=True):
        gr.HTML("<h1>Readout Studio</h1>", elem_id="wordmark", min_width=150, padding=False)
        status = gr.HTML(draw_status(studio.status()), elem_id="status", padding=False)
        cancel = gr.Button("Cancel", elem_id="cancel-training", visible=False, min_width=90)
        retrain = gr.Button(
            "Train",
            variant="primary",
            elem_id="retrain",
            min_width=110,
            interactive=not studio.read_only,
        )
    cancel.click(guarded(studio.cancel_training), **QUIET)
    return Header(retrain, cancel, status)


def retrain_label(status: Status) -> str:
    """What the button says: Train at first, Retrain later, Training… meanwhile.

    It trains on the descriptions, so after a training on something else it says Train again.
    """
    if is_training(status):
        return "Training…"
    return "Retrain" if status.run and not status.run.source else "Train"


def is_training(status: Status) -> bool:
    """True while a training waits or runs."""
    return status.training is not None and not status.training.state.finished


def draw_status(status: Status) -> str:
    """The status line as HTML: model, changed descriptions, running work."""
    chips = [_model_chip(status), _changes_chip(status)]
    if status.training is not None and not status.training.state.finished:
        chips.append(draw_progress(status.training))
    return f"<div class='chips' role='status'>{''.join(chips)}</div>"


def _model_chip(status: Status) -> str:
    if status.model_description:
        return _chip("model ready", "Model", status.model_description)
    if status.model is None:
        return _chip("model", "Model", "not loaded")
    if status.model.state is JobState.FAILED:
        return _chip("model failed", "No model", status.model.error)
    return draw_progress(status.model)


def _changes_chip(status: Status) -> str:
    if status.run is None:
        return _chip("changes", "Not trained yet", "")
    if status.run.source:
        concepts = status.run.concepts
        label = concepts[0] if len(concepts) == 1 else f"{len(concepts)} concepts"
        return _chip("changes same", label, f"from {status.run.source}")
    if status.changed == 0:
        return _chip("changes same", "Up to date", "")
    noun = "description" if status.changed == 1 else "descriptions"
    return _chip("changes changed", f"{status.changed} {noun} changed", "since the last training")


def _chip(kind: str, label: str, detail: str) -> str:
    text = f"<span class='detail'>{escape(detail)}</span>" if detail else ""
    return f"<span class='chip {kind}' title='{escape(detail)}'><b>{escape(label)}</b>{text}</span>"


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
