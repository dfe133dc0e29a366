"""No acknowledged text is ever lost: faults at every call, kills, two programs, clocks."""

import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from readout_ui import files
from readout_ui.errors import UserError
from readout_ui.files import locked, remove_stale, scratch_folder, sha256_of
from readout_ui.texts import editing, versions
from readout_ui.texts.editing import (
    FileChanged,
    create_concept,
    delete_concept,
    list_versions,
    read_version,
    record_library,
    rename_concept,
    restore_trashed,
    restore_version,
    save_concept,
)
from readout_ui.texts.exchange import apply_import, export_set, import_set, plan_import
from readout_ui.texts.library import Library
from readout_ui.texts.set_files import read_jsonl
from readout_ui.texts.versions import keep_bytes, list_trash, tidy_texts
from tests.support.faults import Tell, every_fault, side_by_side

pytestmark = [
    pytest.mark.once,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a system that can fork"),
]


def mark(folder: Path, name: str) -> str | None:
    return Library(folder).fingerprints().get(name)


def save(folder: Path, name: str, *texts: str) -> None:
    save_concept(folder, name, texts, mark(folder, name))


def reachable(folder: Path) -> set[str]:
    """Every text in the concepts, the trash and the histories of both."""
    library, trash = Library(folder), list_trash(folder)
    found = {text for own in library.texts().values() for text in own}
    found |= {text for entry in trash for text in entry.path.read_text().split("\n\n")}
    for name in {*library.texts(), *(entry.name for entry in trash)}:
        found |= {text for v in list_versions(folder, name) for text in read_version(v)}
    return {text.strip() for text in found}


def unfinished(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob(".*") if path.name not in (".history", ".trash")]


def is_sound(folder: Path) -> None:
    """What a start finds: everything opens, nothing half done, every version is what it says."""
    tidy_texts(folder)
    assert Library(folder).problems == ()
    assert unfinished(folder) == []
    for path in (folder / ".history").glob("*/*.txt"):
        assert path.stem.endswith(sha256_of(path.read_bytes())), path


# --- a fault at every call ---------------------------------------------------------------------


def edits(folder: Path, tell: Tell) -> None:
    """Every kind of change one after the other; each is told when it is acknowledged."""

    def done(*texts: str) -> None:
        state = Library(folder).texts()
        tell({"texts": texts, "state": {name: list(own) for name, own in state.items()}})

    save(folder, "calm", "Calm two.")
    done("Calm one.", "Calm two.")
    create_concept(folder, "sad", ["Sad one."])
    done("Sad one.")
    rename_concept(folder, "calm", "still")
    done("Calm one.", "Calm two.")
    entry = delete_concept(folder, "sad")
    done("Sad one.")
    restore_trashed(folder, entry)
    done("Sad one.")
    restore_version(folder, "still", list_versions(folder, "still")[-1])
    done("Calm one.", "Calm two.")
    record_library(Library(folder))
    save(folder, "by_hand", "By machine.")
    done("By hand.", "By machine.")


def made(place: Path) -> Callable[[], None]:
    """Makes the place anew, with one concept that was saved and one by another editor."""
    kept = place.with_name("kept")
    save_concept(kept, "calm", ["Calm one."], None)
    (kept / "by_hand.txt").write_bytes(b"By hand.\n")

    def prepare() -> None:
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(kept, place)

    return prepare


def test_whatever_call_fails_or_kills_every_acknowledged_text_is_there(tmp_path: Path) -> None:
    place = tmp_path / "texts"
    for name, outcome in every_fault(lambda tell: edits(place, tell), place, made(place)):
        before = {k: list(own) for k, own in Library(place).texts().items()}
        is_sound(place)
        wanted = {"Calm one.", "By hand."}.union(*(told["texts"] for told in outcome.told))
        assert wanted <= reachable(place), name
        if outcome.refused:
            # What a refusal says is true: nothing was changed.
            first = {"by_hand": ["By hand."], "calm": ["Calm one."]}
            state = outcome.told[-1]["state"] if outcome.told else first
            assert before == state, f"{name}: {outcome.refused}"


def test_whatever_call_of_an_import_fails_nothing_is_lost(tmp_path: Path) -> None:
    place = tmp_path / "texts"
    lines = b'{"concept": "calm", "description": "New."}\n{"concept": "sad", "description": "S."}\n'

    def work(tell: Tell) -> None:
        apply_import(place, plan_import(Library(place), read_jsonl(lines, "set.jsonl")))
        tell(["New.", "S."])

    for name, outcome in every_fault(work, place, made(place)):
        is_sound(place)
        assert {"Calm one."}.union(*outcome.told) <= reachable(place), name


def test_whatever_call_of_an_export_fails_the_older_one_opens(tmp_path: Path) -> None:
    place = tmp_path / "texts"
    target = place / "sets" / "all.zip"

    fresh = made(place)

    def prepare() -> None:
        fresh()
        export_set(Library(place), target)

    def work(tell: Tell) -> None:
        export_set(Library({"calm": ["Other."]}), target)
        tell("Other.")

    for name, outcome in every_fault(work, place, prepare):
        held = import_set(target).concepts["calm"][0]
        assert held == ("Other." if outcome.told else held), name
        assert held in ("Other.", "Calm one.")
        remove_stale(target.parent)
        assert [path.name for path in target.parent.iterdir()] == ["all.zip"]


