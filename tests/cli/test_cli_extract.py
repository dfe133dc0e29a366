"""`readout-ui extract` from its options to its files."""

import json
import sqlite3
from pathlib import Path

import pytest

from readout_ui.cli import program as cli
from readout_ui.texts.examples import read_examples
from tests.support.memory_server import NODES, free_port, memory_server

FLAGS = ["--min-positive-score", "8", "--max-negative-mentions", "0"]
FLAGS += ["--min-content-chars", "20", "--max-examples-per-emotion", "500"]


@pytest.fixture
def dump(tmp_path: Path) -> Path:
    file = tmp_path / "dump.jsonl"
    file.write_text("".join(json.dumps({"key": k, "content": c}) + "\n" for k, c in NODES))
    return file


def run(*arguments: str | Path) -> int:
    return cli.run(["extract", *map(str, arguments)])


def written(folder: Path) -> dict[str, tuple[set[str], set[str]]]:
    return {
        each.concept: ({e.node for e in each.positive}, {e.node for e in each.negative})
        for each in read_examples(folder)
    }


EXPECTED = {
    "calm": ({"n0", "n4"}, {"n1", "n2", "n5", "n6"}),
    "anger": ({"n1", "n5"}, {"n0", "n2", "n3", "n4", "n6"}),
    "warmth": ({"n0", "n3"}, {"n1", "n2", "n4", "n5", "n6"}),
}


def test_a_dump_becomes_examples_without_their_tags(
    tmp_path: Path, dump: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--jsonl", dump, "--output-dir", tmp_path / "out", *FLAGS) == 0
    shown = capsys.readouterr()
    assert "7 nodes, 0 too short, 0 repeated; 3 concepts written to" in shown.out
    assert "fewer than 5" in shown.err
    assert written(tmp_path / "out") == EXPECTED
    texts = "".join(f.read_text() for f in (tmp_path / "out").glob("*/*.jsonl"))
    assert "calm:" not in texts


def test_the_list_shows_concepts_by_count_and_writes_nothing(
    tmp_path: Path, dump: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--jsonl", dump, "--list", *FLAGS) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["concept", "scored", "8+", "tagged", "without"]
    assert lines[1].split() == ["calm", "2", "3", "4"]
    assert list(tmp_path.iterdir()) == [dump]


def test_a_database_and_chosen_concepts_as_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with sqlite3.connect(tmp_path / "m.db") as database:
        database.execute("CREATE TABLE nodes (key TEXT, body TEXT)")
        database.executemany("INSERT INTO nodes VALUES (?, ?)", NODES)
    database.close()
    more = ["--concepts", "Calm,warmth", "--json", "--max-examples-per-emotion", "1"]
    assert run("--sqlite", tmp_path / "m.db", "--output-dir", tmp_path / "out", *FLAGS, *more) == 0
    found = json.loads(capsys.readouterr().out)
    one = {"positive": 1, "negative": 1}
    assert found["written"] == {"calm": one, "warmth": one}


@pytest.mark.parametrize("transport", ["streamable-http", "sse"])
def test_a_server_that_dies_is_asked_only_for_what_is_missing_when_it_is_back(
    tmp_path: Path,
    transport: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    port = free_port()
    monkeypatch.setattr("tests.support.memory_server.free_port", lambda: port)
    out = ["--output-dir", str(tmp_path / "out"), *FLAGS]
    with memory_server(transport, die_at=3) as url:
        assert run("--memory-mcp-url", url, *out) == 2
    assert "after 4 more nodes; run the same command again" in capsys.readouterr().err
    with memory_server(transport, die_at=3) as url:
        assert run("--memory-mcp-url", url, *out) == 0
    assert written(tmp_path / "out") == EXPECTED
    assert run("--memory-mcp-url", url, *out, "--concepts", "calm") == 0
    assert list(written(tmp_path / "out")) == ["calm"]


def test_stored_nodes_are_used_without_the_server_and_refreshed_with_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ["--output-dir", str(tmp_path / "out"), *FLAGS]
    with memory_server("streamable-http", die_at=7) as url:
        keys = ["--memory-mcp-url", url, "--tool", "keys", "--node-tool", "node"]
        assert run(*keys, *out) == 2
        assert run(*keys, *out, "--stored") == 0
        assert "5 nodes" in capsys.readouterr().out
        assert run("--memory-mcp-url", url, *out) == 2
        assert "this folder holds nodes of url" in capsys.readouterr().err
    out[1] += "2"
    with memory_server("streamable-http") as url:
        assert run("--memory-mcp-url", url, *out) == 0
        assert run("--memory-mcp-url", url, *out, "--refresh") == 0
    assert "7 nodes" in capsys.readouterr().out.splitlines()[-1]
    nodes = (tmp_path / "out2" / "nodes.jsonl").read_text()
    assert nodes.count('"key": "n3"') == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            [],
            "source of nodes (options: --memory-mcp-url, --memory-mcp-command, --jsonl, --sqlite)",
        ),
        (["--jsonl", "{dump}"], "name one with --output-dir"),
        (["--jsonl", "{dump}", "--sqlite", "x", "--list"], "name one source"),
        (["--jsonl", "{dump}", "--list", "--min-positive-score", "12"], "score of 12"),
        (["--jsonl", "{dump}", "--output-dir", "{dump}o", "--concepts", "awe"], "awe: no node"),
        (["--memory-mcp-url", "nowhere", "--output-dir", "{dump}o"], "no address of a server"),
        (
            [*("--memory-mcp-url", "http://a", "--output-dir", "{dump}o"), "--tool-arguments", "["],
            "--tool-arguments is not JSON",
        ),
    ],
)
def test_a_mistake_is_one_sentence_and_status_2(
    dump: Path, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*(part.replace("{dump}", str(dump)) for part in arguments)) == 2
    shown = capsys.readouterr().err
    assert said in shown
    assert shown.count("\n") == 1
