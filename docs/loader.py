"""Read an export of Readout Studio with safetensors, json and torch only."""

import json
from pathlib import Path

from safetensors.torch import load_file


def load(folder):
    """The manifest, the vectors and the calibration of an export."""
    manifest = json.loads((Path(folder) / "readout.json").read_text("utf-8"))
    tensors = load_file(Path(folder) / "readout.safetensors")
    return manifest, tensors | load_file(Path(folder) / "calibration.safetensors")


def z_scores(hidden, layer, tensors):
    """Activations after block `layer` (n_tokens, hidden_size) -> (n_tokens, n_concepts)."""
    raw = hidden.float() @ tensors[f"layer_{layer}.vectors"].float().T
    mean, std = tensors[f"layer_{layer}.neutral_mean"], tensors[f"layer_{layer}.neutral_std"]
    return (raw - mean) / std
