"""The Train tab: settings, one button, progress and log, and the runs that were kept."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Any

import gradio as gr
from gradio.components.plot import PlotData

from readout_ui.app.assets import on_load
from readout_ui.app.events import PRIVATE, Changes, Values, guarded
from readout_ui.app.follow import draw_progress, is_training
from readout_ui.app.jobs import JobState, JobView
from readout_ui.app.session import Studio
from readout_ui.app.status import Status
from readout_ui.app.widgets import build_plot, draw_runs, plot_data
from readout_ui.plots.aurocs import draw_layer_scores
from readout_ui.runs.run import Run
from readout_ui.vectors.settings import (
    LAYER_TYPE_NAMES,
    METHOD_NAMES,
    READ_RULE_NAMES,
    TrainSettings,
)

METHOD_CHOICES = {
    "whitened": "Whitened mean difference (default)",
    "mean": "Mean difference",
    "neutral_pcs": "Mean difference without neutral components",
    "pca": "PCA of pairs",
    "logistic": "Logistic regression on pairs",
}
READ_CHOICES = {
    "content_mean": "Mean over the text (default)",
    "content_tail": "Mean over its last two thirds",
    "content_last": "Its last token",
    "template_last": "Last template token (the seed trainer's; for comparison)",
}


@dataclass(frozen=True)
class SettingsInputs:
    """The settings of a training on screen; the fields are those of `TrainSettings`."""

    method: gr.Radio
    read: gr.Radio
    layers: gr.Textbox
    layer_type: gr.Dropdown
    seed: gr.Number
    max_negatives_per_positive: gr.Number
    max_length: gr.Number
    batch_size: gr.Number
    """0 for None."""

    @property
    def inputs(self) -> list[Any]:
        """All of them."""
        return list(vars(self).values())

    def settings(self, values: Values) -> TrainSettings:
        """What is on screen; UserError on values that make no sense."""
        chosen = {name: values[each] for name, each in vars(self).items()}
        for name, each in vars(self).items():
            if isinstance(each, gr.Number):
                chosen[name] = int(chosen[name] or 0)
        return TrainSettings(**chosen | {"batch_size": chosen["batch_size"] or None})

    def show(self, settings: TrainSettings) -> Changes:
        """Given settings on screen."""
        values = {each: getattr(settings, name) for name, each in vars(self).items()}
        return values | {self.batch_size: settings.batch_size or 0}


def build_settings(settings: TrainSettings) -> SettingsInputs:
    """Lay out the settings, the rarer ones folded away."""
    method = gr.Radio(
        [(METHOD_CHOICES[m], m) for m in METHOD_NAMES],
        value=settings.method,
        label="Method",
        info="How a direction is fitted from the activations of a concept's texts and the others'.",
    )
    read = gr.Radio(
        [(READ_CHOICES[r], r) for r in READ_RULE_NAMES],
        value=settings.read,
        label="Read rule",
        info="Which tokens of a text become its activation.",
    )
    with gr.Accordion("More settings", open=False):
        layers = gr.Textbox(
            settings.layers,
            label="Layers",
            info="all, auto (the best by cross-validation), or numbers such as 14,22 or -1",
        )
        layer_type = gr.Dropdown(
            list(LAYER_TYPE_NAMES), value=settings.layer_type, label="Layer type"
        )
        seed = gr.Number(settings.seed, label="Seed", precision=0, info="Fixes the sampled pairs.")
        negatives = gr.Number(
            settings.max_negatives_per_positive,
            label="Negatives per positive",
            precision=0,
            minimum=1,
            info="For PCA and logistic.",
        )
        max_length = gr.Number(
            settings.max_length,
            label="Longest text",
            precision=0,
            minimum=1,
            info="Tokens of a text that are read; longer ones are cut and named.",
        )
        batch = gr.Number(
            settings.batch_size or 0,
            label="Batch size",
            precision=0,
            minimum=0,
            info="Texts per batch at most; 0 leaves it to the token budget.",
        )
    return SettingsInputs(method, read, layers, layer_type, seed, negatives, max_length, batch)


@dataclass(frozen=True)
class TrainTab:
    """Components of the Train tab that others listen to."""

    train: gr.Button
    """Starts a training with the settings on screen."""
    settings: SettingsInputs
    progress: gr.HTML
    """Progress, outcome and log of the newest training."""
    runs: gr.HTML
    """The kept runs, newest first; sends `select` with the id of the run to use."""
    layers: gr.Plot
    """Cross-validated AUROC of every layer of the run in use."""
    run_chosen: Any
    """The event of going back to a run in the list."""


def build_train_tab(studio: Studio) -> TrainTab:
    """Lay out the tab and wire the list of runs; events between tabs are wired by the page."""
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
        js_on_load=on_load("clicks.js"),
    )

    def use(event: gr.EventData) -> Changes:
        run = studio.use_run(str(event.run))
        settings = inputs.show(studio.settings)
        return {runs: draw_runs(studio), layers: show_scores(run), **settings}

    chosen = runs.select(guarded(use), None, [runs, layers, *inputs.inputs], **PRIVATE)
    return TrainTab(train, inputs, progress, runs, layers, chosen)


def refresh_train(studio: Studio, tab: TrainTab) -> Changes:
    """The runs and the layers of the run in use, after a run was made or chosen."""
    return {tab.runs: draw_runs(studio), tab.layers: show_scores(studio.runs.current())}


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


def _outcome(job: JobView, run: Run | None) -> str:
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


def _counted(run: Run) -> str:
    noun = "concept" if len(run.concepts) == 1 else "concepts"
    origin = f" from {run.source}" if run.source else ""
    return f"{len(run.concepts)} {noun}{origin}"


def show_scores(run: Run | None) -> PlotData | None:
    """The layer curve of a run; None, which the page hides, where there is none to draw."""
    if run is None or run.layer_scores is None:
        return None
    return plot_data(draw_layer_scores(run.layer_scores, run.best_layer))
