"""Activations of texts that were read before, on disk and in memory."""

import hashlib
import json
import os
import sqlite3
import threading
from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from readout_ui.activations.cache_file import (
    DamagedEntry,
    EntryDatabase,
    ModelShare,
    decode_entry,
    encode_entry,
    is_damage,
)
from readout_ui.activations.pooling import TextActivations
from readout_ui.errors import UserError
from readout_ui.models.devices import free_bytes

FILE_NAME = "activations.sqlite3"
DAMAGED_SUFFIX = ".damaged"
SIZE_VARIABLE = "READOUT_UI_CACHE_GIB"
_MOST_MEMORY = 2**31
"""More would be of use only for a retrain on more texts than a person edits."""
_WAITED_FOR = 64 * 2**20
"""Bytes that are written in a tenth of a second."""


def cache_key(
    *,
    model_fingerprint: str,
    frame_fingerprint: str,
    read: str,
    layer_type: str,
    paths: Sequence[str],
    dtype: str,
    max_length: int,
    kept_tokens: int,
    text: str,
) -> str:
    """A name that is the same exactly when the activations must be the same (sha256, hex)."""
    parts = [
        *(model_fingerprint, frame_fingerprint, read, layer_type, list(paths)),
        *(dtype, max_length, kept_tokens, text),
    ]
    # json escapes lone surrogates, so even a text from a broken clipboard has a key
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


@dataclass(frozen=True)
class CacheSummary:
    """What the cache holds."""

    path: Path
    """The database file."""
    entries: int
    """Number of texts."""
    bytes: int
    """Size of their numbers."""
    max_bytes: int
    """Size above which the texts unused for longest are dropped."""
    models: tuple[ModelShare, ...]
    """The same per model, largest first."""
    on_disk: bool
    """False where the file cannot be used, so that texts are remembered only in memory."""


