"""The models that are on this machine: the bundled one and those in the hub's local cache."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from readout_ui.bundled import (
    BUNDLED,
    INSTALL_BUNDLED,
    bundled_gguf,
    converted_folder,
    is_converted,
)

_NOT_TEXT = ("ForMaskedLM", "Classification", "ForQuestionAnswering", "Processor", "Vision")


@dataclass(frozen=True)
class KnownModel:
    """One model that can be loaded without a network."""

    name: str
    """What to give to `--model`."""
    source: Literal["bundled", "hub cache"]
    """Where it comes from."""
    bytes: int
    """Size on disk; 0 where there is nothing yet."""
    note: str
    """Its state in a few words, e.g. "not unpacked yet"."""


def known_models() -> tuple[KnownModel, ...]:
    """The bundled model first, then the causal language models of the hub's cache by name."""
    return (_bundled(), *sorted(_cached(), key=lambda model: model.name.lower()))


def _bundled() -> KnownModel:
    gguf = bundled_gguf()
    if is_converted():
        size = sum(file.stat().st_size for file in converted_folder().iterdir())
        return KnownModel(BUNDLED, "bundled", size, "unpacked, loads at once")
    if gguf is not None:
        size = gguf.stat().st_size
        return KnownModel(BUNDLED, "bundled", size, "unpacked on first use (about a minute)")
    return KnownModel(BUNDLED, "bundled", 0, f"not installed: {INSTALL_BUNDLED}")


def _cached() -> Iterator[KnownModel]:
    from huggingface_hub import CacheNotFound, scan_cache_dir

    try:
        repositories = scan_cache_dir().repos
    except CacheNotFound:
        return
    for repository in repositories:
        if repository.repo_type != "model":
            continue
        newest = max(repository.revisions, key=lambda revision: revision.last_modified)
        kind = _kind(Path(newest.snapshot_path))
        if kind:
            yield KnownModel(repository.repo_id, "hub cache", repository.size_on_disk, kind)


def _kind(snapshot: Path) -> str:
    """The architecture of a snapshot that has weights for a language model, else ""."""
    if not any((*snapshot.glob("*.safetensors"), *snapshot.glob("*.bin"))):
        return ""
    try:
        config = json.loads((snapshot / "config.json").read_text("utf-8"))
        kinds = [str(kind) for kind in config.get("architectures") or ()]
    except (OSError, ValueError, AttributeError):
        return ""
    if any(part in kind for kind in kinds for part in _NOT_TEXT):
        return ""
    return ", ".join(kinds)
