"""Heatmaps of one text: tokens x concepts at one layer, tokens x layers for one concept.

A `Grid` says what is drawn and where everything lies; Plotly draws it, for notebooks and files.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
import plotly.graph_objects as go

from readout_ui.inference.reading import BoolArray, FloatArray, Reading
from readout_ui.plots.colours import (
    MONOSPACE,
    ROLE_COLOURS,
    ROLE_LETTERS,
    ROLE_NAMES,
    ColourScale,
    colour_bar,
    diverging_scale,
    fit_scale,
    fixed_layout,
)
from readout_ui.texts.words import cut

LONGEST_TICK = 18
"""Characters of a token or name that an axis shows."""
CHARACTER_WIDTH = 7.2
"""Pixels of one character on an axis, monospace at 12 px."""
BAND_HEIGHT = 16
"""Pixels of the role band."""
BAND_GAP = 4
"""Pixels between role band and heatmap."""
FOOT = 84
"""Pixels below the heatmap, for the colour bar."""
UNITS = {
    "z": "z: standard deviations from neutral tokens",
    "cosine": "cosine with the direction, activation centred",
    "raw": "raw dot product; compare along a row only",
}
"""What the colour bar says."""


@dataclass(frozen=True)
class Geometry:
    """Where everything lies, in pixels."""

    cell_width: int
    """One token."""
    row_height: int
    """One concept or layer."""
    left: int
    """Room for row labels."""
    top: int
    """Room for tokens above the figure."""
    n_columns: int
    """Tokens."""
    n_rows: int
    """Concepts or layers."""

    @property
    def plot_height(self) -> int:
        """Role band, gap and rows."""
        return BAND_HEIGHT + BAND_GAP + self.n_rows * self.row_height

    @property
    def height(self) -> int:
        """The whole figure."""
        return self.top + self.plot_height + FOOT

    @property
    def width(self) -> int:
        """The whole figure."""
        return self.left + self.n_columns * self.cell_width + 12


@dataclass(frozen=True, eq=False)
class Grid:
    """One heatmap before it is drawn: rows x tokens in all three units."""

    kind: str
    """The unit that is coloured."""
    tokens: tuple[str, ...]
    """Column labels; equal tokens stay apart."""
    roles: tuple[str, ...]
    """Who says each token."""
    rows: tuple[str, ...]
    """Row labels, top first."""
    constant: str
    """What all cells share: the layer, or the concept."""
    scores: dict[str, FloatArray]
    """For each unit (n_rows, n_tokens)."""
    scored: BoolArray
    """(n_tokens,), which columns count for the colours."""

    @property
    def scale(self) -> ColourScale:
        """Colours for the scored cells."""
        return fit_scale(self.scores[self.kind][:, self.scored], self.kind)

    @property
    def geometry(self) -> Geometry:
        """Sizes for these labels."""
        longest = max((len(cut_label(token)) for token in self.tokens), default=1)
        widest = max((len(cut_label(row)) for row in self.rows), default=1)
        n_columns, n_rows = len(self.tokens), len(self.rows)
        return Geometry(
            cell_width=int(np.clip(960 // max(1, n_columns), 22, 40)),
            row_height=24 if n_rows <= 24 else 18,
            left=int(widest * CHARACTER_WIDTH) + 18,
            top=int(longest * CHARACTER_WIDTH) + 14,
            n_columns=n_columns,
            n_rows=n_rows,
        )


def concept_grid(readout: Reading, layer: int, kind: str) -> Grid:
    """Tokens x concepts at one layer, concepts in the order of `readout`."""
    index = readout.layer_index(layer)
    scores = {name: readout.scores(name)[:, index, :].T for name in UNITS}
    return _grid(readout, kind, readout.concepts, f"layer {layer}", scores)


def layer_grid(readout: Reading, concept: str, kind: str) -> Grid:
    """Tokens x layers for one concept, the last layer on top."""
    index = readout.concept_index(concept)
    scores = {name: readout.scores(name)[:, ::-1, index].T for name in UNITS}
    rows = [f"layer {layer}" for layer in reversed(readout.layers)]
    return _grid(readout, kind, rows, concept, scores)


def _grid(
    readout: Reading,
    kind: str,
    rows: Sequence[str],
    constant: str,
    scores: dict[str, FloatArray],
) -> Grid:
    readout.scores(kind)  # refuses an unknown kind
    return Grid(
        kind=kind,
        tokens=readout.tokens,
        roles=readout.roles,
        rows=tuple(rows),
        constant=constant,
        scores={name: np.ascontiguousarray(cells, np.float32) for name, cells in scores.items()},
        scored=readout.scored,
    )


def cut_label(label: str) -> str:
    """A label as short as an axis shows it."""
    return cut(label, LONGEST_TICK)


_OTHERS = {"z": ("cosine", "raw"), "cosine": ("z", "raw"), "raw": ("z", "cosine")}
_FORMATS = {"z": ".2f", "cosine": ".3f", "raw": ".3f"}


def draw_heatmap(grid: Grid) -> go.Figure:
    """The figure: tokens above, role band, rows, colour bar below.

    Columns whose token does not count are faint; their colours are those of the same scale.
    Axes are bare: Plotly lays out the page anew for every label, seconds for 512 tokens. They hold
    the labels for hovering and for pictures.
    """
    geometry = grid.geometry
    layout = fixed_layout(
        MONOSPACE,
        width=geometry.width,
        height=geometry.height,
        margin={"l": geometry.left, "r": 12, "t": geometry.top, "b": FOOT, "pad": 0},
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
        colorbar=colour_bar(UNITS[grid.kind], 300),
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
