"""In which order concepts stand beside each other."""

import numpy as np
import numpy.typing as npt

from readout_ui.errors import UserError
from readout_ui.readout import FloatArray, Readout

ORDERS = ("peak", "alphabet", "similarity")


def order_concepts(readout: Readout, layer: int, kind: str, order: str) -> tuple[str, ...]:
    """The concepts of `readout`, sorted for one layer.

    Args:
        readout: scores of one prompt.
        layer: the layer that is shown.
        kind: the unit of the scores.
        order: "peak" puts the highest scored token first, "alphabet" sorts by name, "similarity"
            puts directions that point the same way side by side.
    """
    if order == "alphabet":
        return tuple(sorted(readout.concepts, key=str.casefold))
    index = readout.layer_index(layer)
    if order == "peak":
        ranks = np.argsort(-peaks(readout, layer, kind), kind="stable")
    elif order == "similarity":
        ranks = cluster_order(readout.similarity[index])
    else:
        raise UserError(f"'{order}' is no order", options=ORDERS)
    return tuple(readout.concepts[i] for i in ranks)


def peaks(readout: Readout, layer: int, kind: str) -> FloatArray:
    """Highest score of each concept over the scored tokens, (n_concepts,)."""
    rows = readout.scored if readout.scored.any() else np.ones_like(readout.scored)
    scores = readout.scores(kind)[rows, readout.layer_index(layer)]  # (n_scored, n_concepts)
    highest: FloatArray = scores.max(axis=0)
    return highest


def cluster_order(similarity: FloatArray) -> npt.NDArray[np.intp]:
    """Leaves of an average-linkage tree over 1 - cosine, neighbours as alike as the tree allows.

    Args:
        similarity: cosine between directions, (n_concepts, n_concepts).
    """
    if len(similarity) < 3:
        return np.arange(len(similarity))
    from scipy.cluster.hierarchy import leaves_list, linkage
    from scipy.spatial.distance import squareform

    distance = np.clip(1 - (similarity + similarity.T) / 2, 0, 2)
    np.fill_diagonal(distance, 0)
    tree = linkage(squareform(distance, checks=False), "average", optimal_ordering=True)
    return np.asarray(leaves_list(tree), dtype=np.intp)
