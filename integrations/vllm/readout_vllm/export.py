"""An export of Readout Studio as the server needs it: checked vectors, calibration, manifest.

Needs numpy and safetensors only. The files are those that `readout-ui export` writes, or a bare
safetensors file with a manifest of six keys (concepts, layers, hidden_size, dtype, aggregator,
format), as the first trainers of such vectors wrote them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load

from readout_vllm.errors import ReadoutError

Array = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Export:
    """Directions of some layers, with what turns their scores into standard deviations."""

    manifest: dict[str, Any]
    concepts: tuple[str, ...]
    layers: tuple[int, ...]
    """Rising."""
    vectors: Array
    """(n_layers, n_concepts, hidden_size)."""
    neutral_mean: Array | None
    """(n_layers, n_concepts), raw scores of neutral tokens; None for a bare export."""
    neutral_std: Array | None
    """(n_layers, n_concepts)."""

    @property
    def hidden_size(self) -> int:
        """Width of the residual stream."""
        return int(self.vectors.shape[2])

    @property
    def best_layer(self) -> int:
        """Place in `layers` of the layer that the training found best, else of the middle one."""
        best = (self.manifest.get("metrics") or {}).get("best_layer")
        return self.layers.index(best) if best in self.layers else len(self.layers) // 2

    def z_scores(self, raw: Array) -> Array:
        """Raw scores (..., n_layers, n_concepts) in standard deviations from neutral tokens.

        Raises:
            ReadoutError: the export has no calibration.
        """
        if self.neutral_mean is None or self.neutral_std is None:
            raise ReadoutError(
                "z scores were asked for, but the export has no calibration.safetensors; "
                "ask for raw scores, or export the vectors with Readout Studio"
            )
        return ((raw - self.neutral_mean) / self.neutral_std).astype(np.float32)

    def refuse_other_model(self, names: tuple[str, ...], hidden_size: int, n_layers: int) -> None:
        """Raise a ReadoutError where the vectors cannot belong to the served model.

        Args:
            names: what the served model is called: its path or id, and its served names.
            hidden_size: its width.
            n_layers: how many decoder blocks it has.
        """
        if hidden_size != self.hidden_size:
            raise ReadoutError(
                f"the vectors are {self.hidden_size} numbers wide, the model {hidden_size}; "
                f"they were made with {self._model_id() or 'another model'}"
            )
        if self.layers[-1] >= n_layers:
            raise ReadoutError(
                f"the vectors are of layer {self.layers[-1]}, the model has layers 0 to "
                f"{n_layers - 1}; they were made with {self._model_id() or 'another model'}"
            )
        made_with = self._model_id()
        if made_with and not any(_same_name(made_with, name) for name in names):
            raise ReadoutError(
                f"the vectors were made with {made_with!r}, the server runs {names[0]!r}; serve "
                "that model, or add its name with --served-model-name if it is the same"
            )

    def _model_id(self) -> str:
        return str((self.manifest.get("model") or {}).get("id") or "")


def _same_name(made_with: str, served: str) -> bool:
    def last(name: str) -> str:
        return name.rstrip("/").rsplit("/", 1)[-1].casefold()

    return last(made_with) == last(served)


def load_export(vectors: Path, manifest: Path) -> Export:
    """Read and check an export.

    Raises:
        ReadoutError: naming the first thing that does not fit.
    """
    about = _manifest(manifest)
    concepts, layers = tuple(about["concepts"]), tuple(sorted(about["layers"]))
    raw = _bytes(vectors)
    _check_hash(about, vectors, raw)
    shape = (len(concepts), int(about["hidden_size"]))
    tensors = _tensors(raw, vectors)
    directions = [_taken(tensors, f"layer_{i}.vectors", shape, vectors) for i in layers]
    mean, std = _calibration(about, vectors, layers, shape[:1])
    _refuse_unread_part(about, manifest)
    return Export(about, concepts, layers, np.stack(directions), mean, std)


def _calibration(
    about: dict[str, Any], vectors: Path, layers: tuple[int, ...], shape: tuple[int, ...]
) -> tuple[Array | None, Array | None]:
    stem = "" if vectors.stem == "readout" else f"{vectors.stem}."
    path = vectors.with_name(f"{stem}calibration.safetensors")
    if not path.is_file():
        if path.name in (about.get("files") or {}):
            raise ReadoutError(f"{path} is missing, though the manifest lists it; export again")
        return None, None
    raw = _bytes(path)
    _check_hash(about, path, raw)
    tensors = _tensors(raw, path)
    mean, std = (
        np.stack([_taken(tensors, f"layer_{i}.{key}", shape, path) for i in layers])
        for key in ("neutral_mean", "neutral_std")
    )
    if not (std > 0).all():
        raise ReadoutError(f"{path}: neutral_std holds a number that is not above 0")
    return mean, std


def _refuse_unread_part(about: dict[str, Any], manifest: Path) -> None:
    """Only the residual stream after a decoder block is what vLLM can hand out."""
    part = (about.get("read") or {}).get("layer_type", "decoder_block")
    if part != "decoder_block":
        raise ReadoutError(
            f"{manifest}: the vectors were read at {part!r}; vLLM gives the residual stream after "
            "a decoder block only. Train with --layer-type decoder_block"
        )


def _manifest(path: Path) -> dict[str, Any]:
    try:
        about = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ReadoutError(
            f"{path} cannot be read ({error.strerror}); name the manifest with "
            "VLLM_READOUT_MANIFEST"
        ) from error
    except (ValueError, RecursionError) as error:
        raise ReadoutError(f"{path} is no JSON: {error}") from error
    if not isinstance(about, dict):
        raise ReadoutError(f"{path} is no manifest of a readout: it holds no object")
    for key in ("concepts", "layers", "hidden_size"):
        if not about.get(key):
            raise ReadoutError(f"{path} is no manifest of a readout: {key} is missing")
    if not _are_different(about["concepts"], str):
        raise ReadoutError(f"{path}: concepts must be a list of different names")
    if not _are_different(about["layers"], int) or min(about["layers"]) < 0:
        raise ReadoutError(f"{path}: layers must be different whole numbers, not {about['layers']}")
    if type(about["hidden_size"]) is not int or about["hidden_size"] < 1:
        raise ReadoutError(f"{path}: hidden_size must be a whole number above 0")
    for key in ("model", "metrics", "read", "files"):
        if not isinstance(about.get(key) or {}, dict):
            raise ReadoutError(f"{path}: {key} must be an object with named keys")
    return about


def _are_different(values: Any, kind: type) -> bool:
    """Whether this is a list of values of one kind, each once; True is no number."""
    is_list = isinstance(values, list) and all(type(value) is kind for value in values)
    return is_list and len(set(values)) == len(values)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ReadoutError(f"{path} cannot be read ({error.strerror})") from error


def _check_hash(about: dict[str, Any], path: Path, raw: bytes) -> None:
    files = about.get("files")
    expected = (files or {}).get(path.name)
    if expected and hashlib.sha256(raw).hexdigest() != expected:
        raise ReadoutError(
            f"{path} is not the file that the manifest lists (its sha256 differs); export again"
        )


def _tensors(raw: bytes, path: Path) -> Mapping[str, Any]:
    try:
        return load(raw)
    except (SafetensorError, KeyError, TypeError, ValueError) as error:  # bfloat16 among others
        raise ReadoutError(f"{path} is no safetensors file: {error}") from error


def _taken(tensors: Mapping[str, Any], key: str, shape: tuple[int, ...], path: Path) -> Array:
    tensor = tensors.get(key)
    if tensor is None:
        raise ReadoutError(f"{path}: the tensor {key} is missing")
    if tuple(tensor.shape) != shape:
        raise ReadoutError(f"{path}: {key} is {tuple(tensor.shape)}, the manifest wants {shape}")
    rows = np.asarray(tensor, dtype=np.float32)
    if not np.isfinite(rows).all():
        raise ReadoutError(f"{path}: {key} holds a number that is not finite")
    return rows
