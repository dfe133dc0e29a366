"""The Train tab: settings, one button, progress and log, and the runs that were kept."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from pathlib import Path

import gradio as gr
from gradio.events import Dependency

from readout_ui.jobs import JobState, JobView
from readout_ui.runs import BrokenRun, RunRecord
from readout_ui.status import Status
from readout_ui.studio import Studio
from readout_ui.tabs.events import PRIVATE, guarded
from readout_ui.tabs.header import draw_progress, is_training
from readout_ui.trained import LAYER_TYPE_NAMES, METHOD_NAMES, READ_RULE_NAMES, TrainSettings
from readout_ui.views.layers import draw_layer_scores

METHOD_CHOICES = {
    "mean": "Mean difference (default)",
    "pca": "PCA of seeded pairs",
    "logistic": "Logistic regression on seeded pairs",
}
READ_CHOICES = {
    "content_mean": "Mean over the text (default)",
    "content_tail": "Mean over its last two thirds",
    "content_last": "Its last token",
    "template_last": "Last template token (the seed trainer's; for comparison)",
}
EMPTY_RUNS = "<p class='empty'>No run yet. Press <b>Train</b> to fit the first vectors.</p>"


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
            inputs = _build_settings(studio.settings)
            train = gr.Button(
                "Train", variant="primary", elem_id="train", interactive=not studio.read_only
            )
        with gr.Column(scale=3, min_width=320):
            progress = gr.HTML(draw_training(studio.status()), elem_id="training", padding=False)
            layers = show_scores(studio.runs.current())
    gr.Markdown("### Runs\nEvery training is kept. Going back to one changes nothing on disk.")
    runs = gr.HTML(
        draw_runs(studio),
        elem_id="runs",
        padding=False,
        js_on_load=(Path(__file__).parent / "runs.js").read_text(encoding="utf-8"),
    )
    return TrainTab(train, inputs, progress, runs, layers)


def _build_settings(settings: TrainSettings) -> tuple[gr.components.Component, ...]:
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
    return method, read, layers, layer_type, seed, negatives, max_length, batch


def settings_from(
    method: str,
    read: str,
    layers: str,
    layer_type: str,
    seed: float,
    negatives: float,
    max_length: float,
    batch: float,
) -> TrainSettings:
    """The settings on screen as TrainSettings; UserError on values that make no sense."""
    return TrainSettings(
        method=method,
        read=read,
        layers=layers,
        layer_type=layer_type,
        seed=int(seed),
        max_negatives_per_positive=int(negatives),
        max_length=int(max_length),
        batch_size=int(batch) or None,
    )


def settings_values(settings: TrainSettings) -> tuple[object, ...]:
    """The values of the inputs for given settings, in `settings_from`'s order."""
    return (
        settings.method,
        settings.read,
        settings.layers,
        settings.layer_type,
        settings.seed,
        settings.max_negatives_per_positive,
        settings.max_length,
        settings.batch_size or 0,
    )


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
        f"<p><b>Trained in {job.seconds:.1f} s.</b> {len(run.concepts)} concepts, "
        f"{run.n_texts} texts; best layer {run.best_layer} by cross-validation.</p>"
    )


def draw_runs(studio: Studio) -> str:
    """The kept runs as an HTML table, newest first."""
    runs, broken = studio.runs.list(), studio.runs.broken()
    if not runs and not broken:
        return EMPTY_RUNS
    current = studio.runs.current()
    used = current.id if current else ""
    rows = "".join(_run_row(run, run.id == used) for run in runs)
    rows += "".join(_broken_row(run) for run in broken)
    head = "".join(
        f"<th>{name}</th>"
        for name in ("Trained", "Model", "Concepts", "Texts", "Method", "Best layer", "AUROC", "")
    )
    return f"<div class='scroll'><table><tr>{head}</tr>{rows}</table></div>"


def _run_row(run: RunRecord, used: bool) -> str:
    when = local_time(run)
    cells = (
        when,
        run.model_name,
        str(len(run.concepts)),
        str(run.n_texts),
        f"{run.settings.method}, {run.settings.read}",
        str(run.best_layer),
        _best_score(run),
    )
    action = (
        "<b>in use</b>"
        if used
        else f"<button data-run='{escape(run.id)}' aria-label='Use the run of {when}'>Use</button>"
    )
    body = "".join(f"<td>{escape(cell)}</td>" for cell in cells)
    return f"<tr class='{'used' if used else ''}'>{body}<td>{action}</td></tr>"


def _broken_row(run: BrokenRun) -> str:
    return (
        f"<tr class='broken'><td>{escape(run.id)}</td>"
        f"<td colspan='7'>{escape(run.reason)}</td></tr>"
    )


def _best_score(run: RunRecord) -> str:
    score = run.layer_scores[run.best_layer] if run.layer_scores else None
    return "–" if score is None else f"{score:.3f}"


def local_time(run: RunRecord) -> str:
    """When the run was made, on this machine's clock."""
    return f"{run.created.astimezone():%Y-%m-%d %H:%M:%S}"


def show_scores(run: RunRecord | None) -> gr.Plot:
    """The layer curve of a run; hidden while there is none to draw."""
    figure = None
    if run is not None and run.layer_scores is not None:
        figure = draw_layer_scores(run.layer_scores, run.best_layer)
    return gr.Plot(figure, visible=figure is not None, show_label=False, elem_id="layer-scores")


def wire_train_tab(studio: Studio, tab: TrainTab) -> Dependency:
    """Connect the run list, whose selection changes the settings on screen too."""

    def use(event: gr.EventData) -> tuple[object, ...]:
        run = studio.use_run(str(event.run))
        return draw_runs(studio), show_scores(run), *settings_values(run.settings)

    outputs = [tab.runs, tab.layers, *tab.settings]
    return tab.runs.select(guarded(use), None, outputs, **PRIVATE)
