"""Which of a memory server's tools give nodes, and what they are asked to give the next ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from readout_ui.errors import UserError
from readout_ui.memory_answers import Page

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
