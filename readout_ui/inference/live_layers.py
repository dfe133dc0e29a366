"""Which layers are read while the model speaks: so few that the readout is not noticed."""

from collections.abc import Sequence

N_LIVE_LAYERS = 4


def live_layers(layers: Sequence[int], best: int, count: int = N_LIVE_LAYERS) -> tuple[int, ...]:
    """At most `count` of `layers`, spread over them, the one nearest to `best` among them.

    Args:
        layers: layers that the vectors have, at least one.
        best: the layer that told the concepts apart best.
        count: how many at most, at least 1.
    """
    known = sorted(layers)
    if len(known) <= count:
        return tuple(known)
    nearest = min(known, key=lambda layer: (abs(layer - best), layer))
    step = (len(known) - 1) / max(1, count - 1)
    spread = [known[round(place * step)] for place in range(count)]
    replaced = min(spread, key=lambda layer: abs(layer - nearest))
    return tuple(sorted({nearest, *spread} - ({replaced} - {nearest})))
