"""The drawer behind the Train button: settings, progress and log."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from html import escape
from typing import Any

import gradio as gr

from readout_ui.app.events import Changes, Part, Values, components
from readout_ui.app.follow import draw_progress
from readout_ui.app.jobs import JobState, JobView
from readout_ui.app.session import Studio
from readout_ui.app.status import Status
from readout_ui.app.widgets import drawer_head
from readout_ui.runs.run import Run
from readout_ui.vectors.settings import (
    LAYER_TYPE_NAMES,
    METHOD_NAMES,
    READ_RULE_NAMES,
    TrainSettings,
    parse_layer_config,
)

_METHODS = {
    "whitened": "Whitened mean difference",
    "mean": "Mean difference",
    "neutral_pcs": "Mean difference without neutral components",
    "pca": "PCA of pairs",
    "logistic": "Logistic regression on pairs",
}
_READS = {
    "content_mean": "Mean over the text",
    "content_tail": "Mean over its last two thirds",
    "content_last": "Its last token",
    "template_last": "Last template token (for comparison)",
}


def _choices(names: Sequence[str], words: Mapping[str, str], default: str) -> list[tuple[str, str]]:
    """What a person chooses from: words and the name they stand for."""
    marks = {default: " (default)"}
    return [(words.get(name, name) + marks.get(name, ""), name) for name in names]


METHOD_CHOICES = _choices(METHOD_NAMES, _METHODS, TrainSettings.method)
READ_CHOICES = _choices(READ_RULE_NAMES, _READS, TrainSettings.read)


class SettingsInputs(Part):
    """The settings of a training on screen; the attributes are the fields of `TrainSettings`.

    Args:
        settings: at first.
        editable: False where nothing may be changed.
    """

    def __init__(self, settings: TrainSettings, editable: bool) -> None:
        self.method = gr.Radio(
            METHOD_CHOICES,
            value=settings.method,
            label="Method",
            info="How a direction is fitted from the activations of a concept's texts and the "
            "others'.",
        )
        self.read = gr.Radio(
            READ_CHOICES,
            value=settings.read,
            label="Read rule",
            info="Which tokens of a text become its activation.",
        )
        with gr.Accordion("More settings", open=False):
            self._build_more(settings)
        for each in self.all:
            each.interactive = editable

    def _build_more(self, settings: TrainSettings) -> None:
        """The rarer ones."""
        self.layers = gr.Textbox(
            settings.layers,
            label="Layers",
            info="all, auto (the best by cross-validation), or numbers such as 14,22 or -1",
        )
        self.layer_type = gr.Dropdown(
            list(LAYER_TYPE_NAMES), value=settings.layer_type, label="Layer type"
        )
        self.layer_config = gr.Textbox(
            _config_text(settings),
            label="Module paths",
            info="Where a layer type is in this model, one in a line: mlp=model.layers.{num}.mlp; "
            "empty to find it.",
            lines=1,
            elem_id="train-layer-config",
        )
        self.seed = gr.Number(
            settings.seed, label="Seed", precision=0, info="Fixes the sampled pairs."
        )
        self.max_negatives_per_positive = gr.Number(
            settings.max_negatives_per_positive,
            label="Negatives per positive",
            precision=0,
            minimum=1,
            info="For PCA and logistic.",
        )
        self.max_length = gr.Number(
            settings.max_length,
            label="Longest text",
            precision=0,
            minimum=1,
            info="Tokens of a text that are read; longer ones are cut and named.",
        )
        self.batch_size = gr.Number(
            settings.batch_size or 0,
            label="Batch size",
            precision=0,
            minimum=0,
            info="Texts per batch at most; 0 leaves it to the token budget.",
        )

    @property
    def all(self) -> list[Any]:
        """Every input."""
        return components(self)

    def choices(self) -> Iterator[tuple[Any, Callable[..., Any]]]:
        """Every input, and the event after which it was chosen, or its box left."""
        for each in self.all:
            typed = isinstance(each, gr.Textbox | gr.Number)
            yield each, each.blur if typed else each.input

    def settings(self, values: Values) -> TrainSettings:
        """What is on screen; UserError on values that make no sense."""
        chosen = self.values_of(values)
        for name, each in vars(self).items():
            if isinstance(each, gr.Number):
                chosen[name] = int(chosen[name] or 0)
        chosen["batch_size"] = chosen["batch_size"] or None
        lines = str(chosen["layer_config"]).splitlines()
        chosen["layer_config"] = parse_layer_config(line for line in lines if line.strip())
        return TrainSettings(**chosen)

    def with_chosen(self, before: TrainSettings, chosen: Any, values: Values) -> TrainSettings:
        """Settings with one of them as it is on screen; UserError where that makes no sense."""
        name = next(name for name, each in vars(self).items() if each is chosen)
        return replace(before, **{name: getattr(self.settings(values), name)})

    def show(self, settings: TrainSettings) -> Changes:
        """Given settings on screen."""
        values = {each: getattr(settings, name) for name, each in vars(self).items()}
        values[self.batch_size] = settings.batch_size or 0
        return values | {self.layer_config: _config_text(settings)}


def _config_text(settings: TrainSettings) -> str:
    return "\n".join(f"{name}={path}" for name, path in settings.layer_config)


class TrainDrawer(Part):
    """What the button beside Train opens: settings, progress and log."""

    def __init__(self, studio: Studio) -> None:
        with gr.Column(elem_id="train-drawer", elem_classes="drawer"):
            drawer_head(
                "Training settings", "train-drawer", "What the Train button uses, on every page."
            )
            self.settings = SettingsInputs(studio.settings, not studio.read_only)
            self.progress = gr.HTML(
                draw_training(studio.status()), elem_id="training", padding=False
            )


def draw_training(status: Status) -> str:
    """The newest training: its progress or outcome, warnings and log."""
    job = status.training
    notes = _notes(status)
    if job is None:
        return f"<p class='empty'>Nothing was trained since the app started.</p>{notes}"
    parts = [draw_progress(job) if status.is_training else _outcome(job, status.run)]
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
        f"<p><b>Trained in {job.seconds:.1f} s.</b> {counted(run)}, "
        f"{run.n_texts} texts; layer {run.best_layer} chosen by cross-validation.</p>"
    )


def counted(run: Run) -> str:
    """How many concepts a run has, and where they come from."""
    noun = "concept" if len(run.concepts) == 1 else "concepts"
    origin = f" from {run.source}" if run.source else ""
    return f"{len(run.concepts)} {noun}{origin}"
