"""What `readout-ui report` does: every judgement of some vectors on one page."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from readout_ui.cli_evaluate import open_scorer
from readout_ui.errors import UserError
from readout_ui.files import write_file
from readout_ui.progress import Progress
from readout_ui.report_directions import (
    judge_cosines,
    judge_layers,
    judge_redundancy,
    judge_responses,
)
from readout_ui.report_texts import advise, judge_doses, judge_generalization, judge_words
from readout_ui.vector_sources import VectorSource, find_source
from readout_ui.views.report import Section, draw_report

if TYPE_CHECKING:
    from readout_ui.corpus import Corpus
    from readout_ui.models import ModelSpec
    from readout_ui.text_scores import Scorer

__all__ = ["find_source", "write_report"]

STAGE = "Writing the report"
Chapter: TypeAlias = Callable[["Scorer", "Corpus", int], Section]
CHAPTERS: tuple[Chapter, ...] = (
    judge_generalization,
    judge_words,
    judge_doses,
    judge_layers,
    judge_cosines,
    judge_responses,
    judge_redundancy,
    advise,
)


def write_report(source: VectorSource, spec: ModelSpec, layer: int | None, output: Path) -> Path:
    """Judge the vectors in every way and write the page; returns its path.

    Raises:
        UserError: the texts of an export are missing, or it belongs to another model.
    """
    if not source.descriptions:
        raise UserError(
            "a report needs the texts of the training",
            where=str(source.path),
            fix="name their folder with --descriptions, or the folder of a kept run",
        )
    if output.is_dir():
        raise UserError("is a folder", where=str(output), fix="name a file, such as report.html")
    chosen = source.layer(layer)
    with open_scorer(source, spec) as scorer:
        from readout_ui.corpus import read_corpus

        corpus = read_corpus(
            scorer.model, source.descriptions, source.settings, scorer.cache, scorer.report
        )
        sections = []
        for done, chapter in enumerate(CHAPTERS):
            scorer.report(Progress(STAGE, done, len(CHAPTERS), "chapters"))
            sections.append(chapter(scorer, corpus, chosen))
    page = draw_report("Readout Studio report", _about(source, corpus, chosen), sections)
    write_file(output, page.encode())
    return output


def _about(source: VectorSource, corpus: Corpus, layer: int) -> tuple[str, ...]:
    manifest = source.manifest
    n_own = sum(len(rows) for rows in corpus.groups.rows)
    return (
        f"{len(manifest.concepts)} concepts, {n_own} descriptions, "
        f"{len(corpus.groups.neutral)} neutral texts.",
        f"Model {manifest.model.id} ({manifest.model.dtype}), {manifest.frame.description}.",
        f"Directions by {manifest.method}, read rule {manifest.read.rule}, judged at layer "
        f"{layer}. Intervals are 95 %, by bootstrap over texts.",
    )
