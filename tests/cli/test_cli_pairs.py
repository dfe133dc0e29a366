"""train-pairs as a person or a script meets it, on a tiny model."""

import json
from datetime import date
from pathlib import Path

import pytest
import typer

from readout_ui.cli.program import app
from readout_ui.cli.train_pairs import output_name
from readout_ui.errors import UserError
from readout_ui.runs.run import Run
from readout_ui.runs.store import RunStore

TODAY = f"{date.today():%Y%m%d}"


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("READOUT_UI_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def train(tiny: Path, *arguments: str) -> None:
    command = typer.main.get_command(app)
    on = ["--model", str(tiny), "--device", "cpu", "--no-progress"]
    command(["train-pairs", *arguments, *on], standalone_mode=False)


def test_a_contrast_type_gives_an_export_with_the_guides_name(
    place: Path, tiny_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = ["--layers", "-1,-2", "--num-samples", "6", "--batch-size", "2", "--runs", "runs"]
    train(tiny_folder, "--contrast-type", "irony", "--output-dir", "my_vectors", *more)
    shown = capsys.readouterr()
    name = f"irony_{tiny_folder.name.lower()}_layers--1--2_{TODAY}"
    loaded = Run.open(place / "my_vectors" / name)
    assert loaded.manifest.concepts == ("irony",)
    assert len(loaded.manifest.layers) == 2
    assert "Polarity: positive = ironic, negative = literal" in shown.err
    assert "With 6 pairs" in shown.err
    assert "bag of words" in shown.out
    record = RunStore(Path("runs")).current()
    assert record is not None
    assert len(record.texts["irony"]) == 6


def test_a_file_of_pairs_is_read_with_the_columns_that_are_named(
    place: Path, tiny_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [f"{i} warm tea,{i} cold tea,Tea number {i}?" for i in range(4)]
    Path("my pairs.csv").write_text("\n".join(["nice,bad,ask", *rows]))
    columns = ["--positive", "nice", "--negative", "bad", "--prompt", "ask"]
    train(tiny_folder, "--pairs", "my pairs.csv", *columns, "--json", "--method", "logistic")
    found = json.loads(capsys.readouterr().out)
    assert found["polarity"] == "positive = nice, negative = bad, prompt = ask"
    assert found["contrast_type"] == "my pairs"
    assert found["held_out"]["n_pairs"] == 4
    assert len(found["held_out"]["accuracy"]) == len(found["layers"])
    assert Path(found["output"]).parent == Path("trained_vectors")
    assert Run.open(place / found["output"]).manifest.method == "logistic"


def test_a_folder_of_pair_files_takes_the_place_of_the_shipped_ones(
    tiny_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("data").mkdir()
    rows = [
        {"scenario": f"Box {i}?", "high_tom": f"He looks {i}.", "low_tom": f"It is {i}."}
        for i in range(3)
    ]
    Path("data/theory_of_mind.json").write_text(json.dumps({"pairs": rows}))
    train(tiny_folder, "--contrast-type", "tom", "--data-dir", "data", "--json", "--layers", "all")
    found = json.loads(capsys.readouterr().out)
    assert (found["source"], found["pairs"]) == ("theory_of_mind.json", 3)
    assert found["output"].endswith(f"_all-layers_{TODAY}")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no pairs are named"),
        (["--contrast-type", "wit"], "unknown contrast type 'wit'"),
        (["--contrast-type", "tom", "--layers", "1,x"], "cannot read layers"),
        (["--contrast-type", "tom", "--num-samples", "0"], "too few"),
        (["--contrast-type", "tom", "--positive", "x"], "both sides"),
        (["--contrast-type", "tom", "--data-dir", "nowhere"], "there is no such folder"),
        (["--contrast-type", "tom", "--format", "zip"], "unknown format"),
        (["--pairs", "same.csv"], "pair 2: Both sides are the same text"),
    ],
)
def test_mistakes_are_told_before_a_model_is_loaded(arguments: list[str], message: str) -> None:
    Path("same.csv").write_text("positive,negative\nup,down\nthe same,The same.\n")
    with pytest.raises(UserError) as refusal:
        train(Path("no model"), *arguments)
    assert message in str(refusal.value)


def test_names_are_those_of_the_guide() -> None:
    assert (
        output_name("tom", "google/gemma-2-27b-it", "all") == f"tom_gemma-2-27b_all-layers_{TODAY}"
    )
    llama = output_name("self_other", "meta-llama/Llama-2-7b-chat-hf", "-1,-2,-3")
    assert llama == f"self_other_llama-2-7b-chat_layers--1--2--3_{TODAY}"


def pair_table(folder: str, word: str) -> str:
    """Pairs in columns that name the contrast, so that two such files name the same one."""
    Path(folder).mkdir()
    rows = [f"How lovely {word} {i}!,It is {word} {i}." for i in range(4)]
    file = Path(folder) / f"{word}.csv"
    file.write_text("\n".join(["ironic,literal", *rows]))
    return str(file)


def outputs(capsys: pytest.CaptureFixture[str]) -> Path:
    return Path(json.loads(capsys.readouterr().out)["output"])


def test_two_files_with_the_same_columns_are_kept_apart(
    tiny_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for word in ("rain", "snow"):
        train(tiny_folder, "--pairs", pair_table(word, word), "--json")
        assert word in outputs(capsys).name
    assert len([path for path in Path("trained_vectors").iterdir() if path.is_dir()]) == 2


def test_vectors_of_other_pairs_and_foreign_files_are_not_overwritten(
    tiny_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = pair_table("one", "rain")
    train(tiny_folder, "--pairs", first, "--json")
    there = outputs(capsys)
    train(tiny_folder, "--pairs", first, "--json", "--method", "pca")
    assert Run.open(there).manifest.method == "pca"
    other = Path(pair_table("two", "rain"))
    other.write_text(other.read_text().replace("lovely", "grand"))
    with pytest.raises(UserError, match="holds vectors of other pairs"):
        train(tiny_folder, "--pairs", str(other))
    (there / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"holds notes\.txt"):
        train(tiny_folder, "--pairs", first)
    assert (there / "notes.txt").read_text() == "mine"


def test_the_guides_three_files_lie_beside_the_export(
    tiny_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(tiny_folder, "--contrast-type", "irony", "--json", "--layers", "middle", "--pickle")
    written = outputs(capsys)
    assert written.name == f"irony_{tiny_folder.name.lower()}_middle-layers_{TODAY}"
    files = {file.name for file in written.parent.iterdir() if file.is_file()}
    assert files == {f"{written.name}.{ending}" for ending in ("safetensors", "json", "pkl")}
    about = json.loads((written.parent / f"{written.name}.json").read_bytes())
    assert about["num_samples"] == 40
    assert about["layers"] == list(Run.open(written).layers)


def test_neutral_texts_of_a_file_take_the_place_of_the_librarys(
    place: Path, tiny_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "plain.txt").write_text("A shelf stands there.\n\nA list lies there.\n")
    more = ["--num-samples", "4", "--layers", "1", "--runs", "runs", "--neutral", "plain.txt"]
    train(tiny_folder, "--contrast-type", "irony", *more)
    capsys.readouterr()
    run = RunStore(Path("runs")).current()
    assert run is not None
    assert run.texts["_plain"] == ("A shelf stands there.", "A list lies there.")
