"""The room Judge: its parts, and what they do when another run is in use."""

from __future__ import annotations

import gradio as gr

from readout_ui.app.events import Part
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
            with gr.Tab("New texts", id="new-texts"):
                self.generalization = GeneralizationTab(studio)
                LeaderboardPart(studio)
            with gr.Tab("Layers", id="layers"):
                self.layers = LayersTab(studio)

    def follow(self, clock: Clock) -> None:
        """Keep up with the run in use."""
        clock.on_run(self.crosstalk, self.crosstalk.shown)
        clock.on_run(self.generalization, self.generalization.shown)
        clock.on_run(self.layers, self.layers.shown)
