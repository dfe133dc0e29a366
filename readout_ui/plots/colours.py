"""Colours that keep their meaning for colour-blind eyes, on paper and in dark mode.

Sign is hue (orange above, blue below), magnitude is opacity over whatever lies behind, so one
figure fits both modes and zero vanishes in either. All figures have a clear ground, quiet words,
readable hover labels and one kind of colour bar.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from readout_ui.evaluation.results import cluster
from readout_ui.inference.reading import LESS, MORE, FloatArray

ABOVE = MORE
"""Orange, RGB: more of the concept than usual."""
BELOW = LESS
"""Blue, RGB: less of the concept than usual."""
ROBUST_QUANTILE = 0.99
"""Share of the cells that the colour scale spans; the rest are drawn at full strength."""
STRIP_STRENGTH = 0.75
"""Opacity of the strongest colour behind text, which stays readable on it."""

INK = "#1f2328"
"""Text on white paper, for pictures; the page overrides it by its own text colour."""
ROLE_NAMES = {
    "template": "template",
    "system": "system",
    "user": "user",
    "assistant": "assistant",
}
"""How each role is called, in the order of legends."""
ROLE_LETTERS = {"template": "T", "system": "S", "user": "U", "assistant": "A"}
"""What stands in the role band, so that it does not hang on colour."""
ROLE_COLOURS = {
    "template": "rgba(128,128,128,0.25)",
    "system": "rgba(170,120,180,0.45)",
    "user": "rgba(0,150,136,0.40)",
    "assistant": "rgba(200,170,40,0.45)",
}
"""Background of the role band."""

FloatCells = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True)
class ColourScale:
    """Which scores get which colour: `middle` is no colour, `middle ± reach` full colour."""

    middle: float
    """The score without colour."""
    reach: float
    """Distance from the middle to full colour, above 0."""

    def __post_init__(self) -> None:
        if not (np.isfinite(self.middle) and np.isfinite(self.reach) and self.reach > 0):
            raise ValueError(f"no colour scale from {self.middle} ± {self.reach}")

    @property
    def low(self) -> float:
        """The score of full blue."""
        return self.middle - self.reach

    @property
    def high(self) -> float:
        """The score of full orange."""
        return self.middle + self.reach

    def css(self, score: float, strength: float = 1.0) -> str:
        """The colour of one score for CSS, at most `strength` opaque."""
        share = float(np.clip((score - self.middle) / self.reach, -1, 1))
        return _rgba(ABOVE if share >= 0 else BELOW, abs(share) * strength)


def fit_scale(cells: FloatCells, kind: str) -> ColourScale:
    """The scale for the cells that count (any shape; leave out the first and template tokens).

    z and cosine have a natural zero and are symmetric about it. Raw dot products have none: each
    concept has its own offset, so they are symmetric about their median.
    """
    finite = cells[np.isfinite(cells)]
    if finite.size == 0:
        return ColourScale(0.0, 1.0)
    middle = float(np.median(finite)) if kind == "raw" else 0.0
    reach = float(np.quantile(np.abs(finite - middle), ROBUST_QUANTILE))
    return ColourScale(middle, reach if reach > 0 else 1.0)


def diverging_scale() -> list[list[Any]]:
    """Plotly colour scale from blue over nothing to orange."""
    return [
        [0.0, _rgba(BELOW, 1.0)],
        [0.5, _rgba(BELOW, 0.0)],
        [0.5, _rgba(ABOVE, 0.0)],
        [1.0, _rgba(ABOVE, 1.0)],
    ]


def rising_scale() -> list[list[Any]]:
    """Plotly colour scale from nothing to orange, for what has no sign."""
    return [[0.0, _rgba(ABOVE, 0.0)], [1.0, _rgba(ABOVE, 1.0)]]


def _rgba(colour: tuple[int, int, int], opacity: float) -> str:
    return f"rgba({colour[0]},{colour[1]},{colour[2]},{opacity:.3f})"


CLEAR = "rgba(0,0,0,0)"
GREY = "#808080"
FAINT = "rgba(128,128,128,0.2)"
"""Grid lines, on white and on black."""
MONOSPACE = "ui-monospace, Menlo, Consolas, monospace"
HOVER = {"bgcolor": INK, "bordercolor": INK, "font": {"color": "#ffffff", "size": 13}}
_BAR = {
    "orientation": "h",
    "thickness": 10,
    "lenmode": "pixels",
    "x": 0,
    "xanchor": "left",
    "y": 0,
    "yanchor": "top",
    "ypad": 8,
    "xpad": 0,
    "outlinewidth": 0,
    "nticks": 5,
}


def layout(**rest: Any) -> dict[str, Any]:
    """Settings of a figure that takes the page's colours; `rest` is added to them."""
    return {"paper_bgcolor": CLEAR, "plot_bgcolor": CLEAR, "font_color": GREY, **rest}


def fixed_layout(family: str = "", **rest: Any) -> dict[str, Any]:
    """Settings of a figure of fixed size that is not moved: dark words, no template.

    Args:
        family: of the letters, e.g. MONOSPACE; empty for the page's.
        rest: added to the settings.
    """
    return {
        "template": "none",
        "paper_bgcolor": CLEAR,
        "plot_bgcolor": CLEAR,
        "font": {"color": INK, "size": 12, **({"family": family} if family else {})},
        "dragmode": False,
        "hoverlabel": HOVER,
        **rest,
    }


def colour_bar(title: str, length: int) -> dict[str, Any]:
    """A flat bar of so many pixels below the cells, its title under it."""
    text = {"text": title, "side": "bottom", "font": {"size": 11}}
    return {**_BAR, "len": length, "title": text}


def intervals(
    values: Sequence[float], low: Sequence[float], high: Sequence[float], **line: Any
) -> dict[str, Any]:
    """Error bars from `low` to `high` around the values; `line` is their colour and thickness."""
    return {
        "type": "data",
        "symmetric": False,
        "array": [end - value for end, value in zip(high, values, strict=True)],
        "arrayminus": [value - end for end, value in zip(low, values, strict=True)],
        "width": 0,
        **line,
    }


def cluster_order(similarity: FloatArray) -> npt.NDArray[np.intp]:
    """Leaves of an average-linkage tree over 1 - cosine, neighbours as alike as the tree allows.

    Args:
        similarity: cosine between directions, (n_concepts, n_concepts).
    """
    if len(similarity) < 3:
        return np.arange(len(similarity))
    return cluster(similarity)[0]
