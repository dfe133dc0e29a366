"""Sets of descriptions as one file: exact round trips, a plan first, hostile files refused."""

import csv
import io
import stat
import tempfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from readout_ui.errors import UserError
from readout_ui.texts import reading
from readout_ui.texts.editing import list_versions, read_version, save_concept
from readout_ui.texts.exchange import (
    apply_import,
    export_bytes,
    export_set,
    import_set,
    plan_import,
)
from readout_ui.texts.library import Library
from readout_ui.texts.names import check_name, fold_name
from readout_ui.texts.set_files import (
    SET_SUFFIXES,
    ImportedSet,
    read_csv,
    read_jsonl,
    read_zip,
)


def is_safe(name: str) -> bool:
    try:
        return check_name(name, neutral=name.startswith("_")) == name
    except UserError:
        return False


NAMES = st.one_of(
    st.text(min_size=1, max_size=12).filter(is_safe),
    st.sampled_from(["calm", "_baseline", "quiet joy", "=1+1", "a;b", "a,b", "café"]),
)
TEXTS = st.lists(
    st.one_of(
        st.text(st.characters(codec="utf-8", exclude_characters="\0")),
        st.sampled_from(['"quoted", with comma', "two\nlines", "; tab\t", "\u2028x", "'", '"']),
    ),
    max_size=4,
)


def written(folder: Path, concepts: dict[str, list[str]]) -> Library:
    for name, texts in concepts.items():
        save_concept(folder, name, texts, None)
    return Library(folder)


def held(library: Library) -> dict[str, tuple[str, ...]]:
    return library.texts()


def zipped(*entries: tuple[str | zipfile.ZipInfo, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries:
            archive.writestr(name, data)
    return buffer.getvalue()


def reasons(imported: ImportedSet) -> str:
    return " ".join(refusal.reason for refusal in imported.refused)


@settings(max_examples=40)
@given(st.dictionaries(NAMES, TEXTS, max_size=4), st.sampled_from(SET_SUFFIXES))
def test_every_format_brings_back_exactly_what_was_exported(
    concepts: dict[str, list[str]], suffix: str
) -> None:
    unique = {fold_name(name): name for name in concepts}.values()
    with tempfile.TemporaryDirectory() as name:
        library = written(Path(name) / "set", {n: concepts[n] for n in unique} or {"calm": []})
        imported = import_set(export_set(library, Path(name) / f"out{suffix}"))
        assert imported.concepts == held(library)
        assert (imported.refused, imported.notes) == ((), ())
        assert plan_import(library, imported).summary().endswith("the same, 0 refused")


@pytest.mark.parametrize("suffix", SET_SUFFIXES)
def test_equal_sets_export_equal_bytes(tmp_path: Path, suffix: str) -> None:
    library = written(tmp_path, {"calm": ["I rest."], "_baseline": ["I read."]})
    assert export_bytes(library, suffix) == export_bytes(Library(tmp_path), suffix)


@given(st.binary(max_size=400))
def test_any_bytes_are_a_set_or_one_sentence(raw: bytes) -> None:
    for read in (read_csv, read_jsonl, read_zip):
        try:
            imported = read(raw, "set")
        except UserError as error:
            message = str(error)
        else:
            message = ""
            assert all(is_safe(name) for name in imported.concepts)
        assert "\n" not in message


@settings(max_examples=300)
@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=6))
def test_a_damaged_zip_never_breaks_the_reader(changes: list[tuple[int, int]]) -> None:
    raw = bytearray(zipped(("calm.txt", b"I rest. " * 20), ("set/sad.txt", b"I ache.")))
    for place, value in changes:
        raw[place % len(raw)] = value
    try:
        imported = read_zip(bytes(raw), "set.zip")
    except UserError as error:
        message = str(error)
    else:
        message = "".join(refusal.reason for refusal in imported.refused)
    assert "\n" not in message


def test_a_plan_tells_added_changed_same_and_refused_and_writes_nothing(tmp_path: Path) -> None:
    library = written(tmp_path, {"calm": ["I rest."], "sad": ["I ache."]})
    (tmp_path / "bad.txt").write_bytes(b"\xff")
    before = sorted(tmp_path.rglob("*"))
    imported = read_csv(
        b"Calm,I rest.\nsad,I weep.\nawed,I gape.\n../x,I go.\nbad,I am.\n", "s.csv"
    )
    plan = plan_import(Library(tmp_path), imported)
    assert plan.summary() == "1 added, 1 changed, 1 the same, 2 refused"
    assert [c.name for c in plan.of("same")] == ["calm"]
    (changed,) = plan.of("changed")
    assert (changed.before, changed.descriptions) == (("I ache.",), ("I weep.",))
    assert {refusal.name for refusal in plan.refused} == {"../x", "bad"}
    assert sorted(tmp_path.rglob("*")) == before
    assert held(library) == held(Library(tmp_path))