# --- the history -------------------------------------------------------------------------------


def test_what_another_editor_writes_in_the_middle_of_a_save_is_a_conflict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path, "calm", "One.")
    opened = mark(tmp_path, "calm")
    keep = keep_bytes

    def interrupted(folder: Path, name: str, data: bytes, **more: bool) -> None:
        keep(folder, name, data, **more)
        (tmp_path / "calm.txt").write_text("Theirs.")

    monkeypatch.setattr(editing, "keep_bytes", interrupted)
    with pytest.raises(FileChanged, match="was changed on disk") as raised:
        save_concept(tmp_path, "calm", ["Mine."], opened)
    assert (raised.value.mine, raised.value.theirs) == (("Mine.",), ("Theirs.",))
    assert {"One.", "Mine.", "Theirs."} <= reachable(tmp_path)


def test_bytes_are_stored_under_their_own_hash_even_if_the_file_changes_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "calm.txt"
    file.write_text("One.")
    read = files.read_bytes

    def changing(path: Path, *limit: int) -> bytes:
        raw = read(path, *limit)
        if path == file:
            file.write_text("Two.")
        return raw

    monkeypatch.setattr(versions, "read_bytes", changing)
    monkeypatch.setattr(editing, "read_bytes", changing)
    record_library(Library(tmp_path))
    monkeypatch.undo()
    is_sound(tmp_path)
    assert {"One.", "Two."} <= reachable(tmp_path)


def test_a_damaged_entry_is_not_relied_upon_and_its_bytes_get_their_own_name(
    tmp_path: Path,
) -> None:
    save(tmp_path, "calm", "A.")
    (stored,) = (tmp_path / ".history" / "calm").iterdir()
    stored.write_bytes(b"B.\n")  # what the race of an earlier version left
    save(tmp_path, "calm", "C.")
    assert {"A.", "B.", "C."} <= reachable(tmp_path)
    is_sound(tmp_path)


def test_damaged_entries_are_found_at_a_start(tmp_path: Path) -> None:
    for text in ("A.", "B.", "C."):
        save(tmp_path, "calm", text)
    first, second, _ = sorted((tmp_path / ".history" / "calm").iterdir())
    first.write_bytes(b"Never stored elsewhere.\n")
    second.write_bytes((tmp_path / "calm.txt").read_bytes())
    tidy_texts(tmp_path)
    is_sound(tmp_path)
    assert [read_version(v) for v in list_versions(tmp_path, "calm")] == [
        ("Never stored elsewhere.",)
    ]


