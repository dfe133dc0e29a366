"""AUROC of held-out texts by layer, and what moved between two runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from readout_ui.plots.colours import FAINT, GREY, intervals, layout, rising_scale
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
        **layout(
            title="Held-out descriptions, cross-validated: macro AUROC per layer",
            title_font_size=14,
            xaxis_title="layer",
            yaxis_title="macro AUROC",
            showlegend=False,
            height=280,
            margin={"l": 56, "r": 16, "t": 44, "b": 44},
        )
    )
    figure.update_xaxes(gridcolor=FAINT, zeroline=False)
    lowest = float(np.nanmin(scores, initial=CHANCE))
    figure.update_yaxes(gridcolor=FAINT, range=[min(0.4, lowest - 0.02), 1.02])
    if len(scores) <= MOST_TICKS:
        figure.update_xaxes(dtick=1)
    return figure


SCALE_FROM = 0.4
"""Part of the cells of a sweep that all have the lowest colour."""


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
    # From the middle up: the good layers differ by hundredths, the first ones by tenths.
    low = float(np.quantile(known, SCALE_FROM)) if known.size else CHANCE
    high = float(known.max()) if known.size else 1.0
    figure = go.Figure(
        go.Heatmap(
            z=scores,
            x=list(range(n_layers)),
            y=list(rows),
            zmin=min(low, high - 0.02),
            zmax=high,
            colorscale=rising_scale(),
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
        **layout(
            title=title,
            title_font_size=14,
            height=ROW_HEIGHT * len(rows) + 110,
            margin={"l": int(6.5 * longest) + 14, "r": 8, "t": 44, "b": 44},
            plot_bgcolor="rgba(128,128,128,0.08)",
        )
    )
    figure.update_xaxes(title_text="layer", showgrid=False, zeroline=False)
    figure.update_yaxes(autorange="reversed", showgrid=False, zeroline=False)
    return figure


RUN_ROW = 18
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
    figure = go.Figure(
        go.Heatmap(
            z=turn[order],
            customdata=cosine[order],
            x=[str(layer) for layer in layers],
            y=[concepts[row] for row in order],
            zmin=0,
            zmax=max(NO_TURN, float(np.nanmax(turn, initial=0))),
            colorscale=rising_scale(),
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
            error_x=intervals(
                [bar.change for bar in bars],
                [bar.low for bar in bars],
                [bar.high for bar in bars],
                thickness=1,
                color=GREY,
            ),
            customdata=[[bar.low, bar.high] for bar in bars],
            hovertemplate="<b>%{y}</b><br>AUROC %{x:+.3f}, 95 % from %{customdata[0]:+.3f} to "
            "%{customdata[1]:+.3f}<extra></extra>",
        )
    )
    figure.add_vline(x=0, line_dash="dot", line_color="#888")
    names = [bar.concept for bar in bars]
    _lay_out(figure, names, "Change of held-out AUROC (filled: beyond noise)")
    figure.update_xaxes(title_text="AUROC new − old", gridcolor=FAINT)
    return figure


def _lay_out(figure: go.Figure, rows: Sequence[str], title: str) -> None:
    longest = max((len(row) for row in rows), default=1)
    figure.update_layout(
        **layout(
            title=title,
            title_font_size=14,
            showlegend=False,
            height=RUN_ROW * len(rows) + 120,
            margin={"l": int(7 * longest) + 14, "r": 8, "t": 44, "b": 48},
        )
    )
    figure.update_xaxes(zeroline=False, showgrid=False)
    figure.update_yaxes(autorange="reversed", showgrid=False, zeroline=False)
