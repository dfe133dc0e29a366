"""What Prometheus sees of served answers."""

from pathlib import Path

import numpy as np
from prometheus_client.core import HistogramMetricFamily
from readout_vllm.export import load_export
from readout_vllm.metrics import EDGES, ConceptFigures

from tests.integrations.exported import write_export


def test_prometheus_sees_each_token_in_one_bucket(tmp_path: Path) -> None:
    write_export(tmp_path)
    export = load_export(tmp_path / "readout.safetensors", tmp_path / "readout.json")
    figures = ConceptFigures(export)
    made = np.ones((4, 2, 3), np.float32)
    made[3, 1, 2] = 1 + 2 * 25  # z = 25, over the last edge
    figures.observe(made, [{"concept": "sad", "token": 3, "z": 25.0}])
    scores, means, fired = figures.collect()
    assert isinstance(scores, HistogramMetricFamily)
    sad = [s for s in scores.samples if s.labels.get("concept") == "sad"]
    counts = {s.labels["le"]: s.value for s in sad if s.name.endswith("_bucket")}
    assert counts[f"{EDGES[-1]:g}"] == 3
    assert counts["+Inf"] == 4
    totals = {s.name: s.value for s in means.samples if s.labels["concept"] == "sad"}
    assert totals == {"readout_z_scores_count": 4, "readout_z_scores_sum": 25.0}
    assert [s.value for s in fired.samples] == [0.0, 0.0, 1.0]
