"""Tables from files and pasted text: by the file's ending, JSON in every shape that people have."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any

from readout_ui.errors import UserError, printable
from readout_ui.files import too_large
from readout_ui.texts.reading import (
    decode_text,
    json_lines,
    parse_json,
    require_readable,
    split_text,
)
from readout_ui.texts.tables import (
    LABEL_TITLES,
    MAX_BYTES,
    MAX_COLUMNS,
    TEXT_TITLES,
    Cell,
    TableRow,
    TextTable,
    bounded,
    column_names,
    from_pairs,
    read_delimited,
    titled,
)

_OBJECT = 'write {"text": "I am at ease.", "label": "calm"}'


def read_json_lines(text: str, file: str) -> TextTable:
    """One JSON object per line; blank lines are passed over.

    Raises:
        UserError: a line that is no JSON object; it is named.
    """
    lines = json_lines(text.split("\n"), file, _OBJECT)
    return table_of_records(((line.number, line.value) for line in lines), file, "line")


def read_json(text: str, file: str, label: str, sides: Collection[str] = ()) -> TextTable:
    """A list of objects, of texts, or of [text, label] pairs; or `{"calm": ["...", ...]}`.

    Also what pandas writes (every orientation), a list wrapped in an object, and JSON lines.

    Args:
        text: the JSON.
        file: what messages call it.
        label: what plain texts are labelled with; empty where they cannot be.
        sides: further titles by which columns are known.

    Raises:
        UserError: it is none of these; it names the entry.
    """
    if _goes_on(text):
        return read_json_lines(text, file)
    value = _records(parse_json(text, file, _OBJECT), {*TEXT_TITLES, *LABEL_TITLES, *sides})
    if isinstance(value, dict):
        return from_pairs(_by_label(value, file), file)
    if not isinstance(value, list) or not value:
        raise _not_a_collection(file)
    if all(isinstance(entry, str) for entry in value):
        if not label:
            raise UserError(
                "the texts have no labels", where=file, fix='write {"calm": ["first text", "..."]}'
            )
        return from_pairs(((entry, (label,)) for entry in value), file)
    if all(isinstance(entry, list) for entry in value):
        value = [dict(zip(("text", "label"), entry, strict=False)) for entry in value]
    return table_of_records(enumerate(value, start=1), file, "entry")


def _goes_on(text: str) -> bool:
    """Whether more follows a first whole JSON value, as in JSON lines."""
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        return error.msg == "Extra data" and error.lineno > 1
    except (ValueError, RecursionError):
        return False
    return False


def _records(value: Any, titles: Collection[str]) -> Any:
    """The rows of what pandas writes, or of a list in an object; anything else as it is."""
    if not isinstance(value, dict) or not value:
        return value
    names, rows = value.get("columns"), value.get("data")
    if isinstance(names, list) and isinstance(rows, list):
        return [dict(zip(map(str, names), row, strict=False)) for row in rows if _is_list(row)]
    inner = list(value.values())
    lists = [each for each in inner if _is_list(each) and each and isinstance(each[0], dict)]
    if len(lists) == 1:
        return lists[0]
    return _turned(value, inner, titles)


def _turned(value: dict[str, Any], inner: Sequence[Any], titles: Collection[str]) -> Any:
    """Columns, or rows by number, as rows."""
    known = any(str(name).strip().casefold() in titles for name in value)
    if all(isinstance(each, dict) for each in inner):
        columns = known or all(str(key).isdecimal() for each in inner for key in each)
        keys = dict.fromkeys(key for each in inner for key in each)
        turned = [{name: each.get(key) for name, each in value.items()} for key in keys]
        return turned if columns else inner
    if known and all(map(_is_list, inner)) and len({len(each) for each in inner}) == 1:
        return [dict(zip(value, row, strict=True)) for row in zip(*inner, strict=True)]
    return [value] if known and not any(map(_is_list, inner)) else value


def _is_list(value: Any) -> bool:
    return isinstance(value, list)


def _by_label(value: dict[str, Any], file: str) -> Iterator[tuple[str, Cell]]:
    for label, texts in value.items():
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise UserError(
                f"'{printable(label)}' holds no list of texts",
                where=file,
                fix='write {"calm": ["first text", "second text"]}',
            )
        yield from ((text, (label,)) for text in texts)


def table_of_records(numbered: Iterable[tuple[int, Any]], file: str, noun: str) -> TextTable:
    """A table of numbered dicts, whose keys become the columns.

    Raises:
        UserError: one is no dict, there is none, or there are too many of them or of their keys.
    """
    rows: list[tuple[int, dict[str, Cell]]] = []
    columns: dict[str, None] = {}
    for number, value in bounded(numbered, file):
        where = f"{file} {noun} {number}"
        if not isinstance(value, dict) or not value:
            raise UserError(f"the {noun} is no JSON object", where=where, fix=_OBJECT)
        rows.append((number, {key: _cell(item) for key, item in value.items()}))
        columns |= dict.fromkeys(value)
        if len(columns) > MAX_COLUMNS:
            raise UserError(f"there are more than {MAX_COLUMNS} different keys", where=where)
    if not rows:
        raise _not_a_collection(file)
    names = tuple(columns)
    return TextTable(
        file,
        column_names(names),
        tuple(TableRow(n, tuple(row.get(name, ()) for name in names)) for n, row in rows),
    )


def _cell(value: Any) -> Cell:
    if isinstance(value, list):
        return tuple(str(item) for item in value if isinstance(item, str | int | float))
    if value is None or isinstance(value, dict):
        return ()
    return (str(value),)


def _not_a_collection(file: str) -> UserError:
    return UserError(
        "there are no labelled texts in it",
        where=file,
        fix='write [{"text": "I am at ease.", "label": "calm"}]',
    )


def read_table(raw: bytes, file: str, sides: Collection[str] = ()) -> TextTable:
    """The table in a file's bytes, by the suffix of its name.

    Args:
        raw: the whole file.
        file: its name: .csv, .tsv, .jsonl, .json or .txt. A .json list of plain texts and a .txt
            file are labelled with the file's name.
        sides: further titles by which columns of JSON are known.

    Raises:
        UserError: too large, not UTF-8, or not what the suffix says; it names file and line.
    """
    if len(raw) > MAX_BYTES:
        raise too_large(file, len(raw), MAX_BYTES)
    stem, _, suffix = file.rpartition(".")
    text = _decoded(raw, file)
    match suffix.lower():
        case "csv" | "tsv":
            return read_delimited(text, file)
        case "jsonl" | "ndjson" if not text.lstrip().startswith("["):
            return read_json_lines(text, file)
        case "json" | "jsonl" | "ndjson":
            return read_json(text, file, stem, sides)
        case "txt" if stem:
            return from_pairs(((text, (stem,)) for text in split_texts(text)), file)
    raise UserError(
        "the file has no suffix that says how to read it",
        where=printable(file),
        fix="rename it",
        options=(".csv", ".tsv", ".jsonl", ".json", ".txt"),
    )


def _decoded(raw: bytes, file: str) -> str:
    """UTF-8, or the UTF-16 of Excel's "Unicode text", which its first bytes announce."""
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        with suppress(UnicodeDecodeError):
            raw = raw.decode("utf-16").encode()
    return decode_text(raw, file).removeprefix("\ufeff")


