"""The Generalization tab: do the vectors hold on texts by other hands, and without the word.

Where the Generalization tab shows what was found: figures, tables, the word, the dose.

What is judged, on screen: texts, their columns, what labels stand for, layer and threshold.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.components.plot import PlotData

from readout_ui.app.events import DEVICE, HIDDEN, QUIET, guarded, seen_if
from readout_ui.app.session import Studio
from readout_ui.app.tabs.generalization_html import (
    draw_brought,
    draw_concepts,
    draw_dose_table,
    draw_misses,
    draw_summary,
    draw_words,
    mapping_help,
)
from readout_ui.app.tabs.generalization_run import (
    MAPPING_TITLES,
    SHIPPED_CHOICES,
    SOURCES,
    Brought,
    Wish,
    bring,
    judge_dose,
    judge_wish,
    judge_words,
    mapping_rows,
)
from readout_ui.app.widgets import NO_RUN, build_plot, draw_notice, layer_list, plot_data
from readout_ui.errors import UserError
from readout_ui.evaluation.dose import EXAMPLE_TEXT, EXAMPLE_VALUES
from readout_ui.evaluation.judgements import Generalization
from readout_ui.plots.new_texts import draw_dose, draw_forest, draw_violins
from readout_ui.runs.run import Run


def build_results() -> tuple[tuple[Any, ...], gr.Dropdown, gr.Plot]:
    """Places of summary, forest, table and misses; the violins' choice; the violins."""
    summary = gr.HTML(elem_id="generalization-summary")
    gr.Markdown(
        "### AUROC of each concept\nDots: vectors, hollow where chance explains them. Diamonds: "
        "bag of words trained on the same descriptions. Grey: random directions."
    )
    forest = build_plot("generalization-forest")
    with gr.Accordion("All numbers", open=False):
        table = gr.HTML(elem_id="generalization-table")
    gr.Markdown("### Ten worst misses")
    misses = gr.HTML(elem_id="generalization-misses")
    gr.Markdown("### Scores")
    choice = gr.Dropdown(
        [],
        multiselect=True,
        label="Concepts (empty: the twelve with the lowest AUROC)",
        elem_id="generalization-violin-choice",
    )
    violins = build_plot("generalization-violins")
    return (summary, forest, table, misses), choice, violins


def build_words() -> tuple[gr.Button, gr.HTML]:
    """The button that checks words, and where its answer goes."""
    with gr.Accordion("Is it the word or the meaning?", open=False):
        gr.Markdown(
            "Masks each concept's own word and its inflections in the texts above, and scores "
            "sentences that use the word in another sense."
        )
        button = gr.Button("Check words", elem_id="generalization-check-words")
        return button, gr.HTML(elem_id="generalization-words")


def build_dose(studio: Studio, layer: gr.Dropdown) -> None:
    """The dose, laid out and wired; it needs nothing else on the page but the layer."""
    with gr.Accordion("Dose: one text, many values", open=False):
        with gr.Row():
            template = gr.Textbox(
                EXAMPLE_TEXT, label="Text with {x}", scale=3, elem_id="generalization-dose-text"
            )
            values = gr.Textbox(
                EXAMPLE_VALUES, label="Values", scale=2, elem_id="generalization-dose-values"
            )
        button = gr.Button("Draw curves", elem_id="generalization-dose")
        curves = build_plot("generalization-curves")
        table = gr.HTML(elem_id="generalization-dose-table")

    def show(text: str, written: str, chosen: int | None) -> tuple[PlotData, str]:
        found = judge_dose(studio, text, written, chosen)
        return plot_data(draw_dose(found)), draw_dose_table(found)

    button.click(
        guarded(show), [template, values, layer], [curves, table], **DEVICE, show_progress_on=button
    )


PASTE_HINT = "calm: The lake lay still and so did I.\nafraid: Someone is behind the door."


@dataclass(frozen=True)
class Inputs:
    """What is judged and how."""

    brought: gr.State
    text: gr.Dropdown
    labels: gr.Dropdown
    mapping: gr.Dataframe
    layer: gr.Dropdown
    recall: gr.Slider
    threshold: gr.Textbox

    def all(self) -> list[Any]:
        """In the order `Wish` takes them."""
        return [
            self.brought,
            self.text,
            self.labels,
            self.mapping,
            self.layer,
            self.recall,
            self.threshold,
        ]


