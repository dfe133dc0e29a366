"""The files that are served, and the processes of vLLM that serve them."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import NamedTuple

import engines
import pytest
from parity import Reference

# No network but this machine's own, no telemetry. Set before anything reads it at its import.
os.environ.update(
    HF_HUB_OFFLINE="1",
    VLLM_NO_USAGE_STATS="1",
    DO_NOT_TRACK="1",
    VLLM_HOST_IP="127.0.0.1",
    VLLM_CPU_KVCACHE_SPACE="1",
    VLLM_PLUGINS="readout",
)
MODEL = "served-model"


class Starting(NamedTuple):
    """A server on its way up."""

    process: BaseProcess
    port: int
    log: Path


@pytest.fixture(scope="session")
def served() -> Path:
    """The folder that `prepare.py` wrote, named by READOUT_VLLM_FILES."""
    return Path(os.environ["READOUT_VLLM_FILES"]).resolve()


@pytest.fixture(scope="session")
def reference(served: Path) -> Reference:
    return Reference(served / "model", served / "export")


@pytest.fixture(scope="session")
def environment(served: Path) -> dict[str, str]:
    return {"VLLM_READOUT_VECTORS": str(served / "export")}


@pytest.fixture(scope="session")
def starting(
    served: Path, environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Starting]:
    """The OpenAI server, begun and not waited for."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    arguments = (
        *("--model", str(served / "model"), "--served-model-name", MODEL, "model"),
        *("--dtype", "float32", "--enforce-eager", "--block-size", "32", "--max-model-len", "512"),
        *("--max-num-seqs", "8", "--max-num-batched-tokens", "64"),
        *("--host", "127.0.0.1", "--port", str(port)),
    )
    log = tmp_path_factory.mktemp("server") / "log"
    process = engines.start(engines.serve, log, environment, arguments)
    try:
        yield Starting(process, port, log)
    finally:
        process.terminate()
        process.join(30)
        process.kill()
