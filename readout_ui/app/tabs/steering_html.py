"""The Steering tab in words, tables and figures: two answers with their readouts, or a sweep."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from gradio.components.plot import PlotData

from readout_ui.app.html import table
from readout_ui.app.widgets import plot_data
from readout_ui.inference.reading import FloatArray, Reading
from readout_ui.plots.curves import SweepCurves, draw_sweep_curves
from readout_ui.plots.token_grid import (
    Grid,
    concept_grid,
    draw_heatmap,
    draw_row_labels,
    draw_token_labels,
    share_scale,
)
from readout_ui.plots.tokens import draw_strip

if TYPE_CHECKING:
    from readout_ui.inference.generation import Generated
    from readout_ui.inference.sweep import Pair, Sweep

ENDS = {"end": "ended by itself", "length": "cut at the limit", "stopped": "stopped"}
MOST_ROWS = 12
"""Concepts shown where none are chosen: the steered ones and those that moved most."""


@dataclass(frozen=True)
class PairLook:
    """How a pair is shown."""

    layer: float
    concept: str | None
    kind: str
    read: str
    """"during": the steered answer as the steered model had it; "alone": its words."""
    prompt: bool
    """Whether the prompt's tokens are shown as well."""
    chosen: list[str]
    """Concepts of the heatmaps; empty for those that moved most."""


class DrawnSide(NamedTuple):
    """One answer and its readout."""

    text: str
    strip: str = ""
    rows: str = ""
    columns: str = ""
    plot: PlotData | None = None


class DrawnPair(NamedTuple):
    """Two answers side by side."""

    summary: str
    means: str
    plain: DrawnSide
    steered: DrawnSide


def draw_pair(pair: Pair, look: PairLook) -> DrawnPair:
    """Both answers with their readouts, in one scale of colours."""
    plain = pair.baseline.reading
    during = pair.steered.reading
    assert plain is not None
    assert during is not None
    steered = during if look.read == "during" else pair.alone
    layer = plain.nearest_layer(int(look.layer))
    means = [_mean(one, pair, layer) for one in (plain, during, pair.alone)]
    ranked = _ranked(pair, means[1] - means[0])
    names = [name for name in ranked if name in look.chosen] or ranked[:MOST_ROWS]
    concept = look.concept if look.concept in plain.concepts else ranked[0]
    start = 0 if look.prompt else len(pair.baseline.prompt.token_ids)
    parts = [_part(one, start, layer) for one in (plain, steered)]
    grids = share_scale(
        [concept_grid(part.select(concepts=names), layer, look.kind) for part in parts]
    )
    sides = zip(parts, grids, (pair.baseline, pair.steered), strict=True)
    drawn = [_draw_side(part, grid, made, concept, layer, look.kind) for part, grid, made in sides]
    return DrawnPair(_summary(pair), _means(pair, ranked, layer, means), *drawn)


def draw_answer(text: str, about: str) -> str:
    """An answer as text."""
    shown = escape(text.strip()) or "<i>nothing yet</i>"
    return f"<div class='steer-answer'>{shown}</div><p class='steer-about'>{escape(about)}</p>"


def first_concept(pair: Pair) -> str:
    """The concept that colours the text at first."""
    return pair.setup.steers[0].concept


def _draw_side(
    part: Reading, grid: Grid, made: Generated, concept: str, layer: int, kind: str
) -> DrawnSide:
    about = f"{len(made.token_ids)} tokens, {ENDS[made.finish]}, {made.seconds:.1f} s. {made.note}"
    text = draw_answer(made.text, about)
    if not part.tokens:
        return DrawnSide(text)
    return DrawnSide(
        text,
        draw_strip(part, concept, layer, kind, grid.scale),
        draw_row_labels(grid, clickable=False),
        draw_token_labels(grid),
        plot_data(draw_heatmap(grid), responsive=False),
    )


def _part(readout: Reading, start: int, layer: int) -> Reading:
    return readout.select(tokens=range(start, len(readout.tokens)), layers=[layer])


def _mean(readout: Reading, pair: Pair, layer: int) -> FloatArray:
    """(n_concepts,): mean z over the answer's scored tokens."""
    from readout_ui.inference.sweep import answer_mean

    start = len(pair.baseline.prompt.token_ids)
    mean: FloatArray = answer_mean(readout, start)[readout.layer_index(layer)]
    return mean


