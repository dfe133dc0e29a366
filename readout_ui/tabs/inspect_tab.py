"""The Inspect tab: read a prompt, see it coloured by one concept and as a heatmap."""

from __future__ import annotations

from dataclasses import astuple, dataclass, replace
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from gradio.components.plot import PlotData

from readout_ui.errors import UserError
from readout_ui.readout import Readout, scores_csv
from readout_ui.run_records import RunRecord
from readout_ui.studio import Status, Studio
from readout_ui.tabs.chat_text import EXAMPLE, as_chat, parse_chat
from readout_ui.tabs.events import DEVICE, PRIVATE, QUIET, guarded
from readout_ui.views.heatmap import Grid, concept_grid, draw_heatmap, layer_grid
from readout_ui.views.labels import draw_row_labels, draw_token_labels
from readout_ui.views.ordering import order_concepts, peaks
from readout_ui.views.token_strip import draw_strip

MODES = {
    "The assistant says it": "assistant",
    "The user says it": "user",
    "Raw text, no template": "raw",
    "Chat": "chat",
}
PLACEHOLDERS = {
    "assistant": "Type or paste a text. It is read as the assistant's answer to "
    "'How do you feel right now?', as in training.",
    "user": "Type or paste a text. It is read as what a user asks.",
    "raw": "Type or paste a text. It is read without any chat template.",
    "chat": EXAMPLE,
}
VIEWS = {"Tokens × concepts": "concepts", "Tokens × layers": "layers"}
KINDS = {"z-score": "z", "Cosine": "cosine", "Raw": "raw"}
ORDERS = {"Highest peak first": "peak", "A to Z": "alphabet", "Similar together": "similarity"}
_HERE = Path(__file__).parent


@dataclass(frozen=True, eq=False)
class Reading:
    """What one session read last; every redraw comes from here, never from the model."""

    readout: Readout
    """All scores of the prompt."""
    run_id: str
    """The run whose vectors were used."""


@dataclass(frozen=True)
class Look:
    """How a reading is shown."""

    view: str
    """"concepts" or "layers"."""
    kind: str
    """Unit of the scores."""
    layer: float
    """Layer of the strip and of the concepts view; the nearest one there is taken."""
    concept: str | None
    """Concept of the strip and of the layers view."""
    chosen: list[str]
    """Concepts of the concepts view; empty for all."""
    order: str
    """Order of the concepts."""
    template: bool
    """Whether template tokens are shown."""


@dataclass(frozen=True)
class InspectTab:
    """Components of the Inspect tab that others listen to."""

    prompt: gr.Textbox
    """What is to be read."""
    mode: gr.Radio
    """Read as."""
    read: gr.Button
    """Runs the model over the prompt."""
    reading: gr.State
    """The session's Reading, None before the first."""
    notice: gr.HTML
    """What to do next; `draw_notice` makes it."""


@dataclass(frozen=True)
class _Controls:
    """Everything below the prompt."""

    results: gr.Column
    look: tuple[Any, ...]
    strip: gr.HTML
    rows: gr.HTML
    columns: gr.HTML
    plot: gr.Plot
    csv: gr.Button
    csv_text: gr.Textbox

    @property
    def drawn(self) -> list[gr.components.Component]:
        """What `draw` fills."""
        return [self.strip, self.rows, self.columns, self.plot]


def build_inspect_tab(studio: Studio) -> InspectTab:
    """Lay out the tab and wire its own events."""
    mode = gr.Radio(list(MODES.items()), value="assistant", label="Read as", elem_id="inspect-mode")
    prompt = gr.Textbox(
        label="Prompt",
        lines=4,
        max_lines=14,
        placeholder=PLACEHOLDERS["assistant"],
        elem_id="inspect-prompt",
    )
    with gr.Row(elem_id="inspect-go"):
        read = gr.Button("Read", variant="primary", elem_id="inspect-read", scale=0, min_width=160)
        notice = gr.HTML(
            draw_notice(studio.status(), None),
            elem_id="inspect-notice",
            js_on_load=_script("inspect_keys.js"),
            min_width=240,
        )
    reading = gr.State(None)
    controls = _build_results()
    mode.input(guarded(switch_mode), [mode, prompt], prompt, **QUIET)
    _wire_reading(studio, InspectTab(prompt, mode, read, reading, notice), controls)
    _wire_looks(reading, controls)
    return InspectTab(prompt, mode, read, reading, notice)