_YES, _NO = frozenset({"1", "1.0", "true"}), frozenset({"0", "0.0", "false"})


def one_label(table: TextTable) -> TextTable:
    """A table in which columns of 0 and 1, one for each label, became one column `label`.

    So GoEmotions and its like have them; a text without a 1 is labelled `none`.
    """
    if not table.rows or titled(table.columns, LABEL_TITLES):
        return table
    marks = [i for i in range(len(table.columns)) if all(_mark(row, i) for row in table.rows)]
    kept = [i for i in range(len(table.columns)) if i not in marks]
    if len(marks) < 2 or not kept:
        return table
    rows = []
    for row in table.rows:
        labels = tuple(table.columns[i] for i in marks if _mark(row, i) in _YES)
        cells = (*(row.cells[i] for i in kept), labels or ("none",))
        rows.append(TableRow(row.line, cells))
    return TextTable(table.file, (*(table.columns[i] for i in kept), "label"), tuple(rows))


def _mark(row: TableRow, column: int) -> str:
    """A cell that says yes or no; empty for any other."""
    cell = " ".join(row.cells[column]).strip().casefold()
    return cell if cell in _YES or cell in _NO else ""


def read_pasted(text: str) -> TextTable:
    """The table in pasted text: JSON, JSON lines, CSV or TSV, or lines `label: text`.

    Raises:
        UserError: it is none of these; it names the line.
    """
    file, start = "pasted text", text.lstrip()
    if len(text) > MAX_BYTES:
        raise too_large(file, len(text), MAX_BYTES)
    if not start:
        raise UserError("there is nothing pasted", fix="paste texts with labels")
    if start[0] in "[{":
        return one_label(read_json(text, file, ""))
    without = _without_label(text)
    if not without:
        return from_pairs(_labelled_lines(text), file)
    n_lines = sum(bool(line.strip()) for line in text.splitlines())
    if 2 * len(without) >= n_lines:
        return one_label(read_delimited(text, file))
    try:  # most lines have a label; a table may look so, too
        table = one_label(read_delimited(text, file))
    except UserError:
        table = None
    if table is None or len(table.columns) < 2:
        raise _no_label(*without[0], len(without))
    return table


