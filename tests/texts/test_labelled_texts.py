"""Labelled texts from whatever people have: files, folders, pasted text."""

import csv
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from readout_ui.errors import UserError
from readout_ui.files import MAX_FILE_BYTES
from readout_ui.texts import streams, tables
from readout_ui.texts.labelled import (
    MAX_ALL_TEXT,
    MAX_LABELS,
    MAX_TEXT,
    NEUTRAL,
    LabelledText,
    labels_of,
    mapping_of,
    pick_columns,
    read_files_table,
    read_labelled,
    read_shipped,
    suggest_mapping,
)
from readout_ui.texts.reading import MAX_READ, is_blank
from readout_ui.texts.set_files import read_csv
from readout_ui.texts.streams import MAX_PASSAGE
from readout_ui.texts.table_files import read_pasted, read_table
from readout_ui.texts.tables import MAX_ROWS, read_delimited

TWO = (LabelledText("I rest, at last.", ("calm",)), LabelledText("He left me.", ("sad",)))


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", 'label,text\ncalm,"I rest, at last."\nsad,He left me.\n'),
        ("a.csv", '"I rest, at last.",calm\n"He left me.",sad\n'),
        ("a.csv", "id;emotion;utterance\n1;calm;I rest, at last.\n2;sad;He left me.\n"),
        ("a.tsv", "\ufefftext\tlabel\r\nI rest, at last.\tcalm\r\nHe left me.\tsad\r\n"),
        (
            "a.jsonl",
            '{"text": "I rest, at last.", "label": "calm"}\n\n{"text":"He left me.","label":"sad"}',
        ),
        ("a.json", '{"calm": ["I rest, at last."], "sad": ["He left me."]}'),
        ("a.json", '[["I rest, at last.", "calm"], ["He left me.", "sad"]]'),
        (
            "a.json",
            '[{"x": "I rest, at last.", "y": ["calm"]}, {"x": "He left me.", "y": ["sad"]}]',
        ),
    ],
)
def test_every_format_gives_the_same_texts(tmp_path: Path, name: str, content: str) -> None:
    assert read_labelled(write(tmp_path / name, content)) == TWO


def test_a_folder_of_text_files_is_labelled_by_their_names(tmp_path: Path) -> None:
    write(tmp_path / "calm.txt", "I rest, at last.\n\nStill\nwater.\n")
    write(tmp_path / "sad.txt", "He left me.\nIt rains.\n")
    assert [(t.text, *t.labels) for t in read_labelled(tmp_path)] == [
        ("I rest, at last.", "calm"),
        ("Still\nwater.", "calm"),
        ("He left me.", "sad"),
        ("It rains.", "sad"),
    ]


def test_a_folder_of_json_lists_is_labelled_by_their_names(tmp_path: Path) -> None:
    write(tmp_path / "fear.json", '["A shadow.", "A step."]')
    write(tmp_path / "anger.json", '["My seat!"]')
    assert labels_of(read_labelled(tmp_path)) == ("anger", "fear")


def test_a_text_may_have_several_labels_in_one_cell_or_in_several_columns() -> None:
    table = read_delimited("text,label,more\nOh,calm|sad; sad,tired\nAh,calm,\n", "x.csv")
    assert pick_columns(table, "text", ["label", "more"]) == (
        LabelledText("Oh", ("calm", "sad", "tired")),
        LabelledText("Ah", ("calm",)),
    )


