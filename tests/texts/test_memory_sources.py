"""Memory nodes from dumps."""

import json
import sqlite3
from pathlib import Path

import pytest

from readout_ui.errors import UserError
from readout_ui.texts.memory import Fields, StoredNode, parse_node, read_jsonl, read_sqlite

NODES = [StoredNode("a", "I rest.\ncalm:9"), StoredNode("b", "They lied.\nanger:8")]


def database(path: Path, *statements: str) -> Path:
    with sqlite3.connect(path) as opened:
        for statement in statements:
            opened.execute(statement)
    opened.close()
    return path


def test_json_lines_become_nodes_whatever_usual_names_their_fields_have(tmp_path: Path) -> None:
    file = tmp_path / "dump.jsonl"
    lines = [{"key": "a", "content": NODES[0].content}, {"id": "b", "text": NODES[1].content}]
    file.write_text("\ufeff" + "\n\n".join(map(json.dumps, lines)), encoding="utf-8")
    assert list(read_jsonl(file)) == NODES


def test_fields_can_be_named_and_a_node_without_key_gets_one(tmp_path: Path) -> None:
    file = tmp_path / "dump.jsonl"
    file.write_text('{"say": "I rest.", "nr": 3}\n')
    assert list(read_jsonl(file, Fields("say", "nr"))) == [StoredNode("3", "I rest.")]
    (first,), (second,) = read_jsonl(file, Fields("say")), read_jsonl(file, Fields("say"))
    assert first == second
    assert len(first.key) == 16


@pytest.mark.parametrize(
    "tags", [{"quiet joy": 9, "calm": 7}, ["quiet_joy:9", "calm:7", "diary"], "quiet_joy:9 calm:7"]
)
def test_tags_in_a_field_of_their_own_count_as_the_last_line(tmp_path: Path, tags: object) -> None:
    file = tmp_path / "dump.jsonl"
    file.write_text(json.dumps({"key": "a", "content": "I rest.\n", "tags": tags}) + "\n")
    (stored,) = read_jsonl(file)
    node = parse_node(stored.key, stored.content)
    assert node.text == "I rest."
    assert node.scores == {"quiet_joy": 9, "calm": 7}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "line 2: this is not JSON"),
        ("[1]", "line 2: this is [1], not a JSON object"),
        ('{"say": "I rest."}', "no field holds the node's text; name the field (options: say)"),
        ('{"content": 4}', "line 2: content is int, not a text"),
        ("[" * 100_000, "line 2: this is not JSON"),
    ],
)
def test_a_line_that_is_no_node_is_named(tmp_path: Path, line: str, said: str) -> None:
    file = tmp_path / "dump.jsonl"
    file.write_text(f'{{"content": "fine"}}\n{line}\n')
    with pytest.raises(UserError) as raised:
        list(read_jsonl(file))
    assert said in str(raised.value)


def test_a_table_is_found_by_its_column_and_null_rows_are_passed_over(tmp_path: Path) -> None:
    file = database(
        tmp_path / "graph #1.db",
        "CREATE TABLE edges (a TEXT, b TEXT)",
        "CREATE TABLE nodes (key TEXT, content TEXT)",
        "INSERT INTO nodes VALUES ('a', 'I rest.\ncalm:9'), ('x', NULL)",
        "INSERT INTO nodes VALUES ('b', 'They lied.\nanger:8')",
    )
    assert list(read_sqlite(file)) == NODES


def test_table_and_columns_can_be_named(tmp_path: Path) -> None:
    file = database(
        tmp_path / "m.db",
        'CREATE TABLE "odd ""name" (nr INTEGER, say TEXT)',
        """INSERT INTO "odd ""name" VALUES (1, 'I rest.')""",
    )
    fields = Fields("say", "nr")
    assert list(read_sqlite(file, 'odd "name', fields)) == [StoredNode("1", "I rest.")]


@pytest.mark.parametrize(
    ("table", "fields", "said"),
    [
        ("", Fields(), "several tables could hold nodes; name one with --table (options: n, o)"),
        ("z", Fields(), "there is no table 'z' (options: e, n, o)"),
        ("e", Fields(), "name it with --text-column (options: a)"),
        ("n", Fields("zz"), "there is no column 'zz' (options: key, content)"),
        ("n", Fields("", "zz"), "there is no column 'zz' (options: key, content)"),
        ("", Fields("zz"), "no table has a column of texts"),
    ],
)
def test_what_is_not_in_the_database_is_said_with_what_is(
    tmp_path: Path, table: str, fields: Fields, said: str
) -> None:
    file = database(
        tmp_path / "m.db",
        "CREATE TABLE e (a TEXT)",
        "CREATE TABLE n (key TEXT, content TEXT)",
        "CREATE TABLE o (body TEXT)",
    )
    with pytest.raises(UserError) as raised:
        list(read_sqlite(file, table, fields))
    assert said in str(raised.value)


def test_a_file_that_is_no_database_is_refused_and_none_is_made(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("no database at all, but long enough to look at" * 20)
    with pytest.raises(UserError, match="cannot be read as a SQLite database"):
        list(read_sqlite(tmp_path / "text.db"))
    with pytest.raises(UserError, match=r"none\.db"):
        list(read_sqlite(tmp_path / "none.db"))
    assert not (tmp_path / "none.db").exists()
