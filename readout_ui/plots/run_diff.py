"""What moved between two runs: cosines old to new, and scores with their intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from readout_ui.plots.colours import diverging_scale
from readout_ui.vectors.auroc import Floats

ROW_HEIGHT = 18
"""Pixels of one concept."""
NO_TURN = 0.02
"""Turns below this are not coloured more strongly than they deserve."""


@dataclass(frozen=True)
class ScoreBar:
    """One concept's change of AUROC with its interval."""

    concept: str
    change: float
    low: float
    high: float
    beyond_noise: bool


def draw_moves(concepts: Sequence[str], layers: Sequence[int], cosine: Floats) -> go.Figure:
    """Heatmap of how far each direction turned, the most turned concept on top.

    Args:
        concepts: names of the rows.
        layers: layer of each column.
        cosine: (n_concepts, n_layers), old to new, NaN where there is none.
    """
    turn = 1 - cosine
    known = ~np.isnan(turn)
    means = np.where(known, turn, 0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    order = np.argsort(-means, kind="stable")
    scale = diverging_scale()
    figure = go.Figure(
        go.Heatmap(
            z=turn[order],
            customdata=cosine[order],
            x=[str(layer) for layer in layers],
            y=[concepts[row] for row in order],
            zmin=0,
            zmax=max(NO_TURN, float(np.nanmax(turn, initial=0))),
            colorscale=[[0.0, scale[-2][1]], [1.0, scale[-1][1]]],
            hoverongaps=False,
            hovertemplate="<b>%{y}</b>, layer %{x}<br>cosine old to new %{customdata:.3f}"
            "<extra></extra>",
            colorbar={"thickness": 10, "outlinewidth": 0, "title": {"text": "1 − cosine"}},
        )
    )
    _lay_out(figure, concepts, "How far the directions turned, 1 − cosine old to new")
    figure.update_xaxes(title_text="layer", type="category")
    return figure


def draw_score_changes(bars: Sequence[ScoreBar]) -> go.Figure:
    """Change of each concept's AUROC with its interval; filled where beyond noise.

    Args:
        bars: in the order of the rows, the first on top.
    """
    figure = go.Figure(
        go.Scatter(
            x=[bar.change for bar in bars],
            y=[bar.concept for bar in bars],
            mode="markers",
            marker={
                "size": 9,
                "color": "#d9822b",
                "symbol": ["circle" if bar.beyond_noise else "circle-open" for bar in bars],
            },
            error_x={
                "type": "data",
                "symmetric": False,
                "array": [bar.high - bar.change for bar in bars],
                "arrayminus": [bar.change - bar.low for bar in bars],
                "thickness": 1,
                "width": 0,
                "color": "#808080",
            },
            customdata=[[bar.low, bar.high] for bar in bars],
            hovertemplate="<b>%{y}</b><br>AUROC %{x:+.3f}, 95 % from %{customdata[0]:+.3f} to "
            "%{customdata[1]:+.3f}<extra></extra>",
        )
    )
    figure.add_vline(x=0, line_dash="dot", line_color="#888")
    names = [bar.concept for bar in bars]
    _lay_out(figure, names, "Change of held-out AUROC (filled: beyond noise)")
    figure.update_xaxes(title_text="AUROC new − old", gridcolor="rgba(128,128,128,0.2)")
    return figure


def _lay_out(figure: go.Figure, rows: Sequence[str], title: str) -> None:
    longest = max((len(row) for row in rows), default=1)
    figure.update_layout(
        title=title,
        title_font_size=14,
        showlegend=False,
        height=ROW_HEIGHT * len(rows) + 120,
        margin={"l": int(7 * longest) + 14, "r": 8, "t": 44, "b": 48},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font_color="#808080",
    )
    figure.update_xaxes(zeroline=False, showgrid=False)
    figure.update_yaxes(autorange="reversed", showgrid=False, zeroline=False)
