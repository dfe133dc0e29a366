"""The room Read: its parts, and what they do when another run is in use."""

from __future__ import annotations

import gradio as gr

from readout_ui.app.events import Part
from readout_ui.app.header import Clock
from readout_ui.app.read.desk import build_desk
from readout_ui.app.read.passages import Passages
from readout_ui.app.session import Studio


class ReadRoom(Part):
    """One text, a chat, two of anything, a steered model; passages of a file have an address."""

    def __init__(self, studio: Studio) -> None:
        build_desk(studio)
        with gr.Column(elem_id="read-passages"):  # at "#/read/passages"
            gr.HTML("<a class='btn quiet' href='#/read'>Back to the text</a>")
            self.snippets = Passages(studio)

    def follow(self, clock: Clock) -> None:
        """Keep up with the run in use."""
        clock.on_run(self.snippets)
