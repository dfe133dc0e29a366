"""Vectors in any format that can be read back without running code.

| what | found by | holds |
|---|---|---|
| readout | `readout.json` in a folder or zip | everything, directions in float16 |
| NumPy | `*.npz`, alone or in a folder or zip | everything, float32 |
| steering-vectors | `steering_vectors.json` and `.safetensors` | directions alone |
| control vectors | `*.gguf`, alone or in a folder or zip | directions alone, one concept a file |

Pickles (`.pkl`, `.pt`, ...) are never opened.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence, Sized
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

import torch

from readout_ui.errors import UserError, printable
from readout_ui.files import scratch_folder
from readout_ui.runs.formats.gguf import ARCHITECTURE, read_control_vector
from readout_ui.runs.formats.gguf import SUFFIX as GGUF
from readout_ui.runs.formats.npz import read_arrays
from readout_ui.runs.formats.readout import load_readout
from readout_ui.runs.formats.steering_vectors import (
    FORMAT,
    INDEX_FILE,
    TENSORS_FILE,
    bare_vectors,
    check_directions,
    read_indexed,
)
from readout_ui.runs.manifest import (
    MANIFEST_FILE,
    VECTORS_FILE,
    Manifest,
    describe_bare,
    parse_manifest,
)
from readout_ui.runs.run_files import names_in, read_files
from readout_ui.runs.tensors import read_tensors
from readout_ui.vectors.vectors import BLOCK, ConceptVectors

NPZ = ".npz"
TENSORS = ".safetensors"
PICKLES = (".pkl", ".pickle", ".pt", ".pth", ".bin", ".joblib")
KINDS = ("readout.json", "*.npz", INDEX_FILE, "*.gguf")
_LAYER = re.compile(r"layer_(0|[1-9][0-9]{0,4})")
_PAIRED = (MANIFEST_FILE, VECTORS_FILE, INDEX_FILE, TENSORS_FILE)


Opened = tuple[Manifest, ConceptVectors]


def read_vectors(source: Path) -> Opened:
    """Manifest and vectors of a folder, a zip or one of their files.

    Raises:
        UserError: a pickle, no vectors at all, several kinds, or files that are damaged.
    """
    path = _folder_of(source)
    refuse_pickle(path.name, str(source))
    of_files = {NPZ: read_arrays, GGUF: _control_vector, TENSORS: _single_file}
    if path.is_file() and (read := of_files.get(path.suffix.lower())):
        return read(path)
    names = names_in(path)
    if MANIFEST_FILE in names:
        return load_readout(path)
    if INDEX_FILE in names:
        return _steering(path)
    if arrays := [name for name in names if name.lower().endswith(NPZ)]:
        with _on_disk(path, arrays[:1]) as files:
            return read_arrays(files[arrays[0]])
    if control := sorted(name for name in names if name.lower().endswith(GGUF)):
        with _on_disk(path, control) as files:
            by_concept = {name[: -len(GGUF)]: file for name, file in files.items()}
            return _control_vectors(by_concept, str(source))
    for name in names:
        refuse_pickle(name, str(source))
    raise UserError("there are no vectors in it", where=str(source), options=KINDS)


def read_manifest(source: Path) -> Manifest | None:
    """The manifest where it stands alone, so that the vectors can wait; None where it does not."""
    path = _folder_of(source)
    packed = path.is_dir() or path.suffix.lower() == ".zip"
    if not packed or MANIFEST_FILE not in names_in(path):
        return None
    raw = read_files(path, (MANIFEST_FILE,))[MANIFEST_FILE]
    return parse_manifest(raw, str(path / MANIFEST_FILE))


def refuse_pickle(name: str, where: str) -> None:
    """Raise a UserError for a file that only unpickling could read."""
    if name.lower().endswith(PICKLES):
        raise UserError(
            "a pickle can run any program when it is opened, so it is not opened",
            where=where,
            fix="ask for the vectors as safetensors, npz or gguf",
        )


def _folder_of(source: Path) -> Path:
    return source.parent if source.name in _PAIRED and source.is_file() else source


@contextmanager
def _on_disk(path: Path, names: Sequence[str]) -> Iterator[Mapping[str, Path]]:
    """The files of a folder, or those of a zip in a temporary folder under numbers."""
    if path.is_dir():
        yield {name: path / name for name in names}
        return
    with tempfile.TemporaryDirectory(dir=scratch_folder()) as folder:
        files = {}
        for number, (name, raw) in enumerate(read_files(path, names).items()):
            files[name] = Path(folder) / f"{number}{PurePosixPath(name).suffix}"
            files[name].write_bytes(raw)
        yield files


def _stated(about: Path) -> dict[str, Any]:
    """What a JSON file beside tensors says; nothing where there is none or it is damaged."""
    try:
        found = json.loads(about.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _single_file(path: Path) -> Opened:
    """A readout in a file that a person named, or the tensors `layer_<i>` of one direction."""
    about = path.with_suffix(".json")
    stated = _stated(about)
    if "schema_version" in stated:
        return load_readout(path.parent, path.stem)
    tensors = read_tensors(read_files(path.parent, (path.name,))[path.name], str(path))
    by_layer = {int(key.removeprefix("layer_")): key for key in tensors if _LAYER.fullmatch(key)}
    if len(by_layer) != len(tensors) or not tensors:
        odd = min(tensors.keys() - set(by_layer.values()), default="nothing")
        raise UserError(
            f"it holds {printable(odd)} and no manifest lies beside it",
            where=str(path),
            options=("layer_<i> for each layer", f"{about.name} with a manifest"),
        )
    check_directions(tensors, str(path))
    layers = sorted(by_layer)
    directions = torch.stack([tensors[by_layer[layer]].float() for layer in layers])[None]
    concept, model = (str(stated.get(key) or "") for key in ("contrast_type", "model"))
    vectors = ConceptVectors.bare(
        (concept or path.stem,), layers, directions, str(stated.get("layer_type") or BLOCK)
    )
    return describe_bare(vectors, FORMAT, {"id": model}, vectors.layer_type), vectors


def _control_vector(path: Path) -> Opened:
    return _control_vectors({path.stem: path}, str(path))


def _control_vectors(files: Mapping[str, Path], where: str) -> Opened:
    """One concept a file; all files have the same layers and the same width."""
    read = {concept: read_control_vector(file) for concept, file in files.items()}
    first_name, first = next(iter(read.items()))
    layers = tuple(sorted(first.directions))
    shape = _shape(first.directions)
    for concept, vector in read.items():
        if tuple(sorted(vector.directions)) != layers or _shape(vector.directions) != shape:
            raise UserError(
                f"{printable(concept)} and {printable(first_name)} have other layers or widths",
                where=where,
                fix="read them one by one",
            )
        if vector.model_hint != first.model_hint:
            raise UserError(
                f"{printable(concept)} is of {printable(vector.model_hint)}, "
                f"{printable(first_name)} of {printable(first.model_hint)}",
                where=where,
                fix="read them one by one",
            )
    directions = torch.stack(
        [
            torch.stack([torch.from_numpy(vector.directions[layer]) for layer in layers])
            for vector in read.values()
        ]
    )  # (n_concepts, n_layers, d_model)
    vectors = ConceptVectors.bare(tuple(read), layers, directions)
    return describe_bare(vectors, ARCHITECTURE, {"id": first.model_hint}), vectors


def _shape(directions: Mapping[int, Sized]) -> int:
    return len(next(iter(directions.values())))


def _steering(path: Path) -> Opened:
    found, index = read_indexed(path)
    vectors = bare_vectors(found)
    manifest = describe_bare(vectors, FORMAT, index.model, index.layer_type)
    push = {"push": dict(index.push)} if index.push else {}
    return manifest.model_copy(update=push), vectors
