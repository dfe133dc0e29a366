"""How far a long piece of work has come, how its caller stops it, and output in any encoding."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Callable, Generator
from dataclasses import dataclass
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

if TYPE_CHECKING:
    from tqdm import tqdm

Result = TypeVar("Result")


@dataclass(frozen=True)
class Progress:
    """One report from inside a long piece of work."""

    stage: str
    """What is being done, e.g. "Reading texts"."""
    done: int
    """How many units are finished."""
    total: int
    """How many units there are; 0 while that is unknown."""
    unit: str = "texts"
    """What is counted."""
    note: str = ""
    """A line for the log, empty when there is nothing to say."""


Report = Callable[[Progress], None]
"""Called after every batch or step. It may raise `Cancelled`, which the work lets pass."""


class Cancelled(Exception):
    """The person who started the work asked for it to stop.

    >>> def stop(progress):
    ...     raise ro.Cancelled
    >>> try:
    ...     ro.extract(ro.Library("descriptions").texts(), model, ro.TrainSettings(), report=stop)
    ... except ro.Cancelled:
    ...     print("stopped")
    stopped
    """


def silent(_progress: Progress) -> None:
    """A report that goes nowhere."""


def finished(pieces: Generator[object, None, Result]) -> Result:
    """The result of work in pieces, all of which are done now."""
    while True:
        try:
            next(pieces)
        except StopIteration as end:
            result: Result = end.value
            return result


class Bars:
    """A report that shows one tqdm bar per stage, in a notebook too; use it in a `with` block.

    A bar disappears when its stage is done, so that a notebook keeps results alone; bars on a
    terminal stay.

    Args:
        terminal: where bars are drawn; None for standard error or the notebook's own.
    """

    def __init__(self, terminal: TextIO | None = None) -> None:
        self._terminal = terminal
        self._stage = ""
        self._bar: tqdm[Any] | None = None

    def __enter__(self) -> Bars:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def __call__(self, progress: Progress) -> None:
        """Show how far the work has come; a new stage begins a new bar."""
        if self._bar is None or progress.stage != self._stage:
            self.close()
            self._stage = progress.stage
            self._bar = self._begin(progress)
        self._bar.total = progress.total or None
        self._bar.n = progress.done
        if progress.note:
            self._bar.set_postfix_str(progress.note, refresh=False)
        self._bar.refresh()
        if self._terminal is None and progress.total and progress.done >= progress.total:
            self.close()

    def _begin(self, progress: Progress) -> tqdm[Any]:
        from tqdm import auto

        look: dict[str, Any] = {"leave": False}
        if self._terminal is not None:  # 80 x 24 where it does not say; of no lines none is drawn
            size = get_terminal_size()
            look = {"file": self._terminal, "ncols": size.columns, "nrows": size.lines}
        total, unit = progress.total or None, f" {progress.unit}"
        return auto.tqdm(desc=progress.stage, total=total, unit=unit, **look)

    def close(self) -> None:
        """End the bar."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def write_anything(exact: bool = False) -> None:
    """Let output never end in a traceback, whatever encoding the terminal or file has.

    Args:
        exact: write UTF-8, as programs that read JSON or CSV expect; else what the encoding does
            not have is written as an escape, such as \\u23ce.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            encoding = "utf-8" if exact and stream is sys.stdout else None
            stream.reconfigure(encoding=encoding, errors="backslashreplace")
            if stream is sys.stdout and stream.isatty():
                stream.write = _numbering(stream.write)  # type: ignore[method-assign]


_MOVES = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def _numbering(write: Callable[[str], int]) -> Callable[[str], int]:
    """The same with what moves a terminal's cursor, colours or turns text around by its number.

    Texts and names of concepts come from strangers; only a pipe gets them as they are.
    """
    return lambda text: write(_MOVES.sub(lambda sign: f"\\x{ord(sign[0]):02x}", text))
