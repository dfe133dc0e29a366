"""The Inspect tab: read a prompt, see it coloured by one concept and as a heatmap.

A chat is typed as plain text: `User:`, `Assistant:` and `System:` lines begin turns.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, get_args

import gradio as gr

from readout_ui.app.assets import calling, on_load, saving
from readout_ui.app.events import DEVICE, HIDDEN, PRIVATE, QUIET, Changes, Values, bound, components
from readout_ui.app.session import Studio
from readout_ui.app.tabs.inspect_view import (
    LastReading,
    Look,
    best_layer,
    draw,
    draw_csv,
    settle_choices,
)
from readout_ui.app.widgets import build_score_map, headline
from readout_ui.errors import UserError
from readout_ui.inference.reading import Reading
from readout_ui.models.chat_template import Role, Turn
from readout_ui.models.prompt import QUESTION
from readout_ui.runs.run import Run

VIEWS = {"Tokens × concepts": "concepts", "Tokens × layers": "layers"}
KINDS = {"z-score": "z", "Cosine": "cosine", "Raw": "raw"}
ORDERS = {"Highest peak first": "peak", "A to Z": "alphabet", "Similar together": "similarity"}


@dataclass(frozen=True)
class LookInputs:
    """How a reading is shown; the fields are those of `Look`."""

    view: gr.Radio
    kind: gr.Radio
    layer: gr.Slider
    concept: gr.Dropdown
    chosen: gr.Dropdown
    order: gr.Dropdown
    template: gr.Checkbox
    middle: gr.State
    """Which token of a very long text is in the middle of what is sent."""

    @property
    def components(self) -> dict[str, Any]:
        """All of them, by the field of `Look`."""
        return {each.name: getattr(self, each.name) for each in fields(self)}

    def look(self, values: Values) -> Look:
        """What is chosen."""
        return Look(**{name: values[each] for name, each in self.components.items()})


@dataclass(frozen=True)
class Controls:
    """Everything below the prompt."""

    results: gr.Column
    reading: gr.State
    """What the session read last, None before the first."""
    look: LookInputs
    strip: gr.HTML
    rows: gr.HTML
    columns: gr.HTML
    plot: gr.Plot
    map: gr.HTML
    """Long texts; strip, rows, columns and plot are for the others."""
    csv: gr.Button
    csv_text: gr.Textbox

    @property
    def inputs(self) -> set[Any]:
        """What a redraw needs."""
        return {self.reading, *self.look.components.values()}

    def draw(self, reading: Reading, look: Look) -> Changes:
        """A reading in its places."""
        drawn = draw(reading, look)._asdict()
        return {getattr(self, name): value for name, value in drawn.items()}


def build_results() -> Controls:
    """Lay out everything below the prompt; hidden until there is a reading."""
    with gr.Column(visible=HIDDEN, elem_id="inspect-results") as results:
        look = _build_look()
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
    reading = gr.State(None)
    return Controls(results, reading, look, strip, rows, columns, plot, long, csv, csv_text)


def _build_look() -> LookInputs:
    with gr.Row():
        view = gr.Radio(list(VIEWS.items()), value="concepts", label="Heatmap")
        kind = gr.Radio(list(KINDS.items()), value="z", label="Score")
        layer = gr.Slider(0, 1, step=1, label="Layer", elem_id="inspect-layer", min_width=220)
    with gr.Row():
        concept = gr.Dropdown([], label="Text coloured by", elem_id="inspect-concept")
        chosen = gr.Dropdown([], label="Concepts (empty: all)", multiselect=True, value=[])
        order = gr.Dropdown(list(ORDERS.items()), value="peak", label="Order")
        template = gr.Checkbox(True, label="Show template tokens")
    middle = gr.State(0)
    return LookInputs(view, kind, layer, concept, chosen, order, template, middle)


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


@dataclass(frozen=True)
class InspectTab:
    """Components of the Inspect tab."""

    prompt: gr.Textbox
    """What is to be read."""
    mode: gr.Radio
    """Read as."""
    read: gr.Button
    """Runs the model over the prompt."""
    notice: gr.HTML
    """What to do next."""
    controls: Controls


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
            draw_notice(studio.status().run, None),
            elem_id="inspect-notice",
            js_on_load=on_load("widgets/inspect_keys.js"),
            min_width=240,
        )
    controls = build_results()
    tab = InspectTab(prompt, mode, read, notice, controls)
    mode.input(bound(switch_mode, tab), {mode, prompt}, prompt, **QUIET)
    look = controls.look
    # Reading, settling the choices and drawing are one event: each hop costs a round trip.
    read.click(
        bound(read_and_draw, studio, tab),
        {prompt, mode, *look.components.values()},
        components(tab),
        **DEVICE,
        show_progress_on=read,
    )
    _wire_looks(controls)
    return tab


def _wire_looks(controls: Controls) -> None:
    """Every change below the prompt draws anew from the reading; the model is not asked."""
    look, inputs, drawn = controls.look, controls.inputs, components(controls)
    manner = {**QUIET, "concurrency_limit": None}
    again = bound(redraw, controls)
    changed = [each.input for each in look.components.values() if each is not look.middle]
    gr.on(changed, again, inputs, drawn, trigger_mode="always_last", **manner)
    controls.rows.select(clicked_concept, None, look.concept, **QUIET).then(
        again, inputs, drawn, **manner
    )
    place: set[Any] = {look.concept, look.middle}
    controls.map.select(bound(move_map, look), place, list(place), **QUIET).then(
        again, inputs, drawn, **manner
    )
    csv = bound(write_csv, controls)
    controls.csv.click(csv, inputs, controls.csv_text, concurrency_limit=None, **PRIVATE).success(
        None, controls.csv_text, js=saving("readout.csv", "text/csv"), **PRIVATE
    )


def switch_mode(tab: InspectTab, values: Values) -> Changes:
    """The prompt box for another mode; a text becomes the assistant's turn of a chat, and back."""
    mode, text = values[tab.mode], values[tab.prompt]
    converted = as_chat(text) if mode == "chat" else as_text(text)
    # An unchanged value is not sent, so that nothing typed meanwhile is overwritten.
    value = gr.update(placeholder=PLACEHOLDERS[mode])
    return {tab.prompt: value if converted == text else {**value, "value": converted}}


