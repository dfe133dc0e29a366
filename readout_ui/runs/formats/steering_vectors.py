"""Vectors as `steering_vectors.SteeringVector`s: safetensors and JSON, or a pickle on request.

The library (0.12) has no file format of its own; people pickle its objects. A pickle runs code when
it is opened, so this program writes one only when told to and never opens any.
"""

from __future__ import annotations

import io
import json
import math
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as save_tensors
from steering_vectors import SteeringVector
from torch import Tensor

from readout_ui.errors import UserError
from readout_ui.files import sha256_of
from readout_ui.runs.manifest import json_bytes
from readout_ui.runs.model_card import SCALES, Push
from readout_ui.runs.run_files import read_files
from readout_ui.runs.tensors import read_tensors
from readout_ui.texts.names import require_file_name
from readout_ui.vectors.vectors import ConceptVectors

TENSORS_FILE = "steering_vectors.safetensors"
INDEX_FILE = "steering_vectors.json"
FORMAT = "steering-vectors"


_NUMBERS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)


@dataclass(frozen=True)
class SteeringIndex:
    """What the tensors of a file are."""

    concepts: tuple[str, ...]
    layers: tuple[int, ...]
    layer_type: str
    sha256: str
    """Of the tensor file."""
    model: Mapping[str, str]
    """`id`, `revision`, `fingerprint` and `dtype`, as far as the file says."""
    push: Mapping[str, Any]
    """`scale` and `residual_norms`, as far as the file says."""


def steering_vectors(
    vectors: ConceptVectors, layer_type: str = "decoder_block"
) -> dict[str, SteeringVector]:
    """One `SteeringVector` per concept, float32, at the layers of `vectors`."""
    return {
        concept: SteeringVector(
            {
                layer: vectors.directions[row, column].float().clone()  # (d_model,)
                for column, layer in enumerate(vectors.layers)
            },
            layer_type,  # type: ignore[arg-type]
        )
        for row, concept in enumerate(vectors.concepts)
    }


def bare_vectors(vectors: Mapping[str, SteeringVector]) -> ConceptVectors:
    """The directions of steering vectors by concept, without calibration.

    Raises:
        UserError: there are none, or their layers, layer types or widths differ.
    """
    if not vectors:
        raise UserError("there are no steering vectors")
    first_name, first = next(iter(vectors.items()))
    layers = sorted(first.layer_activations)
    for name, vector in vectors.items():
        check_directions({str(i): t for i, t in vector.layer_activations.items()}, name)
        same = sorted(vector.layer_activations) == layers and vector.layer_type == first.layer_type
        if not same or _width(vector) != _width(first):
            raise UserError(f"{name} and {first_name} have other layers or widths")
    directions = torch.stack(
        [
            torch.stack([v.layer_activations[i].float().cpu() for i in layers])
            for v in vectors.values()
        ]
    )  # (n_concepts, n_layers, d_model)
    return ConceptVectors.bare(tuple(vectors), layers, directions, str(first.layer_type))


def _width(vector: SteeringVector) -> int:
    return len(next(iter(vector.layer_activations.values())))


def steering_files(
    vectors: ConceptVectors, layer_type: str, model: Mapping[str, str], push: Push
) -> dict[str, bytes]:
    """Tensors `<number of the concept>.layer_<i>` and an index that names the concepts.

    The index states the `scale`, the `dose` and the `residual_norms` by layer as well.
    """
    tensors = {
        f"{row}.layer_{layer}": vectors.directions[row, column].float().clone()
        for row in range(len(vectors.concepts))
        for column, layer in enumerate(vectors.layers)
    }
    raw = save_tensors(tensors)
    index = {
        "format": FORMAT,
        "concepts": list(vectors.concepts),
        "layers": list(vectors.layers),
        "layer_type": layer_type,
        "model": dict(model),
        "sha256": sha256_of(raw),
        **push.stated,
    }
    return {TENSORS_FILE: raw, INDEX_FILE: json_bytes(index)}