def _build_results() -> _Controls:
    with gr.Column(visible=False, elem_id="inspect-results") as results:
        look = _build_look()
        strip = gr.HTML(elem_id="inspect-strip")
        with gr.Column(elem_id="inspect-scroll"):
            rows = gr.HTML(elem_id="inspect-rows", js_on_load=_script("row_labels.js"))
            columns = gr.HTML(elem_id="inspect-columns")
            plot = gr.Plot(show_label=False, container=False, elem_id="inspect-heatmap")
        with gr.Row(elem_id="inspect-downloads"):
            csv = gr.Button("Download CSV", size="sm", elem_id="inspect-csv")
            png = gr.Button("Download PNG", size="sm", elem_id="inspect-png")
            svg = gr.Button("Download SVG", size="sm", elem_id="inspect-svg")
        csv_text = gr.Textbox(visible=False)
    for button, picture in ((png, "png"), (svg, "svg")):
        # Drawn by the browser, so that the picture needs no server and no other program.
        button.click(None, js=f"() => ({_script('download_picture.js')})('{picture}')", **PRIVATE)
    return _Controls(results, look, strip, rows, columns, plot, csv, csv_text)


def _build_look() -> tuple[Any, ...]:
    """Inputs in the order of Look's fields."""
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


def _wire_reading(studio: Studio, tab: InspectTab, controls: _Controls) -> None:
    """Reading, settling the choices and drawing are one event: each hop costs a round trip."""
    _view, _kind, layer, concept, chosen, _order, _template = controls.look

    def read(text: str, mode: str, *look: Any) -> tuple[Any, ...]:
        reading = read_prompt(studio, text, mode)
        status = studio.status()
        choices = settle_choices(reading.readout, status.run, Look(*look))
        return (
            reading,
            draw_notice(status, reading),
            gr.update(visible=True),
            *show_choices(reading.readout, status.run, choices),
            *draw(reading, *astuple(choices)),
        )

    tab.read.click(
        guarded(read),
        [tab.prompt, tab.mode, *controls.look],
        [tab.reading, tab.notice, controls.results, layer, concept, chosen, *controls.drawn],
        **DEVICE,
        show_progress_on=tab.read,
    )


def _wire_looks(reading: gr.State, controls: _Controls) -> None:
    """Every change below the prompt draws anew from the reading; the model is not asked."""
    drawn = controls.drawn
    inputs = [reading, *controls.look]
    gr.on(
        [component.input for component in controls.look],
        guarded(draw),
        inputs,
        drawn,
        trigger_mode="always_last",
        concurrency_limit=None,
        **QUIET,
    )
    concept = controls.look[3]
    controls.rows.select(clicked_concept, None, concept, **QUIET).then(
        guarded(draw), inputs, drawn, concurrency_limit=None, **QUIET
    )
    controls.csv.click(
        guarded(draw_csv), inputs, controls.csv_text, concurrency_limit=None, **PRIVATE
    ).success(None, controls.csv_text, js=_script("download_csv.js"), **PRIVATE)


def switch_mode(mode: str, text: str) -> Any:
    """The prompt box for another mode; a text becomes the assistant's turn of a chat."""
    value = as_chat(text) if mode == "chat" else text
    return gr.update(value=value, placeholder=PLACEHOLDERS[mode])


def read_prompt(studio: Studio, text: str, mode: str) -> Reading:
    """Run the model over what was typed."""
    if not text.strip():
        raise UserError("there is nothing to read", fix="type or paste a text")
    readout = studio.read(parse_chat(text) if mode == "chat" else text, mode)
    run = studio.status().run
    return Reading(readout, run.id if run else "")


def best_layer(readout: Readout, run: RunRecord | None) -> int:
    """The run's best layer, or the nearest one there is."""
    return readout.nearest_layer(run.best_layer if run else max(readout.layers))