@pytest.mark.parametrize(
    "pasted",
    [
        "calm: I rest, at last.\nsad: He left me.",
        'calm,"I rest, at last."\nsad,He left me.',
        "I rest, at last.\tcalm\nHe left me.\tsad",
        '{"calm": ["I rest, at last."], "sad": ["He left me."]}',
        '{"text": "I rest, at last.", "label": "calm"}\n{"text": "He left me.", "label": "sad"}',
    ],
)
def test_pasted_text_is_recognised(pasted: str) -> None:
    table = read_pasted(pasted)
    text = table.guess_text()
    assert pick_columns(table, text, table.guess_labels(text)) == TWO


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "text,label\nOh,calm,sad\n", "a.csv line 2: the row has 3 columns"),
        ("a.csv", "text,label\nOh,calm\n,sad\n", "a.csv line 3: there is no text"),
        ("a.csv", "text,label\nOh,\n", "a.csv line 2: the text has no label"),
        ("a.csv", 'text,label\n"Oh,calm\n', "a.csv line 2: the line is not CSV"),
        ("a.csv", "", "a.csv: there is no row"),
        ("a.jsonl", '{"text": "Oh", "label": "calm"}\n{"te', "a.jsonl line 2: this is not JSON"),
        ("a.jsonl", '"Oh"\n', "a.jsonl line 1: the line is no JSON object"),
        ("a.json", "[]", "a.json: there are no labelled texts"),
        ("a.json", '[{"text": "Oh", "label": "a"}, 3]', "a.json entry 2: the entry is no JSON"),
        ("a.json", '{"calm": "Oh"}', "'calm' holds no list of texts"),
        ("a.json", '{"calm": ["Oh"],\n}', "a.json line 2: this is not JSON"),
        ("a.doc", "Oh", "no suffix that says how to read it"),
    ],
)
def test_what_cannot_be_read_is_named_with_its_line(
    tmp_path: Path, name: str, content: str, message: str
) -> None:
    with pytest.raises(UserError) as refusal:
        read_labelled(write(tmp_path / name, content))
    assert message in str(refusal.value)


def test_a_missing_column_lists_those_there_are(tmp_path: Path) -> None:
    file = write(tmp_path / "a.csv", "text,label\nOh,calm\n")
    with pytest.raises(UserError, match=r"no column 'emotion'.*text, label"):
        read_labelled(file, "text", ["emotion"])
    with pytest.raises(UserError, match="another the labels"):
        read_labelled(file, "text", ["text"])


def test_collections_are_bounded() -> None:
    with pytest.raises(UserError, match="more than 20,000 texts"):
        read_table(b"Oh,calm\n" * (MAX_ROWS + 2), "a.csv")
    many = "text,label\n" + "".join(f"Oh dear,{i}\n" for i in range(501))
    with pytest.raises(UserError, match="more than 500 different labels"):
        pick_columns(read_delimited(many, "a.csv"), "text", ["label"])
    rows = f"{'x' * 19_000},a\n" * 264
    with pytest.raises(UserError, match="has 5,016,000 characters, 5,000,000 are read"):
        pick_columns(read_delimited(f"text,label\n{rows}", "a"), "text", ["label"])
    with pytest.raises(UserError, match="characters"):
        pick_columns(read_delimited(f"text,label\n{'x' * 20_001},a\n", "a"), "text", ["label"])
    with pytest.raises(UserError, match="MB"):
        read_table(b"x" * 20_000_001, "a.csv")


def test_files_with_other_columns_do_not_go_together(tmp_path: Path) -> None:
    first = write(tmp_path / "a.csv", "text,label\nOh,calm\n")
    second = write(tmp_path / "b.csv", "text,feeling\nOh,calm\n")
    with pytest.raises(UserError, match=r"b\.csv: its columns are not those of a\.csv"):
        read_files_table([first, second])


@given(st.text(), st.sampled_from(["csv", "tsv", "json", "jsonl", "txt"]))
def test_any_text_gives_texts_or_a_refusal(text: str, suffix: str) -> None:
    try:
        table = read_table(text.encode("utf-8", "surrogatepass"), f"a.{suffix}")
        name = table.guess_text()
        picked = pick_columns(table, name, table.guess_labels(name))
    except UserError:
        return
    assert len(picked) == len(table.rows) > 0


@given(st.text())
def test_anything_pasted_gives_texts_or_a_refusal(text: str) -> None:
    try:
        table = read_pasted(text)
    except UserError:
        return
    assert table.rows


WORDS = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1).filter(
    lambda text: text.strip() == text and not set(text) & set("|;") and not is_blank(text)
)


@given(st.lists(st.tuples(WORDS, WORDS), min_size=1))
def test_what_csv_wrote_is_read_back(pairs: list[tuple[str, str]]) -> None:
    buffer = io.StringIO(newline="")
    csv.writer(buffer).writerows([("text", "label"), *pairs])
    table = read_table(buffer.getvalue().encode(), "a.csv")
    picked = pick_columns(table, "text", ["label"])
    assert [(t.text, t.labels) for t in picked] == [(text, (label,)) for text, label in pairs]


