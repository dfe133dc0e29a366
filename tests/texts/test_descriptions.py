"""The concept library on disk: what is read, what is refused, and that nothing is lost."""

import os
import unicodedata
from pathlib import Path
from unicodedata import category

import pytest
from hypothesis import given
from hypothesis import strategies as st

from readout_ui.errors import UserError
from readout_ui.files import MAX_FILE_BYTES
from readout_ui.texts import library as library_module
from readout_ui.texts.editing import (
    FileChanged,
    create_concept,
    delete_concept,
    list_versions,
    read_version,
    rename_concept,
    save_concept,
)
from readout_ui.texts.library import Library, require_trainable
from readout_ui.texts.names import check_name
from readout_ui.texts.reading import format_descriptions, normalise_descriptions, parse_descriptions

CALM = ("I am at ease. My breath is slow.", "Nothing pulls at me. I could stay like this.")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "calm.txt").write_text("\n\n".join(CALM) + "\n", encoding="utf-8")
    (tmp_path / "sad.txt").write_text("I feel heavy. It stays.\n", encoding="utf-8")
    (tmp_path / "_baseline.txt").write_text("I read the manual.\n", encoding="utf-8")
    return tmp_path


def messages(folder: Path) -> list[str]:
    return [problem.message for problem in Library(folder).problems]


# --- the text format -------------------------------------------------------------------------


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0"))))
def test_what_is_written_reads_back_as_the_normalised_descriptions(texts: list[str]) -> None:
    raw = format_descriptions(texts).encode()
    assert parse_descriptions(raw, "x.txt") == normalise_descriptions(texts)


@given(st.lists(st.text()))
def test_normalising_twice_changes_nothing(texts: list[str]) -> None:
    once = normalise_descriptions(texts)
    assert normalise_descriptions(once) == once


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused_in_one_sentence(raw: bytes) -> None:
    message = ""
    try:
        texts = parse_descriptions(raw, "x.txt")
    except UserError as error:
        texts, message = (), str(error)
    assert normalise_descriptions(texts) == texts
    assert "\n" not in message
    assert message.startswith("x.txt: ") or not message


def test_a_byte_order_mark_crlf_and_lone_cr_are_quietly_accepted() -> None:
    raw = b"\xef\xbb\xbfI am one.\r\nStill one.\r\n \t\r\nI am two.\r\rI am three."
    assert parse_descriptions(raw, "x.txt") == ("I am one.\nStill one.", "I am two.", "I am three.")


@pytest.mark.parametrize(
    "raw", [b"", b"  \n\t\r\n \n", b"\xef\xbb\xbf\n", "\u3000\n\u2003".encode()]
)
def test_whitespace_only_means_no_descriptions(raw: bytes) -> None:
    assert parse_descriptions(raw, "x.txt") == ()


def test_a_blank_line_inside_one_description_does_not_split_it_when_saved(folder: Path) -> None:
    saved = save_concept(folder, "new", ["First part.\n \n\nSecond part.", "Other."], None)
    assert saved.descriptions == ("First part.\nSecond part.", "Other.")
    assert Library(folder).concept("new").descriptions == saved.descriptions


def test_invalid_utf8_names_byte_and_line_and_leaves_the_bytes(folder: Path) -> None:
    raw = b"I am fine.\r\n\r\nI am caf\xe9.\n"
    (folder / "latin.txt").write_bytes(raw)
    (problem,) = Library(folder).problems
    assert (problem.file, problem.line) == ("latin.txt", 3)
    assert "byte 22 (line 3) is not UTF-8" in problem.message
    assert (folder / "latin.txt").read_bytes() == raw


def test_utf16_is_named_as_such(folder: Path) -> None:
    (folder / "wide.txt").write_bytes("I am fine.".encode("utf-16"))
    assert "UTF-16" in messages(folder)[0]


def test_nul_bytes_are_not_text(folder: Path) -> None:
    (folder / "zero.txt").write_bytes(b"I am.\nfine\0.\n")
    (problem,) = Library(folder).problems
    assert problem.line == 2
    assert "NUL" in problem.message


# --- names -----------------------------------------------------------------------------------

