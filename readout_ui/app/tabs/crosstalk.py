"""The Cross-talk tab: which directions are alike, and which texts answer to the wrong one.

Sentences and tables of the Cross-talk tab as HTML.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import gradio as gr
import numpy as np

from readout_ui.app.events import DEVICE, HIDDEN, QUIET
from readout_ui.app.evidence import Evidence, Question
from readout_ui.app.session import Studio
from readout_ui.app.widgets import NO_RUN, build_plot, draw_notice, layer_slider, plot_data
from readout_ui.errors import UserError
from readout_ui.evaluation.map_methods import umap_installed
from readout_ui.evaluation.results import (
    ConceptMap,
    Confusion,
    CosineMatrix,
    HeldOutMatrix,
    Neighbour,
    Redundancy,
)
from readout_ui.plots.directions import draw_cosines, draw_map, draw_responses

MOST_CONFUSIONS = 12
"""Confusions that are named; the heatmap has all."""


def draw_cosine_note(matrix: CosineMatrix) -> str:
    """How many pairs stand out, and what interval and dot mean."""
    pairs = np.triu_indices(len(matrix.concepts), k=1)
    found, n_pairs = int(matrix.differs[pairs].sum()), len(pairs[0])
    where = "mean over all layers" if matrix.layer is None else f"layer {matrix.layer}"
    if not n_pairs:
        return (
            f"<p class='about'>The run has one concept, {escape(matrix.concepts[0])}: there is no "
            "other direction to compare it with.</p>"
        )
    fitted = ""
    if matrix.method != "mean":
        fitted = (
            f" This run fits by {escape(matrix.method)}: cosines are those of its directions, "
            "intervals and dots those of mean differences of the same texts."
        )
    return (
        f"<p class='about'><b>{found} of {n_pairs} pairs</b> differ from chance ({where}). "
        "Chance is random groups of the same descriptions; cells that look like them carry a dot "
        "(5 % false discoveries). Intervals: 95 %, bootstrap over descriptions: how far the "
        f"cosine would move with other descriptions, as many of them.{fitted}</p>"
    )


def draw_confusions(matrix: HeldOutMatrix) -> str:
    """Top-1 of held-out descriptions against chance, and which concepts they are taken for."""
    if np.isnan(matrix.top1.value):
        return "<p class='about'>Every concept has one description: none can be held out.</p>"
    top1 = matrix.top1
    text = (
        "<p class='about'>Each description is scored on directions fitted without it; mean per "
        "concept, in standard deviations of the direction's scores over all descriptions. "
        f"<b>{top1.value:.0%}</b> (95 %: {top1.low:.0%} to {top1.high:.0%}) score highest on their "
        f"own concept; guessing gives {matrix.chance:.0%}. Dots: not different from 0, on the "
        "diagonal from random groups of the same descriptions (5 % false discoveries). Intervals: "
        "bootstrap over the row's descriptions, the directions kept.</p>"
    )
    if not matrix.confusions:
        return f"{text}<p class='about'>No description is taken for another concept.</p>"
    shown = matrix.confusions[:MOST_CONFUSIONS]
    rest = len(matrix.confusions) - len(shown)
    more = f"<li>and {rest} more</li>" if rest else ""
    return f"{text}<ul class='notes'>{''.join(map(_confusion, shown))}{more}</ul>"


def draw_redundancy(rows: Sequence[Redundancy]) -> str:
    """A table with the most redundant concept first."""
    ranked = sorted(rows, key=lambda row: -row.r2)
    return (
        "<p class='about'>R2: part of the direction that a ridge fit on the other concepts "
        "explains, with its 95 % interval (bootstrap over descriptions) and what random groups of "
        "the same descriptions give. First component: part of the concept's differences along "
        "one line; 95 % of random groups stay below the number behind it. All of mean differences."
        "</p><div class='scroll'><table class='judged cards'><thead><tr><th>Concept</th>"
        "<th>Nearest three (cosine)</th><th>R2 from the others</th><th>By chance</th>"
        "<th>First component</th></tr></thead><tbody>"
        f"{''.join(map(_row, ranked))}</tbody></table></div>"
    )


def draw_map_note(found: ConceptMap) -> str:
    """What the axes hold and when concepts share a colour."""
    n_clusters = int(found.cluster.max(initial=-1)) + 1
    shown = f"The two axes hold {sum(found.explained):.0%} of the variance. "
    return (
        f"<p class='about'>{shown if found.method == 'pca' else ''}"
        f"<b>{n_clusters} cluster{'' if n_clusters == 1 else 's'}</b>: concepts share a colour and "
        f"shape where their mean cosine is above {found.threshold:.2f}, which random groups of the "
        "same descriptions reach nowhere in 95 % of cases. Grey rings are on their own.</p>"
    )


def _confusion(found: Confusion) -> str:
    names = f"<b>{escape(found.concept)}</b> is taken for <b>{escape(found.taken_for)}</b>"
    doubt = "" if found.differs else " (taken together they do not score on it beyond chance)"
    return f"<li>{names}: {found.count} of {found.of} descriptions{doubt}</li>"


def _row(row: Redundancy) -> str:
    nearest = ", ".join(map(_neighbour, row.nearest)) or "none"
    verdict = "" if row.r2_differs else " <i>like chance</i>"
    limit = "" if np.isnan(row.share_chance) else f" <i>chance: below {row.share_chance:.2f}</i>"
    share = "" if np.isnan(row.first_component_share) else f"{row.first_component_share:.2f}"
    return (
        f"<tr><td><b>{escape(row.concept)}</b></td><td data-title='Nearest'>{nearest}</td>"
        f"<td data-title='R2'>{row.r2:.2f} ({row.r2_low:.2f} to {row.r2_high:.2f}){verdict}</td>"
        f"<td data-title='R2 by chance'>{row.r2_chance:.2f}</td>"
        f"<td data-title='First component'>{share}{limit}</td></tr>"
    )


def _neighbour(near: Neighbour) -> str:
    interval = f"95 %: {near.low:.2f} to {near.high:.2f}"
    doubt = "" if near.differs else ", not different from chance"
    mark = "" if near.differs else "·"
    return f"<span title='{interval}{doubt}'>{escape(near.concept)} {near.cosine:.2f}{mark}</span>"


PLANES = [("PCA", "pca"), ("UMAP", "umap")]
ABOUT_UMAP = "UMAP keeps near concepts near, and says nothing about distances between far ones."
NO_UMAP = "UMAP can be chosen here once it is installed: pip install umap-learn, then restart."


@dataclass(frozen=True)
class Findings:
    """All that the tab shows of one layer."""

    cosines: CosineMatrix
    """Of the layer, or the mean over all."""
    responses: HeldOutMatrix
    """Of the layer."""
    redundancy: tuple[Redundancy, ...]
    """Of the layer."""
    map: ConceptMap
    """Of the layer."""


@dataclass(frozen=True)
class CrosstalkTab:
    """Components of the Cross-talk tab, and what brings them up to date."""

    layer: gr.Slider
    """Which layer is judged."""
    mean: gr.Checkbox
    """Whether cosines are averaged over all layers."""
    plane: gr.Radio
    """How the map is drawn: PCA, or UMAP where it is installed."""
    shown: gr.State
    """Id of the run that slider and findings belong to."""
    notice: gr.HTML
    """What to do first, empty when there is something to show."""
    results: gr.Column
    """Everything below the choices; hidden until the tab is opened."""
    drawn: tuple[Any, ...]
    """What `draw_findings` fills."""

    @property
    def refreshed(self) -> list[Any]:
        """The outputs of `refresh_crosstalk`."""
        return [self.layer, self.shown, self.notice, self.results]


def build_crosstalk_tab(studio: Studio) -> CrosstalkTab:
    """Lay out the tab; it judges the run in use whenever it is opened or its choices change."""
    run = studio.runs.current()
    with gr.Row(elem_id="crosstalk-choices") as choices:
        layer = gr.Slider(**layer_slider(run), step=1, label="Layer", elem_id="crosstalk-layer")
        mean = gr.Checkbox(
            label="Cosines: mean over all layers",
            info="Worked out once per run; intervals from eight layers, evenly spread.",
            elem_id="crosstalk-mean",
        )
    notice = gr.HTML(draw_notice(None if run else NO_RUN), elem_id="crosstalk-notice")
    with gr.Column(visible=HIDDEN, elem_id="crosstalk-results") as results:
        plane, drawn = _build_results()
    shown = gr.State(run.id if run else "")
    tab = CrosstalkTab(layer, mean, plane, shown, notice, results, drawn)
    _wire(studio, tab, choices.parent)
    return tab


def _wire(studio: Studio, tab: CrosstalkTab, page: object) -> None:
    def enter(known: str, chosen: float, averaged: bool, method: str) -> tuple[Any, ...]:
        return open_findings(studio, known, int(chosen), averaged, method)

    def show(chosen: float, averaged: bool, method: str) -> tuple[Any, ...]:
        return show_findings(studio, int(chosen), averaged, method)

    inputs, outputs = [tab.layer, tab.mean, tab.plane], [tab.notice, tab.results, *tab.drawn]
    if isinstance(page, gr.Tab):
        entered = [tab.layer, tab.shown, *outputs]
        page.select(enter, [tab.shown, *inputs], entered, **DEVICE, show_progress_on=tab.notice)
    gr.on(
        [tab.layer.input, tab.mean.input, tab.plane.input],
        show,
        inputs,
        outputs,
        trigger_mode="always_last",
        **{**DEVICE, **QUIET},
    )


def refresh_crosstalk(studio: Studio, shown: str = "") -> tuple[Any, ...]:
    """New values for `CrosstalkTab.refreshed` after a run was made or chosen.

    Args:
        studio: the studio.
        shown: id of the run that the tab shows; where it is the run in use, nothing changes.
    """
    run = studio.runs.current()
    if run is not None and run.id == shown:
        return (gr.skip(),) * 4
    error = UserError("another run is in use now", fix="open this tab again, or move the layer")
    return (
        gr.Slider(**layer_slider(run)),
        run.id if run else "",
        draw_notice(error if run else NO_RUN),
        gr.Column(visible=HIDDEN),
    )


def open_findings(
    studio: Studio, known: str, layer: int, averaged: bool, method: str = "pca"
) -> tuple[Any, ...]:
    """Slider, its run, and what `show_findings` gives, when the tab is opened.

    A slider that stands for another run than the one in use, as after the very first training,
    goes to the best layer of the run in use.
    """
    run = studio.runs.current()
    if run is None or run.id == known:
        return gr.skip(), known, *show_findings(studio, layer, averaged, method)
    found = show_findings(studio, run.best_layer, averaged, method)
    return gr.Slider(**layer_slider(run)), run.id, *found


def show_findings(
    studio: Studio, layer: int, averaged: bool, method: str = "pca"
) -> tuple[Any, ...]:
    """Notice, visibility and everything drawn for one layer; a user's mistake is the notice."""
    try:
        findings = judge_crosstalk(studio, layer, averaged, method)
    except UserError as error:
        return draw_notice(error), gr.Column(visible=HIDDEN), *(gr.skip() for _ in range(7))
    return "", gr.Column(visible=True), *draw_findings(findings)


