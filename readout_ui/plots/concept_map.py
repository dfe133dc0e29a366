"""The map of the directions: a point per concept, clusters by colour and by shape.

On which side of its point each name of a scatter is written, so that few names overlap.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np
import plotly.graph_objects as go

from readout_ui.evaluation.results import ConceptMap
from readout_ui.plots.colours import INK
from readout_ui.vectors.auroc import Floats

PLACES = {
    "top center": (0.0, 1.0),
    "bottom center": (0.0, -1.0),
    "middle right": (1.0, 0.0),
    "middle left": (-1.0, 0.0),
}
"""Where a name stands, in halves of its width and in lines."""
LETTER, LINE = 0.008, 0.035
"""A letter's width and a line's height, as parts of a figure about a thousand pixels wide."""


def label_places(xy: Floats, names: Sequence[str]) -> tuple[str, ...]:
    """One of `PLACES` for every point, chosen one after the other.

    Each name goes where it covers the fewest points and names placed before it; a tie goes to the
    first of `PLACES`.

    Args:
        xy: (n_points, 2).
        names: of the points.
    """
    span = np.maximum(np.ptp(xy, axis=0), 1e-12) if len(xy) else np.ones(2)
    points = (xy - xy.min(axis=0, initial=0)) / span  # (n_points, 2), 0..1 but for a shift
    half = np.array([[len(name) * LETTER / 2, LINE / 2] for name in names]).reshape(-1, 2)
    taken = [(point, np.array([0.006, 0.012])) for point in points]
    chosen: list[str] = []
    for point, size in zip(points, half, strict=True):
        centres = {
            place: point + np.array([right * (size[0] + 0.01), up * LINE])
            for place, (right, up) in PLACES.items()
        }
        covered = {
            place: sum(bool((abs(centre - other) < size + room).all()) for other, room in taken)
            for place, centre in centres.items()
        }
        best = min(PLACES, key=lambda place: covered[place])
        taken.append((centres[best], size))
        chosen.append(best)
    return tuple(chosen)


CLUSTER_COLOURS = ("#d95f02", "#1f77c8", "#009688", "#aa78b4", "#a58a1a", "#c2410c", "#5b7083")
"""Readable on white and on black."""
CLUSTER_SHAPES = ("circle", "square", "diamond", "triangle-up", "cross", "star", "hexagon", "x")
ALONE = "#888888"
MOST_LABELS = 80
"""More names would cover each other; hovering still shows them."""


def draw_map(found: ConceptMap) -> go.Figure:
    """The plane with one trace per cluster; grey rings are concepts on their own."""
    places = label_places(found.xy, found.concepts)
    traces = [_points(found, cluster, places) for cluster in np.unique(found.cluster).tolist()]
    grid = {"gridcolor": "rgba(128,128,128,0.2)", "zeroline": False, "fixedrange": True}
    titles = _titles(found)
    layout = go.Layout(
        template="none",
        height=520,
        margin={"l": 56, "r": 16, "t": 16, "b": 48},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"color": INK, "size": 12},
        dragmode=False,
        showlegend=False,
        hoverlabel={"bgcolor": INK, "bordercolor": INK, "font": {"color": "#ffffff", "size": 13}},
        xaxis={**grid, "title": titles[0]},
        yaxis={**grid, "title": titles[1]},
    )
    return go.Figure(traces, layout)


def _titles(found: ConceptMap) -> tuple[str, str]:
    if found.method != "pca":
        return "UMAP 1", "UMAP 2"
    first, second = (f"{part:.0%} of variance" for part in found.explained)
    return f"component 1, {first}", f"component 2, {second}"


def _points(found: ConceptMap, cluster: int, places: Sequence[str]) -> go.Scatter:
    own = np.flatnonzero(found.cluster == cluster)
    names = [escape(found.concepts[i], quote=False) for i in own]
    alone = cluster < 0
    where = "on its own" if alone else f"cluster {cluster + 1}"
    return go.Scatter(
        x=found.xy[own, 0].astype(np.float32),
        y=found.xy[own, 1].astype(np.float32),
        text=names,
        mode="markers+text" if len(found.concepts) <= MOST_LABELS else "markers",
        textposition=[places[int(i)] for i in own],
        marker={
            "size": 10,
            "color": ALONE if alone else CLUSTER_COLOURS[cluster % len(CLUSTER_COLOURS)],
            "symbol": "circle-open" if alone else CLUSTER_SHAPES[cluster % len(CLUSTER_SHAPES)],
        },
        name=where,
        hovertemplate=f"<b>%{{text}}</b><br>{where}<extra></extra>",
    )
