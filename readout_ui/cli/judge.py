"""The commands that judge vectors: evaluate, report and compare."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from readout_ui.cli.options import (
    AsJson,
    Device,
    Model,
    Quantization,
    Revision,
    TrustRemoteCode,
    dtype_option,
    model_spec,
    require_choices,
)

if TYPE_CHECKING:
    from readout_ui.models.loading import ModelSpec
    from readout_ui.runs.manifest import Manifest

Vectors = Annotated[
    Path, typer.Option(metavar="DIR", help="An export, folder or zip, or the folder of a run.")
]
TrainedTexts = Annotated[
    Path | None,
    typer.Option(
        "--descriptions",
        "--direct-dir",
        metavar="DIR",
        help="The texts an export was trained on; a run has them.",
    ),
]
Layer = Annotated[int | None, typer.Option(help="Which layer; by default the best one.")]
DtypeOfTraining = Annotated[
    str, typer.Option(help="auto, bf16, fp16 or fp32; by default as in training.")
]


@dataclass(frozen=True)
class ModelOptions:
    """Which model reads the texts, as far as the command line says."""

    model: str
    revision: str
    device: str
    dtype: str
    quantization: str
    trust_remote_code: bool

    def __post_init__(self) -> None:
        require_choices(self.dtype or "auto", self.quantization)

    def spec(self, manifest: Manifest) -> ModelSpec:
        """The model to load; what is not said is taken from the training.

        Raises:
            UserError: that was a local folder, of which the manifest knows only the name.
        """
        from readout_ui.cli.read import require_named

        return model_spec(
            require_named(manifest, self.model),
            self.revision or ("" if self.model else manifest.model.revision),
            self.device,
            self.dtype or dtype_option(manifest.model.dtype),
            self.quantization,
            self.trust_remote_code,
        )


def evaluate(
    vectors: Vectors,
    texts: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="CSV, TSV, JSONL, JSON or a folder of {concept}.txt; "
            "by default the test set that ships with the program.",
        ),
    ] = None,
    text_column: Annotated[
        str, typer.Option(metavar="NAME", help="Column of the texts; else guessed.")
    ] = "",
    label_column: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Column of the labels; else guessed. Repeatable."),
    ] = None,
    mapping: Annotated[
        str,
        typer.Option(
            "--map", metavar="a=b,c=d", help="Label=concept; also neutral, other or ignore."
        ),
    ] = "",
    layer: Layer = None,
    descriptions: TrainedTexts = None,
    output: Annotated[
        Path | None, typer.Option("--output", metavar="FILE", help="Write the JSON here as well.")
    ] = None,
    model: Model = "",
    revision: Revision = "",
    device: Device = "auto",
    dtype: DtypeOfTraining = "",
    quantization: Quantization = "none",
    trust_remote_code: TrustRemoteCode = False,
    json: AsJson = False,
) -> None:
    """Judge vectors on labelled texts they never saw, beside baselines."""
    options = ModelOptions(model, revision, device, dtype, quantization, trust_remote_code)
    from readout_ui.cli import evaluate as cli_evaluate
    from readout_ui.runs.sources import find_source

    source = find_source(vectors, descriptions)
    labelled = cli_evaluate.labelled_texts(texts, text_column, label_column or [], mapping, source)
    found = cli_evaluate.judge(source, options.spec(source.manifest), labelled, layer)
    if output is not None:
        cli_evaluate.write_json(found, labelled, output)
    print(cli_evaluate.as_line(found, labelled) if json else cli_evaluate.as_table(found))


def report(
    vectors: Vectors,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="The page to write.")
    ],
    layer: Layer = None,
    descriptions: TrainedTexts = None,
    model: Model = "",
    revision: Revision = "",
    device: Device = "auto",
    dtype: DtypeOfTraining = "",
    quantization: Quantization = "none",
    trust_remote_code: TrustRemoteCode = False,
) -> None:
    """Write every figure about the vectors as one HTML page that works offline."""
    options = ModelOptions(model, revision, device, dtype, quantization, trust_remote_code)
    from readout_ui.cli import report as cli_report
    from readout_ui.runs.sources import find_source

    source = find_source(vectors, descriptions)
    written = cli_report.write_report(source, options.spec(source.manifest), layer, output)
    print(f"Wrote {written}")


def compare(
    old: Annotated[str, typer.Argument(metavar="RUN", help="The run to compare with.")],
    new: Annotated[str, typer.Argument(metavar="RUN", help="The run to look at.")],
    runs: Annotated[Path, typer.Option(metavar="DIR", help="Folder of kept runs.")] = Path("runs"),
    scores: Annotated[
        bool, typer.Option(help="Load the model and compare scores of the texts both have.")
    ] = True,
    layer: Layer = None,
    model: Model = "",
    revision: Revision = "",
    device: Device = "auto",
    dtype: DtypeOfTraining = "",
    quantization: Quantization = "none",
    trust_remote_code: TrustRemoteCode = False,
    json: AsJson = False,
) -> None:
    """Say what moved between two runs: texts, directions, and scores beyond noise."""
    options = ModelOptions(model, revision, device, dtype, quantization, trust_remote_code)
    from readout_ui.cli import compare as cli_compare

    found = cli_compare.compare(runs, (old, new), options.spec if scores else None, layer)
    print(cli_compare.as_line(found) if json else cli_compare.as_text(found))


def register(app: typer.Typer) -> None:
    """Add the three commands."""
    for command in (evaluate, report, compare):
        app.command()(command)
