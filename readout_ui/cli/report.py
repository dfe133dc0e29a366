"""The command that writes every judgement of some vectors on one page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from readout_ui.cli.evaluate import open_scorer
from readout_ui.cli.options import JudgedWeights, Layer, Model, TrainedTexts, Vectors
from readout_ui.errors import UserError
from readout_ui.files import write_file
from readout_ui.progress import Progress

if TYPE_CHECKING:
    from readout_ui.models.loading import ModelSpec
    from readout_ui.runs.run import Run
    from readout_ui.vectors.training import Corpus

STAGE = "Writing the report"


def report(
    *,
    vectors: Vectors,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="The page to write.")
    ],
    layer: Layer = None,
    descriptions: TrainedTexts = None,
    model: Model = "",
    weights: JudgedWeights,
) -> None:
    """Write every figure about the vectors as one HTML page that works offline."""
    from readout_ui.cli.read import open_run

    source = open_run(vectors, texts=descriptions)
    print(f"Wrote {write_report(source, weights.spec_of(source.manifest, model), layer, output)}")


def write_report(source: Run, spec: ModelSpec, layer: int | None, output: Path) -> Path:
    """Judge the vectors in every way and write the page; returns its path.

    Raises:
        UserError: the texts of an export are missing, or it belongs to another model.
    """
    if not source.texts:
        raise UserError(
            "a report needs the texts of the training",
            where=source.where,
            fix="name their folder with --descriptions, or the folder of a kept run",
        )
    if output.is_dir():
        raise UserError("is a folder", where=str(output), fix="name a file, such as report.html")
    chosen = source.layer(layer)
    with open_scorer(source, spec) as scorer:
        from readout_ui.cli.report_chapters import CHAPTERS, Subject
        from readout_ui.plots.report import draw_report

        subject = Subject(scorer, chosen)
        sections = []
        for done, chapter in enumerate(CHAPTERS):
            scorer.report(Progress(STAGE, done, len(CHAPTERS), "chapters"))
            sections.append(chapter(subject))
    page = draw_report("Readout Studio report", _about(source, subject.corpus, chosen), sections)
    write_file(output, page.encode())
    return output


def _about(source: Run, corpus: Corpus, layer: int) -> tuple[str, ...]:
    manifest = source.manifest
    n_own = sum(len(rows) for rows in corpus.groups.rows)
    return (
        f"{len(manifest.concepts)} concepts, {n_own} descriptions, "
        f"{len(corpus.groups.neutral)} neutral texts.",
        f"Model {manifest.model.id} ({manifest.model.dtype}), {manifest.frame.description}.",
        f"Directions by {manifest.method}, read rule {manifest.read.rule}, judged at layer "
        f"{layer}. Intervals are 95 %, by bootstrap over texts.",
    )
