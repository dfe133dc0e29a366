"""What a memory server's tool answers: nodes, keys of nodes, and where the next page begins."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from readout_ui.errors import UserError
from readout_ui.memory_sources import TEXT_FIELDS, USUAL, Fields, StoredNode, key_of, node_of

LIST_FIELDS = ("nodes", "items", "results", "memories", "entries", "result", "data", "keys")
CURSOR_FIELDS = ("nextCursor", "next_cursor", "next_page_token", "cursor")


@dataclass(frozen=True)
class Page:
    """One answer of the server."""

    nodes: tuple[StoredNode, ...]
    keys: tuple[str, ...] = ()
    """Nodes that were only named; another tool gives their contents."""
    cursor: str | None = None
    """Where the next page begins; None when this was the last one."""


def page_of(
    structured: Mapping[str, Any] | None,
    texts: Sequence[str],
    where: str,
    fields: Fields = USUAL,
    only_keys: bool = False,
) -> Page:
    """The nodes in a tool's answer.

    Understood are a list of nodes, an object with such a list (and a cursor), a single node, and
    plain texts: each is a node then, or, where only keys are expected, a list of keys by line.

    Args:
        structured: the answer's structured content, preferred where it is there.
        texts: its text contents; each may be JSON.
        where: what messages call the answer.
        fields: of a node's text and key.
        only_keys: plain texts are keys.

    Raises:
        UserError: a list entry is no node.
    """
    value: Any = structured if structured else [_loaded(text) for text in texts]
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    cursor = None
    if isinstance(value, Mapping) and not _is_node(value, fields):
        cursor = next((value[name] for name in CURSOR_FIELDS if value.get(name)), None)
        inner = next((value[name] for name in LIST_FIELDS if name in value), None)
        if inner is None:
            raise UserError(
                "the answer holds no list of nodes",
                where=where,
                fix="name another tool, or the field of the texts with --text-column",
                options=map(str, value),
            )
        if isinstance(inner, Mapping) and not _is_node(inner, fields):
            return page_of(inner, (), where, fields, only_keys)
        value = _loaded(inner) if isinstance(inner, str) else inner
    entries = value if isinstance(value, list) else [value]
    return _page(entries, None if cursor is None else str(cursor), where, fields, only_keys)


def _page(
    entries: Sequence[Any], cursor: str | None, where: str, fields: Fields, only_keys: bool
) -> Page:
    nodes: list[StoredNode] = []
    keys: list[str] = []
    for number, entry in enumerate(entries, start=1):
        if isinstance(entry, str) and only_keys:
            keys.extend(line.strip() for line in entry.splitlines() if line.strip())
        elif isinstance(entry, str):
            nodes.append(StoredNode(key_of(entry), entry))
        elif isinstance(entry, Mapping) and (_is_node(entry, fields) or not only_keys):
            nodes.append(node_of(entry, f"{where}, node {number}", fields))
        elif isinstance(entry, Mapping):
            keys.append(node_of({**entry, "content": ""}, where, Fields("content", fields.key)).key)
        else:
            raise UserError(f"node {number} is {type(entry).__name__}, no node", where=where)
    return Page(tuple(nodes), tuple(dict.fromkeys(keys)), cursor)


def _is_node(value: Mapping[str, Any], fields: Fields) -> bool:
    names = (fields.text,) if fields.text else TEXT_FIELDS
    return any(isinstance(value.get(name), str) for name in names)


def _loaded(text: str) -> Any:
    """The JSON object or list in the text, else the text."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return value if isinstance(value, dict | list) else text
