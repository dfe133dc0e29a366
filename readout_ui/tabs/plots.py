"""Plotly figures inside the page: with their settings, without a toolbar."""

from __future__ import annotations

import gradio as gr
import plotly.graph_objects as go
from gradio.components.plot import PlotData

PLOT_CLASS = "judged-plot"
"""What judged.css colours by the theme, and hides while there is no figure."""


def build_plot(elem_id: str, value: PlotData | None = None) -> gr.Plot:
    """A place for a figure, without frame and label, that takes no room while it is empty.

    `visible=False` would do the latter, but gradio 6.17 then never shows the figure.
    """
    return gr.Plot(
        value, show_label=False, container=False, elem_id=elem_id, elem_classes=PLOT_CLASS
    )


def plot_data(figure: go.Figure, *, responsive: bool = True) -> PlotData:
    """The figure with its settings, which gr.Plot would leave out of a plain figure.

    Args:
        figure: what is drawn.
        responsive: whether it follows the width of the page; a figure of fixed width scrolls.
    """
    follows = "true" if responsive else "false"
    config = f'"config":{{"displaylogo":false,"displayModeBar":false,"responsive":{follows}}}'
    return PlotData(type="plotly", plot=f"{figure.to_json()[:-1]},{config}}}")
