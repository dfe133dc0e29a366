"""Memory nodes already fetched, in a file that a killed program leaves usable."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from readout_ui.errors import UserError
from readout_ui.files import shown
from readout_ui.texts.memory import StoredNode

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
        try:
            with self._path.open("ab") as file:
                file.write(text.encode("utf-8"))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise UserError(
                f"nodes cannot be written ({error.strerror})",
                where=str(self._path),
                fix="check the folder's permissions and free space",
            ) from None

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
    """The store in a folder, which is made if missing; nobody else writes to it meanwhile.

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
    except ValueError as error:
        raise UserError(
            f"this is no file of fetched nodes ({error})",
            where=shown(path),
            fix="move it away to fetch them again",
        ) from None
