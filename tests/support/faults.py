"""A disk that fails, or a program that is killed, at the k-th call that writes; two programs.

The work runs in a forked process, so that being killed is real and nothing stays patched.
"""

from __future__ import annotations

import builtins
import errno
import io
import json
import os
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from readout_ui.errors import UserError

Tell = Callable[[Any], None]
"""Tells the parent something that can be JSON; for what was acknowledged to a person."""
KILLED = 77


@dataclass(frozen=True)
class Outcome:
    """How the work ended."""

    told: list[Any]
    refused: str
    """The sentence of the UserError it ended with."""
    code: int
    crash: str
    """Any other exception's traceback."""
    n_calls: int


def in_process(work: Callable[[Tell], None], arm: Callable[[], _Fault | None]) -> Outcome:
    """Run work in a process of its own."""
    return _outcome(*_start(work, arm))


def with_fault(work: Callable[[Tell], None], place: Path, at: int, *, die: bool) -> Outcome:
    """Run work in which the call number `at` (from 1; 0: none) on files in `place` fails."""
    return in_process(work, lambda: _Fault(place, at, die))


def every_fault(
    work: Callable[[Tell], None], place: Path, prepare: Callable[[], None], step: int = 1
) -> Iterator[tuple[str, Outcome]]:
    """The outcome for every call, once failing and once killed; `prepare` makes the place anew.

    Work that takes long is done for every `step`-th call only.
    """
    prepare()
    n_calls = with_fault(work, place, 0, die=False).n_calls
    assert n_calls > 0
    for at in range(1, n_calls + 1, step):
        for die in (False, True):
            prepare()
            outcome = with_fault(work, place, at, die=die)
            name = f"call {at} of {n_calls} {'killed' if die else 'failed'}"
            assert not outcome.crash, f"{name}: {outcome.crash}"
            assert outcome.code == (KILLED if die else 0), name
            yield name, outcome


def side_by_side(*works: Callable[[Tell], None]) -> list[list[Any]]:
    """What each work told; all run at the same time, each in its own process."""
    started = [_start(work, lambda: None) for work in works]
    outcomes = [_outcome(*each) for each in started]
    for outcome in outcomes:
        assert (outcome.code, outcome.refused, outcome.crash) == (0, "", "")
    return [outcome.told for outcome in outcomes]


def _start(work: Callable[[Tell], None], arm: Callable[[], _Fault | None]) -> tuple[int, int]:
    reading, writing = os.pipe()
    child = os.fork()
    if child:
        os.close(writing)
        return child, reading
    write = os.write  # the fault patches this

    def tell(kind: str, what: Any) -> None:
        write(writing, f"{json.dumps([kind, what])}\n".encode())

    fault = None
    try:
        fault = arm()
        work(lambda what: tell("told", what))
    except UserError as error:
        tell("refused", str(error))
    except BaseException:  # noqa: BLE001  # told to the parent, whose test fails
        tell("crash", traceback.format_exc())
    finally:
        if fault is not None:
            tell("calls", fault.n_calls)
        os._exit(0)


def _outcome(child: int, reading: int) -> Outcome:
    with os.fdopen(reading, encoding="utf-8") as file:
        lines = [json.loads(line) for line in file]
    _, status = os.waitpid(child, 0)
    said: dict[str, list[Any]] = {"told": [], "refused": [""], "crash": [""], "calls": [0]}
    for kind, what in lines:
        said[kind].append(what)
    code = os.waitstatus_to_exitcode(status)
    return Outcome(said["told"], said["refused"][-1], code, said["crash"][-1], said["calls"][-1])


class _Fault:
    """Counts calls that write to files in a place and lets one of them fail or kill."""

    def __init__(self, place: Path, at: int, die: bool) -> None:
        self._place, self._at, self._die = os.path.realpath(place), at, die
        self.n_calls = 0
        for name in ("replace", "rename", "mkdir"):
            setattr(os, name, self._on_path(getattr(os, name)))
        for name in ("fsync", "write"):
            setattr(os, name, self._always(getattr(os, name)))
        builtins.open = io.open = self._open(io.open)  # type: ignore[assignment]

    def tick(self) -> None:
        self.n_calls += 1
        if self.n_calls == self._at:
            if self._die:
                os._exit(KILLED)
            raise OSError(errno.ENOSPC, "No space left on device")

    def _here(self, path: object) -> bool:
        is_path = isinstance(path, str | bytes | os.PathLike)
        return is_path and os.path.realpath(os.fsdecode(path)).startswith(self._place)  # type: ignore[arg-type]

    def _on_path(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(path: Any, *args: Any, **more: Any) -> Any:
            if self._here(path):
                self.tick()
            return call(path, *args, **more)

        return counted

    def _always(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any) -> Any:
            self.tick()
            return None if call.__name__ == "fsync" else call(*args)

        return counted

    def _open(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(path: Any, mode: str = "r", *args: Any, **more: Any) -> Any:
            if not self._here(path) or not set(mode) & set("wxa+"):
                return call(path, mode, *args, **more)
            self.tick()
            return _HalfWritten(call(path, mode, *args, **more), self)

        return counted


class _HalfWritten:
    """A file whose write may end in the middle."""

    def __init__(self, file: Any, fault: _Fault) -> None:
        self._file, self._fault = file, fault

    def write(self, data: Any) -> Any:
        half = len(data) // 2
        self._file.write(data[:half])
        self._file.flush()
        self._fault.tick()
        return self._file.write(data[half:])

    def __enter__(self) -> _HalfWritten:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)
