"""Scores as curves: along the tokens of two prompts, and over the factors of a steering sweep."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from readout_ui.inference.compare import Comparison, Side, neutral_band
from readout_ui.inference.reading import FloatArray
from readout_ui.plots.colours import FAINT, GREY, MONOSPACE, layout
from readout_ui.plots.score_map import bin_starts, pool_peaks
from readout_ui.plots.token_grid import UNITS, cut_label

LINE_COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00")
"""Okabe and Ito's colours, told apart by colour-blind eyes on white and on black."""
MOST_LINES = len(LINE_COLOURS)
LONGEST = 1500
"""Columns that are drawn one by one; more are pooled to their peaks."""
NAMED = 90
"""Columns up to which every token is named below its place."""


def draw_trajectories(comparison: Comparison, concepts: Sequence[str]) -> go.Figure:
    """One colour per concept, A solid and B dashed, over the band in which a score is neutral.

    Tokens that do not count (the first, and the template's) leave a gap.
    """
    figure = go.Figure()
    sides = (("A", "solid", comparison.first), ("B", "dash", comparison.second))
    for concept, colour in zip(concepts, LINE_COLOURS, strict=False):
        column = comparison.concepts.index(concept)
        for name, dash, side in sides:
            figure.add_trace(_line(side, column, f"{concept}, {name}", colour, dash))
    low, high = neutral_band(comparison)
    figure.add_hrect(
        y0=low, y1=high, line_width=0, fillcolor="rgba(128,128,128,0.16)", layer="below"
    )
    figure.update_layout(
        **layout(
            height=380,
            margin={"l": 56, "r": 12, "t": 12, "b": 110},
            font={"color": GREY, "size": 12},
            hovermode="closest",
            legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        )
    )
    figure.update_xaxes(
        gridcolor=FAINT,
        zeroline=False,
        showgrid=False,
        range=_counted(comparison),
        **_token_ticks(comparison),
    )
    figure.update_yaxes(
        gridcolor=FAINT, zerolinecolor="rgba(128,128,128,0.6)", title_text=_unit(comparison)
    )
    return figure


def _counted(comparison: Comparison) -> list[float] | None:
    """From the first token that counts to the last; the frame round them is one drag away."""
    scored = np.zeros(max(len(side.scored) for side in _sides(comparison)), bool)
    for side in _sides(comparison):
        scored[: len(side.scored)] |= side.scored
    places = np.flatnonzero(scored)
    return [float(places[0]) + 0.5, float(places[-1]) + 1.5] if len(places) else None


def _sides(comparison: Comparison) -> tuple[Side, Side]:
    return comparison.first, comparison.second


def _unit(comparison: Comparison) -> str:
    return "z" if comparison.kind == "z" else UNITS[comparison.kind].split(" ")[0]


def _line(side: Side, column: int, name: str, colour: str, dash: str) -> go.Scatter:
    counted = np.where(side.scored, side.scores[:, column], np.nan).astype(np.float32)
    places, scores = _pooled(counted)
    return go.Scatter(
        x=places + 1,
        y=scores,
        text=[escape(cut_label(side.tokens[place])) for place in places],
        name=escape(name),
        mode="lines" if len(places) > NAMED else "lines+markers",
        line={"color": colour, "dash": dash, "width": 2},
        marker={"size": 5},
        connectgaps=False,
        hovertemplate="<b>%{text}</b><br>%{fullData.name}<br>%{y:.3f}<extra></extra>",
    )


def _pooled(scores: FloatArray) -> tuple[np.ndarray[tuple[int], np.dtype[np.intp]], FloatArray]:
    """Places and scores, (n,) each; beyond LONGEST the strongest of every bin."""
    if len(scores) <= LONGEST:
        return np.arange(len(scores)), scores
    pooled = pool_peaks(scores[None], 1, LONGEST, np.isfinite(scores))[0]
    return bin_starts(len(scores), LONGEST), pooled


def _token_ticks(comparison: Comparison) -> dict[str, object]:
    first, second = comparison.first.tokens, comparison.second.tokens
    if comparison.difference is None or len(first) > NAMED:
        return {"title_text": "token"}
    labels = [a or b for a, b in zip(first, second, strict=True)]
    return {
        "tickmode": "array",
        "tickvals": np.arange(len(labels)) + 1,
        "ticktext": [escape(cut_label(label)) for label in labels],
        "tickangle": -90,
        "tickfont": {"family": MONOSPACE, "size": 11},
    }


COLOURS = ("#d9822b", "#3b7dd8", "#2a9d8f", "#a44fb8", "#c0392b", "#7a8b1f")
"""Of the steered concepts, in their order; those that were not steered are grey."""
SHADE = "rgba(42,157,143,0.14)"
MOST = 1e12
"""Perplexities beyond are drawn here."""


