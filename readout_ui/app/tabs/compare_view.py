"""What the Compare tab draws from two readings: maps on one scale, the difference, lines."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from html import escape
from typing import NamedTuple

import numpy as np
from gradio.components.plot import PlotData

from readout_ui.app.widgets import plot_data
from readout_ui.inference.compare import (
    Alignment,
    Comparison,
    Side,
    align,
    alignment_words,
    compare,
    order_rows,
)
from readout_ui.inference.reading import FloatArray, Reading
from readout_ui.plots.colours import ColourScale, fit_scale
from readout_ui.plots.curves import MOST_LINES, draw_trajectories
from readout_ui.plots.score_map import ScoreMap, Unit, Window, pack_map, pool_overview, window_at
from readout_ui.plots.token_grid import UNITS

_DIGITS = {"z": 2, "cosine": 3}
LEAD = 3
"""Columns shown before the first one in which two prompts part."""
FIRST_LINES = 3
"""Concepts that get a line at first."""


@dataclass(frozen=True, eq=False)
class Compared:
    """What one session read last; every redraw comes from here."""

    first: Reading
    second: Reading
    names: tuple[str, str]
    """What each side is, in words."""
    best_layers: tuple[int, int]
    """The best layer of each side's run."""
    same_model: bool
    """Whether one model read both."""

    @cached_property
    def alignment(self) -> Alignment:
        """How the tokens of the two belong together."""
        return align(self.first, self.second, same_tokenizer=self.same_model)


@dataclass(frozen=True)
class Look:
    """How two readings are shown."""

    kind: str
    """Unit of the scores."""
    layer: float
    """Layer of A, and of B where one model read both."""
    other_layer: float
    """Layer of B where another model read it."""
    order: str
    """Order of the concepts."""
    lines: list[str]
    """Concepts drawn as lines; empty for those that lead the order."""
    middle: int = 0
    """Which column of a very long text is in the middle of what the page gets."""


class Drawn(NamedTuple):
    """Everything that follows the choices."""

    about: str
    """How the tokens were aligned, and what was left out."""
    heads: tuple[str, str]
    """What stands above each map."""
    maps: tuple[str, str]
    """A and B."""
    difference: str
    """B less A; empty where there is none."""
    lines: PlotData


def draw_comparison(compared: Compared, look: Look) -> Drawn:
    """Both maps, their difference and the lines."""
    found = _compare(compared, look)
    rows = order_rows(found, look.order)
    scale = fit_scale(found.counted(), found.kind)
    sides = (found.first, found.second)
    maps = tuple(_side_map(found, side, rows, scale, look.middle) for side in sides)
    lines = [name for name in look.lines if name in found.concepts] or list(rows[:FIRST_LINES])
    return Drawn(
        _about(found, compared),
        (_head("A", compared.names[0], sides[0]), _head("B", compared.names[1], sides[1])),
        (maps[0], maps[1]),
        _difference_map(found, rows, look.middle),
        plot_data(draw_trajectories(found, lines[:MOST_LINES])),
    )


def first_lines(compared: Compared, look: Look) -> list[str]:
    """The concepts that lead the order, for a session that chose none."""
    found = _compare(compared, look)
    kept = [name for name in look.lines if name in found.concepts]
    return kept or list(order_rows(found, look.order)[:FIRST_LINES])


def _compare(compared: Compared, look: Look) -> Comparison:
    other = look.layer if compared.same_model else look.other_layer
    return compare(
        compared.first,
        compared.second,
        look.kind,
        (int(look.layer), int(other)),
        same_tokenizer=compared.same_model,
        alignment=compared.alignment,
    )


def _about(found: Comparison, compared: Compared) -> str:
    words = alignment_words(found, compared.same_model)
    text = f"<p class='about' data-alignment='{found.alignment}'>{escape(words)}</p>"
    if found.left_out:
        named = escape(", ".join(found.left_out[:8])) + (" …" if len(found.left_out) > 8 else "")
        text += f"<p class='about'>Only one side has: {named}.</p>"
    return text


def _head(letter: str, name: str, side: Side) -> str:
    return f"<p class='side'><b>{letter}</b> {escape(name)} · layer {side.layer}</p>"


def _opens(found: Comparison) -> int | None:
    """Shortly before the first column in which the two part; None where all of them differ."""
    if found.difference is None:
        return None
    apart = ~np.isfinite(found.difference).all(axis=1)  # (n_columns,), on one side only
    parts = np.flatnonzero(apart & (found.first.scored | found.second.scored))
    return max(0, int(parts[0]) - LEAD) if len(parts) else None


def _side_map(
    found: Comparison, side: Side, rows: tuple[str, ...], scale: ColourScale, middle: int
) -> str:
    cells = _rows_of(found, side.scores, rows)
    unit = Unit(found.kind, cells, _DIGITS[found.kind])
    opens = _opens(found)
    return _pack(
        side, rows, (unit,), f"layer {side.layer}", scale, UNITS[found.kind], middle, opens
    )


def _difference_map(found: Comparison, rows: tuple[str, ...], middle: int) -> str:
    """Hovering shows both scores beside their difference."""
    if found.difference is None or not found.n_paired:
        return ""
    cells = _rows_of(found, found.difference, rows)
    scored = found.both_scored
    tokens = tuple(
        a if a == b else f"{a}|{b}" if a and b else a or b
        for a, b in zip(found.first.tokens, found.second.tokens, strict=True)
    )
    side = Side(tokens, found.first.roles, scored, found.difference, found.second.layer)
    digits = _DIGITS[found.kind]
    units = (
        Unit("B − A", cells, digits),
        Unit("A", _rows_of(found, found.first.scores, rows), digits),
        Unit("B", _rows_of(found, found.second.scores, rows), digits),
    )
    scale = fit_scale(cells[:, scored], found.kind)
    return _pack(
        side, rows, units, "B − A", scale, f"difference in {found.kind}", middle, _opens(found)
    )


def _rows_of(found: Comparison, scores: FloatArray, rows: tuple[str, ...]) -> FloatArray:
    """(n_rows, n_columns), rows in their order."""
    cells: FloatArray = scores[:, [found.concepts.index(name) for name in rows]].T
    return cells


def _pack(
    side: Side,
    rows: tuple[str, ...],
    units: tuple[Unit, ...],
    constant: str,
    scale: ColourScale,
    legend: str,
    middle: int,
    opens: int | None,
) -> str:
    window: Window = window_at(middle, len(rows), len(side.tokens))
    stretch = slice(window.start, window.stop)
    overview = pool_overview(units[0].cells, scale, side.scored)
    return pack_map(
        ScoreMap(
            tokens=side.tokens[stretch],
            roles=side.roles[stretch],
            scored=side.scored[stretch],
            rows=rows,
            units=tuple(
                Unit(u.name, np.ascontiguousarray(u.cells[:, stretch]), u.digits) for u in units
            ),
            constant=constant,
            scale=scale,
            legend=legend,
            window=window,
            overview=overview,
            opens=None if opens is None else max(0, opens - window.start),
            clickable=True,
        )
    )
