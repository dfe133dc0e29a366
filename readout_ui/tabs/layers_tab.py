"""The Layers tab: where the concepts are read best, and what moved between two runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr

from readout_ui.errors import UserError
from readout_ui.evidence import Evidence
from readout_ui.studio import Studio
from readout_ui.tabs.events import DEVICE, guarded
from readout_ui.tabs.layers_tables import draw_about
from readout_ui.tabs.plots import build_plot, plot_data
from readout_ui.tabs.run_comparison import build_comparison, run_choices
from readout_ui.tabs.visibility import HIDDEN
from readout_ui.views.layers import draw_sweep

if TYPE_CHECKING:
    from readout_ui.layer_sets import LayerSets
    from readout_ui.layer_sweep import LayerSweep

__all__ = ["LayersTab", "build_layers_tab", "draw_layers", "refresh_layers", "use_layers"]

MACRO = "All concepts (macro)"
JUDGEMENT = "Layers"
INTRO = (
    "Every description is scored by directions that never saw it (cross-validation), at every "
    "layer, from the cached activations. Nothing here reads the model again."
)
EMPTY = "<p class='empty'>Press <b>Compare layers</b> to see where the concepts are read best.</p>"
NO_RUN = "<p class='empty'>There are no vectors yet. Press <b>Train</b> first.</p>"


@dataclass(frozen=True)
class LayersTab:
    """Components of the Layers tab that others listen to."""

    about: gr.HTML
    """Which layer is best, or what to do first."""
    results: gr.Column
    """Everything that was found; hidden until there is something."""
    sweep: gr.Plot
    """Layer x (method, read rule)."""
    concept: gr.Dropdown
    """Whose AUROC is shown; macro at first."""
    chosen: gr.Radio
    """The best set of each size."""
    use: gr.Button
    """Sends `chosen` to the Train tab's Layers box."""
    old: gr.Dropdown
    """The run that is compared with."""
    new: gr.Dropdown
    """The run that is looked at."""
    shown: gr.State
    """Id of the run that all this belongs to."""

    @property
    def outputs(self) -> list[Any]:
        """What `refresh_layers` gives new values for, in its order."""
        return [self.about, self.results, self.concept, self.old, self.new, self.shown]


def build_layers_tab(studio: Studio) -> LayersTab:
    """Lay out the tab and wire its buttons, but for `use`."""
    run = studio.runs.current()
    gr.Markdown(INTRO)
    with gr.Row():
        compare = gr.Button("Compare layers", variant="primary", elem_id="layers-compare")
        more = gr.Button("Fit PCA and logistic at one more layer", elem_id="layers-more")
    about = gr.HTML(_first_words(studio), elem_id="layers-about", padding=False)
    with gr.Column(visible=HIDDEN, elem_id="layers-results") as results:
        concept = gr.Dropdown([MACRO], value=MACRO, label="AUROC of", elem_id="layers-concept")
        sweep = build_plot("layers-sweep")
        chosen = gr.Radio([], label="Layers", elem_id="layers-chosen")
        use = gr.Button("Use these layers", elem_id="layers-use")
    old, new = build_comparison(studio)
    shown = gr.State(run.id if run else "")
    tab = LayersTab(about, results, sweep, concept, chosen, use, old, new, shown)
    _wire(studio, tab, compare, more)
    return tab


def _wire(studio: Studio, tab: LayersTab, compare: gr.Button, more: gr.Button) -> None:
    n_fitted = gr.State(1)

    def show(name: str, fitted: int) -> tuple[object, ...]:
        return draw_layers(studio, name, fitted)

    def add(name: str, fitted: int) -> tuple[object, ...]:
        return *draw_layers(studio, name, fitted + 1), fitted + 1

    outputs = [tab.about, tab.results, tab.sweep, tab.concept, tab.chosen]
    inputs = [tab.concept, n_fitted]
    compare.click(guarded(show), inputs, outputs, **DEVICE, show_progress_on=tab.about)
    tab.concept.input(guarded(show), inputs, outputs, **DEVICE, show_progress_on=tab.about)
    more.click(guarded(add), inputs, [*outputs, n_fitted], **DEVICE, show_progress_on=tab.about)


