"""The Inspect tab: read a prompt, see it coloured by one concept and as a heatmap.

A chat is typed as plain text: `User:`, `Assistant:` and `System:` lines begin turns.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, get_args

import gradio as gr

from readout_ui.app.assets import calling, on_load
from readout_ui.app.events import (
    DEVICE,
    HIDDEN,
    PRIVATE,
    QUIET,
    Changes,
    Part,
    Values,
    bound,
    components,
)
from readout_ui.app.session import Studio
from readout_ui.app.tabs.inspect_view import (
    LastReading,
    Look,
    best_layer,
    draw,
    draw_csv,
    settle_choices,
)
from readout_ui.app.widgets import KINDS, build_score_map, headline, reading_layers, save_button
from readout_ui.errors import UserError
from readout_ui.inference.reading import Reading
from readout_ui.models.chat_template import Role, Turn
from readout_ui.models.prompt import QUESTION
from readout_ui.runs.run import Run

VIEWS = {"Tokens × concepts": "concepts", "Tokens × layers": "layers"}
ORDERS = {"Highest peak first": "peak", "A to Z": "alphabet", "Similar together": "similarity"}


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


class LookInputs(Part):
    """How a reading is shown; the attributes are the fields of `Look`."""

    def __init__(self) -> None:
        with gr.Row():
            self.view = gr.Radio(list(VIEWS.items()), value="concepts", label="Heatmap")
            self.kind = gr.Radio(list(KINDS.items()), value="z", label="Score")
            self.layer = gr.Slider(
                0, 1, step=1, label="Layer", elem_id="inspect-layer", min_width=220
            )
        with gr.Row():
            self.concept = gr.Dropdown([], label="Text coloured by", elem_id="inspect-concept")
            self.chosen = gr.Dropdown([], label="Concepts (empty: all)", multiselect=True, value=[])
            self.order = gr.Dropdown(list(ORDERS.items()), value="peak", label="Order")
            self.template = gr.Checkbox(True, label="Show template tokens")
        self.middle = gr.State(0)  # token in the middle of what is sent of a very long text

    def look(self, values: Values) -> Look:
        """What is chosen."""
        return Look(**self.values_of(values))

    def show(self, reading: Reading, run: Run | None, look: Look) -> Changes:
        """Layer, concept and the concepts shown, as far as they fit a reading."""
        names = list(reading.concepts)
        info = f"best layer of this run: {best_layer(reading, run)}"
        return {
            self.layer: reading_layers(reading.layers, value=look.layer, info=info),
            self.concept: gr.update(choices=names, value=look.concept),
            self.chosen: gr.update(choices=names, value=look.chosen),
            self.middle: look.middle,
        }


class Controls(Part):
    """Everything below the prompt; hidden until there is a reading."""

    def __init__(self) -> None:
        self.reading = gr.State(None)  # what the session read last
        with gr.Column(visible=HIDDEN, elem_id="inspect-results") as self.results:
            self.look = LookInputs()
            self.strip = gr.HTML(elem_id="inspect-strip")
            with gr.Column(elem_id="inspect-scroll"):
                self.rows = gr.HTML(elem_id="inspect-rows", js_on_load=on_load("clicks.js"))
                self.columns = gr.HTML(
                    elem_id="inspect-columns", js_on_load=on_load("widgets/column_labels.js")
                )
                self.plot = gr.Plot(show_label=False, container=False, elem_id="inspect-heatmap")
            self.map = build_score_map("inspect-map")  # of a long text, instead of the others
            with gr.Row(elem_id="inspect-downloads"):
                csv = gr.Button("Download CSV", size="sm", elem_id="inspect-csv")
                for picture in ("png", "svg"):
                    button = gr.Button(
                        f"Download {picture.upper()}", size="sm", elem_id=f"inspect-{picture}"
                    )
                    # Drawn by the browser, so that the picture needs no server and no program.
                    js = calling("widgets/download_picture.js", "downloadPicture", picture)
                    button.click(None, js=js, **PRIVATE)
            inputs: set[Any] = {self.reading, *components(self.look)}
            save_button(csv, bound(self.write_csv), inputs, "readout.csv", "text/csv")
        self._wire(inputs)

    def _wire(self, inputs: set[Any]) -> None:
        """Every change below the prompt draws anew from the reading; the model is not asked."""
        look, drawn = self.look, components(self)
        manner: dict[str, Any] = {**QUIET, "concurrency_limit": None}
        again = bound(self.redraw)
        parts: list[Any] = components(look)
        changed = [each.input for each in parts if each is not look.middle]
        gr.on(changed, again, inputs, drawn, trigger_mode="always_last", **manner)
        place: set[Any] = {look.concept, look.middle}
        for clicked in (self.rows, self.map):
            picked = clicked.select(bound(self.move), place, list(place), **QUIET)
            picked.then(again, inputs, drawn, **manner)

    def draw(self, reading: Reading, look: Look) -> Changes:
        """A reading in its places."""
        drawn = draw(reading, look)._asdict()
        return {getattr(self, name): value for name, value in drawn.items()}

    def redraw(self, values: Values) -> Changes:
        """What was read last, as it is to be shown now."""
        reading: LastReading | None = values[self.reading]
        return self.draw(reading.scores, self.look.look(values)) if reading else {}

    def write_csv(self, values: Values) -> str:
        """The cells of the heatmap on screen."""
        reading: LastReading | None = values[self.reading]
        if reading is None:
            raise UserError("there is nothing to download", fix="read a prompt first")
        return draw_csv(reading.scores, self.look.look(values))

    def move(self, values: Values, event: gr.EventData) -> Changes:
        """Concept or middle after a row label was clicked, or an end of the map was reached."""
        look = self.look
        before = {"concept": values[look.concept], "middle": values[look.middle]}
        now: dict[str, Any] = {**before, **(event._data or {})}
        return {look.concept: str(now["concept"]), look.middle: int(now["middle"])}


class InspectTab(Part):
    """The tab: a prompt, how it is read, and the reading."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio
        self.mode = gr.Radio(
            list(MODES.items()), value="assistant", label="Read as", elem_id="inspect-mode"
        )
        self.prompt = gr.Textbox(
            label="Prompt",
            lines=4,
            max_lines=14,
            placeholder=PLACEHOLDERS["assistant"],
            elem_id="inspect-prompt",
        )
        with gr.Row(elem_id="inspect-go"):
            read = gr.Button(
                "Read", variant="primary", elem_id="inspect-read", scale=0, min_width=160
            )
            self.notice = gr.HTML(
                draw_notice(studio.status().run, None),
                elem_id="inspect-notice",
                js_on_load=on_load("widgets/inspect_keys.js"),
                min_width=240,
            )
        self.controls = Controls()
        typed: set[Any] = {self.mode, self.prompt}
        self.mode.input(bound(self.switch_mode), typed, self.prompt, **QUIET)
        # Reading, settling the choices and drawing are one event: each hop costs a round trip.
        read.click(
            bound(self.read_and_draw),
            {*typed, *components(self.controls.look)},
            components(self),
            **DEVICE,
            show_progress_on=read,
        )

    def switch_mode(self, values: Values) -> Changes:
        """The prompt for another mode; a text becomes the assistant's turn of a chat, and back."""
        mode, text = values[self.mode], values[self.prompt]
        converted = as_chat(text) if mode == "chat" else as_text(text)
        # An unchanged value is not sent, so that nothing typed meanwhile is overwritten.
        value = gr.update(placeholder=PLACEHOLDERS[mode])
        return {self.prompt: value if converted == text else {**value, "value": converted}}

    def read_and_draw(self, values: Values) -> Changes:
        """Read what was typed, and draw it with the choices that fit it."""
        scores = read_prompt(self.studio, values[self.prompt], values[self.mode])
        run, controls = self.studio.status().run, self.controls
        reading = LastReading(scores, run.id if run else "")
        look = settle_choices(scores, run, controls.look.look(values))
        return {
            controls.reading: reading,
            self.notice: draw_notice(run, reading),
            controls.results: gr.update(visible=True),
            **controls.look.show(scores, run, look),
            **controls.draw(scores, look),
        }

    def refresh(self, reading: LastReading | None) -> Changes:
        """The notice after another run came into use; a reading that is on screen stays."""
        return {self.notice: draw_notice(self.studio.status().run, reading)}


def read_prompt(studio: Studio, text: str, mode: str) -> Reading:
    """Run the model over what was typed."""
    if not text.strip():
        raise UserError("there is nothing to read", fix="type or paste a text")
    return studio.read(parse_chat(text) if mode == "chat" else text, mode)


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
