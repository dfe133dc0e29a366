"""How a reading is shown: which layer, concepts, unit and order, and what is drawn from them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

import numpy as np
from gradio.components.plot import PlotData

from readout_ui.errors import UserError
from readout_ui.readout import Readout, scores_csv
from readout_ui.tabs.inspect_map import LONGEST, draw_map
from readout_ui.views.grids import Grid, concept_grid, layer_grid
from readout_ui.views.heatmap import draw_heatmap
from readout_ui.views.labels import draw_row_labels, draw_token_labels
from readout_ui.views.ordering import order_concepts, peaks
from readout_ui.views.token_strip import draw_strip


class Run(Protocol):
    """The run whose vectors are in use."""

    @property
    def id(self) -> str:
        """Its name."""

    @property
    def best_layer(self) -> int:
        """The layer that told the concepts apart best."""


@dataclass(frozen=True, eq=False)
class Reading:
    """What one session read last; every redraw comes from here, never from the model."""

    readout: Readout
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


def best_layer(readout: Readout, run: Run | None) -> int:
    """The run's best layer, or the nearest one there is."""
    return readout.nearest_layer(run.best_layer if run else max(readout.layers))


def settle_choices(readout: Readout, run: Run | None, look: Look) -> Look:
    """The choices as far as they fit a new reading: at first its best layer and highest peak."""
    names = readout.concepts
    known = look.concept in names
    layer = int(look.layer) if known and look.layer in readout.layers else best_layer(readout, run)
    concept = look.concept if known else names[int(np.argmax(peaks(readout, layer, "z")))]
    chosen = [name for name in look.chosen if name in names]
    return replace(look, layer=layer, concept=concept, chosen=chosen, middle=0)


def draw(reading: Reading | None, *look: Any) -> Drawn:
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


def draw_csv(reading: Reading | None, *look: Any) -> str:
    """The cells of the heatmap as CSV, template tokens always among them."""
    if reading is None:
        raise UserError("there is nothing to download", fix="read a prompt first")
    wish, readout = Look(*look), reading.readout
    if wish.view == "layers":
        return scores_csv(readout.select(concepts=[_concept(readout, wish)]))
    layer = _layer(readout, wish)
    return scores_csv(readout.select(layers=[layer], concepts=_shown(readout, layer, wish)))


def _narrowed(readout: Readout, look: Look) -> Readout:
    """Only what the view needs: every further copy of a long reading is of a small part."""
    if look.view == "layers":
        return readout.select(concepts=[_concept(readout, look)])
    return readout.select(layers=[_layer(readout, look)])


def _visible(readout: Readout, look: Look) -> Readout:
    if look.template or all(role == "template" for role in readout.roles):
        return readout
    return readout.select(tokens=[i for i, r in enumerate(readout.roles) if r != "template"])


def _grid(readout: Readout, look: Look) -> Grid:
    if look.view == "layers":
        return layer_grid(readout, _concept(readout, look), look.kind)
    layer = _layer(readout, look)
    return concept_grid(readout.select(concepts=_shown(readout, layer, look)), layer, look.kind)


def _shown(readout: Readout, layer: int, look: Look) -> tuple[str, ...]:
    chosen = [name for name in readout.concepts if name in look.chosen]
    return order_concepts(readout.select(concepts=chosen or None), layer, look.kind, look.order)


def _layer(readout: Readout, look: Look) -> int:
    return readout.nearest_layer(int(look.layer))


def _concept(readout: Readout, look: Look) -> str:
    return look.concept if look.concept in readout.concepts else readout.concepts[0]


def _plot_data(grid: Grid) -> PlotData:
    """The figure with its settings, which gr.Plot would leave out of a plain figure."""
    figure = draw_heatmap(grid).to_json()
    config = '"config":{"displaylogo":false,"displayModeBar":false}'
    return PlotData(type="plotly", plot=f"{figure[:-1]},{config}}}")
