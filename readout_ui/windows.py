"""A readout too long to draw cell by cell: pooled over its whole length, and one stretch of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from readout_ui.readout import BoolArray, FloatArray

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
