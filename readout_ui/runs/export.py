"""The formats in which vectors are written: each gives files by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from readout_ui.errors import UserError
from readout_ui.files import write_file
from readout_ui.runs.manifest import EXPORT_FILES, MANIFEST_FILE, parse_manifest
from readout_ui.runs.model_card import CARD_FILE, Push, model_card
from readout_ui.runs.run_files import require_replaceable, write_folder, write_zip

if TYPE_CHECKING:
    from readout_ui.runs.manifest import Manifest
    from readout_ui.vectors.vectors import ConceptVectors

Build = Callable[["ConceptVectors", "Manifest", "Push"], Mapping[str, bytes]]
"""Files by name of vectors in float32, the manifest that tells where they are from, and what one
unit of them adds where they are to push with."""

READOUT_FILES = (*EXPORT_FILES, CARD_FILE)
"""What the "readout" format writes."""
_FILES = {
    "readout": EXPORT_FILES,
    "npz": ("vectors.npz",),
    "steering": ("steering_vectors.safetensors", "steering_vectors.json"),
    "sglang": ("config.json", "model.safetensors"),
}
"""What formats write whose files do not depend on the concepts."""


BARE_FORMATS = ("steering", "gguf", "steering-pkl")
"""Formats of what a model is pushed along; they need no calibration."""


@dataclass(frozen=True)
class Format:
    """One way to write vectors."""

    title: str
    """What a person chooses by."""
    files: Build
    warning: str = ""
    """What a person must know before choosing it."""


def export_files(
    name: str, vectors: ConceptVectors, manifest: Manifest, stem: str = "", scale: str = ""
) -> dict[str, bytes]:
    """The files of a format by name.

    Args:
        name: one of `FORMATS`.
        vectors: in float32; what was lost to float16 before stays lost.
        manifest: of the training; it may name more concepts and layers.
        stem: what a single file that a person named is called, without its ending.
        scale: of vectors to push with, "norm" (1.0 is one dose) or "unit"; empty for "norm" where
            the lengths are known.

    Raises:
        UserError: an unknown format, one that needs a calibration that is not there, or a scale
            that the vectors cannot have.
    """
    chosen = format_named(name)
    if name in BARE_FORMATS:
        _refuse_name(name, stem)
        return _steering_files(chosen, name, vectors, manifest, scale)
    if scale not in ("", "unit"):
        raise UserError(
            f"the format {name} is to read with: its vectors have unit length",
            fix="leave the scale out, or choose a format to steer with",
            options=BARE_FORMATS,
        )
    if vectors.calibrated:
        whole = manifest.holding(vectors)
        if stem:
            return _named_file(name, vectors, whole, stem)
        files = dict(chosen.files(vectors, whole, Push()))
        card = parse_manifest(files[MANIFEST_FILE], MANIFEST_FILE) if name == "readout" else whole
        return {**files, CARD_FILE: model_card(card, name).encode()}
    raise UserError(
        f"directions alone cannot become the format {name}, which holds calibration too",
        fix="start from an export in the format readout or npz",
        options=BARE_FORMATS,
    )


def _steering_files(
    chosen: Format, name: str, vectors: ConceptVectors, manifest: Manifest, scale: str
) -> dict[str, bytes]:
    """Files of directions to push with; a card beside them where their training is known."""
    first = 1 if name == "gguf" else 0  # a control vector has no layer 0
    push = Push.of(manifest, [layer for layer in vectors.layers if layer >= first], scale)
    pushed = (vectors.unit() if scale else vectors).to_steer().scaled(push.doses)
    if not vectors.calibrated:
        return dict(chosen.files(pushed, manifest, push))
    whole = manifest.holding(vectors)
    return {**chosen.files(pushed, whole, push), CARD_FILE: model_card(whole, name, push).encode()}


def _named_file(
    name: str, vectors: ConceptVectors, manifest: Manifest, stem: str
) -> dict[str, bytes]:
    from readout_ui.runs.formats.readout import readout_files

    _refuse_name(name, stem)
    return readout_files(vectors, manifest, stem)


def _refuse_name(name: str, stem: str) -> None:
    if stem and name != "readout":
        raise UserError(f"the format {name} is not one .safetensors file", fix="name a folder")


def is_file(target: Path) -> bool:
    """True when the name asks for one file of tensors, with its manifest beside it."""
    return target.suffix.lower() == ".safetensors"


def require_target(target: Path, form: str = "readout", concepts: Sequence[str] = ()) -> None:
    """Raise a UserError when writing an export there would lose something; before a training."""
    if is_zip(target):
        return
    if not is_file(target):
        endings = {"gguf": ".gguf", "steering-pkl": ".pkl"}
        own = {f"{concept}{endings.get(form, '')}" for concept in concepts}
        require_replaceable(target, {*own, *_FILES.get(form, ()), CARD_FILE})
    elif target.is_dir() or (target.exists() and not target.with_suffix(".json").exists()):
        raise UserError(
            "there is something of that name, which is no earlier export",
            where=str(target),
            fix="name another file",
        )


def write_files(target: Path, files: Mapping[str, bytes]) -> Path:
    """Write an export's files; returns where.

    Args:
        target: a folder; a zip where the name ends in .zip; where it ends in .safetensors, that
            file, and the others beside it.
        files: by name.

    Raises:
        UserError: something else than an earlier export of these files is there.
    """
    if is_zip(target):
        write_zip(target, files)
    elif is_file(target):
        require_target(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        for name, raw in files.items():
            write_file(target.parent / name, raw)
    else:
        write_folder(target, files, replaceable=files)
    return target


def is_zip(target: Path) -> bool:
    """True when the name asks for a zip file rather than a folder."""
    return target.suffix.lower() == ".zip" and not target.is_dir()


def _readout(vectors: ConceptVectors, manifest: Manifest, _push: Push) -> dict[str, bytes]:
    from readout_ui.runs.formats.readout import readout_files

    return readout_files(vectors, manifest)


def _arrays(vectors: ConceptVectors, manifest: Manifest, _push: Push) -> dict[str, bytes]:
    from readout_ui.runs.formats.npz import array_files

    return array_files(vectors, manifest)


def _probes(vectors: ConceptVectors, manifest: Manifest, _push: Push) -> dict[str, bytes]:
    from readout_ui.runs.formats.sglang import probe_files

    return probe_files(vectors, manifest)


def _control_vectors(vectors: ConceptVectors, manifest: Manifest, push: Push) -> dict[str, bytes]:
    from readout_ui.runs.formats.gguf import control_vector_files

    return control_vector_files(vectors, manifest.model.id, push)


def _steering(vectors: ConceptVectors, manifest: Manifest, push: Push) -> dict[str, bytes]:
    from readout_ui.runs.formats.steering_vectors import steering_files

    model = manifest.model.model_dump(mode="json")
    known = {key: value for key, value in model.items() if value or manifest.calibrated}
    return steering_files(vectors, manifest.read.layer_type, known, push)


def _pickles(vectors: ConceptVectors, manifest: Manifest, _push: Push) -> dict[str, bytes]:
    from readout_ui.runs.formats.steering_vectors import pickle_files

    return pickle_files(vectors, manifest.read.layer_type)


FORMATS: dict[str, Format] = {
    "readout": Format("vLLM ReadoutManager (safetensors and manifest)", _readout),
    "steering": Format("steering-vectors (safetensors and JSON)", _steering),
    "gguf": Format("GGUF control vectors (llama.cpp, repeng)", _control_vectors),
    "npz": Format("NumPy .npz", _arrays),
    "sglang": Format("SGLang token probe (--probe-ckpt)", _probes),
    "steering-pkl": Format(
        "steering-vectors (pickle)",
        _pickles,
        "A pickle can run any program when it is opened: send it only to people who trust you, "
        "and never open one from someone else. This program opens none.",
    ),
}


def format_named(name: str) -> Format:
    """The format of that name; UserError with all names if there is none."""
    if name not in FORMATS:
        raise UserError(f"unknown format {name!r}", options=FORMATS)
    return FORMATS[name]
