"""The commands that train on descriptions, stories and examples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from readout_ui.cli.options import Descriptions, Output, Training
from readout_ui.cli.output import as_json, progress_report, table, work_with
from readout_ui.progress import silent
from readout_ui.vectors.settings import RECIPES, TrainSettings

if TYPE_CHECKING:
    from readout_ui.models.loading import ModelSpec
    from readout_ui.models.workers import Cluster
    from readout_ui.runs.run import Run
    from readout_ui.texts.library import Library
    from readout_ui.texts.sources import Source

LONG_TEXTS = 1024
"""Tokens read of a story or an example; descriptions are short."""
Neutral = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE|DIR",
        help="Texts without any concept, the zero of scores: a file, or a folder's _*.txt files.",
    ),
]


@dataclass(frozen=True)
class LongTraining(Training):
    """The same on texts that may be long."""

    max_length: Annotated[int, typer.Option(help="Tokens read of one text.")] = LONG_TEXTS


@dataclass(frozen=True)
class StoryTraining(LongTraining):
    """The same by a published recipe."""

    recipe: Annotated[
        str, typer.Option(help=f"A published recipe: {', '.join(RECIPES)}; else as said here.")
    ] = ""

    def settings(self) -> TrainSettings:
        """The settings of the training; UserError where one contradicts the recipe."""
        own = super().settings()
        return own.by_recipe(self.recipe) if self.recipe else own


def train(descriptions: Descriptions, output: Output, training: Training) -> None:
    """Fit a direction for every concept and write them as an export."""
    from readout_ui.texts.library import Library, require_trainable

    settings = training.settings()
    library = Library(descriptions)
    require_trainable(library)
    if training.preview:
        return show_preview(training, library.concepts[0].descriptions[0])
    _train_and_write(library, settings, training, output)


def train_stories(
    *,
    stories: Annotated[
        Path, typer.Argument(metavar="DIR|FILE", help="Folder of {concept}/*.txt, or JSON lines.")
    ],
    output: Output,
    pair_by_name: Annotated[
        bool, typer.Option("--pair-by-name", help="Files of the same name share their scene.")
    ] = False,
    neutral: Neutral = None,
    training: StoryTraining,
) -> None:
    """Fit directions from stories; what stories of one scene have in common cancels."""
    from readout_ui.texts import sources
    from readout_ui.texts.shipped import shipped_descriptions
    from readout_ui.texts.stories import StoryLibrary, read_stories

    settings = training.settings()
    found = sources.stories(stories, pair_by_name=pair_by_name, neutral=neutral)
    content = found.content
    has_neutral = found.neutral or (isinstance(content, StoryLibrary) and content.neutral())
    if training.recipe and not has_neutral:  # it cannot do without
        found = sources.Source(content, sources.neutral_texts(shipped_descriptions()))
    if training.preview:
        return show_preview(training, read_stories(stories, pair_by_name).stories[0].text)
    _train_and_write(found, settings, training, output)


def train_examples(
    *,
    folder: Annotated[
        Path, typer.Option("--training-data-dir", metavar="DIR", help="What `extract` wrote.")
    ],
    output: Output,
    neutral: Neutral = None,
    training: LongTraining,
) -> None:
    """Fit directions from examples for and against each concept, as `extract` writes them."""
    from readout_ui.texts.examples import read_examples
    from readout_ui.texts.sources import examples

    settings = training.settings()
    if training.preview:
        return show_preview(training, read_examples(folder)[0].positive[0].text)
    _train_and_write(examples(folder, neutral=neutral), settings, training, output)


def show_preview(training: Training, text: str, prompt: str = "") -> None:
    """Print how a text of the training is framed and what of it is read.

    Args:
        training: what was asked for.
        text: one text of the training.
        prompt: what it answers, where it has a prompt of its own.
    """
    from readout_ui.activations.pooling import preview_text
    from readout_ui.models.loading import load_frame
    from readout_ui.models.prompt import frame_for, raw_frame

    settings = training.settings()
    with progress_report() as report:
        frame = load_frame(training.spec(), report)
    if prompt:
        frame = frame_for(frame.tokenizer, prompt)
    if settings.frame == "none":
        frame = raw_frame(frame, prompt)
    shown = preview_text(frame, text, settings.read, settings.max_length)
    values = {**asdict(shown), "text": text}
    head = [text, "", shown.frame, f"pooled: {settings.read}", *shown.lines()]
    print(as_json(values) if training.json else "\n".join(head))


def _train_and_write(
    texts: Library | Source, settings: TrainSettings, training: Training, output: Path
) -> None:
    """Train, keep the run where a folder for runs is named, write the export and say so.

    What needs no model is checked first: a typo must not cost a training.
    """
    from readout_ui.runs.export import require_target

    require_target(output)
    run = _trained(texts, settings, training.spec(), training.spread.cluster())
    keep(run, training.runs)
    run.export(output)
    if training.json:
        print(as_json(_values(run, output)))
    else:
        counts = [(name, str(len(run.texts[name]))) for name in run.concepts]
        print(summary(table(("concept", "texts"), counts), _facts(run), run, output))


def _trained(
    texts: Library | Source, settings: TrainSettings, spec: ModelSpec, cluster: Cluster | None
) -> Run:
    """Train, or take what the same texts, settings and model files gave before."""
    from readout_ui.runs.known import keep_training, known_training, training_key
    from readout_ui.texts.library import Library

    if cluster is not None or not isinstance(texts, Library):  # a cluster has the files
        return _train(texts, settings, spec, cluster)
    with progress_report() as report:
        key = training_key(texts, settings, spec, report)
    run = known_training(key)
    if run is None:
        run = _train(texts, settings, spec)
        if training_key(texts, settings, spec, silent) == key:  # nothing changed meanwhile
            keep_training(key, run)
    return run


def _train(
    texts: Library | Source,
    settings: TrainSettings,
    spec: ModelSpec,
    cluster: Cluster | None = None,
) -> Run:
    with work_with(spec, cluster=cluster) as work:
        from readout_ui.runs.training import train as train_on

        run: Run = train_on(texts, work.model, settings, work.cache, work.report)
    return run


def keep(run: Run, runs: Path | None) -> None:
    """Keep the run in that folder and use it from now on, as the app does."""
    from readout_ui.runs.store import RunStore

    if runs is not None:
        store = RunStore(runs)
        store.set_current(store.save(run).id)


def summary(head: str, facts: Mapping[str, str], run: Run, output: Path) -> str:
    """What was trained, as text; warnings last."""
    rows = [*facts.items(), ("written to", str(output))]
    warnings = "".join(f"\nWarning: {warning}" for warning in run.warnings)
    return f"{head}\n{table(('', ''), rows, left=2)}{warnings}"


def _facts(run: Run) -> dict[str, str]:
    model, score = run.manifest.model, None
    if run.layer_scores:
        score = run.layer_scores[run.best_layer]
    good = "too few texts to compare layers" if score is None else f"held-out AUROC {score:.3f}"
    return {
        "model": f"{model.id}, {model.dtype}, {run.manifest.read.module_path}",
        "settings": f"{run.settings.method}, {run.settings.read}",
        "concepts": str(len(run.concepts)),
        "texts": f"{run.n_texts} different",
        "layers": ", ".join(map(str, run.layers)),
        "best layer": f"{run.best_layer} ({good})",
        "seconds": ", ".join(f"{k} {v:.1f}" for k, v in run.timings.items()),
    }


def _values(run: Run, output: Path) -> dict[str, Any]:
    model = run.manifest.model
    return {
        "output": str(output),
        "model": {
            "id": model.id,
            "revision": model.revision,
            "fingerprint": model.fingerprint,
            "dtype": model.dtype,
            "module_path": run.manifest.read.module_path,
        },
        "settings": run.settings.as_json(),
        "concepts": {name: len(run.texts[name]) for name in run.concepts},
        "n_texts": run.n_texts,
        "layers": list(run.layers),
        "best_layer": run.best_layer,
        "layer_scores": None if run.layer_scores is None else list(run.layer_scores),
        "seconds": run.timings,
        "warnings": list(run.warnings),
    }
