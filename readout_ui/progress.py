"""How far a long piece of work has come, and how its caller stops it.

transformers without bars and advice on the terminal while we load something ourselves.
"""

from collections.abc import Callable
from dataclasses import dataclass


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
    """The person who started the work asked for it to stop."""


def silent(_progress: Progress) -> None:
    """A report that nobody reads."""
