"""The app as a person starts it, `python app.py`, in a process of its own on a free port."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from readout_ui.inference.gate import server_of

if TYPE_CHECKING:
    from playwright.sync_api import Browser

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 180
PATIENCE_MS = 90_000
"""How long a browser test waits for anything but a training: the machine may be a busy one."""
CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@contextmanager
def chromium() -> Iterator[Browser]:
    """Debian's Chromium where there is one, else Playwright's own."""
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=shutil.which("chromium"), args=CHROMIUM_FLAGS
        )
        try:
            yield browser
        finally:
            browser.close()


@dataclass(frozen=True)
class RunningApp:
    """One running app."""

    url: str
    descriptions: Path
    runs: Path
    output: Path
    """What it printed."""


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def fresh_cache(folder: Path) -> Path:
    """An empty cache that shares the converted bundled model with this machine's own."""
    from readout_ui.files import cache_folder
    from readout_ui.models.packed import bundled_folder
    from readout_ui.progress import silent

    bundled_folder(silent)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "models").symlink_to(cache_folder() / "models", target_is_directory=True)
    return folder


@contextmanager
def serving(app: Any) -> Iterator[str]:
    """Serve an ASGI app from a thread of this process; gives its address, ending in a slash."""
    port = free_port()
    server = server_of(app, port=port, log_level="critical")
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + START_SECONDS
    while not server.started and thread.is_alive() and time.monotonic() < deadline:
        time.sleep(0.02)
    try:
        yield f"http://127.0.0.1:{port}/"
    finally:
        server.should_exit = True
        thread.join(timeout=5)


@contextmanager
def running_app(
    folder: Path,
    descriptions: Path,
    cache: Path,
    flags: Sequence[str] = (),
    *,
    report: bool = False,
) -> Iterator[RunningApp]:
    """Start `python app.py` and stop it afterwards; trainings are judged by it with `report`."""
    port, output, runs = free_port(), folder / "app.log", folder / "runs"
    command = [sys.executable, str(ROOT / "app.py"), "--port", str(port), "--runs", str(runs)]
    command += ["--descriptions", str(descriptions), *flags]
    command += [] if report else ["--no-report"]
    environment = {**os.environ, "READOUT_UI_CACHE": str(cache), "HF_HUB_OFFLINE": "1"}
    with output.open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment)
        try:
            url = f"http://127.0.0.1:{port}/"
            wait_for(url, process, output)
            yield RunningApp(url, descriptions, runs, output)
        finally:
            process.terminate()
            process.wait(timeout=60)


def wait_for(url: str, process: subprocess.Popen[bytes], output: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"the app ended: {output.read_text()}")
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.1)
    raise RuntimeError(f"the app did not answer: {output.read_text()}")
