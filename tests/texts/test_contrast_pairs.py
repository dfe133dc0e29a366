"""Contrast pairs from files: every format, the stated polarity, and what is wrong in them."""

import csv
import io
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from readout_ui.errors import UserError
from readout_ui.texts.pairs import (
    PRESETS,
    ContrastPair,
    PairColumns,
    PairSet,
    find_pairs,
    guess_columns,
    pick_pairs,
    read_pair_table,
    read_pairs,
)

SIDES = PairColumns("good", "bad", "ask")
text = st.text(min_size=1, max_size=30).filter(
    lambda t: bool(t.strip()) and "\0" not in t and t.isprintable()
)


def write(path: Path, content: str) -> Path:
    path.write_text(content, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.json", '[{"ironic": "Great, rain.", "literal": "It rains."}]'),
        ("a.json", '{"about": "x", "pairs": [{"literal": "It rains.", "ironic": "Great, rain."}]}'),
        ("a.json", '{"ironic": {"0": "Great, rain."}, "literal": {"0": "It rains."}}'),
        ("a.json", '{"ironic": ["Great, rain."], "literal": ["It rains."]}'),
        ("a.json", '{"columns": ["literal", "ironic"], "data": [["It rains.", "Great, rain."]]}'),
        ("a.json", '{"ironic": "Great, rain.", "literal": "It rains."}'),
        ("a.csv", "sep=;\nironic;literal\nGreat, rain.;It rains.\n"),
        ("a.jsonl", '\n{"ironic": "Great, rain.", "id": 3, "literal": "It rains."}\n'),
        ("a.csv", 'literal,ironic\nIt rains.,"Great, rain."\n'),
        ("a.tsv", "ironic\tliteral\r\nGreat, rain.\tIt rains.\r\n"),
    ],
)
def test_every_format_gives_the_same_pair_and_polarity(
    tmp_path: Path, name: str, content: str
) -> None:
    found = read_pairs(write(tmp_path / name, content))
    assert found.name == "irony"
    assert found.columns.polarity == "positive = ironic, negative = literal"
    assert found.pairs == (ContrastPair("Great, rain.", "It rains."),)


def test_the_polarity_is_what_the_mapping_says(tmp_path: Path) -> None:
    file = write(tmp_path / "a.csv", "literal,ironic\nIt rains.,Great.\n")
    found = read_pairs(file, PairColumns("literal", "ironic"))
    assert found.columns.polarity == "positive = literal, negative = ironic"
    assert found.pairs[0].positive == "It rains."


def test_presets_take_their_prompt_only_where_there_is_one() -> None:
    assert guess_columns(["scenario", "low_tom", "high_tom", "category"]) == PRESETS["tom"]
    assert guess_columns(["low_tom", "high_tom"]) == PairColumns("high_tom", "low_tom")
    assert guess_columns(["positive", "negative"]) == PairColumns("positive", "negative")
    assert guess_columns(["a", "b"]) is None


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "good,bad\nOh,\n", "a.csv line 2: there is no text in the column 'bad'"),
        ("a.csv", "good,bad\nOh,no,no\n", "a.csv line 2: the row has 3 columns"),
        ("a.csv", "good,evil\nOh,no\n", "no column 'bad'"),
        ("a.csv", "good,evil\nOh,no\n", "(options: good, evil)"),
        ("a.jsonl", '{"good": "Oh", "bad": "no"}\n{"go', "a.jsonl line 2: this is not JSON"),
        ("a.jsonl", '{"good": "Oh"}\n', "no column 'bad'"),
        ("a.json", "[]", "a.json: there are no contrast pairs in it; write {"),
        ("a.json", '[{"good": ["a", "b"], "bad": "c"}]', "line 1: the column 'good' holds several"),
        ("a.json", '{"good": 3}', '"positive"'),
        ("a.txt", "good", "no suffix that says how to read it"),
    ],
)
def test_what_cannot_be_read_is_named_with_line_and_columns(
    tmp_path: Path, name: str, content: str, message: str
) -> None:
    with pytest.raises(UserError) as refusal:
        read_pairs(write(tmp_path / name, content), PairColumns("good", "bad"))
    assert message in str(refusal.value)


def test_unknown_columns_are_not_guessed(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"which column is positive.*options: a, b"):
        read_pairs(write(tmp_path / "x.csv", "a,b\nOh,no\n"))


def test_one_column_cannot_be_both_sides(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="different columns"):
        read_pairs(write(tmp_path / "x.csv", "a,b\nOh,no\n"), PairColumns("a", "a"))


def test_a_folder_gives_the_file_of_a_contrast_type(tmp_path: Path) -> None:
    write(tmp_path / "theory_of_mind_pairs.json", "[]")
    write(tmp_path / "irony.csv", "")
    assert find_pairs(tmp_path, "tom").name == "theory_of_mind_pairs.json"
    assert find_pairs(tmp_path, "irony").name == "irony.csv"
    with pytest.raises(UserError, match=r"no file of self_other pairs.*irony\.csv"):
        find_pairs(tmp_path, "self_other")
    with pytest.raises(UserError, match="unknown contrast type"):
        find_pairs(tmp_path, "../etc")


def test_the_first_pairs_can_be_taken_alone() -> None:
    pairs = tuple(ContrastPair(f"a {i}", f"b {i}") for i in range(5))
    found = PairSet("x", PairColumns("a", "b"), pairs, "x.csv")
    assert found.first(2).pairs == pairs[:2]
    assert found.first(None) == found.first(99) == found
    with pytest.raises(UserError, match="too few"):
        found.first(0)


@given(st.lists(st.tuples(text, text, text), min_size=1, max_size=8))
def test_pairs_survive_json_lines_and_csv(rows: list[tuple[str, str, str]]) -> None:
    expected = tuple(ContrastPair(a.strip(), b.strip(), c.strip()) for a, b, c in rows)
    lines = [json.dumps({"good": a, "bad": b, "ask": c}, ensure_ascii=False) for a, b, c in rows]
    table = read_pair_table("\n".join(lines).encode(), "x.jsonl")
    assert pick_pairs(table, SIDES) == expected
    listed = json.dumps({"pairs": [json.loads(line) for line in lines]}).encode()
    assert pick_pairs(read_pair_table(listed, "x.json"), SIDES) == expected
    sheet = io.StringIO()
    csv.writer(sheet).writerows([("good", "bad", "ask", "text"), *((*r, "t") for r in rows)])
    table = read_pair_table(sheet.getvalue().encode(), "x.csv")
    assert pick_pairs(table, SIDES) == expected


@given(st.binary(max_size=80), st.sampled_from(["x.json", "x.jsonl", "x.csv", "x.tsv"]))
def test_any_bytes_give_pairs_or_one_sentence(raw: bytes, name: str) -> None:
    found: tuple[ContrastPair, ...] = ()
    told = "nothing"
    try:
        table = read_pair_table(raw, name)
        found = pick_pairs(table, PairColumns(table.columns[0], table.columns[-1]))
    except UserError as error:
        told = error.sentence()
    assert (found and told == "nothing") or (not found and "\n" not in told)
