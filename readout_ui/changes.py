"""How the descriptions on disk differ from those a run was trained on."""

from collections import Counter
from collections.abc import Mapping, Sequence

Texts = Mapping[str, Sequence[str]]
"""Descriptions by file name."""


def count_changes(now: Texts, trained: Texts) -> int:
    """Descriptions added, edited or removed; an edited one counts once."""
    return sum(
        _changes(now.get(name, ()), trained.get(name, ())) for name in now.keys() | trained.keys()
    )


def changed_files(now: Texts, trained: Texts) -> tuple[str, ...]:
    """Names of the files whose texts differ, added and deleted ones included."""
    names = sorted(now.keys() | trained.keys())
    return tuple(name for name in names if _changes(now.get(name, ()), trained.get(name, ())))


def _changes(now: Sequence[str], trained: Sequence[str]) -> int:
    added, removed = Counter(now) - Counter(trained), Counter(trained) - Counter(now)
    return max(added.total(), removed.total())


def state_of(now: Sequence[str], trained: Sequence[str] | None) -> str:
    """ "empty", "new", "edited" or "trained", whatever the order of the texts."""
    if not now:
        return "empty"
    if trained is None:
        return "new"
    return "trained" if Counter(now) == Counter(trained) else "edited"
