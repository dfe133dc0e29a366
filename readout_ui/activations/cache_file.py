"""The SQLite file behind the activation cache: entries, their last use, a bound on their size.

One cached text as bytes: a small JSON header, raw float32 numbers and a checksum over both.
"""

import json
import sqlite3
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from torch import Tensor

from readout_ui.activations.pooling import TextActivations


class DamagedEntry(ValueError):
    """The bytes are not what was written."""


@dataclass(frozen=True)
class Entry:
    """What the database holds for one text."""

    header: str
    """JSON: shapes of both tensors, token count, whether the text was truncated."""
    payload: tuple[bytes | memoryview, ...]
    """Both tensors one after the other, in one part or two; float32, row-major, little-endian as
    every torch host."""
    checksum: int
    """CRC-32 of key, header and payload. It guards against accidents, which is all it has to do,
    at 1.5 GB/s; SHA-256 would take most of the time of a read."""


def encode_entry(key: str, activations: TextActivations) -> Entry:
    """Bytes from which `decode_entry` makes exactly the same tensors again."""
    header = json.dumps(
        {
            "pooled": list(activations.pooled.shape),
            "tokens": list(activations.tokens.shape),
            "n_tokens": activations.n_tokens,
            "truncated": activations.truncated,
        }
    )
    payload = _raw(activations.pooled), _raw(activations.tokens)
    return Entry(header, payload, _checksum(key, header, payload))


def decode_entry(key: str, entry: Entry) -> TextActivations:
    """The tensors that were encoded.

    Raises:
        DamagedEntry: if the checksum does not fit, so nothing half-right is ever returned.
    """
    # A flipped bit may have made them values of another type.
    (payload,) = entry.payload
    typed = isinstance(entry.header, str) and isinstance(payload, bytes)
    if not typed or _checksum(key, entry.header, entry.payload) != entry.checksum:
        raise DamagedEntry(f"checksum of {key} does not fit")
    header: dict[str, Any] = json.loads(entry.header)
    # a bytearray, because torch refuses to promise that it will not write to bytes
    numbers = torch.frombuffer(bytearray(payload), dtype=torch.float32)
    n_pooled = torch.Size(header["pooled"]).numel()
    return TextActivations(
        pooled=numbers[:n_pooled].view(header["pooled"]),  # (n_rules, n_layers, d_model)
        tokens=numbers[n_pooled:].view(header["tokens"]),  # (n_kept, n_layers, d_model)
        n_tokens=header["n_tokens"],
        truncated=header["truncated"],
    )


def _raw(tensor: Tensor) -> memoryview:
    """The numbers where they are, which takes no time."""
    return tensor.to(torch.float32).contiguous().view(-1).numpy().view(np.uint8).data


def _checksum(key: str, header: str, payload: Sequence[bytes | memoryview]) -> int:
    checksum = zlib.crc32(f"{key}\n{header}".encode())
    for part in payload:
        checksum = zlib.crc32(part, checksum)
    return checksum


_OF_THE_SYSTEM = frozenset(
    (
        *(sqlite3.SQLITE_PERM, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_NOMEM),
        *(sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL),
        *(sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PROTOCOL),
    )
)


class DamagedFile(sqlite3.DatabaseError):
    """The database opens, but is not the one that was made."""


def is_damage(error: Exception) -> bool:
    """Whether SQLite complains about what is in the file, not about the disk or another program."""
    # SQLite's own message may quote the damaged bytes, which are then no text.
    if isinstance(error, DamagedFile | UnicodeDecodeError):
        return True
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF not in _OF_THE_SYSTEM


BUSY_SECONDS = 20.0
KEYS_PER_QUERY = 500

# Numbers apart from their bookkeeping, or every note of use would rewrite 200 KB.
_SCHEMA = """
CREATE TABLE IF NOT EXISTS entries (
    id INTEGER PRIMARY KEY, key TEXT UNIQUE NOT NULL, model TEXT NOT NULL,
    header TEXT NOT NULL, checksum INTEGER NOT NULL, bytes INTEGER NOT NULL, used INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS by_use ON entries (used, bytes);
CREATE TABLE IF NOT EXISTS payloads (id INTEGER PRIMARY KEY, payload BLOB NOT NULL);
"""


@dataclass(frozen=True)
class ModelShare:
    """What is held of one model."""

    model: str
    """The name it was stored under."""
    entries: int
    """Number of texts."""
    bytes: int
    """Size of their numbers."""