@given(st.lists(st.tuples(WORDS, st.lists(WORDS, min_size=1, unique=True)), min_size=1))
def test_what_json_wrote_is_read_back(pairs: list[tuple[str, list[str]]]) -> None:
    rows = [{"text": text, "label": labels} for text, labels in pairs]
    for raw, name in ((json.dumps(rows), "a.json"), ("\n".join(map(json.dumps, rows)), "a.jsonl")):
        picked = pick_columns(read_table(raw.encode(), name), "text", ["label"])
        assert [(t.text, list(t.labels)) for t in picked] == pairs


def test_the_shipped_set_has_its_sizes() -> None:
    assert len(read_shipped()) == 216 + 216 + 48
    assert labels_of(read_shipped("neutral")) == ("neutral",)
    assert len(read_shipped("other_sense")) == 108


CALM, ANGRY = ("I rest.", "calm"), ("They took it!", "angry")
ROWS = [{"text": text, "label": label} for text, label in (CALM, ANGRY)]


def picked(raw: bytes, name: str) -> list[tuple[str, str]]:
    table = read_table(raw, name)
    text = table.guess_text()
    texts = pick_columns(table, text, table.guess_labels(text))
    return [(each.text, *each.labels) for each in texts]  # type: ignore[misc]


@pytest.mark.parametrize("orient", ["columns", "records", "index", "split", "values", "table"])
def test_every_orientation_of_pandas_is_read(orient: Any) -> None:
    raw = pd.DataFrame(ROWS).to_json(orient=orient).encode()
    assert picked(raw, "a.json") == [CALM, ANGRY]


@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
@pytest.mark.parametrize(
    "text",
    [
        "\n".join(map(json.dumps, ROWS)),
        "\n\n".join(map(json.dumps, ROWS)) + "\n",
        json.dumps(ROWS),
        "\ufeff" + "\r\n".join(map(json.dumps, ROWS)),
    ],
)
def test_json_lines_and_lists_are_told_apart_by_what_they_hold(name: str, text: str) -> None:
    assert picked(text.encode(), name) == [CALM, ANGRY]


@pytest.mark.parametrize(
    "value",
    [
        {"data": ROWS},
        {"version": "1.0", "examples": ROWS},
        {"text": [CALM[0], ANGRY[0]], "label": [CALM[1], ANGRY[1]]},
        {"Sentence": [CALM[0], ANGRY[0]], "emotion": [CALM[1], ANGRY[1]]},
        {"17": ROWS[0], "18": ROWS[1]},
    ],
)
def test_wrapped_lists_and_columns_are_read(value: Any) -> None:
    assert picked(json.dumps(value, indent=1).encode(), "a.json") == [CALM, ANGRY]


def test_one_object_is_one_row_and_lists_by_label_stay_lists_by_label() -> None:
    assert picked(json.dumps(ROWS[0]).encode(), "a.json") == [CALM]
    lists = json.dumps({"calm": ["I rest."], "angry": ["They took it!"]}).encode()
    assert picked(lists, "a.json") == [CALM, ANGRY]


def test_a_broken_line_is_named_under_either_name() -> None:
    for name in ("a.json", "a.jsonl"):
        with pytest.raises(UserError, match=f"{name} line 2: this is not JSON"):
            read_table(b'{"text": "a", "label": "b"}\n{"text": "a", \n', name)


@pytest.mark.parametrize(
    "raw",
    [
        b"sep=;\r\ntext;label\r\nI rest.;calm\r\nThey took it!;angry\r\n",
        b'"sep=|"\ntext|label\nI rest.|calm\nThey took it!|angry\n',
        b"\xef\xbb\xbfsep=\t\ntext\tlabel\nI rest.\tcalm\nThey took it!\tangry\n",
        "\ufefftext;label\r\nI rest.;calm\r\nThey took it!;angry\r\n".encode(),
        "text\tlabel\r\nI rest.\tcalm\r\nThey took it!\tangry\r\n".encode("utf-16"),
    ],
)
def test_what_excel_writes_is_read(raw: bytes) -> None:
    assert picked(raw, "a.csv") == [CALM, ANGRY]


