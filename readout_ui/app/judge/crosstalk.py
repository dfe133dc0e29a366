"""Cross-talk in Judge: which directions are alike at any layer, and which texts they confuse.

The page paints the cosines of every layer itself, from one compact answer. Which pairs are beyond
chance, and what stands below the matrix, is worked out for the layer that is looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from html import escape
from typing import TYPE_CHECKING, Any, Literal

import gradio as gr
import numpy as np
from pydantic import Field

from readout_ui.app.assets import on_load
from readout_ui.app.events import (
    Answer,
    Call,
    Changes,
    Nothing,
    Request,
    SentFile,
    answering,
    decoded,
    on_threads,
)
from readout_ui.app.jobs import Question
from readout_ui.app.judge.pairs import MATRIX, pair_call, pair_rows
from readout_ui.app.session import Studio
from readout_ui.app.widgets import NO_RUN, RunTab, bullets, count, draw_notice, headline, table
from readout_ui.errors import UserError
from readout_ui.evaluation.results import (
    ConceptMap,
    Confusion,
    HeldOutMatrix,
    Neighbour,
    Redundancy,
    Rows,
    cluster,
    umap_installed,
)
from readout_ui.files import sha256_of
from readout_ui.runs.report import PairReport, pack_cosines
from readout_ui.runs.run import Run

if TYPE_CHECKING:
    from readout_ui.inference.readout import Readout

MOST_CONFUSIONS = 12
"""Confusions that are named; the matrix has all."""
ABOUT_UMAP = "UMAP keeps near concepts near, and says nothing about distances between far ones."
NO_UMAP = "UMAP can be chosen here once it is installed: pip install umap-learn, then restart."
PARTS = {
    "responses": "Which texts score where",
    "redundancy": "Which concepts follow from the others",
    "map": "Map",
    "space": "Geometry, and the tokens that directions raise",
}
"""What can be opened below the matrix."""


class AtLayer(Request):
    """A layer; None is the mean over all of them."""

    layer: int | None = Field(ge=0)


class OfPart(Request):
    """A part below the matrix, at a layer."""

    part: Literal["responses", "redundancy", "map", "space"]
    layer: int = Field(ge=0)
    plane: Literal["pca", "umap"]
    ratings: SentFile | None = None
    """Of the concepts, for the geometry."""


class CrosstalkTab(RunTab):
    """The page of the run in use; its script asks for everything that is on it."""

    def __init__(self, studio: Studio) -> None:
        super().__init__(studio)
        self.page = gr.HTML(
            self.draw(studio.runs.current()),
            elem_id="crosstalk",
            padding=False,
            apply_default_css=False,
            js_on_load=on_load("judge/crosstalk.js"),
            server_functions=on_threads(crosstalk_calls(studio)),
        )

    def take_down(self, run: Run | None) -> Changes:
        """The page of another run."""
        return {self.page: self.draw(run)}

    def draw(self, run: Run | None) -> str:
        """The page before its script filled it."""
        if run is None:
            return draw_notice(NO_RUN)
        if len(run.concepts) < 2:
            name = run.concepts[0]
            return headline(f"The run has one concept, {name}.", "There is no other to compare.")
        parts = "".join(
            f"<details data-part='{name}'><summary>{title}</summary>"
            f"<div tabindex='0' role='region' aria-label='{title}'></div></details>"
            for name, title in PARTS.items()
        )
        return (
            f"<article class='report crosstalk' data-run='{escape(run.id)}'>{_TOP}{parts}</article>"
        )


_TOP = (
    "<div class='rtop'><div role='status'><h2 class='found'>Cosines</h2>"
    "<p class='dim about-pairs'></p></div><span class='sp'></span>"
    "<label class='at'>Layer <select></select></label></div>"
    "<div class='judge2'><section class='sect'><header><h2>Pairs beyond chance</h2>"
    "<span class='sp'></span><button type='button' class='btn sm' data-do='csv-pairs' disabled>CSV"
    "</button></header><div class='pairlist' tabindex='0' role='region' aria-label='Pairs beyond "
    f"chance'></div></section>{MATRIX}</div>"
)


def crosstalk_calls(studio: Studio) -> list[Call]:
    """What the page's script asks."""
    return [
        answering("crosstalk_cosines", Nothing, lambda _r: cosines_answer(studio)),
        answering("crosstalk_pairs", AtLayer, lambda r: pairs_answer(studio, r.layer)),
        answering("crosstalk_part", OfPart, lambda r: part_answer(studio, r)),
        pair_call(studio),
    ]


