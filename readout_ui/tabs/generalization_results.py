"""Where the Generalization tab shows what was found: figures, tables, the word, the dose."""

from __future__ import annotations

from typing import Any

import gradio as gr
from gradio.components.plot import PlotData

from readout_ui.dose import EXAMPLE_TEXT, EXAMPLE_VALUES
from readout_ui.studio import Studio
from readout_ui.tabs.events import DEVICE, guarded
from readout_ui.tabs.generalization_questions import judge_dose
from readout_ui.tabs.generalization_tables import draw_dose_table
from readout_ui.tabs.plots import build_plot, plot_data
from readout_ui.views.dose import draw_dose


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
