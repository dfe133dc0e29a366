"""GGUF control vectors: one file per concept, as llama.cpp and repeng read them.

`direction.<i>` (float32) is added to the output of block i, counted from 0; llama.cpp has none for
block 0, so that layer is left out. Keys as in repeng's `ControlVector.export_gguf` (MIT).
"""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from readout_ui.errors import UserError
from readout_ui.files import scratch_folder
from readout_ui.texts.names import require_file_name

if TYPE_CHECKING:
    from readout_ui.runs.model_card import Push
    from readout_ui.vectors.vectors import ConceptVectors

ARCHITECTURE = "controlvector"
SUFFIX = ".gguf"
_PREFIX = "direction."


@dataclass(frozen=True, eq=False)
class ControlVector:
    """One direction per layer, for adding to a model's residual stream."""

    model_hint: str
    """What the writer says of the model; may be empty."""
    directions: dict[int, npt.NDArray[np.float32]]
    """(d_model,) by layer."""


def control_vector_files(
    vectors: ConceptVectors, model_id: str, push: Push | None = None
) -> dict[str, bytes]:
    """A `{concept}.gguf` per concept.

    Beside the tensors each states `readout.scale`, `readout.dose`, `readout.layers` and, in their
    order, `readout.residual_norms`.

    Raises:
        UserError: layer 0 is the only one, or a concept's name is no safe file name.
    """
    kept = {column: layer for column, layer in enumerate(vectors.layers) if layer > 0}
    if not kept:
        raise UserError("a control vector has no layer 0", fix="export other layers")
    return {
        f"{require_file_name(concept)}{SUFFIX}": _write(
            {
                layer: vectors.directions[row, column].float().numpy()
                for column, layer in kept.items()
            },
            model_id,
            push.stated if push else {},
        )
        for row, concept in enumerate(vectors.concepts)
    }


def read_control_vector(path: Path) -> ControlVector:
    """Read a control vector that anyone wrote.

    Raises:
        UserError: no GGUF file, another kind of one, or a direction that cannot be used.
    """
    from gguf import GGUFReader

    try:
        reader = GGUFReader(path)
        architecture = _text(reader, "general.architecture")
        tensors = {str(tensor.name): np.array(tensor.data) for tensor in reader.tensors}
        hint = _text(reader, f"{ARCHITECTURE}.model_hint")
    except (ValueError, IndexError, KeyError, OSError, OverflowError, struct.error) as error:
        raise UserError(f"cannot be read as GGUF ({error})", where=str(path)) from error
    if architecture != ARCHITECTURE:
        raise UserError(
            f"this GGUF file is a {architecture or 'file without a kind'}, no control vector",
            where=str(path),
        )
    directions = {_layer(name, path): _checked(d, name, path) for name, d in tensors.items()}
    if not directions:
        raise UserError("there is no direction in it", where=str(path))
    if len({len(direction) for direction in directions.values()}) > 1:
        raise UserError("its directions have different lengths", where=str(path))
    return ControlVector(hint, directions)


def _write(
    directions: dict[int, npt.NDArray[np.float32]], hint: str, stated: Mapping[str, Any]
) -> bytes:
    from gguf import GGUFWriter

    with tempfile.TemporaryDirectory(dir=scratch_folder()) as folder:  # the writer knows files only
        path = Path(folder) / "vector.gguf"
        writer = GGUFWriter(path, ARCHITECTURE)
        writer.add_string(f"{ARCHITECTURE}.model_hint", hint)
        writer.add_uint32(f"{ARCHITECTURE}.layer_count", len(directions))
        if norms := stated.get("residual_norms"):
            writer.add_array("readout.layers", [int(layer) for layer in norms])
            writer.add_array("readout.residual_norms", list(norms.values()))
        if "dose" in stated:
            writer.add_float32("readout.dose", stated["dose"])
        if stated:
            writer.add_string("readout.scale", stated["scale"])
        for layer, direction in directions.items():
            writer.add_tensor(f"{_PREFIX}{layer}", np.ascontiguousarray(direction, np.float32))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return path.read_bytes()


def _text(reader: object, key: str) -> str:
    field = reader.get_field(key)  # type: ignore[attr-defined]
    return "" if field is None else bytes(field.parts[-1]).decode("utf-8", "replace")


def _layer(name: str, path: Path) -> int:
    number = name.removeprefix(_PREFIX)
    plain = number.isascii() and number.isdigit() and len(number) < 6
    if not (name.startswith(_PREFIX) and plain and str(int(number)) == number):
        raise UserError(
            f"the tensor {name!r} is no direction", where=str(path), options=("direction.<layer>",)
        )
    return int(number)


def _checked(direction: npt.NDArray[np.generic], name: str, path: Path) -> npt.NDArray[np.float32]:
    if direction.ndim != 1 or direction.dtype != np.float32 or not np.isfinite(direction).all():
        raise UserError(
            f"{name} is {direction.dtype} {direction.shape}, or holds NaN", where=str(path)
        )
    return direction.astype(np.float32)
