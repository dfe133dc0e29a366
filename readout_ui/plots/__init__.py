"""Numbers and labels to figures and HTML; no model, no torch.

`heatmap(reading)`, `crosstalk(found)`, `layers(sweep)`, `generalization(found)` and `dose(curves)`
draw what a notebook shows; the modules hold what the app draws, one kind of figure each. Plotly is
imported with the first figure.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from readout_ui.errors import UserError

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from readout_ui.evaluation.dose import DoseCurves
    from readout_ui.evaluation.judgements import Generalization
    from readout_ui.evaluation.layers import LayerSweep
    from readout_ui.evaluation.results import Crosstalk
    from readout_ui.inference.reading import Reading

__all__ = ["crosstalk", "dose", "generalization", "heatmap", "layers"]


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


def crosstalk(found: Crosstalk, what: str = "cosine") -> go.Figure:
    """Which concepts are alike, both axes in the order of the tree of cosines.

    Args:
        found: what `crosstalk` of a readout gave.
        what: "cosine" between directions, "score" of held-out texts on every direction, or "map",
            the directions as points in a plane.

    Raises:
        UserError: another word.
    """
    from readout_ui.plots.directions import draw_cosines, draw_map, draw_responses

    if what == "cosine":
        return draw_cosines(found.cosines)
    if what == "score":
        return draw_responses(found.held_out, found.cosines.order)
    if what != "map":
        raise UserError(f"'{what}' is no figure of cross-talk", options=("cosine", "score", "map"))
    return draw_map(found.map)


def layers(sweep: LayerSweep, concept: str | None = None) -> go.Figure:
    """Held-out AUROC by layer, a row per method and read rule; a frame round the highest.

    Args:
        sweep: what `compare_layers` of a readout gave.
        concept: whose AUROC; by default the mean over all.
    """
    from readout_ui.plots.directions import draw_sweep

    best = sweep.best(concept)
    marked = None if best is None else (sweep.columns.index(best[0]), best[1])
    title = f"Held-out AUROC, {concept or 'mean over concepts'}, {sweep.folds} folds"
    return draw_sweep(sweep.scores(concept), [c.label for c in sweep.columns], marked, title)


def generalization(found: Generalization) -> go.Figure:
    """AUROC of every concept on new texts with its interval, beside words and chance."""
    from readout_ui.plots.new_texts import draw_forest

    return draw_forest(found)


def dose(curves: DoseCurves, concepts: Sequence[str] = ()) -> go.Figure:
    """Cosine over the value in a text's slot, (n_values) each; by default six concepts."""
    from readout_ui.plots.new_texts import draw_dose

    return draw_dose(curves, concepts)
