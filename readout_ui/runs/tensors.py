"""Tensor files that are trusted only after every hash, name, shape and number was checked.

Also the vectors file of a kept run: float32, lossless, all concepts and layers in four tensors.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from readout_ui.errors import UserError
from readout_ui.files import sha256_of
from readout_ui.runs.manifest import Manifest, zero_directions
from readout_ui.vectors.vectors import ConceptVectors, Probes

PARTS = ("directions", "center", "neutral_mean", "neutral_std")
PROBES = "probe_scores"
STEERING = "steering"
"""Directions to push with, only where they are not those to read with."""


def check_hashes(manifest: Manifest, files: Mapping[str, bytes], source: Path) -> None:
    """Raise a UserError unless the manifest names just these files with their sha256."""
    if odd := sorted(manifest.files.keys() ^ files.keys()):
        raise UserError(
            f"the manifest must give hashes of {' and '.join(sorted(files))}, {odd[0]!r} does "
            "not match",
            where=str(source),
        )
    for name, raw in files.items():
        if sha256_of(raw) != manifest.files[name]:
            raise UserError(
                f"{name} is not the file the manifest was written for (its sha256 differs)",
                where=str(source),
                fix="export again",
            )


def read_tensors(raw: bytes, where: str) -> dict[str, Tensor]:
    """The tensors of a safetensors file; UserError if it is none."""
    try:
        return load_tensors(raw)
    except (SafetensorError, ValueError, KeyError) as error:
        raise UserError(f"not a safetensors file: {error}", where=where) from error


def take_tensor(
    tensors: dict[str, Tensor], key: str, shape: tuple[int, ...], dtype: torch.dtype, where: str
) -> Tensor:
    """Remove and return a tensor as float32; UserError if missing, misshapen or not finite."""
    tensor = tensors.pop(key, None)
    if tensor is None:
        raise UserError(f"the tensor {key} is missing", where=where)
    if tuple(tensor.shape) != shape or tensor.dtype != dtype:
        raise UserError(
            f"{key} is {tensor.dtype} {tuple(tensor.shape)}, the manifest wants {dtype} {shape}",
            where=where,
        )
    if not torch.isfinite(tensor).all():
        raise UserError(f"{key} holds NaN or infinite numbers", where=where)
    return tensor.float()


def refuse_leftovers(tensors: Mapping[str, Tensor], where: str) -> None:
    """Raise a UserError when a file holds tensors that its manifest does not speak of."""
    if tensors:
        raise UserError(f"the tensor {min(tensors)} is not in the manifest", where=where)


def assemble_vectors(
    manifest: Manifest, parts: Mapping[str, Tensor], probe_scores: Tensor | None, source: Path
) -> ConceptVectors:
    """Vectors from checked tensors; UserError if their values contradict each other."""
    try:
        probes = None
        if manifest.probes is not None and probe_scores is not None:
            probes = Probes(manifest.probes.texts, probe_scores)
        vectors = ConceptVectors(
            concepts=manifest.concepts,
            layers=manifest.layers,
            probes=probes,
            calibrated=manifest.calibrated,
            layer_type=manifest.read.layer_type,
            layer_config=manifest.layer_config,
            **parts,
        )
    except ValueError as error:
        raise UserError(f"the vectors are damaged: {error}", where=str(source)) from error
    found, named = zero_directions(vectors), manifest.zero_directions
    if [(z.concept, z.layer) for z in found] != [(z.concept, z.layer) for z in named]:
        raise UserError(
            "the directions of length zero are not those the manifest names", where=str(source)
        )
    return vectors


def vectors_bytes(vectors: ConceptVectors) -> bytes:
    """The file's bytes; the same vectors give the same bytes."""
    tensors = {part: getattr(vectors, part) for part in PARTS}
    if vectors.steering is not None:
        tensors[STEERING] = vectors.steering
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
    return whole_vectors(read_tensors(raw, where), manifest, path)


def whole_vectors(tensors: dict[str, Tensor], manifest: Manifest, path: Path) -> ConceptVectors:
    """Vectors from one float32 tensor for each part, all layers together.

    Raises:
        UserError: a tensor is missing, unknown, misshapen or not finite, or the values contradict
            each other.
    """
    where = str(path)
    grid = (len(manifest.concepts), len(manifest.layers))
    shapes = {
        "directions": (*grid, manifest.hidden_size),
        STEERING: (*grid, manifest.hidden_size),
        "center": (grid[1], manifest.hidden_size),
    }
    parts = {
        part: take_tensor(tensors, part, shapes.get(part, grid), torch.float32, where)
        for part in (*PARTS, *((STEERING,) if STEERING in tensors else ()))
    }
    scores = None
    if manifest.probes is not None:
        shape = (len(manifest.probes.texts), *grid)
        scores = take_tensor(tensors, PROBES, shape, torch.float32, where)
    refuse_leftovers(tensors, where)
    return assemble_vectors(manifest, parts, scores, path)
