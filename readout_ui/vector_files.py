"""Vectors that somebody hands us, in any format that can be read back without running code.

| what | found by | holds |
|---|---|---|
| readout | `readout.json` in a folder or zip | everything, directions in float16 |
| NumPy | `*.npz`, alone or in a folder or zip | everything, float32 |
| steering-vectors | `steering_vectors.json` and `.safetensors` | directions alone |
| control vectors | `*.gguf`, alone or in a folder or zip | directions alone, one concept a file |

Pickles (`.pkl`, `.pt`, ...) are never opened.
"""

from __future__ import annotations

import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence, Sized
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

import torch

from readout_ui.artifacts import LoadedReadout, load_readout
from readout_ui.bare_directions import BareDirections
from readout_ui.concept_names import printable
from readout_ui.control_vectors import SUFFIX as GGUF
from readout_ui.control_vectors import read_control_vector
from readout_ui.errors import UserError
from readout_ui.folders import read_files
from readout_ui.manifest import MANIFEST_FILE, VECTORS_FILE, Manifest, parse_manifest
from readout_ui.steering_objects import INDEX_FILE, TENSORS_FILE, read_indexed
from readout_ui.vector_arrays import read_arrays

NPZ = ".npz"
PICKLES = (".pkl", ".pickle", ".pt", ".pth", ".bin", ".joblib")
KINDS = ("readout.json", "*.npz", INDEX_FILE, "*.gguf")
MAX_FILES = 2000
_PAIRED = (MANIFEST_FILE, VECTORS_FILE, INDEX_FILE, TENSORS_FILE)
_DAMAGE = (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, zlib.error, ValueError)


def read_vectors(source: Path) -> LoadedReadout | BareDirections:
    """Vectors in a folder, a zip or one of their files.

    Raises:
        UserError: a pickle, no vectors at all, several kinds, or files that are damaged.
    """
    path = source.parent if source.name in _PAIRED and source.is_file() else source
    refuse_pickle(path.name, str(source))
    if path.suffix.lower() == NPZ and path.is_file():
        return read_arrays(path)
    if path.suffix.lower() == GGUF and path.is_file():
        return _control_vectors({path.stem: path}, str(source))
    names = _names(path)
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


def read_readout(source: Path) -> LoadedReadout:
    """Vectors with calibration and manifest, as the formats readout and npz hold them.

    Raises:
        UserError: as `read_vectors`, or the format holds directions alone.
    """
    loaded = read_vectors(source)
    if isinstance(loaded, BareDirections):
        raise UserError(
            "it holds directions alone, without what z-scores and checks need",
            where=str(source),
            fix="use an export in the format readout or npz; "
            "`readout-ui read --score raw` reads with directions alone",
        )
    return loaded


def read_manifest(source: Path) -> Manifest:
    """The manifest alone, where it stands alone; else everything is read.

    Raises:
        UserError: as `read_readout`.
    """
    if source.is_dir() or source.suffix.lower() == ".zip":
        names = _names(source)
        if MANIFEST_FILE in names:
            raw = read_files(source, (MANIFEST_FILE,))[MANIFEST_FILE]
            return parse_manifest(raw, str(source / MANIFEST_FILE))
    return read_readout(source).manifest


def refuse_pickle(name: str, where: str) -> None:
    """Raise a UserError for a file that only unpickling could read."""
    if name.lower().endswith(PICKLES):
        raise UserError(
            "a pickle can run any program when it is opened, so it is not opened",
            where=where,
            fix="ask for the vectors as safetensors, npz or gguf",
        )


def _names(path: Path) -> list[str]:
    """Names of the files in a folder or zip, none of which leads anywhere else."""
    if path.is_dir():
        return sorted(file.name for file in path.iterdir() if file.is_file())
    if not path.exists():
        raise UserError("no such file or folder", where=str(path))
    try:
        with zipfile.ZipFile(path) as archive:
            entries = [entry for entry in archive.infolist() if not entry.is_dir()]
    except OSError as error:
        raise UserError(f"cannot be read ({error.strerror})", where=str(path)) from error
    except _DAMAGE as error:
        raise UserError(f"not a folder and not a readable zip: {error}", where=str(path)) from error
    for entry in entries:
        if "\\" in entry.filename or PurePosixPath(entry.filename).name != entry.filename:
            raise UserError(
                f"the zip holds {printable(entry.filename)}, which leads into another folder",
                where=str(path),
                fix="zip the files themselves",
            )
    # Exports are stored, so a zip that unpacks to much more than itself is a bomb.
    unpacked = sum(entry.file_size for entry in entries)
    if len(entries) > MAX_FILES or unpacked > 20 * path.stat().st_size:
        raise UserError("the zip unpacks to more than an export can be", where=str(path))
    return sorted(entry.filename for entry in entries)


@contextmanager
def _on_disk(path: Path, names: Sequence[str]) -> Iterator[Mapping[str, Path]]:
    """The files of a folder, or those of a zip in a temporary folder under numbers."""
    if path.is_dir():
        yield {name: path / name for name in names}
        return
    with tempfile.TemporaryDirectory(prefix="readout-") as folder:
        files = {}
        for number, (name, raw) in enumerate(read_files(path, names).items()):
            files[name] = Path(folder) / f"{number}{PurePosixPath(name).suffix}"
            files[name].write_bytes(raw)
        yield files


def _control_vectors(files: Mapping[str, Path], where: str) -> BareDirections:
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
    return BareDirections(tuple(read), layers, directions, model={"id": first.model_hint})


def _shape(directions: Mapping[int, Sized]) -> int:
    return len(next(iter(directions.values())))


def _steering(path: Path) -> BareDirections:
    vectors, index = read_indexed(path)
    directions = torch.stack(
        [
            torch.stack([vector.layer_activations[layer].float() for layer in index.layers])
            for vector in vectors.values()
        ]
    )  # (n_concepts, n_layers, d_model)
    return BareDirections(
        index.concepts, index.layers, directions, index.layer_type, dict(index.model)
    )
