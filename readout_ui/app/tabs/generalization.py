"""The Generalization tab: do the vectors hold on texts of other writers, and without the word."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from readout_ui.app.events import (
    DEVICE,
    QUIET,
    Changes,
    Values,
    bound,
    guarded,
)
from readout_ui.app.session import Studio
from readout_ui.app.tabs.generalization_html import (
    draw_concepts,
    draw_dose_table,
    draw_misses,
    draw_summary,
    draw_words,
    mapping_help,
)
from readout_ui.app.tabs.generalization_inputs import Inputs, build_inputs, request_from
from readout_ui.app.tabs.generalization_run import (
    judge_dose,
    judge_request,
    judge_words,
)
from readout_ui.app.widgets import (
    NO_RUN,
    JudgedPart,
    build_judged,
    build_plot,
    layer_list,
    plot_data,
)
from readout_ui.errors import UserError
from readout_ui.evaluation.dose import EXAMPLE_TEXT, EXAMPLE_VALUES
from readout_ui.evaluation.judgements import Generalization
from readout_ui.plots.new_texts import draw_dose, draw_forest, draw_violins


@dataclass(frozen=True)
class Found:
    """Where the tab shows what was judged."""

    judged: JudgedPart
    """Notice, and everything below the Judge button."""
    state: gr.State
    """What was judged last; the violins are drawn anew from it."""
    summary: gr.HTML
    forest: gr.Plot
    table: gr.HTML
    misses: gr.HTML
    violin_choice: gr.Dropdown
    violins: gr.Plot
    check_words: gr.Button
    words: gr.HTML

    @property
    def outputs(self) -> list[Any]:
        """The outputs of `show_judgement`."""
        tables = [self.summary, self.table, self.misses, self.words]
        plots = [self.forest, self.violin_choice, self.violins]
        return [self.state, *self.judged.outputs, *tables, *plots]


def build_found(error: UserError) -> Found:
    """Lay out notice, summary, forest, table, misses, violins and the control of words."""
    judged = build_judged("generalization", error)
    with judged.results:
        summary = gr.HTML(elem_id="generalization-summary")
        gr.Markdown(
            "### AUROC of each concept\nDots: vectors, hollow where chance explains them. "
            "Diamonds: bag of words trained on the same descriptions. Grey: random directions."
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
        with gr.Accordion("Is it the word or the meaning?", open=False):
            gr.Markdown(
                "Masks each concept's own word and its inflections in the texts above, and scores "
                "sentences that use the word in another sense."
            )
            check = gr.Button("Check words", elem_id="generalization-check-words")
            words = gr.HTML(elem_id="generalization-words")
    state = gr.State(None)
    return Found(judged, state, summary, forest, table, misses, choice, violins, check, words)


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

    def show(filled: Values) -> Changes:
        found = judge_dose(studio, filled[template], filled[values], filled[layer])
        return {curves: plot_data(draw_dose(found)), table: draw_dose_table(found)}

    button.click(
        guarded(show), {template, values, layer}, [curves, table], **DEVICE, show_progress_on=button
    )


INTRO = (
    "Do the vectors find their concepts in texts of other writers? The shipped test set was "
    "written from the concept names alone; no training ever sees it."
)
NOT_YET = UserError("nothing judged yet", fix="choose texts, then press Judge")
OTHER_RUN = UserError("another run is in use now", fix="press Judge to see its vectors")


@dataclass(frozen=True)
class GeneralizationTab:
    """Components of the Generalization tab."""

    inputs: Inputs
    found: Found
    shown: gr.State
    """Id of the run that all this belongs to."""

    @property
    def refreshed(self) -> list[Any]:
        """The outputs of `refresh_generalization`."""
        inputs = self.inputs
        return [inputs.layer, inputs.mapping, self.shown, *self.found.judged.outputs]


def build_generalization_tab(studio: Studio) -> GeneralizationTab:
    """Lay out the tab and wire its events; the page refreshes it with the run."""
    run = studio.runs.current()
    gr.Markdown(INTRO)
    inputs = build_inputs(studio, run)
    judge = gr.Button("Judge", variant="primary", elem_id="generalization-judge")
    found = build_found(NOT_YET if run else NO_RUN)
    build_dose(studio, inputs.layer)
    tab = GeneralizationTab(inputs, found, gr.State(run.id if run else ""))
    judge.click(
        bound(show_judgement, studio, tab),
        inputs.asked,
        found.outputs,
        **DEVICE,
        show_progress_on=judge,
    )
    found.check_words.click(
        bound(show_words, studio, tab),
        inputs.asked,
        found.words,
        **DEVICE,
        show_progress_on=found.check_words,
    )
    chosen: set[Any] = {found.state, found.violin_choice}
    found.violin_choice.input(bound(redraw_violins, found), chosen, found.violins, **QUIET)
    return tab


def refresh_generalization(studio: Studio, tab: GeneralizationTab, shown: str) -> Changes:
    """Take down what was judged of another run, after a run was made or chosen.

    Args:
        studio: the studio.
        tab: its components.
        shown: id of the run that the tab shows; where it is the run in use, nothing changes.
    """
    run = studio.runs.current()
    if run is not None and run.id == shown:
        return {}
    return {
        tab.inputs.layer: gr.update(**layer_list(run)),
        tab.inputs.mapping: gr.update(label=mapping_help(run.concepts if run else ("a concept",))),
        tab.shown: run.id if run else "",
        **tab.found.judged.missing(OTHER_RUN if run else NO_RUN),
    }


def show_judgement(studio: Studio, tab: GeneralizationTab, values: Values) -> Changes:
    """Judge what is on screen and draw everything."""
    found, place = judge_request(studio, request_from(tab.inputs, values)), tab.found
    drawn = {
        place.state: found,
        place.violin_choice: gr.update(choices=list(found.concepts), value=[]),
        place.words: "",
        place.summary: draw_summary(found),
        place.forest: plot_data(draw_forest(found)),
        place.table: draw_concepts(found),
        place.misses: draw_misses(found.misses),
        place.violins: plot_data(draw_violins(found)),
    }
    return place.judged.found(drawn)


def show_words(studio: Studio, tab: GeneralizationTab, values: Values) -> Changes:
    """What masking the words does to what is on screen."""
    found = judge_words(studio, request_from(tab.inputs, values))
    return {tab.found.words: draw_words(found)}


def redraw_violins(place: Found, values: Values) -> Changes:
    """The violins of other concepts."""
    found: Generalization | None = values[place.state]
    if found is None:
        return {}
    return {place.violins: plot_data(draw_violins(found, values[place.violin_choice]))}
