"""The Concepts tab: the list, the editor and everything about description files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gradio as gr

from readout_ui.app.assets import on_load
from readout_ui.app.session import Studio
from readout_ui.app.tabs.concepts_calls import concept_calls
from readout_ui.app.tabs.concepts_exchange import exchange_calls


@dataclass(frozen=True, eq=False)
class ConceptsTab:
    """What other tabs may listen to."""

    page: gr.HTML
    """List and editor in one component; it asks the server by itself what changed on disk."""

    @property
    def train_requested(self) -> Callable[..., Any]:
        """Listener for "Save and train" or Ctrl+Enter, sent once the text is on disk."""
        listen: Callable[..., Any] = self.page.train_requested
        return listen


def build_concepts_tab(studio: Studio) -> ConceptsTab:
    """Lay out the tab inside the Blocks that are being built."""
    return ConceptsTab(
        gr.HTML(
            html_template='<div class="rs-concepts"></div>',
            js_on_load=on_load("concepts/main.js", "train_requested"),
            apply_default_css=False,
            container=False,
            padding=False,
            elem_id="concepts-desk",
            server_functions=[*concept_calls(studio), *exchange_calls(studio)],
        )
    )