def test_a_history_without_numbers_is_older_than_one_with_them(tmp_path: Path) -> None:
    shelf = tmp_path / ".history" / "calm"
    shelf.mkdir(parents=True)
    for year, text in ((2099, b"New.\n"), (2024, b"Old.\n")):
        name = f"{year}0101T000000.000000Z-{sha256_of(text)}.txt"
        (shelf / name).write_bytes(text)
    save(tmp_path, "calm", "Now.")
    save(tmp_path, "calm", "Then.")
    found = [read_version(v)[0] for v in list_versions(tmp_path, "calm")]
    assert found == ["Now.", "New.", "Old."]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[datetime]:
    """The moments that the history sees, in this order; the last one stays."""
    moments = [datetime(2026, 5, 1, tzinfo=UTC)]

    class Clock(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
            return moments.pop(0) if len(moments) > 1 else moments[0]

    monkeypatch.setattr(versions, "datetime", Clock)
    return moments


def test_two_deletions_in_one_tick_are_two(tmp_path: Path, clock: list[datetime]) -> None:
    for text in ("One.", "Two."):
        save(tmp_path, "calm", text)
        delete_concept(tmp_path, "calm")
    assert [entry.path.read_text() for entry in list_trash(tmp_path)] == ["Two.\n", "One.\n"]


def test_newest_first_holds_when_the_clock_is_set_back(
    tmp_path: Path, clock: list[datetime]
) -> None:
    clock[:] = [clock[0] - timedelta(days=day) for day in range(30)]
    for text in ("One.", "Two.", "Three.", "Four."):
        save(tmp_path, "calm", text)
    found = [read_version(v)[0] for v in list_versions(tmp_path, "calm")]
    assert found == ["Three.", "Two.", "One."]
    for text in ("A.", "B."):
        save(tmp_path, "sad", text)
        delete_concept(tmp_path, "sad")
    assert [entry.path.read_text() for entry in list_trash(tmp_path)] == ["B.\n", "A.\n"]


# --- renaming ----------------------------------------------------------------------------------


def test_a_history_follows_into_a_name_that_had_one(tmp_path: Path) -> None:
    save(tmp_path, "calm", "Old calm.")
    delete_concept(tmp_path, "calm")
    save(tmp_path, "still", "Still one.")
    save(tmp_path, "still", "Still two.")
    rename_concept(tmp_path, "still", "calm")
    found = [read_version(v)[0] for v in list_versions(tmp_path, "calm")]
    assert found == ["Still one.", "Old calm."]
    assert not (tmp_path / ".history" / "still").exists()


@pytest.mark.parametrize("note", ["", "{", "[1]", '{"old": "../x", "new": 3}', '{"old": "calm"}'])
def test_a_damaged_note_of_a_rename_stops_nothing(tmp_path: Path, note: str) -> None:
    save(tmp_path, "calm", "One.")
    (tmp_path / ".history" / ".renaming").write_text(note)
    save(tmp_path, "calm", "Two.")
    is_sound(tmp_path)


# --- two programs ------------------------------------------------------------------------------


def adder(folder: Path, who: str, n: int) -> Callable[[Tell], None]:
    """Adds texts to one concept as a person does who, at a conflict, keeps both."""

    def work(tell: Tell) -> None:
        for number in range(n):
            text, opened = f"{who} {number}.", mark(folder, "calm")
            own = [*Library(folder).texts().get("calm", ()), text]
            while True:
                try:
                    save_concept(folder, "calm", own, opened)
                    break
                except FileChanged as changed:
                    own, opened = [*changed.theirs, text], changed.theirs_fingerprint
            tell(text)

    return work


def test_two_programs_on_one_file_lose_nothing(tmp_path: Path) -> None:
    save(tmp_path, "calm", "First.")
    told = side_by_side(adder(tmp_path, "A", 40), adder(tmp_path, "B", 40))
    assert [len(each) for each in told] == [40, 40]
    assert {"First.", *told[0], *told[1]} == set(Library(tmp_path).texts()["calm"])
    is_sound(tmp_path)


def test_two_programs_that_rename_and_delete_lose_nothing(tmp_path: Path) -> None:
    def mover(who: str) -> Callable[[Tell], None]:
        def work(tell: Tell) -> None:
            for number in range(12):
                text = f"{who} {number}."
                create_concept(tmp_path, f"{who}_{number}", [text])
                tell(text)
                rename_concept(tmp_path, f"{who}_{number}", f"{who}_moved_{number}")
                delete_concept(tmp_path, f"{who}_moved_{number}")

        return work

    told = side_by_side(mover("a"), mover("b"))
    assert {*told[0], *told[1]} <= reachable(tmp_path)
    numbers = [entry.path.name.split(".")[2].split("-")[0] for entry in list_trash(tmp_path)]
    assert len(set(numbers)) == 24
    is_sound(tmp_path)


def test_a_program_that_writes_for_long_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_WAIT_SECONDS", 0.05)

    def waits(tell: Tell) -> None:
        files._lock_of.cache_clear()  # what the parent holds is not held here
        with pytest.raises(UserError, match="another program is writing here; try again"):
            save_concept(tmp_path, "calm", ["One."], None)
        tell("refused")

    with locked(tmp_path):
        assert side_by_side(waits) == [["refused"]]


def test_where_folders_cannot_be_locked_a_file_does_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("READOUT_UI_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(files, "fcntl", None)
    folder = tmp_path / "texts"
    save_concept(folder, "calm", ["First."], None)
    told = side_by_side(adder(folder, "A", 10), adder(folder, "B", 10))
    assert {"First.", *told[0], *told[1]} == set(Library(folder).texts()["calm"])


# --- what killed programs leave ----------------------------------------------------------------


def test_only_own_and_only_stale_files_are_removed(tmp_path: Path) -> None:
    gone, alive = 2**22 + 1, os.getpid()  # Linux numbers no process above 2**22
    here, there = files._HERE, "0a1b2c"
    stale = [f".saving-{here}-{gone}-01ab", f".export-{here}-{gone}-01ab", ".saving-01ab"]
    kept = [f".saving-{here}-{alive}-01ab", f".saving-{there}-{gone}-01ab", ".saving-notes"]
    kept += [".saving-new-notes.txt", "saving-1", ".export"]
    for name in (*stale, *kept):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / f".deleted-{here}-{gone}-01ab").mkdir()
    os.utime(tmp_path / stale[-1], (0, 0))
    os.utime(tmp_path / ".saving-new-notes.txt", (0, 0))
    remove_stale(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(kept)


def test_folders_for_downloads_go_with_their_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("readout_ui.files.tempfile.tempdir", str(tmp_path))
    files._scratch.cache_clear()
    (tmp_path / f"readout-{files._HERE}-{2**22 + 1}-abcdefgh").mkdir()
    running = tmp_path / f"readout-{files._HERE}-{os.getpid()}-abcdefgh"
    running.mkdir()
    os.utime(running, (0, 0))  # a server of last week
    (tmp_path / "readout-mine").mkdir()
    own = scratch_folder()
    assert own == scratch_folder()
    assert own.parent == tmp_path
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        ["readout-mine", running.name, own.name]
    )
    shutil.rmtree(own)
    assert scratch_folder().is_dir()
    files._scratch.cache_clear()
