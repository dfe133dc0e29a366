"""Layers in Judge: one recommendation and why, and where the concepts are read best."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from typing import TYPE_CHECKING

import gradio as gr
import numpy as np

from readout_ui.app.events import AWAY, DEVICE, LATEST, Changes, Part, bound, components, seen_if
from readout_ui.app.jobs import Question
from readout_ui.app.judge.kept import KeptLayers, keep_layers, read_kept
from readout_ui.app.session import Studio
from readout_ui.app.widgets import error_text, minute, sentence, table
from readout_ui.errors import UserError
from readout_ui.evaluation.judgements import named
from readout_ui.runs.report import layer_note
from readout_ui.runs.run import Run

if TYPE_CHECKING:
    from readout_ui.evaluation.layer_sets import LayerSets
    from readout_ui.evaluation.layers import LayerSweep
    from readout_ui.evaluation.results import Floats
    from readout_ui.inference.readout import Readout

ABOUT_SETS = (
    "Mean of standardized scores, mean-difference directions; layers are added one by one. The "
    "layers were chosen on the texts of the AUROC column; the column beside it is free of that."
)
ABOUT_COLOURS = (
    "AUROC on texts that the directions never saw. The colour is the rank among all cells, so that "
    "good layers, which differ by hundredths, can be told apart."
)
MACRO = "All concepts (macro)"
JUDGEMENT = "Layers"
NO_RUN = "<p class='empty'>There are no vectors yet. Press <b>Train</b> first.</p>"
STRONGEST = 80
"""Per cent of the scale's colour in the cell of the highest score."""


def draw_heat(
    rows: Sequence[str], scores: Floats, marked: tuple[int, int] | None, layer: int, name: str
) -> str:
    """A table of AUROCs, layers from left to right, coloured by rank.

    Args:
        rows: what each row is of.
        scores: (n_rows, n_layers), NaN where not computed.
        marked: (row, layer) of the best cell.
        layer: the recommended one, whose number stands out.
        name: of the file it is saved in.
    """
    ranks = _ranks(scores)
    heads = "".join(
        f"<th scope='col'{_if(i == layer, 'chosen')}>{i}</th>" for i in range(scores.shape[1])
    )
    body = "".join(
        f"<tr><th scope='row'>{escape(label)}</th>"
        + "".join(
            _cell(scores[row, i], ranks[row, i], (row, i) == marked) for i in range(scores.shape[1])
        )
        + "</tr>"
        for row, label in enumerate(rows)
    )
    return (
        f"<div class='saved-table'><button type='button' class='btn sm' data-csv='{escape(name)}'>"
        f"CSV</button><div class='scroll' tabindex='0' role='region' aria-label='AUROC by layer'>"
        f"<table class='heat'><thead><tr><th scope='col'>Layer</th>{heads}</tr></thead><tbody>"
        f"{body}</tbody></table></div></div>"
    )


def _if(true: bool, kind: str) -> str:
    return f" class='{kind}'" if true else ""


def _cell(score: float, rank: float, best: bool) -> str:
    if np.isnan(score):
        return "<td></td>"
    return (
        f"<td{_if(best, 'best')} style='--part:{rank * STRONGEST:.0f}%' "
        f"data-value='{score:.4f}'>{f'{score:.3f}'.lstrip('0')}</td>"
    )


def _ranks(scores: Floats) -> Floats:
    """Each score's place among all known ones, 0 for the lowest and 1 for the highest."""
    known = np.unique(scores[~np.isnan(scores)].round(4))
    places: Floats = np.searchsorted(known, scores.round(4)) / max(1, len(known) - 1)
    return places


def draw_layers(run: Run, kept: KeptLayers | None, concept: str | None, title: str) -> str:
    """The recommendation, AUROC by layer as far as it is known, and sets of layers.

    Args:
        run: the run in use.
        kept: the comparison that was made of it, if one was.
        concept: whose AUROC; None is the mean over all.
        title: what the run is called.
    """
    best = run.layer(None)
    head = (
        f"<h2>Use layer {best}</h2><p>{escape(layer_note(run.layer_scores, best))}</p>"
        f"<p class='dim small'>For run {escape(title)}. "
    )
    if kept is None:
        if not run.layer_scores:
            return f"{head}The training kept no scores of layers.</p>"
        scores = np.array([[np.nan if s is None else s for s in run.layer_scores]], dtype=float)
        marked = None if np.isnan(scores).all() else (0, int(np.nanargmax(scores)))
        heat = draw_heat(["As it was trained"], scores, marked, best, "layers")
        return f"{head}Kept from its training.</p>{heat}{sentence(ABOUT_COLOURS, 'about')}"
    when = minute(kept.made)
    head += f"Compared {when}, {kept.folds} folds, {escape(concept or 'mean over concepts')}.</p>"
    return head + _draw_compared(kept, concept, best, run)


