"""How a reading is shown: which layer, concepts, unit and order, and what is drawn from them.

A long reading as a score map.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

import numpy as np
from gradio.components.plot import PlotData

from readout_ui.errors import UserError
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


class Run(Protocol):
    """The run whose vectors are in use."""

    @property
    def id(self) -> str:
        """Its name."""

    @property
    def best_layer(self) -> int:
        """The layer that told the concepts apart best."""


@dataclass(frozen=True, eq=False)
class LastReading:
    """What one session read last; every redraw comes from here, never from the model."""

    readout: Reading
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


def draw(reading: LastReading | None, *look: Any) -> Drawn:
    """Coloured text and heatmap of a reading, or a map of a long one."""
    if reading is None:
        return Drawn()
    wish = Look(*look)
    layer, concept = _layer(reading.readout, wish), _concept(reading.readout, wish)
    readout = _visible(_narrowed(reading.readout, wish), wish)
    grid = _grid(readout, wish)
    if len(grid.tokens) > LONGEST:
        text = readout.select(layers=[layer], concepts=[concept])
        return Drawn(map=draw_map(grid, text, wish.middle, clickable=wish.view == "concepts"))
    strip = draw_strip(readout, concept, layer, wish.kind, grid.scale)
    labels = draw_row_labels(grid, clickable=wish.view == "concepts")
    return Drawn(strip, labels, draw_token_labels(grid), _plot_data(grid))


def draw_csv(reading: LastReading | None, *look: Any) -> str:
    """The cells of the heatmap as CSV, template tokens always among them."""
    if reading is None:
        raise UserError("there is nothing to download", fix="read a prompt first")
    wish, readout = Look(*look), reading.readout
    if wish.view == "layers":
        return scores_csv(readout.select(concepts=[_concept(readout, wish)]))
    layer = _layer(readout, wish)
    return scores_csv(readout.select(layers=[layer], concepts=_shown(readout, layer, wish)))


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


def _plot_data(grid: Grid) -> PlotData:
    """The figure with its settings, which gr.Plot would leave out of a plain figure."""
    figure = draw_heatmap(grid).to_json()
    config = '"config":{"displaylogo":false,"displayModeBar":false}'
    return PlotData(type="plotly", plot=f"{figure[:-1]},{config}}}")