def test_a_line_after_a_separator_line_keeps_its_number() -> None:
    with pytest.raises(UserError, match=r"a\.csv line 4: the row has 3 columns"):
        read_table(b"sep=;\ntext;label\nOh;calm\nAh;sad;more\n", "a.csv")


def test_columns_of_0_and_1_are_labels(tmp_path: Path) -> None:
    raw = "text,id,admiration,anger,calm\nI rest.,a1,0,0,1\nThey took it!,a2,1,1,0\nOh.,a3,0,0,0\n"
    table = read_pasted(raw)
    assert table == replace(read_files_table([write(tmp_path / "go.csv", raw)]), file=table.file)
    assert table.columns == ("text", "id", "label")
    assert table.guess_labels("text") == ("label",)
    texts = pick_columns(table, "text", ["label"])
    assert [each.labels for each in texts] == [("calm",), ("admiration", "anger"), ("none",)]
    assert mapping_of(suggest_mapping(labels_of(texts), ("calm", "angry")))["none"] == NEUTRAL


@pytest.mark.parametrize("line", ["text,label\nOh,0\nAh,1\n", "text,toxic\nOh,0\nAh,1\n"])
def test_one_column_of_numbers_stays_a_column(line: str) -> None:
    assert len(read_pasted(line).columns) == 2


def test_files_about_the_folder_are_no_texts(tmp_path: Path) -> None:
    write(tmp_path / "calm.txt", "I rest.\n\nI float.")
    for name in ("README.md", "LICENSE", "requirements.txt", "license.txt", "Readme-de.txt"):
        write(tmp_path / name, "numpy")
    assert labels_of(read_labelled(tmp_path)) == ("calm",)


@pytest.mark.parametrize(
    ("pasted", "line", "begin"),
    [
        ("calm: I rest.\nafraid: I run.\n\nand then, alas, I fall.\ncalm: I sit.", 4, "and then"),
        ("I begin.\ncalm: I rest.\nafraid: I run, away, far.", 1, "I begin"),
    ],
)
def test_a_line_without_a_label_is_named_instead_of_becoming_a_column(
    pasted: str, line: int, begin: str
) -> None:
    with pytest.raises(UserError, match=f"pasted text line {line}.*'{begin}.*no label"):
        read_pasted(pasted)


def test_a_table_whose_texts_begin_with_a_name_is_still_a_table() -> None:
    table = read_pasted("text,label\nMum: I rest here,calm\nDad: I run,afraid\nMe: I sit,calm")
    assert table.columns == ("text", "label")


TABLE = "text;label\r\nEin Café, ganz für mich – „ruhig“.;calm\r\nIch zittere.;afraid\r\n"
TEXTS = ("Ein Café, ganz für mich – „ruhig“.", "Ich zittere.")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_what_excel_saves_as_unicode_is_read_as_it_was_typed(encoding: str) -> None:
    assert read_table(TABLE.encode(encoding), "moods.csv").column("text") == tuple(
        (text,) for text in TEXTS
    )


@pytest.mark.parametrize("encoding", ["cp1252", "cp1250", "mac-roman"])
def test_excels_own_code_page_is_not_guessed_but_says_how_to_save_it(encoding: str) -> None:
    place = TABLE.index("é")
    said = rf'moods.CSV: byte {place} \(line 2\) is not UTF-8.*in Excel .*"CSV UTF-8'
    with pytest.raises(UserError, match=said):
        read_table(TABLE.encode(encoding), "moods.CSV")
    with pytest.raises(UserError, match=r"s.csv: .*in Excel"):
        read_csv(f"calm,{TEXTS[0]}\n".encode(encoding), "s.csv")


def test_the_limits_in_the_docs_are_those_of_the_program() -> None:
    said = (Path(__file__).parents[2] / "docs" / "sources.md").read_text("utf-8")
    for limit in (MAX_READ, MAX_TEXT, MAX_ALL_TEXT, MAX_PASSAGE):
        assert f"{limit:,} characters" in said
    for count, noun in ((MAX_ROWS, "rows"), (MAX_LABELS, "labels")):
        assert f"{count:,} {noun}" in said
    for size in (tables.MAX_BYTES // 10**6, MAX_FILE_BYTES // 10**6, streams.MAX_BYTES // 2**20):
        assert f"{size} MB" in said
