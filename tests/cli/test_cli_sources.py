"""`readout-ui train-stories` and `train-examples` on a tiny model."""

import json
from pathlib import Path

import pytest

from readout_ui.cli import program as cli
from readout_ui.runs.store import RunStore
from readout_ui.texts.stories import Story
from tests.conftest import SMALL_LIBRARY
from tests.support.stories import story_lines


@pytest.fixture(autouse=True)
def _prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("READOUT_UI_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def stories(tmp_path: Path) -> Path:
    file = tmp_path / "stories.jsonl"
    told = [
        Story(concept, text, "" if concept.startswith("_") else f"scene {i}")
        for concept, texts in SMALL_LIBRARY.items()
        for i, text in enumerate(texts)
    ]
    file.write_text(story_lines(told))
    return file


def test_stories_become_an_export_and_a_kept_run(
    tmp_path: Path, tiny_folder: Path, stories: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--output", str(tmp_path / "out"), "--runs", str(tmp_path / "runs"), "--json"]
    model = ["--model", str(tiny_folder), "--device", "cpu", "--target-layers", "all"]
    assert cli.run(["train-stories", str(stories), *where, *model]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["concepts"] == {"afraid": 3, "angry": 3, "calm": 3, "happy": 3}
    assert (tmp_path / "out" / "readout.safetensors").exists()
    assert len(list((tmp_path / "runs").iterdir())) >= 1


def test_what_extract_writes_is_trained_without_a_line_of_tags(
    tmp_path: Path, tiny_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dump = tmp_path / "dump.jsonl"
    nodes = [
        {"content": f"{text}\n{concept}:9" if concept[0] != "_" else text}
        for concept, texts in SMALL_LIBRARY.items()
        for text in texts
    ]
    dump.write_text("".join(json.dumps(node) + "\n" for node in nodes))
    data = str(tmp_path / "data")
    assert cli.run(["extract", "--jsonl", str(dump), "--output-dir", data]) == 0
    capsys.readouterr()
    arguments = ["--training-data-dir", data, "--output", str(tmp_path / "out"), "--layers", "1"]
    more = ["--model", str(tiny_folder), "--device", "cpu", "--json", "--batch-size", "4"]
    assert cli.run(["train-examples", *arguments, *more]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["concepts"] == {"afraid": 3, "angry": 3, "calm": 3, "happy": 3}
    assert any("fewer than 5" in warning for warning in said["warnings"])
    kept = (tmp_path / "out" / "readout.json").read_text()
    assert ":9" not in kept


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["train-stories", "{place}/none", "--output", "{place}/out"], "none"),
        (["train-examples", "--training-data-dir", "{place}/none", "--output", "o"], "run extract"),
        (["train-stories", "{place}/stories.jsonl", "--output", "o", "--method", "x"], "method"),
    ],
)
def test_a_mistake_is_one_sentence_and_status_2(
    tmp_path: Path,
    stories: Path,
    arguments: list[str],
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.run([part.replace("{place}", str(tmp_path)) for part in arguments]) == 2
    shown = capsys.readouterr().err
    assert said in shown
    assert shown.count("\n") == 1


def test_neutral_texts_of_the_folder_and_of_the_option_are_the_zero(
    tmp_path: Path, tiny_folder: Path, stories: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    for side, text in (("positive", "I rest by the water."), ("negative", "They lied to me.")):
        file = data / "calm" / f"{side}.jsonl"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("".join(json.dumps({"text": f"{text} {i}"}) + "\n" for i in range(3)))
    (data / "_baseline.txt").write_text("A shelf stands there.\n\nA list lies there.\n")
    (tmp_path / "plain.csv").write_text("id,text\n1,The door is shut today.\n2,It is a cup.\n")
    model = ["--model", str(tiny_folder), "--device", "cpu", "--layers", "1", "--json"]
    for name, command in (
        ("e", ["train-examples", "--training-data-dir", str(data)]),
        ("s", ["train-stories", str(stories)]),
    ):
        where = ["--output", str(tmp_path / name), "--runs", str(tmp_path / f"runs-{name}")]
        more = ["--neutral", str(tmp_path / "plain.csv")]
        assert cli.run([*command, *where, *model, *more]) == 0
    capsys.readouterr()
    kept = {name: RunStore(tmp_path / f"runs-{name}").current() for name in "es"}
    assert kept["e"] is not None
    assert kept["s"] is not None
    assert kept["e"].texts["_baseline"] == ("A shelf stands there.", "A list lies there.")
    for run in kept.values():
        assert run is not None
        assert run.texts["_plain"] == ("The door is shut today.", "It is a cup.")
        assert run.manifest.calibration.on == "neutral tokens"
