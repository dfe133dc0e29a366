"""AUROC of held-out texts by layer: one curve, or a heatmap over methods and read rules."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from readout_ui.plots.colours import diverging_scale
from readout_ui.vectors.auroc import Floats

CHANCE = 0.5
ROW_HEIGHT = 26
"""Pixels of one row of the sweep."""
MOST_TICKS = 12
"""Layers that are all numbered."""


def draw_layer_scores(auroc: Sequence[float | None], best: int) -> go.Figure:
    """Draw macro AUROC over layers.

    Args:
        auroc: macro one-vs-rest AUROC per layer, 0..1; index = layer.
        best: the layer chosen by cross-validation.
    """
    scores = np.array(
        [np.nan if score is None else score for score in auroc], dtype=np.float32
    )  # (n_layers,)
    layers = np.arange(len(scores))
    figure = go.Figure(
        [
            go.Scatter(
                x=layers,
                y=scores,
                mode="lines+markers",
                line={"color": "#3b7dd8"},
                hovertemplate="layer %{x}<br>AUROC %{y:.3f}<extra></extra>",
            ),
            go.Scatter(
                x=[best],
                y=[scores[best]],
                mode="markers+text",
                marker={"size": 12, "color": "#d9822b", "symbol": "diamond"},
                text=[f"chosen: {best}"],
                textposition="bottom center",
                hoverinfo="skip",
            ),
        ]
    )
    figure.add_hline(
        y=CHANCE,
        line_dash="dot",
        line_color="#888",
        annotation_text="chance",
        annotation_position="top left",
    )
    figure.update_layout(
        title="Held-out descriptions, cross-validated: macro AUROC per layer",
        title_font_size=14,
        xaxis_title="layer",
        yaxis_title="macro AUROC",
        showlegend=False,
        height=280,
        margin={"l": 56, "r": 16, "t": 44, "b": 44},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font_color="#808080",
    )
    grid = "rgba(128,128,128,0.2)"
    figure.update_xaxes(gridcolor=grid, zeroline=False)
    lowest = float(np.nanmin(scores, initial=CHANCE))
    figure.update_yaxes(gridcolor=grid, range=[min(0.4, lowest - 0.02), 1.02])
    if len(scores) <= MOST_TICKS:
        figure.update_xaxes(dtick=1)
    return figure


def draw_sweep(
    scores: Floats, rows: Sequence[str], marked: tuple[int, int] | None, title: str
) -> go.Figure:
    """Heatmap of AUROC, layers from left to right; a cell that was not computed stays empty.

    Args:
        scores: (n_rows, n_layers), 0..1, NaN where not computed.
        rows: method and read rule, or the concept, of each row.
        marked: (row, layer) of the best cell.
        title: what is shown, in a few words.
    """
    n_layers = scores.shape[1]
    known = scores[~np.isnan(scores)]
    low = float(known.min()) if known.size else CHANCE
    high = float(known.max()) if known.size else 1.0
    scale = diverging_scale()
    figure = go.Figure(
        go.Heatmap(
            z=scores,
            x=list(range(n_layers)),
            y=list(rows),
            zmin=min(low, high - 0.02),
            zmax=high,
            colorscale=[[0.0, scale[-2][1]], [1.0, scale[-1][1]]],
            hoverongaps=False,
            xgap=0.5,  # a phone leaves a column of sixty-four layers a few pixels
            ygap=1,
            hovertemplate="layer %{x}<br>%{y}<br>AUROC %{z:.3f}<extra></extra>",
            colorbar={"thickness": 10, "outlinewidth": 0, "tickformat": ".2f"},
        )
    )
    if marked is not None:
        row, layer = marked
        box = {"x0": layer - 0.5, "x1": layer + 0.5, "y0": row - 0.5, "y1": row + 0.5}
        figure.add_shape(type="rect", line={"color": "#808080", "width": 2}, **box)
    longest = max((len(row) for row in rows), default=1)
    figure.update_layout(
        title=title,
        title_font_size=14,
        height=ROW_HEIGHT * len(rows) + 110,
        margin={"l": int(6.5 * longest) + 14, "r": 8, "t": 44, "b": 44},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(128,128,128,0.08)",
        font_color="#808080",
    )
    figure.update_xaxes(title_text="layer", showgrid=False, zeroline=False)
    figure.update_yaxes(autorange="reversed", showgrid=False, zeroline=False)
    return figure