BAD_NAMES = [
    *("", "   ", "../x", "a/b", "a\\b", "/etc/passwd", ".", "..", "....", ".hidden", "_"),
    *("_calm", "CON", "con", "nul.x", "COM1", "lpt9", "COM²", "CONIN$", "x" * 300, "é" * 101),
    *("a\0b", "a\nb", "a\x7fb", "a\u202eb", "a\u200bb", "a:b", "a*b", "what?", 'a"b', "a|b"),
    *("calm.", "calm .", "\ud800"),
]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_an_unsafe_name_is_refused_in_one_printable_line(name: str) -> None:
    with pytest.raises(UserError) as caught:
        check_name(name, ())
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize(
    ("typed", "stored"),
    [
        (" calm ", "calm"),
        ("calm.txt", "calm"),
        ("quiet joy", "quiet joy"),
        ("Überraschung", "Überraschung"),
        ("cafe\u0301", "café"),
        ("平静", "平静"),
        ("console", "console"),
        ("a.b", "a.b"),
    ],
)
def test_a_usable_name_is_cleaned_quietly(typed: str, stored: str) -> None:
    assert check_name(typed, ["sad"]) == stored


@pytest.mark.parametrize("name", ["CALM", "Calm", "calm.txt", " calm"])
def test_names_that_differ_only_in_case_are_the_same(name: str) -> None:
    with pytest.raises(UserError, match="already a concept 'calm'"):
        check_name(name, ["calm"])
    with pytest.raises(UserError, match="already"):
        check_name("STRASSE", ["straße"])


def test_a_leading_underscore_needs_the_word_neutral(folder: Path) -> None:
    with pytest.raises(UserError, match="neutral"):
        create_concept(folder, "_more")
    made = create_concept(folder, "more", ["The bus is late."], neutral=True)
    assert made.name == "_more"
    assert made.is_neutral
    assert "more" not in Library(folder).names()


@given(st.text(max_size=120))
def test_every_name_is_refused_or_makes_one_file_in_the_folder(name: str) -> None:
    message, cleaned = "", "refused"
    try:
        cleaned = check_name(name, ())
    except UserError as error:
        message = str(error)
    assert all(c.isprintable() or category(c) == "Zs" for c in message)  # wide spaces stay
    path = Path("/library") / f"{cleaned}.txt"
    assert path.parent == Path("/library")
    assert os.path.normpath(path) == str(path)
    assert cleaned == unicodedata.normalize("NFC", cleaned)
    assert check_name(cleaned, ()) == cleaned


# --- reading a folder ------------------------------------------------------------------------


def test_a_folder_is_read_sorted_with_neutral_texts_apart(folder: Path) -> None:
    library = Library(folder)
    assert library.names() == ("calm", "sad")
    assert library.concept("calm").descriptions == CALM
    assert library.neutral_texts() == ("I read the manual.",)
    assert set(library.fingerprints()) == {"calm", "sad", "_baseline"}
    assert library.problems == ()


def test_one_bad_file_does_not_hide_the_others(folder: Path) -> None:
    (folder / "bad.txt").write_bytes(b"\xff")
    (folder / "folder.txt").mkdir()
    (folder / "gone.txt").symlink_to(folder / "nowhere")
    (folder / "loop.txt").symlink_to("loop.txt")
    os.mkfifo(folder / "pipe.txt")
    (folder / "CON.txt").write_text("I am.")
    (folder / "CALM.txt").write_text("I am.")
    (folder / os.fsdecode(b"caf\xe9.txt")).write_text("I am.")
    library = Library(folder)
    assert {problem.file for problem in library.problems} == {
        *("bad.txt", "folder.txt", "gone.txt", "loop.txt", "pipe.txt", "CON.txt", "calm.txt"),
        "caf\\xe9.txt",
    }
    assert library.names() == ("CALM", "sad")
    for problem in library.problems:
        assert problem.message.isprintable()
        assert problem.file in problem.message


def test_hidden_files_other_suffixes_and_subfolders_are_passed_over(folder: Path) -> None:
    (folder / ".saving-1.txt").write_bytes(b"\xff")
    (folder / "calm.txt~").write_bytes(b"\xff")
    (folder / "README.md").write_bytes(b"\xff")
    (folder / "older").mkdir()
    assert messages(folder) == []


def test_a_huge_file_is_refused_by_its_size_alone(folder: Path) -> None:
    with (folder / "huge.txt").open("wb") as file:
        file.truncate(50_000_000_000)  # sparse: reading it would not end
    assert "50,000.0 MB is more than the 5 MB" in messages(folder)[0]


