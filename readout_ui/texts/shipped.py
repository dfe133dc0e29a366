"""The two libraries that ship with the package, and where a person's own copy of them lives.

Wherever a folder of descriptions or a file of labelled texts is asked for, `shipped:emotions` and
`shipped:stances` name what ships. In a clone the descriptions of emotions are the folder
`descriptions/` of the clone. An installed package keeps them as data and copies them once to the
user's data folder, where they can be edited.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

from platformdirs import user_data_path

from readout_ui.errors import UserError
from readout_ui.files import fill_folder, os_errors, partial_name
from readout_ui.texts.tags import TAGS_FILE

_DATA = Path(__file__).parent / "data"
_PACKAGED = _DATA / "descriptions"
_CLONE = Path(__file__).parents[2]
SHIPPED = "shipped:"
"""Before the name of a library, where a folder or a file could be named as well."""
LIBRARIES: Mapping[str, str] = MappingProxyType(
    {
        "emotions": "36 emotions",
        "stances": "20 ways of speaking and thinking that are no emotions",
    }
)
"""Name of each library that ships -> what it holds; the first is the default."""


def in_clone() -> bool:
    """Whether this code runs from a clone of the project, not from an installed package."""
    return not _PACKAGED.is_dir() and (_CLONE / "pyproject.toml").is_file()


def shipped_descriptions(library: str = "emotions") -> Path:
    """Folder of the concepts and the neutral texts as they were shipped.

    Raises:
        UserError: no library of that name ships.
    """
    if require_library(library) != "emotions":
        return _DATA / "libraries" / library
    return _CLONE / "descriptions" if in_clone() else _PACKAGED


def shipped_held_out(library: str = "emotions") -> Path:
    """Folder of the library's test set, which nothing may be trained on.

    Raises:
        UserError: no library of that name ships.
    """
    folder = _DATA / "held_out"
    return folder if require_library(library) == "emotions" else folder / library


def shipped_ratings() -> Path:
    """Valence and arousal of the shipped emotions, -1..1 each: our own ratings, of no study.

    A CSV with the columns concept, valence and arousal.
    """
    return _DATA / "ratings" / "emotions.csv"


def library_named(path: Path | str) -> str:
    """The library that `shipped:NAME` names; empty for any other path.

    Raises:
        UserError: no library of that name ships.
    """
    prefix, _, name = str(path).partition(SHIPPED)
    return "" if prefix or not name else require_library(name)


def fitting_library(concepts: Iterable[str]) -> str:
    """The shipped library that has most of these concepts; the emotions where none has any."""
    wanted = set(concepts)

    def n_shared(library: str) -> int:
        names = {file.stem for file in shipped_descriptions(library).glob("*.txt")}
        return len(names & wanted)

    return max(LIBRARIES, key=n_shared)


def require_library(name: str) -> str:
    """The name itself.

    Raises:
        UserError: no library of that name ships.
    """
    if name not in LIBRARIES:
        raise UserError(f"no library '{name}' ships with the program", options=list(LIBRARIES))
    return name


def home() -> Path:
    """Folder that holds `descriptions/` and `runs/`: the clone, or the user's data folder."""
    return _CLONE if in_clone() else user_data_path("readout-ui")


def provide_descriptions(library: str = "emotions") -> Path:
    """The person's own folder of descriptions; the shipped ones are copied where there is none.

    Raises:
        UserError: the folder cannot be written, or no library of that name ships.
    """
    source = shipped_descriptions(library)
    is_default = library == "emotions"
    folder = home() / "descriptions" if is_default else user_data_path("readout-ui") / library
    if not folder.exists():
        said = [path for path in (source / TAGS_FILE,) if path.is_file()]
        files = {path.name: path.read_bytes() for path in (*source.glob("*.txt"), *said)}
        partial = folder.parent / partial_name("saving")
        with os_errors("cannot be written", str(folder), "name another with --descriptions"):
            fill_folder(partial, files)
            partial.rename(folder)
    return folder
