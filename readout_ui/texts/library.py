"""The concept library: descriptions by concept, read cheaply enough to poll, and what changed."""

import difflib
import os
import time
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from readout_ui.errors import UnreadableFile, UserError, printable
from readout_ui.files import read_bytes, sha256_of, shown
from readout_ui.texts.names import (
    SUFFIX,
    against_name,
    check_name,
    contrasted,
    fold_name,
    holds_neutral_texts,
    is_about_folder,
    is_neutral_name,
)
from readout_ui.texts.reading import encode_descriptions, normalise_descriptions, parse_descriptions
from readout_ui.texts.shipped import library_named, shipped_descriptions
from readout_ui.texts.words import counted


@dataclass(frozen=True, repr=False)
class Concept:
    """A concept and its descriptions: one file as it was read, or texts from Python.

    >>> Concept("calm", ("I am at ease.", "Nothing presses me."))
    Concept('calm', 2 descriptions)
    """

    name: str
    """The file's name without `.txt`, NFC; with a leading underscore the texts are neutral, or,
    as `_against calm`, those that one concept is contrasted with."""
    descriptions: tuple[str, ...]
    """In the file's order; may be empty."""
    fingerprint: str = ""
    """sha256 of the file's bytes, hex; by default of the file that these texts would make."""
    path: Path = Path()

    def __post_init__(self) -> None:
        if not self.fingerprint:
            name = check_name(self.name, neutral=is_neutral_name(self.name))
            texts = normalise_descriptions(self.descriptions)
            data = encode_descriptions(texts, name)
            made = {"name": name, "descriptions": texts, "fingerprint": sha256_of(data)}
            self.__dict__.update(made)

    def __repr__(self) -> str:
        return f"Concept({self.name!r}, {counted(len(self.descriptions), 'description')})"

    @property
    def is_neutral(self) -> bool:
        """Whether these texts are no concept, but neutral or another's contrast."""
        return is_neutral_name(self.name)


@dataclass(frozen=True)
class Problem:
    """A file that cannot be used."""

    file: str
    """The file's name, printable."""
    line: int | None
    """Counted from 1, where one line is the cause."""
    message: str
    """One sentence that names the file and what to do."""


