"""`readout-ui draft`: shown, kept after a yes, written as marked lines, refused in a sentence."""

import io
import json
from pathlib import Path

import pytest

from readout_ui.cli.program import run
from readout_ui.texts.drafts import written_by
from readout_ui.texts.library import Library
from tests.conftest import SMALL_LIBRARY
from tests.support.pretend_endpoint import PretendEndpoint, pretend_endpoint

ANSWER = "1. I sit here by the water.\n2. I am calm and let the day go by.\n"


class Person(io.StringIO):
    """Somebody at a terminal who types these lines."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "descriptions"
    folder.mkdir()
    for name, texts in SMALL_LIBRARY.items():
        (folder / f"{name}.txt").write_text("\n\n".join(texts), encoding="utf-8")
    return folder


def drafted(folder: Path, endpoint: PretendEndpoint, *more: str) -> int:
    words = ["--descriptions", str(folder), "--endpoint", endpoint.url, "--count", "2", *more]
    return run(["draft", "calm", *words])


def test_drafts_are_shown_and_nothing_is_changed(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = Library(folder).texts()
    with pretend_endpoint(ANSWER) as endpoint:
        assert drafted(folder, endpoint) == 0
        shown = capsys.readouterr()
        assert drafted(folder, endpoint, "--json") == 0
    assert "1. I sit here by the water." in shown.out
    assert "nearest: " in shown.out
    assert shown.out.endswith("wrote 2 of 2 texts in 1 answers.\n")
    assert f"goes to {endpoint.url}" in shown.err
    found = json.loads(capsys.readouterr().out)
    assert (found["asked"], len(found["drafts"]), found["kind"]) == (2, 2, "descriptions")
    assert Library(folder).texts() == before


def test_only_what_a_person_keeps_enters_the_library(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", Person("n\ny\n"))
    with pretend_endpoint(ANSWER) as endpoint:
        assert drafted(folder, endpoint, "--keep") == 0
    texts = Library(folder).concept("calm").descriptions
    assert texts == (*SMALL_LIBRARY["calm"], "I am calm and let the day go by.")
    assert written_by(folder, texts)[-1] == "org/pretend-1"


def test_held_out_drafts_go_to_a_file_with_their_writer(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "held_out.jsonl"
    with pretend_endpoint(ANSWER) as endpoint:
        assert drafted(folder, endpoint, "--kind", "situations", "--output", str(file)) == 0
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert {(row["label"], row["writer"]) for row in rows} == {("calm", "org/pretend-1")}


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--kind", "poems"], "nothing of the kind 'poems'"),
        (["--keep"], "no person to ask"),
        (["--endpoint", "here"], "no endpoint"),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_is_asked(
    more: list[str], said: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pretend_endpoint(ANSWER) as endpoint:
        assert drafted(folder, endpoint, *more) == 2
        assert endpoint.asked == []
    assert said in capsys.readouterr().err


def test_held_out_texts_are_not_kept_in_the_library(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", Person("y\n"))
    with pretend_endpoint(ANSWER) as endpoint:
        assert drafted(folder, endpoint, "--kind", "situations", "--keep") == 2
    assert "held out of the library" in capsys.readouterr().err