def build_inputs(studio: Studio, run: Run | None) -> Inputs:
    """Lay out everything above the Judge button, and show columns as soon as texts come."""
    brought = gr.State(Brought("shipped"))
    with gr.Row():
        source = gr.Radio(
            list(SOURCES.items()), value="shipped", label="Texts", elem_id="generalization-source"
        )
        parts = gr.CheckboxGroup(
            list(SHIPPED_CHOICES.items()),
            value=list(SHIPPED_CHOICES.values()),
            label="Parts",
            info="Neutral texts are always read along.",
        )
    pasted = gr.Textbox(
        label="Texts with labels",
        lines=6,
        max_lines=14,
        placeholder=PASTE_HINT,
        info="Lines label: text, CSV, JSON or JSON lines.",
        visible=HIDDEN,
        elem_id="generalization-paste",
    )
    files = gr.File(
        label="CSV, TSV, JSONL, JSON, or several {concept}.txt",
        file_count="multiple",
        file_types=[".csv", ".tsv", ".jsonl", ".json", ".txt"],
        visible=HIDDEN,
        elem_id="generalization-files",
    )
    about = gr.HTML(elem_id="generalization-brought")
    with gr.Group(visible=HIDDEN, elem_id="generalization-columns") as group:
        with gr.Row():
            text = gr.Dropdown([], label="Column with the texts", elem_id="generalization-text")
            labels = gr.Dropdown(
                [],
                label="Columns with labels",
                multiselect=True,
                info="a|b in a cell is two labels.",
                elem_id="generalization-labels",
            )
        mapping = gr.Dataframe(
            headers=MAPPING_TITLES,
            datatype="str",
            type="array",
            interactive=True,
            static_columns=[0, 1, 3],
            column_count=4,
            max_height=320,
            label=mapping_help(run.concepts if run else ("a concept",)),
            elem_id="generalization-mapping",
        )
    with gr.Row():
        layer = gr.Dropdown(
            **layer_list(run), label="Layer", elem_id="generalization-layer", min_width=160
        )
        recall = gr.Slider(
            0.5,
            1,
            value=0.8,
            step=0.05,
            label="Own texts to be found",
            info="Sets each concept's threshold; false positives on neutral texts follow.",
        )
        threshold = gr.Textbox(
            label="Or one threshold for all", info="A cosine; empty for the share beside it."
        )
    shown = (brought, about, text, labels, group, mapping)
    _wire_source(studio, (source, parts, pasted, files), shown)
    return Inputs(brought, text, labels, mapping, layer, recall, threshold)


def _wire_source(
    studio: Studio, sources: tuple[Any, Any, Any, Any], brought: tuple[Any, ...]
) -> None:
    """Whatever is chosen, pasted or uploaded shows its columns and suggestions at once."""
    source, parts, pasted, files = sources
    state, _about, text, labels, _group, mapping = brought

    def switch(chosen: str) -> tuple[Any, ...]:
        return tuple(gr.update(visible=seen_if(chosen == name)) for name in SOURCES.values())

    def bring_now(*values: Any) -> tuple[Any, ...]:
        return show_brought(studio, *values)

    def map_now(now: Brought, column: str | None, chosen: list[str]) -> list[list[object]]:
        return show_mapping(studio, now, column, chosen)

    source.input(switch, source, [parts, pasted, files], **QUIET)
    events: list[Callable[..., Any]] = [
        source.input,
        parts.input,
        pasted.change,
        files.upload,
        files.clear,
    ]
    for event in events:
        event(
            bring_now,
            [source, parts, pasted, files],
            list(brought),
            trigger_mode="always_last",
            **QUIET,
        )
    gr.on([text.input, labels.input], guarded(map_now), [state, text, labels], mapping, **QUIET)


def show_brought(studio: Studio, *values: Any) -> tuple[Any, ...]:
    """Columns and mapping of what was brought: state, about, text, labels, group, mapping."""
    brought = bring(*values)
    columns, text, labels = brought.columns()
    settled = brought.table is not None
    return (
        brought,
        draw_brought(brought),
        gr.update(choices=list(columns), value=text),
        gr.update(choices=list(columns), value=list(labels)),
        gr.update(visible=seen_if(settled)),
        suggest_now(studio, brought, text, labels) if settled else gr.skip(),
    )


