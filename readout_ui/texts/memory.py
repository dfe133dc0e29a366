"""Memory nodes: what they say, the scores in their last line, and the dumps they come from."""

from __future__ import annotations

import hashlib
import json
import re
import sqlite3
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from readout_ui.errors import UserError, printable
from readout_ui.files import require_regular, shown
from readout_ui.texts.reading import JsonLine, json_lines

HIGHEST_SCORE = 10.0

_SPACED_COLON = re.compile(r"(?:(?<![ \t])[ \t]+)?:[ \t]*")
_BETWEEN = re.compile(r"\s*;\s*|\s*,(?!\d)\s*|\s+")
_TAG = re.compile(r"([^\W\d_][\w'’-]*):(.*)")
_NUMBER = re.compile(r"([+-]?\d{1,6}(?:[.,]\d{1,6})?)(?:/10)?")
_INSIDE = re.compile(r"(?<![\w/])[^\W\d_][\w'’-]{0,99}[ \t]?:[ \t]?\d{1,2}(?:[.,]\d)?(?![\w:./])")


@dataclass(frozen=True)
class MemoryNode:
    """One node of a memory graph, its tags apart from its text."""

    key: str
    """What its source calls it."""
    text: str
    """What it says; the trailing lines of tags are not part of it."""
    scores: Mapping[str, float]
    """Score from 0 to 10 by concept."""
    problems: tuple[str, ...] = ()
    """What could not be read or looks wrong, one sentence each."""

    def score(self, concept: str) -> float:
        """The concept's score, 0 where the node does not name it."""
        return self.scores.get(concept, 0.0)


def parse_node(key: str, content: str) -> MemoryNode:
    """A node from what its source stores.

    The last lines that hold nothing but tags (`warmth:9 clarity:10`) are taken off, with blank
    lines between them; a concept that several of them name has its last score. Names are NFC and
    lower case. A tag whose value is no number from 0 to 10 gives no score and is reported, as is
    what looks like a tag inside the text, where it is left.

    Args:
        key: what the source calls the node.
        content: its text with any line ends.
    """
    lines = content.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    tags: list[list[tuple[str, str]]] = []
    while lines and (found := _tags_of(lines[-1])) is not None:
        tags.append(found)
        lines.pop()
    text = "\n".join(line.rstrip() for line in lines).strip()
    scores, problems = _scores(tag for line in reversed(tags) for tag in line)
    return MemoryNode(key, text, scores, (*problems, *_inside(text)))


def concept_of_tag(name: str) -> str:
    """The concept that a tag's name stands for: NFC, lower case."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).lower())


def _tags_of(line: str) -> list[tuple[str, str]] | None:
    """(name, value) of every tag, [] for a blank line; None for a line that is text."""
    parts = [part for part in _BETWEEN.split(_SPACED_COLON.sub(":", line.strip())) if part]
    found = [match.groups() for part in parts if (match := _TAG.fullmatch(part))]
    if len(found) < len(parts) or (line.strip() and not parts):
        return None
    if parts and not any(_NUMBER.fullmatch(value) for _, value in found):
        return None
    return [(concept_of_tag(name), value) for name, value in found]


def _scores(tags: Iterator[tuple[str, str]]) -> tuple[dict[str, float], list[str]]:
    scores: dict[str, float] = {}
    problems = []
    for name, value in tags:
        number = _NUMBER.fullmatch(value)
        score = float(number[1].replace(",", ".")) if number else None
        if score is None:
            problems.append(f"The tag {name}:{value} has no number, so it was left out.")
        elif not 0 <= score <= HIGHEST_SCORE:
            problems.append(f"The tag {name}:{value} is not from 0 to 10, so it was left out.")
        else:
            if scores.get(name, score) != score:
                problems.append(f"The tag {name} is given twice; the last, {value}, counts.")
            scores[name] = score
    return scores, problems


def tags_inside(text: str) -> list[str]:
    """What looks like tags within a text."""
    return [match[0] for match in _INSIDE.finditer(text)]


def _inside(text: str) -> Iterator[str]:
    for tag in tags_inside(text):
        yield f"“{tag}” looks like a tag but stands inside the text, so the model reads it."


TEXT_FIELDS = ("content", "text", "body", "markdown")
KEY_FIELDS = ("key", "id", "name", "slug", "uuid", "title")
TAG_FIELDS = ("tags", "emotions", "scores")
MAX_LINE = 10_000_000
"""Characters of one line of a dump; a longer one is no node."""


@dataclass(frozen=True)
class StoredNode:
    """A node as its source stores it, tags still in the content."""

    key: str
    content: str


@dataclass(frozen=True)
class Fields:
    """Which fields or columns hold a node's text and key; empty: the usual names."""

    text: str = ""
    key: str = ""