def pasted_texts(text: str) -> TextTable:
    """Pasted texts without labels: JSON lines, a table with titles, or plain texts.

    Raises:
        UserError: it is JSON or a table that cannot be read, or no text.
    """
    if text.lstrip()[:1] in ("{", "["):
        return read_table(text.encode(), "pasted.jsonl")
    first = text.lstrip().split("\n", 1)[0]
    if any(
        titled([title.strip('" ') for title in first.split(mark)], TEXT_TITLES) for mark in ",\t;"
    ):
        return read_table(text.encode(), "pasted.csv")
    texts = [each.strip() for each in split_texts(text) if each.strip()]
    require_readable("".join(texts), "the pasted texts")
    rows = tuple(TableRow(i, ((each,),)) for i, each in enumerate(texts, start=1))
    return TextTable("the pasted texts", ("",), rows)


def split_texts(text: str) -> tuple[str, ...]:
    """The texts of a plain file: separated by blank lines, or one per line where there are none."""
    paragraphs = split_text(text)
    return tuple(paragraphs[0].split("\n")) if len(paragraphs) == 1 else paragraphs


def _without_label(text: str) -> list[tuple[int, str]]:
    """Number and text of every line that is not `label: text` with a short label."""
    lines = [(n, line) for n, line in enumerate(text.splitlines(), start=1) if line.strip()]
    return [(n, line) for n, line in lines if not _LABELLED.match(line)]


_LABELLED = re.compile(r'[^:,;\t"]{1,40}:')


def _no_label(number: int, line: str, how_many: int) -> UserError:
    begin = line.strip()[:40]
    others = f"; {how_many - 1} more lines have none" if how_many > 1 else ""
    return UserError(
        f"the line '{printable(begin)}' has no label{others}",
        where=f"pasted text line {number}",
        fix="write calm: before it, or put it at the end of the line above",
    )


def _labelled_lines(text: str) -> Iterator[tuple[str, Cell]]:
    for line in filter(str.strip, text.splitlines()):
        label, _, rest = line.partition(":")
        yield rest.strip(), (label.strip(),)