def test_a_file_one_byte_too_large_is_refused_and_one_at_the_limit_is_read(folder: Path) -> None:
    (folder / "big.txt").write_bytes(b"x" * MAX_FILE_BYTES)
    assert messages(folder) == []
    (folder / "big.txt").write_bytes(b"x" * (MAX_FILE_BYTES + 1))
    assert "5 MB" in messages(folder)[0]


def test_a_file_the_system_refuses_to_open_is_a_problem(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = Path.open

    def refuse(path: Path, mode: str = "r") -> object:
        if path.name == "calm.txt":
            raise PermissionError(13, "Permission denied")
        return opened(path, mode)

    monkeypatch.setattr(Path, "open", refuse)
    (problem,) = Library(folder).problems
    assert problem.file == "calm.txt"
    assert "Permission denied" in problem.message


def test_a_missing_folder_and_a_file_as_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        Library(tmp_path / "none")
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="not a folder"):
        Library(tmp_path / "file")


def test_an_unknown_concept_offers_close_names(folder: Path) -> None:
    with pytest.raises(UserError) as caught:
        Library(folder).concept("Clam")
    assert caught.value.options == ("calm",)


def test_another_editors_change_is_seen_at_the_next_read(folder: Path) -> None:
    before = Library(folder).concept("sad")
    (folder / "sad.txt").write_text("I feel HEAVY. It stays.\n")  # same size
    after = Library(folder).concept("sad")
    assert after.descriptions == ("I feel HEAVY. It stays.",)
    assert after.fingerprint != before.fingerprint
    (folder / "sad.txt").unlink()
    assert Library(folder).names() == ("calm",)


def test_a_settled_file_is_not_opened_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library_module, "_SETTLED_NS", -1)
    Library(folder)
    opened: list[str] = []

    def record(path: Path) -> bytes:
        opened.append(path.name)
        return path.read_bytes()

    monkeypatch.setattr(library_module, "read_bytes", record)
    first = Library(folder)
    assert opened == []
    (folder / "sad.txt").write_text("I am new.")
    assert Library(folder).concept("sad").descriptions == ("I am new.",)
    assert opened == ["sad.txt"]
    assert first.concept("calm") is Library(folder).concept("calm")


# --- what can be trained ---------------------------------------------------------------------


def test_a_complete_library_is_trainable(folder: Path) -> None:
    require_trainable(Library(folder))


def test_each_reason_not_to_train_is_named(folder: Path) -> None:
    (folder / "sad.txt").write_bytes(b" \n")
    with pytest.raises(UserError, match="sad: the concept has no descriptions"):
        require_trainable(Library(folder))
    (folder / "sad.txt").write_bytes(b"\xff")
    with pytest.raises(UserError, match=r"sad.txt: byte 0 \(line 1\)"):
        require_trainable(Library(folder))
    (folder / "sad.txt").unlink()
    require_trainable(Library(folder))
    (folder / "_baseline.txt").unlink()
    with pytest.raises(UserError, match="calm: one concept alone"):
        require_trainable(Library(folder))
    (folder / "calm.txt").unlink()
    with pytest.raises(UserError, match="there are no concepts"):
        require_trainable(Library(folder))


# --- saving ----------------------------------------------------------------------------------


def test_saving_what_was_opened_writes_and_keeps_the_earlier_version(folder: Path) -> None:
    opened = Library(folder).concept("sad")
    saved = save_concept(folder, "sad", ["I ache. Slowly."], opened.fingerprint)
    assert (folder / "sad.txt").read_text() == "I ache. Slowly.\n"
    assert Library(folder).concept("sad") == saved
    assert [read_version(v) for v in list_versions(folder, "sad")] == [opened.descriptions]
    assert sorted(p.name for p in folder.iterdir() if p.name.startswith(".")) == [".history"]


