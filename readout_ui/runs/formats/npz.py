"""Vectors as one `.npz` file: plain numpy arrays with the manifest beside them, lossless."""

from __future__ import annotations

import io
import zipfile
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from readout_ui.errors import UserError
from readout_ui.runs.manifest import Manifest, parse_manifest
from readout_ui.runs.tensors import PARTS, PROBES, STEERING, whole_vectors
from readout_ui.vectors.vectors import ConceptVectors

FILE = "vectors.npz"
MAX_BYTES = 16 << 30
_FIXED_TIME = (1980, 1, 1, 0, 0, 0)


def array_files(vectors: ConceptVectors, manifest: Manifest) -> dict[str, bytes]:
    """`vectors.npz`: the arrays of `ConceptVectors`, float32, and `manifest` as JSON bytes."""
    arrays = {part: getattr(vectors, part).float().numpy() for part in PARTS}
    if vectors.steering is not None:
        arrays[STEERING] = vectors.steering.float().numpy()
    if vectors.probes:
        arrays[PROBES] = vectors.probes.scores.numpy()
    arrays["manifest"] = np.frombuffer(manifest.to_bytes(), dtype=np.uint8)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            # np.savez would write the time of day; the same vectors shall give the same bytes.
            with archive.open(zipfile.ZipInfo(f"{name}.npy", _FIXED_TIME), "w") as file:
                np.lib.format.write_array(file, array, allow_pickle=False)
    return {FILE: buffer.getvalue()}


def read_arrays(path: Path) -> tuple[Manifest, ConceptVectors]:
    """Read what `array_files` wrote; nothing in it is ever run.

    Raises:
        UserError: no such file, pickled objects, missing or damaged arrays, a wrong manifest.
    """
    where = str(path)
    arrays = _load(path)
    raw = arrays.get("manifest")
    if raw is None or raw.dtype != np.uint8 or raw.ndim != 1:
        raise UserError("there is no manifest in it", where=where)
    manifest = parse_manifest(raw.tobytes(), where)
    tensors = {name: _tensor(name, array, where) for name, array in arrays.items()}
    del tensors["manifest"]
    return manifest, whole_vectors(tensors, manifest, path)


def _tensor(name: str, array: npt.NDArray[np.generic], where: str) -> torch.Tensor:
    try:
        return torch.from_numpy(array)
    except TypeError as error:
        raise UserError(f"{name} is {array.dtype}, not float32", where=where) from error


def _load(path: Path) -> dict[str, npt.NDArray[np.generic]]:
    try:
        size = path.stat().st_size
        with zipfile.ZipFile(path) as archive:
            # Ours is stored: entries that unpack to more than the file are a bomb.
            if sum(entry.file_size for entry in archive.infolist()) > min(size * 20, MAX_BYTES):
                raise UserError("it unpacks to more than vectors can be", where=str(path))
        with np.load(path, allow_pickle=False) as file:
            return {name: np.array(file[name]) for name in file.files}
    except OSError as error:
        raise UserError(f"cannot be read ({error.strerror or error})", where=str(path)) from error
    except (ValueError, zipfile.BadZipFile, zlib.error, EOFError, KeyError, SyntaxError) as error:
        raise UserError(f"is no .npz file of plain arrays ({error})", where=str(path)) from error