@dataclass(frozen=True, eq=False)
class SweepCurves:
    """What is drawn of a sweep."""

    factors: Sequence[float]
    """Ascending."""
    steered: Mapping[str, FloatArray]
    """(n_factors,) mean z by concept, for the concepts that are steered."""
    others: Mapping[str, FloatArray]
    """The same for every other concept."""
    perplexity: Sequence[float | None]
    """Of the baseline text under each factor."""
    limit: float | None
    """Perplexity up to which the model counts as usable."""
    usable: tuple[float, float] | None
    """Lowest and highest usable factor."""


def draw_sweep_curves(curves: SweepCurves) -> go.Figure:
    """Two figures over one axis; every concept is there, those not steered thin and grey."""
    figure = make_subplots(
        rows=2, cols=1, shared_xaxes=True, row_heights=[0.62, 0.38], vertical_spacing=0.08
    )
    for name, values in curves.others.items():
        figure.add_trace(_thin(curves.factors, name, values), row=1, col=1)
    for i, (name, values) in enumerate(curves.steered.items()):
        colour = COLOURS[i % len(COLOURS)]
        figure.add_trace(_thick(curves.factors, name, values, colour), row=1, col=1)
    figure.add_trace(_perplexity(curves), row=2, col=1)
    if curves.limit is not None:
        figure.add_trace(_limit(curves, curves.limit), row=2, col=1)
    _mark(figure, curves)
    _lay_out(figure, curves)
    return figure


def _thin(factors: Sequence[float], name: str, values: FloatArray) -> go.Scatter:
    return go.Scatter(
        x=np.array(factors),
        y=values,
        mode="lines",
        name=name,
        showlegend=False,
        line={"width": 1, "color": "rgba(128,128,128,0.35)"},
        hovertemplate=f"{name}<br>factor %{{x:g}}: z %{{y:+.2f}}<extra></extra>",
    )


def _thick(factors: Sequence[float], name: str, values: FloatArray, colour: str) -> go.Scatter:
    return go.Scatter(
        x=np.array(factors),
        y=values,
        mode="lines+markers",
        name=name,
        line={"width": 3, "color": colour},
        marker={"size": 7},
        hovertemplate=f"<b>{name}</b><br>factor %{{x:g}}: z %{{y:+.2f}}<extra></extra>",
    )


def _perplexity(curves: SweepCurves) -> go.Scatter:
    known = [np.nan if value is None else value for value in curves.perplexity]
    # A number that overflowed is above every other one; the axis cannot show infinity.
    values = np.minimum(np.array(known, dtype=np.float64), MOST)
    return go.Scatter(
        x=np.array(curves.factors),
        y=values,
        mode="lines+markers",
        name="perplexity of the plain answer",
        line={"width": 2, "color": GREY},
        marker={"size": 7, "symbol": "diamond"},
        hovertemplate="factor %{x:g}: perplexity %{y:.4g}<extra></extra>",
    )


def _mark(figure: go.Figure, curves: SweepCurves) -> None:
    if curves.usable is not None:
        low, high = curves.usable
        # A range of one factor would be invisible.
        pad = 0.01 * (max(curves.factors) - min(curves.factors))
        figure.add_vrect(x0=low - pad, x1=high + pad, fillcolor=SHADE, line_width=0, layer="below")


def _limit(curves: SweepCurves, limit: float) -> go.Scatter:
    return go.Scatter(
        x=np.array([min(curves.factors), max(curves.factors)]),
        y=np.array([limit, limit]),
        mode="lines",
        name="usable up to here",
        line={"width": 1, "dash": "dot", "color": "#c0392b"},
        hovertemplate="usable up to perplexity %{y:.4g}<extra></extra>",
    )


def _lay_out(figure: go.Figure, curves: SweepCurves) -> None:
    figure.update_layout(
        **layout(
            height=460,
            margin={"l": 56, "r": 12, "t": 36, "b": 44},
            legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
            dragmode=False,
            hovermode="closest",
        )
    )
    figure.update_xaxes(
        gridcolor=FAINT, zeroline=True, zerolinecolor=FAINT, fixedrange=True, showgrid=False
    )
    figure.update_xaxes(title_text="factor (1 = the setup as written)", row=2, col=1)
    figure.update_yaxes(gridcolor=FAINT, zeroline=False, fixedrange=True)
    figure.update_yaxes(title_text="mean z", row=1, col=1)
    figure.update_yaxes(title_text="perplexity", type="log", **_ticks(curves), row=2, col=1)


def _ticks(curves: SweepCurves) -> dict[str, object]:
    """Few round numbers: powers of ten, and between them where there are not enough."""
    known = [value for value in (*curves.perplexity, curves.limit) if value and value < MOST]
    if not known:
        return {"nticks": 3}
    low, high = math.floor(math.log10(min(known))), math.ceil(math.log10(max(known)))
    step = max(1, (high - low) // 4)
    steps = (1,) if high - low > 1 else (1, 2, 5)
    values = [digit * 10.0**power for power in range(low, high + 1, step) for digit in steps]
    words = [f"{v:,g}" if v < 1e5 else f"10<sup>{math.log10(v):.0f}</sup>" for v in values]
    return {"tickmode": "array", "tickvals": values, "ticktext": words}
