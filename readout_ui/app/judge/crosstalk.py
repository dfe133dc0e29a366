"""Cross-talk in Judge: which directions are alike, and which texts score on the wrong one."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from html import escape
from typing import TYPE_CHECKING, Any

import gradio as gr
import numpy as np

from readout_ui.app.events import DEVICE, QUIET, Changes, Values, bound, components
from readout_ui.app.jobs import Question
from readout_ui.app.session import Studio
from readout_ui.app.widgets import (
    NO_RUN,
    RunTab,
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
    from readout_ui.runs.run import Run

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
    from readout_ui.vectors.whitening import MAPPED

    if matrix.method not in MAPPED:
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
        "one line; 95 % of random groups stay below the number behind it. "
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


class CrosstalkTab(RunTab):
    """The tab; it judges the run in use whenever it is opened or its choices change."""

    def __init__(self, studio: Studio) -> None:
        super().__init__(studio)
        run = studio.runs.current()
        with gr.Row(elem_id="crosstalk-choices") as choices:
            self.layer = gr.Slider(
                **layer_slider(run), step=1, label="Layer", elem_id="crosstalk-layer"
            )
            self.mean = gr.Checkbox(
                label="Cosines: mean over all layers",
                info="Worked out once per run; intervals from eight layers, evenly spread.",
                elem_id="crosstalk-mean",
            )
        self.judged = build_judged("crosstalk", None if run else NO_RUN)
        with self.judged.results:
            self._build_results()
        self._wire(choices.parent)

    def _build_results(self) -> None:
        gr.Markdown("### Cosines")
        self.cosine_note = gr.HTML(elem_id="crosstalk-cosine-note")
        self.cosines = build_plot("crosstalk-cosines")
        gr.Markdown("### Responses")
        self.confusions = gr.HTML(elem_id="crosstalk-confusions")
        self.responses = build_plot("crosstalk-responses")
        gr.Markdown("### Redundancy")
        self.redundancy = gr.HTML(elem_id="crosstalk-redundancy")
        gr.Markdown("### Map")
        self.plane = gr.Radio(
            PLANES if umap_installed() else PLANES[:1],
            value="pca",
            label="Drawn by",
            info=ABOUT_UMAP if umap_installed() else NO_UMAP,
            elem_id="crosstalk-plane",
        )
        self.map_note = gr.HTML(elem_id="crosstalk-map-note")
        self.map = build_plot("crosstalk-map")
        self.geometry = gr.HTML(elem_id="crosstalk-geometry")
        gr.Markdown("### Tokens")
        self.tokens = gr.HTML(elem_id="crosstalk-tokens")

    def _wire(self, page: Any) -> None:
        choices: list[Any] = [self.layer, self.mean, self.plane]
        outputs, manner = components(self), {**DEVICE, **QUIET, "trigger_mode": "always_last"}
        gr.on([each.input for each in choices], bound(self.show), {*choices}, outputs, **manner)
        if isinstance(page, gr.Tab):
            shown = {**DEVICE, "show_progress_on": self.judged.notice}
            page.select(bound(self.open), {self.shown, *choices}, outputs, **shown)

    def refresh(self, shown: str) -> Changes:
        """What changes after a run was made or chosen.

        `shown` stays as it is: until something of the new run is drawn, a click that was made
        before brings the old run's layer along.
        """
        return {**super().refresh(shown), self.shown: shown} if self.stale(shown) else {}

    def stale(self, shown: str) -> bool:
        """Whether another run is in use than the one that is shown."""
        run = self.studio.runs.current()
        return run is None or run.id != shown

    def take_down(self, run: Run | None) -> Changes:
        """What was judged of another run is gone."""
        error = UserError("this run is not shown yet", fix="open this tab again, or move the layer")
        missing = self.judged.missing(error if run else NO_RUN)
        return {self.layer: gr.Slider(**layer_slider(run)), **missing}

    def open(self, values: Values) -> Changes:
        """What `show` gives; at the best layer where the slider stands for another run."""
        run = self.studio.runs.current()
        if run is None or not self.stale(values[self.shown]):
            return self.show(values)
        found = self.show(values | {self.layer: run.best_layer})
        return {self.layer: gr.Slider(**layer_slider(run)), **found}

    def show(self, values: Values) -> Changes:
        """Everything drawn for one layer; a user's mistake is the notice."""
        choices = int(values[self.layer]), values[self.mean], values[self.plane]
        run = self.studio.runs.current()
        drawn = {self.shown: run.id} if run else {}
        return drawn | self.judged.show(
            lambda: {
                **self.draw(judge_crosstalk(self.studio, *choices)),
                **self.draw_space(choices[0]),
            }
        )

    def draw_space(self, layer: int) -> Changes:
        """Where directions lie to each other, and which tokens they raise, at a layer."""
        about = Question("Cross-talk: geometry", layer), Question("Cross-talk: tokens", layer)
        return {
            self.geometry: self.studio.judge(about[0], partial(_geometry, layer)),
            self.tokens: self.studio.judge(about[1], partial(_tokens, layer)),
        }

    def draw(self, found: Crosstalk) -> Changes:
        """What was found, in its places."""
        figures = {
            self.cosines: draw_cosines(found.cosines),
            self.responses: draw_responses(found.held_out, found.cosines.order),
            self.map: draw_map(found.map),
        }
        return {
            self.cosine_note: draw_cosine_note(found.cosines),
            self.confusions: draw_confusions(found.held_out),
            self.redundancy: draw_redundancy(found.redundancy),
            self.map_note: draw_map_note(found.map),
            **{place: plot_data(figure, responsive=False) for place, figure in figures.items()},
        }