def pickle_files(vectors: ConceptVectors, layer_type: str) -> dict[str, bytes]:
    """`{concept}.pkl`, each a pickled `SteeringVector`, for programs that want nothing else."""
    files = {}
    for concept, vector in steering_vectors(vectors, layer_type).items():
        buffer = io.BytesIO()
        pickle.dump(vector, buffer)
        files[f"{require_file_name(concept)}.pkl"] = buffer.getvalue()
    return files


def read_indexed(source: Path) -> tuple[dict[str, SteeringVector], SteeringIndex]:
    """The steering vectors of a folder or zip that `steering_files` filled, and its index.

    Raises:
        UserError: a pickle, a missing or damaged file, or tensors that are not those of the index.
    """
    if source.suffix == ".pkl":
        raise UserError(
            "a pickle can run any program when it is opened, so it is not opened",
            where=str(source),
            fix=f"export again as {TENSORS_FILE}",
        )
    files = read_files(source, (TENSORS_FILE, INDEX_FILE))
    where = str(source / INDEX_FILE)
    index = _index(files[INDEX_FILE], where)
    if sha256_of(files[TENSORS_FILE]) != index.sha256:
        raise UserError(f"{TENSORS_FILE} is not the file it was written for", where=where)
    tensors = read_tensors(files[TENSORS_FILE], str(source / TENSORS_FILE))
    expected = {f"{row}.layer_{i}" for row in range(len(index.concepts)) for i in index.layers}
    if odd := sorted(expected ^ tensors.keys()):
        raise UserError(f"the tensor {odd[0]} does not fit the index", where=where)
    check_directions(tensors, str(source / TENSORS_FILE))
    vectors = {
        concept: SteeringVector(
            {layer: tensors[f"{row}.layer_{layer}"] for layer in index.layers},
            index.layer_type,  # type: ignore[arg-type]
        )
        for row, concept in enumerate(index.concepts)
    }
    return vectors, index


def _index(raw: bytes, where: str) -> SteeringIndex:
    try:
        index = json.loads(raw)
        names = [str(index[key]) for key in ("format", "layer_type", "sha256")]
        concepts, layers = (list(index[key]) for key in ("concepts", "layers"))
        model = {str(key): str(value) for key, value in dict(index.get("model") or {}).items()}
        push = _push(index) if "scale" in index else {}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"is no index of steering vectors ({error})", where=where) from error
    if names[0] != FORMAT or not (_are_names(concepts) and _are_layers(layers)):
        raise UserError("is no index of steering vectors", where=where)
    return SteeringIndex(tuple(concepts), tuple(layers), names[1], names[2], model, push)


def _push(index: Mapping[str, Any]) -> dict[str, Any]:
    norms = {str(int(i)): float(norm) for i, norm in dict(index["residual_norms"]).items()}
    if index["scale"] not in SCALES or not all(map(math.isfinite, norms.values())):
        raise ValueError("scale or residual_norms are damaged")
    return {"scale": index["scale"], "residual_norms": norms}


def _are_names(values: list[Any]) -> bool:
    return (
        bool(values) and all(isinstance(v, str) for v in values) and len(set(values)) == len(values)
    )


def _are_layers(values: list[Any]) -> bool:
    numbers = all(type(value) is int and value >= 0 for value in values)
    return bool(values) and numbers and len(set(values)) == len(values)


def check_directions(tensors: Mapping[str, Tensor], where: str) -> None:
    """Raise a UserError unless these are directions: of one length, of numbers, finite."""
    shapes = {tuple(tensor.shape) for tensor in tensors.values()}
    if len(shapes) > 1 or any(len(shape) != 1 for shape in shapes):
        raise UserError(f"the tensors have the shapes {sorted(shapes)}", where=where)
    if odd := sorted(str(t.dtype) for t in tensors.values() if t.dtype not in _NUMBERS):
        raise UserError(f"a tensor is {odd[0]}, which no direction is", where=where)
    if not all(torch.isfinite(tensor).all() for tensor in tensors.values()):
        raise UserError("a tensor holds NaN or infinite numbers", where=where)
