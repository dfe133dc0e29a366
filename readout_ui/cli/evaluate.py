"""The command that judges vectors on labelled texts, as a table and as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from readout_ui.cli.options import (
    AsJson,
    JudgedWeights,
    Layer,
    Model,
    Spread,
    TrainedTexts,
    Vectors,
)
from readout_ui.cli.output import as_json, open_readout, table
from readout_ui.errors import UserError
from readout_ui.evaluation.run_changes import ConceptChange, change_rows, moved
from readout_ui.files import write_file
from readout_ui.progress import Progress
from readout_ui.texts.words import cut

if TYPE_CHECKING:
    from readout_ui.evaluation.judgements import Generalization
    from readout_ui.evaluation.run_diff import RunDiff, ScoreChange, ScoreChanges
    from readout_ui.models.loading import ModelSpec
    from readout_ui.runs.run import Run
    from readout_ui.texts.labelled import LabelledText
    from readout_ui.vectors.training import Corpus


def evaluate(
    *,
    vectors: Vectors,
    texts: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="CSV, TSV, JSONL, JSON or a folder of {concept}.txt; "
            "shipped:emotions or shipped:stances; by default the shipped one that fits.",
        ),
    ] = None,
    text_column: Annotated[
        str, typer.Option(metavar="NAME", help="Column of the texts; else guessed.")
    ] = "",
    label_column: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Column of the labels; else guessed. Repeatable."),
    ] = None,
    group_column: Annotated[
        str,
        typer.Option(metavar="NAME", help="Column of prompt or author of each text; else guessed."),
    ] = "",
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
    spread: Spread,
    json: AsJson = False,
) -> None:
    """Judge vectors on labelled texts they never saw, beside baselines."""
    from readout_ui.cli.read import open_run
    from readout_ui.files import write_file

    source = open_run(vectors, texts=descriptions)
    labelled = labelled_texts(texts, text_column, label_column or [], group_column, mapping, source)
    chosen = source.layer(layer)
    spec = weights.spec_of(source.manifest, model)
    with open_readout(source, spec, spread.cluster()) as scorer:
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
    group_column: str,
    mapping: str,
    source: Run,
) -> Labelled:
    """The texts and their mapping, read before the model is loaded.

    Raises:
        UserError: no such file or column, or a mapping to something unknown.
    """
    from readout_ui.texts.labelled import labels_of, parse_mapping, read_labelled, read_shipped
    from readout_ui.texts.shipped import fitting_library

    if path is None and (text_column or label_columns):
        raise UserError("the columns are those of no file", fix="name one with --texts")
    concepts = source.manifest.concepts
    if path is None:
        texts = read_shipped(library=fitting_library(concepts))
    else:
        texts = read_labelled(path, text_column, label_columns, group_column)
    parsed = parse_mapping(mapping, labels_of(texts), concepts)
    return Labelled("the shipped test set" if path is None else str(path), texts, parsed)


def as_table(found: Generalization) -> str:
    """One row per concept, the macro row last, then top-k and notes."""
    lines = [
        f"layer {found.layer}",
        table(*found.table()),
        *(f"top-{top.k}: {top.hits} (chance {top.chance:.3f})" for top in found.top),
    ]
    return "\n".join([*lines, *found.sentences(), *(f"Note: {note}" for note in found.notes)])


def as_values(found: Generalization, labelled: Labelled) -> dict[str, Any]:
    """The judgement with where its texts came from; what too few texts leave open is None."""
    from readout_ui.files import json_values

    return {"texts": labelled.name, "map": labelled.mapping, **json_values(found.as_json())}


@dataclass(frozen=True, eq=False)
class Comparison:
    """What moved, and which scores changed."""

    diff: RunDiff
    changes: ScoreChanges | None
    reason: str
    """Why there are no scores, else empty."""

    @property
    def rows(self) -> tuple[ConceptChange, ...]:
        """One for each concept."""
        return change_rows(self.diff, self.changes)


def compare(
    *,
    old: Annotated[str, typer.Argument(metavar="RUN", help="The run to compare with.")],
    new: Annotated[str, typer.Argument(metavar="RUN", help="The run to look at.")],
    runs: Annotated[Path, typer.Option(metavar="DIR", help="Folder of kept runs.")] = Path("runs"),
    scores: Annotated[
        bool, typer.Option(help="Load the model and compare scores of the texts both have.")
    ] = True,
    layer: Layer = None,
    model: Model = "",
    weights: JudgedWeights,
    json: AsJson = False,
) -> None:
    """Say what moved between two runs: texts, directions, and scores beyond noise."""
    from readout_ui.evaluation.run_diff import compare_runs
    from readout_ui.runs.store import RunStore

    store = RunStore(runs)
    first, second = (store.open(run_id) for run_id in (old, new))
    diff = compare_runs(first, second)
    found = Comparison(diff, None, "Scores were left out." if diff.same_space else "")
    if scores and diff.same_space:
        try:
            spec = weights.spec_of(second.manifest, model)
            found = Comparison(diff, _scores(first, second, spec, layer), "")
        except UserError as error:
            found = Comparison(diff, None, f"Scores were not compared: {error}")
    print(as_line(found) if json else as_text(found))


def _scores(old: Run, new: Run, spec: ModelSpec, layer: int | None) -> ScoreChanges:
    with open_readout(new, spec) as readout:
        from readout_ui.evaluation.run_diff import compare_scores
        from readout_ui.inference.readout import Readout
        from readout_ui.vectors.vectors import resolve_layers

        chosen = new.best_layer
        if layer is not None:
            (chosen,) = resolve_layers(str(layer), readout.model.n_layers)
        before = Readout(readout.model, old, readout.cache, readout.report)
        first, second = before.corpus(), readout.corpus()
        return compare_scores(first, second, chosen)


def as_line(found: Comparison) -> str:
    """The comparison as one JSON object on one line."""
    from readout_ui.evaluation.run_diff import diff_json

    scores = None if found.changes is None else asdict(found.changes)
    more = {
        "scores": scores,
        "why_no_scores": found.reason,
        "concepts": list(map(vars, found.rows)),
    }
    return as_json({**diff_json(found.diff), **more})


def as_text(found: Comparison) -> str:
    """Settings, texts, directions and scores, one after the other."""
    diff = found.diff
    lines = [f"{diff.old} → {diff.new}", *diff.settings]
    for noun, names in (("new", diff.concepts_added), ("gone", diff.concepts_removed)):
        lines += [f"{noun} concepts: {', '.join(names)}"] if names else []
    kinds = Counter(change.kind for change in diff.texts)
    counted = ", ".join(f"{n} {kind}" for kind, n in sorted(kinds.items()))
    lines.append(f"texts: {counted or 'the same'}")
    lines += [
        f"  {change.concept}: {change.kind}: {cut(change.after or change.before, 70)}"
        for change in diff.texts
    ]
    lines += [diff.why_no_moves, _head(found), _changes_text(found.rows, found.changes)]
    return "\n".join(filter(None, lines))


def _head(found: Comparison) -> str:
    """Which texts the scores below are of, or why there are none."""
    if found.changes is None:
        return found.reason
    texts, layer = found.changes.n_texts, found.changes.layer
    return f"held-out AUROC of the {texts} texts both runs have, layer {layer}; new minus old"


def _changes_text(rows: Sequence[ConceptChange], changes: ScoreChanges | None) -> str:
    """One line per concept that moved, new minus old, and how many did not."""
    shown = moved(rows)
    cells = [
        (row.concept, _number(row.turned), *_scores_cells(row.before, row.after, row), row.verdict)
        for row in shown
    ]
    if changes is not None:
        macro = changes.macro
        verdict = "beyond noise" if macro.beyond_noise else "within noise"
        cells.append(("macro", "", *_scores_cells(macro.before, macro.after, macro), verdict))
    still = len(rows) - len(shown)
    lines = [f"{still} of {len(rows)} concepts did not move"] if still else []
    return "\n".join([table(_CHANGES, cells), *lines] if cells else lines)


_CHANGES = ("concept", "turned", "AUROC", "difference [95 %]", "p", "verdict")


def _scores_cells(
    before: float | None, after: float | None, row: ConceptChange | ScoreChange
) -> tuple[str, str, str]:
    if before is None or after is None or row.change is None:
        return "", "", ""
    low, high = _number(row.low, "+"), _number(row.high, "+")
    return (
        f"{before:.3f} → {after:.3f}",
        f"{row.change:+.3f} [{low}, {high}]",
        _number(row.p),
    )


def _number(value: float | None, sign: str = "") -> str:
    return "" if value is None else f"{value:{sign}.3f}"


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
    from readout_ui.cli.read import open_run, require_texts

    source = open_run(vectors, texts=descriptions)
    require_texts(source, "a report")
    print(f"Wrote {write_report(source, weights.spec_of(source.manifest, model), layer, output)}")


def write_report(source: Run, spec: ModelSpec, layer: int | None, output: Path) -> Path:
    """Judge the vectors in every way and write the page; returns its path.

    Raises:
        UserError: it belongs to another model.
    """
    if output.is_dir():
        raise UserError("is a folder", where=str(output), fix="name a file, such as report.html")
    chosen = source.layer(layer)
    with open_readout(source, spec) as scorer:
        from readout_ui.cli.chapters import CHAPTERS
        from readout_ui.plots.report import draw_report

        sections = []
        for done, chapter in enumerate(CHAPTERS):
            scorer.report(Progress(STAGE, done, len(CHAPTERS), "chapters"))
            sections.append(chapter(scorer, chosen))
        about = _about(source, scorer.corpus(), chosen)
    page = draw_report("Readout Studio report", about, sections)
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
