"""The room Judge: its parts, and what they do when another run is in use."""

from __future__ import annotations

import gradio as gr

from readout_ui.app.events import QUIET, Part, bound, components
from readout_ui.app.header import Clock
from readout_ui.app.judge.crosstalk import CrosstalkTab
from readout_ui.app.judge.generalization import GeneralizationTab
from readout_ui.app.judge.layers import LayersTab
from readout_ui.app.judge.leaderboard import LeaderboardPart
from readout_ui.app.judge.report import ReportPart
from readout_ui.app.session import Studio


class JudgeRoom(Part):
    """A report, concepts against each other, other people's texts, and layers."""

    def __init__(self, studio: Studio) -> None:
        with gr.Tabs(elem_id="judge-parts"):
            with gr.Tab("Report", id="report"):
                self.report = ReportPart(studio)
            with gr.Tab("Cross-talk", id="cross-talk"):
                self.crosstalk = CrosstalkTab(studio)
            with gr.Tab("New texts", id="new-texts") as new_texts:
                self.generalization = GeneralizationTab(studio)
                self.leaderboard = LeaderboardPart(studio)
            with gr.Tab("Layers", id="layers") as layers:
                self.layers = LayersTab(studio)
        # What is kept with the run is read when a part is opened.
        for tab, part in (
            (new_texts, self.generalization),
            (new_texts, self.leaderboard),
            (layers, self.layers),
        ):
            tab.select(bound(part.refresh), part.shown, components(part), **QUIET)

    def follow(self, clock: Clock) -> None:
        """Keep up with the run in use."""
        for part in (self.crosstalk, self.generalization, self.leaderboard, self.layers):
            clock.on_run(part, part.shown)
