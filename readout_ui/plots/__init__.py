"""Numbers and labels to figures and HTML; no model, no torch.

`heatmap(reading)` draws what a notebook shows; the modules hold what the app draws, one kind of
figure each. Plotly is imported with the first figure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from readout_ui.inference.reading import Reading

__all__ = ["heatmap"]


def heatmap(
    reading: Reading, layer: int | None = None, kind: str = "z", concept: str = ""
) -> go.Figure:
    """Tokens x concepts at one layer, or tokens x layers for one concept; template tokens left out.

    Args:
        reading: scores of one text.
        layer: one of its layers; None for the best one. Of no use with `concept`.
        kind: "z" (standard deviations from neutral tokens), "cosine" (-1..1) or "raw".
        concept: draw this one at every layer.

    Raises:
        UserError: no such layer, concept or kind of score.

    >>> reading = ro.train(ro.Library("descriptions"), model, layers="all").read("Leave me alone!")
    >>> ro.plots.heatmap(reading, layer=16).data[0].z.shape  # (n_concepts, n_tokens)
    (4, 4)
    """
    from readout_ui.plots.token_grid import concept_grid, draw_heatmap, layer_grid

    said = [place for place, role in enumerate(reading.roles) if role != "template"]
    shown = reading.select(tokens=said) if said else reading
    grid = (
        layer_grid(shown, concept, kind)
        if concept
        else concept_grid(shown, shown.layer_to_show(layer), kind)
    )
    figure = draw_heatmap(grid)
    named = {"showticklabels": True}
    return figure.update_layout(xaxis=named, yaxis=named)
