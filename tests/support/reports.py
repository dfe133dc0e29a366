"""A report of three concepts, as a training of `trained_example` might get it."""

from __future__ import annotations

from typing import Any

from readout_ui.runs.report import (
    ConceptReport,
    Finding,
    PairReport,
    RunReport,
    TextReport,
    verdict_of,
)


def make_concept(name: str, auroc: float | None, half: float = 0.05, **changes: Any) -> Any:
    """A concept with two texts and an interval of this half width."""
    low = None if auroc is None else max(0.0, auroc - half)
    high = None if auroc is None else min(1.0, auroc + half)
    own = TextReport(f"I feel {name}. It is in my chest.", 2.1, "sad", 0.4, 0.02, "")
    odd = TextReport(f"All of me is {name}. I know it.", 0.2, "sad", 1.4, 0.12, "Rewrite it.")
    known: dict[str, Any] = {
        "name": name,
        "n_texts": 2,
        "auroc": auroc,
        "low": low,
        "high": high,
        "n_held_out": 0 if auroc is None else 12,
        "words": None if auroc is None else 0.62,
        "embedding": None,
        "random": None if auroc is None else 0.5,
        "nearest": (("sad", 0.41), ("calm", -0.2)),
        "raises": ("fear", "danger"),
        "lowers": ("peace",),
        "verdict": verdict_of(auroc, low),
        "texts": (own, odd),
    }
    return ConceptReport(**known | changes)


def make_report(run_id: str = "run 1", **changes: Any) -> RunReport:
    """afraid clear, calm weak and sad at chance; afraid and sad confused.

    Args:
        run_id: of which run.
        changes: other values of `RunReport`.
    """
    concepts = (
        make_concept("afraid", 0.95),
        make_concept("calm", 0.71),
        make_concept("sad", 0.51),
    )
    known: dict[str, Any] = {
        "run_id": run_id,
        "layer": 3,
        "held_out": "36 shipped situations",
        "headline": "1 of 3 concepts can be read; 1 pair is confused",
        "auroc": 0.72,
        "low": 0.66,
        "high": 0.79,
        "words": 0.62,
        "embedding": None,
        "random": 0.5,
        "concepts": concepts,
        "pairs": (PairReport("afraid", "sad", 0.61, 0.08, 0.64, "confused"),),
        "findings": (Finding("sad is not above chance.", "#/write/sad"),),
        "layer_note": "Layer 3 is within noise of the best.",
        "missing": (),
        "moved": "",
        "order": ("calm", "afraid", "sad"),
    }
    return RunReport(**known | changes)
