"""The look of figures without a toolbar that follow the page's width."""

from __future__ import annotations

import plotly.graph_objects as go

from readout_ui.views.colours import INK

_GRID = "rgba(128,128,128,0.2)"


def lay_out(figure: go.Figure, height: int) -> None:
    """Transparent ground, faint grid, legend on top; neither zoom nor drag.

    Args:
        figure: is changed.
        height: in pixels.
    """
    figure.update_layout(
        template="none",
        height=height,
        margin={"l": 12, "r": 16, "t": 44, "b": 48},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"color": "#808080", "size": 12},
        legend={"orientation": "h", "y": 1, "yanchor": "bottom", "x": 0, "xanchor": "left"},
        hoverlabel={"bgcolor": INK, "bordercolor": INK, "font": {"color": "#ffffff"}},
        dragmode=False,
    )
    figure.update_xaxes(gridcolor=_GRID, zeroline=False, fixedrange=True)
    figure.update_yaxes(gridcolor=_GRID, zeroline=False, fixedrange=True, automargin=True)