def _ranked(pair: Pair, change: FloatArray) -> list[str]:
    """Steered concepts first, then by how far they moved."""
    steered = [one.concept for one in pair.setup.steers]
    concepts = pair.alone.concepts
    size = np.nan_to_num(np.abs(change))
    order = sorted(range(len(concepts)), key=lambda i: (concepts[i] not in steered, -size[i]))
    return [concepts[i] for i in order]


def _summary(pair: Pair) -> str:
    return (
        f"<p class='steer-setup'>{escape(pair.setup.describe())}</p>"
        f"<p class='steer-numbers'>Perplexity of the plain answer: "
        f"<b>{number(pair.plain_perplexity)}</b> plain, "
        f"<b>{number(pair.steered_perplexity)}</b> while steered.</p>"
    )


def _means(pair: Pair, ranked: Sequence[str], layer: int, means: Sequence[FloatArray]) -> str:
    steered = {one.concept for one in pair.setup.steers}
    index, shown = pair.alone.concepts.index, ranked[:8]
    caption = (
        f"Mean z of the answer at layer {layer}. “Words alone” is the steered answer read without "
        "steering."
    )
    return table(
        ("", "plain", "steered", "words alone"),
        [(escape(name), *(_signed(mean[index(name)]) for mean in means)) for name in shown],
        kind="judged steer-table",
        caption=caption,
        row_kinds=["steered" if name in steered else "" for name in shown],
    )


def draw_sweep(swept: Sweep, layer: float, read: str) -> tuple[PlotData, str]:
    """Curves and table of a sweep."""
    nearest = min(swept.layers, key=lambda other: abs(other - layer))
    return plot_data(draw_sweep_curves(_curves(swept, nearest, read))), _table(swept, nearest, read)


def _curves(swept: Sweep, layer: int, read: str) -> SweepCurves:
    from readout_ui.inference.sweep import PERPLEXITY_LIMIT

    means = swept.means(read, layer)  # (n_points, n_concepts)
    steered = dict.fromkeys(one.concept for one in swept.setup.steers)
    by_name = {name: means[:, i] for i, name in enumerate(swept.concepts)}
    plain, usable = swept.plain_perplexity, swept.usable
    return SweepCurves(
        factors=swept.factors,
        steered={name: by_name[name] for name in steered},
        others={name: values for name, values in by_name.items() if name not in steered},
        perplexity=[point.perplexity for point in swept.points],
        limit=None if plain is None else PERPLEXITY_LIMIT * plain,
        usable=(usable.low, usable.high) if usable else None,
    )


def _table(swept: Sweep, layer: int, read: str) -> str:
    from readout_ui.inference.sweep import USABLE_RULE

    usable = swept.usable
    names = list(dict.fromkeys(one.concept for one in swept.setup.steers))
    means = swept.means(read, layer)[:, [swept.concepts.index(name) for name in names]]
    fine = [usable is not None and point.factor in usable for point in swept.points]
    rows = [
        (
            f"<b>{_factor(point.factor)}</b>",
            *map(_signed, scores),
            number(point.perplexity),
            "yes" if good else "no",
            f"{escape(point.text.strip())} <i>{point.n_tokens} tokens, {ENDS[point.finish]}</i>",
        )
        for point, scores, good in zip(swept.points, means, fine, strict=True)
    ]
    titles = ("factor", *names, "perplexity", "usable", "answer")
    kinds = ["usable" if good else "broken" for good in fine]
    drawn = table(
        titles,
        rows,
        kind="judged steer-sweep",
        row_kinds=kinds,
        column_kinds={"answer": "answer"},
    )
    reach = usable.describe() if usable else "not measured, because the plain answer is empty"
    return (
        f"<p class='steer-setup'>{escape(swept.setup.describe())}</p>"
        f"<p class='steer-numbers'>Usable factors: <b>{reach}</b>. {escape(USABLE_RULE)}</p>"
        f"{drawn}"
    )


def number(value: float | None) -> str:
    """A perplexity for people."""
    if value is None or math.isnan(value):
        return "–"
    if value >= 10_000:
        return "over 10,000"
    return f"{value:.2f}" if value < 100 else f"{value:,.0f}"


def _factor(value: float) -> str:
    return f"{value:+g}".replace("-", "−") if value else "0"


def _signed(value: float) -> str:
    return f"{value:+.2f}".replace("-", "−") if math.isfinite(value) else "–"
