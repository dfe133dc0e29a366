"""Dose curves: cosine over the value in a text's slot, a line per concept."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import plotly.graph_objects as go

from readout_ui.dose import DoseCurves
from readout_ui.views.plain_layout import lay_out

ALPHA = 0.05
"""Corrected p from which a correlation is marked as like chance."""

WIDE = 20
"""Ratio of the highest to the lowest dose from which the axis is logarithmic."""
_DASHES = ("solid", "dash", "dot", "dashdot")
# Okabe and Ito's colours, without black and yellow, which one of the two modes would swallow.
_LINES = ("#e69f00", "#56b4e9", "#009e73", "#0072b2", "#d55e00", "#cc79a7")


def draw_dose(curves: DoseCurves, concepts: Sequence[str] = ()) -> go.Figure:
    """Cosine over dose, one line per concept; by default the six that follow the dose best."""
    shown = [name for name in concepts if name in curves.concepts] or curves.steepest(6)
    figure = go.Figure([_dose_line(curves, name, place) for place, name in enumerate(shown)])
    lay_out(figure, height=380)
    figure.update_xaxes(
        title="{x}",
        tickvals=curves.doses.tolist(),
        ticktext=[escape(value) for value in curves.values],
    )
    if curves.doses[0] > 0 and curves.doses[-1] / curves.doses[0] >= WIDE:
        figure.update_xaxes(type="log")
    figure.update_yaxes(title="cosine")
    return figure


def _dose_line(curves: DoseCurves, concept: str, place: int) -> go.Scatter:
    column = curves.concepts.index(concept)
    doubt = "" if curves.p[column] < ALPHA else ", n.s."
    return go.Scatter(
        x=curves.doses,
        y=curves.scores[:, column],
        mode="lines+markers",
        line={"dash": _DASHES[place // 4 % 4], "width": 2, "color": _LINES[place % len(_LINES)]},
        name=f"{escape(concept)} (ρ {curves.rho[column]:+.2f}{doubt})",
        hovertemplate="%{x}: %{y:.3f}<extra>%{fullData.name}</extra>",
    )
