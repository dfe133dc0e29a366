"""A multiplier sweep as curves: readouts above, perplexity below, the usable range shaded."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from readout_ui.inference.reading import FloatArray
from readout_ui.plots.look import FAINT, GREY, layout

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
