"""The Compare tab: one prompt with two runs or two models, or two prompts, on one colour scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import gradio as gr

from readout_ui.app.events import HIDDEN, QUIET, Changes, Part, Values, bound, components, seen_if
from readout_ui.app.follow import Follower, Task
from readout_ui.app.read.chat_text import MODES
from readout_ui.app.session import Studio
from readout_ui.app.tabs.compare_run import (
    MODELS,
    PROMPTS,
    RUNS,
    WAYS,
    Asked,
    Choices,
    read_both,
    run_choices,
)
from readout_ui.app.tabs.compare_view import Compared, Look, draw_comparison, first_lines
from readout_ui.app.widgets import KINDS, build_plot, build_score_map, reading_layers
from readout_ui.inference.compare import ORDERS
from readout_ui.plots.curves import MOST_LINES

ORDER_NAMES = dict(
    zip(("Largest difference first", "Highest peak first", "A to Z"), ORDERS, strict=True)
)
ABOUT_MODELS = (
    "B's model is loaded beside the one in use for this one reading and unloaded after it. It is "
    "refused, with both sizes, when there is no room for it."
)
GROUP = "compare"


class Question(Part):
    """What is to be compared."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio
        choices = run_choices(studio, RUNS, (None, None))
        with gr.Row():
            self.way = gr.Radio(
                list(WAYS.items()),
                value=RUNS,
                label="Compare",
                elem_id="compare-way",
                min_width=320,
            )
            self.mode = gr.Radio(
                list(MODES.items()), value="assistant", label="Read as", min_width=320
            )
        with gr.Row():
            self.first_text, self.second_text = (
                gr.Textbox(
                    label=label,
                    lines=3,
                    max_lines=10,
                    placeholder=hint,
                    visible=label == "Prompt" or HIDDEN,
                    elem_id=f"compare-{name}-text",
                    min_width=320,
                )
                for name, label, hint in (
                    ("first", "Prompt", "Type or paste the text that both sides read."),
                    ("second", "Prompt B", "The other text, for example with one word changed."),
                )
            )
        with gr.Row():
            self.first_run, self.second_run = (
                gr.Dropdown(
                    **_list(choices, side),
                    label=f"Run {'AB'[side]}",
                    elem_id=f"compare-{name}-run",
                    min_width=320,
                )
                for side, name in enumerate(("first", "second"))
            )
        self.location = gr.Textbox(
            label="Model of B",
            info=f"Hub id or folder; empty for what the run says. {ABOUT_MODELS}",
            visible=HIDDEN,
            elem_id="compare-location",
        )
        self._build_go(choices.notice)
        self.chosen: set[Any] = {self.way, self.first_run, self.second_run}
        self._wire()

    def _build_go(self, notice: str) -> None:
        with gr.Row(elem_id="compare-start"):
            self.go = gr.Button(
                "Compare",
                variant="primary",
                elem_id="compare-go",
                scale=0,
                min_width=160,
                interactive=not notice,
            )
            self.stop = gr.Button(
                "Stop", visible=HIDDEN, elem_id="compare-stop", scale=0, min_width=100
            )
            self.notice = gr.HTML(notice, elem_id="compare-notice", min_width=240)

    def _wire(self) -> None:
        """The runs that can be chosen follow the way, and the runs there are."""
        refresh, outputs = bound(self.refresh), components(self)
        manner = {**QUIET, "trigger_mode": "always_last"}
        self.way.input(refresh, self.chosen, outputs, **manner)
        page: Any = self.way.parent
        while page is not None and not isinstance(page, gr.Tab):
            page = page.parent
        if page is not None:
            page.select(refresh, self.chosen, outputs, **manner)

    def refresh(self, values: Values) -> Changes:
        """Which boxes there are, and which runs can be chosen."""
        way = values[self.way]
        chosen = values[self.first_run], values[self.second_run]
        choices = run_choices(self.studio, way, chosen)
        first = "Run" if way == PROMPTS else "Run A"
        return {
            self.first_text: gr.Textbox(label="Prompt A" if way == PROMPTS else "Prompt"),
            self.second_text: gr.Textbox(visible=seen_if(way == PROMPTS)),
            self.first_run: gr.Dropdown(**_list(choices, 0), label=first),
            self.second_run: gr.Dropdown(**_list(choices, 1), visible=seen_if(way != PROMPTS)),
            self.location: gr.Textbox(visible=seen_if(way == MODELS and bool(choices.second))),
            self.go: gr.Button(interactive=not choices.notice),
            self.notice: choices.notice,
        }

    def asked(self, values: Values) -> Asked:
        """What is on screen; UserError where it cannot be compared."""
        return Asked(
            values[self.way],
            (values[self.first_text], values[self.second_text]),
            values[self.mode],
            (values[self.first_run] or "", values[self.second_run] or ""),
            values[self.location],
        )


