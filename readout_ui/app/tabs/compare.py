"""The Compare tab: one prompt with two runs or two models, or two prompts, on one colour scale."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from typing import Any

import gradio as gr

from readout_ui.app.events import HIDDEN, QUIET, guarded, seen_if
from readout_ui.app.session import Studio
from readout_ui.app.tabs.compare_run import (
    MODELS,
    PROMPTS,
    RUNS,
    WAYS,
    Asked,
    Choices,
    run_choices,
    watch_reading,
)
from readout_ui.app.tabs.compare_view import Compared, Look, draw_comparison, first_lines
from readout_ui.app.tabs.inspect import MODES
from readout_ui.app.widgets import build_plot, build_score_map
from readout_ui.errors import UserError
from readout_ui.inference.compare import ORDERS
from readout_ui.plots.trajectories import MOST_LINES
from readout_ui.progress import Cancelled

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
class CompareTab:
    """Components of the Compare tab that others listen to."""

    inputs: tuple[Any, ...]
    """What `refresh_compare` gets: the way and both runs."""
    refreshed: tuple[Any, ...]
    """What it fills."""


@dataclass(frozen=True)
class _Question:
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
    def chosen(self) -> tuple[Any, ...]:
        """What the lists of runs depend on."""
        return self.way, self.first_run, self.second_run

    @property
    def refreshed(self) -> tuple[Any, ...]:
        """What `refresh_compare` fills."""
        return (
            *(self.first_text, self.second_text, self.first_run, self.second_run),
            *(self.location, self.go, self.notice),
        )

    @property
    def asked(self) -> list[Any]:
        """What `_asked` is made of."""
        return [
            *(self.way, self.first_text, self.second_text, self.mode),
            *(self.first_run, self.second_run, self.location),
        ]


@dataclass(frozen=True)
class _Answer:
    """Everything below the question."""

    results: gr.Column
    kind: gr.Radio
    layer: gr.Slider
    other_layer: gr.Slider
    order: gr.Dropdown
    lines: gr.Dropdown
    middle: gr.State
    drawn: tuple[Any, ...]
    maps: tuple[gr.HTML, gr.HTML, gr.HTML]

    @property
    def looks(self) -> list[Any]:
        """Everything that `Look` is made of."""
        return [self.kind, self.layer, self.other_layer, self.order, self.lines, self.middle]


def build_compare_tab(studio: Studio) -> CompareTab:
    """Lay out the tab and wire its events."""
    question = _build_question(studio)
    answer = _build_answer()
    compared = gr.State(None)
    _wire_question(studio, question)
    _wire_reading(studio, question, answer, compared)
    _wire_looks(answer, compared)
    return CompareTab(question.chosen, question.refreshed)


def _build_question(studio: Studio) -> _Question:
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
    return _Question(
        *(way, mode, first_text, second_text, first_run, second_run, location, go, stop, notice)
    )


def _build_answer() -> _Answer:
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
    drawn = (about, first_head, second_head, first, second, differs, difference, plot)
    maps = (first, second, difference)
    return _Answer(results, kind, layer, other, order, lines, gr.State(0), drawn, maps)


def _wire_question(studio: Studio, question: _Question) -> None:
    def refresh(*chosen: Any) -> tuple[Any, ...]:
        return refresh_compare(studio, *chosen)

    question.way.input(guarded(refresh), list(question.chosen), list(question.refreshed), **QUIET)
    page: Any = question.way.parent
    while page is not None and not isinstance(page, gr.Tab):
        page = page.parent
    if page is not None:
        page.select(guarded(refresh), list(question.chosen), list(question.refreshed), **QUIET)


def _wire_reading(studio: Studio, question: _Question, answer: _Answer, compared: gr.State) -> None:
    outputs = [
        *(compared, question.notice, question.go, question.stop, answer.results),
        *(answer.layer, answer.other_layer, answer.lines, answer.middle, *answer.drawn),
    ]

    def go(*values: Any) -> Iterator[tuple[Any, ...]]:
        yield from read_both(studio, values[:7], Look(*values[7:]), len(outputs))

    event = question.go.click(
        go,
        [*question.asked, *answer.looks],
        outputs,
        concurrency_limit=None,
        **QUIET,
    )
    question.stop.click(
        lambda: (_said("Stopped."), *_buttons(running=False)),
        None,
        [question.notice, question.go, question.stop],
        cancels=event,
        **QUIET,
    )


def _wire_looks(answer: _Answer, compared: gr.State) -> None:
    """Every change below the question draws anew; no model is asked."""
    inputs, drawn = [compared, *answer.looks], list(answer.drawn)
    manner = {**QUIET, "concurrency_limit": None}
    looks = (answer.kind, answer.layer, answer.other_layer, answer.order, answer.lines)
    gr.on(
        [look.input for look in looks],
        guarded(draw),
        inputs,
        drawn,
        trigger_mode="always_last",
        **manner,
    )
    chosen = [answer.lines, answer.middle]
    for one in answer.maps:
        one.select(clicked_map, chosen, chosen, **manner).then(
            guarded(draw), inputs, drawn, **manner
        )


def refresh_compare(
    studio: Studio, way: str, first: str | None, second: str | None
) -> tuple[Any, ...]:
    """New values for `CompareTab.refreshed`: which boxes there are, and which runs."""
    choices = run_choices(studio, way, (first, second))
    return (
        gr.Textbox(label="Prompt A" if way == PROMPTS else "Prompt"),
        gr.Textbox(visible=seen_if(way == PROMPTS)),
        gr.Dropdown(**_list(choices, 0), label="Run" if way == PROMPTS else "Run A"),
        gr.Dropdown(**_list(choices, 1), visible=seen_if(way != PROMPTS)),
        gr.Textbox(visible=seen_if(way == MODELS and bool(choices.second))),
        gr.Button(interactive=not choices.notice),
        choices.notice,
    )


def read_both(
    studio: Studio, values: tuple[Any, ...], look: Look, n_outputs: int
) -> Iterator[tuple[Any, ...]]:
    """Progress while both sides are read, then everything that is drawn."""

    def only(words: str, *, running: bool) -> tuple[Any, ...]:
        told = (gr.skip(), words, *_buttons(running=running))
        return *told, *(gr.skip() for _ in range(n_outputs - len(told)))

    try:
        for news in watch_reading(studio, _asked(values)):
            if isinstance(news, Compared):
                yield news, "", *_buttons(running=False), *_show(news, look)
            else:
                yield only(_said(news), running=True)
    except UserError as error:
        yield only(f"<p class='failed'>{escape(_sentence(error))}</p>", running=False)
    except Cancelled:
        yield only(_said("Stopped."), running=False)


def draw(compared: Compared | None, *look: Any) -> tuple[Any, ...]:
    """Values of everything that is drawn."""
    drawn = draw_comparison(compared, *look)
    return (
        *(drawn.about, *drawn.heads, *drawn.maps),
        gr.Column(visible=seen_if(bool(drawn.difference))),
        *(drawn.difference, drawn.lines),
    )


def clicked_map(lines: list[str], middle: int, event: gr.EventData) -> tuple[list[str], int]:
    """Lines and middle after a name beside a map was clicked, or an end of a map was reached."""
    chosen = event._data or {}
    name = chosen.get("concept")
    if name is None:
        return lines, int(chosen.get("middle", middle))
    kept = [line for line in lines if line != name]
    return kept if len(kept) < len(lines) else [*lines, name][-MOST_LINES:], middle


def _asked(values: tuple[Any, ...]) -> Asked:
    way, first_text, second_text, mode, first_run, second_run, location = values
    runs = (first_run or "", second_run or "")
    return Asked(way, (first_text, second_text), mode, runs, location)


def _show(compared: Compared, look: Look) -> tuple[Any, ...]:
    """Results, choices that fit them, and what is drawn."""
    first, second = compared.first, compared.second
    best = compared.best_layers
    layers = first.nearest_layer(best[0]), second.nearest_layer(best[1])
    names = [name for name in first.concepts if name in second.concepts]
    start = Look(look.kind, layers[0], layers[1], look.order, look.lines)
    lines = first_lines(compared, start)
    return (
        gr.Column(visible=True),
        gr.Slider(**_range(first.layers), value=layers[0], label=_layer_label(compared)),
        gr.Slider(
            **_range(second.layers), value=layers[1], visible=seen_if(not compared.same_model)
        ),
        gr.Dropdown(choices=names, value=lines),
        0,
        *draw(compared, start.kind, *layers, start.order, lines, 0),
    )


def _layer_label(compared: Compared) -> str:
    return "Layer" if compared.same_model else "Layer of A"


def _range(layers: tuple[int, ...]) -> dict[str, Any]:
    first, last = min(layers), max(layers)
    return {"minimum": first, "maximum": max(last, first + 1), "interactive": len(layers) > 1}


def _list(choices: Choices, side: int) -> dict[str, Any]:
    listed = (choices.first, choices.second)[side]
    return {"choices": list(listed), "value": choices.values[side], "interactive": bool(listed)}


def _buttons(*, running: bool) -> tuple[gr.Button, gr.Button]:
    return gr.Button(interactive=not running), gr.Button(visible=seen_if(running))


def _said(words: str) -> str:
    return f"<p class='said'>{escape(words)}</p>"


def _sentence(error: UserError) -> str:
    words = str(error)
    return f"{words[:1].upper()}{words[1:]}"
