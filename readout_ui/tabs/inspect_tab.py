"""The Inspect tab: read a prompt, see it coloured by one concept and as a heatmap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import gradio as gr

from readout_ui.errors import UserError
from readout_ui.readout import Readout
from readout_ui.tabs.chat_text import EXAMPLE, as_chat, as_text, parse_chat
from readout_ui.tabs.events import DEVICE, PRIVATE, QUIET, guarded
from readout_ui.tabs.inspect_look import (
    Look,
    Reading,
    Run,
    best_layer,
    draw,
    draw_csv,
    settle_choices,
)

if TYPE_CHECKING:
    from readout_ui.frames import Turn

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


class ReaderStatus(Protocol):
    """What the tab asks before it reads."""

    @property
    def run(self) -> Run | None:
        """None before the first training."""


class Reader(Protocol):
    """What reads prompts: the studio."""

    def read(self, content: str | Sequence[Turn], mode: str) -> Readout:
        """The scores of a text or a chat; waits for the device."""

    def status(self) -> ReaderStatus:
        """The run in use now."""


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
    """What to do next; `refresh_notice` makes it when the run in use changes."""


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


def build_inspect_tab(reader: Reader) -> InspectTab:
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
            draw_notice(reader.status(), None),
            elem_id="inspect-notice",
            js_on_load=_script("inspect_keys.js"),
            min_width=240,
        )
    reading = gr.State(None)
    controls = _build_results()
    mode.input(guarded(switch_mode), [mode, prompt], prompt, **QUIET)
    _wire_reading(reader, InspectTab(prompt, mode, read, reading, notice), controls)
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


def _wire_reading(reader: Reader, tab: InspectTab, controls: _Controls) -> None:
    """Reading, settling the choices and drawing are one event: each hop costs a round trip."""
    _view, _kind, layer, concept, chosen, _order, _template = controls.look

    def read(text: str, mode: str, *look: Any) -> tuple[Any, ...]:
        reading = read_prompt(reader, text, mode)
        status = reader.status()
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
    """The prompt box for another mode; a text becomes the assistant's turn of a chat, and back."""
    converted = as_chat(text) if mode == "chat" else as_text(text)
    # An unchanged value is not sent, so that nothing typed meanwhile is overwritten.
    if converted == text:
        return gr.update(placeholder=PLACEHOLDERS[mode])
    return gr.update(placeholder=PLACEHOLDERS[mode], value=converted)


def read_prompt(reader: Reader, text: str, mode: str) -> Reading:
    """Run the model over what was typed."""
    if not text.strip():
        raise UserError("there is nothing to read", fix="type or paste a text")
    readout = reader.read(parse_chat(text) if mode == "chat" else text, mode)
    run = reader.status().run
    return Reading(readout, run.id if run else "")


def show_choices(readout: Readout, run: Run | None, look: Look) -> tuple[Any, ...]:
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


def clicked_concept(event: gr.EventData) -> str:
    """The concept whose row label was clicked."""
    return str(event.concept)


def refresh_notice(reader: Reader, reading: Reading | None) -> str:
    """The notice after another run came into use; a reading that is on screen stays."""
    return draw_notice(reader.status(), reading)


def draw_notice(status: ReaderStatus, reading: Reading | None) -> str:
    """What to do next, empty when a current reading is on screen."""
    if status.run is None:
        return _notice("No vectors yet.", "Press Train in the header; then read a prompt here.")
    if reading is not None and reading.run_id != status.run.id:
        return _notice(
            "Another run is in use now.", "Press Read to see the prompt with its vectors."
        )
    if reading is None:
        return _notice("Nothing read yet.", "Type or paste a text, then press Read or Ctrl+Enter.")
    return ""


def _notice(what: str, fix: str) -> str:
    return f"<p class='empty'><b>{escape(what)}</b> {escape(fix)}</p>"


def _script(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8").strip()
