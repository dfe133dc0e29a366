"""evaluate, report and compare as a person or a script meets them, on a tiny model."""

import json
from pathlib import Path
from typing import Any

import pytest

from readout_ui.cli.program import run
from readout_ui.runs.store import RunStore
from tests.conftest import SMALL_LIBRARY
from tests.support.tiny_model import save_tiny_model

LABELLED = """label,text
calm,The lake lies still.
calm,Nothing hurries here.
angry,He slammed the door.
angry,She tore the letter up.
horror,A step behind me.
horror,The light went out.
"""


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("tiny-llama"))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, tiny: Path) -> Path:
    """Two runs, an export of the second, its texts, and a file of labelled texts."""
    place = tmp_path_factory.mktemp("place")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("READOUT_UI_CACHE", str(place / "cache"))
        folder = place / "descriptions"
        folder.mkdir()
        for name, texts in SMALL_LIBRARY.items():
            (folder / f"{name}.txt").write_text("\n\n".join(texts) + "\n", encoding="utf-8")
        train(place, tiny)
        calm = (folder / "calm.txt").read_text()
        (folder / "calm.txt").write_text(calm.replace("My breath is slow", "I breathe slowly"))
        train(place, tiny)
    (place / "labelled.csv").write_text(LABELLED)
    return place


def train(place: Path, tiny: Path) -> None:
    files = ["--descriptions", str(place / "descriptions"), "--output", str(place / "out")]
    files += ["--layers", "all"]
    assert run(["train", *files, "--runs", str(place / "runs"), *on(tiny)]) == 0


def on(tiny: Path) -> list[str]:
    return ["--model", str(tiny), "--device", "cpu"]


