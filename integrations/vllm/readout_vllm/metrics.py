"""Prometheus figures on vLLM's own /metrics: how concepts score in production."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from readout_vllm.export import Export
from readout_vllm.loaded import export_of
from readout_vllm.settings import from_environment

EDGES = np.array([-4, -3, -2, -1, 0, 1, 2, 2.5, 3, 3.5, 4, 5, 6, 8, 12, 20], dtype=np.float32)
"""Upper edges of the buckets, in standard deviations from neutral tokens."""


class ConceptFigures:
    """z of every generated token per concept at the export's best layer, as a histogram.

    A collector of our own, because one call per token and concept of a client library costs more
    than the projection: an answer is counted in one step.
    """

    def __init__(self, export: Export) -> None:
        self._export = export
        n_concepts = len(export.concepts)
        self._counts = np.zeros((n_concepts, len(EDGES) + 1), dtype=np.int64)
        self._sums = np.zeros(n_concepts)
        self._fired = np.zeros(n_concepts, dtype=np.int64)

    def observe(self, rows: NDArray[np.float32] | None, fired: Sequence[dict[str, Any]]) -> None:
        """Count an answer: rows (n_tokens, n_layers, n_concepts) and what fired in it."""
        if rows is not None and len(rows):
            z = self._export.z_scores(rows)[:, self._export.best_layer]  # (n_tokens, n_concepts)
            buckets = np.searchsorted(EDGES, z)  # an edge is in the bucket below it
            for bucket in range(len(EDGES) + 1):
                self._counts[:, bucket] += (buckets == bucket).sum(axis=0)
            self._sums += z.sum(axis=0)
        for one in fired:
            self._fired[self._export.concepts.index(one["concept"])] += 1

    def collect(self) -> Iterator[Any]:
        """What Prometheus reads."""
        from prometheus_client.core import (
            CounterMetricFamily,
            HistogramMetricFamily,
            SummaryMetricFamily,
        )

        scores = HistogramMetricFamily(
            "readout_z",
            "Score of generated tokens in standard deviations from neutral tokens.",
            labels=["concept"],
        )
        # Beside the histogram, because one with negative edges may have neither count nor sum.
        means = SummaryMetricFamily(
            "readout_z_scores", "Number and sum of the scores in readout_z.", labels=["concept"]
        )
        fired = CounterMetricFamily(
            "readout_fired",
            "Answers in which a watched concept went over its threshold.",
            labels=["concept"],
        )
        edges = [*(f"{edge:g}" for edge in EDGES), "+Inf"]
        for place, concept in enumerate(self._export.concepts):
            running = np.cumsum(self._counts[place])
            buckets = [(edge, float(n)) for edge, n in zip(edges, running, strict=True)]
            scores.add_metric([concept], buckets, sum_value=None)
            means.add_metric([concept], int(running[-1]), float(self._sums[place]))
            fired.add_metric([concept], float(self._fired[place]))
        yield from (scores, means, fired)


@cache
def _figures() -> ConceptFigures | None:
    settings = from_environment()
    if settings is None or export_of(settings).neutral_mean is None:
        return None
    from prometheus_client import REGISTRY

    figures = ConceptFigures(export_of(settings))
    REGISTRY.register(figures)
    return figures


def observe(rows: NDArray[np.float32] | None, fired: Sequence[dict[str, Any]]) -> None:
    """Count an answer that asked for a readout; nothing without calibration."""
    figures = _figures()
    if figures is not None:
        figures.observe(rows, fired)
