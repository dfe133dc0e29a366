"""What a memory server's tool answers: nodes, keys of nodes, and where the next page begins.

Which of a memory server's tools give nodes, and what they are asked to give the next ones.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from readout_ui.errors import UserError
from readout_ui.texts.memory import TEXT_FIELDS, USUAL, Fields, StoredNode, key_of, node_of

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


LISTING_TOOLS = (
    *("list_nodes", "get_nodes", "all_nodes", "list_memories", "memory_list", "memory_nodes"),
    *("memory_dump", "dump", "export", "read_graph"),
)
_CURSORS = ("cursor", "next_cursor", "page_token", "after")
_OFFSETS = ("offset", "start", "skip")
_KEYS = ("key", "id", "name", "node", "slug", "uuid")


def listing_tool(names: Sequence[str], named: str, where: str) -> str:
    """The tool that gives nodes: the named one, one of a usual name, or the only one.

    Raises:
        UserError: there is no such tool, or several could be meant; all are listed.
    """
    usual = [name for name in LISTING_TOOLS if name in names]
    if not named and len(names) == 1:
        return names[0]
    if not named and usual:
        return usual[0]
    if named in names:
        return named
    what = f"the server has no tool {named!r}" if named else "it is unclear which tool gives nodes"
    raise UserError(what, where=where, fix="name one with --tool", options=names)


def key_argument(schema: Mapping[str, Any], tool: str) -> str:
    """The argument of a tool that takes a node's key.

    Raises:
        UserError: none of its arguments looks like it.
    """
    properties, required = schema.get("properties", {}), schema.get("required", [])
    usual = [name for name in _KEYS if name in properties]
    name = next(iter([*usual, *required, *properties]), None)
    if name is None:
        raise UserError("this tool takes no key", where=tool, fix="name another with --node-tool")
    return str(name)


@dataclass(frozen=True)
class Paging:
    """How a tool is asked for the next page."""

    argument: str = ""
    """Empty: it gives everything at once."""
    counts: bool = False
    """The argument is how many nodes came before, not a cursor from the answer."""
    is_number: bool = False
    """The tool wants a number where it is given."""

    @classmethod
    def of(cls, schema: Mapping[str, Any]) -> Paging:
        """What a tool's input schema offers."""
        properties = schema.get("properties", {})
        name = next((name for name in (*_CURSORS, *_OFFSETS) if name in properties), "")
        is_number = bool(name) and properties[name].get("type") in ("integer", "number")
        return cls(name, name in _OFFSETS, is_number)

    def arguments(self, cursor: str | None) -> dict[str, Any]:
        """What to ask for the page that begins there; None is the first."""
        if cursor is None or not self.argument:
            return {}
        return {self.argument: int(cursor) if self.is_number and cursor.isdecimal() else cursor}

    def after(self, cursor: str | None, page: Page, n_new: int, where: str) -> str | None:
        """Where the page after this one begins; None when this is the last.

        Args:
            cursor: where this one began.
            page: its answer.
            n_new: how many of its nodes no earlier page had.
            where: what messages call the tool.

        Raises:
            UserError: there is more, but the tool cannot be asked for it.
        """
        if self.counts:
            n_nodes = len(page.nodes) + len(page.keys)
            return str(int(cursor or 0) + n_nodes) if n_new else None
        if page.cursor is not None and not self.argument:
            raise UserError(
                "the answer is not complete, but the tool takes no cursor",
                where=where,
                fix="name another tool, or ask for more nodes with --tool-arguments",
            )
        if page.cursor is not None and page.cursor == cursor:
            raise UserError(f"the tool gives the same cursor {cursor!r} again", where=where)
        return page.cursor
