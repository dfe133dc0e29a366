"""Tags and ticks of concepts: kept beside the texts, never lost, and taken along by sets."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from readout_ui.errors import UserError
from readout_ui.texts.editing import create_concept, delete_concept, rename_concept, restore_trashed
from readout_ui.texts.exchange import apply_import, export_set, import_set, plan_import
from readout_ui.texts.library import Library
from readout_ui.texts.tags import TAGS_FILE, Tags, change_tags, check_tag, read_tags


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("afraid", "anxious", "calm"):
        create_concept(tmp_path, name, [f"I am {name}."])
    return tmp_path


def test_tags_and_ticks_are_kept_and_other_keys_of_the_file_stay(folder: Path) -> None:
    (folder / TAGS_FILE).write_text('{"colour": "blue", "tags": {"calm": ["rest"]}}')
    change_tags(folder, lambda said: said.with_members("fear", ["afraid", "anxious"]))
    change_tags(folder, lambda said: said.with_ticks(["calm"], ticked=False))
    said = read_tags(folder)
    assert (said.of("afraid"), said.of("calm")) == (("fear",), ("rest",))
    assert said.left_out == {"calm"}
    assert json.loads((folder / TAGS_FILE).read_text())["colour"] == "blue"
    change_tags(folder, lambda said: said.with_members("fear", ["calm"]))
    change_tags(folder, lambda said: said.with_ticks(["calm"], ticked=True))
    said = read_tags(folder)
    assert (said.of("afraid"), said.of("calm")) == ((), ("rest", "fear"))
    assert not said.left_out


def test_a_damaged_file_of_tags_is_said_and_never_replaced(folder: Path) -> None:
    for bad in ("{", "[1]", '{"tags": {"calm": "rest"}}', '{"left_out": [3]}'):
        (folder / TAGS_FILE).write_text(bad)
        assert TAGS_FILE in read_tags(folder).problem
        with pytest.raises(UserError, match="correct or remove"):
            change_tags(folder, lambda said: said.with_ticks(["calm"], ticked=False))
        assert (folder / TAGS_FILE).read_text() == bad
        assert Library(folder).names() == ("afraid", "anxious", "calm")
    assert rename_concept(folder, "calm", "still").name == "still"


def test_renaming_takes_tags_along_and_the_trash_does_not_lose_them(folder: Path) -> None:
    change_tags(folder, lambda said: said.with_tags("calm", ["rest", "good"]))
    change_tags(folder, lambda said: said.with_ticks(["calm"], ticked=False))
    rename_concept(folder, "calm", "still")
    assert read_tags(folder).of("still") == ("rest", "good")
    assert read_tags(folder).left_out == {"still"}
    restore_trashed(folder, delete_concept(folder, "still"))
    assert read_tags(folder).of("still") == ("rest", "good")


@pytest.mark.parametrize("typed", ["", " ", "a,b", "a|b", "a;b", "x" * 41, "a\x00b"])
def test_what_cannot_be_a_tag_is_refused(typed: str) -> None:
    with pytest.raises(UserError, match="cannot be a tag"):
        check_tag(typed)


def test_a_concept_has_few_tags_and_each_once() -> None:
    assert Tags().with_tags("calm", ["rest", " rest "]).of("calm") == ("rest",)
    with pytest.raises(UserError, match="at most 12"):
        Tags().with_tags("calm", [f"tag {n}" for n in range(13)])


@pytest.mark.parametrize("suffix", [".zip", ".csv", ".jsonl"])
def test_a_set_takes_its_tags_along(folder: Path, suffix: str) -> None:
    change_tags(folder, lambda said: said.with_tags("calm", ["rest", "to rewrite"]))
    other = folder / "other"
    create_concept(other, "calm", ["I am calm."])
    change_tags(other, lambda said: said.with_tags("calm", ["mine"]))
    imported = import_set(export_set(Library(folder), folder / f"set{suffix}"))
    plan = plan_import(Library(other), imported)
    assert [(one.name, one.change, one.tags) for one in plan.concepts] == [
        ("afraid", "added", ()),
        ("anxious", "added", ()),
        ("calm", "changed", ("rest", "to rewrite")),
    ]
    apply_import(other, plan)
    assert read_tags(other).of("calm") == ("mine", "rest", "to rewrite")
    again = plan_import(Library(other), imported)
    assert {one.change for one in again.concepts} == {"same"}


def test_only_ticked_concepts_are_trained_on(folder: Path) -> None:
    create_concept(folder, "_plain", ["It is a shelf."], neutral=True)
    library = Library(folder).without({"calm"})
    assert library.names() == ("afraid", "anxious")
    assert library.neutral_texts() == ("It is a shelf.",)
