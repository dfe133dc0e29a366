"""The room Read: texts, chats and steering in one component, passages, and what follows a run.

The component's script asks the server by itself what there is to read with.
"""

from __future__ import annotations

import json
from html import escape

import gradio as gr

from readout_ui.app.assets import on_load
from readout_ui.app.events import Part
from readout_ui.app.header import Clock
from readout_ui.app.read.calls import read_calls
from readout_ui.app.read.chat import chat_calls
from readout_ui.app.read.passages import Passages
from readout_ui.app.session import Studio

EXAMPLES = {
    "Lost keys and a dog": "I lost my keys, then the dog ran away and nobody came to help. But in "
    "the evening she was back at the door!",
    "The letter said yes": "The letter came this morning and it said yes. I read it three times, "
    "then I ran through the house to tell everyone. We did it!",
    "My best friend moved away": "My best friend moved away today. We waved until the car was "
    "gone, and now the street is so quiet that I can hear the clock.",
}
"""Texts to try, by the words on their buttons."""


def build_desk(studio: Studio) -> gr.HTML:
    """The part that reads texts."""
    examples = escape(json.dumps(EXAMPLES))
    return gr.HTML(
        html_template=f'<div class="rs-read" data-examples="{examples}"></div>',
        js_on_load=on_load("read/main.js"),
        apply_default_css=False,
        container=False,
        padding=False,
        elem_id="read-desk",
        server_functions=[*read_calls(studio), *chat_calls(studio)],
    )


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
