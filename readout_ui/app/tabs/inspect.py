"""The Inspect tab: read a prompt, see it coloured by one concept and as a heatmap.

What the Inspect tab shows below the prompt: choices, coloured text, heatmap, downloads.

A chat as plain text: `User:`, `Assistant:` and `System:` lines begin turns.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from html import escape
from typing import Any, Protocol, get_args

import gradio as gr

from readout_ui.app.assets import calling, on_load, saving
from readout_ui.app.events import DEVICE, HIDDEN, PRIVATE, QUIET, guarded
from readout_ui.app.tabs.inspect_view import (
    LastReading,
    Look,
    Run,
    best_layer,
    draw,
    draw_csv,
    settle_choices,
)
from readout_ui.app.widgets import build_score_map
from readout_ui.errors import UserError
from readout_ui.inference.reading import Reading
from readout_ui.models.chat_template import Role, Turn
from readout_ui.models.prompt import QUESTION

VIEWS = {"Tokens × concepts": "concepts", "Tokens × layers": "layers"}
KINDS = {"z-score": "z", "Cosine": "cosine", "Raw": "raw"}
ORDERS = {"Highest peak first": "peak", "A to Z": "alphabet", "Similar together": "similarity"}


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
            rows = gr.HTML(elem_id="inspect-rows", js_on_load=on_load("clicks.js"))
            columns = gr.HTML(
                elem_id="inspect-columns", js_on_load=on_load("widgets/column_labels.js")
            )
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
            None, js=calling("widgets/download_picture.js", "downloadPicture", picture), **PRIVATE
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


EXAMPLE = "User: My flight was cancelled.\nAssistant: Oh no. I feel for you."
_NAMES: dict[str, Role] = {
    **{role: role for role in get_args(Role)},
    "human": "user",
    "ai": "assistant",
    "model": "assistant",
    "bot": "assistant",
}
_NAME = rf"[ \t]*(?:\*\*)?({'|'.join(_NAMES)})(?:\*\*)?[ \t]*:(?:\*\*)?"
# ASCII, so that "ſystem" is no "system"; names in bold are how other programs paste a chat.
_TURN = re.compile(rf"(?ai){_NAME}")
_LITERAL = re.compile(rf"(?ai)\\+{_NAME}")
_AMBIGUOUS = re.compile(rf"(?ai)\\*{_NAME}")


def parse_chat(text: str) -> tuple[Turn, ...]:
    r"""The turns of a chat; lines without a name belong to the turn above them.

    `\User: x` is a line that says "User: x" and begins no turn. Human, AI, Bot and Model are
    understood too, in any case.

    Raises:
        UserError: there is no turn, text stands before the first one, or one has no text.
    """
    turns: list[tuple[Role, list[str], int]] = []
    for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), start=1):
        if begin := _TURN.match(line):
            turns.append((_NAMES[begin[1].lower()], [line[begin.end() :]], number))
        elif turns:
            turns[-1][1].append(line[1:] if _LITERAL.match(line) else line)
        elif line.strip():
            raise UserError(
                "the chat does not say who speaks",
                where=f"line {number}",
                fix="begin it with 'User:' or 'Assistant:', or read it as a plain text",
            )
    if not turns:
        raise UserError("there is nothing to read", fix="write 'User: ...' and 'Assistant: ...'")
    return tuple(_turn(role, lines, number) for role, lines, number in turns)


def _turn(role: Role, lines: Sequence[str], number: int) -> Turn:
    said = "\n".join(lines).strip()
    if not said:
        raise UserError(f"the {role} says nothing", where=f"line {number}", fix="remove the turn")
    return Turn(role, said)


def format_chat(turns: Sequence[Turn]) -> str:
    """The text that `parse_chat` reads as these turns (whitespace around each is not kept)."""
    return "\n\n".join(f"{turn.role.capitalize()}: {_escape(turn.text.strip())}" for turn in turns)


def as_chat(text: str) -> str:
    """A text as a chat whose assistant says it; a chat stays as it is."""
    if not text.strip() or _TURN.match(text.lstrip("\r\n")):
        return text
    return format_chat([Turn("user", QUESTION), Turn("assistant", text)])


def as_text(chat: str) -> str:
    """What the assistant says in a chat that `as_chat` made; any other text stays as it is."""
    start = f"User: {QUESTION}\n\nAssistant: "
    if not chat.startswith(start):
        return chat
    try:
        turns = parse_chat(chat)
    except UserError:
        return chat
    return turns[1].text if len(turns) == 2 else chat


def _escape(text: str) -> str:
    first, *rest = text.split("\n")
    return "\n".join([first, *(f"\\{line}" if _AMBIGUOUS.match(line) else line for line in rest)])


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

    def read(self, content: str | Sequence[Turn], mode: str) -> Reading:
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
    """What the session read last, None before the first."""
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
            js_on_load=on_load("widgets/inspect_keys.js"),
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
    ).success(None, controls.csv_text, js=saving("readout.csv", "text/csv"), **PRIVATE)


def switch_mode(mode: str, text: str) -> Any:
    """The prompt box for another mode; a text becomes the assistant's turn of a chat, and back."""
    converted = as_chat(text) if mode == "chat" else as_text(text)
    # An unchanged value is not sent, so that nothing typed meanwhile is overwritten.
    if converted == text:
        return gr.update(placeholder=PLACEHOLDERS[mode])
    return gr.update(placeholder=PLACEHOLDERS[mode], value=converted)


def read_prompt(reader: Reader, text: str, mode: str) -> LastReading:
    """Run the model over what was typed."""
    if not text.strip():
        raise UserError("there is nothing to read", fix="type or paste a text")
    readout = reader.read(parse_chat(text) if mode == "chat" else text, mode)
    run = reader.status().run
    return LastReading(readout, run.id if run else "")


def show_choices(readout: Reading, run: Run | None, look: Look) -> tuple[Any, ...]:
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


def refresh_notice(reader: Reader, reading: LastReading | None) -> str:
    """The notice after another run came into use; a reading that is on screen stays."""
    return draw_notice(reader.status(), reading)


def draw_notice(status: ReaderStatus, reading: LastReading | None) -> str:
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
