"""Earlier versions and the trash: everything a person wrote can be brought back."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from readout_ui.errors import UserError
from readout_ui.texts.editing import (
    NameTaken,
    create_concept,
    delete_concept,
    list_versions,
    read_version,
    record_library,
    restore_trashed,
    restore_version,
    save_concept,
)
from readout_ui.texts.library import Library
from readout_ui.texts.versions import list_trash


def texts(folder: Path, name: str) -> list[tuple[str, ...]]:
    return [read_version(version) for version in list_versions(folder, name)]


def save(folder: Path, name: str, *descriptions: str) -> None:
    library = Library(folder)
    save_concept(folder, name, descriptions, library.fingerprints().get(name))


def test_versions_are_listed_newest_first_without_the_present_one(tmp_path: Path) -> None:
    for text in ("One.", "Two.", "Three."):
        save(tmp_path, "calm", text)
    assert texts(tmp_path, "calm") == [("Two.",), ("One.",)]
    newest = list_versions(tmp_path, "calm")[0]
    assert newest.n_descriptions == 1
    assert newest.when.utcoffset() is not None


def test_equal_contents_are_stored_once_and_move_to_the_top(tmp_path: Path) -> None:
    for text in ("One.", "Two.", "One.", "Three."):
        save(tmp_path, "calm", text)
    assert texts(tmp_path, "calm") == [("One.",), ("Two.",)]


def test_restoring_brings_back_exact_bytes_and_keeps_the_present(tmp_path: Path) -> None:
    raw = b"\xef\xbb\xbfI am one.\r\n\r\nI am two.\r\n"
    (tmp_path / "calm.txt").write_bytes(raw)
    save(tmp_path, "calm", "Rewritten.")
    (version,) = list_versions(tmp_path, "calm")
    assert restore_version(tmp_path, "calm", version).descriptions == ("I am one.", "I am two.")
    assert (tmp_path / "calm.txt").read_bytes() == raw
    assert texts(tmp_path, "calm") == [("Rewritten.",)]


def test_a_version_of_a_deleted_concept_can_be_restored(tmp_path: Path) -> None:
    save(tmp_path, "calm", "One.")
    delete_concept(tmp_path, "calm")
    (version,) = list_versions(tmp_path, "calm")
    restore_version(tmp_path, "calm", version)
    assert Library(tmp_path).concept("calm").descriptions == ("One.",)


def test_another_editors_text_is_recorded_when_noticed(tmp_path: Path) -> None:
    save(tmp_path, "calm", "One.")
    known = record_library(Library(tmp_path))
    for text in ("By another editor.", "And again."):
        (tmp_path / "calm.txt").write_text(text)
        known = record_library(Library(tmp_path), known)
    assert texts(tmp_path, "calm") == [("By another editor.",), ("One.",)]


def test_recording_what_is_stored_already_changes_nothing(tmp_path: Path) -> None:
    save(tmp_path, "calm", "One.")
    before = sorted((tmp_path / ".history").rglob("*"))
    record_library(Library(tmp_path))
    assert sorted((tmp_path / ".history").rglob("*")) == before


def test_a_history_that_cannot_be_written_does_not_stop_reading_and_is_tried_again(
    tmp_path: Path,
) -> None:
    (tmp_path / "calm.txt").write_text("One.")
    (tmp_path / ".history").write_text("in the way")
    library = Library(tmp_path)
    assert record_library(library) == {}
    with pytest.raises(UserError, match="nothing was changed"):
        save_concept(tmp_path, "calm", ["Two."], library.fingerprints()["calm"])
    assert Library(tmp_path) == library
    (tmp_path / ".history").unlink()
    assert record_library(library) == library.fingerprints()
    save(tmp_path, "calm", "Two.")
    assert texts(tmp_path, "calm") == [("One.",)]


def test_a_damaged_version_is_refused_and_does_not_hide_the_others(tmp_path: Path) -> None:
    for text in ("One.", "Two.", "Three."):
        save(tmp_path, "calm", text)
    damaged, _ = list_versions(tmp_path, "calm")
    damaged.path.write_bytes(b"One")
    (damaged.path.parent / "notes").write_text("not a version")
    assert [v.n_descriptions for v in list_versions(tmp_path, "calm")] == [0, 1]
    with pytest.raises(UserError, match="damaged"):
        restore_version(tmp_path, "calm", damaged)
    assert Library(tmp_path).concept("calm").descriptions == ("Three.",)


def test_a_deletion_is_undone_with_exact_bytes_and_history(tmp_path: Path) -> None:
    save(tmp_path, "calm", "One.")
    save(tmp_path, "calm", "Two.")
    raw = (tmp_path / "calm.txt").read_bytes()
    delete_concept(tmp_path, "calm")
    (entry,) = list_trash(tmp_path)
    assert entry.path.read_text() == "Two.\n"
    assert restore_trashed(tmp_path, entry).descriptions == ("Two.",)
    assert (tmp_path / "calm.txt").read_bytes() == raw
    assert list_trash(tmp_path) == []
    assert texts(tmp_path, "calm") == [("One.",)]


def test_an_unreadable_file_can_be_deleted_and_brought_back(tmp_path: Path) -> None:
    (tmp_path / "bad.txt").write_bytes(b"\xff\xfe\x00")
    entry = delete_concept(tmp_path, "bad")
    assert Library(tmp_path).problems == ()
    with pytest.raises(UserError, match="UTF-16"):
        restore_trashed(tmp_path, entry)
    assert (tmp_path / "bad.txt").read_bytes() == b"\xff\xfe\x00"


def test_a_restored_name_that_is_in_use_leaves_the_choice(tmp_path: Path) -> None:
    save(tmp_path, "calm", "Deleted.")
    entry = delete_concept(tmp_path, "calm")
    create_concept(tmp_path, "Calm", ["Present."])
    with pytest.raises(NameTaken, match="another name, or replace"):
        restore_trashed(tmp_path, entry)
    assert list_trash(tmp_path) == [entry]
    assert restore_trashed(tmp_path, entry, "calm_again").name == "calm_again"
    assert Library(tmp_path).names() == ("Calm", "calm_again")


def test_replacing_the_present_concept_puts_it_into_the_history(tmp_path: Path) -> None:
    save(tmp_path, "calm", "Deleted.")
    entry = delete_concept(tmp_path, "calm")
    create_concept(tmp_path, "calm", ["Present."])
    restore_trashed(tmp_path, entry, replace=True)
    assert Library(tmp_path).concept("calm").descriptions == ("Deleted.",)
    assert texts(tmp_path, "calm") == [("Present.",)]


def test_restoring_twice_says_that_it_is_gone(tmp_path: Path) -> None:
    save(tmp_path, "calm", "One.")
    entry = delete_concept(tmp_path, "calm")
    restore_trashed(tmp_path, entry)
    with pytest.raises(UserError, match="no longer in the trash"):
        restore_trashed(tmp_path, entry, "other")


def test_two_deletions_of_one_name_are_both_in_the_trash(tmp_path: Path) -> None:
    for text in ("One.", "Two."):
        save(tmp_path, "calm", text)
        delete_concept(tmp_path, "calm")
    assert [entry.path.read_text() for entry in list_trash(tmp_path)] == ["Two.\n", "One.\n"]


STEPS = st.lists(
    st.tuples(st.sampled_from(["save", "delete", "undelete", "restore"]), st.sampled_from("ABCD")),
    max_size=12,
)


@settings(max_examples=40)
@given(STEPS)
def test_nothing_ever_saved_is_lost(steps: list[tuple[str, str]]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder, written = Path(name), set()
        for action, text in steps:
            if action == "save":
                save(folder, "calm", text)
                written.add((text,))
            elif action == "delete" and Library(folder).names():
                delete_concept(folder, "calm")
            elif action == "undelete" and list_trash(folder):
                restore_trashed(folder, list_trash(folder)[-1], replace=True)
            elif action == "restore" and list_versions(folder, "calm"):
                restore_version(folder, "calm", list_versions(folder, "calm")[-1])
        present = {concept.descriptions for concept in Library(folder).concepts}
        assert written <= present | set(texts(folder, "calm"))
