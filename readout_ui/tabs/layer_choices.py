"""Which layers of a run can be judged, for sliders and lists."""

from __future__ import annotations

from typing import Any

from readout_ui.runs import RunRecord


def layer_slider(run: RunRecord | None) -> dict[str, Any]:
    """Range and value of a slider: every layer of the run's model, the best one chosen."""
    if run is None:
        return {"minimum": 0, "maximum": 1, "value": 0, "interactive": False, "info": ""}
    last = len(run.layer_scores) - 1 if run.layer_scores else max(run.layers)
    return {
        "minimum": 0,
        "maximum": max(1, last),
        "value": run.best_layer,
        "interactive": last > 0,
        "info": f"best layer of this run: {run.best_layer}",
    }


def layer_list(run: RunRecord | None) -> dict[str, Any]:
    """Choices and value of a list: the layers the run has vectors of, the best one chosen."""
    if run is None:
        return {"choices": [], "value": None}
    return {
        "choices": list(run.layers),
        "value": run.best_layer,
        "info": f"best layer of this run: {run.best_layer}",
    }
