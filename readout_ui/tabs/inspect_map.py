"""A long reading as a score map."""

from __future__ import annotations

import numpy as np

from readout_ui.readout import FloatArray, Readout
from readout_ui.views.grids import UNITS, Grid
from readout_ui.views.score_map import ScoreMap, Unit, pack_map, pool_overview
from readout_ui.windows import window_at

LONGEST = 512
"""Tokens that are drawn as one figure; a longer text becomes a map."""
_DIGITS = {"z": 2, "cosine": 3, "raw": 3}


def draw_map(grid: Grid, text: Readout, middle: int, *, clickable: bool) -> str:
    """The packed map of a heatmap.

    Args:
        grid: the heatmap of the whole text.
        text: the same tokens at the one layer and concept that colour the text.
        middle: token in the middle of the stretch that is sent, should the whole be too long.
        clickable: whether row labels choose what colours the text.
    """
    window = window_at(middle, len(grid.rows) + 1, len(grid.tokens))
    stretch = slice(window.start, window.stop)
    units = (grid.kind, *(name for name in UNITS if name != grid.kind))
    return pack_map(
        ScoreMap(
            tokens=grid.tokens[stretch],
            roles=grid.roles[stretch],
            scored=grid.scored[stretch],
            rows=grid.rows,
            units=tuple(Unit(n, _cells(grid, text, n)[:, stretch], _DIGITS[n]) for n in units),
            constant=grid.constant,
            scale=grid.scale,
            legend=UNITS[grid.kind],
            window=window,
            overview=pool_overview(grid.scores[grid.kind], grid.scale, grid.scored),
            strip=f"{text.concepts[0]} · layer {text.layers[0]}",
            clickable=clickable,
        )
    )


def _cells(grid: Grid, text: Readout, unit: str) -> FloatArray:
    """The heatmap's rows and, below them, the one that colours the text."""
    stacked: FloatArray = np.vstack([grid.scores[unit], text.scores(unit)[:, 0, 0]])
    return stacked
