"""Heatmaps of one prompt: tokens x concepts at one layer, tokens x layers for one concept."""

from html import escape

import numpy as np
import plotly.graph_objects as go

from readout_ui.views.colours import (
    INK,
    ROLE_COLOURS,
    ROLE_LETTERS,
    ROLE_NAMES,
    diverging_scale,
)
from readout_ui.views.grids import BAND_GAP, BAND_HEIGHT, FOOT, UNITS, Geometry, Grid, cut_label

_OTHERS = {"z": ("cosine", "raw"), "cosine": ("z", "raw"), "raw": ("z", "cosine")}
_FORMATS = {"z": ".2f", "cosine": ".3f", "raw": ".3f"}


def draw_heatmap(grid: Grid) -> go.Figure:
    """The figure: tokens above, role band, rows, colour bar below.

    Columns whose token does not count are faint; their colours are those of the same scale.
    Labels are left to `views.labels`: Plotly lays out the page anew for every one, seconds for 512
    tokens. Axes and role band hold them for hovering and for pictures.
    """
    geometry = grid.geometry
    layout = go.Layout(
        template="none",
        width=geometry.width,
        height=geometry.height,
        margin={"l": geometry.left, "r": 12, "t": geometry.top, "b": FOOT, "pad": 0},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"color": INK, "size": 12, "family": "ui-monospace, Menlo, Consolas, monospace"},
        dragmode=False,
        hoverlabel={"bgcolor": INK, "bordercolor": INK, "font": {"color": "#ffffff", "size": 13}},
        xaxis=_token_axis(grid),
        yaxis=_row_axis(grid),
        yaxis2=_band_axis(geometry),
        shapes=_veils(grid),
    )
    return go.Figure([_cells(grid), _role_band(grid)], layout)


def _cells(grid: Grid) -> go.Heatmap:
    first, second = _OTHERS[grid.kind]
    scale = grid.scale
    return go.Heatmap(
        z=grid.scores[grid.kind],
        customdata=np.stack([grid.scores[first], grid.scores[second]], axis=-1),
        name=_label(grid.constant),
        zmin=scale.low,
        zmax=scale.high,
        colorscale=diverging_scale(),
        hovertemplate=_hover(grid.kind),
        colorbar={
            "orientation": "h",
            "thickness": 10,
            "lenmode": "pixels",
            "len": 300,
            "x": 0,
            "xanchor": "left",
            "y": 0,
            "yanchor": "top",
            "ypad": 8,
            "xpad": 0,
            "outlinewidth": 0,
            "nticks": 5,
            "title": {"text": UNITS[grid.kind], "side": "bottom", "font": {"size": 11}},
        },
    )


def _hover(kind: str) -> str:
    first, second = _OTHERS[kind]
    values = {
        kind: f"%{{z:{_FORMATS[kind]}}}",
        first: f"%{{customdata[0]:{_FORMATS[first]}}}",
        second: f"%{{customdata[1]:{_FORMATS[second]}}}",
    }
    scores = "<br>".join(f"{name} {values[name]}" for name in UNITS)
    return f"<b>%{{x}}</b><br>%{{y}} · %{{fullData.name}}<br>{scores}<extra></extra>"


def _veils(grid: Grid) -> list[dict[str, object]]:
    """Paper over the columns that do not count; the page paints them in its own background."""
    edges = np.flatnonzero(np.diff(~grid.scored, prepend=False, append=False))
    return [
        {
            "type": "rect",
            "x0": start - 0.5,
            "x1": stop - 0.5,
            "y0": -0.5,
            "y1": len(grid.rows) - 0.5,
            "line": {"width": 0},
            "fillcolor": "#ffffff",
            "opacity": 0.7,
        }
        for start, stop in edges.reshape(-1, 2).tolist()
    ]


def _role_band(grid: Grid) -> go.Heatmap:
    names = list(ROLE_NAMES)
    codes = np.array([names.index(role) for role in grid.roles], np.float32)
    steps = len(names)
    scale = [
        [edge / steps, ROLE_COLOURS[name]] for i, name in enumerate(names) for edge in (i, i + 1)
    ]
    return go.Heatmap(
        z=codes[None, :],
        text=np.array([[ROLE_LETTERS[role] for role in grid.roles]], dtype=object),
        textfont={"size": 10},
        hovertext=np.array([[ROLE_NAMES[role] for role in grid.roles]], dtype=object),
        hovertemplate="<b>%{x}</b><br>%{hovertext} token<extra></extra>",
        zmin=-0.5,
        zmax=steps - 0.5,
        colorscale=scale,
        showscale=False,
        yaxis="y2",
    )


def _token_axis(grid: Grid) -> dict[str, object]:
    return {
        "tickmode": "array",
        "tickvals": np.arange(len(grid.tokens)),
        "ticktext": [_label(token) for token in grid.tokens],
        "tickangle": -90,
        "side": "top",
        "anchor": "y2",
        "range": [-0.5, len(grid.tokens) - 0.5],
        **_BARE_AXIS,
    }


def _row_axis(grid: Grid) -> dict[str, object]:
    geometry = grid.geometry
    return {
        "tickmode": "array",
        "tickvals": np.arange(len(grid.rows)),
        "ticktext": [_label(row) for row in grid.rows],
        "range": [len(grid.rows) - 0.5, -0.5],
        "domain": [0, 1 - (BAND_HEIGHT + BAND_GAP) / geometry.plot_height],
        **_BARE_AXIS,
    }


def _band_axis(geometry: Geometry) -> dict[str, object]:
    return {
        "range": [-0.5, 0.5],
        "domain": [1 - BAND_HEIGHT / geometry.plot_height, 1],
        **_BARE_AXIS,
    }


_BARE_AXIS: dict[str, object] = {
    "showticklabels": False,
    "showgrid": False,
    "zeroline": False,
    "showline": False,
    "ticks": "",
    "fixedrange": True,
    "automargin": False,
}


def _label(label: str) -> str:
    """A label as Plotly shows it, which reads a little HTML."""
    return escape(cut_label(label), quote=False)
