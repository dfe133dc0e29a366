"""The built wheel, in a fresh environment in another folder: check, train, the API and the app."""

import os
import subprocess
import sys
import sysconfig
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from shutil import copy, copytree

import pytest

from tests.support.running_app import free_port, wait_for

ROOT = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.once


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of programs of a fresh environment that has the wheel and our libraries."""
    place = tmp_path_factory.mktemp("wheel")
    source = place / "source"
    copytree(ROOT / "readout_ui", source / "readout_ui")
    copytree(ROOT / "descriptions", source / "descriptions")
    for file in ("pyproject.toml", "requirements.txt"):
        copy(ROOT / file, source)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    built = [*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(place), "."]
    subprocess.run(built, cwd=source, check=True)
    (wheel,) = place.glob("readout_ui-*.whl")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(place / "venv")], check=True)
    python = place / "venv" / "bin" / "python"
    subprocess.run(
        [*pip[:3], "--python", str(python), "install", "-q", "--no-deps", wheel], check=True
    )
    (site,) = (place / "venv" / "lib").glob("python*/site-packages")
    (site / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python.parent


@pytest.fixture
def environment(tmp_path: Path) -> Mapping[str, str]:
    """No clone on the path, data and caches in the test's own folder."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return {
        **kept,
        "HOME": str(tmp_path),
        "XDG_DATA_HOME": str(tmp_path / "data"),
        "READOUT_UI_CACHE": str(tmp_path / "cache"),
        "HF_HUB_OFFLINE": "1",
    }


def test_it_checks_trains_and_reads_outside_the_clone(
    programs: Path, environment: Mapping[str, str], tiny_folder: Path, tmp_path: Path
) -> None:
    code = (
        "import sys, readout_ui as ro;"
        "from readout_ui.texts.shipped import shipped_descriptions as shipped;"
        "assert 'venv' in ro.__file__ and str(shipped()).startswith(sys.prefix);"
        "print(shipped())"
    )
    shipped = ran([programs / "python", "-c", code], tmp_path, environment).strip()
    assert "36 concepts" in ran([programs / "readout-ui", "check", shipped], tmp_path, environment)
    stances = ran([programs / "readout-ui", "check", "shipped:stances"], tmp_path, environment)
    assert "20 concepts" in stances
    on_tiny = ["--model", str(tiny_folder), "--device", "cpu"]
    train = ["train", "--descriptions", shipped, "--output", "out", *on_tiny]
    ran([programs / "readout-ui", *train], tmp_path, environment)
    read = ["read", "--vectors", "out", "The kettle is on.", "--json", *on_tiny]
    assert '"concepts"' in ran([programs / "readout-ui", *read], tmp_path, environment)


def test_the_app_starts_with_a_copy_of_the_shipped_descriptions(
    programs: Path, environment: Mapping[str, str], tiny_folder: Path, tmp_path: Path
) -> None:
    port, output = free_port(), tmp_path / "app.log"
    flags = ["--port", str(port), "--model", str(tiny_folder), "--device", "cpu"]
    with output.open("w") as log:
        app = subprocess.Popen(
            [programs / "readout-ui", "app", *flags],
            cwd=tmp_path,
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            wait_for(f"http://127.0.0.1:{port}/", app, output)
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/config", timeout=60) as answer:
                assert b"concept-list" in answer.read() or answer.status == 200
        finally:
            app.terminate()
            app.wait(timeout=60)
    copied = tmp_path / "data" / "readout-ui" / "descriptions"
    assert {file.name: file.read_bytes() for file in copied.glob("*.txt")} == {
        file.name: file.read_bytes() for file in (ROOT / "descriptions").glob("*.txt")
    }


def ran(command: list[Path | str], folder: Path, environment: Mapping[str, str]) -> str:
    """What a program printed; it must end well."""
    run = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    return run.stdout