def settle_choices(readout: Readout, run: RunRecord | None, look: Look) -> Look:
    """The choices as far as they fit a new reading: at first its best layer and highest peak."""
    names = readout.concepts
    known = look.concept in names
    layer = int(look.layer) if known and look.layer in readout.layers else best_layer(readout, run)
    concept = look.concept if known else names[int(np.argmax(peaks(readout, layer, "z")))]
    chosen = [name for name in look.chosen if name in names]
    return replace(look, layer=layer, concept=concept, chosen=chosen)


def show_choices(readout: Readout, run: RunRecord | None, look: Look) -> tuple[Any, ...]:
    """Updates for layer, concept and the concepts shown."""
    names, first, last = list(readout.concepts), min(readout.layers), max(readout.layers)
    layer = gr.update(
        minimum=first,
        maximum=max(last, first + 1),
        value=look.layer,
        interactive=len(readout.layers) > 1,
        info=f"best layer of this run: {best_layer(readout, run)}",
    )
    concept = gr.update(choices=names, value=look.concept)
    return layer, concept, gr.update(choices=names, value=look.chosen)


def draw(reading: Reading | None, *look: Any) -> tuple[str, str, str, PlotData | None]:
    """Coloured text, row labels, token labels and heatmap of a reading."""
    if reading is None:
        return "", "", "", None
    wish = Look(*look)
    readout = _visible(reading.readout, wish)
    grid = _grid(readout, wish)
    strip = draw_strip(
        readout, _concept(readout, wish), _layer(readout, wish), wish.kind, grid.scale
    )
    labels = draw_row_labels(grid, clickable=wish.view == "concepts")
    return strip, labels, draw_token_labels(grid), _plot_data(grid)


def draw_csv(reading: Reading | None, *look: Any) -> str:
    """The cells of the heatmap as CSV, template tokens always among them."""
    if reading is None:
        raise UserError("there is nothing to download", fix="read a prompt first")
    wish, readout = Look(*look), reading.readout
    if wish.view == "layers":
        return scores_csv(readout.select(concepts=[_concept(readout, wish)]))
    layer = _layer(readout, wish)
    return scores_csv(readout.select(layers=[layer], concepts=_shown(readout, layer, wish)))


def clicked_concept(event: gr.EventData) -> str:
    """The concept whose row label was clicked."""
    return str(event.concept)


def draw_notice(status: Status, reading: Reading | None) -> str:
    """What to do next, empty when a current reading is on screen."""
    if status.run is None:
        return _notice("No vectors yet.", "Press Train in the header; then read a prompt here.")
    if reading is not None and reading.run_id != status.run.id:
        return _notice(
            "Another run is in use now.", "Press Read to see the prompt with its vectors."
        )
    if not status.model_ready:
        return _notice(
            "The model is not ready yet.", "You can type meanwhile; the header shows it."
        )
    if reading is None:
        return _notice("Nothing read yet.", "Type or paste a text, then press Read or Ctrl+Enter.")
    return ""


def _notice(what: str, fix: str) -> str:
    return f"<p class='empty'><b>{escape(what)}</b> {escape(fix)}</p>"


def _visible(readout: Readout, look: Look) -> Readout:
    if look.template or all(role == "template" for role in readout.roles):
        return readout
    return readout.select(tokens=[i for i, r in enumerate(readout.roles) if r != "template"])


def _grid(readout: Readout, look: Look) -> Grid:
    if look.view == "layers":
        return layer_grid(readout, _concept(readout, look), look.kind)
    layer = _layer(readout, look)
    return concept_grid(readout.select(concepts=_shown(readout, layer, look)), layer, look.kind)


def _shown(readout: Readout, layer: int, look: Look) -> tuple[str, ...]:
    chosen = [name for name in readout.concepts if name in look.chosen]
    return order_concepts(readout.select(concepts=chosen or None), layer, look.kind, look.order)


def _layer(readout: Readout, look: Look) -> int:
    return readout.nearest_layer(int(look.layer))


def _concept(readout: Readout, look: Look) -> str:
    return look.concept if look.concept in readout.concepts else readout.concepts[0]


def _plot_data(grid: Grid) -> PlotData:
    """The figure with its settings, which gr.Plot would leave out of a plain figure."""
    figure = draw_heatmap(grid).to_json()
    config = '"config":{"displaylogo":false,"displayModeBar":false}'
    return PlotData(type="plotly", plot=f"{figure[:-1]},{config}}}")


def _script(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8").strip()
