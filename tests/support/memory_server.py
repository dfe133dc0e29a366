"""Starts the MCP server of `memory_server_process.py` for a test and ends it afterwards."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from tests.support.memory_server_process import NODES

__all__ = ["NODES", "free_port", "memory_server"]


def free_port() -> int:
    with closing(socket.socket()) as opened:
        opened.bind(("127.0.0.1", 0))
        return int(opened.getsockname()[1])


@contextmanager
def memory_server(transport: str, die_at: int = 0) -> Iterator[str]:
    """The base address of a running server."""
    port = free_port()
    program = Path(__file__).with_name("memory_server_process.py")
    process = subprocess.Popen([sys.executable, program, str(port), transport, str(die_at)])
    try:
        while not _listens(port):
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=0.05)
                raise AssertionError("the server did not start")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def _listens(port: int) -> bool:
    with closing(socket.socket()) as opened:
        return opened.connect_ex(("127.0.0.1", port)) == 0
