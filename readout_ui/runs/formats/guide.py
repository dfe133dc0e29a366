"""The files that the seed guide of contrast training writes, beside the export."""

from __future__ import annotations

import io
import pickle
from typing import TYPE_CHECKING

from safetensors.torch import save as save_tensors
from steering_vectors import SteeringVector

from readout_ui.runs.manifest import json_bytes

if TYPE_CHECKING:
    from readout_ui.runs.run import Run


def guide_files(name: str, run: Run, pickled: bool = False) -> dict[str, bytes]:
    """The three files that the seed guide of contrast training writes for the first concept.

    - `{name}.safetensors`: one tensor `layer_<i>` (d_model,) per layer, float32;
    - `{name}.json`: model, layers, number of samples and timestamp, and the rest of the manifest;
    - `{name}.pkl`, only when asked for: a pickled `steering_vectors.SteeringVector`.

    The directions have the length that the sides of a pair are apart along them, so that
    multipliers between 0.3 and 1 do what the guide says; those of a run have unit length.

    Args:
        name: what the files are called.
        run: of contrast pairs.
        pickled: write the pickle too; opening a pickle can run any program.
    """
    vectors, manifest, distances = run.vectors, run.manifest, run.distances
    directions = {
        layer: vectors.directions[0, column].float() * distances.get(layer, 1.0)  # (d_model,)
        for column, layer in enumerate(vectors.layers)
    }
    contrast = manifest.contrast or {}
    about = {
        "contrast_type": vectors.concepts[0],
        "model": manifest.model.id,
        "layers": list(vectors.layers),
        "layer_type": manifest.read.layer_type,
        "num_samples": contrast.get("n_pairs", manifest.metrics.n_texts),
        "timestamp": run.created.isoformat(),
        "distances": {str(layer): distances.get(layer, 1.0) for layer in vectors.layers},
        "manifest": manifest.model_dump(mode="json"),
    }
    files = {
        f"{name}.safetensors": save_tensors({f"layer_{i}": d for i, d in directions.items()}),
        f"{name}.json": json_bytes(about),
    }
    if pickled:
        buffer = io.BytesIO()
        layer_type = manifest.read.layer_type
        pickle.dump(SteeringVector(directions, layer_type), buffer)  # type: ignore[arg-type]
        files[f"{name}.pkl"] = buffer.getvalue()
    return files