class EntryDatabase:
    """Entries by key in one file that several processes may use at once.

    Every call is one transaction, so a killed writer leaves all of it or nothing. Any method may
    raise `sqlite3.Error`.

    Raises:
        OSError: the folder cannot be made.
        sqlite3.OperationalError: the file cannot be opened or written.
        sqlite3.DatabaseError: the file is no database.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        # SQLite does not wait for its turn when two processes change the kind of journal at once.
        with FileLock(path.with_name(f"{path.name}.lock"), timeout=BUSY_SECONDS):
            self._open(path)

    def _open(self, path: Path) -> None:
        self._unmeasured: int | None = None
        # The caller holds a lock around every call, so its threads may share one connection.
        self._rows = sqlite3.connect(path, timeout=BUSY_SECONDS, check_same_thread=False)
        try:
            self._prepare()
        except (sqlite3.Error, UnicodeDecodeError):
            self._rows.close()
            raise

    def _prepare(self) -> None:
        # Flipped bits in a text column must reach the checksum instead of raising on the way.
        self._rows.text_factory = lambda raw: raw.decode("utf-8", "replace")
        # An entry is some 200 KB: large pages make reading it three times as fast.
        self._rows.execute("PRAGMA page_size = 65536")
        # Numbers are written once, to where they stay; a write-ahead log would hold them first.
        with suppress(sqlite3.OperationalError):  # an older version beside us still holds that log
            self._rows.execute("PRAGMA journal_mode = TRUNCATE")
        self._rows.execute("PRAGMA synchronous = NORMAL")
        self._rows.executescript(_SCHEMA)
        if _tables(self._rows) != _tables_as_made():
            raise DamagedFile("its tables are not those that were made")
        # A folder without write permission opens well and fails only at the first write.
        with self._rows:
            self._rows.execute("PRAGMA user_version = 1")

    def read(self, keys: Sequence[str]) -> dict[str, Entry]:
        """Those entries that exist."""
        found = {}
        for some in _portions(keys):
            for key, header, payload, checksum in self._rows.execute(
                "SELECT key, header, payload, checksum FROM entries LEFT JOIN payloads USING (id) "
                f"WHERE key IN ({_marks(some)})",
                some,
            ):
                found[key] = Entry(header, (payload or b"",), checksum)
        return found

    def write(
        self,
        batches: Sequence[tuple[str, Mapping[str, Entry]]],
        used: Sequence[str],
        max_bytes: int,
    ) -> None:
        """Stores entries and drops what was unused for longest above `max_bytes`.

        Args:
            batches: the model's name and entries by key.
            used: keys that were used before; they count as used now.
            max_bytes: bound on all payloads.

        Raises:
            DamagedFile: what was written is not found again.
        """
        with self._rows:
            self._touch(used)
            written = 0
            for model, entries in batches:
                written += sum(self._insert(model, *item) for item in entries.items())
                self._require_found(entries)
            if written:
                self._make_room(max_bytes, written)

    def _insert(self, model: str, key: str, entry: Entry) -> int:
        self._delete("key = ?", key)
        n_bytes = sum(map(len, entry.payload))
        row = self._rows.execute(
            "INSERT INTO entries (key, model, header, checksum, bytes, used) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            (key, model, entry.header, entry.checksum, n_bytes, time.time_ns()),
        ).lastrowid
        assert row is not None
        # Written into place, a payload is copied once; as a value of the statement, four times.
        self._rows.execute("INSERT INTO payloads VALUES (?, zeroblob(?))", (row, n_bytes))
        with self._rows.blobopen("payloads", "payload", row) as blob:
            for part in entry.payload:
                blob.write(part)
        return n_bytes

    def _require_found(self, written: Mapping[str, Entry]) -> None:
        """With a damaged index SQLite writes without a word what it does not find again."""
        for some in _portions(list(written)):
            found = self._rows.execute(
                "SELECT key, checksum FROM entries JOIN payloads USING (id) "
                f"WHERE key IN ({_marks(some)})",
                some,
            )
            if dict(found) != {key: written[key].checksum for key in some}:
                raise DamagedFile("what was written is not found again")

    def _touch(self, keys: Sequence[str]) -> None:
        for some in _portions(keys):
            self._rows.execute(
                f"UPDATE entries SET used = ? WHERE key IN ({_marks(some)})",
                (time.time_ns(), *some),
            )

    def delete(self, keys: Sequence[str]) -> None:
        """Drops these."""
        with self._rows:
            for key in keys:
                self._delete("key = ?", key)

    def shares(self) -> tuple[ModelShare, ...]:
        """What is held per model, largest first."""
        rows = self._rows.execute(
            "SELECT CAST(model AS TEXT), COUNT(*), CAST(TOTAL(bytes) AS INTEGER) FROM entries "
            "GROUP BY 1 ORDER BY 3 DESC, 1"
        )
        return tuple(ModelShare(*row) for row in rows if row[0] is not None)

    def clear(self) -> None:
        """Drops everything and gives the disk space back."""
        with self._rows:
            self._rows.execute("DELETE FROM payloads")
            self._rows.execute("DELETE FROM entries")
        self._rows.execute("VACUUM")

    def close(self) -> None:
        """Lets go of the file."""
        self._rows.close()

    def _make_room(self, max_bytes: int, n_written: int) -> None:
        """Drop what was unused for longest above `max_bytes`.

        To add up all entries takes longer the more there are, so it is done once for every
        hundredth of the bound that was written.
        """
        if self._unmeasured is not None and self._unmeasured + n_written <= max_bytes // 100:
            self._unmeasured += n_written
            return
        self._unmeasured = 0
        (held,) = self._rows.execute("SELECT TOTAL(bytes) FROM entries").fetchone()
        oldest = self._rows.execute(
            "SELECT id, CAST(bytes AS INTEGER) FROM entries ORDER BY used, id"
        )
        dropped = []
        while held > max_bytes and (row := oldest.fetchone()) is not None:
            dropped.append(row[0])
            held -= row[1]
        oldest.close()
        for row_id in dropped:
            self._delete("id = ?", row_id)

    def _delete(self, where: str, value: str | int) -> None:
        self._rows.execute(
            f"DELETE FROM payloads WHERE id IN (SELECT id FROM entries WHERE {where})", (value,)
        )
        self._rows.execute(f"DELETE FROM entries WHERE {where}", (value,))


def _tables(rows: sqlite3.Connection) -> list[tuple[str, ...]]:
    return rows.execute("SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY 2").fetchall()


@cache
def _tables_as_made() -> list[tuple[str, ...]]:
    with closing(sqlite3.connect(":memory:")) as made:
        made.executescript(_SCHEMA)
        return _tables(made)


def _portions(keys: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(keys), KEYS_PER_QUERY):
        yield keys[start : start + KEYS_PER_QUERY]


def _marks(values: Sequence[str]) -> str:
    return ", ".join("?" * len(values))
