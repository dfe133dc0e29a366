"""The cross-validated AUROC of every layer as a line with the best one marked."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

CHANCE = 0.5


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
                text=[f"best: {best}"],
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
    figure.update_yaxes(gridcolor=grid, range=[0.4, 1.02])
    return figure
