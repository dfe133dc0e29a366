"""The Cross-talk tab: which directions are alike, and which texts score on the wrong one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

import gradio as gr
import numpy as np

from readout_ui.app.events import DEVICE, QUIET, Changes, Values, bound, components
from readout_ui.app.jobs import Question
from readout_ui.app.session import Studio
from readout_ui.app.widgets import (
    NO_RUN,
    JudgedPart,
    build_judged,
    build_plot,
    bullets,
    count,
    layer_slider,
    plot_data,
    table,
)
from readout_ui.errors import UserError
from readout_ui.evaluation.results import (
    ConceptMap,
    Confusion,
    CosineMatrix,
    Crosstalk,
    HeldOutMatrix,
    Neighbour,
    Redundancy,
    Rows,
    umap_installed,
)
from readout_ui.plots.directions import draw_cosines, draw_map, draw_responses

if TYPE_CHECKING:
    from readout_ui.inference.readout import Readout

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
    return text + bullets([*map(_confusion, shown), *([f"and {rest} more"] if rest else [])])


def draw_redundancy(rows: Sequence[Redundancy]) -> str:
    """A table with the most redundant concept first."""
    titles = (
        "Concept",
        "Nearest three (cosine)",
        "R2 from the others",
        "By chance",
        "First component",
    )
    ranked = sorted(rows, key=lambda row: -row.r2)
    return (
        "<p class='about'>R2: part of the direction that a ridge fit on the other concepts "
        "explains, with its 95 % interval (bootstrap over descriptions) and what random groups of "
        "the same descriptions give. First component: part of the concept's differences along "
        "one line; 95 % of random groups stay below the number behind it. All of mean differences."
        f"</p>{table(titles, map(_row, ranked))}"
    )


def draw_map_note(found: ConceptMap) -> str:
    """What the axes hold and when concepts share a colour."""
    n_clusters = int(found.cluster.max(initial=-1)) + 1
    shown = f"The two axes hold {sum(found.explained):.0%} of the variance. "
    return (
        f"<p class='about'>{shown if found.method == 'pca' else ''}"
        f"<b>{count(n_clusters, 'cluster')}</b>: concepts share a colour and "
        f"shape where their mean cosine is above {found.threshold:.2f}, which random groups of the "
        "same descriptions reach nowhere in 95 % of cases. Grey rings are on their own.</p>"
    )


def _confusion(found: Confusion) -> str:
    names = f"<b>{escape(found.concept)}</b> is taken for <b>{escape(found.taken_for)}</b>"
    doubt = "" if found.differs else " (taken together they do not score on it beyond chance)"
    return f"{names}: {found.count} of {found.of} descriptions{doubt}"


def _row(row: Redundancy) -> tuple[str, ...]:
    verdict = "" if row.r2_differs else " <i>like chance</i>"
    limit = "" if np.isnan(row.share_chance) else f" <i>chance: below {row.share_chance:.2f}</i>"
    share = "" if np.isnan(row.first_component_share) else f"{row.first_component_share:.2f}"
    return (
        f"<b>{escape(row.concept)}</b>",
        ", ".join(map(_neighbour, row.nearest)) or "none",
        f"{row.r2:.2f} ({row.r2_low:.2f} to {row.r2_high:.2f}){verdict}",
        f"{row.r2_chance:.2f}",
        f"{share}{limit}",
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
class CrosstalkTab:
    """Components of the Cross-talk tab."""

    layer: gr.Slider
    """Which layer is judged."""
    mean: gr.Checkbox
    """Whether cosines are averaged over all layers."""
    shown: gr.State
    """Id of the run that slider and findings belong to."""
    judged: JudgedPart
    """Notice, and everything below the choices; hidden until the tab is opened."""
    cosine_note: gr.HTML
    cosines: gr.Plot
    confusions: gr.HTML
    responses: gr.Plot
    redundancy: gr.HTML
    plane: gr.Radio
    """How the map is drawn: PCA, or UMAP where it is installed."""
    map_note: gr.HTML
    map: gr.Plot

    @property
    def choices(self) -> set[Any]:
        """What findings depend on besides the run."""
        return {self.layer, self.mean, self.plane}


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
    judged = build_judged("crosstalk", None if run else NO_RUN)
    with judged.results:
        drawn = _build_results()
    tab = CrosstalkTab(layer, mean, gr.State(run.id if run else ""), judged, **drawn)
    manner = {**DEVICE, **QUIET}
    outputs = components(tab)
    if isinstance(choices.parent, gr.Tab):
        choices.parent.select(
            bound(open_findings, studio, tab),
            {tab.shown, *tab.choices},
            outputs,
            **DEVICE,
            show_progress_on=judged.notice,
        )
    show = bound(show_findings, studio, tab)
    changed = [layer.input, mean.input, tab.plane.input]
    gr.on(changed, show, tab.choices, outputs, trigger_mode="always_last", **manner)
    return tab


def _build_results() -> dict[str, Any]:
    """The components of `CrosstalkTab` below the choices, by name."""
    gr.Markdown("### Cosines")
    cosine_note = gr.HTML(elem_id="crosstalk-cosine-note")
    cosines = build_plot("crosstalk-cosines")
    gr.Markdown("### Responses")
    confusions = gr.HTML(elem_id="crosstalk-confusions")
    responses = build_plot("crosstalk-responses")
    gr.Markdown("### Redundancy")
    redundancy = gr.HTML(elem_id="crosstalk-redundancy")
    gr.Markdown("### Map")
    plane = gr.Radio(
        PLANES if umap_installed() else PLANES[:1],
        value="pca",
        label="Drawn by",
        info=ABOUT_UMAP if umap_installed() else NO_UMAP,
        elem_id="crosstalk-plane",
    )
    return {
        "cosine_note": cosine_note,
        "cosines": cosines,
        "confusions": confusions,
        "responses": responses,
        "redundancy": redundancy,
        "plane": plane,
        "map_note": gr.HTML(elem_id="crosstalk-map-note"),
        "map": build_plot("crosstalk-map"),
    }


def refresh_crosstalk(studio: Studio, tab: CrosstalkTab, shown: str) -> Changes:
    """Take down what was judged of another run, after a run was made or chosen.

    Args:
        studio: the studio.
        tab: its components.
        shown: id of the run that the tab shows; where it is the run in use, nothing changes.
    """
    run = studio.runs.current()
    if run is not None and run.id == shown:
        return {}
    error = UserError("another run is in use now", fix="open this tab again, or move the layer")
    return {
        tab.layer: gr.Slider(**layer_slider(run)),
        tab.shown: run.id if run else "",
        **tab.judged.missing(error if run else NO_RUN),
    }


def open_findings(studio: Studio, tab: CrosstalkTab, values: Values) -> Changes:
    """What `show_findings` gives, when the tab is opened.

    A slider that stands for another run than the one in use, as after the very first training,
    goes to the best layer of the run in use.
    """
    run = studio.runs.current()
    if run is None or run.id == values[tab.shown]:
        return show_findings(studio, tab, values)
    found = show_findings(studio, tab, values | {tab.layer: run.best_layer})
    return {tab.layer: gr.Slider(**layer_slider(run)), tab.shown: run.id, **found}


def show_findings(studio: Studio, tab: CrosstalkTab, values: Values) -> Changes:
    """Everything drawn for one layer; a user's mistake is the notice."""
    choices = int(values[tab.layer]), values[tab.mean], values[tab.plane]
    return tab.judged.show(lambda: draw_findings(tab, judge_crosstalk(studio, *choices)))


