"""A model's files: where they are, whether they are whole, and how much memory they will take."""

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from readout_ui.errors import UserError, required
from readout_ui.models.bundled import (
    BUNDLED,
    INSTALL_BUNDLED,
    bundled_folder,
    bundled_gguf,
    is_converted,
)
from readout_ui.progress import Progress, Report

if TYPE_CHECKING:
    from huggingface_hub.hf_api import ModelInfo

HUB_SECONDS = 8
"""How long the hub may take to answer before it counts as out of reach."""
_BUNDLED_NAMES = (BUNDLED, f"HuggingFaceTB/{BUNDLED}")
_FLOAT_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
Answer = TypeVar("Answer")
_NETWORK_ERRORS = {"requests": "RequestException", "httpx": "HTTPError", "httpx2": "HTTPError"}
_TEXT_FILES = ("*.json", "*.jinja", "*.model", "*.txt", "*.tiktoken")


@dataclass(frozen=True)
class Checkpoint:
    """A model on this disk."""

    name: str
    """Hub id, the bundled model's name, or the folder's name."""
    revision: str
    """The hub's commit hash; empty for a folder."""
    folder: Path
    """Where config, weights and tokenizer are."""


def find_checkpoint(
    model: str, revision: str | None, trust_remote_code: bool, report: Report
) -> Checkpoint:
    """The files of a model: bundled, a local folder, the hub's local cache, or the hub.

    Raises:
        UserError: there is no such model, or no way to reach it.
    """
    if is_bundled(model) and (bundled_gguf() is not None or is_converted()):
        return Checkpoint(BUNDLED, "", bundled_folder(report))
    if _looks_like_path(model):
        return _local(model)
    hub_id = _BUNDLED_NAMES[1] if is_bundled(model) else model
    return _cached(hub_id, revision) or _downloaded(hub_id, revision, trust_remote_code, report)


def is_bundled(model: str) -> bool:
    """Whether a name means the bundled model."""
    return model in _BUNDLED_NAMES


def read_config(checkpoint: Checkpoint) -> dict[str, Any]:
    """config.json as it is.

    Raises:
        UserError: it is missing or no JSON object.
    """
    file = checkpoint.folder / "config.json"
    try:
        config = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"config.json cannot be read ({error})", where=checkpoint.name) from error
    if not isinstance(config, dict):
        raise UserError("config.json is not a JSON object", where=checkpoint.name)
    return config


def weight_bytes(checkpoint: Checkpoint, bytes_per_float: float | None) -> int:
    """Memory for the weights: their count x `bytes_per_float`, or as stored where that is None.

    Raises:
        UserError: there are no weights, or a file is cut off.
    """
    files = sorted(checkpoint.folder.glob("*.safetensors"))
    if files:
        sizes = (size for file in files for size in _tensor_sizes(file, bytes_per_float))
        return math.ceil(sum(sizes))
    pickled = sum(file.stat().st_size for file in checkpoint.folder.glob("*.bin"))
    if not pickled:
        raise UserError("there are no weights (*.safetensors) here", where=checkpoint.name)
    return pickled


def _tensor_sizes(file: Path, bytes_per_float: float | None) -> Iterator[float]:
    for tensor in _read_header(file).values():
        start, stop = tensor["data_offsets"]
        stored = _FLOAT_BYTES.get(tensor["dtype"])
        scale = 1.0 if stored is None or bytes_per_float is None else bytes_per_float / stored
        yield (stop - start) * scale