@dataclass(frozen=True, init=False, repr=False)
class Library:
    """Descriptions by concept: those of a folder as they are now, or texts from Python.

    >>> Library({"calm": ["I am at ease."], "sad": ["I ache."], "_neutral": ["It is a shelf."]})
    Library(2 concepts, 2 descriptions, 1 neutral text)
    """

    folder: Path
    """Where they were read; `.` for texts from Python."""
    concepts: tuple[Concept, ...]
    """Sorted by name."""
    neutral: tuple[Concept, ...]
    """Files whose name begins with an underscore, sorted by name."""
    against: tuple[Concept, ...]
    """Of these, apart from `neutral`: the texts that one concept is contrasted with."""
    problems: tuple[Problem, ...]
    """Files that cannot be used."""

    def __init__(
        self,
        folder: Path | str | Mapping[str, Iterable[str]],
        concepts: Sequence[Concept] | None = None,
        neutral: Sequence[Concept] = (),
        problems: Sequence[Problem] = (),
    ) -> None:
        """A library.

        Args:
            folder: one of `{concept}.txt`; `shipped:emotions` or `shipped:stances`; or texts by
                concept, where names with a leading underscore are neutral. `_against calm` are
                texts that `calm` is contrasted with, instead of with all other concepts.
            concepts: what the folder holds; None: it is read.
            neutral: its files of neutral texts and contrasts.
            problems: its files that cannot be used.

        Raises:
            UserError: the folder cannot be read, or a concept's name or text cannot be stored.
        """
        if isinstance(folder, Mapping):
            made = sorted(
                (Concept(name, tuple(some)) for name, some in folder.items()),
                key=lambda concept: concept.name,
            )
            folder, concepts = Path(), [each for each in made if not each.is_neutral]
            neutral = [each for each in made if each.is_neutral]
        elif library := library_named(folder):
            folder = shipped_descriptions(library)
        if concepts is None:
            concepts, neutral, problems = _read_folder(Path(folder))
        parts = {
            "concepts": concepts,
            "neutral": [each for each in neutral if holds_neutral_texts(each.name)],
            "against": [each for each in neutral if contrasted(each.name)],
            "problems": problems,
        }
        self.__dict__["folder"] = Path(folder)
        self.__dict__.update({name: tuple(some) for name, some in parts.items()})

    def __repr__(self) -> str:
        n_texts = sum(len(concept.descriptions) for concept in self.concepts)
        n_against = sum(len(each.descriptions) for each in self.against)
        parts = [
            counted(len(self.concepts), "concept"),
            counted(n_texts, "description"),
            counted(len(self.neutral_texts()), "neutral text"),
            *([counted(n_against, "contrast text")] if n_against else []),
            *([counted(len(self.problems), "unusable file")] if self.problems else []),
        ]
        return f"Library({', '.join(parts)})"

    @property
    def files(self) -> tuple[Concept, ...]:
        """Concepts, neutral files and contrasts."""
        return (*self.concepts, *self.neutral, *self.against)

    def fingerprints(self) -> dict[str, str]:
        """sha256 of every file in use, as `texts` has them."""
        return {concept.name: concept.fingerprint for concept in self._used()}

    def texts(self) -> dict[str, tuple[str, ...]]:
        """Texts by file name, neutral ones and contrasts included.

        Contrasts without texts, or of a concept that is not there, are left out.
        """
        return {concept.name: concept.descriptions for concept in self._used()}

    def _used(self) -> Iterator[Concept]:
        known = {against_name(concept.name) for concept in self.concepts}
        contrasts = (each for each in self.against if each.name in known and each.descriptions)
        yield from (*self.concepts, *self.neutral, *contrasts)

    def names(self) -> tuple[str, ...]:
        """The concepts' names, neutral files not included."""
        return tuple(concept.name for concept in self.concepts)

    def neutral_texts(self) -> tuple[str, ...]:
        """All neutral texts."""
        return tuple(text for concept in self.neutral for text in concept.descriptions)

    def without(self, names: Collection[str]) -> "Library":
        """All but the concepts of these names, with their contrasts; neutral files stay."""
        kept = [concept for concept in self.concepts if concept.name not in names]
        others = [each for each in self.against if contrasted(each.name) not in names]
        return Library(self.folder, kept, (*self.neutral, *others), self.problems)

    def concept(self, name: str) -> Concept:
        """The concept or neutral file of that name.

        Raises:
            UserError: there is none; it offers the closest names.
        """
        by_name = {concept.name: concept for concept in self.files}
        if name in by_name:
            return by_name[name]
        folded = {fold_name(other): other for other in by_name}
        close = difflib.get_close_matches(fold_name(name), folded, n=3)
        raise UserError(
            f"there is no concept '{printable(name)}'",
            where=self.folder.name,
            options=[folded[match] for match in close] or sorted(by_name)[:12],
        )


@dataclass(frozen=True)
class _Reading:
    stamp: tuple[int, ...]
    settled: bool
    result: Concept | Problem


# What each folder's files said when last read; only saves time, dropping it is harmless.
_READINGS: dict[str, MappingProxyType[str, _Reading]] = {}
_KEPT_FOLDERS = 8
# A file changed this recently may change again within one tick of the disk's clock.
_SETTLED_NS = 2_000_000_000


def _read_folder(folder: Path) -> tuple[list[Concept], list[Concept], list[Problem]]:
    """Concepts, neutral files and problems; unchanged files (same status) are not reopened.

    A file that cannot be used becomes a Problem. Hidden files, other suffixes and subfolders
    are passed over.

    Raises:
        UserError: the folder is missing or cannot be listed.
    """
    known = _READINGS.get(str(folder), MappingProxyType({}))
    readings = {path.name: _read(path, known.get(path.name)) for path in concept_files(folder)}
    if str(folder) not in _READINGS and len(_READINGS) >= _KEPT_FOLDERS:
        _READINGS.clear()
    _READINGS[str(folder)] = MappingProxyType(readings)
    usable, problems = _split(reading.result for reading in readings.values())
    concepts = [concept for concept in usable if not concept.is_neutral]
    return concepts, [concept for concept in usable if concept.is_neutral], problems


