"""The commands that train on descriptions, stories and examples, and what every training says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from readout_ui.cli.options import Descriptions, Output, Training
from readout_ui.cli.output import Work, as_json, table, work_with

if TYPE_CHECKING:
    from readout_ui.vectors.settings import Trained

LONG_TEXTS = 1024
"""Tokens read of a story or an example; descriptions are short."""


@dataclass(frozen=True)
class LongTraining(Training):
    """The same on texts that may be long."""

    max_length: Annotated[int, typer.Option(help="Tokens read of one text.")] = LONG_TEXTS


def train(descriptions: Descriptions, output: Output, training: Training) -> None:
    """Fit a direction for every concept and write them as an export."""
    from readout_ui.texts.library import read_library, require_trainable

    settings = training.settings()
    library = read_library(descriptions)
    require_trainable(library)

    def fit(work: Work) -> Trained:
        from readout_ui.vectors.training import train as train_library

        return train_library(library, work.model, settings, work.cache, work.report)

    _train_and_write(fit, training, output)


def train_stories(
    *,
    stories: Annotated[
        Path, typer.Argument(metavar="DIR|FILE", help="Folder of {concept}/*.txt, or JSON lines.")
    ],
    output: Output,
    pair_by_name: Annotated[
        bool, typer.Option("--pair-by-name", help="Files of the same name share their scene.")
    ] = False,
    training: LongTraining,
) -> None:
    """Fit directions from stories; what stories of one scene have in common cancels."""
    from readout_ui.texts.stories import read_stories

    settings = training.settings()
    library = read_stories(stories, pair_by_name)

    def fit(work: Work) -> Trained:
        from readout_ui.vectors.sources import story_source, train_source

        return train_source(story_source(library), work.model, settings, work.cache, work.report)

    _train_and_write(fit, training, output)


def train_examples(
    folder: Annotated[
        Path, typer.Option("--training-data-dir", metavar="DIR", help="What `extract` wrote.")
    ],
    output: Output,
    training: LongTraining,
) -> None:
    """Fit directions from examples for and against each concept, as `extract` writes them."""
    from readout_ui.texts.examples import read_examples
    from readout_ui.texts.lint_sources import lint_examples

    settings = training.settings()
    examples = read_examples(folder)

    def fit(work: Work) -> Trained:
        from readout_ui.vectors.sources import example_source, train_source

        source = example_source(examples, tuple(lint_examples(examples)))
        return train_source(source, work.model, settings, work.cache, work.report)

    _train_and_write(fit, training, output)


def _train_and_write(fit: Callable[[Work], Trained], training: Training, output: Path) -> None:
    """Train, keep the run where a folder for runs is named, write the export and say so.

    What needs no model is checked first: a typo must not cost a training.
    """
    from readout_ui.files import require_replaceable
    from readout_ui.runs.export import READOUT_FILES, is_zip, write_export

    if not is_zip(output):
        require_replaceable(output, READOUT_FILES)
    with work_with(training.spec()) as work:
        trained = fit(work)
    keep(trained, training.runs)
    write_export(trained, output)
    print(summary_json(trained, output) if training.json else summary(trained, output))


def keep(trained: Trained, runs: Path | None) -> None:
    """Keep the run in that folder and use it from now on, as the app does."""
    from readout_ui.runs.store import RunStore

    if runs is not None:
        store = RunStore(runs)
        store.set_current(store.save(trained).id)


def summary(trained: Trained, output: Path) -> str:
    """What was trained, as text."""
    vectors = trained.vectors
    counts = table(
        ("concept", "texts"),
        [(name, str(len(trained.descriptions[name]))) for name in vectors.concepts],
    )
    facts = [
        ("model", f"{trained.model_name}, {trained.model_dtype}, {trained.module_path}"),
        ("settings", f"{trained.settings.method}, {trained.settings.read}"),
        ("concepts", str(len(vectors.concepts))),
        ("texts", f"{trained.n_texts} different"),
        ("layers", ", ".join(map(str, vectors.layers))),
        ("best layer", best_layer(trained)),
        ("seconds", ", ".join(f"{k} {v:.1f}" for k, v in trained.timings.items())),
        ("written to", str(output)),
    ]
    warnings = "".join(f"\nWarning: {warning}" for warning in trained.warnings)
    return f"{counts}\n{table(('', ''), facts, left=2)}{warnings}"


def best_layer(trained: Trained) -> str:
    """The best layer and how good it is."""
    if trained.layer_scores is None:
        return f"{trained.best_layer} (too few texts to compare layers)"
    return f"{trained.best_layer} (held-out AUROC {trained.layer_scores[trained.best_layer]:.3f})"


def summary_json(trained: Trained, output: Path) -> str:
    """What was trained, as one JSON object."""
    vectors = trained.vectors
    values: dict[str, Any] = {
        "output": str(output),
        "model": {
            "id": trained.model_name,
            "revision": trained.model_revision,
            "fingerprint": trained.model_fingerprint,
            "dtype": trained.model_dtype,
            "module_path": trained.module_path,
        },
        "settings": trained.settings.as_json(),
        "concepts": {name: len(trained.descriptions[name]) for name in vectors.concepts},
        "n_texts": trained.n_texts,
        "layers": list(vectors.layers),
        "best_layer": trained.best_layer,
        "layer_scores": None if trained.layer_scores is None else list(trained.layer_scores),
        "seconds": trained.timings,
        "warnings": list(trained.warnings),
    }
    return as_json(values)
