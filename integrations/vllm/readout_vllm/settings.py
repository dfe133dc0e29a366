"""What the operator sets by environment variables, the same in every process of vLLM."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from readout_vllm.errors import ReadoutError

PREFIX_MODES = ("store", "recompute")


@dataclass(frozen=True)
class Settings:
    """Which export is served, and how."""

    vectors: Path
    """The safetensors file of the export."""
    manifest: Path
    """The JSON file of the export."""
    always: bool = False
    """Every request gets rows, whether it asks or not."""
    prefix: str = "store"
    """`store`: scores are kept beside the keys and values, so that cached prompts keep theirs.
    `recompute`: a request that asks for prompt rows does not read the prefix cache."""
    untested: bool = False
    """Run what was never tested on real hardware: model runner V2."""


def from_environment(environment: Mapping[str, str] = os.environ) -> Settings | None:
    """The settings, or None when VLLM_READOUT_VECTORS is not set.

    Raises:
        ReadoutError: a value is not one of those that exist.
    """
    named = environment.get("VLLM_READOUT_VECTORS")
    if not named:
        return None
    vectors = Path(named)
    if vectors.is_dir():
        vectors = vectors / "readout.safetensors"
    manifest = environment.get("VLLM_READOUT_MANIFEST")
    prefix = environment.get("VLLM_READOUT_PREFIX_CACHE", "store")
    if prefix not in PREFIX_MODES:
        raise ReadoutError(
            f"VLLM_READOUT_PREFIX_CACHE is {prefix!r}; it can be {' or '.join(PREFIX_MODES)}"
        )
    return Settings(
        vectors=vectors,
        manifest=Path(manifest) if manifest else vectors.with_suffix(".json"),
        always=environment.get("VLLM_READOUT_ALWAYS", "") == "1",
        prefix=prefix,
        untested=environment.get("VLLM_READOUT_UNTESTED", "") == "1",
    )
