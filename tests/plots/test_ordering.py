import numpy as np
import pytest

from readout_ui.errors import UserError
from readout_ui.inference.reading import Reading, scored_tokens
from readout_ui.plots.colours import cluster_order, order_concepts


def readout_with_peaks() -> Reading:
    """At layer 1 the peaks over scored tokens are beta > Alpha > gamma."""
    z = np.zeros((3, 2, 3), dtype=np.float32)
    z[0] = [[9, 0, 9], [0, 0, 99]]  # the first token does not count
    z[2] = [[5, 1, 2], [2, 3, 1]]
    roles = ("user", "user", "assistant")
    similarity = np.stack([np.eye(3, dtype=np.float32)] * 2)
    similarity[1, 0, 2] = similarity[1, 2, 0] = 0.9
    return Reading(
        ("a", "b", "c"),
        roles,
        ("Alpha", "beta", "gamma"),
        (0, 1),
        z,
        z,
        z,
        similarity,
        scored_tokens(roles),
    )


def test_the_highest_peak_of_the_shown_layer_comes_first() -> None:
    assert order_concepts(readout_with_peaks(), 1, "z", "peak") == ("beta", "Alpha", "gamma")
    assert order_concepts(readout_with_peaks(), 0, "z", "peak") == ("Alpha", "gamma", "beta")


def test_names_are_sorted_without_regard_to_case() -> None:
    readout = readout_with_peaks().select(concepts=["gamma", "beta", "Alpha"])
    assert order_concepts(readout, 1, "z", "alphabet") == ("Alpha", "beta", "gamma")


def test_directions_that_point_the_same_way_stand_side_by_side() -> None:
    order = order_concepts(readout_with_peaks(), 1, "z", "similarity")
    assert abs(order.index("Alpha") - order.index("gamma")) == 1


def test_clusters_of_shuffled_directions_come_out_together() -> None:
    rng = np.random.default_rng(0)
    centers = rng.normal(size=(4, 32))
    family = rng.permutation(np.repeat(np.arange(4), 8))
    directions = centers[family] + 0.3 * rng.normal(size=(32, 32))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    ordered = family[cluster_order((directions @ directions.T).astype(np.float32))]
    assert (np.diff(ordered) != 0).sum() == 3


@pytest.mark.parametrize("n_concepts", [1, 2])
def test_one_or_two_concepts_need_no_tree(n_concepts: int) -> None:
    assert cluster_order(np.eye(n_concepts, dtype=np.float32)).tolist() == list(range(n_concepts))


def test_an_unknown_order_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UserError, match="peak, alphabet, similarity"):
        order_concepts(readout_with_peaks(), 1, "z", "size")
