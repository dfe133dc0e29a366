"""What all figures look like: clear ground, quiet words, readable hover labels, one colour bar."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from readout_ui.plots.colours import INK

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
