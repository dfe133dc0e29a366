"""`readout-ui train-stories` and `train-examples` on a tiny model."""

import json
from pathlib import Path

import pytest

from readout_ui.cli import program as cli
from readout_ui.runs.store import RunStore
from readout_ui.texts.library import Library
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


def test_a_recipe_settles_method_and_pooling_and_refuses_another(
    tmp_path: Path, tiny_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = [Story(c, t) for c, some in SMALL_LIBRARY.items() if c[0] != "_" for t in some]
    stories = tmp_path / "told.jsonl"
    stories.write_text(story_lines(told))
    asked = ["train-stories", str(stories), "--recipe", "anthropic-2026", "--json"]
    where = ["--output", str(tmp_path / "out"), "--model", str(tiny_folder), "--device", "cpu"]
    assert cli.run([*asked, *where, "--layers", "1"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["settings"]["method"], said["settings"]["read"]) == ("neutral_pcs", "from:50")
    assert said["n_texts"] == len(told) + len(Library("shipped:emotions").neutral_texts())
    assert not any("neutral_pcs needs" in warning for warning in said["warnings"])
    assert cli.run([*asked, *where, "--method", "pca"]) == 2
    assert "anthropic-2026 means method neutral_pcs, not pca" in capsys.readouterr().err


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


# Frames and previews


def train_arguments(place: Path, tiny: Path, *more: str) -> list[str]:
    folder = place / "descriptions"
    model = ["--model", str(tiny), "--device", "cpu"]
    return ["train", "--descriptions", str(folder), "--output", str(place / "out"), *model, *more]


def test_what_is_trained_without_a_template_is_read_and_verified_without_one(
    tmp_path: Path, tiny_folder: Path, descriptions: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    alone = ["--frame", "none", "--read-token-index", "-1"]
    assert cli.run(train_arguments(tmp_path, tiny_folder, *alone)) == 0
    manifest = json.loads((tmp_path / "out" / "readout.json").read_text())
    assert manifest["settings"]["frame"] == "none"
    assert manifest["read"]["rule"] == "token:-1"
    assert manifest["frame"]["description"] == "no template: the text alone"
    model = ["--model", str(tiny_folder), "--device", "cpu"]
    capsys.readouterr()
    assert cli.run(["verify", str(tmp_path / "out"), *model]) == 0
    assert "Certified" in capsys.readouterr().out
    text = SMALL_LIBRARY["calm"][0]
    assert cli.run(["read", text, "--vectors", str(tmp_path / "out"), *model, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found["roles"]) == {"assistant"}
    assert "".join(found["tokens"]).replace("·", " ").strip() == text


def test_pairs_are_read_as_the_seeds_trainers_read_them(
    tmp_path: Path, tiny_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs = ["train-pairs", "--contrast-type", "irony", "--num-samples", "6"]
    alone = ["--frame", "none", "--read", "content_last", "--output-dir", str(tmp_path / "out")]
    model = ["--model", str(tiny_folder), "--device", "cpu", "--no-progress"]
    assert cli.run([*pairs, *alone, *model, "--json"]) == 0
    written = json.loads(capsys.readouterr().out)["output"]
    assert cli.run(["verify", written, *model[:-1]]) == 0


@pytest.mark.parametrize("more", [[], ["--frame", "none", "--read-token-index", "-2"]])
def test_a_preview_shows_one_framed_text_and_trains_nothing(
    tmp_path: Path,
    tiny_folder: Path,
    descriptions: Path,
    stories: Path,
    more: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    model = ["--model", str(tiny_folder), "--preview", *more]
    output = ["--output", str(tmp_path / "out")]
    commands = [
        ["train", "--descriptions", str(descriptions), *output],
        ["train-stories", str(stories), *output],
        ["train-pairs", "--contrast-type", "tom"],
    ]
    for command in commands:
        assert cli.run([*command, *model]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert any(" pooled " in line for line in lines)
        has_prompt = command[0] == "train-pairs"  # its question stands before the answer
        assert any(" frame " in line for line in lines) == (not more or has_prompt)
    assert not (tmp_path / "out").exists()
