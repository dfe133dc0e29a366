"""The commands that train from other texts than descriptions: train-stories, train-examples."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from readout_ui.cli.options import (
    AsJson,
    Device,
    Dtype,
    Model,
    Output,
    Quantization,
    Revision,
    TrustRemoteCode,
    model_spec,
    require_choices,
)
from readout_ui.cli.output import progress_report
from readout_ui.vectors.settings import Trained, TrainSettings

if TYPE_CHECKING:
    from readout_ui.models.loading import ModelSpec
    from readout_ui.vectors.sources import TextSource

Layers = Annotated[
    str,
    typer.Option(
        "--layers", "--target-layers", help="auto (the best one), all, or such as 14,22 or -1."
    ),
]
Method = Annotated[str, typer.Option(help="mean, pca or logistic.")]
Read = Annotated[
    str, typer.Option(help="content_mean, content_last, content_tail or template_last.")
]
BatchSize = Annotated[
    int | None, typer.Option(help="Most texts in one batch; by default as memory allows.")
]
MaxLength = Annotated[int, typer.Option(help="Tokens read of one text.")]
Pairs = Annotated[int, typer.Option(help="Negatives drawn per text by pca and logistic.")]
Seed = Annotated[int, typer.Option(help="Seed of the pair sampling.")]
Runs = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Keep the run in this folder as well.")
]


def train_stories(
    stories: Annotated[
        Path, typer.Argument(metavar="DIR|FILE", help="Folder of {concept}/*.txt, or JSON lines.")
    ],
    output: Output,
    pair_by_name: Annotated[
        bool, typer.Option("--pair-by-name", help="Files of the same name share their scene.")
    ] = False,
    model: Model = "",
    layers: Layers = "auto",
    method: Method = "mean",
    read: Read = "content_mean",
    max_length: MaxLength = 1024,
    batch_size: BatchSize = None,
    max_negatives_per_positive: Pairs = 20,
    seed: Seed = 0,
    runs: Runs = None,
    revision: Revision = "",
    device: Device = "auto",
    dtype: Dtype = "auto",
    quantization: Quantization = "none",
    trust_remote_code: TrustRemoteCode = False,
    json: AsJson = False,
) -> None:
    """Fit directions from stories; what stories of one scene have in common cancels."""
    from readout_ui.texts.stories import read_stories

    require_choices(dtype, quantization)
    library = read_stories(stories, pair_by_name)
    settings = TrainSettings(
        method=method,
        read=read,
        layers=layers.strip().lower(),
        max_length=max_length,
        batch_size=batch_size,
        max_negatives_per_positive=max_negatives_per_positive,
        seed=seed,
    )
    spec = model_spec(model, revision, device, dtype, quantization, trust_remote_code)

    def source() -> TextSource:
        from readout_ui.vectors.sources import story_source

        return story_source(library)

    _train(source, spec, settings, output, runs, json)


def train_examples(
    folder: Annotated[
        Path, typer.Option("--training-data-dir", metavar="DIR", help="What `extract` wrote.")
    ],
    output: Output,
    model: Model = "",
    layers: Layers = "auto",
    method: Method = "mean",
    read: Read = "content_mean",
    max_length: MaxLength = 1024,
    batch_size: BatchSize = None,
    max_negatives_per_positive: Pairs = 20,
    seed: Seed = 0,
    runs: Runs = None,
    revision: Revision = "",
    device: Device = "auto",
    dtype: Dtype = "auto",
    quantization: Quantization = "none",
    trust_remote_code: TrustRemoteCode = False,
    json: AsJson = False,
) -> None:
    """Fit directions from examples for and against each concept, as `extract` writes them."""
    from readout_ui.texts.examples import read_examples
    from readout_ui.texts.lint_sources import lint_examples

    require_choices(dtype, quantization)
    examples = read_examples(folder)
    settings = TrainSettings(
        method=method,
        read=read,
        layers=layers.strip().lower(),
        max_length=max_length,
        batch_size=batch_size,
        max_negatives_per_positive=max_negatives_per_positive,
        seed=seed,
    )
    spec = model_spec(model, revision, device, dtype, quantization, trust_remote_code)

    def source() -> TextSource:
        from readout_ui.vectors.sources import example_source

        return example_source(examples, tuple(lint_examples(examples)))

    _train(source, spec, settings, output, runs, json)


def register(app: typer.Typer) -> None:
    """Add both commands."""
    app.command()(train_stories)
    app.command()(train_examples)


def _train(
    source: Callable[[], TextSource],
    spec: ModelSpec,
    settings: TrainSettings,
    output: Path,
    runs: Path | None,
    json: bool,
) -> None:
    from readout_ui.cli import train as cli_train
    from readout_ui.files import require_replaceable
    from readout_ui.runs.export import READOUT_FILES, is_zip, write_export

    if not is_zip(output):
        require_replaceable(output, READOUT_FILES)
    trained = _trained(source(), spec, settings)
    if runs is not None:
        cli_train.keep(trained, runs)
    write_export(trained, output)
    print(cli_train.summary_json(trained, output) if json else cli_train.summary(trained, output))


def _trained(source: TextSource, spec: ModelSpec, settings: TrainSettings) -> Trained:
    from readout_ui.activations.cache import ActivationCache
    from readout_ui.files import cache_folder
    from readout_ui.models.loading import load_model
    from readout_ui.vectors.sources import train_source

    with progress_report() as report:
        model = load_model(spec, report)
        cache = ActivationCache(cache_folder() / "activations")
        try:
            return train_source(source, model, settings, cache, report)
        finally:
            cache.close()
