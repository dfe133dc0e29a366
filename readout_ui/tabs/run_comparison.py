"""Two runs side by side, on screen: texts, directions, and scores beyond noise."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import gradio as gr
from gradio.components.plot import PlotData

from readout_ui.errors import UserError
from readout_ui.evidence import Evidence
from readout_ui.runs import RunRecord
from readout_ui.studio import Studio
from readout_ui.tabs.events import DEVICE, guarded
from readout_ui.tabs.layers_tables import draw_diff
from readout_ui.tabs.plots import build_plot, plot_data
from readout_ui.tabs.run_table import local_time
from readout_ui.views.run_diff import ScoreBar, draw_moves, draw_score_changes

if TYPE_CHECKING:
    from readout_ui.corpus import Corpus
    from readout_ui.run_diff import RunDiff
    from readout_ui.score_changes import ScoreChanges


TOO_FEW = "<p class='empty'>One run so far. After the next training, two can be compared here.</p>"


def build_comparison(studio: Studio) -> tuple[gr.Dropdown, gr.Dropdown]:
    """Lay out and wire the choice of two runs and what moved between them."""
    gr.Markdown("### What moved\nAny two runs side by side; the texts both have are scored.")
    choices, before, now = run_choices(studio)
    with gr.Row():
        old, new = (
            gr.Dropdown(choices, value=run, label=label, elem_id=name, min_width=280)
            for run, label, name in (
                (before, "From run", "diff-old"),
                (now, "To run", "diff-new"),
            )
        )
    button = gr.Button("Compare these runs", elem_id="diff-compare")
    about = gr.HTML(TOO_FEW if len(choices) == 1 else "", elem_id="diff-about", padding=False)
    moved = [about, build_plot("diff-scores"), build_plot("diff-moves")]

    def diff(first: str | None, second: str | None) -> tuple[object, ...]:
        return draw_comparison(studio, first, second)

    button.click(guarded(diff), [old, new], moved, **DEVICE, show_progress_on=about)
    return old, new


def draw_comparison(studio: Studio, old_id: str | None, new_id: str | None) -> tuple[object, ...]:
    """What moved: words and tables, changes of scores, and cosines.

    Raises:
        UserError: fewer than two runs are chosen.
    """
    if not old_id or not new_id:
        raise UserError("two runs are needed", fix="train twice, then choose both")
    from readout_ui.run_diff import compare_runs

    diff = compare_runs(*studio.runs.load(old_id), *studio.runs.load(new_id))
    changes, reason = _score_changes(studio, diff)
    return (
        draw_diff(diff, changes, reason),
        _draw_changes(changes),
        _draw_moves(diff),
    )


def _score_changes(studio: Studio, diff: RunDiff) -> tuple[ScoreChanges | None, str]:
    """Changed scores, or why there are none: another model in use, too few common texts."""
    if not diff.same_space:
        return None, ""
    old, new = studio.runs.record(diff.old), studio.runs.record(diff.new)

    def work(evidence: Evidence) -> ScoreChanges:
        from readout_ui.corpus import read_corpus
        from readout_ui.score_changes import compare_scores

        model, cache = evidence.model, evidence.cache
        old.refuse_other_model(model.name, model.fingerprint)
        layer = new.best_layer

        def at_layer(run: RunRecord) -> Corpus:
            corpus = evidence.corpus
            if run.id != evidence.run.id:
                corpus = read_corpus(model, run.descriptions, run.settings, cache, evidence.report)
            return replace(corpus, pooled=corpus.pooled[:, [layer]])

        return replace(compare_scores(at_layer(old), at_layer(new), 0), layer=layer)

    try:
        return studio.judge("Comparing runs", ("scores", diff.old, diff.new), work), ""
    except UserError as error:
        return None, f"Scores were not compared: {error}"


def _draw_changes(changes: ScoreChanges | None) -> PlotData | None:
    if changes is None:
        return None
    bars = [ScoreBar(c.concept, c.change, c.low, c.high, c.beyond_noise) for c in changes.concepts]
    return plot_data(draw_score_changes(bars))


def _draw_moves(diff: RunDiff) -> PlotData | None:
    if diff.moves is None:
        return None
    return plot_data(draw_moves(diff.moves.concepts, diff.moves.layers, diff.moves.cosine))


def run_choices(studio: Studio) -> tuple[list[tuple[str, str]], str | None, str | None]:
    """All runs, the one before the run in use, and the run in use."""
    runs, used = studio.runs.list(), studio.runs.current()
    choices = [(_run_label(run), run.id) for run in runs]
    ids = [run.id for run in runs]
    now = used.id if used else None
    rest = ids[ids.index(now) + 1 :] if now in ids else []
    return choices, rest[0] if rest else None, now


def _run_label(run: RunRecord) -> str:
    method = f"{run.settings.method}, {run.settings.read}"
    return f"{local_time(run)} · {len(run.concepts)} concepts · {method}"