def _geometry(layer: int, readout: Readout) -> str:
    from readout_ui.evaluation.geometry import judge_geometry, shipped_or_none
    from readout_ui.evaluation.held_out import held_out_matrix
    from readout_ui.evaluation.public import own_directions

    corpus, ratings = readout.corpus(), shipped_or_none(readout.concepts)
    held_out = held_out_matrix(corpus, layer)
    found = judge_geometry(corpus, layer, held_out, ratings, own_directions(readout))
    return bullets(map(escape, found.sentences()))


def _tokens(layer: int, readout: Readout) -> str:
    from readout_ui.evaluation.logit_lens import logit_lens

    try:
        found = logit_lens(readout.model, readout.vectors, layer)
    except UserError as error:  # no reason to show nothing else of the tab
        return f"<p class='about'>{escape(str(error))}</p>"
    rows = [
        (
            f"<b>{escape(one.concept)}</b>",
            f"<bdi>{escape(' '.join(one.raised))}</bdi>",
            f"{one.highest:+.1f}",
            f"<bdi>{escape(' '.join(one.lowered))}</bdi>",
        )
        for one in found
    ]
    titles = ("Direction", "Raises most", "First, in deviations", "Lowers most")
    return (
        "<p class='about'>Logit lens: each direction through the final norm and the unembedding. "
        "What it raises no further than the random direction in the last row says nothing about "
        f"it.</p>{table(titles, rows)}"
    )


def judge_crosstalk(studio: Studio, layer: int, averaged: bool, method: str = "pca") -> Crosstalk:
    """Everything of one layer of the run in use; each part is worked out once per run and layer."""

    chosen = None if averaged else layer

    def cosines(readout: Readout) -> CosineMatrix:
        from readout_ui.evaluation.crosstalk import cosine_matrix
        from readout_ui.evaluation.public import own_directions

        own = own_directions(readout)
        return cosine_matrix(readout.corpus(), chosen, report=readout.report, own=own)

    def responses(readout: Readout) -> HeldOutMatrix:
        from readout_ui.evaluation.held_out import held_out_matrix

        return held_out_matrix(readout.corpus(), layer)

    def redundant(readout: Readout) -> Rows[Redundancy]:
        from readout_ui.evaluation.redundancy import redundancy

        return redundancy(readout.corpus(), layer)

    def plane(readout: Readout) -> ConceptMap:
        from readout_ui.evaluation.public import own_directions
        from readout_ui.evaluation.redundancy import concept_map

        return concept_map(readout.corpus(), layer, method, own=own_directions(readout))

    return Crosstalk(
        studio.judge(Question("Cross-talk: cosines", chosen), cosines),
        studio.judge(Question("Cross-talk: responses", layer), responses),
        studio.judge(Question("Cross-talk: redundancy", layer), redundant),
        studio.judge(Question("Cross-talk: map", (layer, method)), plane),
    )