def _read_header(file: Path) -> dict[str, Any]:
    """The table of tensors in front of a safetensors file, checked against the file's length."""
    size = file.stat().st_size
    with file.open("rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        if length > size:
            raise UserError("this weights file is cut off or damaged", where=str(file))
        try:
            header = json.loads(opened.read(length))
        except ValueError as error:
            raise UserError("this weights file is damaged", where=str(file)) from error
    header.pop("__metadata__", None)
    end = 8 + length + max((tensor["data_offsets"][1] for tensor in header.values()), default=0)
    if end > size:
        raise UserError(f"this weights file is cut off ({size} of {end} bytes)", where=str(file))
    return dict(header)


def _looks_like_path(model: str) -> bool:
    return Path(model).expanduser().exists() or model.startswith((".", "/", "~")) or "\\" in model


def _local(model: str) -> Checkpoint:
    folder = Path(model).expanduser().resolve()
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "does not exist"
        raise UserError(f"the model folder {model!r} {what}", fix="give a folder or a hub id")
    if not (folder / "config.json").is_file():
        raise UserError(
            f"the folder {model!r} has no config.json, so it is no model",
            fix="give a folder that holds config.json, weights and tokenizer, or a hub id",
        )
    return Checkpoint(folder.name, "", folder)


def _cached(hub_id: str, revision: str | None) -> Checkpoint | None:
    """A complete snapshot in the hub's local cache, without asking the network."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        config = try_to_load_from_cache(hub_id, "config.json", revision=revision)
    except HFValidationError as error:
        raise UserError(
            f"there is no model {hub_id!r}",
            fix="give a local folder or a hub id like Qwen/Qwen2.5-0.5B-Instruct",
        ) from error
    if not isinstance(config, str):
        return None
    folder = Path(config).parent
    return Checkpoint(hub_id, folder.name, folder) if _is_complete(folder) else None


def _is_complete(folder: Path) -> bool:
    indices = list(folder.glob("*.index.json"))
    if not indices:
        return any(folder.glob("*.safetensors")) or any(folder.glob("*.bin"))
    wanted = json.loads(indices[0].read_text("utf-8"))["weight_map"].values()
    return all((folder / name).is_file() for name in set(wanted))


def _downloaded(
    hub_id: str, revision: str | None, trust_remote_code: bool, report: Report
) -> Checkpoint:
    from huggingface_hub import HfApi, hf_hub_download

    report(Progress(f"Asking the hub for {hub_id}", 0, 0, "files"))

    def ask() -> "ModelInfo":
        return HfApi().model_info(
            hub_id, revision=revision, timeout=HUB_SECONDS, files_metadata=True
        )

    info = _reach_hub(hub_id, revision, ask)
    files = [
        file for file in info.siblings or () if _wanted(file.rfilename, info, trust_remote_code)
    ]
    total, done, path = sum(file.size or 0 for file in files), 0, ""
    for file in files:
        report(Progress(f"Downloading {hub_id}", done >> 20, total >> 20, "MB", file.rfilename))
        path = _reach_hub(
            hub_id,
            revision,
            partial(hf_hub_download, hub_id, file.rfilename, revision=info.sha),
        )
        done += file.size or 0
    # Only a download by the revision's name notes which commit that is, for later without the hub.
    _reach_hub(hub_id, revision, partial(hf_hub_download, hub_id, "config.json", revision=revision))
    return Checkpoint(hub_id, str(info.sha), Path(path).parent)


def _wanted(file: str, info: "ModelInfo", trust_remote_code: bool) -> bool:
    name = Path(file)
    if len(name.parts) > 1:
        return False
    has_safetensors = any(other.rfilename.endswith(".safetensors") for other in info.siblings or ())
    weights = "*.safetensors" if has_safetensors else "*.bin"
    patterns = (*_TEXT_FILES, weights, *(("*.py",) if trust_remote_code else ()))
    return any(name.match(pattern) for pattern in patterns)


def _reach_hub(hub_id: str, revision: str | None, ask: Callable[[], Answer]) -> Answer:
    """Ask the hub once; every way in which that fails becomes one sentence."""
    from huggingface_hub import errors

    try:
        return ask()
    except errors.GatedRepoError as error:
        raise UserError(
            f"the hub gives {hub_id} only to people who accepted its licence",
            fix=f"accept it at https://huggingface.co/{hub_id} and run `hf auth login`",
        ) from error
    except errors.RevisionNotFoundError as error:
        raise UserError(f"{hub_id} has no revision {revision!r} on the hub") from error
    except errors.RepositoryNotFoundError as error:
        raise UserError(
            f"the hub has no model {hub_id!r} that you may see",
            fix="check the spelling, or run `hf auth login` if it is private",
        ) from error
    except unreachable_errors() as error:
        raise _unreachable(hub_id) from error


def unreachable_errors() -> tuple[type[Exception], ...]:
    """What the hub's client raises without a network; which library it uses depends on version."""
    from huggingface_hub import errors

    kinds: list[type[Exception]] = [errors.HfHubHTTPError, errors.OfflineModeIsEnabled, OSError]
    for library, name in _NETWORK_ERRORS.items():
        if find_spec(library) is not None:
            kinds.append(required(import_module(library), name, library))
    return tuple(kinds)


def _unreachable(hub_id: str) -> UserError:
    what = f"{hub_id} is not on this machine and the hub does not answer"
    if hub_id in _BUNDLED_NAMES:
        what = f"the bundled model {BUNDLED} is not installed and the hub does not answer"
    return UserError(
        what,
        fix=f"two ways to get a model: `{INSTALL_BUNDLED}` for the bundled one, or `--model` with "
        "a local folder (or with a hub id while online)",
    )
