"""The Train tab: settings, one button, progress and log, and the runs that were kept."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from pathlib import Path

import gradio as gr
from gradio.components.plot import PlotData
from gradio.events import Dependency

from readout_ui.jobs import JobState, JobView
from readout_ui.runs import RunRecord
from readout_ui.status import Status
from readout_ui.studio import Studio
from readout_ui.tabs.events import PRIVATE, guarded
from readout_ui.tabs.header import draw_progress, is_training
from readout_ui.tabs.plots import build_plot, plot_data
from readout_ui.tabs.run_table import draw_runs, local_time
from readout_ui.tabs.train_settings import build_settings, settings_from, settings_values
from readout_ui.views.layers import draw_layer_scores

__all__ = [
    "TrainTab",
    "build_train_tab",
    "draw_runs",
    "draw_training",
    "local_time",
    "settings_from",
    "show_scores",
    "wire_train_tab",
]


@dataclass(frozen=True)
class TrainTab:
    """Components of the Train tab that others listen to."""

    train: gr.Button
    """Starts a training with the settings on screen."""
    settings: tuple[gr.components.Component, ...]
    """Inputs in the order `settings_from` takes them."""
    progress: gr.HTML
    """Progress, outcome and log of the newest training."""
    runs: gr.HTML
    """The kept runs, newest first; sends `select` with the id of the run to use."""
    layers: gr.Plot
    """Cross-validated AUROC of every layer of the run in use."""


def build_train_tab(studio: Studio) -> TrainTab:
    """Lay out the tab; events between tabs are wired in `tabs/__init__`."""
    with gr.Row():
        with gr.Column(scale=2, min_width=320):
            inputs = build_settings(studio.settings)
            train = gr.Button(
                "Train", variant="primary", elem_id="train", interactive=not studio.read_only
            )
        with gr.Column(scale=3, min_width=320):
            progress = gr.HTML(draw_training(studio.status()), elem_id="training", padding=False)
            layers = build_plot("layer-scores", show_scores(studio.runs.current()))
    gr.Markdown("### Runs\nEvery training is kept. Going back to one changes nothing on disk.")
    runs = gr.HTML(
        draw_runs(studio),
        elem_id="runs",
        padding=False,
        js_on_load=(Path(__file__).parent / "runs.js").read_text(encoding="utf-8"),
    )
    return TrainTab(train, inputs, progress, runs, layers)


def draw_training(status: Status) -> str:
    """The newest training: its progress or outcome, warnings and log."""
    job = status.training
    notes = _notes(status)
    if job is None:
        return f"<p class='empty'>Nothing was trained since the app started.</p>{notes}"
    parts = [draw_progress(job) if is_training(status) else _outcome(job, status.run)]
    if job.state is JobState.DONE and status.run:
        parts += [f"<p class='warning'>{escape(w)}</p>" for w in status.run.warnings]
    lines = "\n".join(escape(line) for line in job.log)
    if lines:
        parts.append(f"<details open><summary>Log</summary><pre>{lines}</pre></details>")
    return f"<div class='training {job.state}'>{''.join(parts)}{notes}</div>"


def _notes(status: Status) -> str:
    """How the model reads the texts: frame and whatever is special about this model."""
    items = "".join(f"<li>{escape(note)}</li>" for note in status.model_notes)
    return f"<ul class='notes'>{items}</ul>" if items else ""


def _outcome(job: JobView, run: RunRecord | None) -> str:
    if job.state is JobState.FAILED:
        return f"<p class='failed'><b>Training failed.</b> {escape(job.error)}</p>"
    if job.state is JobState.CANCELLED:
        return "<p><b>Cancelled.</b> The vectors in use are the ones from before.</p>"
    if run is None:
        return ""
    return (
        f"<p><b>Trained in {job.seconds:.1f} s.</b> {_counted(run)}, "
        f"{run.n_texts} texts; layer {run.best_layer} chosen by cross-validation.</p>"
    )


def _counted(run: RunRecord) -> str:
    noun = "concept" if len(run.concepts) == 1 else "concepts"
    origin = f" from {run.source}" if run.source else ""
    return f"{len(run.concepts)} {noun}{origin}"


def show_scores(run: RunRecord | None) -> PlotData | None:
    """The layer curve of a run; None, which the page hides, where there is none to draw."""
    if run is None or run.layer_scores is None:
        return None
    return plot_data(draw_layer_scores(run.layer_scores, run.best_layer))


def wire_train_tab(studio: Studio, tab: TrainTab) -> Dependency:
    """Connect the run list, whose selection changes the settings on screen too."""

    def use(event: gr.EventData) -> tuple[object, ...]:
        run = studio.use_run(str(event.run))
        return draw_runs(studio), show_scores(run), *settings_values(studio.settings)

    outputs = [tab.runs, tab.layers, *tab.settings]
    return tab.runs.select(guarded(use), None, outputs, **PRIVATE)
