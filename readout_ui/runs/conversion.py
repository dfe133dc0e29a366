"""Vectors read from a file, written again in another format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from readout_ui.errors import UserError
from readout_ui.runs.export import format_named
from readout_ui.runs.formats.gguf import control_vector_files
from readout_ui.runs.formats.readout import LoadedReadout
from readout_ui.runs.formats.steering_vectors import pickle_files, steering_files
from readout_ui.runs.manifest import ZeroDirection, zero_directions
from readout_ui.vectors.vectors import BareDirections

BARE_FORMATS = ("steering", "gguf", "steering-pkl")
"""Formats that need no calibration."""


def converted(
    loaded: LoadedReadout | BareDirections,
    form: str,
    concepts: Sequence[str] | None = None,
    layers: Sequence[int] | None = None,
) -> Mapping[str, bytes]:
    """The files of a format by name; what a readout lost to float16 stays lost.

    Args:
        loaded: as `vector_files.read_vectors` gives it.
        form: one of `formats.FORMATS`.
        concepts: which ones, in this order; None for all.
        layers: which ones; None for all.

    Raises:
        UserError: a concept or layer that is not there, or a format that needs more than is there.
    """
    chosen = format_named(form)
    if isinstance(loaded, BareDirections):
        return _of_bare(loaded.select(concepts, layers), form)
    vectors = loaded.vectors.select(concepts, layers)
    manifest = loaded.manifest.model_copy(
        update={
            "concepts": vectors.concepts,
            "layers": vectors.layers,
            "dtype": "float32",
            "zero_directions": tuple(ZeroDirection(**zero) for zero in zero_directions(vectors)),
            "files": {},
        }
    )
    return chosen.files(vectors, manifest)


def _of_bare(bare: BareDirections, form: str) -> Mapping[str, bytes]:
    if form == "gguf":
        return control_vector_files(bare, bare.model.get("id", ""))
    if form == "steering":
        return steering_files(bare, bare.layer_type, bare.model)
    if form == "steering-pkl":
        return pickle_files(bare, bare.layer_type)
    raise UserError(
        f"directions alone cannot become the format {form}, which holds calibration too",
        fix="start from an export in the format readout or npz",
        options=BARE_FORMATS,
    )
