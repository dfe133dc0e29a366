"""Exports: a folder or zip of vectors that a server, this program or 20 lines of Python can read.

Three files:

- `readout.safetensors`: per layer `layer_<i>.vectors` (n_concepts, d_model) float16, rows in the
  order of the manifest's `concepts`, to read with; and where a model is better pushed along others,
  `layer_<i>.steering`, of the same shape. A loader that knows the first alone takes no harm.
- `calibration.safetensors`: per layer `layer_<i>.neutral_mean` and `.neutral_std` (n_concepts,)
  and `.center` (d_model,), `.probe_scores` (n_probes, n_concepts), all float32.
- `readout.json`: the manifest (see `manifest.py`), with the sha256 of both.

The bytes depend only on the training: no timestamps, sorted keys.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save as save_tensors
from torch import Tensor

from readout_ui.errors import UserError
from readout_ui.files import sha256_of
from readout_ui.runs.manifest import (
    CALIBRATION_FILE,
    EXPORT_FILES,
    Manifest,
    parse_manifest,
)
from readout_ui.runs.run_files import read_files
from readout_ui.runs.tensors import (
    STEERING,
    assemble_vectors,
    check_hashes,
    read_tensors,
    refuse_leftovers,
    take_tensor,
)
from readout_ui.vectors.vectors import ConceptVectors

STEM = "readout"


def file_names(stem: str) -> tuple[str, str, str]:
    """What the files for vectors, calibration and manifest are called.

    A stem other than "readout" is that of a file which a person named, `{stem}.safetensors`.
    """
    if stem == STEM:
        return EXPORT_FILES
    return f"{stem}.safetensors", f"{stem}.{CALIBRATION_FILE}", f"{stem}.json"


def readout_files(
    vectors: ConceptVectors, manifest: Manifest, stem: str = STEM
) -> dict[str, bytes]:
    """The export's files by name.

    Args:
        vectors: in float32.
        manifest: where they are from; its concepts and layers are those of `vectors`.
        stem: what the files are called, see `file_names`.
    """
    rounded = round_vectors(vectors)
    tensors, calibration, about = file_names(stem)
    files = {
        tensors: save_tensors(_vector_tensors(rounded)),
        calibration: save_tensors(_calibration_tensors(rounded)),
    }
    hashes = {name: sha256_of(raw) for name, raw in files.items()}
    whole = manifest.holding(vectors, "float16", hashes)
    return {**files, about: whole.to_bytes()}


def round_vectors(vectors: ConceptVectors) -> ConceptVectors:
    """The vectors with directions that float16 can hold and calibration that belongs to them.

    Rounding a direction d to r moves every raw score by h @ (r - d), of which center @ (r - d) is
    common to all tokens; that part moves into neutral_mean. What is left of a z score's change is
    (h - center) @ (r - d) / neutral_std, at most |h - center| * 2**-11 / neutral_std.
    """
    rounded = vectors.directions.to(torch.float16).float()  # (n_concepts, n_layers, d_model)
    lost = (vectors.directions != 0).any(dim=2) & (rounded == 0).all(dim=2)
    if lost.any() or not torch.isfinite(rounded).all():
        raise ValueError("a unit direction does not fit into float16")
    shift = torch.einsum(
        "cld,ld->cl", rounded.double() - vectors.directions.double(), vectors.center.double()
    )  # (n_concepts, n_layers)
    mean = (vectors.neutral_mean.double() + shift).float()
    pushed = None if vectors.steering is None else vectors.steering.to(torch.float16).float()
    return replace(vectors, directions=rounded, neutral_mean=mean, steering=pushed)


def load_readout(source: Path, stem: str = STEM) -> tuple[Manifest, ConceptVectors]:
    """Read an export, folder or zip, and check everything that can be checked.

    Args:
        source: the folder or zip.
        stem: what its files are called, see `file_names`.

    Raises:
        UserError: naming the first thing that does not fit: a missing or damaged file, a wrong
            hash, a tensor that is missing, unknown, of another shape or not finite.
    """
    tensors, calibration, about = file_names(stem)
    files = read_files(source, (tensors, calibration, about))
    where = str(source / about)
    manifest = parse_manifest(files[about], where)
    if manifest.dtype != "float16":
        raise UserError(f"an export is float16, this one says {manifest.dtype}", where=where)
    check_hashes(manifest, {name: files[name] for name in (tensors, calibration)}, source)
    return manifest, _assemble(manifest, files, source / tensors, source / calibration)


def _vector_tensors(vectors: ConceptVectors) -> dict[str, Tensor]:
    return {
        f"layer_{layer}.{part}": some[:, column].to(torch.float16).contiguous()
        for part, some in (("vectors", vectors.directions), (STEERING, vectors.steering))
        if some is not None
        for column, layer in enumerate(vectors.layers)
    }  # (n_concepts, d_model) each


def _calibration_tensors(vectors: ConceptVectors) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for column, layer in enumerate(vectors.layers):
        tensors[f"layer_{layer}.neutral_mean"] = vectors.neutral_mean[:, column]  # (n_concepts,)
        tensors[f"layer_{layer}.neutral_std"] = vectors.neutral_std[:, column]  # (n_concepts,)
        tensors[f"layer_{layer}.center"] = vectors.center[column]  # (d_model,)
        if vectors.probes:  # (n_probes, n_concepts)
            tensors[f"layer_{layer}.probe_scores"] = vectors.probes.scores[:, :, column]
    return {key: tensor.float().contiguous().clone() for key, tensor in tensors.items()}


def _assemble(
    manifest: Manifest, files: Mapping[str, bytes], tensors: Path, calibration: Path
) -> ConceptVectors:
    n_concepts, d_model = len(manifest.concepts), manifest.hidden_size
    rows = read_tensors(files[tensors.name], str(tensors))
    constants = read_tensors(files[calibration.name], str(calibration))

    def stack_rows(part: str) -> Tensor:
        return torch.stack(
            [
                take_tensor(
                    rows,
                    f"layer_{i}.{part}",
                    (n_concepts, d_model),
                    torch.float16,
                    str(tensors),
                )
                for i in manifest.layers
            ],
            dim=1,
        )

    def stack_constants(part: str, *shape: int) -> list[Tensor]:
        return [
            take_tensor(constants, f"layer_{i}.{part}", shape, torch.float32, str(calibration))
            for i in manifest.layers
        ]

    parts = {
        "directions": stack_rows("vectors"),  # (n_concepts, n_layers, d_model)
        **({STEERING: stack_rows(STEERING)} if any(STEERING in key for key in rows) else {}),
        "center": torch.stack(stack_constants("center", d_model)),  # (n_layers, d_model)
        "neutral_mean": torch.stack(stack_constants("neutral_mean", n_concepts), dim=1),
        "neutral_std": torch.stack(stack_constants("neutral_std", n_concepts), dim=1),
    }
    scores = None
    if manifest.probes is not None:
        n_probes = len(manifest.probes.texts)
        scores = torch.stack(stack_constants("probe_scores", n_probes, n_concepts), dim=2)
    refuse_leftovers(rows, str(tensors))
    refuse_leftovers(constants, str(calibration))
    return assemble_vectors(manifest, parts, scores, tensors.parent)
