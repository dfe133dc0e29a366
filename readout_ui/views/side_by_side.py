"""Two readings drawn on one colour scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from readout_ui.views.colours import ColourScale, fit_scale
from readout_ui.views.grids import Geometry, Grid


@dataclass(frozen=True, eq=False)
class SharedGrid(Grid):
    """A heatmap whose colours are those of several."""

    shared: ColourScale
    """What every one of them is coloured by."""

    top: int
    """Room for tokens above the figure, the same in all, so that rows stay level."""

    @property
    def geometry(self) -> Geometry:
        """Sizes for these labels."""
        return replace(super().geometry, top=self.top)

    @property
    def scale(self) -> ColourScale:
        """The shared colours."""
        return self.shared


def share_scale(grids: Sequence[Grid]) -> list[SharedGrid]:
    """The same heatmaps, coloured so that equal scores look equal in all of them."""
    kind = grids[0].kind
    cells = [grid.scores[kind][:, grid.scored].ravel() for grid in grids]
    scale = fit_scale(np.concatenate(cells), kind)
    top = max(grid.geometry.top for grid in grids)
    given = [{part.name: getattr(grid, part.name) for part in fields(grid)} for grid in grids]
    return [SharedGrid(**parts, shared=scale, top=top) for parts in given]
