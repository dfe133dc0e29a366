"""The Inspect tab: read a prompt, see it coloured by one concept and as a heatmap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from html import escape
from typing import TYPE_CHECKING, Any, Protocol

import gradio as gr

from readout_ui.errors import UserError
from readout_ui.readout import Readout
from readout_ui.tabs.chat_text import EXAMPLE, as_chat, as_text, parse_chat
from readout_ui.tabs.events import DEVICE, PRIVATE, QUIET, guarded
from readout_ui.tabs.inspect_controls import Controls, build_results, read_script
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
            js_on_load=read_script("inspect_keys.js"),
            min_width=240,
        )
    reading = gr.State(None)
    controls = build_results()
    mode.input(guarded(switch_mode), [mode, prompt], prompt, **QUIET)
    _wire_reading(reader, InspectTab(prompt, mode, read, reading, notice), controls)
    _wire_looks(reading, controls)
    return InspectTab(prompt, mode, read, reading, notice)


def _wire_reading(reader: Reader, tab: InspectTab, controls: Controls) -> None:
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
            choices.middle,
            *draw(reading, *astuple(choices)),
        )

    tab.read.click(
        guarded(read),
        [tab.prompt, tab.mode, *controls.looks],
        [
            *(tab.reading, tab.notice, controls.results, layer, concept, chosen),
            *(controls.middle, *controls.drawn),
        ],
        **DEVICE,
        show_progress_on=tab.read,
    )


def _wire_looks(reading: gr.State, controls: Controls) -> None:
    """Every change below the prompt draws anew from the reading; the model is not asked."""
    drawn = controls.drawn
    inputs = [reading, *controls.looks]
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
    controls.map.select(
        moved_map, [concept, controls.middle], [concept, controls.middle], **QUIET
    ).then(guarded(draw), inputs, drawn, concurrency_limit=None, **QUIET)
    controls.csv.click(
        guarded(draw_csv), inputs, controls.csv_text, concurrency_limit=None, **PRIVATE
    ).success(None, controls.csv_text, js=read_script("download_csv.js"), **PRIVATE)


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


def moved_map(concept: str, middle: int, event: gr.EventData) -> tuple[str, int]:
    """Concept and middle after a row label of the map was clicked, or its end was reached."""
    chosen = event._data or {}
    return str(chosen.get("concept", concept)), int(chosen.get("middle", middle))


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