def suggest_now(
    studio: Studio, brought: Brought, text: str | None, labels: Sequence[str]
) -> list[list[object]]:
    """Suggestions for the labels, none while the guessed columns do not fit."""
    try:
        return show_mapping(studio, brought, text, labels)
    except UserError:
        return []


def show_mapping(
    studio: Studio, brought: Brought, text: str | None, labels: Sequence[str]
) -> list[list[object]]:
    """Suggestions for the labels of the chosen columns."""
    run = studio.runs.current()
    return mapping_rows(brought.texts(text, labels), run.concepts if run else ())


INTRO = (
    "Do the vectors find their concepts in texts by other hands? The shipped test set was written "
    "from the concept names alone; no training ever sees it."
)
NOT_YET = UserError("nothing judged yet", fix="choose texts, then press Judge")
OTHER_RUN = UserError("another run is in use now", fix="press Judge to see its vectors")


@dataclass(frozen=True)
class GeneralizationTab:
    """Components of the Generalization tab that others listen to."""

    layer: gr.Dropdown
    """Which of the run's layers is judged."""
    mapping: gr.Dataframe
    """Label -> concept, editable."""
    notice: gr.HTML
    """What to do first, empty when there is something to show."""
    results: gr.Column
    """Everything that was found; hidden until there is something."""
    shown: gr.State
    """Id of the run that all this belongs to."""

    @property
    def refreshed(self) -> list[Any]:
        """The outputs of `refresh_generalization`."""
        return [self.layer, self.mapping, self.notice, self.results, self.shown]


def build_generalization_tab(studio: Studio) -> GeneralizationTab:
    """Lay out the tab and wire its events; `tabs/__init__` refreshes it with the run."""
    run = studio.runs.current()
    gr.Markdown(INTRO)
    inputs = build_inputs(studio, run)
    judge = gr.Button("Judge", variant="primary", elem_id="generalization-judge")
    notice = gr.HTML(draw_notice(NOT_YET if run else NO_RUN), elem_id="generalization-notice")
    found = gr.State(None)
    with gr.Column(visible=HIDDEN, elem_id="generalization-results") as results:
        drawn, violin_choice, violins = build_results()
        words_button, words = build_words()
    build_dose(studio, inputs.layer)

    def show(*values: Any) -> tuple[Any, ...]:
        return show_judgement(studio, Wish(*values))

    def show_words(*values: Any) -> str:
        return draw_words(judge_words(studio, Wish(*values)))

    judge.click(
        guarded(show),
        inputs.all(),
        [found, notice, results, violin_choice, words, *drawn, violins],
        **DEVICE,
        show_progress_on=judge,
    )
    words_button.click(
        guarded(show_words), inputs.all(), words, **DEVICE, show_progress_on=words_button
    )
    violin_choice.input(guarded(redraw_violins), [found, violin_choice], violins, **QUIET)
    shown = gr.State(run.id if run else "")
    return GeneralizationTab(inputs.layer, inputs.mapping, notice, results, shown)


def refresh_generalization(studio: Studio, shown: str = "") -> tuple[Any, ...]:
    """New values for `GeneralizationTab.refreshed` after a run was made or chosen.

    Args:
        studio: the studio.
        shown: id of the run that the tab shows; where it is the run in use, nothing changes.
    """
    run = studio.runs.current()
    if run is not None and run.id == shown:
        return (gr.skip(),) * 5
    return (
        gr.update(**layer_list(run)),
        gr.update(label=mapping_help(run.concepts if run else ("a concept",))),
        draw_notice(OTHER_RUN if run else NO_RUN),
        gr.update(visible=HIDDEN),
        run.id if run else "",
    )


def show_judgement(studio: Studio, wish: Wish) -> tuple[Any, ...]:
    """State, notice, visibility, violin choice, words, and everything drawn."""
    found = judge_wish(studio, wish)
    return (
        found,
        "",
        gr.update(visible=True),
        gr.update(choices=list(found.concepts), value=[]),
        "",
        draw_summary(found),
        plot_data(draw_forest(found)),
        draw_concepts(found),
        draw_misses(found.misses),
        plot_data(draw_violins(found)),
    )


def redraw_violins(found: Generalization | None, concepts: list[str]) -> PlotData | None:
    """The violins of other concepts."""
    return None if found is None else plot_data(draw_violins(found, concepts))
