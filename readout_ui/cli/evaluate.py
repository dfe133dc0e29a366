"""The command that judges vectors on labelled texts, as a table and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from readout_ui.cli.options import (
    AsJson,
    JudgedWeights,
    Layer,
    Model,
    TrainedTexts,
    Vectors,
)
from readout_ui.cli.output import as_json, table, work_with
from readout_ui.errors import UserError

if TYPE_CHECKING:
    from readout_ui.evaluation.judgements import Generalization
    from readout_ui.evaluation.resampling import Estimate
    from readout_ui.inference.readout import Readout
    from readout_ui.models.loading import ModelSpec
    from readout_ui.runs.run import Run
    from readout_ui.texts.labelled import LabelledText

SHIPPED = "the shipped test set"


def evaluate(
    *,
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
    weights: JudgedWeights,
    json: AsJson = False,
) -> None:
    """Judge vectors on labelled texts they never saw, beside baselines."""
    from readout_ui.cli.read import open_run
    from readout_ui.files import write_file

    source = open_run(vectors, texts=descriptions)
    labelled = labelled_texts(texts, text_column, label_column or [], mapping, source)
    chosen = source.layer(layer)
    with open_scorer(source, weights.spec_of(source.manifest, model)) as scorer:
        from readout_ui.evaluation.generalization import judge_texts

        found = judge_texts(scorer, labelled.texts, labelled.mapping, chosen)
    values = as_values(found, labelled)
    if output is not None:
        from readout_ui.runs.manifest import json_bytes

        write_file(output, json_bytes(values))
    print(as_json(values) if json else as_table(found))


@dataclass(frozen=True)
class Labelled:
    """Labelled texts and what their labels stand for."""

    name: str
    """Where they come from."""
    texts: tuple[LabelledText, ...]
    mapping: dict[str, str]
    """Label -> concept, or one of the special targets."""


def labelled_texts(
    path: Path | None,
    text_column: str,
    label_columns: Sequence[str],
    mapping: str,
    source: Run,
) -> Labelled:
    """The texts and their mapping, read before the model is loaded.

    Raises:
        UserError: no such file or column, or a mapping to something unknown.
    """
    from readout_ui.texts.labelled import labels_of, parse_mapping, read_labelled, read_shipped

    if path is None and (text_column or label_columns):
        raise UserError("the columns are those of no file", fix="name one with --texts")
    texts = read_shipped() if path is None else read_labelled(path, text_column, label_columns)
    concepts = source.manifest.concepts
    parsed = parse_mapping(mapping, labels_of(texts), concepts)
    return Labelled(SHIPPED if path is None else str(path), texts, parsed)


@contextmanager
def open_scorer(source: Run, spec: ModelSpec) -> Iterator[Readout]:
    """What scores texts: the vectors, their model and the cache, closed afterwards."""
    with work_with(spec) as work:
        from readout_ui.inference.readout import Readout

        source.refuse_other_model(work.model)
        yield Readout(work.model, source, work.cache, work.report)


def as_table(found: Generalization) -> str:
    """One row per concept, the macro row last, then top-k and notes."""
    lines = [
        f"layer {found.layer}",
        table(*table_rows(found)),
        *(f"top-{top.k}: {top.hits} (chance {top.chance:.3f})" for top in found.top),
    ]
    if found.macro.gain is not None:
        lines.append(f"above the bag of words: {found.macro.gain}")
    return "\n".join([*lines, *(f"Note: {note}" for note in found.notes)])


def table_rows(
    found: Generalization,
) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """Header and cells of the table; the last row is the macro mean."""
    rows = [
        (
            each.concept,
            str(each.n_texts),
            str(each.auroc),
            f"{each.average_precision:.3f}",
            f"{each.top1:.0%}",
            _value(each.words),
            _value(each.random),
            f"{each.p:.3f}",
            f"{each.recall:.0%}",
            "–" if each.false_positives is None else f"{each.false_positives.value:.0%}",
        )
        for each in found.per_concept
    ]
    macro = found.macro
    means = (f"{macro.average_precision:.3f}", "", _value(macro.words), _value(macro.random))
    total = ("macro", str(len(found.texts)), str(macro.auroc), *means, f"{macro.p:.3f}", "", "")
    header = ("concept", "texts", "AUROC [95 %]", "AP", "top-1", "words", "random", "p", "recall")
    return (*header, "false pos."), (*rows, total)


def _value(estimate: Estimate | None) -> str:
    return "–" if estimate is None else f"{estimate.value:.3f}"


def as_values(found: Generalization, labelled: Labelled) -> dict[str, Any]:
    """The judgement with where its texts came from; what too few texts leave open is None."""
    from readout_ui.files import json_values

    return {"texts": labelled.name, "map": labelled.mapping, **json_values(found.as_json())}