class ActivationCache:
    """Activations by content: found again after an edit, a restart or a kill -9.

    A damaged entry is dropped and counts as missing; a damaged file is moved aside. Above
    `max_bytes` the entries unused for longest go. Where the folder cannot be written, everything
    still works from memory. Trouble with the disk never raises: `take_notes` tells it.

    Args:
        folder: made if missing.
        max_bytes: bound on the numbers held on disk; by default `$READOUT_UI_CACHE_GIB`, or 4 GiB.
        memory_bytes: bound on the numbers held in this process, so that a retrain reads no file; by
            default half of the memory that is free without them, at least 1 and at most 2 GiB.
    """

    def __init__(
        self, folder: Path, max_bytes: int | None = None, memory_bytes: int | None = None
    ) -> None:
        self.path = Path(folder) / FILE_NAME
        self.max_bytes = _bound_of_disk() if max_bytes is None else max_bytes
        self._memory_bytes = memory_bytes
        self._pending: dict[str, TextActivations] = {}
        self._n_pending = 0
        self._batches: list[tuple[str, Mapping[str, TextActivations]]] = []
        self._used: dict[str, None] = {}
        self._writes: deque[Future[None]] = deque()
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="cache")
        self._disk_lock = threading.RLock()
        self._memory: OrderedDict[str, TextActivations] = OrderedDict()
        self._remembered = 0
        self._notes: list[str] = []
        self._lock = threading.RLock()
        self._disk: EntryDatabase | None = None
        self._open()

    def get_many(self, keys: Iterable[str]) -> dict[str, TextActivations]:
        """Those of `keys` that are known."""
        wanted = list(dict.fromkeys(keys))
        with self._lock:
            self._used |= dict.fromkeys(wanted)
            found = {
                key: held[key]
                for held in (self._pending, self._memory)
                for key in wanted
                if key in held
            }
        missing = [key for key in wanted if key not in found]
        if missing:
            with self._disk_lock, self._noting("read"):
                found |= self._read(missing)
        self._remember(found)
        return found

    def put_many(self, entries: Mapping[str, TextActivations], model: str = "") -> None:
        """Keeps `entries` on disk: all of them or, if the process dies, none.

        Args:
            entries: activations by key.
            model: name under which the summary counts them.
        """
        self.put_later(entries, model)
        self.flush()

    def put_later(self, entries: Mapping[str, TextActivations], model: str = "") -> None:
        """The same on a thread of its own, so that the model need not wait for the disk.

        Trouble is told by the `take_notes` after it. Where more waits than may be held in memory,
        this waits too.
        """
        self._remember(entries)
        with self._lock:
            self._pending |= entries
            self._n_pending += _n_bytes(entries)
            self._batches.append((model, entries))
        self._writes.append(self._writer.submit(self._write))
        while self._writes and self._n_pending > self._room():
            self._writes.popleft().result()

    def flush(self) -> None:
        """Wait until everything is on disk."""
        if self._used:
            self._writes.append(self._writer.submit(self._write))
        while self._writes:
            self._writes.popleft().result()

    def _write(self) -> None:
        """Write all that waits, in one transaction: a slow disk gets fewer and larger ones."""
        with self._lock:
            batches, used, self._batches, self._used = self._batches, self._used, [], {}
        if not batches and not used:
            return
        encoded = [
            (model, {key: encode_entry(key, entry) for key, entry in entries.items()})
            for model, entries in batches
        ]
        with self._disk_lock:
            for _ in range(2):  # again, where the file was damaged and a new one took its place
                disk = self._disk
                with self._noting("written"):
                    if disk is not None:
                        disk.write(encoded, list(used), self.max_bytes)
                if self._disk is disk:
                    break
        with self._lock:
            for _, entries in batches:
                self._n_pending -= _n_bytes(entries)
                for key, entry in entries.items():
                    if self._pending.get(key) is entry:
                        del self._pending[key]

    def summary(self) -> CacheSummary:
        """What is held now, by every process that uses the folder."""
        shares: tuple[ModelShare, ...] = ()
        self.flush()
        with self._disk_lock, self._noting("read"):
            if self._disk is not None:
                shares = self._disk.shares()
            elif self._memory:
                shares = (ModelShare("in memory", len(self._memory), self._remembered),)
        return CacheSummary(
            path=self.path,
            entries=sum(share.entries for share in shares),
            bytes=sum(share.bytes for share in shares),
            max_bytes=self.max_bytes,
            models=shares,
            on_disk=self._disk is not None,
        )

    def clear(self) -> None:
        """Forgets everything and gives the disk space back."""
        self.flush()
        with self._lock:
            self._memory.clear()
            self._remembered = 0
        with self._disk_lock, self._noting("cleared"):
            if self._disk is not None:
                self._disk.clear()

    def take_notes(self) -> tuple[str, ...]:
        """What went wrong since the last call, in sentences for the person.

        Little that is still to be written is waited for, much is told of the next time.
        """
        if self._n_pending <= _WAITED_FOR:
            self.flush()
        with self._lock:
            notes, self._notes = tuple(dict.fromkeys(self._notes)), []
        return notes

    def close(self) -> None:
        """Lets go of the file; the cache goes on in memory."""
        self.flush()
        with self._disk_lock:
            if self._disk is not None:
                self._disk.close()
                self._disk = None

    def _open(self) -> None:
        try:
            self._disk = EntryDatabase(self.path)
        except (OSError, sqlite3.Error, UnicodeDecodeError) as problem:
            if is_damage(problem):
                self._start_again()
                return
            self._notes.append(
                f"The activation cache in {self.path.parent} cannot be used ({problem}); "
                "activations are remembered only until the program ends."
            )

    def _start_again(self) -> None:
        """Moves the unreadable file aside, so that it can be looked at, and makes a new one."""
        if self._disk is not None:
            self._disk.close()
            self._disk = None
        aside = self.path.with_name(FILE_NAME + DAMAGED_SUFFIX)
        try:
            # Left beside a new file they would damage it too.
            for rest in ("-journal", "-wal", "-shm"):
                self.path.with_name(FILE_NAME + rest).unlink(missing_ok=True)
            os.replace(self.path, aside)
            self._disk = EntryDatabase(self.path)
        except (OSError, sqlite3.Error) as problem:
            self._notes.append(
                f"The activation cache {self.path} is damaged and cannot be replaced ({problem}); "
                "activations are remembered only until the program ends."
            )
            return
        self._notes.append(
            f"The activation cache was damaged; it was moved to {aside} and starts empty."
        )

    @contextmanager
    def _noting(self, verb: str) -> Iterator[None]:
        """No trouble with the disk stops a training: what is missing is computed again."""
        try:
            yield
        except (sqlite3.Error, UnicodeDecodeError) as problem:
            if is_damage(problem):
                self._start_again()
            else:
                self._notes.append(f"The activation cache could not be {verb} ({problem}).")

    def _read(self, keys: Sequence[str]) -> dict[str, TextActivations]:
        found: dict[str, TextActivations] = {}
        damaged: list[str] = []
        if self._disk is None or not keys:
            return found
        for key, entry in self._disk.read(keys).items():
            try:
                found[key] = decode_entry(key, entry)
            except DamagedEntry:
                damaged.append(key)
        if damaged:
            self._disk.delete(damaged)
            self._notes.append(
                f"{len(damaged)} of {len(keys)} entries of the activation cache were damaged; "
                "they were dropped and are computed again."
            )
        return found

    def _remember(self, entries: Mapping[str, TextActivations]) -> None:
        with self._lock:
            for key, activations in entries.items():
                before = self._memory.pop(key, None)
                self._remembered += activations.n_bytes - (before.n_bytes if before else 0)
                self._memory[key] = activations
            room = self._room()
            while self._remembered > room:
                _, oldest = self._memory.popitem(last=False)
                self._remembered -= oldest.n_bytes

    def _room(self) -> int:
        """Bytes that may be remembered; the default follows what other programs leave."""
        if self._memory_bytes is not None:
            return self._memory_bytes
        free = (free_bytes(torch.device("cpu")) + self._remembered) // 2
        return max(2**30, min(_MOST_MEMORY, free))


def _bound_of_disk() -> int:
    given = os.environ.get(SIZE_VARIABLE, "4")
    if not given.isdecimal() or not int(given):
        raise UserError(f"{SIZE_VARIABLE} is {given!r}", fix="set a whole number of GiB")
    return int(given) * 2**30


def _n_bytes(entries: Mapping[str, TextActivations]) -> int:
    return sum(entry.n_bytes for entry in entries.values())
