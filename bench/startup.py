"""Start-up: a training with nothing new, with one text edited, and the app's first page.

Seconds of processor, children included: others that use the machine change them little. The first
page is also timed by the clock.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from bench.results import Row, publish
from readout_ui.files import cache_folder
from readout_ui.models.packed import bundled_folder
from readout_ui.progress import silent

DESCRIPTIONS = Path(__file__).parents[1] / "descriptions"
ROUNDS = 3
PORT = 7899
BARE = "from readout_ui.models.loading import *; load_model(ModelSpec())"


def cpu_of(arguments: list[str], environment: Mapping[str, str]) -> float:
    """Seconds of processor that a Python program takes."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, *arguments]
    subprocess.run(command, env=dict(environment), check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def first_page(folder: Path, environment: Mapping[str, str]) -> tuple[float, float]:
    """Seconds from the command to the first page, by the clock and of the processor."""
    flags = ["--descriptions", str(folder / "texts"), "--runs", str(folder / "runs")]
    command = [sys.executable, "-m", "readout_ui", "app", "--port", str(PORT), *flags]
    started = time.perf_counter()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    process = subprocess.Popen(command, env=dict(environment), stdout=subprocess.DEVNULL)
    while process.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/", timeout=60) as page:
                page.read()
            break
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.05)
    clock = time.perf_counter() - started
    process.kill()
    process.wait()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return clock, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure(folder: Path) -> list[Row]:
    """All figures, each the best of a few."""
    (folder / "cache").mkdir()
    bundled_folder(silent)
    (folder / "cache" / "models").symlink_to(cache_folder() / "models")
    shutil.copytree(DESCRIPTIONS, folder / "texts")
    environment = {**os.environ, "READOUT_UI_CACHE": str(folder / "cache")}
    train = ["-m", "readout_ui", "train", "--descriptions", str(folder / "texts")]
    train += ["--output", str(folder / "out")]
    text = folder / "texts" / "calm.txt"
    cpu_of(train, environment)

    def edited(number: int) -> float:
        text.write_text(f"{text.read_text()}\n\nIt is quiet in me, for the {number}th time.\n")
        return cpu_of(train, environment)

    bare = min(cpu_of(["-c", BARE], environment) for _ in range(ROUNDS))
    one_new = min(edited(number) for number in range(ROUNDS))
    same = min(cpu_of(train, environment) for _ in range(ROUNDS))
    clock, cpu = min(first_page(folder, environment) for _ in range(ROUNDS))
    note = "models and texts as shipped"
    return [
        Row("train, nothing changed", same, "s", goal="<= 3", note=note),
        Row("load the model alone", bare, "s"),
        Row("train, one text edited", one_new, "s"),
        Row("one text edited / load alone", one_new / bare, "x", goal="<= 2"),
        Row("app, command to first page, by the clock", clock, "s", goal="<= 5"),
        Row("app until then, of the processor", cpu, "s", note="the model loads meanwhile"),
    ]


def main() -> None:
    """Print and keep them."""
    with tempfile.TemporaryDirectory() as folder:
        publish("startup", "Start-up, bundled model and library", measure(Path(folder)))


if __name__ == "__main__":
    main()
