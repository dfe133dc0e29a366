"""On which side of its point each name of a scatter is written, so that few names overlap."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from readout_ui.auroc import Floats

PLACES = {
    "top center": (0.0, 1.0),
    "bottom center": (0.0, -1.0),
    "middle right": (1.0, 0.0),
    "middle left": (-1.0, 0.0),
}
"""Where a name stands, in halves of its width and in lines."""
LETTER, LINE = 0.008, 0.035
"""A letter's width and a line's height, as parts of a figure about a thousand pixels wide."""


def label_places(xy: Floats, names: Sequence[str]) -> tuple[str, ...]:
    """One of `PLACES` for every point, chosen one after the other.

    Each name goes where it covers the fewest points and names placed before it; a tie goes to the
    first of `PLACES`.

    Args:
        xy: (n_points, 2).
        names: of the points.
    """
    span = np.maximum(np.ptp(xy, axis=0), 1e-12) if len(xy) else np.ones(2)
    points = (xy - xy.min(axis=0, initial=0)) / span  # (n_points, 2), 0..1 but for a shift
    half = np.array([[len(name) * LETTER / 2, LINE / 2] for name in names]).reshape(-1, 2)
    taken = [(point, np.array([0.006, 0.012])) for point in points]
    chosen: list[str] = []
    for point, size in zip(points, half, strict=True):
        centres = {
            place: point + np.array([right * (size[0] + 0.01), up * LINE])
            for place, (right, up) in PLACES.items()
        }
        covered = {
            place: sum(bool((abs(centre - other) < size + room).all()) for other, room in taken)
            for place, centre in centres.items()
        }
        best = min(PLACES, key=lambda place: covered[place])
        taken.append((centres[best], size))
        chosen.append(best)
    return tuple(chosen)
