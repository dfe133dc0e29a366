"""`readout-ui steer` as a person or a script meets it, on a tiny model."""

import json
from pathlib import Path
from typing import Any

import pytest

from readout_ui.cli.program import run
from tests.conftest import SMALL_LIBRARY

FAST = ["--max-new-tokens", "4", "--device", "cpu"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, tiny_folder: Path) -> Path:
    """A run and an export of it, all layers."""
    place = tmp_path_factory.mktemp("place")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("READOUT_UI_CACHE", str(place / "cache"))
        folder = place / "descriptions"
        folder.mkdir()
        for name, texts in SMALL_LIBRARY.items():
            (folder / f"{name}.txt").write_text("\n\n".join(texts) + "\n", encoding="utf-8")
        files = ["--descriptions", str(folder), "--output", str(place / "out")]
        files += ["--runs", str(place / "runs"), "--layers", "all"]
        assert run(["train", *files, "--model", str(tiny_folder), "--device", "cpu"]) == 0
    return place


@pytest.fixture(autouse=True)
def own_cache(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("READOUT_UI_CACHE", str(place / "cache"))


@pytest.fixture
def options(place: Path, tiny_folder: Path) -> list[str]:
    return ["--vectors", str(place / "out"), "--model", str(tiny_folder), *FAST]


def answer(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    capsys.readouterr()
    assert run(["steer", "How are you?", *arguments, "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_it_answers_plain_and_steered_and_says_what_it_did(
    options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--concept", "calm", "--multiplier", "-0.5", "--layers", "1", "--where", "generated"]
    assert run(["steer", "How are you?", *options, *words]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(
        "add calm -0.5 x norm at layer 1; tokens: generated\nrecipe: -0.5 calm:1 @generated\n"
    )
    assert "\n1 x norm = " in shown
    for part in ("Without steering (4 tokens, cut at the limit)", "With steering", "Perplexity"):
        assert part in shown
    assert shown.index("\ncalm ") < shown.index("\nangry ")


def test_several_concepts_have_their_own_multipliers_and_json_has_everything(
    options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--concept", "calm", "--multiplier", "3", "--concept", "angry", "--multiplier", "-1"]
    found = answer([*options, *words, "--layers", "0,1"], capsys)
    assert [(s["concept"], s["multiplier"]) for s in found["steers"]] == [
        ("calm", 3),
        ("angry", -1),
    ]
    assert set(found["norms"]) == {"0", "1"}
    assert found["steered"]["text"] != found["baseline"]["text"]
    assert set(found["baseline"]["z"]) == {"calm", "afraid", "angry", "happy"}
    assert found["perplexity"]["steered"] != found["perplexity"]["plain"]


def test_a_multiplier_of_zero_changes_nothing(
    options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    found = answer([*options, "--concept", "calm", "--multiplier", "0"], capsys)
    assert found["steered"]["text"] == found["baseline"]["text"]
    assert found["steered"]["z"] == found["baseline"]["z"]
    assert found["perplexity"]["steered"] == found["perplexity"]["plain"]


def test_a_setup_is_saved_and_does_the_same_when_it_is_loaded_on_the_run(
    options: list[str],
    place: Path,
    tmp_path: Path,
    tiny_folder: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = str(tmp_path / "setup.json")
    words = ["--concept", "calm", "--operator", "clamp", "--value", "2", "--where", "from:3"]
    written = answer([*options, *words, "--layers", "1", "--save-setup", file], capsys)
    loaded = answer([*options, "--setup", file], capsys)
    assert loaded["steered"] == written["steered"]
    run_folder = next(path for path in (place / "runs").iterdir() if path.is_dir())
    on_run = ["--vectors", str(run_folder), "--model", str(tiny_folder), *FAST, "--setup", file]
    assert answer(on_run, capsys)["steers"] == written["steers"]
    other = json.loads(Path(file).read_text()) | {"model": "elsewhere/big"}
    Path(file).write_text(json.dumps(other))
    assert run(["steer", "Hi", *options, "--setup", file]) == 2
    assert "the setup is for elsewhere/big, the model here is" in capsys.readouterr().err


def test_a_sweep_is_a_table_with_its_usable_range(
    options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--concept", "calm", "--multiplier", "1", "--sweep", "-20..20:3"]
    assert run(["steer", "How are you?", *options, *words]) == 0
    shown = capsys.readouterr().out
    assert "Usable factors: " in shown
    assert "(perplexity) as without steering" in shown
    rows = [line.split() for line in shown.splitlines() if line.lstrip().startswith(("-20", "+"))]
    assert [row[0] for row in rows] == ["-20", "+0", "+20"]
    found = answer([*options, *words], capsys)
    assert [point["factor"] for point in found["points"]] == [-20, 0, 20]
    assert found["points"][1]["text"] == found["baseline"]["text"]
    assert found["usable"][0] <= 0 <= found["usable"][1]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "nothing says what to steer with; give either --recipe"),
        (["--concept", "joy"], "concept joy was not trained (options: "),
        (["--concept", "calm", "--layers", "99"], "layer 99 was not trained"),
        (["--concept", "calm", "--operator", "mul"], "cannot steer by mul"),
        (["--concept", "calm", "--operator", "clamp"], "clamp needs a value"),
        (["--concept", "calm", "--where", "here"], "cannot steer 'here'"),
        (["--concept", "calm", "--sweep", "2..1:3"], "cannot sweep over '2..1:3'"),
        (["--concept", "calm", "--temperature", "-1"], "temperature is -1"),
        (["--concept", "calm", "--multiplier", "1", "--multiplier", "2"], "1 concepts but 2"),
        (["--concept", "calm", "--setup", "x.json"], "two ways of saying what to steer with"),
        (["--recipe", "0.4 calm", "--concept", "calm"], "two ways of saying what to steer with"),
        (["--recipe", "0.4 clam"], "recipe, character 5: concept clam was not trained"),
        (["--setup", "none.json"], "none.json: cannot be read"),
    ],
)
def test_a_mistake_is_one_sentence(
    words: list[str], message: str, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert run(["steer", "How are you?", *options, *words]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1


def test_a_recipe_says_the_same_in_one_line(
    options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--concept", "calm", "--multiplier", "-0.5", "--layers", "1", "--where", "generated"]
    recipe = ["--recipe", "-0.5 calm:1 @generated"]
    long, short = answer([*options, *words], capsys), answer([*options, *recipe], capsys)
    assert long == short
    assert short["recipe"] == "-0.5 calm:1 @generated"
