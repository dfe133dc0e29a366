"""Texts that one concept is contrasted with: their file goes where the concept's goes."""

from __future__ import annotations

from pathlib import Path

import pytest

from readout_ui.errors import UserError
from readout_ui.evaluation.chance import neutral_texts
from readout_ui.texts import sources
from readout_ui.texts.editing import (
    delete_concept,
    list_versions,
    rename_concept,
    restore_trashed,
    save_concept,
)
from readout_ui.texts.exchange import apply_import, export_bytes, plan_import, read_set
from readout_ui.texts.library import Library
from readout_ui.texts.versions import list_trash

TEXTS = {
    "calm": ("I am at ease.", "Nothing presses me."),
    "sad": ("I ache.",),
    "_baseline": ("It is a shelf.",),
    "_against calm": ("I cannot sit still.", "I pace up and down."),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, texts in TEXTS.items():
        save_concept(tmp_path, name, texts, None)
    return tmp_path


def test_they_are_neither_a_concept_nor_neutral(folder: Path) -> None:
    library = Library(folder)
    assert library.names() == ("calm", "sad")
    assert [each.name for each in library.neutral] == ["_baseline"]
    assert [each.name for each in library.against] == ["_against calm"]
    assert library.texts() == TEXTS
    assert repr(library) == "Library(2 concepts, 3 descriptions, 1 neutral text, 2 contrast texts)"
    assert sources.neutral_texts(folder) == {"_baseline": TEXTS["_baseline"]}
    assert neutral_texts(TEXTS) == ("It is a shelf.",)


def test_without_their_concept_they_are_not_trained(folder: Path) -> None:
    save_concept(folder, "_against happy", ["I frown."], None)
    save_concept(folder, "_against sad", [], None)
    assert Library(folder).texts() == TEXTS
    assert Library(folder).fingerprints().keys() == TEXTS.keys()
    assert {"_against happy", "_against sad"} <= {each.name for each in Library(folder).files}
    assert "_against calm" not in Library(folder).without(["calm"]).texts()


def test_a_renamed_concept_keeps_them_and_their_history(folder: Path) -> None:
    opened = Library(folder).concept("_against calm").fingerprint
    save_concept(folder, "_against calm", ["I run."], opened)
    rename_concept(folder, "calm", "quiet")
    texts = Library(folder).texts()
    assert texts["_against quiet"] == ("I run.",)
    assert "_against calm" not in texts
    assert len(list_versions(folder, "_against quiet")) == 1


def test_where_a_name_has_no_room_for_them_nothing_is_renamed(folder: Path) -> None:
    with pytest.raises(UserError, match="longer than"):
        rename_concept(folder, "calm", "x" * 95)
    assert Library(folder).texts() == TEXTS


def test_they_are_deleted_and_brought_back_with_their_concept(folder: Path) -> None:
    entry = delete_concept(folder, "calm")
    assert sorted(Library(folder).texts()) == ["_baseline", "sad"]
    assert sorted(each.name for each in list_trash(folder)) == ["_against calm", "calm"]
    restore_trashed(folder, entry, "quiet")
    assert Library(folder).texts()["_against quiet"] == TEXTS["_against calm"]
    assert list_trash(folder) == []


def test_present_ones_are_not_replaced_by_those_in_the_trash(folder: Path) -> None:
    delete_concept(folder, "_against calm")
    save_concept(folder, "_against calm", ["I run."], None)
    entry = delete_concept(folder, "calm")
    save_concept(folder, "_against calm", ["I fidget."], None)
    restore_trashed(folder, entry)
    assert Library(folder).texts()["_against calm"] == ("I fidget.",)


@pytest.mark.parametrize("suffix", [".zip", ".csv", ".jsonl"])
def test_they_travel_with_a_set(folder: Path, suffix: str) -> None:
    other = folder / "other"
    other.mkdir()
    found = read_set(export_bytes(Library(folder), suffix), f"set{suffix}")
    apply_import(other, plan_import(Library(other), found))
    assert Library(other).texts() == TEXTS
