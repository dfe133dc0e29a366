"""What moved between two runs, concept by concept: one row each, always new minus old."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from math import isnan
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from readout_ui.evaluation.run_diff import Moves, RunDiff, ScoreChange, ScoreChanges

STILL = 0.005
"""Least 1 - cosine that is called a move."""
LEAST_CHANGE = 0.0005
"""Least change of an AUROC that is called a move."""
VERDICTS = ("better", "worse", "new", "gone", "within noise", "turned", "did not move")
"""In the order of the table; "not compared" comes last."""


@dataclass(frozen=True)
class ConceptChange:
    """One concept in two runs; None where there is no number."""

    concept: str
    turned: float | None = None
    """1 - cosine of the old direction with the new one, 0..2, at the layer the scores are of;
    without scores the mean over the layers that both runs have."""
    before: float | None = None
    """Held-out AUROC in the old run, on the texts both have."""
    after: float | None = None
    change: float | None = None
    """After minus before."""
    low: float | None = None
    """Lower end of the 95 % interval of the change."""
    high: float | None = None
    p: float | None = None
    """Chance of such a change without any, corrected over concepts."""
    verdict: str = "not compared"
    """One of `VERDICTS`, else "not compared"."""


def change_rows(diff: RunDiff, changes: ScoreChanges | None) -> tuple[ConceptChange, ...]:
    """One row for every concept of either run, what moved most first.

    Args:
        diff: texts, settings and directions.
        changes: of the scores; None where they were not compared.
    """
    turned = turned_by(diff.moves, changes.layer if changes else None)
    scores = {change.concept: change for change in changes.concepts} if changes else {}
    rows = [_row(name, turned.get(name), scores.get(name)) for name in {**turned, **scores}]
    rows += [ConceptChange(name, verdict="new") for name in diff.concepts_added]
    rows += [ConceptChange(name, verdict="gone") for name in diff.concepts_removed]
    return tuple(sorted(rows, key=_rank))


def moved(rows: Iterable[ConceptChange]) -> tuple[ConceptChange, ...]:
    """Those that did move, or of which nothing is known."""
    return tuple(row for row in rows if row.verdict != "did not move")


def changes_csv(rows: Iterable[ConceptChange]) -> str:
    """The rows as CSV with a header; an empty cell where there is no number."""
    text = io.StringIO()
    names = [field.name for field in fields(ConceptChange)]
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(row) for row in rows)
    return text.getvalue()


def turned_by(moves: Moves | None, layer: int | None) -> dict[str, float]:
    """1 - cosine by concept, of those whose direction is known in both runs.

    Args:
        moves: None where the runs cannot be compared.
        layer: where; the mean over all layers where the runs do not both have it.
    """
    if moves is None:
        return {}
    at = moves.cosine[:, moves.layers.index(layer)] if layer in moves.layers else moves.mean()
    pairs = zip(moves.concepts, at.tolist(), strict=True)
    return {name: max(0.0, 1 - cosine) for name, cosine in pairs if not isnan(cosine)}


def _row(name: str, turned: float | None, score: ScoreChange | None) -> ConceptChange:
    if score is None:
        still = turned is not None and turned < STILL
        return ConceptChange(name, turned, verdict="did not move" if still else "turned")
    found = (score.before, score.after, score.change, score.low, score.high, score.p)
    return ConceptChange(name, turned, *found, _verdict(turned, score))


def _verdict(turned: float | None, score: ScoreChange) -> str:
    if score.beyond_noise:
        return "better" if score.change > 0 else "worse"
    if (turned or 0) < STILL and abs(score.change) < LEAST_CHANGE:
        return "did not move"
    return "within noise"


def _rank(row: ConceptChange) -> tuple[int, float, float, str]:
    place = VERDICTS.index(row.verdict) if row.verdict in VERDICTS else len(VERDICTS)
    return place, -abs(row.change or 0) if place < 2 else 0, -(row.turned or 0), row.concept
