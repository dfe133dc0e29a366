"""The room Write: the scoreboard with a page for every concept, and texts from elsewhere."""

from __future__ import annotations

from typing import Any

import gradio as gr

from readout_ui.app.events import Part
from readout_ui.app.header import Clock
from readout_ui.app.session import Studio
from readout_ui.app.write.concepts import build_concepts_tab
from readout_ui.app.write.sources import SourcesTab

BACK = "<p class='src-back'><a href='#/write'>← All concepts</a></p>"


class WriteRoom(Part):
    """Concepts and their texts; while others are brought, these take their place.

    The address says which of the two is seen: `#/write?from=stories`.
    """

    def __init__(self, studio: Studio) -> None:
        self.concepts: Any = build_concepts_tab(studio)
        with gr.Column(elem_id="write-sources"):
            gr.HTML(BACK, padding=False)
            self.sources = SourcesTab(studio)

    def follow(self, clock: Clock) -> None:
        """Keep up with the run in use."""
        clock.on_run(self.sources)