USUAL = Fields()


def nodes_of(
    record: Mapping[str, Any], where: str, fields: Fields = USUAL
) -> tuple[StoredNode, ...]:
    """The nodes in one record: one, or one for each observation of an entity.

    So the knowledge graph of MCP's own memory server keeps them: entities with observations, and
    relations, which are no texts. Observations that are nothing but tags hold for the others.

    Raises:
        UserError: as `node_of`.
    """
    match record:
        case {"type": "relation", "relationType": _}:
            return ()
        case {"observations": list(observations)} if not fields.text:
            key = _whole(str(record.get(fields.key or "name", "")))
            said = [text for each in observations if isinstance(text := each, str) and text.strip()]
            tags = [text for text in said if _is_tags(text)]
            texts = [text for text in said if not _is_tags(text)]
            return tuple(
                StoredNode(
                    key if len(texts) == 1 else f"{key} #{number}",
                    _whole(text if parse_node("", text).scores else "\n".join((text, *tags))),
                )
                for number, text in enumerate(texts, start=1)
            )
    return (node_of(record, where, fields),)


def _is_tags(text: str) -> bool:
    return not parse_node("", text).text


def node_of(record: Mapping[str, Any], where: str, fields: Fields = USUAL) -> StoredNode:
    """The node in one record.

    Tags in a field of their own (`{"warmth": 9}`, `["warmth:9"]` or `"warmth:9"`) become a last
    line of the content, where `memory_nodes.parse_node` finds them. Without a key the node is
    called by the hash of its content.

    Raises:
        UserError: no field holds its text, or that is no text.
    """
    field = fields.text or _first(record, TEXT_FIELDS)
    if field not in record:
        what = f"there is no field {field!r}" if field else "no field holds the node's text"
        raise UserError(what, where=where, fix="name the field", options=map(str, record))
    content = record[field]
    if not isinstance(content, str):
        raise UserError(f"{field} is {type(content).__name__}, not a text", where=where)
    if fields.key and fields.key not in record:
        raise UserError(f"there is no field {fields.key!r}", where=where, options=map(str, record))
    key = record.get(fields.key or _first(record, KEY_FIELDS))
    tags = _tag_line(record.get(_first(record, TAG_FIELDS)))
    whole = f"{content}\n{tags}" if tags else content
    return StoredNode(_whole(str(key)) if key not in (None, "") else key_of(content), _whole(whole))


def key_of(content: str) -> str:
    """What a node without a key is called."""
    return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def read_jsonl(path: Path, fields: Fields = USUAL) -> Iterator[StoredNode]:
    """The nodes of a dump with one JSON object per line, read line by line.

    Raises:
        UserError: the file cannot be read, or a line is no object with a text; it is named.
    """
    require_regular(path)
    try:
        with path.open(encoding="utf-8-sig", newline="\n") as file:
            lines = iter(lambda: file.readline(MAX_LINE), "")
            for line in json_lines(lines, shown(path)):
                yield from nodes_of(_object(line), line.where, fields)
    except UnicodeDecodeError:
        raise UserError(
            "the file is not UTF-8 text", where=shown(path), fix="save it as UTF-8"
        ) from None
    except OSError as error:
        raise UserError(f"cannot be read ({error.strerror})", where=shown(path)) from None


