"""Scores of chosen concepts along the tokens of two prompts, as lines."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np
import plotly.graph_objects as go

from readout_ui.inference.compare import Comparison, Side, neutral_band
from readout_ui.inference.reading import FloatArray
from readout_ui.plots.look import FAINT, GREY, MONOSPACE, layout
from readout_ui.plots.score_map import bin_starts, pool_peaks
from readout_ui.plots.token_grid import UNITS, cut_label

LINE_COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00")
"""Okabe and Ito's colours, told apart by colour-blind eyes on white and on black."""
MOST_LINES = len(LINE_COLOURS)
LONGEST = 1500
"""Columns that are drawn one by one; more are pooled to their peaks."""
NAMED = 90
"""Columns up to which every token is named below its place."""


def draw_trajectories(comparison: Comparison, concepts: Sequence[str]) -> go.Figure:
    """One colour per concept, A solid and B dashed, over the band in which a score is neutral.

    Tokens that do not count (the first, and the template's) leave a gap.
    """
    figure = go.Figure()
    sides = (("A", "solid", comparison.first), ("B", "dash", comparison.second))
    for concept, colour in zip(concepts, LINE_COLOURS, strict=False):
        column = comparison.concepts.index(concept)
        for name, dash, side in sides:
            figure.add_trace(_line(side, column, f"{concept}, {name}", colour, dash))
    low, high = neutral_band(comparison)
    figure.add_hrect(
        y0=low, y1=high, line_width=0, fillcolor="rgba(128,128,128,0.16)", layer="below"
    )
    figure.update_layout(
        **layout(
            height=380,
            margin={"l": 56, "r": 12, "t": 12, "b": 110},
            font={"color": GREY, "size": 12},
            hovermode="closest",
            legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        )
    )
    figure.update_xaxes(
        gridcolor=FAINT,
        zeroline=False,
        showgrid=False,
        range=_counted(comparison),
        **_ticks(comparison),
    )
    figure.update_yaxes(
        gridcolor=FAINT, zerolinecolor="rgba(128,128,128,0.6)", title_text=_title(comparison)
    )
    return figure


def _counted(comparison: Comparison) -> list[float] | None:
    """From the first token that counts to the last; the frame round them is one drag away."""
    scored = np.zeros(max(len(side.scored) for side in _sides(comparison)), bool)
    for side in _sides(comparison):
        scored[: len(side.scored)] |= side.scored
    places = np.flatnonzero(scored)
    return [float(places[0]) + 0.5, float(places[-1]) + 1.5] if len(places) else None


def _sides(comparison: Comparison) -> tuple[Side, Side]:
    return comparison.first, comparison.second


def _title(comparison: Comparison) -> str:
    return "z" if comparison.kind == "z" else UNITS[comparison.kind].split(" ")[0]


def _line(side: Side, column: int, name: str, colour: str, dash: str) -> go.Scatter:
    counted = np.where(side.scored, side.scores[:, column], np.nan).astype(np.float32)
    places, scores = _pooled(counted)
    return go.Scatter(
        x=places + 1,
        y=scores,
        text=[escape(cut_label(side.tokens[place])) for place in places],
        name=escape(name),
        mode="lines" if len(places) > NAMED else "lines+markers",
        line={"color": colour, "dash": dash, "width": 2},
        marker={"size": 5},
        connectgaps=False,
        hovertemplate="<b>%{text}</b><br>%{fullData.name}<br>%{y:.3f}<extra></extra>",
    )


def _pooled(scores: FloatArray) -> tuple[np.ndarray[tuple[int], np.dtype[np.intp]], FloatArray]:
    """Places and scores, (n,) each; beyond LONGEST the strongest of every bin."""
    if len(scores) <= LONGEST:
        return np.arange(len(scores)), scores
    pooled = pool_peaks(scores[None], 1, LONGEST, np.isfinite(scores))[0]
    return bin_starts(len(scores), LONGEST), pooled


def _ticks(comparison: Comparison) -> dict[str, object]:
    first, second = comparison.first.tokens, comparison.second.tokens
    if comparison.difference is None or len(first) > NAMED:
        return {"title_text": "token"}
    labels = [a or b for a, b in zip(first, second, strict=True)]
    return {
        "tickmode": "array",
        "tickvals": np.arange(len(labels)) + 1,
        "ticktext": [escape(cut_label(label)) for label in labels],
        "tickangle": -90,
        "tickfont": {"family": MONOSPACE, "size": 11},
    }
