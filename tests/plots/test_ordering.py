import numpy as np
import pytest

from readout_ui.plots.colours import cluster_order


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