def judge_crosstalk(studio: Studio, layer: int, averaged: bool, method: str = "pca") -> Findings:
    """Everything of one layer of the run in use; each part is worked out once per run and layer."""

    def judge_cosines(evidence: Evidence) -> CosineMatrix:
        from readout_ui.evaluation.crosstalk import cosine_matrix

        chosen = None if averaged else layer
        own = evidence.own_directions
        return cosine_matrix(evidence.corpus, chosen, report=evidence.readout.report, own=own)

    def judge_responses(evidence: Evidence) -> HeldOutMatrix:
        from readout_ui.evaluation.held_out import held_out_matrix

        return held_out_matrix(evidence.corpus, layer)

    def judge_redundancy(evidence: Evidence) -> tuple[Redundancy, ...]:
        from readout_ui.evaluation.redundancy import redundancy

        return redundancy(evidence.corpus, layer)

    def judge_map(evidence: Evidence) -> ConceptMap:
        from readout_ui.evaluation.concept_map import concept_map

        return concept_map(evidence.corpus, layer, method, own=evidence.own_directions)

    return Findings(
        studio.judge(Question("Cross-talk: cosines", None if averaged else layer), judge_cosines),
        studio.judge(Question("Cross-talk: responses", layer), judge_responses),
        studio.judge(Question("Cross-talk: redundancy", layer), judge_redundancy),
        studio.judge(Question("Cross-talk: map", (layer, method)), judge_map),
    )


