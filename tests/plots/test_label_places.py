"""Names of a scatter get out of each other's way."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from readout_ui.plots.directions import PLACES, label_places


def test_a_name_alone_stands_above_its_point() -> None:
    assert label_places(np.array([[0.0, 0.0], [1.0, 1.0]]), ["calm", "sad"]) == ("top center",) * 2


def test_two_names_at_one_place_stand_on_different_sides() -> None:
    xy = np.array([[0.0, 0.0], [0.5, 0.5], [0.501, 0.5], [1.0, 1.0]])
    places = label_places(xy, ["calm", "content", "hopeful", "sad"])
    assert places[1] != places[2]


@given(st.lists(st.tuples(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6)), max_size=12))
def test_every_point_gets_a_place(points: list[tuple[float, float]]) -> None:
    found = label_places(np.array(points).reshape(-1, 2), ["name"] * len(points))
    assert len(found) == len(points)
    assert set(found) <= set(PLACES)
