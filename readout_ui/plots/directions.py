"""Figures of a run's directions: cosines under their tree, held-out scores, and a map.

Cells that do not differ from chance carry a grey dot. It is part of a raster, five by five per
cell, because thousands of separate markers would keep a browser busy for seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np
import plotly.graph_objects as go

from readout_ui.evaluation.results import (
    Bools,
    ConceptMap,
    CosineMatrix,
    Floats,
    HeldOutMatrix,
    Indices,
)
from readout_ui.plots.colours import (
    FAINT,
    MONOSPACE,
    colour_bar,
    diverging_scale,
    fit_scale,
    fixed_layout,
    layout,
    rising_scale,
)
from readout_ui.plots.token_grid import CHARACTER_WIDTH, cut_label

TREE_HEIGHT = 90
"""Pixels of the tree over the cosines."""
FOOT = 76
"""Pixels below the cells, for the colour bar."""
MOST_FINE = 80
"""Concepts up to which a dot is a fifth of its cell; smaller cells need a third."""
DOT = "rgba(128,128,128,0.9)"
BRANCH = "#888888"
CHANCE_WORDS = "not different from chance"


def draw_cosines(matrix: CosineMatrix) -> go.Figure:
    """The cosine matrix in the order of its tree, which stands on top."""
    order = matrix.order
    cells = [a[np.ix_(order, order)] for a in (matrix.cosine, matrix.low, matrix.high)]
    names = [matrix.concepts[i] for i in order]
    scale = fit_scale(matrix.cosine[~np.eye(len(order), dtype=bool)], "cosine")
    differs = matrix.differs[np.ix_(order, order)]
    hover = "<b>%{y}</b> and <b>%{x}</b><br>cosine %{z:.2f}, 95 % interval "
    traces = _cells(names, cells, differs, (scale.low, scale.high), hover, "cosine")
    figure = _figure(names, names, traces, top=TREE_HEIGHT)
    return _plant(figure, matrix.linkage, len(names))


def draw_responses(matrix: HeldOutMatrix, order: Indices | None = None) -> go.Figure:
    """Mean standardized scores, rows: whose held-out texts, columns: whose direction.

    Args:
        matrix: what is drawn.
        order: of both axes, for instance that of the cosines; None keeps the concepts' own.
    """
    ranks = np.arange(len(matrix.concepts)) if order is None else order
    cells = [a[np.ix_(ranks, ranks)] for a in (matrix.mean, matrix.low, matrix.high)]
    names = [matrix.concepts[i] for i in ranks]
    scale = fit_scale(matrix.mean, "z")
    hover = "texts of <b>%{y}</b> on <b>%{x}</b><br>mean %{z:.2f} sd, 95 % interval "
    differs = matrix.differs[np.ix_(ranks, ranks)]
    unit = "mean score, standard deviations of the column"
    traces = _cells(names, cells, differs, (scale.low, scale.high), hover, unit)
    figure = _figure(names, names, traces, top=0)
    figure.update_yaxes(title={"text": "descriptions of", "standoff": 4})
    return figure.update_xaxes(title={"text": "direction of", "standoff": 4})


def _cells(
    names: Sequence[str],
    cells: Sequence[Floats],
    differs: Bools,
    reach: tuple[float, float],
    hover: str,
    unit: str,
) -> list[go.Heatmap]:
    """Two heatmaps, because only those cells that are like chance say so, and the dots."""
    values, low, high = (part.astype(np.float32) for part in cells)
    ends = np.stack([low, high], axis=-1)  # (n, n, 2)
    hover += "%{customdata[0]:.2f} to %{customdata[1]:.2f}"
    places = np.arange(len(names))
    shared: dict[str, Any] = {
        "x": places,
        "y": places,
        "customdata": ends,
        "zmin": reach[0],
        "zmax": reach[1],
        "colorscale": diverging_scale(),
        "hoverongaps": False,
    }
    return [
        go.Heatmap(
            z=np.where(differs, values, np.float32(np.nan)),
            hovertemplate=f"{hover}<extra></extra>",
            colorbar=colour_bar(f"{unit}; dot: like chance", 240),
            **shared,
        ),
        go.Heatmap(
            z=np.where(differs, np.float32(np.nan), values),
            hovertemplate=f"{hover}<br>{CHANCE_WORDS}<extra></extra>",
            showscale=False,
            **shared,
        ),
        _dots(~differs & np.isfinite(values)),
    ]


def _dots(marked: Bools) -> go.Heatmap:
    """A dot in the middle of every marked cell."""
    parts = 5 if len(marked) <= MOST_FINE else 3
    raster = np.zeros((parts * len(marked), parts * len(marked)), dtype=np.uint8)
    raster[parts // 2 :: parts, parts // 2 :: parts] = marked
    places = ((np.arange(len(raster)) - parts // 2) / parts).astype(np.float32)
    return go.Heatmap(
        z=raster,
        x=places,
        y=places,
        zmin=0,
        zmax=1,
        colorscale=[[0, "rgba(128,128,128,0)"], [1, DOT]],
        showscale=False,
        hoverinfo="skip",
    )


def _figure(
    rows: Sequence[str], columns: Sequence[str], traces: Sequence[go.Heatmap], top: int
) -> go.Figure:
    """A square of cells with names on the left and above, room for a tree between."""
    cell = 24 if len(rows) <= 40 else 16 if len(rows) <= 80 else 11
    names = int(max((len(cut_label(name)) for name in rows), default=1) * CHARACTER_WIDTH)
    side, left, over = cell * len(rows), names + 34, names + 34
    height = side + top
    layout = fixed_layout(
        MONOSPACE,
        width=left + max(side, 260) + 16,
        height=over + height + FOOT,
        margin={"l": left, "r": 16 + max(0, 260 - side), "t": over, "b": FOOT, "pad": 0},
        showlegend=False,
        xaxis={**_axis(columns), "side": "top", "tickangle": -90, "range": [-0.5, len(rows) - 0.5]},
        yaxis={
            **_axis(rows),
            "side": "left",
            "range": [len(rows) - 0.5, -0.5],
            "domain": [0, side / height],
        },
    )
    return go.Figure(list(traces), layout)


def _axis(names: Sequence[str]) -> dict[str, Any]:
    return {
        "tickmode": "array",
        "tickvals": np.arange(len(names)),
        "ticktext": [escape(cut_label(name), quote=False) for name in names],
        "tickfont": {"size": 12 if len(names) <= 80 else 10},
        "showgrid": False,
        "zeroline": False,
        "ticks": "",
        "fixedrange": True,
        "automargin": False,
    }


def _plant(figure: go.Figure, tree: Floats, n_leaves: int) -> go.Figure:
    """Draw the tree between the cells and the names above."""
    side = figure.layout.yaxis.domain[1]
    figure.update_layout(
        yaxis2={"domain": [side, 1], "visible": False, "fixedrange": True, "rangemode": "tozero"},
        xaxis={"anchor": "y2"},
    )
    if n_leaves < 2:
        return figure
    from scipy.cluster.hierarchy import dendrogram  # half a second to import

    drawn = dendrogram(tree, no_plot=True)
    gap = np.full((len(drawn["icoord"]), 1), np.nan)
    # scipy puts leaves at 5, 15, 25 and so on.
    x = np.hstack([(np.array(drawn["icoord"]) - 5) / 10, gap]).ravel()
    y = np.hstack([np.array(drawn["dcoord"]), gap]).ravel()
    return figure.add_trace(
        go.Scatter(
            x=x.astype(np.float32),
            y=y.astype(np.float32),
            mode="lines",
            line={"color": BRANCH, "width": 1},
            hoverinfo="skip",
            yaxis="y2",
        )
    )


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
    grid = {"gridcolor": FAINT, "zeroline": False, "fixedrange": True}
    titles = _titles(found)
    layout = fixed_layout(
        height=520,
        margin={"l": 56, "r": 16, "t": 16, "b": 48},
        showlegend=False,
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
