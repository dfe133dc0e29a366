"""The files that are served, and the environment of every engine that is started."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from parity import Reference


@pytest.fixture(scope="session")
def served() -> Path:
    """The folder that `prepare.py` wrote, named by READOUT_VLLM_FILES."""
    return Path(os.environ["READOUT_VLLM_FILES"]).resolve()


@pytest.fixture(scope="session")
def reference(served: Path) -> Reference:
    return Reference(served / "model", served / "export")


@pytest.fixture(scope="session")
def environment(served: Path) -> dict[str, str]:
    """No network but this machine's own, no telemetry, one thread per worker."""
    return {
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "VLLM_HOST_IP": "127.0.0.1",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_PLUGINS": "readout",
        "VLLM_READOUT_VECTORS": str(served / "export"),
    }
