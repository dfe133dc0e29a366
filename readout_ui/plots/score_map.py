"""A heatmap of any length as bytes for the page, which paints, moves and zooms it by itself.

4,096 tokens x 200 concepts are 3.5 MB: the shown score at half precision, what follows from it row
by row as two numbers per row, the rest in 254 steps per row, and a pooled overview of the text.

A readout too long to draw cell by cell: pooled over its whole length, and one stretch of it.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from readout_ui.inference.reading import BoolArray, FloatArray
from readout_ui.plots.colours import (
    ABOVE,
    BELOW,
    ROLE_COLOURS,
    ROLE_LETTERS,
    ROLE_NAMES,
    STRIP_STRENGTH,
    ColourScale,
)
from readout_ui.plots.token_grid import cut_label

MAX_CELLS = 1_200_000
"""Cells of one stretch: 4,096 tokens of 200 concepts and more, under 4 MB for the browser."""
MAX_TOKENS = 16_000
"""Tokens of one stretch; browsers paint no picture wider than 16,384 pixels."""

IntArray = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Window:
    """A stretch of tokens of a longer text."""

    start: int
    """First token."""
    stop: int
    """Behind the last token."""
    total: int
    """Tokens of the whole text."""

    def __post_init__(self) -> None:
        if not 0 <= self.start < self.stop <= self.total:
            raise ValueError(f"no tokens {self.start}..{self.stop} of {self.total}")

    @property
    def whole(self) -> bool:
        """Whether it is the whole text."""
        return self.stop - self.start == self.total


def window_at(middle: int, n_rows: int, n_tokens: int) -> Window:
    """The longest stretch that the browser takes, `middle` in its middle where there is room.

    Args:
        middle: a token; one outside the text counts as its first or last.
        n_rows: rows of the heatmap, which share the cells.
        n_tokens: tokens of the whole text, at least 1.
    """
    length = min(n_tokens, MAX_TOKENS, max(1, MAX_CELLS // max(1, n_rows)))
    start = int(np.clip(middle - length // 2, 0, n_tokens - length))
    return Window(start, start + length, n_tokens)


def pool_peaks(cells: FloatArray, n_rows: int, n_columns: int, counted: BoolArray) -> FloatArray:
    """The score farthest from zero of every bin, with its sign; 0 where nothing counts.

    Bins are as equal as can be and never empty; a mean would hide the single token that matters.

    Args:
        cells: (n, n_tokens), zero in the middle of the colours; NaN counts for nothing.
        n_rows: most rows that come back.
        n_columns: most columns that come back.
        counted: (n_tokens,), which columns count.

    Returns:
        (min(n, n_rows), min(n_tokens, n_columns)) float32.
    """
    if cells.size == 0:
        return np.zeros((min(cells.shape[0], n_rows), min(cells.shape[1], n_columns)), np.float32)
    clean = np.where(counted, np.nan_to_num(cells), 0)
    for axis, n_bins in ((1, n_columns), (0, n_rows)):
        starts = bin_starts(clean.shape[axis], n_bins)
        high = np.maximum.reduceat(clean, starts, axis=axis)
        low = np.minimum.reduceat(clean, starts, axis=axis)
        clean = np.where(high >= -low, high, low)
    return clean.astype(np.float32)


def bin_starts(n_items: int, n_bins: int) -> IntArray:
    """Where each of at most `n_bins` equal bins begins, (min(n_items, n_bins),)."""
    count = min(n_items, max(1, n_bins))
    return np.arange(count, dtype=np.intp) * n_items // count


OVERVIEW_COLUMNS = 1024
"""Bins of the overview; no screen column shows more."""
OVERVIEW_ROWS = 96
"""Rows of the overview; more rows are pooled."""
STEPS = 254
"""Steps of a score that is sent in one byte; 0 stands for none."""


@dataclass(frozen=True, eq=False)
class Unit:
    """One score of all cells."""

    name: str
    """What hovering calls it."""
    cells: FloatArray
    """(n_rows, n_tokens); NaN where a token has no score."""
    digits: int
    """Decimals shown."""


@dataclass(frozen=True, eq=False)
class ScoreMap:
    """One heatmap for the page."""

    tokens: tuple[str, ...]
    """Of the window."""
    roles: tuple[str, ...]
    """Who says each token."""
    scored: BoolArray
    """(n_tokens,), which columns count for the colours."""
    rows: tuple[str, ...]
    """Row labels, top first."""
    units: tuple[Unit, ...]
    """The first is coloured; the others are shown when hovering."""
    constant: str
    """What all cells share, e.g. "layer 16"."""
    scale: ColourScale
    legend: str
    """What the colours mean."""
    window: Window
    """Which part of the text the tokens are."""
    overview: FloatArray
    """The coloured score of the whole text, less the middle of the scale, pooled."""
    strip: str = ""
    """What colours the text, the last row of every unit and without label; empty for no text."""
    opens: int | None = None
    """Column of the window at the left edge at first; None for the first that is scored."""
    clickable: bool = False
    """Whether row labels choose what colours the text."""

    def __post_init__(self) -> None:
        shape = (len(self.rows) + bool(self.strip), len(self.tokens))
        for unit in self.units:
            if unit.cells.shape != shape:
                raise ValueError(f"{unit.name} is {unit.cells.shape}, expected {shape}")
        if not len(self.tokens) == len(self.roles) == len(self.scored):
            raise ValueError("tokens, roles and scored differ in length")
        if len(self.tokens) != self.window.stop - self.window.start:
            raise ValueError(f"{len(self.tokens)} tokens in {self.window}")


def pool_overview(cells: FloatArray, scale: ColourScale, counted: BoolArray) -> FloatArray:
    """`ScoreMap.overview` of the coloured score of a whole text, (n_rows, n_tokens)."""
    centred = cells - np.float32(scale.middle)
    return pool_peaks(centred, OVERVIEW_ROWS, OVERVIEW_COLUMNS, counted)


def pack_map(drawn: ScoreMap) -> str:
    """Everything the page needs, base64: length of the header, the header as JSON, the cells."""
    blocks: list[bytes] = []
    units = []
    for index, unit in enumerate(drawn.units):
        units.append(_pack_unit(unit, drawn.units[:index], drawn.scored, blocks))
    shares = np.clip(drawn.overview / drawn.scale.reach, -1, 1)
    blocks.append(np.rint(shares * 127 + 128).astype(np.uint8).tobytes())
    header = json.dumps(_header(drawn, units), ensure_ascii=False).encode("utf-8", "replace")
    raw = b"".join([len(header).to_bytes(4, "little"), header, *blocks])
    return base64.b64encode(raw).decode("ascii")


def _header(drawn: ScoreMap, units: list[dict[str, Any]]) -> dict[str, Any]:
    names = list(ROLE_NAMES)
    first_scored = int(drawn.scored.argmax()) if drawn.scored.size else 0
    return {
        "tokens": drawn.tokens,
        "roles": [names.index(role) for role in drawn.roles],
        "roleNames": list(ROLE_NAMES.values()),
        "roleKeys": names,
        "roleLetters": [ROLE_LETTERS[name] for name in names],
        "roleColours": [ROLE_COLOURS[name] for name in names],
        "scored": drawn.scored.astype(int).tolist(),
        "rows": drawn.rows,
        "labels": [cut_label(row) for row in drawn.rows],
        "units": units,
        "constant": drawn.constant,
        "middle": drawn.scale.middle,
        "reach": drawn.scale.reach,
        "legend": drawn.legend,
        "above": ABOVE,
        "below": BELOW,
        "strength": STRIP_STRENGTH,
        "window": [drawn.window.start, drawn.window.stop, drawn.window.total],
        "opens": first_scored if drawn.opens is None else drawn.opens,
        "overview": list(drawn.overview.shape),
        "strip": drawn.strip,
        "clickable": drawn.clickable,
    }


def _pack_unit(
    unit: Unit, before: tuple[Unit, ...], scored: BoolArray, blocks: list[bytes]
) -> dict[str, Any]:
    """How one unit is sent; its cells, if any, go to `blocks`."""
    about: dict[str, Any] = {"name": unit.name, "digits": unit.digits}
    if not before:
        offset = _row_middles(unit.cells, scored)
        limit = np.finfo(np.float16).max
        centred = np.clip(unit.cells - offset[:, None], -limit, limit)
        blocks.append(centred.astype("<f2").tobytes())
        return {**about, "kind": "half", "offset": offset.tolist()}
    for index, other in enumerate(before):
        line = row_lines(other.cells, unit.cells)
        if line is not None:
            gain, shift = line
            return {
                **about,
                "kind": "line",
                "of": index,
                "gain": gain.tolist(),
                "shift": shift.tolist(),
            }
    low, step = _row_steps(unit.cells, scored)
    codes = np.rint((unit.cells - low[:, None]) / step[:, None]) + 1
    sent = np.where(np.isfinite(codes) & (codes >= 1) & (codes <= STEPS), codes, 0)
    blocks.append(sent.astype(np.uint8).tobytes())
    return {**about, "kind": "steps", "low": low.tolist(), "step": step.tolist()}


def row_lines(
    given: FloatArray, wanted: FloatArray
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]] | None:
    """Gain and shift of each row with wanted = gain x given + shift, None where one is no line.

    Raw scores and z-scores of one concept and layer are such a pair.
    """
    x, y = given.astype(np.float64), wanted.astype(np.float64)
    if not (np.isfinite(x).all() and np.isfinite(y).all()) or x.size == 0:
        return None
    rows = np.arange(len(x))
    high, low = x.argmax(axis=1), x.argmin(axis=1)
    span = x[rows, high] - x[rows, low]
    gain = (y[rows, high] - y[rows, low]) / np.where(span > 0, span, 1)
    shift = y[rows, low] - gain * x[rows, low]
    error = np.abs(gain[:, None] * x + shift[:, None] - y)
    allowed = 1e-4 * (np.abs(y) + np.ptp(y, axis=1, keepdims=True)) + 1e-6
    return (gain, shift) if (error <= allowed).all() else None


def _row_middles(cells: FloatArray, scored: BoolArray) -> FloatArray:
    """A number near the scores of each row, so that little is left to round."""
    low, high = _row_ends(cells, scored)
    return ((low + high) / 2).astype(np.float32)


def _row_steps(cells: FloatArray, scored: BoolArray) -> tuple[FloatArray, FloatArray]:
    low, high = _row_ends(cells, scored)
    step = (high - low) / (STEPS - 1)
    return low, np.where(step > 0, step, 1).astype(np.float32)


def _row_ends(cells: FloatArray, scored: BoolArray) -> tuple[FloatArray, FloatArray]:
    """Lowest and highest score of each row among the columns that count, (n_rows,) each."""
    counted = np.isfinite(cells) & (scored if scored.any() else True)
    low = np.where(counted, cells, np.inf).min(axis=1, initial=np.inf)
    high = np.where(counted, cells, -np.inf).max(axis=1, initial=-np.inf)
    known = np.isfinite(low)
    return (
        np.where(known, low, 0).astype(np.float32),
        np.where(known, high, 0).astype(np.float32),
    )