def cosines_answer(studio: Studio) -> Answer:
    """The cosines of all directions at every layer of the run in use, alike ones side by side.

    `cosines` is base64 of int16, ten-thousandths: for every layer of `layers`, then for their mean,
    all pairs row by row above the diagonal.
    """
    from readout_ui.evaluation.crosstalk import cosines_of

    run = studio.run()
    matrices = np.stack([cosines_of(run.vectors, layer) for layer in run.layers])
    best = run.layer(None)
    order = cluster(matrices[run.layers.index(best)])[0]
    matrices = matrices[:, order][:, :, order]
    return {
        "run": run.id,
        "layers": run.layers,
        "best": best,
        "order": [run.concepts[i] for i in order],
        "cosines": pack_cosines(np.concatenate([matrices, matrices.mean(axis=0)[None]])),
    }


def pairs_answer(studio: Studio, layer: int | None) -> Answer:
    """The pairs beyond chance: those of the report at its layer, else worked out once."""
    report = studio.report()
    known = report is not None and bool(report.order) and report.layer == layer
    pairs = report.pairs if report is not None and known else pairs_of(studio, layer)
    return {"pairs": pair_rows(pairs)}


def pairs_of(studio: Studio, layer: int | None) -> tuple[PairReport, ...]:
    """The pairs of the run in use beyond chance, on the device's thread."""

    def work(readout: Readout) -> tuple[PairReport, ...]:
        from readout_ui.evaluation.evidence import pairs_at

        return pairs_at(readout, layer)

    return studio.judge(Question("Cross-talk: pairs", layer), work)


def part_answer(studio: Studio, asked: OfPart) -> Answer:
    """One part below the matrix: `html`, and `matrix` or `map` where the script draws one."""
    layer = asked.layer
    if asked.part == "responses":
        held_out = judge_responses(studio, layer)
        return {"html": draw_confusions(held_out), "matrix": response_cells(held_out)}
    if asked.part == "redundancy":
        return {"html": draw_redundancy(judge_redundancy(studio, layer))}
    if asked.part == "map":
        found = judge_map(studio, layer, asked.plane)
        return {"html": draw_map_note(found), "map": map_points(found)}
    tokens = Question("Cross-talk: tokens", layer)
    geometry = judge_geometry(studio, layer, asked.ratings)
    return {"html": geometry + studio.judge(tokens, partial(_tokens, layer))}


def judge_responses(studio: Studio, layer: int) -> HeldOutMatrix:
    """What left-out texts score on each direction; worked out once."""

    def work(readout: Readout) -> HeldOutMatrix:
        from readout_ui.evaluation.held_out import held_out_matrix

        return held_out_matrix(readout.corpus(), layer)

    return studio.judge(Question("Cross-talk: responses", layer), work)


def judge_redundancy(studio: Studio, layer: int) -> Rows[Redundancy]:
    """How far each direction follows from the others; worked out once."""

    def work(readout: Readout) -> Rows[Redundancy]:
        from readout_ui.evaluation.redundancy import redundancy

        return redundancy(readout.corpus(), layer)

    return studio.judge(Question("Cross-talk: redundancy", layer), work)


def judge_map(studio: Studio, layer: int, plane: str) -> ConceptMap:
    """The directions in a plane; worked out once."""

    def work(readout: Readout) -> ConceptMap:
        from readout_ui.evaluation.public import own_directions
        from readout_ui.evaluation.redundancy import concept_map

        return concept_map(readout.corpus(), layer, plane, own=own_directions(readout))

    return studio.judge(Question("Cross-talk: map", (layer, plane)), work)