def test_an_applied_plan_keeps_what_it_replaces(tmp_path: Path) -> None:
    library = written(tmp_path, {"sad": ["I ache."]})
    plan = plan_import(library, read_csv(b"sad,I weep.\n_base,I read.\n", "s.csv"))
    assert [c.name for c in apply_import(tmp_path, plan)] == ["_base", "sad"]
    assert held(Library(tmp_path)) == {"sad": ("I weep.",), "_base": ("I read.",)}
    assert [read_version(v) for v in list_versions(tmp_path, "sad")] == [("I ache.",)]


@pytest.mark.parametrize("file", ["sad.txt", "awed.txt"])
def test_a_folder_that_changed_since_the_plan_is_left_alone(tmp_path: Path, file: str) -> None:
    library = written(tmp_path, {"sad": ["I ache."]})
    plan = plan_import(library, read_csv(b"alert,I look.\nawed,I gape.\nsad,I weep.\n", "s.csv"))
    (tmp_path / file).write_text("By another editor.")
    with pytest.raises(UserError, match="nothing was imported"):
        apply_import(tmp_path, plan)
    assert "alert" not in Library(tmp_path).names()
    assert (tmp_path / file).read_text() == "By another editor."


# --- CSV -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "raw",
    [
        b"concept,description\ncalm,I rest.\ncalm,I wait.\n",
        b"calm,I rest.\r\n\r\ncalm,I wait.\r\n",
        b"\xef\xbb\xbfConcept;Description\ncalm;I rest.\ncalm;I wait.\n",
        b"description\tconcept\nI rest.\tcalm\nI wait.\tcalm\n",
        b'"calm","I rest."\n"calm","I wait."',
    ],
)
def test_csv_is_read_with_or_without_a_header_and_with_any_separator(raw: bytes) -> None:
    imported = read_csv(raw, "s.csv")
    assert imported.concepts == {"calm": ("I rest.", "I wait.")}
    assert imported.notes == ()


def test_other_separators_inside_a_text_do_not_confuse_a_csv_without_header() -> None:
    raw = b"calm,I rest; slowly; here.\nsad,I ache.\n"
    assert read_csv(raw, "s.csv").concepts == {
        "calm": ("I rest; slowly; here.",),
        "sad": ("I ache.",),
    }


def test_a_cell_with_line_breaks_is_one_description() -> None:
    raw = b'concept,description\ncalm,"I rest.\r\n\r\nI wait."\n'
    assert read_csv(raw, "s.csv").concepts == {"calm": ("I rest.\nI wait.",)}


def test_extra_columns_are_ignored_and_said() -> None:
    imported = read_csv(b"author,concept,description\nme,calm,I rest.\n", "s.csv")
    assert imported.concepts == {"calm": ("I rest.",)}
    assert imported.notes == ("Column 'author' is ignored.",)
    assert read_csv(b"calm,I rest.,3\n", "s.csv").notes == ("Column 3 is ignored.",)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"concept,description\ncalm,I rest.\nsad\n", "s.csv line 3: the row has no description"),
        (b'calm,"I rest.\n', "s.csv line 1"),
        (b"concept,words\ncalm,I rest.\n", "no column 'description'"),
        (b"calm,I rest.\nsad,caf\xe9\n", r"byte 20 \(line 2\) is not UTF-8"),
        ("calm,I rest.".encode("utf-16"), "UTF-16"),
        (b"calm,I\0rest.", "NUL"),
    ],
)
def test_a_wrong_csv_names_the_line(raw: bytes, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_csv(raw, "s.csv")


def test_a_cell_may_be_as_long_as_a_file_may_be() -> None:
    buffer = io.StringIO()
    csv.writer(buffer).writerow(("calm", "x" * 400_000))
    assert len(read_csv(buffer.getvalue().encode(), "s.csv").concepts["calm"][0]) == 400_000


def test_two_spellings_of_one_name_are_not_merged_silently() -> None:
    imported = read_csv(b"calm,I rest.\nCALM,I wait.\n", "s.csv")
    assert imported.concepts == {"calm": ("I rest.",)}
    assert "the same name" in reasons(imported)


# --- JSON lines ------------------------------------------------------------------------------


def test_extra_keys_are_ignored_and_said() -> None:
    imported = read_jsonl(b'{"concept": "calm", "description": "I rest.", "id": 3}\n\n', "s.jsonl")
    assert imported.concepts == {"calm": ("I rest.",)}
    assert imported.notes == ("The key 'id' is ignored.",)


@pytest.mark.parametrize(
    "line",
    [
        b"{",
        b"[]",
        b'"calm"',
        b'{"concept": "calm"}',
        b'{"concept": 3, "description": "I rest."}',
        b'{"concept": "calm", "description": null}',
        b"[" * 100_000,
        b"1" * 10_000,
        b"NaN",
    ],
)
def test_a_wrong_json_line_is_named(line: bytes) -> None:
    good = b'{"concept": "calm", "description": "I rest."}\r\n'
    with pytest.raises(UserError, match=r"s.jsonl line 3: "):
        read_jsonl(good + b"\n" + line + b"\n" + good, "s.jsonl")


def test_a_text_that_no_file_can_hold_is_refused_by_name() -> None:
    imported = read_jsonl(b'{"concept": "calm", "description": "\\ud800"}', "s.jsonl")
    assert imported.concepts == {}
    assert "U+D800" in reasons(imported)


# --- zip -------------------------------------------------------------------------------------


def test_folders_system_files_and_other_files_in_a_zip_are_passed_over() -> None:
    imported = read_zip(
        zipped(
            ("set/", b""),
            ("set/calm.txt", b"I rest.\r\n\r\nI wait."),
            ("__MACOSX/set/._calm.txt", b"\xff"),
            ("set/.DS_Store", b"\xff"),
            ("set/README.md", b"# hello"),
            ("set/LICENSE.txt", b"Free."),
        ),
        "s.zip",
    )
    assert imported.concepts == {"calm": ("I rest.", "I wait.")}
    assert imported.refused == ()
    assert imported.notes == (
        "README.md is no .txt file and is ignored.",
        "LICENSE.txt is no concept and is ignored.",
    )


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("../calm.txt", "leads out"),
        ("set/../../calm.txt", "leads out"),
        ("..\\calm.txt", "leads out"),
        ("/etc/calm.txt", "absolute"),
        ("\\calm.txt", "absolute"),
        ("C:\\calm.txt", "drive"),
        ("CON.txt", "Windows"),
        (f"{'x' * 300}.txt", "longer than 100"),
        ("calm .txt", ""),
    ],
)
def test_an_entry_with_an_unsafe_name_is_refused_and_the_rest_read(name: str, reason: str) -> None:
    imported = read_zip(zipped((name, b"I go."), ("sad.txt", b"I ache.")), "s.zip")
    if reason:
        assert imported.concepts == {"sad": ("I ache.",)}
        assert reason in reasons(imported)
    else:
        assert imported.concepts == {"calm": ("I go.",), "sad": ("I ache.",)}