def test_a_change_made_meanwhile_is_never_overwritten_silently(folder: Path) -> None:
    opened = Library(folder).concept("sad")
    (folder / "sad.txt").write_text("Theirs.\n")
    with pytest.raises(FileChanged) as caught:
        save_concept(folder, "sad", ["Mine."], opened.fingerprint)
    error = caught.value
    assert (error.mine, error.theirs) == (("Mine.",), ("Theirs.",))
    assert (folder / "sad.txt").read_text() == "Theirs.\n"
    save_concept(folder, "sad", error.mine, error.theirs_fingerprint)
    assert (folder / "sad.txt").read_text() == "Mine.\n"
    assert ("Theirs.",) in [read_version(v) for v in list_versions(folder, "sad")]


def test_a_file_deleted_meanwhile_asks_and_can_be_written_again(folder: Path) -> None:
    opened = Library(folder).concept("sad")
    (folder / "sad.txt").unlink()
    with pytest.raises(FileChanged, match="deleted") as caught:
        save_concept(folder, "sad", ["Mine."], opened.fingerprint)
    assert caught.value.theirs_fingerprint is None
    save_concept(folder, "sad", ["Mine."], caught.value.theirs_fingerprint)
    assert (folder / "sad.txt").read_text() == "Mine.\n"


def test_their_unreadable_change_is_shown_and_kept_byte_for_byte(folder: Path) -> None:
    opened = Library(folder).concept("sad")
    (folder / "sad.txt").write_bytes(b"caf\xe9")
    with pytest.raises(FileChanged) as caught:
        save_concept(folder, "sad", ["Mine."], opened.fingerprint)
    assert caught.value.theirs == ("caf\ufffd",)
    save_concept(folder, "sad", ["Mine."], caught.value.theirs_fingerprint)
    assert any(v.path.read_bytes() == b"caf\xe9" for v in list_versions(folder, "sad"))


def test_saving_the_same_descriptions_leaves_the_files_bytes_alone(folder: Path) -> None:
    raw = b"\xef\xbb\xbfI am one.\r\n\r\nI am two.\r\n"
    (folder / "crlf.txt").write_bytes(raw)
    save_concept(folder, "crlf", ["I am one.", " I am two. ", ""], "a stale fingerprint")
    assert (folder / "crlf.txt").read_bytes() == raw