def read_and_draw(studio: Studio, tab: InspectTab, values: Values) -> Changes:
    """Read what was typed, and draw it with the choices that fit it."""
    scores = read_prompt(studio, values[tab.prompt], values[tab.mode])
    run, controls = studio.status().run, tab.controls
    reading = LastReading(scores, run.id if run else "")
    look = settle_choices(scores, run, controls.look.look(values))
    return {
        controls.reading: reading,
        tab.notice: draw_notice(run, reading),
        controls.results: gr.update(visible=True),
        **show_choices(controls.look, scores, run, look),
        **controls.draw(scores, look),
    }


def read_prompt(studio: Studio, text: str, mode: str) -> Reading:
    """Run the model over what was typed."""
    if not text.strip():
        raise UserError("there is nothing to read", fix="type or paste a text")
    return studio.read(parse_chat(text) if mode == "chat" else text, mode)


def show_choices(inputs: LookInputs, reading: Reading, run: Run | None, look: Look) -> Changes:
    """Layer, concept and the concepts shown, as far as they fit a reading."""
    names, first, last = list(reading.concepts), min(reading.layers), max(reading.layers)
    layer = gr.update(
        minimum=first,
        maximum=max(last, first + 1),
        value=look.layer,
        interactive=len(reading.layers) > 1,
        info=f"best layer of this run: {best_layer(reading, run)}",
    )
    return {
        inputs.layer: layer,
        inputs.concept: gr.update(choices=names, value=look.concept),
        inputs.chosen: gr.update(choices=names, value=look.chosen),
        inputs.middle: look.middle,
    }


def redraw(controls: Controls, values: Values) -> Changes:
    """What was read last, as it is to be shown now."""
    reading: LastReading | None = values[controls.reading]
    return controls.draw(reading.scores, controls.look.look(values)) if reading else {}


def write_csv(controls: Controls, values: Values) -> str:
    """The cells of the heatmap on screen."""
    reading: LastReading | None = values[controls.reading]
    if reading is None:
        raise UserError("there is nothing to download", fix="read a prompt first")
    return draw_csv(reading.scores, controls.look.look(values))


def clicked_concept(event: gr.EventData) -> str:
    """The concept whose row label was clicked."""
    return str(event.concept)


def move_map(look: LookInputs, values: Values, event: gr.EventData) -> Changes:
    """Concept or middle after a row label of the map was clicked, or its end was reached."""
    before = {"concept": values[look.concept], "middle": values[look.middle]}
    now: dict[str, Any] = {**before, **(event._data or {})}
    return {look.concept: str(now["concept"]), look.middle: int(now["middle"])}


def refresh_inspect(studio: Studio, tab: InspectTab, reading: LastReading | None) -> Changes:
    """The notice after another run came into use; a reading that is on screen stays."""
    return {tab.notice: draw_notice(studio.status().run, reading)}


def draw_notice(run: Run | None, reading: LastReading | None) -> str:
    """What to do next, empty when a current reading is on screen."""
    if run is None:
        return headline("No vectors yet.", "Press Train in the header; then read a prompt here.")
    if reading is None:
        return headline("Nothing read yet.", "Type or paste a text, then press Read or Ctrl+Enter.")
    if reading.run_id != run.id:
        return headline(
            "Another run is in use now.", "Press Read to see the prompt with its vectors."
        )
    return ""
