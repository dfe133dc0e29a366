"""The kept runs as an HTML table."""

from __future__ import annotations

from html import escape

from readout_ui.runs import BrokenRun, RunRecord
from readout_ui.studio import Studio

EMPTY_RUNS = "<p class='empty'>No run yet. Press <b>Train</b> to fit the first vectors.</p>"


def draw_runs(studio: Studio) -> str:
    """The kept runs as an HTML table, newest first."""
    runs, broken = studio.runs.list(), studio.runs.broken()
    if not runs and not broken:
        return EMPTY_RUNS
    current = studio.runs.current()
    used = current.id if current else ""
    rows = "".join(_run_row(run, run.id == used) for run in runs)
    rows += "".join(_broken_row(run) for run in broken)
    head = "".join(
        f"<th>{name}</th>"
        for name in ("Trained", "Model", "Concepts", "Texts", "Method", "Best layer", "AUROC", "")
    )
    return f"<div class='scroll'><table><tr>{head}</tr>{rows}</table></div>"


def _run_row(run: RunRecord, used: bool) -> str:
    when = local_time(run)
    cells = (
        when,
        run.model_name,
        str(len(run.concepts)),
        str(run.n_texts),
        f"{run.settings.method}, {run.settings.read}",
        str(run.best_layer),
        _best_score(run),
    )
    action = (
        "<b>in use</b>"
        if used
        else f"<button data-run='{escape(run.id)}' aria-label='Use the run of {when}'>Use</button>"
    )
    body = "".join(f"<td>{escape(cell)}</td>" for cell in cells)
    return f"<tr class='{'used' if used else ''}'>{body}<td>{action}</td></tr>"


def _broken_row(run: BrokenRun) -> str:
    return (
        f"<tr class='broken'><td>{escape(run.id)}</td>"
        f"<td colspan='7'>{escape(run.reason)}</td></tr>"
    )


def _best_score(run: RunRecord) -> str:
    score = run.layer_scores[run.best_layer] if run.layer_scores else None
    return "–" if score is None else f"{score:.3f}"


def local_time(run: RunRecord) -> str:
    """When the run was made, on this machine's clock."""
    return f"{run.created.astimezone():%Y-%m-%d %H:%M:%S}"