def response_cells(matrix: HeldOutMatrix) -> dict[str, Any]:
    """Names, scores row by row and the cells beyond chance, for the script that paints them."""
    order = cluster((matrix.mean + matrix.mean.T) / 2 / max(1.0, float(np.nanmax(matrix.mean))))[0]
    mean = np.nan_to_num(matrix.mean)[np.ix_(order, order)]
    differs = matrix.differs[np.ix_(order, order)] & ~np.eye(len(order), dtype=bool)
    return {
        "names": [matrix.concepts[i] for i in order],
        "cells": np.round(mean, 3).ravel().tolist(),
        "marked": np.argwhere(differs).tolist(),
    }


def map_points(found: ConceptMap) -> dict[str, Any]:
    """Names, places and clusters, titles of the axes, and the other planes there are."""
    titles = ["UMAP 1", "UMAP 2"]
    if found.method == "pca":
        titles = [f"component {i}, {part:.0%}" for i, part in enumerate(found.explained, start=1)]
    return {
        "names": found.concepts,
        "xy": np.round(found.xy, 5).tolist(),
        "cluster": found.cluster.tolist(),
        "titles": titles,
        "planes": ["pca", "umap"] if umap_installed() else ["pca"],
        "about": ABOUT_UMAP if umap_installed() else NO_UMAP,
    }


def draw_confusions(matrix: HeldOutMatrix) -> str:
    """Top-1 of held-out descriptions against chance, and which concepts they are taken for."""
    if np.isnan(matrix.top1.value):
        return "<p class='about'>Every concept has one description: none can be held out.</p>"
    top1 = matrix.top1
    text = (
        "<p class='about'>Each description is scored on directions fitted without it; mean per "
        "concept, in standard deviations of the direction's scores over all descriptions. "
        f"<b>{top1.value:.0%}</b> (95 %: {top1.low:.0%} to {top1.high:.0%}) score highest on their "
        f"own concept; guessing gives {matrix.chance:.0%}. Outlined: different from 0 "
        "(5 % false discoveries).</p>"
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
        f"</p>{table(titles, map(_row, ranked), file='redundancy')}"
    )


def draw_map_note(found: ConceptMap) -> str:
    """What the axes hold and when concepts share a colour."""
    n_clusters = int(found.cluster.max(initial=-1)) + 1
    shown = f"The two axes hold {sum(found.explained):.0%} of the variance. "
    return (
        f"<p class='about'>{shown if found.method == 'pca' else ''}"
        f"<b>{count(n_clusters, 'cluster')}</b>: concepts share a colour where their mean cosine "
        f"is above {found.threshold:.2f}, which random groups of the same descriptions reach "
        "nowhere in 95 % of cases. Grey rings are on their own.</p>"
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


def judge_geometry(studio: Studio, layer: int, sent: SentFile | None) -> str:
    """How the directions lie, beside the ratings of a file or the shipped ones; worked out once.

    Raises:
        UserError: the file holds no ratings of the run's concepts.
    """
    from readout_ui.evaluation.geometry import geometry_of, rate_table, ratings_or_shipped
    from readout_ui.texts.table_files import read_table

    concepts = studio.run().concepts
    raw, ratings = b"", ratings_or_shipped(None, concepts)
    if sent is not None:
        raw = decoded(sent.content)
        ratings = rate_table(read_table(raw, sent.file_name), concepts)

    def work(readout: Readout) -> str:
        found = geometry_of(readout, layer, ratings).sentences()
        return bullets(map(escape, (*found, *(ratings.passed_over if sent and ratings else ()))))

    return studio.judge(Question("Cross-talk: geometry", (layer, sha256_of(raw))), work)


def _tokens(layer: int, readout: Readout) -> str:
    from readout_ui.evaluation.logit_lens import logit_lens

    try:
        found = logit_lens(readout.model, readout.vectors, layer)
    except UserError as error:  # no reason to show nothing else of the part
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
        f"it.</p>{table(titles, rows, file='tokens')}"
    )
