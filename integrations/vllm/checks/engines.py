"""Processes of vLLM, forked from one that has imported it: that takes longer than any check."""

from __future__ import annotations

import multiprocessing
import os
import runpy
import sys
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

_FORKED = multiprocessing.get_context("forkserver")
_FORKED.set_forkserver_preload(
    ["vllm.entrypoints.openai.api_server", "vllm.v1.worker.cpu_model_runner"]
)


def start(
    target: Callable[..., None], log: Path, environment: dict[str, str], *arguments: Any
) -> BaseProcess:
    """Begin `target(*arguments)` in a process of its own.

    Args:
        target: a function of a module, which can start processes itself.
        log: file for what it prints.
        environment: variables beside those of this process.
    """
    process = _FORKED.Process(target=_begin, args=(target, log, environment, arguments))
    process.start()
    return process


def _begin(
    target: Callable[..., None], log: Path, environment: dict[str, str], arguments: Any
) -> None:
    os.environ.update(environment)
    with log.open("wb") as printed:
        os.dup2(printed.fileno(), 1)
        os.dup2(printed.fileno(), 2)
    target(*arguments)


def run(
    target: Callable[..., None], log: Path, environment: dict[str, str], *arguments: Any
) -> tuple[int, str]:
    """Run `target(*arguments)` in a process of its own: its exit code and what it printed."""
    process = start(target, log, environment, *arguments)
    process.join(540)
    process.kill()  # one that hangs
    process.join()
    assert process.exitcode is not None
    return process.exitcode, log.read_text(errors="replace")


def serve(arguments: tuple[str, ...]) -> None:
    """vLLM's OpenAI server, with the arguments of its command."""
    module = "vllm.entrypoints.openai.api_server"
    sys.argv = [module, *arguments]
    del sys.modules[module]  # it is run, not only imported
    runpy.run_module(module, run_name="__main__")