class Answer(Part):
    """Everything below the question."""

    def __init__(self) -> None:
        self.middle, self.compared = gr.State(0), gr.State(None)  # what the session read last
        with gr.Column(visible=HIDDEN, elem_id="compare-results") as self.results:
            self.about = gr.HTML(elem_id="compare-about")
            self._build_looks()
            with gr.Row(elem_id="compare-sides"):
                sides = [self._build_side(name) for name in ("first", "second")]
            self.heads, self.maps = zip(*sides, strict=True)
            with gr.Column(elem_id="compare-differs") as self.differs:
                gr.HTML(
                    "<p class='side'><b>B − A</b> orange where B has more, blue where A has</p>"
                )
                self.difference = build_score_map("compare-difference", GROUP)
            gr.HTML("<p class='side'><b>Token by token</b> A solid, B dashed, neutral in grey</p>")
            self.plot = build_plot("compare-plot")
        looks: list[Any] = [self.kind, self.layer, self.other_layer, self.order, self.lines]
        self.looks: set[Any] = {*looks, self.middle}
        self._wire([look.input for look in looks])

    def _build_looks(self) -> None:
        with gr.Row():
            units = [(name, unit) for name, unit in KINDS.items() if unit != "raw"]
            self.kind = gr.Radio(units, value="z", label="Score")
            self.layer = gr.Slider(0, 1, step=1, label="Layer", elem_id="compare-layer")
            self.other_layer = gr.Slider(0, 1, step=1, label="Layer of B", visible=HIDDEN)
        with gr.Row():
            self.order = gr.Dropdown(
                list(ORDER_NAMES.items()), value="difference", label="Order", min_width=320
            )
            self.lines = gr.Dropdown(
                [],
                value=[],
                multiselect=True,
                max_choices=MOST_LINES,
                label=f"Lines (at most {MOST_LINES}; or click a name beside a map)",
                elem_id="compare-lines",
                min_width=320,
            )

    def _build_side(self, name: str) -> tuple[gr.HTML, gr.HTML]:
        with gr.Column(min_width=340):
            return gr.HTML(), build_score_map(f"compare-{name}", GROUP)

    def _wire(self, changed: Sequence[Any]) -> None:
        """Every change below the question draws anew; no model is asked."""
        inputs, outputs = {self.compared, *self.looks}, components(self)
        manner: dict[str, Any] = {**QUIET, "concurrency_limit": None}
        again, click = bound(self.redraw), bound(self.click_map)
        gr.on(changed, again, inputs, outputs, trigger_mode="always_last", **manner)
        for one in (*self.maps, self.difference):
            clicked = one.select(click, {self.lines, self.middle}, outputs, **manner)
            clicked.then(again, inputs, outputs, **manner)

    def look(self, values: Values) -> Look:
        """How the two readings are to be shown."""
        names = ("kind", "layer", "other_layer", "order", "lines", "middle")
        return Look(**{name: values[getattr(self, name)] for name in names})

    def draw(self, compared: Compared, look: Look) -> Changes:
        """Values of everything that is drawn."""
        drawn = draw_comparison(compared, look)
        return {
            self.about: drawn.about,
            **dict(zip(self.heads, drawn.heads, strict=True)),
            **dict(zip(self.maps, drawn.maps, strict=True)),
            self.differs: gr.Column(visible=seen_if(bool(drawn.difference))),
            self.difference: drawn.difference,
            self.plot: drawn.lines,
        }

    def redraw(self, values: Values) -> Changes:
        """What was read last, as it is to be shown now."""
        compared: Compared | None = values[self.compared]
        return self.draw(compared, self.look(values)) if compared else {}

    def click_map(self, values: Values, event: gr.EventData) -> Changes:
        """Lines or middle after a name beside a map was clicked, or an end of a map was reached."""
        chosen: dict[str, Any] = {"middle": values[self.middle], **(event._data or {})}
        lines, name = values[self.lines], chosen.get("concept")
        if name is None:
            return {self.middle: int(chosen["middle"])}
        kept = [line for line in lines if line != name]
        return {self.lines: kept if len(kept) < len(lines) else [*lines, name][-MOST_LINES:]}

    def show(self, values: Values, compared: Compared) -> Changes:
        """Both readings, with choices that fit them."""
        first, second = compared.first, compared.second
        best = compared.best_layers
        layers = first.nearest_layer(best[0]), second.nearest_layer(best[1])
        names = [name for name in first.concepts if name in second.concepts]
        start = replace(self.look(values), layer=layers[0], other_layer=layers[1], middle=0)
        look = replace(start, lines=first_lines(compared, start))
        other = seen_if(not compared.same_model)
        return {
            self.compared: compared,
            self.results: gr.Column(visible=True),
            self.layer: reading_layers(first.layers, value=layers[0], label=_layer_label(compared)),
            self.other_layer: reading_layers(second.layers, value=layers[1], visible=other),
            self.lines: gr.Dropdown(choices=names, value=look.lines),
            self.middle: 0,
            **self.draw(compared, look),
        }


class CompareTab(Part):
    """The tab: a question and its answer."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio
        self.question, self.answer = Question(studio), Answer()
        question = self.question
        follower = Follower(studio.worker, question.notice, question.stop, [question.go])
        boxes = {question.first_text, question.second_text, question.location}
        asked = {*question.chosen, question.mode, *boxes, *self.answer.looks}
        follower.wire(question.go, self.compare, asked, components(self.answer))
        follower.wire_cancel()

    def compare(self, values: Values) -> Task:
        """Read both sides."""
        job = read_both(self.studio, self.question.asked(values))
        return Task(job, partial(self.answer.show, values))


def _layer_label(compared: Compared) -> str:
    return "Layer" if compared.same_model else "Layer of A"


def _list(choices: Choices, side: int) -> dict[str, Any]:
    listed = (choices.first, choices.second)[side]
    return {"choices": list(listed), "value": choices.values[side], "interactive": bool(listed)}
