"""The room Ship: its parts, and what they do when another run is in use."""

from __future__ import annotations

import gradio as gr

from readout_ui.app.events import Part
from readout_ui.app.header import Clock
from readout_ui.app.session import Studio
from readout_ui.app.ship.runs import RunsTab
from readout_ui.app.tabs.export import ExportTab


class ShipRoom(Part):
    """The runs that were kept, and files for other programs."""

    def __init__(self, studio: Studio) -> None:
        with gr.Tabs(elem_id="ship-parts"):
            with gr.Tab("Runs", id="runs"):
                self.runs = RunsTab(studio)
            with gr.Tab("Export", id="export"):
                self.export = ExportTab(studio)

    def follow(self, clock: Clock) -> None:
        """Both follow the texts as well: which are newer than the run."""
        clock.on_texts(self.runs)
        clock.on_texts(self.export)
