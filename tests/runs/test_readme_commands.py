"""Every command in the shell blocks of README and docs: parsed by the real programs, and run."""

import csv
import io
import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
import typer

from readout_ui.app.start import parse_flags
from readout_ui.cli import program as cli
from readout_ui.runs.export import READOUT_FILES
from readout_ui.runs.hub import Pushed
from readout_ui.runs.store import RunStore
from readout_ui.texts.stories import Story
from tests.conftest import SMALL_LIBRARY
from tests.support.memory_server import memory_server
from tests.support.readme_code import PAGES, code_blocks
from tests.support.stories import story_lines
from tests.support.tiny_model import save_tiny_model

ROOT = Path(__file__).resolve().parents[2]
LINES = [
    line.partition(" #")[0].strip()
    for block in code_blocks("sh")
    for line in block.splitlines()
    if line.strip()
]
APP = "readout-ui app"
COMMANDS = [line for line in LINES if line.startswith("readout-ui ") and not line.startswith(APP)]


def parsed(arguments: list[str]) -> None:
    """Let the real command read its options, without running it."""
    group = typer.main.get_command(cli.app)
    command = group.commands[arguments[0]]  # type: ignore[attr-defined]
    command.make_context(arguments[0], arguments[1:]).close()


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_of_the_readme_is_understood(line: str) -> None:
    parsed(shlex.split(line)[1:])


def test_a_command_with_a_flag_that_is_not_there_is_not_understood() -> None:
    with pytest.raises(Exception, match="--nope"):
        parsed(["read", "--vectors", "x", "--nope", "text"])


def test_every_other_line_starts_a_program_that_is_there() -> None:
    targets = (ROOT / "Makefile").read_text()
    for line in LINES:
        words = [word for word in shlex.split(line) if not re.match(r"[A-Z_]+=", word)]
        if words[0] == "make":
            assert f"\n{words[1]}:" in targets
            flags = [
                word.partition("=")[2]
                for word in shlex.split(line)
                if word.startswith("APP_FLAGS=")
            ]
            parse_flags(shlex.split(" ".join(flags)))
        elif words[0].endswith("python"):
            assert words[1] == "app.py"
            parse_flags(words[2:])
        elif line.startswith(APP):
            parse_flags(words[2:])
        else:
            assert words[0] in ("pip", "readout-ui", "llama-cli")


def test_the_loader_on_the_page_is_the_loader_that_is_tested() -> None:
    assert (ROOT / "docs" / "loader.py").read_text() in code_blocks("python")


def test_every_link_between_the_pages_leads_to_a_file() -> None:
    links = [
        (page, target)
        for page in PAGES
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8"))
        if "://" not in target
    ]
    assert len(links) > 20
    assert [(p.name, target) for p, target in links if not (p.parent / target).exists()] == []


TRIED_ELSEWHERE = ("--endpoint", "npx", "--ray")
"""What needs another program, see test_cli_draft, test_official_memory and test_workers."""


class Terminal(io.StringIO):
    """A person who answers no to everything."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with everything that the commands of the README name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("READOUT_UI_CACHE", str(tmp_path / "cache"))
    save_tiny_model(tmp_path / "tiny")
    told = []
    for concept, texts in SMALL_LIBRARY.items():
        Path("descriptions").mkdir(exist_ok=True)
        Path("descriptions", f"{concept}.txt").write_text("\n\n".join(texts) + "\n")
        for number, text in enumerate(texts):
            folder = Path("stories", concept)
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"scene {number}.txt").write_text(text)
            told.append(Story(concept, text, f"scene {number}"))
    Path("stories.jsonl").write_text(story_lines(told))
    nodes = [{"content": f"{s.text}\n{s.concept}:9"} for s in told if s.concept[0] != "_"]
    Path("memories.jsonl").write_text("".join(json.dumps(node) + "\n" for node in nodes))
    with Path("labelled.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        writer.writerows([f"Text {i} of {s.concept}.", s.concept] for i, s in enumerate(told[:12]))
    Path("texts.jsonl").write_text("".join(json.dumps({"text": s.text}) + "\n" for s in told))
    rows = [f"Tea {i} for you,Tea {i} for nobody" for i in range(6)]
    Path("pairs.csv").write_text("\n".join(["kind,unkind", *rows]))
    return tmp_path


def test_the_commands_of_the_readme_run_in_their_order(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pushed: list[tuple[str, bool, set[str]]] = []

    def push(files: dict[str, bytes], name: str, public: bool) -> Pushed:
        pushed.append((name, public, set(files)))
        return Pushed(f"https://hub/{name}", not public, "0" * 40)

    served: list[int] = []
    monkeypatch.setattr("readout_ui.runs.hub.push", push)
    monkeypatch.setattr(
        "readout_ui.inference.gate.serve_until_stopped",
        lambda _app, listener: served.append(listener.getsockname()[1]),
    )
    assert (
        cli.run(
            [
                "train",
                "--descriptions",
                "descriptions",
                "--output",
                "o",
                *on_tiny("train"),
                "--runs",
                "runs",
                "--method",
                "logistic",
            ]
        )
        == 0
    )
    with memory_server("streamable-http") as url:
        for line in COMMANDS:
            if any(other in line for other in TRIED_ELSEWHERE):
                continue
            monkeypatch.setattr("sys.stdin", Terminal("n\n" * 20))
            if "--output story-readout" in line:  # both ways write to one folder
                shutil.rmtree("story-readout", ignore_errors=True)
            assert cli.run(completed(line, url)) == 0, (line, capsys.readouterr().err)
    n_served = sum(line.startswith("readout-ui serve") for line in COMMANDS)
    assert served == [8000] * n_served
    assert pushed == [
        (
            "me/calm-vectors",
            False,
            set(READOUT_FILES),
        )
    ]
    for made in ("my-readout", "report.html", "story-readout", "example-readout", "steering.zip"):
        assert Path(made).exists()
    kept = [made.name for made in Path("trained_vectors").iterdir() if made.is_dir()]
    assert len(kept) == len(list(Path("trained_vectors").glob("*.safetensors"))) == 2
    assert "Certified" in capsys.readouterr().out


def completed(line: str, memory_url: str) -> list[str]:
    """The command's arguments, with the tiny model and what stands for a name in capitals."""
    arguments = shlex.split(line.replace("http://localhost:7777", memory_url))[1:]
    runs = [run.id for run in RunStore(Path("runs")).list()]
    arguments = [runs.pop() if word == "RUN" else word for word in arguments]
    if arguments[0] == "extract" and "--memory-mcp-url" in arguments:
        arguments[arguments.index("--min-content-chars") + 1] = "20"  # the test's nodes are short
    return [*arguments, *on_tiny(arguments[0])]


def on_tiny(command: str) -> list[str]:
    """The tiny model, for a command that loads one."""
    if command in (
        "check",
        "export",
        "runs",
        "pack",
        "install",
        "models",
        "cache",
        "extract",
        "compare",
    ):
        return []
    more = ["--max-new-tokens", "4"] if command == "steer" else []
    return ["--model", "tiny", "--device", "cpu", *more]
