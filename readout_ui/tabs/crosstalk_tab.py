"""The Cross-talk tab: which directions are alike, and which texts answer to the wrong one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from readout_ui.crosstalk_results import ConceptMap, CosineMatrix, Redundancy, ResponseMatrix
from readout_ui.errors import UserError
from readout_ui.evidence import Evidence
from readout_ui.map_methods import umap_installed
from readout_ui.studio import Studio
from readout_ui.tabs.crosstalk_tables import (
    draw_confusions,
    draw_cosine_note,
    draw_map_note,
    draw_redundancy,
)
from readout_ui.tabs.events import DEVICE, QUIET
from readout_ui.tabs.layer_choices import layer_slider
from readout_ui.tabs.notices import NO_RUN, draw_notice
from readout_ui.tabs.plots import build_plot, plot_data
from readout_ui.tabs.visibility import HIDDEN
from readout_ui.views.concept_map import draw_map
from readout_ui.views.crosstalk import draw_cosines, draw_responses

PLANES = [("PCA", "pca"), ("UMAP", "umap")]
ABOUT_UMAP = "UMAP keeps near concepts near, and says nothing about distances between far ones."
NO_UMAP = "UMAP can be chosen here once it is installed: pip install umap-learn, then restart."


@dataclass(frozen=True)
class Findings:
    """All that the tab shows of one layer."""

    cosines: CosineMatrix
    """Of the layer, or the mean over all."""
    responses: ResponseMatrix
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
        from readout_ui.crosstalk import cosine_matrix

        chosen = None if averaged else layer
        return cosine_matrix(evidence.corpus, chosen, report=evidence.report)

    def judge_responses(evidence: Evidence) -> ResponseMatrix:
        from readout_ui.responses import response_matrix

        return response_matrix(evidence.corpus, layer)

    def judge_redundancy(evidence: Evidence) -> tuple[Redundancy, ...]:
        from readout_ui.redundancy import redundancy

        return redundancy(evidence.corpus, layer)

    def judge_map(evidence: Evidence) -> ConceptMap:
        from readout_ui.concept_map import concept_map

        return concept_map(evidence.corpus, layer, method)

    return Findings(
        studio.judge("Cross-talk: cosines", None if averaged else layer, judge_cosines),
        studio.judge("Cross-talk: responses", layer, judge_responses),
        studio.judge("Cross-talk: redundancy", layer, judge_redundancy),
        studio.judge("Cross-talk: map", (layer, method), judge_map),
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
