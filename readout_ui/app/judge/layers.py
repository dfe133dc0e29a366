"""Layers in Judge: where the concepts are read best."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import gradio as gr

from readout_ui import plots
from readout_ui.app.events import DEVICE, HIDDEN, Changes, Values, bound, components
from readout_ui.app.jobs import Question
from readout_ui.app.session import Studio
from readout_ui.app.widgets import RunTab, build_plot, plot_data, sentence, table
from readout_ui.errors import UserError
from readout_ui.runs.run import Run

if TYPE_CHECKING:
    from readout_ui.evaluation.layer_sets import LayerSets
    from readout_ui.evaluation.layers import LayerSweep
    from readout_ui.inference.readout import Readout

ABOUT_SETS = (
    "Mean of standardized scores, mean-difference directions; layers are added one by one. The "
    "layers were chosen on the texts of the AUROC column; the column beside it is free of that."
)


def draw_about(sets: LayerSets, sweep: LayerSweep, concept: str | None = None) -> str:
    """The best cell, what was not computed, and the table of sets with their cost."""
    best = sweep.best(concept)
    if best is None:
        return "<p class='warning'>Write two descriptions of a concept to compare layers.</p>"
    column, layer = best
    auroc = sweep.scores(concept)[sweep.columns.index(column), layer]
    text = (
        f"<p>Highest: <b>layer {layer}</b> with {escape(column.label)}, AUROC {auroc:.3f}. "
        f"<code>auto</code> takes <b>layer {sets.recommended}</b>: among the layers within two "
        "standard errors of the best, the one nearest to the middle of the depth.</p>"
    )
    if sweep.n_missing:
        text += (
            f"<p>{sweep.n_missing} empty cells were not computed: PCA and logistic regression fit "
            "anew for every fold, seconds per layer.</p>"
        )
    return text + table(*sets.table(), kind="judged") + sentence(ABOUT_SETS, "about")


MACRO = "All concepts (macro)"
JUDGEMENT = "Layers"
INTRO = (
    "Every description is scored by directions that never saw it (cross-validation), at every "
    "layer, from the cached activations. Nothing here reads the model again."
)
EMPTY = "<p class='empty'>Press <b>Compare layers</b> to see where the concepts are read best.</p>"
NO_RUN = "<p class='empty'>There are no vectors yet. Press <b>Train</b> first.</p>"


class LayersTab(RunTab):
    """The tab; `use` is wired by the page."""

    def __init__(self, studio: Studio) -> None:
        super().__init__(studio)
        gr.Markdown(INTRO)
        with gr.Row():
            compare = gr.Button("Compare layers", variant="primary", elem_id="layers-compare")
            more = gr.Button("Fit PCA and logistic at one more layer", elem_id="layers-more")
        words = _first_words(studio.runs.current())
        self.about = gr.HTML(words, elem_id="layers-about", padding=False)
        with gr.Column(visible=HIDDEN, elem_id="layers-results") as self.results:
            self.concept = gr.Dropdown(
                [MACRO], value=MACRO, label="AUROC of", elem_id="layers-concept"
            )
            self.sweep = build_plot("layers-sweep")
            self.chosen = gr.Radio([], label="Layers", elem_id="layers-chosen")
            self.use = gr.Button("Use these layers", elem_id="layers-use")
        self.fitted = gr.State(1)  # at how many layers PCA and logistic are fitted
        inputs: set[Any] = {self.concept, self.fitted}
        outputs, manner = components(self), {**DEVICE, "show_progress_on": self.about}
        gr.on([compare.click, self.concept.input], bound(self.draw), inputs, outputs, **manner)
        more.click(bound(self.add_layer), inputs, outputs, **manner)

    def take_down(self, run: Run | None) -> Changes:
        """What was judged of another run is gone."""
        return {
            self.about: _first_words(run),
            self.results: gr.Column(visible=HIDDEN),
            self.concept: gr.Dropdown(choices=[MACRO], value=MACRO),
        }

    def add_layer(self, values: Values) -> Changes:
        """The same with PCA and logistic regression at one more layer."""
        fitted = values[self.fitted] + 1
        return {self.fitted: fitted, **self.draw(values | {self.fitted: fitted})}

    def draw(self, values: Values) -> Changes:
        """Sweep and sets of the run in use.

        Raises:
            UserError: there is no run or no model.
        """
        sets = self.studio.judge(Question(JUDGEMENT, "sets"), _choose_sets)
        sweep = _swept(self.studio, sets, values[self.fitted])
        name = values[self.concept] if values[self.concept] in sweep.concepts else None
        options = [(_set_label(one.layers, one.auroc), one.spec) for one in sets.sets]
        auto = (f"auto: layer {sets.recommended}", str(sets.recommended))
        return {
            self.about: draw_about(sets, sweep, name),
            self.results: gr.Column(visible=True),
            self.sweep: plot_data(plots.layers(sweep, name)),
            self.concept: gr.Dropdown(choices=[MACRO, *sweep.concepts], value=name or MACRO),
            self.chosen: gr.Radio(choices=[auto, *options], value=auto[1]),
        }


def use_layers(chosen: str | None) -> str:
    """The chosen layers as the Layers box of the training's settings takes them, such as "14,22".

    Raises:
        UserError: none is chosen.
    """
    if not chosen:
        raise UserError("no layers are chosen", fix="press Compare layers and choose a set")
    return chosen


def _set_label(layers: Sequence[int], auroc: float) -> str:
    return f"{len(layers)}: {', '.join(map(str, layers))} ({auroc:.3f})"


def _choose_sets(readout: Readout) -> LayerSets:
    from readout_ui.evaluation.layer_sets import best_layer_sets

    return best_layer_sets(readout.corpus(), report=readout.report)


def _swept(studio: Studio, sets: LayerSets, fitted: int) -> LayerSweep:
    """The sweep with the methods that fit anew at so many layers; each layer is fitted once."""
    from readout_ui.evaluation.layers import fill_layers, refit_order, sweep_means
    from readout_ui.evaluation.public import corpora_of

    def means(readout: Readout) -> LayerSweep:
        return sweep_means(corpora_of(readout), report=readout.report)

    def fill(known: LayerSweep, layer: int) -> Callable[[Readout], LayerSweep]:
        return lambda readout: fill_layers(known, corpora_of(readout), [layer], readout.report)

    sweep = studio.judge(Question(JUDGEMENT, "means"), means)
    order = refit_order(sweep.n_layers, sets.recommended)
    for layer in order[: fitted if sets.sets else 0]:
        sweep = studio.judge(Question(JUDGEMENT, ("fitted", layer)), fill(sweep, layer))
    return sweep


def _first_words(run: Run | None) -> str:
    return EMPTY if run else NO_RUN