def test_a_link_in_a_zip_is_refused() -> None:
    link = zipfile.ZipInfo("calm.txt")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    assert "a link" in reasons(read_zip(zipped((link, b"/etc/passwd")), "s.zip"))


def test_entries_that_are_no_text_are_refused_with_the_place() -> None:
    imported = read_zip(zipped(("latin.txt", b"caf\xe9"), ("calm.txt", b"I rest.")), "s.zip")
    assert list(imported.concepts) == ["calm"]
    assert "byte 3 (line 1) is not UTF-8" in reasons(imported)


def test_two_entries_of_one_name_in_different_folders_are_not_merged() -> None:
    imported = read_zip(zipped(("a/calm.txt", b"I rest."), ("b/Calm.txt", b"I wait.")), "s.zip")
    assert imported.concepts == {"calm": ("I rest.",)}
    assert "the same name" in reasons(imported)


def test_an_entry_that_declares_too_much_is_never_unpacked() -> None:
    imported = read_zip(zipped(("calm.txt", b"0" * 30_000_000)), "s.zip")
    assert "30.0 MB is more than the 5 MB" in reasons(imported)


def test_an_entry_that_understates_its_size_is_refused() -> None:
    honest = zipped(("calm.txt", b"0" * 3_000_000))
    size = (3_000_000).to_bytes(4, "little")
    imported = read_zip(honest.replace(size, (10).to_bytes(4, "little")), "s.zip")
    assert imported.concepts == {}
    assert "damaged" in reasons(imported)


def test_many_entries_that_unpack_to_too_much_stop_the_import(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reading, "MAX_UNPACKED_BYTES", 1_000_000)
    bomb = zipped(*((f"c{i}.txt", b"0" * 300_000) for i in range(5)))
    with pytest.raises(UserError, match="unpacks to more than 1 MB"):
        read_zip(bomb, "s.zip")


def test_a_zip_with_too_many_entries_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MAX_ZIP_ENTRIES", 3)
    with pytest.raises(UserError, match="more than 3 entries"):
        read_zip(zipped(*((f"c{i}.txt", b"") for i in range(4))), "s.zip")


def test_a_file_that_is_no_zip_is_named() -> None:
    with pytest.raises(UserError, match=r"s.zip: this is not a zip file"):
        read_zip(b"hello", "s.zip")


# --- files -----------------------------------------------------------------------------------


def test_an_unknown_suffix_lists_the_known_ones(tmp_path: Path) -> None:
    (tmp_path / "set.docx").write_bytes(b"x")
    with pytest.raises(UserError) as caught:
        import_set(tmp_path / "set.docx")
    assert caught.value.options == (".zip", ".csv", ".jsonl")


def test_a_set_file_too_large_to_be_one_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "set.csv").open("wb") as file:
        file.truncate(50_000_000_000)
    with pytest.raises(UserError, match="more than the 50 MB"):
        import_set(tmp_path / "set.csv")
