"""The Compare tab: one prompt with two runs or two models, or two prompts, on one colour scale."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import gradio as gr

from readout_ui.app.events import HIDDEN, QUIET, Changes, Values, bound, components, seen_if
from readout_ui.app.follow import Follower, Task
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
from readout_ui.app.tabs.inspect import MODES
from readout_ui.app.widgets import build_plot, build_score_map
from readout_ui.inference.compare import ORDERS
from readout_ui.plots.curves import MOST_LINES

KINDS = {"z-score": "z", "Cosine": "cosine"}
ORDER_NAMES = dict(
    zip(("Largest difference first", "Highest peak first", "A to Z"), ORDERS, strict=True)
)
ABOUT_MODELS = (
    "B's model is loaded beside the one in use for this one reading and unloaded after it. It is "
    "refused, with both sizes, when there is no room for it."
)
GROUP = "compare"


@dataclass(frozen=True)
class Question:
    """What is to be compared."""

    way: gr.Radio
    mode: gr.Radio
    first_text: gr.Textbox
    second_text: gr.Textbox
    first_run: gr.Dropdown
    second_run: gr.Dropdown
    location: gr.Textbox
    go: gr.Button
    stop: gr.Button
    notice: gr.HTML

    @property
    def chosen(self) -> set[Any]:
        """What the lists of runs depend on."""
        return {self.way, self.first_run, self.second_run}

    @property
    def asked(self) -> set[Any]:
        """What `asked_from` takes."""
        return {*self.chosen, self.mode, self.first_text, self.second_text, self.location}


@dataclass(frozen=True)
class Answer:
    """Everything below the question."""

    results: gr.Column
    kind: gr.Radio
    layer: gr.Slider
    other_layer: gr.Slider
    order: gr.Dropdown
    lines: gr.Dropdown
    middle: gr.State
    compared: gr.State
    """What the session read last."""
    about: gr.HTML
    heads: tuple[gr.HTML, gr.HTML]
    maps: tuple[gr.HTML, gr.HTML]
    differs: gr.Column
    """The map of differences, hidden where there are none."""
    difference: gr.HTML
    plot: gr.Plot

    @property
    def looks(self) -> set[Any]:
        """What a person chooses of `Look`."""
        chosen = {self.kind, self.layer, self.other_layer, self.order, self.lines}
        return {*chosen, self.middle}

    def look(self, values: Values) -> Look:
        """How the two readings are to be shown."""
        return Look(
            kind=values[self.kind],
            layer=values[self.layer],
            other_layer=values[self.other_layer],
            order=values[self.order],
            lines=values[self.lines],
            middle=values[self.middle],
        )

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


@dataclass(frozen=True)
class CompareTab:
    """Components of the Compare tab."""

    question: Question
    answer: Answer


def build_compare_tab(studio: Studio) -> CompareTab:
    """Lay out the tab and wire its events."""
    question, answer = _build_question(studio), _build_answer()
    tab = CompareTab(question, answer)
    _wire_question(studio, question)
    follower = Follower(studio.worker, question.notice, question.stop, [question.go])
    asked = question.asked | answer.looks
    follower.wire(question.go, partial(compare, studio, tab), asked, components(answer))
    follower.wire_cancel()
    _wire_looks(answer)
    return tab


def _build_question(studio: Studio) -> Question:
    choices = run_choices(studio, RUNS, (None, None))
    with gr.Row():
        way = gr.Radio(
            list(WAYS.items()), value=RUNS, label="Compare", elem_id="compare-way", min_width=320
        )
        mode = gr.Radio(list(MODES.items()), value="assistant", label="Read as", min_width=320)
    with gr.Row():
        first_text = gr.Textbox(
            label="Prompt",
            lines=3,
            max_lines=10,
            placeholder="Type or paste the text that both sides read.",
            elem_id="compare-first-text",
            min_width=320,
        )
        second_text = gr.Textbox(
            label="Prompt B",
            lines=3,
            max_lines=10,
            placeholder="The other text, for example with one word changed.",
            visible=HIDDEN,
            elem_id="compare-second-text",
            min_width=320,
        )
    with gr.Row():
        first_run = gr.Dropdown(
            **_list(choices, 0), label="Run A", elem_id="compare-first-run", min_width=320
        )
        second_run = gr.Dropdown(
            **_list(choices, 1), label="Run B", elem_id="compare-second-run", min_width=320
        )
    location = gr.Textbox(
        label="Model of B",
        info=f"Hub id or folder; empty for what the run says. {ABOUT_MODELS}",
        visible=HIDDEN,
        elem_id="compare-location",
    )
    with gr.Row(elem_id="compare-start"):
        go = gr.Button(
            "Compare",
            variant="primary",
            elem_id="compare-go",
            scale=0,
            min_width=160,
            interactive=not choices.notice,
        )
        stop = gr.Button("Stop", visible=HIDDEN, elem_id="compare-stop", scale=0, min_width=100)
        notice = gr.HTML(choices.notice, elem_id="compare-notice", min_width=240)
    return Question(
        *(way, mode, first_text, second_text, first_run, second_run, location, go, stop, notice)
    )


def _build_answer() -> Answer:
    with gr.Column(visible=HIDDEN, elem_id="compare-results") as results:
        about = gr.HTML(elem_id="compare-about")
        with gr.Row():
            kind = gr.Radio(list(KINDS.items()), value="z", label="Score")
            layer = gr.Slider(0, 1, step=1, label="Layer", elem_id="compare-layer")
            other = gr.Slider(0, 1, step=1, label="Layer of B", visible=HIDDEN)
        with gr.Row():
            order = gr.Dropdown(
                list(ORDER_NAMES.items()), value="difference", label="Order", min_width=320
            )
            lines = gr.Dropdown(
                [],
                value=[],
                multiselect=True,
                max_choices=MOST_LINES,
                label=f"Lines (at most {MOST_LINES}; or click a name beside a map)",
                elem_id="compare-lines",
                min_width=320,
            )
        with gr.Row(elem_id="compare-sides"):
            with gr.Column(min_width=340):
                first_head = gr.HTML()
                first = build_score_map("compare-first", GROUP)
            with gr.Column(min_width=340):
                second_head = gr.HTML()
                second = build_score_map("compare-second", GROUP)
        with gr.Column(elem_id="compare-differs") as differs:
            gr.HTML("<p class='side'><b>B − A</b> orange where B has more, blue where A has</p>")
            difference = build_score_map("compare-difference", GROUP)
        gr.HTML("<p class='side'><b>Token by token</b> A solid, B dashed, neutral in grey</p>")
        plot = build_plot("compare-plot")
    return Answer(
        *(results, kind, layer, other, order, lines, gr.State(0), gr.State(None), about),
        heads=(first_head, second_head),
        maps=(first, second),
        differs=differs,
        difference=difference,
        plot=plot,
    )


def _wire_question(studio: Studio, question: Question) -> None:
    refresh = bound(refresh_compare, studio, question)
    outputs = components(question)
    question.way.input(refresh, question.chosen, outputs, **QUIET)
    page: Any = question.way.parent
    while page is not None and not isinstance(page, gr.Tab):
        page = page.parent
    if page is not None:
        page.select(refresh, question.chosen, outputs, **QUIET)


def _wire_looks(answer: Answer) -> None:
    """Every change below the question draws anew; no model is asked."""
    inputs, outputs = {answer.compared, *answer.looks}, components(answer)
    manner = {**QUIET, "concurrency_limit": None}
    again, click = bound(redraw, answer), bound(click_map, answer)
    changed = [look.input for look in answer.looks - {answer.middle}]
    gr.on(changed, again, inputs, outputs, trigger_mode="always_last", **manner)
    for one in (*answer.maps, answer.difference):
        clicked = one.select(click, {answer.lines, answer.middle}, outputs, **manner)
        clicked.then(again, inputs, outputs, **manner)


def refresh_compare(studio: Studio, question: Question, values: Values) -> Changes:
    """Which boxes there are, and which runs can be chosen."""
    way = values[question.way]
    chosen = values[question.first_run], values[question.second_run]
    choices = run_choices(studio, way, chosen)
    first = "Run" if way == PROMPTS else "Run A"
    return {
        question.first_text: gr.Textbox(label="Prompt A" if way == PROMPTS else "Prompt"),
        question.second_text: gr.Textbox(visible=seen_if(way == PROMPTS)),
        question.first_run: gr.Dropdown(**_list(choices, 0), label=first),
        question.second_run: gr.Dropdown(**_list(choices, 1), visible=seen_if(way != PROMPTS)),
        question.location: gr.Textbox(visible=seen_if(way == MODELS and bool(choices.second))),
        question.go: gr.Button(interactive=not choices.notice),
        question.notice: choices.notice,
    }


def asked_from(question: Question, values: Values) -> Asked:
    """What is on screen; UserError where it cannot be compared."""
    return Asked(
        values[question.way],
        (values[question.first_text], values[question.second_text]),
        values[question.mode],
        (values[question.first_run] or "", values[question.second_run] or ""),
        values[question.location],
    )


def compare(studio: Studio, tab: CompareTab, values: Values) -> Task:
    """Read both sides."""
    job = read_both(studio, asked_from(tab.question, values))
    return Task(job, partial(show_compared, tab.answer, values))


def redraw(answer: Answer, values: Values) -> Changes:
    """What was read last, as it is to be shown now."""
    compared: Compared | None = values[answer.compared]
    return answer.draw(compared, answer.look(values)) if compared else {}


def click_map(answer: Answer, values: Values, event: gr.EventData) -> Changes:
    """Lines or middle after a name beside a map was clicked, or an end of a map was reached."""
    chosen: dict[str, Any] = {"middle": values[answer.middle], **(event._data or {})}
    lines, name = values[answer.lines], chosen.get("concept")
    if name is None:
        return {answer.middle: int(chosen["middle"])}
    kept = [line for line in lines if line != name]
    return {answer.lines: kept if len(kept) < len(lines) else [*lines, name][-MOST_LINES:]}


def show_compared(answer: Answer, values: Values, compared: Compared) -> Changes:
    """Both readings, with choices that fit them."""
    first, second = compared.first, compared.second
    best = compared.best_layers
    layers = first.nearest_layer(best[0]), second.nearest_layer(best[1])
    names = [name for name in first.concepts if name in second.concepts]
    start = replace(answer.look(values), layer=layers[0], other_layer=layers[1], middle=0)
    look = replace(start, lines=first_lines(compared, start))
    other = seen_if(not compared.same_model)
    return {
        answer.compared: compared,
        answer.results: gr.Column(visible=True),
        answer.layer: gr.Slider(
            **_range(first.layers), value=layers[0], label=_layer_label(compared)
        ),
        answer.other_layer: gr.Slider(**_range(second.layers), value=layers[1], visible=other),
        answer.lines: gr.Dropdown(choices=names, value=look.lines),
        answer.middle: 0,
        **answer.draw(compared, look),
    }


def _layer_label(compared: Compared) -> str:
    return "Layer" if compared.same_model else "Layer of A"


def _range(layers: tuple[int, ...]) -> dict[str, Any]:
    first, last = min(layers), max(layers)
    return {"minimum": first, "maximum": max(last, first + 1), "interactive": len(layers) > 1}


def _list(choices: Choices, side: int) -> dict[str, Any]:
    listed = (choices.first, choices.second)[side]
    return {"choices": list(listed), "value": choices.values[side], "interactive": bool(listed)}
