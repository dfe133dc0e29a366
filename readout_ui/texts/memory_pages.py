"""What a memory server answers: nodes and keys, the next page, and the file that keeps what came.

Fetched nodes are in a file that a killed program leaves usable, so that a fetch goes on.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from readout_ui.errors import UserError
from readout_ui.files import os_errors, shown
from readout_ui.texts.memory import (
    TEXT_FIELDS,
    USUAL,
    Fields,
    StoredNode,
    key_of,
    node_of,
    nodes_of,
)

LIST_FIELDS = (
    *("nodes", "entities", "items", "results", "memories", "entries", "result", "data", "keys"),
)
MAX_NODES = 200_000
"""Of one server; so many texts are more than any training uses."""
MAX_CHARACTERS = 500_000_000
MAX_EMPTY_PAGES = 3
"""Pages after each other without anything new."""
CURSOR_FIELDS = ("nextCursor", "next_cursor", "next_page_token", "cursor")


@dataclass(frozen=True)
class Page:
    """One answer of the server, or a part of it that is handed on."""

    nodes: tuple[StoredNode, ...]
    keys: tuple[str, ...] = ()
    """Nodes that were only named; another tool gives their contents."""
    cursor: str | None = None
    """Where to go on after these; None at the end and in the middle of an answer."""
    is_last: bool = False
    """Nothing follows."""


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
    while isinstance(value, Mapping) and not _is_node(value, fields):
        cursor = next((value[name] for name in CURSOR_FIELDS if value.get(name)), None)
        inner = next((value[name] for name in LIST_FIELDS if name in value), None)
        if inner is None:
            raise UserError(
                "the answer holds no list of nodes",
                where=where,
                fix="name another tool, or the field of the texts with --text-column",
                options=map(str, value),
            )
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
            nodes.extend(nodes_of(entry, f"{where}, node {number}", fields))
        elif isinstance(entry, Mapping):
            keys.append(node_of({**entry, "content": ""}, where, Fields("content", fields.key)).key)
        else:
            raise UserError(f"node {number} is {type(entry).__name__}, no node", where=where)
    return Page(tuple(nodes), tuple(dict.fromkeys(keys)), cursor)


def _is_node(value: Mapping[str, Any], fields: Fields) -> bool:
    names = (fields.text,) if fields.text else TEXT_FIELDS
    observed = not fields.text and isinstance(value.get("observations"), list)
    return observed or any(isinstance(value.get(name), str) for name in names)


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


@dataclass
class Bounds:
    """What came from a server so far, so that one without end is left."""

    n_nodes: int = 0
    n_characters: int = 0
    n_empty: int = 0
    """Pages without anything new, since the last one with it."""
    seen: set[str] = field(default_factory=set)

    def take(self, page: Page, where: str) -> int:
        """Count a page; how many of its nodes and keys no earlier one had.

        Raises:
            UserError: there is more than is read, or page after page brings nothing.
        """
        new = {*page.keys, *(node.key for node in page.nodes)} - self.seen
        self.seen |= new
        self.n_nodes += len(page.nodes) + len(page.keys)
        self.n_characters += sum(len(node.content) for node in page.nodes)
        self.n_empty = 0 if new else self.n_empty + 1
        rules = (
            (self.n_nodes > MAX_NODES, f"more than {MAX_NODES:,} nodes"),
            (self.n_characters > MAX_CHARACTERS, f"more than {MAX_CHARACTERS:,} characters"),
            (self.n_empty > MAX_EMPTY_PAGES, f"{self.n_empty} pages without a new node"),
        )
        if found := next((what for broken, what in rules if broken), ""):
            fix = "ask for a part of them with --tool-arguments"
            raise UserError(f"the server gives {found}", where=where, fix=fix)
        return len(new)


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


NODES_FILE = "nodes.jsonl"


class NodeStore:
    """An append-only file of JSON lines: its source, nodes, and how far the fetch has come.

    Every append ends with fsync. What a killed program wrote of a line is cut off at the next
    opening, so no whole node is lost and a fetch goes on at the last cursor that was written,
    which is written only after its nodes.
    """

    def __init__(self, path: Path, source: Mapping[str, str]) -> None:
        self._path = path
        self.nodes: dict[str, StoredNode] = {}
        self.cursor: str | None = None
        self.is_complete = False
        kept = _whole_lines(path)
        for number, value in enumerate(kept, start=1):
            self._take(value, source, number)
        if not kept:
            self._write([{"source": dict(source)}])

    def add(
        self, nodes: Iterable[StoredNode], cursor: str | None = None, is_last: bool = False
    ) -> None:
        """Store nodes, and where to go on after them."""
        nodes = list(nodes)
        lines: list[dict[str, Any]] = [{"key": n.key, "content": n.content} for n in nodes]
        if is_last:
            lines.append({"complete": True})
        elif cursor is not None:
            lines.append({"cursor": cursor})
        self._write(lines)
        self.nodes |= {node.key: node for node in nodes}
        self.cursor = None if is_last else cursor or self.cursor
        self.is_complete = self.is_complete or is_last

    def _write(self, lines: Iterable[Mapping[str, Any]]) -> None:
        text = "".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in lines)
        fix = "check the folder's permissions and free space"
        refused = os_errors("nodes cannot be written", str(self._path), fix)
        with refused, self._path.open("ab") as file:
            file.write(text.encode("utf-8"))
            file.flush()
            os.fsync(file.fileno())

    def _take(self, value: Any, source: Mapping[str, str], number: int) -> None:
        match value:
            case {"source": dict(found)} if number == 1:
                if found != dict(source):
                    raise UserError(
                        "this folder holds nodes of "
                        + ", ".join(f"{k} {v or 'as found'}" for k, v in found.items()),
                        where=shown(self._path),
                        fix="name another --output-dir, or the same source",
                    )
            case {"key": str(key), "content": str(content)} if number > 1:
                self.nodes[key] = StoredNode(key, content)
            case {"cursor": str(cursor)} if number > 1:
                self.cursor = cursor
            case {"complete": True} if number > 1:
                self.cursor, self.is_complete = None, True
            case _:
                raise UserError(
                    "this is no file of fetched nodes",
                    where=f"{shown(self._path)} line {number}",
                    fix="move it away to fetch them again",
                )


@contextmanager
def open_store(folder: Path, source: Mapping[str, str]) -> Iterator[NodeStore]:
    """The store in a folder, which is made if missing; no other program writes to it meanwhile.

    Raises:
        UserError: another program fetches into it, it holds nodes of another source, or the
            system refuses.
    """
    lock = FileLock(folder / f".{NODES_FILE}.lock", timeout=0)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise UserError("another program is writing here", where=str(folder)) from None
    except OSError as error:
        raise UserError(
            f"cannot be written ({error.strerror})", where=str(folder), fix="name another folder"
        ) from None
    try:
        yield NodeStore(folder / NODES_FILE, source)
    finally:
        lock.release()


def _whole_lines(path: Path) -> list[Any]:
    """The file's lines, read; what follows the last line end is cut off the file."""
    if not path.exists():
        return []
    with path.open("r+b") as file:
        data = file.read()
        end = data.rfind(b"\n") + 1
        if end < len(data):
            file.truncate(end)
    try:
        return [json.loads(line) for line in data[:end].decode("utf-8").split("\n")[:-1]]
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"this is no file of fetched nodes ({error})",
            where=shown(path),
            fix="move it away to fetch them again",
        ) from None