def test_a_save_that_the_disk_refuses_leaves_the_old_text_and_no_litter(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = Library(folder).concept("sad")
    replace = os.replace

    def full(source: Path, target: Path) -> None:
        if Path(target).name == "sad.txt":
            raise OSError(28, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(UserError, match="No space left on device"):
        save_concept(folder, "sad", ["I ache."], opened.fingerprint)
    monkeypatch.undo()
    assert Library(folder).concept("sad") == opened
    assert [p.name for p in folder.iterdir() if p.name.startswith(".saving")] == []
    assert [read_version(v) for v in list_versions(folder, "sad")] == [("I ache.",)]


@pytest.mark.parametrize("text", ["a\0b", "a\ud800b"])
def test_a_character_no_text_file_can_hold_is_refused_before_writing(
    folder: Path, text: str
) -> None:
    with pytest.raises(UserError, match=r"U\+"):
        save_concept(folder, "new", [text], None)
    assert not (folder / "new.txt").exists()


def test_too_much_text_is_refused_before_writing(folder: Path) -> None:
    with pytest.raises(UserError, match="5 MB"):
        save_concept(folder, "new", ["x" * MAX_FILE_BYTES], None)
    assert not (folder / "new.txt").exists()


def test_saving_through_a_link_keeps_the_link_and_permissions(folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "elsewhere"
    target.write_text("I am here.")
    target.chmod(0o640)
    (folder / "linked.txt").symlink_to(target)
    opened = Library(folder).concept("linked")
    save_concept(folder, "linked", ["I am there."], opened.fingerprint)
    assert (folder / "linked.txt").is_symlink()
    assert target.read_text() == "I am there.\n"
    assert target.stat().st_mode & 0o777 == 0o640


def test_saving_under_another_case_changes_the_one_file(folder: Path) -> None:
    opened = Library(folder).concept("sad")
    save_concept(folder, "SAD", ["I ache."], opened.fingerprint)
    assert Library(folder).names() == ("calm", "sad")


@pytest.mark.parametrize("name", ["../x", "CON", "a/b", "x" * 300])
def test_no_operation_leaves_the_folder(folder: Path, name: str) -> None:
    before = sorted(folder.parent.rglob("*"))
    for act in (
        lambda: save_concept(folder, name, ["I am."], None),
        lambda: create_concept(folder, name),
        lambda: rename_concept(folder, "calm", name),
        lambda: rename_concept(folder, name, "other"),
        lambda: delete_concept(folder, name),
    ):
        with pytest.raises(UserError):
            act()
    assert sorted(folder.parent.rglob("*")) == before


def test_a_new_concept_may_be_empty_but_not_twice(folder: Path) -> None:
    assert create_concept(folder, " awed ").descriptions == ()
    with pytest.raises(UserError, match="already a concept 'awed'"):
        create_concept(folder, "Awed")


# --- renaming and deleting -------------------------------------------------------------------


def test_renaming_keeps_text_and_history(folder: Path) -> None:
    opened = Library(folder).concept("sad")
    save_concept(folder, "sad", ["I ache."], opened.fingerprint)
    renamed = rename_concept(folder, "sad", "sorrowful")
    assert renamed.descriptions == ("I ache.",)
    assert Library(folder).names() == ("calm", "sorrowful")
    assert [read_version(v) for v in list_versions(folder, "sorrowful")] == [opened.descriptions]
    assert list_versions(folder, "sad") == []


def test_renaming_may_change_only_the_case(folder: Path) -> None:
    assert rename_concept(folder, "sad", "Sad").name == "Sad"
    assert Library(folder).names() == ("Sad", "calm")


def test_renaming_onto_another_concept_is_refused(folder: Path) -> None:
    with pytest.raises(UserError, match="already a concept 'calm'"):
        rename_concept(folder, "sad", "Calm")
    assert Library(folder).concept("calm").descriptions == CALM


def test_renaming_onto_a_deleted_concepts_name_merges_the_histories(folder: Path) -> None:
    delete_concept(folder, "calm")
    rename_concept(folder, "sad", "calm")
    assert [read_version(v) for v in list_versions(folder, "calm")] == [CALM]


def test_a_neutral_file_stays_neutral_when_renamed(folder: Path) -> None:
    assert rename_concept(folder, "_baseline", "plain").name == "_plain"


def test_a_file_whose_name_is_unusable_can_be_renamed_here(folder: Path) -> None:
    (folder / "CON.txt").write_text("I am.")
    assert rename_concept(folder, "CON", "steady").descriptions == ("I am.",)
    assert messages(folder) == []


def test_deleting_moves_the_bytes_to_the_trash(folder: Path) -> None:
    raw = (folder / "calm.txt").read_bytes()
    entry = delete_concept(folder, "calm")
    assert (entry.name, entry.n_descriptions) == ("calm", 2)
    assert entry.path.read_bytes() == raw
    assert Library(folder).names() == ("sad",)


# --- what looks empty, and what is no concept ----------------------------------------------------

INVISIBLE = ["\u200b", "\u00ad\u2060", "\u2800", "\u3164 ", "\ufe0f", "\u180e\t", "\u200e", "\x1f"]


@pytest.mark.parametrize("line", INVISIBLE)
def test_a_line_of_invisible_characters_separates_like_an_empty_one(line: str) -> None:
    raw = f"I am one.\n{line}\nI am two.\n".encode()
    assert parse_descriptions(raw, "x.txt") == ("I am one.", "I am two.")
    assert normalise_descriptions([f"I am one.\n{line}\nStill one.", line]) == (
        "I am one.\nStill one.",
    )


def test_invisible_characters_inside_a_line_stay() -> None:
    text = "👩\u200d🚀 \u200bI fly."
    assert parse_descriptions(text.encode(), "x.txt") == (text,)


ABOUT = ["README.txt", "readme.TXT", "LICENSE.txt", "Licence.txt", "requirements.txt"]


@pytest.mark.parametrize("name", [*ABOUT, "requirements-dev.txt", "COPYING.txt", "README.de.txt"])
def test_files_about_the_folder_are_no_concepts(folder: Path, name: str) -> None:
    (folder / name).write_bytes(b"\xff not even text")
    assert Library(folder).names() == ("calm", "sad")
    assert messages(folder) == []
    with pytest.raises(UserError, match="about the folder"):
        create_concept(folder, name)


def test_names_that_only_begin_alike_are_concepts(folder: Path) -> None:
    for name in ("licentious", "required", "ready"):
        create_concept(folder, name, ["I am."])
    assert Library(folder).names() == ("calm", "licentious", "ready", "required", "sad")