def judge_crosstalk(studio: Studio, layer: int, averaged: bool, method: str = "pca") -> Crosstalk:
    """Everything of one layer of the run in use; each part is worked out once per run and layer."""

    chosen = None if averaged else layer

    def cosines(readout: Readout) -> CosineMatrix:
        from readout_ui.evaluation.crosstalk import cosine_matrix
        from readout_ui.evaluation.public import corpus_of, own_directions

        own = own_directions(readout)
        return cosine_matrix(corpus_of(readout), chosen, report=readout.report, own=own)

    def responses(readout: Readout) -> HeldOutMatrix:
        from readout_ui.evaluation.held_out import held_out_matrix
        from readout_ui.evaluation.public import corpus_of

        return held_out_matrix(corpus_of(readout), layer)

    def redundant(readout: Readout) -> Rows[Redundancy]:
        from readout_ui.evaluation.public import corpus_of
        from readout_ui.evaluation.redundancy import redundancy

        return redundancy(corpus_of(readout), layer)

    def plane(readout: Readout) -> ConceptMap:
        from readout_ui.evaluation.public import corpus_of, own_directions
        from readout_ui.evaluation.redundancy import concept_map

        return concept_map(corpus_of(readout), layer, method, own=own_directions(readout))

    return Crosstalk(
        studio.judge(Question("Cross-talk: cosines", chosen), cosines),
        studio.judge(Question("Cross-talk: responses", layer), responses),
        studio.judge(Question("Cross-talk: redundancy", layer), redundant),
        studio.judge(Question("Cross-talk: map", (layer, method)), plane),
    )


def draw_findings(tab: CrosstalkTab, findings: Crosstalk) -> Changes:
    """What was found, in its places."""
    cosines, responses = findings.cosines, findings.held_out
    return {
        tab.cosine_note: draw_cosine_note(cosines),
        tab.cosines: plot_data(draw_cosines(cosines), responsive=False),
        tab.confusions: draw_confusions(responses),
        tab.responses: plot_data(draw_responses(responses, cosines.order), responsive=False),
        tab.redundancy: draw_redundancy(findings.redundancy),
        tab.map_note: draw_map_note(findings.map),
        tab.map: plot_data(draw_map(findings.map), responsive=False),
    }
