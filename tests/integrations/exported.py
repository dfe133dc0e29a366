"""Small exports for the tests of the vLLM plugin, written as other programs wrote them."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

CONCEPTS = ("afraid", "calm", "sad")
LAYERS = (1, 3)
WIDTH = 8


def write_export(folder: Path, calibrated: bool = True, **changes: Any) -> Path:
    """Files of three concepts at two layers; layer 3 is the best one.

    Args:
        folder: where.
        calibrated: with `calibration.safetensors` and everything that a whole manifest holds.
        changes: of the manifest's keys.
    """
    folder.mkdir(exist_ok=True)
    random = np.random.default_rng(0)
    shape = (len(CONCEPTS), WIDTH)
    files = {
        "readout.safetensors": save(
            {f"layer_{i}.vectors": random.normal(size=shape).astype(np.float16) for i in LAYERS}
        )
    }
    manifest: dict[str, Any] = {
        "concepts": CONCEPTS,
        "layers": LAYERS,
        "hidden_size": WIDTH,
        "dtype": "float16",
        "aggregator": "mean",
        "format": "direct_first_person_assistant_role",
    }
    if calibrated:
        files["calibration.safetensors"] = save(
            {
                f"layer_{i}.{name}": np.full(len(CONCEPTS), value, np.float32)
                for i in LAYERS
                for name, value in (("neutral_mean", 1.0), ("neutral_std", 2.0))
            }
        )
        hashes = {name: hashlib.sha256(raw).hexdigest() for name, raw in files.items()}
        manifest |= {
            "files": hashes,
            "metrics": {"best_layer": 3},
            "model": {"id": "makers/small-model"},
        }
    files["readout.json"] = json.dumps(manifest | changes).encode()
    for name, raw in files.items():
        (folder / name).write_bytes(raw)
    return folder
