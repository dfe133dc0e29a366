"""What a command line shows: bars only on a terminal, tables that line up, sizes people read."""

import io
import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from readout_ui.cli.output import (
    as_json,
    progress_report,
    table,
)
from readout_ui.files import size_text
from readout_ui.progress import Progress
from tests.support.tiny_model import save_tiny_model


def test_a_pipe_sees_no_progress() -> None:
    stream = io.StringIO()
    with progress_report(stream) as report:
        report(Progress("Reading texts", 1, 2))
    assert stream.getvalue() == ""


def test_a_terminal_sees_a_bar_for_each_stage_even_if_it_hides_its_width() -> None:
    reader, writer = os.openpty()  # a new pseudo-terminal is 0 columns wide
    with os.fdopen(writer, "w") as terminal:
        with progress_report(terminal) as report:
            for done in range(3):
                report(Progress("Reading texts", done, 2, note="1 from the cache"))
            report(Progress("Fitting", 0, 0, "concepts"))
        shown = ""
        while "Fitting" not in shown:  # a terminal hands on what was written piece by piece
            shown += os.read(reader, 65536).decode()
    os.close(reader)
    assert "Reading texts: 100%" in shown
    assert "2/2" in shown
    assert "1 from the cache" in shown
    assert "Fitting" in shown


def test_only_a_pipe_gets_what_moves_a_terminals_cursor() -> None:
    program = "from readout_ui.progress import write_anything as start; start(); "
    said = "print('a\\x1b[31mb\\x9b\\u202e\\tc')"
    command = [sys.executable, "-c", program + said]
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8"}
    piped = subprocess.run(command, capture_output=True, check=True, env=environment).stdout
    assert piped.decode() == "a\x1b[31mb\x9b\u202e\tc\n"
    reader, writer = os.openpty()
    with os.fdopen(writer, "wb") as terminal:
        subprocess.run(command, stdout=terminal, check=True, env=environment)
        shown = os.read(reader, 65536).decode()
    os.close(reader)
    assert shown.split() == ["a\\x1b[31mb\\x9b\\x202e", "c"]


CELL = st.text("abc·é", max_size=5)


@given(st.lists(st.tuples(CELL, CELL), max_size=5))
def test_numbers_of_a_table_end_in_one_column(rows: list[tuple[str, str]]) -> None:
    lines = table(("name", "n"), [(left, right + "|") for left, right in rows]).splitlines()
    assert len({len(line) for line in lines[1:]}) <= 1


@pytest.mark.parametrize(
    ("n_bytes", "text"), [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (4 * 2**30, "4.3 GB")]
)
def test_sizes_are_short(n_bytes: int, text: str) -> None:
    assert size_text(n_bytes) == text


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda part: st.lists(part, max_size=4) | st.dictionaries(st.text(max_size=3), part),
    max_leaves=12,
)


def no_constant(name: str) -> None:
    raise AssertionError(f"{name} is not JSON")


@given(VALUES)
def test_json_never_holds_what_other_programs_refuse(value: object) -> None:
    json.loads(as_json(value), parse_constant=no_constant)


def test_numbers_that_are_none_become_null() -> None:
    line = as_json({"low": math.nan, "ends": (-math.inf, 0.5), "n": 3})
    assert json.loads(line) == {"low": None, "ends": [None, 0.5], "n": 3}


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "ascii:strict", "utf-8"])
def test_output_in_any_encoding_is_written(tmp_path: Path, encoding: str) -> None:
    """As on Windows, where a file that output goes to gets cp1252."""
    folder = tmp_path / "wärme⏎"
    folder.mkdir()
    (folder / "ruhig_ώ.txt").write_text("Ich ruhe ⏎ heute.", encoding="utf-8")
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}

    def run(*flags: str) -> subprocess.CompletedProcess[bytes]:
        command = [sys.executable, "-m", "readout_ui", "check", str(folder), *flags]
        return subprocess.run(command, capture_output=True, env=environment, check=False)

    table, exact = run(), run("--json")
    for each in (table, exact):
        assert b"Traceback" not in each.stderr, each.stderr
    assert table.stdout.decode(encoding.partition(":")[0])
    assert "ruhig_ώ" in exact.stdout.decode("utf-8")
    json.loads(exact.stdout)


OURS = re.compile(
    r"(Loading|Identifying|Reading|Fitting|Calibrating|Cross-validat|Choosing|Writing|Answering"
    r"|Measuring|baseline|steered)"
)
COMMANDS = """
import json, sys
from readout_ui.__main__ import main
for command in json.loads(sys.argv[1]):
    sys.argv[1:] = command
    try:
        main()
    except SystemExit as end:
        assert not end.code, command
"""


def test_commands_on_a_terminal_show_our_lines_and_no_library_s(tmp_path: Path) -> None:
    """Even with all warnings on, which is how a library's deprecation would show first."""
    texts, output = tmp_path / "texts", str(tmp_path / "out")
    model = save_tiny_model(tmp_path / "tiny")
    settings = json.loads((model / "tokenizer_config.json").read_text("utf-8"))
    settings["model_max_length"] = 8  # transformers has something to say of longer texts
    (model / "tokenizer_config.json").write_text(json.dumps(settings), "utf-8")
    texts.mkdir()
    for name, said in (("calm", "I rest."), ("sad", "She left."), ("_neutral", "A table.")):
        (texts / f"{name}.txt").write_text(f"{said}\n\nAgain: {said}\n\nYes. {said}", "utf-8")
    used = ["--model", str(model), "--device", "cpu", "--json"]
    commands = [
        ["train", "--descriptions", str(texts), "--output", output, *used],
        ["read", "--vectors", output, *used, "I am calm, and my breath is even."],
        ["steer", "--vectors", output, *used, "--concept", "calm", "--max-new-tokens", "4", "Go"],
    ]
    shown, printed = on_a_terminal(
        [sys.executable, "-W", "always", "-c", COMMANDS, json.dumps(commands)],
        {**os.environ, "READOUT_UI_CACHE": str(tmp_path / "cache")},
    )
    lines = [line.strip() for line in re.split(r"\x1b\[[0-9;]*[A-Za-z]|[\r\n]", shown)]
    assert any(line.startswith("Reading texts: 100%") for line in lines), shown
    assert [line for line in lines if line and not OURS.match(line)] == []
    assert [type(json.loads(line)) for line in printed.splitlines()] == [dict] * 3


def on_a_terminal(command: list[str], environment: dict[str, str]) -> tuple[str, str]:
    """What a command shows on a terminal of unknown size, and what it prints into a pipe."""
    reader, writer = os.openpty()
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=writer, env=environment, text=True
    )
    os.close(writer)
    shown = b"".join(iter(lambda: piece_of(reader), b"")).decode()
    os.close(reader)
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 0, shown
    return shown, printed


def piece_of(terminal: int) -> bytes:
    """What is next on a terminal; nothing where its other side is closed (EIO on Linux)."""
    try:
        return os.read(terminal, 65536)
    except OSError:
        return b""
