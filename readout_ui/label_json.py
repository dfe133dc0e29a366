"""JSON lines and JSON lists as a table of texts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from readout_ui.concept_names import printable
from readout_ui.errors import UserError
from readout_ui.label_tables import (
    MAX_COLUMNS,
    Cell,
    TableRow,
    TextTable,
    bounded,
    column_names,
    from_pairs,
)


def read_json_lines(text: str, file: str) -> TextTable:
    """One JSON object per line; blank lines are passed over.

    Raises:
        UserError: a line that is no JSON object; it is named.
    """
    numbered = ((n, line) for n, line in enumerate(text.split("\n"), start=1) if line.strip())
    objects = ((n, _parse(line, f"{file} line {n}")) for n, line in numbered)
    return _from_objects(objects, file, "line")


def read_json(text: str, file: str, label: str) -> TextTable:
    """A list of objects, of texts, or of [text, label] pairs; or `{"calm": ["...", ...]}`.

    Args:
        text: the JSON.
        file: what messages call it.
        label: what plain texts are labelled with; empty where they cannot be.

    Raises:
        UserError: it is none of these; it names the entry.
    """
    value = _parse(text, file)
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
        objects = (dict(zip(("text", "label"), entry, strict=False)) for entry in value)
        return _from_objects(enumerate(objects, start=1), file, "entry")
    return _from_objects(enumerate(value, start=1), file, "entry")


def holds_lists(text: str) -> bool:
    """True for one JSON object of lists, `{"calm": ["...", ...]}`."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return False
    # One object with a text is a single line of JSON lines, not texts by label.
    return isinstance(value, dict) and all(isinstance(texts, list) for texts in value.values())


def _by_label(value: dict[str, Any], file: str) -> Iterator[tuple[str, Cell]]:
    for label, texts in value.items():
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise UserError(
                f"'{printable(label)}' holds no list of texts",
                where=file,
                fix='write {"calm": ["first text", "second text"]}',
            )
        yield from ((text, (label,)) for text in texts)


def _from_objects(numbered: Iterator[tuple[int, Any]], file: str, noun: str) -> TextTable:
    rows: list[tuple[int, dict[str, Cell]]] = []
    columns: dict[str, None] = {}
    for number, value in bounded(numbered, file):
        where = f"{file} {noun} {number}"
        if not isinstance(value, dict) or not value:
            raise UserError(
                f"the {noun} is no JSON object",
                where=where,
                fix='write {"text": "I am at ease.", "label": "calm"}',
            )
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


def _parse(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        line = f" line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise UserError(
            "this is not JSON",
            where=where if " line " in where else f"{where}{line}",
            fix='write {"text": "I am at ease.", "label": "calm"}',
        ) from None


def _not_a_collection(file: str) -> UserError:
    return UserError(
        "there are no labelled texts in it",
        where=file,
        fix='write [{"text": "I am at ease.", "label": "calm"}]',
    )
