"""Exports: a folder or zip of vectors that a server, this program or 20 lines of Python can read.

Three files:

- `readout.safetensors`: per layer `layer_<i>.vectors` (n_concepts, d_model) float16, rows in the
  order of the manifest's `concepts`. Nothing else is in it: the source of the vLLM ReadoutManager
  was not seen, and a strict loader may walk over all keys, so the calibration stands beside it.
- `calibration.safetensors`: per layer `layer_<i>.neutral_mean` and `.neutral_std` (n_concepts,)
  and `.center` (d_model,), `.probe_scores` (n_probes, n_concepts), all float32.
- `readout.json`: the manifest (see `manifest.py`), with the sha256 of both.

The bytes depend only on the training: no timestamps, sorted keys.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import save as save_tensors
from torch import Tensor

from readout_ui.errors import UserError
from readout_ui.files import read_files, sha256_of
from readout_ui.runs.manifest import (
    CALIBRATION_FILE,
    EXPORT_FILES,
    MANIFEST_FILE,
    VECTORS_FILE,
    Manifest,
    describe,
    parse_manifest,
)
from readout_ui.runs.tensors import (
    assemble_vectors,
    check_hashes,
    read_tensors,
    refuse_leftovers,
    take_tensor,
)
from readout_ui.texts.library import changed_files
from readout_ui.vectors.settings import Trained, refuse_other_model
from readout_ui.vectors.vectors import ConceptVectors

if TYPE_CHECKING:
    from readout_ui.models.loading import LoadedModel
    from readout_ui.texts.library import Library


@dataclass(frozen=True, eq=False)
class LoadedReadout:
    """An export that was read back and found whole."""

    vectors: ConceptVectors
    """Directions as the file has them: float16 values, held as float32."""
    manifest: Manifest


def build_export(
    trained: Trained, concepts: Sequence[str] | None = None, layers: Sequence[int] | None = None
) -> dict[str, bytes]:
    """The export's files by name.

    Raises:
        UserError: a concept or layer that was not trained.
    """
    vectors = trained.vectors.select(concepts, layers)
    return readout_files(vectors, describe(trained, vectors, "float32", {}))


def readout_files(vectors: ConceptVectors, manifest: Manifest) -> dict[str, bytes]:
    """The export's files by name.

    Args:
        vectors: in float32.
        manifest: where they are from; its concepts and layers are those of `vectors`.
    """
    rounded = round_vectors(vectors)
    files = {
        VECTORS_FILE: save_tensors(_vector_tensors(rounded)),
        CALIBRATION_FILE: save_tensors(_calibration_tensors(rounded)),
    }
    hashes = {name: sha256_of(raw) for name, raw in files.items()}
    whole = manifest.model_copy(update={"dtype": "float16", "files": hashes})
    return {**files, MANIFEST_FILE: whole.to_bytes()}


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
    return replace(vectors, directions=rounded, neutral_mean=mean)


def refuse_changed(trained: Trained, library: Library) -> None:
    """Raise a UserError that names the files that changed since the training.

    Every text is a negative of the other concepts, so each touches all vectors.
    """
    if changed := changed_files(library.texts(), trained.descriptions):
        raise UserError(
            f"descriptions changed since training: {', '.join(changed)}",
            fix="train again, or export the old vectors knowingly",
        )


def load_readout(source: Path, expect_model: LoadedModel | None = None) -> LoadedReadout:
    """Read an export, folder or zip, and check everything that can be checked.

    Args:
        source: the folder or zip file.
        expect_model: the model the vectors are to be used with.

    Raises:
        UserError: naming the first thing that does not fit: a missing or damaged file, a wrong
            hash, a tensor that is missing, unknown, of another shape or not finite, another model.
    """
    files = read_files(source, EXPORT_FILES)
    where = str(source / MANIFEST_FILE)
    manifest = parse_manifest(files[MANIFEST_FILE], where)
    if manifest.dtype != "float16":
        raise UserError(f"an export is float16, this one says {manifest.dtype}", where=where)
    check_hashes(manifest, {n: files[n] for n in (VECTORS_FILE, CALIBRATION_FILE)}, source)
    vectors = _assemble(manifest, files, source)
    if expect_model is not None:
        refuse_unfit_model(manifest, expect_model, str(source))
    return LoadedReadout(vectors, manifest)


def refuse_unfit_model(manifest: Manifest, model: LoadedModel, where: str) -> None:
    """Raise a UserError unless these vectors were trained on this model in this frame."""
    if manifest.hidden_size != model.d_model:
        raise UserError(
            f"the vectors have {manifest.hidden_size} numbers, {model.name} has {model.d_model}",
            where=where,
            fix=f"load {manifest.model.id}",
        )
    if max(manifest.layers) >= model.n_layers:
        raise UserError(
            f"there are vectors of layer {max(manifest.layers)}, the last layer of {model.name} "
            f"is {model.n_layers - 1}",
            where=where,
            fix=f"load {manifest.model.id}",
        )
    trained = (manifest.model.id, manifest.model.fingerprint)
    refuse_other_model(where, trained, (model.name, model.fingerprint), manifest.model.dtype)
    if manifest.frame.fingerprint != model.frame.fingerprint:
        raise UserError(
            f"the vectors were trained in another prompt frame ({manifest.frame.description}), "
            f"the model has now: {model.frame.describe()}",
            where=where,
            fix="load the same tokenizer or train again",
        )


def _vector_tensors(vectors: ConceptVectors) -> dict[str, Tensor]:
    halves = vectors.directions.to(torch.float16)
    return {
        f"layer_{layer}.vectors": halves[:, column].contiguous()  # (n_concepts, d_model)
        for column, layer in enumerate(vectors.layers)
    }


def _calibration_tensors(vectors: ConceptVectors) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for column, layer in enumerate(vectors.layers):
        tensors[f"layer_{layer}.neutral_mean"] = vectors.neutral_mean[:, column]  # (n_concepts,)
        tensors[f"layer_{layer}.neutral_std"] = vectors.neutral_std[:, column]  # (n_concepts,)
        tensors[f"layer_{layer}.center"] = vectors.center[column]  # (d_model,)
        if vectors.probes:  # (n_probes, n_concepts)
            tensors[f"layer_{layer}.probe_scores"] = vectors.probes.scores[:, :, column]
    return {key: tensor.float().contiguous().clone() for key, tensor in tensors.items()}


def _assemble(manifest: Manifest, files: Mapping[str, bytes], source: Path) -> ConceptVectors:
    n_concepts, d_model = len(manifest.concepts), manifest.hidden_size
    where = {name: str(source / name) for name in EXPORT_FILES}
    rows = read_tensors(files[VECTORS_FILE], where[VECTORS_FILE])
    constants = read_tensors(files[CALIBRATION_FILE], where[CALIBRATION_FILE])

    def stack_rows(part: str) -> Tensor:
        return torch.stack(
            [
                take_tensor(
                    rows,
                    f"layer_{i}.{part}",
                    (n_concepts, d_model),
                    torch.float16,
                    where[VECTORS_FILE],
                )
                for i in manifest.layers
            ],
            dim=1,
        )

    def stack_constants(part: str, *shape: int) -> list[Tensor]:
        return [
            take_tensor(
                constants, f"layer_{i}.{part}", shape, torch.float32, where[CALIBRATION_FILE]
            )
            for i in manifest.layers
        ]

    parts = {
        "directions": stack_rows("vectors"),  # (n_concepts, n_layers, d_model)
        "center": torch.stack(stack_constants("center", d_model)),  # (n_layers, d_model)
        "neutral_mean": torch.stack(stack_constants("neutral_mean", n_concepts), dim=1),
        "neutral_std": torch.stack(stack_constants("neutral_std", n_concepts), dim=1),
    }
    scores = None
    if manifest.probes is not None:
        n_probes = len(manifest.probes.texts)
        scores = torch.stack(stack_constants("probe_scores", n_probes, n_concepts), dim=2)
    refuse_leftovers(rows, where[VECTORS_FILE])
    refuse_leftovers(constants, where[CALIBRATION_FILE])
    return assemble_vectors(manifest, parts, scores, source)
