"""The runs that were kept, and the layers of the one in use."""

from __future__ import annotations

from typing import Any

import gradio as gr
from gradio.components.plot import PlotData

from readout_ui.app.assets import on_load
from readout_ui.app.events import PRIVATE, Changes, Part, bound, components
from readout_ui.app.session import Studio
from readout_ui.app.widgets import build_plot, draw_runs, plot_data
from readout_ui.plots.aurocs import draw_layer_scores
from readout_ui.runs.run import Run


class RunsTab(Part):
    """The list of runs: every training is kept."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio
        gr.Markdown("### Runs\nEvery training is kept. Going back to one changes nothing on disk.")
        self.runs = gr.HTML(
            draw_runs(studio), elem_id="runs", padding=False, js_on_load=on_load("clicks.js")
        )
        self.layers = build_plot("layer-scores", show_scores(studio.runs.current()))
        self.run_chosen: Any = self.runs.select(bound(self.use), None, components(self), **PRIVATE)

    def use(self, event: gr.EventData) -> Changes:
        """Go back to a run in the list."""
        self.studio.use_run(str(event.run))
        return self.refresh()

    def refresh(self) -> Changes:
        """The runs and the layers of the run in use, after a run was made or chosen."""
        scores = show_scores(self.studio.runs.current())
        return {self.runs: draw_runs(self.studio), self.layers: scores}


def show_scores(run: Run | None) -> PlotData | None:
    """The layer curve of a run; None, which the page hides, where there is none to draw."""
    if run is None or run.layer_scores is None:
        return None
    return plot_data(draw_layer_scores(run.layer_scores, run.best_layer))