def _draw_compared(kept: KeptLayers, concept: str | None, best: int, run: Run) -> str:
    scores = kept.scores(concept)
    if np.isnan(scores).all():
        return "<p class='warning'>Write two descriptions of a concept to compare layers.</p>"
    row, layer = (int(i) for i in np.unravel_index(np.nanargmax(scores), scores.shape))
    labels = [column.label for column in kept.columns]
    n_missing = int(np.isnan(scores).sum())
    text = (
        f"<p>Highest: <b>layer {layer}</b> with {escape(labels[row])}, AUROC "
        f"{scores[row, layer]:.3f}. <code>auto</code> takes <b>layer {kept.recommended}</b>: among "
        "the layers within two standard errors of the best, the one nearest to the middle.</p>"
    )
    if n_missing:
        text += (
            f"<p>{n_missing} empty cells were not computed: PCA and logistic regression fit anew "
            "for every fold, seconds per layer.</p>"
        )
    lone = [name for name in run.concepts if name not in kept.concepts]
    if lone:
        text += f"<p class='warning'>Not judged, having one text each: {escape(named(lone))}.</p>"
    heat = draw_heat(labels, scores, (row, layer), best, "layers")
    sets = table(kept.titles, kept.rows, file="layer-sets")
    return f"{text}{heat}{sentence(ABOUT_COLOURS, 'about')}{sets}{sentence(ABOUT_SETS, 'about')}"


class LayersTab(Part):
    """The tab; `use` is wired by the page."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio
        self.about = gr.HTML(
            elem_id="layers-about", padding=False, elem_classes="report", apply_default_css=False
        )
        with gr.Row():
            compare = gr.Button("Compare layers", variant="primary", elem_id="layers-compare")
            more = gr.Button("Fit PCA and logistic at one more layer", elem_id="layers-more")
        with gr.Column(elem_classes=AWAY, elem_id="layers-results") as self.results:
            self.concept = gr.Dropdown(
                [MACRO], value=MACRO, label="AUROC of", elem_id="layers-concept"
            )
            self.chosen = gr.Radio([], label="Layers", elem_id="layers-chosen")
            self.use = gr.Button("Use these layers", elem_id="layers-use")
        self.shown = gr.State("")  # run and comparison that the page shows
        outputs, manner = components(self), {**DEVICE, "show_progress_on": compare}
        compare.click(bound(self.compare), self.concept, outputs, **manner)
        more.click(bound(self.add_layer), self.concept, outputs, **manner)
        self.concept.input(bound(self.draw), self.concept, outputs, **LATEST)

    def refresh(self, shown: str) -> Changes:
        """What changes after a run was made or chosen, and when the tab is opened."""
        run = self.studio.runs.current()
        changes = self.draw(MACRO)
        return {} if run is not None and changes[self.shown] == shown else changes

    def compare(self, concept: str) -> Changes:
        """Compare the layers of the run in use, and keep what was found.

        Raises:
            UserError: there is no run or no model.
        """
        self.fit(1)
        return self.draw(concept)

    def add_layer(self, concept: str) -> Changes:
        """The same with PCA and logistic regression at one more layer."""
        kept = read_kept(self.studio).layers
        self.fit(kept.fitted + 1 if kept else 2)
        return self.draw(concept)

    def fit(self, fitted: int) -> None:
        """Compare with the methods that fit anew at so many layers."""
        run_id = self.studio.run().id
        sets = self.studio.judge(Question(JUDGEMENT, "sets"), _choose_sets)
        sweep = _swept(self.studio, sets, fitted)
        keep_layers(self.studio, run_id, KeptLayers.of(sweep, sets, fitted))

    def draw(self, concept: str) -> Changes:
        """The run in use with what is kept of it."""
        run, kept, failed = self.studio.runs.current(), None, ""
        if run is None:
            return {self.about: NO_RUN, self.results: gr.Column(elem_classes=AWAY), self.shown: ""}
        try:
            kept = read_kept(self.studio).layers
        except UserError as error:
            failed = sentence(error_text(error), "warning")
        names = kept.concepts if kept else ()
        name = concept if concept in names else None
        drawn = draw_layers(run, kept, name, self.studio.runs.title(run))
        return {
            self.about: failed + drawn,
            self.shown: f"{run.id} {kept and kept.made}",
            **self._choices(kept, name),
        }

    def _choices(self, kept: KeptLayers | None, name: str | None) -> Changes:
        if kept is None:
            return {self.results: gr.Column(elem_classes=AWAY)}
        auto = (f"auto: layer {kept.recommended}", str(kept.recommended))
        return {
            self.results: gr.Column(elem_classes=seen_if(True)),
            self.concept: gr.Dropdown(choices=[MACRO, *kept.concepts], value=name or MACRO),
            self.chosen: gr.Radio(choices=[auto, *kept.sets], value=auto[1]),
        }


def use_layers(chosen: str | None) -> str:
    """The chosen layers as the Layers box of the training's settings takes them, such as "14,22".

    Raises:
        UserError: none is chosen.
    """
    if not chosen:
        raise UserError("no layers are chosen", fix="press Compare layers and choose a set")
    return chosen


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
