"""A real MCP server over a small memory, in a process of its own: PORT TRANSPORT [DIE_AT_CALL].

`list_nodes` gives pages of two nodes by cursor, `all_nodes` everything, `slices` by offset,
`keys` and `node` keys and one node; the process ends itself at the given call of any tool.
"""

import itertools
import os
import sys
from typing import Any

from mcp.server.fastmcp import FastMCP

NODES = [
    ("n0", "I rest by the river and nothing pulls at me.\n\ncalm:9 warmth:8"),
    ("n1", "They lied to me again and I could shout.\nanger:9"),
    ("n2", "The list has four entries, one per room.\n"),
    ("n3", "Her hand on mine; the room was quiet.\nwarmth:10 calm:3"),
    ("n4", "Slow breath, slow thoughts, a long evening.\r\ncalm:8\r\n"),
    ("n5", "He broke the cup on purpose and smiled.\nanger:8 calm:0"),
    ("n6", "Ten files were moved to the other folder."),
]
MAIN_PAGE = 2


def serve(port: int, transport: Any, die_at: int) -> None:
    app = FastMCP("memory", host="127.0.0.1", port=port, log_level="ERROR")
    calls = itertools.count(1)

    def called() -> None:
        if next(calls) == die_at:
            os._exit(9)

    def records(start: int, end: int | None = None) -> list[dict[str, str]]:
        return [{"key": key, "content": content} for key, content in NODES[start:end]]

    @app.tool()
    def list_nodes(cursor: str = "") -> dict[str, Any]:
        called()
        start = int(cursor or 0)
        end = start + MAIN_PAGE
        return {"nodes": records(start, end), "nextCursor": str(end) if end < len(NODES) else None}

    @app.tool()
    def all_nodes() -> list[dict[str, str]]:
        called()
        return records(0)

    @app.tool()
    def slices(offset: int = 0) -> list[dict[str, str]]:
        called()
        return records(offset, offset + 3)

    @app.tool()
    def keys() -> str:
        called()
        return "\n".join(key for key, _ in NODES)

    @app.tool()
    def node(key: str) -> str:
        called()
        return dict(NODES)[key]

    @app.tool()
    def broken() -> str:
        raise ValueError("the graph is locked")

    @app.tool()
    def more_without_cursor() -> dict[str, Any]:
        return {"nodes": records(0, 2), "nextCursor": "2"}

    @app.tool()
    def endless(cursor: str = "") -> dict[str, Any]:
        return {"nodes": records(0, 2), "nextCursor": f"{cursor}x"}

    @app.tool()
    def more_and_more(cursor: str = "0") -> dict[str, Any]:
        node = {"key": f"k{cursor}", "content": "calm:9"}
        return {"nodes": [node], "nextCursor": str(int(cursor) + 1)}

    @app.tool()
    def huge() -> str:
        return "x" * 3_000_000

    @app.tool()
    def escapes() -> list[dict[str, str]]:
        title = "\x1b]0;owned\x07"
        text = f"{title} I rest by the river and nothing pulls at me.\ncalm:\x1b[31m9 warmth:8"
        return [{"key": f"{title}node", "content": text}]

    @app.tool()
    def escaping() -> str:
        raise ValueError("\x1b[2Jgone\r\nand more")

    @app.tool()
    def graph() -> dict[str, Any]:
        observations = ["I rest by the river.\ncalm:9", "He broke the cup.", "anger:8"]
        entity = {"name": "Ann", "entityType": "person", "observations": observations}
        return {
            "entities": [entity],
            "relations": [{"from": "Ann", "to": "B", "relationType": "k"}],
        }

    app.run(transport=transport)


if __name__ == "__main__":
    serve(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 0)
