"""How a reading is shown: which layer, concepts, unit and order, and what is drawn from them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from gradio.components.plot import PlotData

from readout_ui.app.widgets import plot_data
from readout_ui.inference.reading import FloatArray, Reading, scores_csv
from readout_ui.plots.colours import order_concepts, peaks
from readout_ui.plots.score_map import ScoreMap, Unit, pack_map, pool_overview, window_at
from readout_ui.plots.token_grid import (
    UNITS,
    Grid,
    concept_grid,
    draw_heatmap,
    draw_row_labels,
    draw_token_labels,
    layer_grid,
)
from readout_ui.plots.tokens import draw_strip
from readout_ui.runs.run import Run

LONGEST = 512
"""Tokens that are drawn as one figure; a longer text becomes a map."""
_DIGITS = {"z": 2, "cosine": 3, "raw": 3}


def draw_map(grid: Grid, text: Reading, middle: int, *, clickable: bool) -> str:
    """The packed map of a heatmap.

    Args:
        grid: the heatmap of the whole text.
        text: the same tokens at the one layer and concept that colour the text.
        middle: token in the middle of the stretch that is sent, should the whole be too long.
        clickable: whether row labels choose what colours the text.
    """
    window = window_at(middle, len(grid.rows) + 1, len(grid.tokens))
    stretch = slice(window.start, window.stop)
    units = (grid.kind, *(name for name in UNITS if name != grid.kind))
    return pack_map(
        ScoreMap(
            tokens=grid.tokens[stretch],
            roles=grid.roles[stretch],
            scored=grid.scored[stretch],
            rows=grid.rows,
            units=tuple(Unit(n, _cells(grid, text, n)[:, stretch], _DIGITS[n]) for n in units),
            constant=grid.constant,
            scale=grid.scale,
            legend=UNITS[grid.kind],
            window=window,
            overview=pool_overview(grid.scores[grid.kind], grid.scale, grid.scored),
            strip=f"{text.concepts[0]} · layer {text.layers[0]}",
            clickable=clickable,
        )
    )


def _cells(grid: Grid, text: Reading, unit: str) -> FloatArray:
    """The heatmap's rows and, below them, the one that colours the text."""
    stacked: FloatArray = np.vstack([grid.scores[unit], text.scores(unit)[:, 0, 0]])
    return stacked


@dataclass(frozen=True, eq=False)
class LastReading:
    """What one session read last; every redraw comes from here, never from the model."""

    scores: Reading
    """All scores of the prompt."""
    run_id: str
    """The run whose vectors were used."""


@dataclass(frozen=True)
class Look:
    """How a reading is shown."""

    view: str
    """"concepts" or "layers"."""
    kind: str
    """Unit of the scores."""
    layer: float
    """Layer of the strip and of the concepts view; the nearest one there is taken."""
    concept: str | None
    """Concept of the strip and of the layers view."""
    chosen: list[str]
    """Concepts of the concepts view; empty for all."""
    order: str
    """Order of the concepts."""
    template: bool
    """Whether template tokens are shown."""
    middle: int = 0
    """Which token of a very long text is in the middle of what the page gets."""


class Drawn(NamedTuple):
    """What the page shows of a reading; either the map or the other four are filled."""

    strip: str = ""
    """The coloured text."""
    rows: str = ""
    """Row labels of the heatmap."""
    columns: str = ""
    """Its token labels."""
    plot: PlotData | None = None
    """The heatmap."""
    map: str = ""
    """All of that for a long text, packed."""


def best_layer(readout: Reading, run: Run | None) -> int:
    """The run's best layer, or the nearest one there is."""
    return readout.nearest_layer(run.best_layer if run else max(readout.layers))


def settle_choices(readout: Reading, run: Run | None, look: Look) -> Look:
    """The choices as far as they fit a new reading: at first its best layer and highest peak."""
    names = readout.concepts
    known = look.concept in names
    layer = int(look.layer) if known and look.layer in readout.layers else best_layer(readout, run)
    concept = look.concept if known else names[int(np.argmax(peaks(readout, layer, "z")))]
    chosen = [name for name in look.chosen if name in names]
    return replace(look, layer=layer, concept=concept, chosen=chosen, middle=0)


def draw(reading: Reading, look: Look) -> Drawn:
    """Coloured text and heatmap of a reading, or a map of a long one."""
    layer, concept = _layer(reading, look), _concept(reading, look)
    readout = _visible(_narrowed(reading, look), look)
    grid = _grid(readout, look)
    if len(grid.tokens) > LONGEST:
        text = readout.select(layers=[layer], concepts=[concept])
        return Drawn(map=draw_map(grid, text, look.middle, clickable=look.view == "concepts"))
    strip = draw_strip(readout, concept, layer, look.kind, grid.scale)
    labels = draw_row_labels(grid, clickable=look.view == "concepts")
    return Drawn(
        strip, labels, draw_token_labels(grid), plot_data(draw_heatmap(grid), responsive=False)
    )


def draw_csv(reading: Reading, look: Look) -> str:
    """The cells of the heatmap as CSV, template tokens always among them."""
    if look.view == "layers":
        return scores_csv(reading.select(concepts=[_concept(reading, look)]))
    layer = _layer(reading, look)
    return scores_csv(reading.select(layers=[layer], concepts=_shown(reading, layer, look)))


def _narrowed(readout: Reading, look: Look) -> Reading:
    """Only what the view needs: every further copy of a long reading is of a small part."""
    if look.view == "layers":
        return readout.select(concepts=[_concept(readout, look)])
    return readout.select(layers=[_layer(readout, look)])


def _visible(readout: Reading, look: Look) -> Reading:
    if look.template or all(role == "template" for role in readout.roles):
        return readout
    return readout.select(tokens=[i for i, r in enumerate(readout.roles) if r != "template"])


def _grid(readout: Reading, look: Look) -> Grid:
    if look.view == "layers":
        return layer_grid(readout, _concept(readout, look), look.kind)
    layer = _layer(readout, look)
    return concept_grid(readout.select(concepts=_shown(readout, layer, look)), layer, look.kind)


def _shown(readout: Reading, layer: int, look: Look) -> tuple[str, ...]:
    chosen = [name for name in readout.concepts if name in look.chosen]
    return order_concepts(readout.select(concepts=chosen or None), layer, look.kind, look.order)


def _layer(readout: Reading, look: Look) -> int:
    return readout.nearest_layer(int(look.layer))


def _concept(readout: Reading, look: Look) -> str:
    return look.concept if look.concept in readout.concepts else readout.concepts[0]