def read_concept(path: Path) -> Concept:
    """Read one description file.

    Raises:
        UnreadableFile: its bytes cannot be used.
        UserError: its name is no safe concept name.
    """
    stem = path.name[: -len(SUFFIX)]
    name = check_name(stem, neutral=is_neutral_name(stem))
    if fold_name(name) != fold_name(stem):
        raise UserError(
            f"'{printable(stem)}' is not a usable concept name",
            where=shown(path),
            fix=f"rename the file to {name}{SUFFIX}",
        )
    raw = read_bytes(path)
    return Concept(name, parse_descriptions(raw, shown(path)), sha256_of(raw), path)


def concept_name(path: Path) -> str:
    """The name a file stands for, safe or not."""
    return unicodedata.normalize("NFC", path.name[: -len(SUFFIX)])


def concept_files(folder: Path) -> list[Path]:
    """Paths of the folder's `*.txt` entries, usable or not, sorted by name.

    Raises:
        UserError: the folder is missing or cannot be listed.
    """
    try:
        names = sorted(name for name in os.listdir(folder) if _is_concept_file(name))
    except FileNotFoundError:
        raise UserError(
            "the folder does not exist", where=str(folder), fix="create it or name another"
        ) from None
    except NotADirectoryError:
        raise UserError(
            "this is a file, not a folder", where=str(folder), fix="name the folder it is in"
        ) from None
    except OSError as error:
        raise UserError(
            f"the folder cannot be read ({error.strerror})",
            where=str(folder),
            fix="check its permissions",
        ) from None
    return [folder / name for name in names]


def require_trainable(library: Library) -> None:
    """Check that directions can be fitted.

    Raises:
        UserError: a file is unusable, a concept is empty, there is no concept, or there is one
            concept and no neutral text to tell it from.
    """
    if library.problems:
        message = library.problems[0].message.rstrip(".")
        raise UserError(message, fix="then train again")
    if not library.concepts:
        raise UserError(
            "there are no concepts",
            where=str(library.folder),
            fix="write one in the room Write or add a .txt file with descriptions",
        )
    empty = next((c.name for c in library.concepts if not c.descriptions), None)
    if empty is not None:
        raise UserError(
            "the concept has no descriptions", where=empty, fix="write at least one or delete it"
        )
    if len(library.concepts) == 1 and not library.neutral_texts():
        raise UserError(
            "one concept alone has nothing to be told from",
            where=library.concepts[0].name,
            fix="add a second concept or neutral texts in _baseline.txt",
        )


def _is_concept_file(file: str) -> bool:
    hidden = file.startswith(".") or is_about_folder(file[: -len(SUFFIX)])
    return file.lower().endswith(SUFFIX) and not hidden


def _read(path: Path, known: _Reading | None) -> _Reading:
    now = time.time_ns()
    try:
        status = path.stat()
    except OSError:
        return _Reading((), False, _result(path))
    changed = max(status.st_mtime_ns, status.st_ctime_ns)
    stamp = (status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino, status.st_dev)
    if known is not None and known.settled and known.stamp == stamp:
        return known
    return _Reading(stamp, now - changed > _SETTLED_NS, _result(path))


def _result(path: Path) -> Concept | Problem:
    try:
        return read_concept(path)
    except UnreadableFile as error:
        return Problem(shown(path), error.line, str(error))
    except UserError as error:
        where = "" if error.where == shown(path) else f"{shown(path)}: "
        return Problem(shown(path), None, f"{where}{error}")


def _split(results: Iterable[Concept | Problem]) -> tuple[list[Concept], list[Problem]]:
    """Concepts by name, and problems with the second of two names that differ only in case."""
    first: dict[str, Concept] = {}
    problems: list[Problem] = []
    for result in results:
        if isinstance(result, Problem):
            problems.append(result)
        elif (key := fold_name(result.name)) in first:
            problems.append(_clash(result, first[key]))
        else:
            first[key] = result
    return sorted(first.values(), key=lambda concept: concept.name), problems


def _clash(second: Concept, first: Concept) -> Problem:
    error = UserError(
        f"the name is the same as {shown(first.path)} on most computers, so it is not used",
        where=shown(second.path),
        fix="rename one of the two",
    )
    return Problem(shown(second.path), None, str(error))


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
