"""Where the shipped descriptions are, in a clone and in an installed package."""

import csv
from pathlib import Path

import pytest

from readout_ui.errors import UserError
from readout_ui.texts import shipped
from readout_ui.texts.library import Library

ROOT = Path(__file__).resolve().parents[2]


def test_in_a_clone_the_descriptions_and_runs_are_those_of_the_clone() -> None:
    assert shipped.in_clone()
    assert shipped.home() == ROOT
    assert shipped.shipped_descriptions() == shipped.provide_descriptions() == ROOT / "descriptions"


def test_an_installed_package_copies_them_once_and_never_over_what_was_edited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setattr(shipped, "_PACKAGED", ROOT / "descriptions")
    folder = shipped.provide_descriptions()
    assert folder.is_relative_to(tmp_path)
    assert (folder / "calm.txt").read_bytes() == (ROOT / "descriptions" / "calm.txt").read_bytes()
    (folder / "calm.txt").write_text("My own text.\n")
    (folder / "tired.txt").unlink()
    assert shipped.provide_descriptions() == folder
    assert (folder / "calm.txt").read_text() == "My own text.\n"
    assert not (folder / "tired.txt").exists()


def test_a_copy_of_the_second_library_is_made_beside_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    folder = shipped.provide_descriptions("stances")
    assert folder == tmp_path / "data" / "readout-ui" / "stances"
    assert Library(folder).texts() == Library("shipped:stances").texts()


def test_the_library_that_fits_is_the_one_that_shares_most_concepts() -> None:
    assert shipped.fitting_library(["calm", "certain", "formal"]) == "stances"
    assert shipped.fitting_library(["calm", "sad", "formal"]) == "emotions"
    assert shipped.fitting_library(["mine"]) == "emotions"


def test_a_name_that_does_not_ship_is_refused_with_those_that_do() -> None:
    assert shipped.library_named("folder/shipped:x") == ""
    with pytest.raises(UserError, match=r"no library 'moods' ships .* emotions, stances"):
        Library("shipped:moods")


def test_every_shipped_emotion_has_a_rating_of_valence_and_arousal() -> None:
    rows = list(csv.DictReader(shipped.shipped_ratings().open(encoding="utf-8")))
    assert [row["concept"] for row in rows] == list(Library("shipped:emotions").names())
    assert all(-1 <= float(row[axis]) <= 1 for row in rows for axis in ("valence", "arousal"))
    by_name = {row["concept"]: row for row in rows}
    assert float(by_name["sad"]["valence"]) < 0 < float(by_name["happy"]["valence"])
    assert float(by_name["calm"]["arousal"]) < 0 < float(by_name["excited"]["arousal"])
