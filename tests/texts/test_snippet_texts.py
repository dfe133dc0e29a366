"""Large text files read passage by passage, and what other people's files hold."""

import json
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from readout_ui.errors import UserError
from readout_ui.texts.streams import MAX_BYTES, MAX_PASSAGE, BadLine, Passage, open_texts


def read(path: Path, raw: bytes, field: str = "") -> tuple[list[Passage], list[BadLine]]:
    path.write_bytes(raw)
    bad: list[BadLine] = []
    return list(open_texts(path, field).passages(bad.append)), bad


def texts(passages: list[Passage]) -> list[tuple[str, int]]:
    return [(passage.text.strip(), passage.line) for passage in passages]


def test_blank_lines_separate_texts(tmp_path: Path) -> None:
    found, bad = read(tmp_path / "a.txt", b"\xef\xbb\xbfOne\nstill one\r\n\r\n\n two \n")
    assert texts(found) == [("One\nstill one", 1), ("two", 5)]
    assert bad == []


def test_without_blank_lines_every_line_is_a_text(tmp_path: Path) -> None:
    found, _ = read(tmp_path / "a.txt", b"one\ntwo\nthree")
    assert texts(found) == [("one", 1), ("two", 2), ("three", 3)]


def test_the_text_field_of_json_lines_is_guessed_or_chosen(tmp_path: Path) -> None:
    raw = b'{"id": "a", "text": "one"}\n\n{"id": "b", "text": "two"}\n'
    assert texts(read(tmp_path / "a.jsonl", raw)[0]) == [("one", 1), ("two", 3)]
    assert texts(read(tmp_path / "a.jsonl", raw, "id")[0]) == [("a", 1), ("b", 3)]
    only = b'{"n": 1, "body": "one"}\n'
    assert texts(read(tmp_path / "a.jsonl", only)[0]) == [("one", 1)]


def test_lines_that_cannot_be_read_are_named_and_left_out(tmp_path: Path) -> None:
    lines = [
        b'{"text": "good"}', b"{broken", b"[1]", b'{"other": 1}', b'{"text": 3}',
        b'{"text": "caf\xe9"}', b'{"text": "\\ud800"}', b"[" * 100_000,
    ]  # fmt: skip
    found, bad = read(tmp_path / "a.jsonl", b"\n".join(lines))
    assert texts(found) == [("good", 1)]
    assert [line.line for line in bad] == [2, 3, 4, 5, 6, 7, 8]
    assert bad[0].reason == "is not JSON"
    assert bad[2].reason == "has no field 'text'"
    found, bad = read(tmp_path / "a.txt", b"one\n\ncaf\xe9\n\nthree\n\nrest \xf0\x9f")
    assert texts(found) == [("one", 1), ("three", 5), ("rest", 7)]
    assert [line.line for line in bad] == [3, 7]


@pytest.mark.parametrize(
    ("name", "raw", "said"),
    [
        ("a.pdf", b"x", r"\.jsonl"),
        ("a.txt", b" \n", "empty"),
        ("a.txt", b"PK\x03\x04\0\0", "binary"),
        ("a.txt", "text".encode("utf-16"), "UTF-16"),
        ("a.jsonl", b'{"id": 1}\n', "no line is a JSON object with a text"),
        ("a.jsonl", b"plain text\n", r"bring the texts as \.txt"),
        ("a.jsonl", b'{"title": "a", "body": "b"}\n', r"options: title, body"),
    ],
)
def test_files_that_cannot_be_used_are_refused(
    tmp_path: Path, name: str, raw: bytes, said: str
) -> None:
    (tmp_path / name).write_bytes(raw)
    with pytest.raises(UserError, match=said):
        open_texts(tmp_path / name)


def test_an_unknown_field_and_a_file_too_large_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'{"title": "a", "body": "b"}\n')
    with pytest.raises(UserError, match="options: title, body"):
        open_texts(tmp_path / "a.jsonl", "text")
    with (tmp_path / "a.txt").open("wb") as file:
        file.write(b"text")
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(UserError, match="100 MB are read"):
        open_texts(tmp_path / "a.txt")


def test_one_giant_line_takes_no_more_memory_than_a_short_one(tmp_path: Path) -> None:
    word = "wörd "
    n = 4_000_000
    (tmp_path / "a.txt").write_text(word * n, encoding="utf-8")
    file = open_texts(tmp_path / "a.txt")
    tracemalloc.start()
    n_read = longest = 0
    for passage in file.passages(lambda line: pytest.fail(str(line))):
        n_read, longest = n_read + len(passage.text), max(longest, len(passage.text))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert n_read == len(word) * n
    assert peak < 2 * 2**20 < file.n_bytes / 10
    assert longest <= MAX_PASSAGE


def test_a_json_line_that_never_ends_is_left_out_in_bounded_memory(tmp_path: Path) -> None:
    with (tmp_path / "a.jsonl").open("wb") as file:
        file.write(b'{"text": "first"}\n{"text": "')
        for _ in range(20):
            file.write(b"x" * 2**20)
        file.write(b'"}\n{"text": "last"}\n')
    bad: list[BadLine] = []
    opened = open_texts(tmp_path / "a.jsonl")
    tracemalloc.start()
    found = list(opened.passages(bad.append))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert texts(found) == [("first", 1), ("last", 3)]
    assert [(line.line, line.reason) for line in bad] == [(2, "is longer than 4 MB")]
    assert peak < 12 * 2**20


@settings(max_examples=60)
@given(raw=st.binary(max_size=400))
def test_any_bytes_are_read_or_refused_in_a_sentence(
    tmp_path_factory: pytest.TempPathFactory, raw: bytes
) -> None:
    folder = tmp_path_factory.getbasetemp()
    for name in ("any.txt", "any.jsonl"):
        try:
            passages, _ = read(folder / name, raw)
        except UserError:
            continue
        assert all(passage.text.strip() for passage in passages)
        assert all(len(passage.text) <= MAX_PASSAGE for passage in passages)


@settings(max_examples=60)
@given(
    lines=st.lists(
        st.text(
            st.characters(exclude_characters="\0\n\r\x85\u2028\u2029", exclude_categories=["Cs"])
        ),
        min_size=1,
        max_size=6,
    )
)
def test_every_text_comes_back_whole(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str]
) -> None:
    wanted = [line for line in lines if line.strip()]
    if not wanted:
        return
    path = tmp_path_factory.getbasetemp() / "whole.jsonl"
    raw = "\n".join(json.dumps({"text": line}) for line in lines).encode()
    assert [passage.text for passage in read(path, raw)[0]] == wanted