@pytest.fixture(autouse=True)
def own_cache(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("READOUT_UI_CACHE", str(place / "cache"))


def ids(place: Path) -> list[str]:
    """The runs, oldest first."""
    return [record.id for record in reversed(RunStore(place / "runs").list())]


def evaluate(place: Path, tiny: Path, *more: str) -> int:
    texts = ["--texts", str(place / "labelled.csv")]
    return run(["evaluate", "--vectors", str(place / "out"), *texts, *on(tiny), *more])


# evaluate


def test_evaluating_prints_a_row_per_concept_and_the_macro(
    place: Path, tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(place, tiny, "--map", "horror=afraid") == 0
    shown = capsys.readouterr().out
    first_words = [line.split()[0] for line in shown.splitlines()]
    assert first_words[1:6] == ["concept", "afraid", "angry", "calm", "macro"]


def test_the_json_is_printed_and_written_alike(
    place: Path, tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "made" / "out.json"
    assert evaluate(place, tiny, "--json", "--layer", "1", "--output", str(file)) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads(file.read_text())
    assert printed["layer"] == 1
    assert [each["concept"] for each in printed["concepts"]] == ["angry", "calm"]
    assert printed["map"] == {"calm": "calm", "angry": "angry", "horror": "(ignore)"}


def test_a_run_folder_also_brings_the_bag_of_words(
    place: Path, tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(place / "runs" / ids(place)[1])
    texts = ["--texts", str(place / "labelled.csv"), "--json"]
    assert run(["evaluate", "--vectors", folder, *texts, *on(tiny)]) == 0
    of_run = json.loads(capsys.readouterr().out)
    assert evaluate(place, tiny, "--json") == 0
    of_export = json.loads(capsys.readouterr().out)
    assert of_run["macro"]["words"] is not None
    assert of_export["macro"]["words"] is None


def test_without_a_file_the_shipped_texts_are_judged(
    place: Path, tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["evaluate", "--vectors", str(place / "out"), "--json", *on(tiny)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["texts"] == "the shipped test set"
    assert {each["concept"] for each in found["concepts"]} <= set(SMALL_LIBRARY)


def test_geometry_wants_ratings_of_five_concepts_and_the_texts_of_the_training(
    place: Path, tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    geometry = ["geometry", "--vectors", str(place / "runs" / ids(place)[1]), *on(tiny)]
    assert run([*geometry, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    names = found["concepts"]
    assert found["ratings"] == []
    ratings = tmp_path / "ratings.csv"
    lines = [f"{name},{place}\n" for place, name in enumerate(names)]
    ratings.write_text("concept,warmth\n" + "".join(lines))
    rated = [*geometry, "--ratings", str(ratings)]
    assert run(rated) == 2
    assert "4 of the run's concepts are rated" in capsys.readouterr().err
    assert run(["geometry", "--vectors", str(place / "out"), *on(tiny)]) == 2
    assert "geometry needs the texts of the training" in capsys.readouterr().err


def test_tokens_of_directions_are_listed_beside_those_of_a_random_one(
    place: Path, tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lens = ["lens", "--vectors", str(place / "out"), "--tokens", "3", "--layer", "1", *on(tiny)]
    assert run([*lens, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["layer"] == 1
    assert found["directions"][-1]["concept"] == "random direction"
    assert {len(one["raised"]) for one in found["directions"]} == {3}
    assert run(lens) == 0
    assert "random direction" in capsys.readouterr().out.splitlines()[-1]


def test_the_second_shipped_library_is_trained_and_judged_by_name(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ["--output", str(tmp_path / "out"), "--layers", "1"]
    assert run(["train", "--descriptions", "shipped:stances", *out, *on(tiny)]) == 0
    judge = ["evaluate", "--vectors", str(tmp_path / "out"), *on(tiny)]
    capsys.readouterr()
    assert run([*judge, "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["concepts"]) == 20
    assert run([*judge, "--texts", "shipped:moods"]) == 2
    assert "no library 'moods' ships" in capsys.readouterr().err


def test_texts_by_the_model_under_test_are_judged_apart(
    place: Path, tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [("The lake lies still.", "calm", ""), ("He slammed the door.", "angry", "Ann")]
    own = [("She sat by the pond.", "calm", tiny.name), ("He kicked it.", "angry", tiny.name)]
    file = tmp_path / "mixed.jsonl"

    def judged(*some: tuple[str, str, str]) -> dict[str, Any]:
        lines = (json.dumps({"text": t, "label": c, "writer": w}) + "\n" for t, c, w in some)
        file.write_text("".join(lines))
        assert evaluate(place, tiny, "--texts", str(file), "--json") == 0
        found: dict[str, Any] = json.loads(capsys.readouterr().out)
        return found

    mixed = judged(*rows, *own)
    assert mixed["n_texts"] == 2
    assert any("2 texts by" in note and "on them alone" in note for note in mixed["notes"])
    assert "auroc" in mixed["written_by_model"]
    assert judged(*rows).get("written_by_model") is None
    assert any("wrote these texts" in note for note in judged(*own)["notes"])


@pytest.mark.filterwarnings("error:Mean of empty slice")
def test_one_text_per_concept_gives_json_all_the_same(
    place: Path, tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "few.csv"
    file.write_text("label,text\ncalm,The lake lies still.\nangry,He slammed the door.\n")
    assert evaluate(place, tiny, "--texts", str(file), "--json") == 0
    found = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert found["n_texts"] == 2


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--layer", "77"], "layer 77 was not trained"),
        (["--map", "horror"], "label=concept"),
        (["--map", "horror=nope"], "nope"),
        (["--text-column", "nope"], "nope"),
        (["--label-column", "nope"], "nope"),
        (["--texts", "{place}/none.csv"], "none.csv"),
        (["--vectors", "{place}/none"], "none"),
        (["--descriptions", "{place}/runs"], "runs"),
        (["--dtype", "int8"], "bf16"),
    ],
)
def test_a_mistake_is_one_sentence_and_status_2(
    place: Path, tiny: Path, more: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(place, tiny, *(part.replace("{place}", str(place)) for part in more)) == 2
    shown = capsys.readouterr()
    assert shown.err.startswith("Error: ")
    assert shown.err.count("\n") == 1
    assert said in shown.err


def test_texts_that_are_not_those_of_the_training_are_refused(
    place: Path, tiny: Path, descriptions: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(place, tiny, "--descriptions", str(descriptions)) == 2
    assert "calm differ" in capsys.readouterr().err


# compare


def test_comparing_two_runs_names_the_edited_text_and_the_scores(
    place: Path, tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["compare", *ids(place), "--runs", str(place / "runs"), *on(tiny)]) == 0
    shown = capsys.readouterr().out
    assert "texts: 1 edited" in shown
    assert "I breathe slowly" in shown
    assert "held-out AUROC of the 15 texts both runs have" in shown
    assert "macro" in shown
    rows = {
        line.split()[0]: line for line in shown.splitlines() if " → 0." in line or " → 1." in line
    }
    assert {"calm", "macro"} <= rows.keys(), shown
    assert "noise" in rows["macro"]


def test_the_comparison_as_json_has_cosines_and_scores(
    place: Path, tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["compare", *ids(place), "--runs", str(place / "runs"), "--json"]
    assert run([*arguments, "--layer", "-1", *on(tiny)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["scores"]["layer"] == 2
    assert set(found["moves"]["cosine"]) == {"afraid", "angry", "calm", "happy"}
    for row in found["concepts"]:
        assert row["change"] == pytest.approx(row["after"] - row["before"])
        assert row["turned"] == pytest.approx(1 - found["moves"]["cosine"][row["concept"]][-1])
    assert [change["kind"] for change in found["texts"]] == ["edited"]


@pytest.mark.parametrize("more", [["--no-scores"], []])
def test_without_the_model_the_rest_is_compared(
    place: Path, more: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["compare", *ids(place), "--runs", str(place / "runs"), *more]) == 0
    shown = capsys.readouterr().out
    assert "texts: 1 edited" in shown
    assert ("left out" if more else "name the folder with --model") in shown


def test_a_run_against_itself_moved_nothing(
    place: Path, tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = ids(place)[0]
    assert run(["compare", one, one, "--runs", str(place / "runs"), *on(tiny)]) == 0
    shown = capsys.readouterr().out
    assert "texts: the same" in shown
    assert "4 of 4 concepts did not move" in shown
    assert "beyond noise" not in shown


def test_comparing_with_a_run_that_is_not_there_lists_those_that_are(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["compare", ids(place)[0], "nope", "--runs", str(place / "runs")]) == 2
    assert ids(place)[0] in capsys.readouterr().err


# report


def test_the_report_is_one_page_with_every_chapter_and_nothing_from_outside(
    place: Path, tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "report.html"
    folder = str(place / "runs" / ids(place)[1])
    assert run(["report", "--vectors", folder, "-o", str(page), *on(tiny)]) == 0
    assert capsys.readouterr().out == f"Wrote {page}\n"
    html = page.read_text(encoding="utf-8")
    for chapter in (
        *("Generalization", "Lexical control", "Layers", "Cosines", "Responses", "Redundancy"),
        "Advice",
    ):
        assert f"{chapter}" in html
    body = html[html.index("<body>") :]
    assert body.count("Plotly.newPlot") >= 8
    assert html.count("<script>") - body.count("<script>") == 1
    assert "src=" not in body
    assert "<link" not in html


def test_an_export_is_reported_with_its_texts_beside_it(
    place: Path, tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "report.html"
    export = ["report", "--vectors", str(place / "out"), "-o", str(page), *on(tiny)]
    assert run(export) == 2
    assert "--descriptions" in capsys.readouterr().err
    assert not page.exists()
    assert run([*export, "--descriptions", str(place / "descriptions")]) == 0
    assert page.stat().st_size > 3_000_000


def test_a_folder_is_no_place_for_a_report(
    place: Path, tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(place / "runs" / ids(place)[1])
    assert run(["report", "--vectors", folder, "-o", str(place), *on(tiny)]) == 2
    assert "is a folder" in capsys.readouterr().err
