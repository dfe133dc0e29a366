"""A heatmap before it is drawn: rows x tokens in all three units, and where everything lies."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from readout_ui.readout import BoolArray, FloatArray, Readout
from readout_ui.views.colours import ColourScale, fit_scale

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
    """Where everything lies, in pixels, so that labels beside the figure meet its rows."""

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
    def first_row(self) -> int:
        """Pixels from the top edge to the first row."""
        return self.top + BAND_HEIGHT + BAND_GAP

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


def concept_grid(readout: Readout, layer: int, kind: str) -> Grid:
    """Tokens x concepts at one layer, concepts in the order of `readout`."""
    index = readout.layer_index(layer)
    scores = {name: readout.scores(name)[:, index, :].T for name in UNITS}
    return _grid(readout, kind, readout.concepts, f"layer {layer}", scores)


def layer_grid(readout: Readout, concept: str, kind: str) -> Grid:
    """Tokens x layers for one concept, the last layer on top."""
    index = readout.concept_index(concept)
    scores = {name: readout.scores(name)[:, ::-1, index].T for name in UNITS}
    rows = [f"layer {layer}" for layer in reversed(readout.layers)]
    return _grid(readout, kind, rows, concept, scores)


def _grid(
    readout: Readout,
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
    return label if len(label) <= LONGEST_TICK else label[: LONGEST_TICK - 1] + "…"