def refresh_layers(studio: Studio, shown: str = "") -> tuple[object, ...]:
    """New values for `LayersTab.outputs` after a run was made or chosen.

    Args:
        studio: the studio.
        shown: id of the run that the tab shows; where it is the run in use, nothing changes.
    """
    run = studio.runs.current()
    if run is not None and run.id == shown:
        return (gr.skip(),) * 6
    choices, before, now = run_choices(studio)
    return (
        _first_words(studio),
        gr.Column(visible=HIDDEN),
        gr.Dropdown(choices=[MACRO], value=MACRO),
        gr.Dropdown(choices=choices, value=before),
        gr.Dropdown(choices=choices, value=now),
        run.id if run else "",
    )


def use_layers(chosen: str | None) -> str:
    """The chosen layers as the Train tab's Layers box takes them, such as "14,22".

    Raises:
        UserError: none is chosen.
    """
    if not chosen:
        raise UserError("no layers are chosen", fix="press Compare layers and choose a set")
    return chosen


def draw_layers(studio: Studio, concept: str, fitted: int) -> tuple[object, ...]:
    """Sweep and sets of the run in use, for about, results, sweep, concept and chosen.

    Args:
        studio: the studio.
        concept: whose AUROC is drawn, or `MACRO`.
        fitted: at how many layers PCA and logistic regression are fitted, the best one first.
    """
    sets = studio.judge(JUDGEMENT, "sets", _choose_sets)
    sweep = _swept(studio, sets, fitted)
    name = concept if concept in sweep.concepts else None
    best = sweep.best(name)
    marked = None if best is None else (sweep.columns.index(best[0]), best[1])
    title = f"Held-out AUROC, {name or 'macro'}, {sweep.folds} folds"
    figure = draw_sweep(sweep.scores(name), [c.label for c in sweep.columns], marked, title)
    options = [(_set_label(one.layers, one.auroc), one.spec) for one in sets.sets]
    return (
        draw_about(sets, sweep, name),
        gr.Column(visible=True),
        plot_data(figure),
        gr.Dropdown(choices=[MACRO, *sweep.concepts], value=name or MACRO),
        gr.Radio(
            choices=[(f"auto: layer {sets.recommended}", str(sets.recommended)), *options],
            value=str(sets.recommended),
        ),
    )


def _set_label(layers: Sequence[int], auroc: float) -> str:
    return f"{len(layers)}: {', '.join(map(str, layers))} ({auroc:.3f})"


def _choose_sets(evidence: Evidence) -> LayerSets:
    from readout_ui.layer_sets import best_layer_sets

    return best_layer_sets(evidence.corpus, report=evidence.report)


def _swept(studio: Studio, sets: LayerSets, fitted: int) -> LayerSweep:
    """The sweep with the methods that fit anew at so many layers; each layer is fitted once."""
    from readout_ui.layer_sweep import corpora_by_rule, fill_layers, refit_order, sweep_means

    def means(evidence: Evidence) -> LayerSweep:
        return sweep_means(_corpora(evidence), report=evidence.report)

    def fill(known: LayerSweep, layer: int) -> Callable[[Evidence], LayerSweep]:
        return lambda evidence: fill_layers(known, _corpora(evidence), [layer], evidence.report)

    def _corpora(evidence: Evidence) -> Any:
        run = evidence.run
        return corpora_by_rule(
            evidence.corpus, evidence.model, run.descriptions, evidence.cache, evidence.report
        )

    sweep = studio.judge(JUDGEMENT, "means", means)
    order = refit_order(sweep.n_layers, sets.recommended)
    for layer in order[: fitted if sets.sets else 0]:
        sweep = studio.judge(JUDGEMENT, ("fitted", layer), fill(sweep, layer))
    return sweep


def _first_words(studio: Studio) -> str:
    return EMPTY if studio.runs.current() else NO_RUN
