"""The forms in which vectors leave: one function per format, each giving files by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from readout_ui.errors import UserError
from readout_ui.files import write_folder, write_zip
from readout_ui.runs.manifest import EXPORT_FILES, MANIFEST_FILE, describe, parse_manifest
from readout_ui.runs.model_card import CARD_FILE, model_card

if TYPE_CHECKING:
    from readout_ui.runs.manifest import Manifest
    from readout_ui.texts.library import Library
    from readout_ui.vectors.settings import Trained
    from readout_ui.vectors.vectors import ConceptVectors

Build = Callable[["ConceptVectors", "Manifest"], Mapping[str, bytes]]
"""Files by name of vectors in float32 and the manifest that tells where they are from."""

READOUT_FILES = (*EXPORT_FILES, CARD_FILE)
"""What the "readout" format writes."""


@dataclass(frozen=True)
class Format:
    """One way to write vectors."""

    title: str
    """What a person chooses by."""
    files: Build
    warning: str = ""
    """What a person must know before choosing it."""

    def build(
        self, trained: Trained, concepts: Sequence[str] | None, layers: Sequence[int] | None
    ) -> Mapping[str, bytes]:
        """Files by name, of some concepts and layers; None for all."""
        vectors = trained.vectors.select(concepts, layers)
        return self.files(vectors, describe(trained, vectors, "float32", {}))


def write_export(
    trained: Trained,
    target: Path,
    concepts: Sequence[str] | None = None,
    layers: Sequence[int] | None = None,
    *,
    form: str = "readout",
    library: Library | None = None,
    allow_changed: bool = False,
) -> Path:
    """Write vectors as a folder, or as a zip where the name ends in .zip; returns it.

    Args:
        trained: what was trained.
        target: where to; an earlier export of the same files is replaced, anything else refused.
        concepts: which concepts, in this order; None for all.
        layers: which layers; None for all that were trained.
        form: one of `FORMATS`.
        library: the descriptions as they are now, to refuse vectors of texts that changed.
        allow_changed: export them all the same.

    Raises:
        UserError: texts changed, the target holds something else, or the disk refuses.
    """
    files = export_files(
        trained, concepts, layers, form=form, library=library, allow_changed=allow_changed
    )
    return write_files(target, files)


def export_files(
    trained: Trained,
    concepts: Sequence[str] | None = None,
    layers: Sequence[int] | None = None,
    *,
    form: str = "readout",
    library: Library | None = None,
    allow_changed: bool = False,
) -> Mapping[str, bytes]:
    """What `write_export` writes, by file name."""
    from readout_ui.runs.formats.readout import refuse_changed

    if library is not None and not allow_changed:
        refuse_changed(trained, library)
    return format_named(form).build(trained, concepts, layers)


def write_files(target: Path, files: Mapping[str, bytes]) -> Path:
    """Write an export's files as a folder, or as a zip where the name ends in .zip; returns it.

    Raises:
        UserError: something else than an earlier export of these files is there.
    """
    if is_zip(target):
        write_zip(target, files)
    else:
        write_folder(target, files, replaceable=files)
    return target


def is_zip(target: Path) -> bool:
    """True when the name asks for a zip file rather than a folder."""
    return target.suffix.lower() == ".zip" and not target.is_dir()


def _readout(vectors: ConceptVectors, manifest: Manifest) -> dict[str, bytes]:
    from readout_ui.runs.formats.readout import readout_files

    files = readout_files(vectors, manifest)
    return {**files, **_card(parse_manifest(files[MANIFEST_FILE], MANIFEST_FILE))}


def _arrays(vectors: ConceptVectors, manifest: Manifest) -> dict[str, bytes]:
    from readout_ui.runs.formats.npz import array_files

    return {**array_files(vectors, manifest), **_card(manifest)}


def _control_vectors(vectors: ConceptVectors, manifest: Manifest) -> dict[str, bytes]:
    from readout_ui.runs.formats.gguf import control_vector_files

    return {**control_vector_files(vectors, manifest.model.id), **_card(manifest)}


def _steering(vectors: ConceptVectors, manifest: Manifest) -> dict[str, bytes]:
    from readout_ui.runs.formats.steering_vectors import steering_files

    model = manifest.model.model_dump(mode="json")
    return {**steering_files(vectors, manifest.read.layer_type, model), **_card(manifest)}


def _pickles(vectors: ConceptVectors, manifest: Manifest) -> dict[str, bytes]:
    from readout_ui.runs.formats.steering_vectors import pickle_files

    return {**pickle_files(vectors, manifest.read.layer_type), **_card(manifest)}


def _card(manifest: Manifest) -> dict[str, bytes]:
    return {CARD_FILE: model_card(manifest).encode()}


FORMATS: dict[str, Format] = {
    "readout": Format("vLLM ReadoutManager (safetensors and manifest)", _readout),
    "steering": Format("steering-vectors (safetensors and JSON)", _steering),
    "gguf": Format("GGUF control vectors (llama.cpp, repeng)", _control_vectors),
    "npz": Format("NumPy .npz", _arrays),
    "steering-pkl": Format(
        "steering-vectors (pickle)",
        _pickles,
        "A pickle can run any program when it is opened: send it only to people who trust you, "
        "and never open one from somebody else. This program opens none.",
    ),
}


def format_named(name: str) -> Format:
    """The format of that name; UserError with all names if there is none."""
    if name not in FORMATS:
        raise UserError(f"unknown format {name!r}", options=FORMATS)
    return FORMATS[name]
