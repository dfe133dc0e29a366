"""The one error a person can fix: what is wrong, where, what to do and which options exist."""

import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import Any
from unicodedata import category


class UserError(Exception):
    """A mistake the user can correct; every front end prints its text and nothing else.

    Args:
        what: what is wrong, as a clause without a final full stop.
        where: file, concept or line it concerns.
        fix: what to do about it.
        options: the values that would have been accepted.

    >>> try:
    ...     ro.TrainSettings(method="guess")
    ... except ro.UserError as error:
    ...     print(error.options)
    ('whitened', 'mean', 'neutral_pcs', 'pca', 'logistic')
    """

    def __init__(
        self, what: str, *, where: str = "", fix: str = "", options: Iterable[str] = ()
    ) -> None:
        self.what = what
        self.where = where
        self.fix = fix
        self.options = tuple(options)
        super().__init__(self.sentence())

    def sentence(self) -> str:
        """All parts as one line of plain text."""
        text = f"{self.where}: {self.what}" if self.where else self.what
        if self.fix:
            text += f"; {self.fix}"
        if self.options:
            text += f" (options: {', '.join(self.options)})"
        return visible(text.rstrip(".") + ".")


class UnreadableFile(UserError):
    """A file that cannot be used as descriptions; `line` counts from 1 where it is known."""

    def __init__(self, what: str, *, where: str, fix: str = "", line: int | None = None) -> None:
        self.line = line
        super().__init__(what, where=where, fix=fix)


def first_line(error: BaseException) -> str:
    """What another library says is wrong: its first line or, where it says nothing, its kind.

    A line that ends in a colon says nothing without the next one.
    """
    lines = str(error).strip().splitlines() or [type(error).__name__]
    said = " ".join(line.strip() for line in lines[: 2 if lines[0].endswith(":") else 1])
    return said[:300].rstrip(".")


def visible(text: str) -> str:
    """Text from outside as one line; what could move a terminal's cursor is shown by number."""
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() or category(c) == "Zs" else f"\\x{ord(c):02x}" for c in text
    )


def printable(name: str) -> str:
    """A name from outside, short and without control characters, for a message."""
    shown = visible(name)
    return shown if len(shown) <= 40 else f"{shown[:37]}..."


def forget_frames(error: BaseException) -> None:
    """Let go of what the tracebacks of an error, its cause and its context hold.

    A kept error keeps the local variables of every function it passed: hidden states, caches.
    """
    for one in _causes(error):
        traceback.clear_frames(one.__traceback__)
        one.__traceback__ = None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error, and those along its cause and its context, each once."""
    waiting: list[BaseException | None] = [error]
    seen: set[int] = set()
    while waiting:
        one = waiting.pop()
        if one is not None and id(one) not in seen:
            seen.add(id(one))
            waiting += [one.__cause__, one.__context__]
            yield one


_LOST = (
    "device-side assert",
    "illegal memory access",
    "illegal instruction",
    "misaligned address",
    "invalid program counter",
    "hardware stack error",
    "shared address space",
    "launch timed out",
    "unspecified launch failure",
    "uncorrectable",
    "cuda error: unknown error",
)
"""The errors after which CUDA answers every call with the same error, as its manual lists them."""


def is_device_lost(error: BaseException) -> bool:
    """Whether a GPU refuses all further work of this process, also where another error says so."""
    said = (str(one).lower() for one in _causes(error) if isinstance(one, RuntimeError))
    return any(phrase in words for words in said for phrase in _LOST)


def device_lost(error: BaseException) -> UserError:
    """What to say then."""
    return UserError(
        f"the GPU stopped working for this process ({first_line(error)})",
        fix="restart Readout Studio; texts and runs are saved",
    )


@contextmanager
def naming_lost_device() -> Iterator[None]:
    """Inside, a GPU that refuses all further work is one sentence."""
    try:
        yield
    except RuntimeError as error:
        if not is_device_lost(error):
            raise
        raise device_lost(error) from None


def library_error(library: str, what: str) -> UserError:
    """What to raise where a library no longer has what we look up by name; it says its version.

    Args:
        library: its name on PyPI.
        what: what was looked for and not found, as a clause.
    """
    try:
        found = version(library)
    except PackageNotFoundError:
        found = "of an unknown version"
    return UserError(
        f"{what}, so Readout Studio cannot work with {library} {found}",
        fix="install the tested versions (`make app` does)",
    )


def required(owner: object, name: str, library: str) -> Any:
    """An attribute that a library's object has to have; absence is never taken for a default.

    Raises:
        UserError: it is not there; names the library and its version.
    """
    try:
        return getattr(owner, name)
    except AttributeError as error:
        raise library_error(library, f"{_name_of(owner)} has no {name}") from error


def missing_import(error: ImportError) -> UserError:
    """The same for a module or a name that a library no longer lets us import."""
    return library_error(str(error.name).split(".")[0], str(error))


def _name_of(owner: object) -> str:
    return str(getattr(owner, "__name__", type(owner).__name__))
