"""AUROC of held-out texts by layer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from readout_ui.plots.colours import layout, rising_scale
from readout_ui.vectors.auroc import Floats

CHANCE = 0.5
ROW_HEIGHT = 26
"""Pixels of one row of the sweep."""


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
