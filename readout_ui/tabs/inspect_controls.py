"""What the Inspect tab shows below the prompt: choices, coloured text, heatmap, downloads."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from readout_ui.tabs.events import PRIVATE
from readout_ui.tabs.score_map import build_score_map
from readout_ui.tabs.visibility import HIDDEN

VIEWS = {"Tokens × concepts": "concepts", "Tokens × layers": "layers"}
KINDS = {"z-score": "z", "Cosine": "cosine", "Raw": "raw"}
ORDERS = {"Highest peak first": "peak", "A to Z": "alphabet", "Similar together": "similarity"}
_HERE = Path(__file__).parent


@dataclass(frozen=True)
class Controls:
    """Everything below the prompt."""

    results: gr.Column
    look: tuple[Any, ...]
    """Choices in the order of Look's first fields."""
    middle: gr.State
    """Look's last field: which token of a very long text is in the middle of what is sent."""
    strip: gr.HTML
    rows: gr.HTML
    columns: gr.HTML
    plot: gr.Plot
    map: gr.HTML
    """Long texts; strip, rows, columns and plot are for the others."""
    csv: gr.Button
    csv_text: gr.Textbox

    @property
    def looks(self) -> list[Any]:
        """Everything that `Look` is made of."""
        return [*self.look, self.middle]

    @property
    def drawn(self) -> list[gr.components.Component]:
        """What `draw` fills."""
        return [self.strip, self.rows, self.columns, self.plot, self.map]


def build_results() -> Controls:
    """Lay out everything below the prompt; hidden until there is a reading."""
    with gr.Column(visible=HIDDEN, elem_id="inspect-results") as results:
        look, middle = _build_look(), gr.State(0)
        strip = gr.HTML(elem_id="inspect-strip")
        with gr.Column(elem_id="inspect-scroll"):
            rows = gr.HTML(elem_id="inspect-rows", js_on_load=read_script("row_labels.js"))
            columns = gr.HTML(elem_id="inspect-columns", js_on_load=read_script("column_labels.js"))
            plot = gr.Plot(show_label=False, container=False, elem_id="inspect-heatmap")
        long = build_score_map("inspect-map")
        with gr.Row(elem_id="inspect-downloads"):
            csv = gr.Button("Download CSV", size="sm", elem_id="inspect-csv")
            png = gr.Button("Download PNG", size="sm", elem_id="inspect-png")
            svg = gr.Button("Download SVG", size="sm", elem_id="inspect-svg")
        csv_text = gr.Textbox(visible=False)
    for button, picture in ((png, "png"), (svg, "svg")):
        # Drawn by the browser, so that the picture needs no server and no other program.
        button.click(
            None, js=f"() => ({read_script('download_picture.js')})('{picture}')", **PRIVATE
        )
    return Controls(results, look, middle, strip, rows, columns, plot, long, csv, csv_text)


def _build_look() -> tuple[Any, ...]:
    """Choices in the order of Look's first fields."""
    with gr.Row():
        view = gr.Radio(list(VIEWS.items()), value="concepts", label="Heatmap")
        kind = gr.Radio(list(KINDS.items()), value="z", label="Score")
        layer = gr.Slider(0, 1, step=1, label="Layer", elem_id="inspect-layer", min_width=220)
    with gr.Row():
        concept = gr.Dropdown([], label="Text coloured by", elem_id="inspect-concept")
        chosen = gr.Dropdown([], label="Concepts (empty: all)", multiselect=True, value=[])
        order = gr.Dropdown(list(ORDERS.items()), value="peak", label="Order")
        template = gr.Checkbox(True, label="Show template tokens")
    return view, kind, layer, concept, chosen, order, template


def read_script(name: str) -> str:
    """A script beside this module."""
    return (_HERE / name).read_text(encoding="utf-8").strip()
