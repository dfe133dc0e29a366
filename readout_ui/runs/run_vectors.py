"""The vectors file of a kept run: float32, lossless, all concepts and layers in four tensors."""

from pathlib import Path

import torch
from safetensors.torch import save as save_tensors

from readout_ui.errors import UserError
from readout_ui.files import sha256_of
from readout_ui.runs.manifest import Manifest
from readout_ui.runs.tensors import (
    assemble_vectors,
    read_tensors,
    refuse_leftovers,
    take_tensor,
)
from readout_ui.vectors.vectors import ConceptVectors

PARTS = ("directions", "center", "neutral_mean", "neutral_std")
PROBES = "probe_scores"


def vectors_bytes(vectors: ConceptVectors) -> bytes:
    """The file's bytes; the same vectors give the same bytes."""
    tensors = {part: getattr(vectors, part) for part in PARTS}
    if vectors.probes:
        tensors[PROBES] = vectors.probes.scores
    return save_tensors(
        {name: tensor.float().cpu().contiguous().clone() for name, tensor in tensors.items()}
    )


def parse_vectors(raw: bytes, manifest: Manifest, path: Path) -> ConceptVectors:
    """The vectors of a run.

    Raises:
        UserError: the file is not the one the manifest was written for, or does not fit it.
    """
    where = str(path)
    if manifest.files.get(path.name) != sha256_of(raw):
        raise UserError("the file was changed since it was saved (its sha256 differs)", where=where)
    n_concepts, n_layers, d_model = (
        len(manifest.concepts),
        len(manifest.layers),
        manifest.hidden_size,
    )
    shapes = {
        "directions": (n_concepts, n_layers, d_model),
        "center": (n_layers, d_model),
        "neutral_mean": (n_concepts, n_layers),
        "neutral_std": (n_concepts, n_layers),
    }
    tensors = read_tensors(raw, where)
    parts = {p: take_tensor(tensors, p, shapes[p], torch.float32, where) for p in PARTS}
    scores = None
    if manifest.probes is not None:
        shape = (len(manifest.probes.texts), n_concepts, n_layers)
        scores = take_tensor(tensors, PROBES, shape, torch.float32, where)
    refuse_leftovers(tensors, where)
    return assemble_vectors(manifest, parts, scores, path)