def read_sqlite(path: Path, table: str = "", fields: Fields = USUAL) -> Iterator[StoredNode]:
    """The nodes of one table or view of a database, which is opened read-only.

    Args:
        path: the database.
        table: its name; empty: the only one with a column of a usual name for texts.
        fields: the columns.

    Raises:
        UserError: no such table or column (those that exist are listed), or no database.
    """
    require_regular(path)
    try:
        uri = f"{path.resolve().as_uri()}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True)) as database:
            tables = _tables(database)
            name = _table(tables, table, fields, shown(path))
            query = f"SELECT * FROM {_quoted(name)}"
            for number, row in enumerate(database.execute(query), start=1):
                record = {k: v for k, v in zip(tables[name], row, strict=True) if v is not None}
                if record.keys() & ({fields.text} if fields.text else {*TEXT_FIELDS}):
                    yield node_of(record, f"{shown(path)} {name} row {number}", fields)
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise UserError(
            f"cannot be read as a SQLite database ({error})",
            where=shown(path),
            fix="name a database file, or --jsonl for JSON lines",
        ) from None


def _whole(text: str) -> str:
    """The text with halves of surrogate pairs, which no file can hold, replaced by U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _first(record: Mapping[str, Any], names: Sequence[str]) -> str:
    return next((name for name in names if record.get(name) is not None), "")


def _tag_line(tags: object) -> str:
    if isinstance(tags, str):
        text = tags.strip()
        return _tag_line(_loaded(text)) if text[:1] in ("{", "[") else text.replace("\n", " ")
    if isinstance(tags, Mapping):
        return " ".join(f"{'_'.join(str(name).split())}:{value}" for name, value in tags.items())
    if isinstance(tags, list):
        return " ".join(tag for tag in tags if isinstance(tag, str) and ":" in tag)
    return ""


def _loaded(text: str) -> object:
    try:
        value: object = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return None if isinstance(value, str) else value


def _object(line: JsonLine) -> Mapping[str, Any]:
    if not isinstance(line.value, dict):
        shown = "nested lists"
        with suppress(RecursionError):
            shown = printable(json.dumps(line.value))
        raise UserError(
            f"this is {shown}, not a JSON object",
            where=line.where,
            fix='write {"key": "...", "content": "..."}',
        )
    return line.value


def _tables(database: sqlite3.Connection) -> dict[str, list[str]]:
    """Column names by table or view."""
    names = database.execute(
        "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') "
        "AND name NOT LIKE 'sqlite_%' ORDER BY name"
    ).fetchall()
    return {
        name: [row[1] for row in database.execute(f"PRAGMA table_info({_quoted(name)})")]
        for (name,) in names
    }


def _table(tables: Mapping[str, list[str]], named: str, fields: Fields, where: str) -> str:
    wanted = (fields.text,) if fields.text else TEXT_FIELDS
    fitting = [named] if named else [t for t, have in tables.items() if {*wanted} & {*have}]
    if named and named not in tables:
        raise UserError(f"there is no table {named!r}", where=where, options=tables)
    if len(fitting) != 1:
        what = "several tables could hold nodes" if fitting else "no table has a column of texts"
        raise UserError(
            what,
            where=where,
            fix="name one with --table" if fitting else "name the table and its --text-column",
            options=fitting or [f"{t}.{column}" for t, have in tables.items() for column in have],
        )
    columns = tables[fitting[0]]
    for name in (fields.text, fields.key):
        if name and name not in columns:
            where = f"{where} {fitting[0]}"
            raise UserError(f"there is no column {name!r}", where=where, options=columns)
    if not {*wanted} & {*columns}:
        raise UserError(
            "no column is called as texts usually are",
            where=f"{where} {fitting[0]}",
            fix="name it with --text-column",
            options=columns,
        )
    return fitting[0]


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
