"""Vectors that somebody hands us, in any format that can be read back without running code.

| what | found by | holds |
|---|---|---|
| readout | `readout.json` in a folder or zip | everything, directions in float16 |
| NumPy | `*.npz`, alone or in a folder or zip | everything, float32 |
| steering-vectors | `steering_vectors.json` and `.safetensors` | directions alone |
| control vectors | `*.gguf`, alone or in a folder or zip | directions alone, one concept a file |

Pickles (`.pkl`, `.pt`, ...) are never opened.

An exported training taken back as a run, where all of its texts are on this machine.

An export names its texts by hash and does not hold them. A run without its texts would be judged
as if it had none, so it is made only when every text is found again: in the description folder, or
in a run that was kept.
"""

from __future__ import annotations

import math
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence, Sized
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import torch

from readout_ui.errors import UserError, printable
from readout_ui.files import read_files
from readout_ui.runs.formats.gguf import SUFFIX as GGUF
from readout_ui.runs.formats.gguf import read_control_vector
from readout_ui.runs.formats.npz import read_arrays
from readout_ui.runs.formats.readout import LoadedReadout, load_readout
from readout_ui.runs.formats.steering_vectors import INDEX_FILE, TENSORS_FILE, read_indexed
from readout_ui.runs.manifest import MANIFEST_FILE, VECTORS_FILE, Manifest, parse_manifest
from readout_ui.runs.run import RunRecord
from readout_ui.texts.names import is_neutral_name
from readout_ui.vectors.settings import Trained, TrainSettings
from readout_ui.vectors.training import group_texts
from readout_ui.vectors.vectors import BareDirections

if TYPE_CHECKING:
    from readout_ui.texts.library import Library

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


ROUNDED = "Brought from an export, whose directions are rounded to float16."
BROUGHT = "Brought from an export."
_SHOWN = 5
Texts = tuple[str, ...]


def adopted(
    loaded: LoadedReadout, where: str, library: Library, runs: Sequence[RunRecord]
) -> Trained:
    """The training that an export was made of, ready to be kept as a run.

    Args:
        loaded: the export, after every check of its files.
        where: its name, for messages.
        library: the description folder as it is now.
        runs: what was kept, whose texts count as well.

    Raises:
        UserError: it holds only some of the concepts, was trained on something else than
            descriptions, or some of its texts are not on this machine.
    """
    manifest = loaded.manifest
    _require_whole(manifest, where)
    texts = _texts(manifest, where, library, runs)
    _, groups = group_texts(texts)
    vectors = loaded.vectors.select(groups.concepts)
    metrics = manifest.metrics.model_copy(update={"best_layer": _best(manifest)})
    record = RunRecord(
        id="",
        folder=Path(),
        created=datetime.now(UTC),
        n_bytes=0,
        manifest=manifest.model_copy(update={"concepts": vectors.concepts, "metrics": metrics}),
        settings=TrainSettings.from_json(manifest.settings),
        descriptions=texts,
        timings={},
        warnings=(ROUNDED if manifest.dtype == "float16" else BROUGHT,),
        log=(),
    )
    return record.trained(vectors)


def _require_whole(manifest: Manifest, where: str) -> None:
    if source := manifest.source:
        raise UserError(
            f"these vectors were trained on {source}, which an export does not hold",
            where=where,
            fix="train them again, or use the file with `readout-ui read --vectors`",
        )
    trained = {name for name in manifest.descriptions if not is_neutral_name(name)}
    if missing := sorted(trained - set(manifest.concepts)):
        raise UserError(
            f"it holds {len(manifest.concepts)} of the {len(trained)} concepts of its training "
            f"(not {', '.join(missing[:_SHOWN])}), so it cannot be judged as a run",
            where=where,
            fix="export all concepts, or use the file with `readout-ui read --vectors`",
        )


def _texts(
    manifest: Manifest, where: str, library: Library, runs: Sequence[RunRecord]
) -> dict[str, Texts]:
    known = {(each.name, each.fingerprint): each.descriptions for each in library.files}
    for run in runs:
        for name, mark in run.fingerprints.items():
            known[name, mark] = run.descriptions[name]
    wanted = manifest.descriptions.items()
    found = {name: known[name, mark] for name, mark in wanted if (name, mark) in known}
    if missing := sorted(manifest.descriptions.keys() - found.keys()):
        more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
        raise UserError(
            f"the texts it was trained on are not here: {', '.join(missing[:_SHOWN])}{more}",
            where=where,
            fix="import the descriptions it was trained on (Concepts, Import), or use the file "
            "with `readout-ui read --vectors`",
        )
    return {name: found[name] for name in sorted(found)}


def _best(manifest: Manifest) -> int:
    """The best of the layers that were exported."""
    best, scores = manifest.metrics.best_layer, manifest.metrics.layer_scores
    if best in manifest.layers:
        return best

    def score(layer: int) -> float:
        found = scores[layer] if scores and layer < len(scores) else None
        return -math.inf if found is None else found

    return max(manifest.layers, key=score)
