"""The command that compares two kept runs."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from readout_ui.cli.options import AsJson, JudgedWeights, Layer, Model
from readout_ui.cli.output import as_json, table, work_with
from readout_ui.errors import UserError

if TYPE_CHECKING:
    from readout_ui.evaluation.run_diff import Moves, RunDiff, ScoreChanges
    from readout_ui.models.loading import ModelSpec
    from readout_ui.runs.run import Run

LEAST_TURN = 0.999
"""Mean cosine from which a direction counts as unmoved in the table."""


@dataclass(frozen=True, eq=False)
class Comparison:
    """What moved, and which scores changed."""

    diff: RunDiff
    changes: ScoreChanges | None
    reason: str
    """Why there are no scores, else empty."""


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
    with work_with(spec) as work:
        from readout_ui.evaluation.public import corpus_of
        from readout_ui.evaluation.run_diff import compare_scores
        from readout_ui.inference.readout import Readout
        from readout_ui.vectors.vectors import resolve_layers

        model, chosen = work.model, new.best_layer
        new.refuse_other_model(model)
        if layer is not None:
            (chosen,) = resolve_layers(str(layer), model.n_layers)
        first, second = (
            corpus_of(Readout(model, run, work.cache, work.report)) for run in (old, new)
        )
        return compare_scores(first, second, chosen)


def as_line(found: Comparison) -> str:
    """The comparison as one JSON object on one line."""
    from readout_ui.evaluation.run_diff import diff_json

    scores = None if found.changes is None else asdict(found.changes)
    return as_json({**diff_json(found.diff), "scores": scores, "why_no_scores": found.reason})


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
        f"  {change.concept}: {change.kind}: {_cut(change.after or change.before)}"
        for change in diff.texts
    ]
    lines.append(diff.why_no_moves if diff.moves is None else _moves_text(diff.moves))
    lines.append(_scores_text(found.changes) if found.changes else found.reason)
    return "\n".join(filter(None, lines))


def _moves_text(moves: Moves) -> str:
    means = moves.mean().tolist()
    pairs = sorted(zip(means, moves.concepts, strict=True))
    turned = [(name, f"{cosine:.3f}") for cosine, name in pairs if cosine < LEAST_TURN]
    if not turned:
        return f"directions: all {len(moves.concepts)} as they were"
    head = f"directions: {len(turned)} of {len(moves.concepts)} turned, mean over layers"
    return f"{head}\n{table(('concept', 'cosine old to new'), turned)}"


def _scores_text(changes: ScoreChanges) -> str:
    rows = [
        (
            change.concept,
            str(change.n_texts),
            f"{change.before:.3f}",
            f"{change.after:.3f}",
            f"{change.change:+.3f} [{change.low:+.3f}, {change.high:+.3f}]",
            f"{change.p:.3f}",
            "yes" if change.beyond_noise else "no",
        )
        for change in (changes.macro, *changes.concepts)
    ]
    header = ("concept", "texts", "before", "after", "change [95 %]", "p", "beyond noise")
    head = f"held-out AUROC of the {changes.n_texts} texts both runs have, layer {changes.layer}"
    return f"{head}\n{table(header, rows)}"


def _cut(text: str, length: int = 70) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