def draw_findings(findings: Findings) -> tuple[Any, ...]:
    """Values of `CrosstalkTab.drawn`."""
    cosines, responses = findings.cosines, findings.responses
    return (
        draw_cosine_note(cosines),
        plot_data(draw_cosines(cosines), responsive=False),
        draw_confusions(responses),
        plot_data(draw_responses(responses, cosines.order), responsive=False),
        draw_redundancy(findings.redundancy),
        draw_map_note(findings.map),
        plot_data(draw_map(findings.map), responsive=False),
    )


def _build_results() -> tuple[gr.Radio, tuple[Any, ...]]:
    gr.Markdown("### Cosines")
    cosine_note = gr.HTML(elem_id="crosstalk-cosine-note")
    cosines = build_plot("crosstalk-cosines")
    gr.Markdown("### Responses")
    confusions = gr.HTML(elem_id="crosstalk-confusions")
    responses = build_plot("crosstalk-responses")
    gr.Markdown("### Redundancy")
    redundancy = gr.HTML(elem_id="crosstalk-redundancy")
    gr.Markdown("### Map")
    method = gr.Radio(
        PLANES if umap_installed() else PLANES[:1],
        value="pca",
        label="Drawn by",
        info=ABOUT_UMAP if umap_installed() else NO_UMAP,
        elem_id="crosstalk-plane",
    )
    map_note = gr.HTML(elem_id="crosstalk-map-note")
    plane = build_plot("crosstalk-map")
    drawn = (cosine_note, cosines, confusions, responses, redundancy, map_note, plane)
    return method, drawn
