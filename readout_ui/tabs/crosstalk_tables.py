"""Sentences and tables of the Cross-talk tab as HTML."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np

from readout_ui.crosstalk_results import (
    ConceptMap,
    Confusion,
    CosineMatrix,
    Neighbour,
    Redundancy,
    ResponseMatrix,
)

MOST_CONFUSIONS = 12
"""Confusions that are named; the heatmap has all."""


def draw_cosine_note(matrix: CosineMatrix) -> str:
    """How many pairs stand out, and what interval and dot mean."""
    pairs = np.triu_indices(len(matrix.concepts), k=1)
    found, n_pairs = int(matrix.differs[pairs].sum()), len(pairs[0])
    where = "mean over all layers" if matrix.layer is None else f"layer {matrix.layer}"
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


def draw_confusions(matrix: ResponseMatrix) -> str:
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
    doubt = "" if found.differs else " (taken together they do not answer to it beyond chance)"
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
