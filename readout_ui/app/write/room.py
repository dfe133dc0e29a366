"""The room Write: its parts, and what they do when another run is in use."""

from __future__ import annotations

from typing import Any

import gradio as gr

from readout_ui.app.events import DEVICE, QUIET, Part
from readout_ui.app.header import Clock
from readout_ui.app.session import Studio
from readout_ui.app.tabs.advice import AdviceTab
from readout_ui.app.tabs.concepts import build_concepts_tab
from readout_ui.app.tabs.sources import SourcesTab


class WriteRoom(Part):
    """Concepts and their texts, other sources, and advice."""

    def __init__(self, studio: Studio) -> None:
        with gr.Tabs(elem_id="write-parts"):
            with gr.Tab("Concepts", id="concepts"):
                self.concepts: Any = build_concepts_tab(studio)
            with gr.Tab("Sources", id="sources"):
                self.sources = SourcesTab(studio)
            with gr.Tab("Advice", id="advice"):
                self.advice = AdviceTab(studio)

    def follow(self, clock: Clock) -> None:
        """Keep up with the run in use; advice follows the texts as well, and waits its turn."""
        clock.on_run(self.sources)
        clock.on_texts(self.advice, **{**DEVICE, **QUIET})
