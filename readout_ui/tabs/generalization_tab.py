"""The Generalization tab: do the vectors hold on texts by other hands, and without the word."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.components.plot import PlotData

from readout_ui.errors import UserError
from readout_ui.judgements import Generalization
from readout_ui.studio import Studio
from readout_ui.tabs.events import DEVICE, QUIET, guarded
from readout_ui.tabs.generalization_inputs import build_inputs
from readout_ui.tabs.generalization_questions import (
    Wish,
    judge_wish,
    judge_words,
    scorer_of,
)
from readout_ui.tabs.generalization_results import build_dose, build_results, build_words
from readout_ui.tabs.generalization_tables import (
    draw_concepts,
    draw_misses,
    draw_summary,
    draw_words,
    mapping_help,
)
from readout_ui.tabs.layer_choices import layer_list
from readout_ui.tabs.notices import NO_RUN, draw_notice
from readout_ui.tabs.plots import plot_data
from readout_ui.tabs.visibility import HIDDEN
from readout_ui.views.generalization import draw_forest, draw_violins

__all__ = ["GeneralizationTab", "build_generalization_tab", "refresh_generalization", "scorer_of"]

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
