"""The three files that the seed guide of contrast training writes for a vector.

- `{name}.safetensors`: one tensor `layer_<i>` (d_model,) per layer, float32;
- `{name}.json`: model, layers, number of samples and timestamp, and the rest of the manifest;
- `{name}.pkl`, only when asked for: a pickled `steering_vectors.SteeringVector`.

The directions have the length that the sides of a pair are apart along them, so that multipliers
between 0.3 and 1 do what the guide says; the directions of a run have unit length.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from safetensors.torch import save as save_tensors
from steering_vectors import SteeringVector

from readout_ui.runs.manifest import Manifest, json_bytes

if TYPE_CHECKING:
    from readout_ui.vectors.vectors import ConceptVectors


def guide_files(
    name: str,
    vectors: ConceptVectors,
    manifest: Manifest,
    distances: Mapping[int, float],
    created: datetime,
    pickled: bool = False,
) -> dict[str, bytes]:
    """The files of the first concept, by name.

    Args:
        name: what the files are called.
        vectors: unit directions.
        manifest: of their training.
        distances: by layer, how far the two sides of a pair are apart along the direction.
        created: when they were trained.
        pickled: write the pickle too; opening a pickle can run any program.
    """
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
        "timestamp": created.isoformat(),
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
