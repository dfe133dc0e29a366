"""The list of concepts as the page shows it: counts, states and files that cannot be used."""

from collections.abc import Mapping
from dataclasses import dataclass

from readout_ui.desk import Desk
from readout_ui.errors import UserError
from readout_ui.files import fingerprint_of_bytes
from readout_ui.library import Concept


@dataclass(frozen=True)
class Row:
    """One concept in the list."""

    name: str
    n_descriptions: int
    state: str
    """ "new", "edited", "trained" or "empty"."""
    neutral: bool
    fingerprint: str
    """sha256 of the file, by which the page notices that it changed."""


@dataclass(frozen=True)
class BrokenFile:
    """One file in the list that cannot be used."""

    file: str
    message: str


@dataclass(frozen=True)
class Overview:
    """The whole list."""

    folder: str
    read_only: bool
    rows: tuple[Row, ...]
    """Concepts by name, then neutral files by name."""
    problems: tuple[BrokenFile, ...]
    error: str
    """Why the folder cannot be read, empty when it can."""

    @property
    def revision(self) -> str:
        """Changes whenever anything in the list does."""
        return fingerprint_of_bytes(repr(self).encode("utf-8", "backslashreplace"))


def overview(desk: Desk) -> Overview:
    """The list as it is now; a folder that cannot be read gives an empty list and the reason."""
    try:
        library = desk.library()
        states = desk.concept_states()
    except UserError as error:
        return Overview(str(desk.folder), desk.read_only, (), (), str(error))
    return Overview(
        str(desk.folder),
        desk.read_only,
        tuple(_row(concept, states) for concept in library.files),
        tuple(BrokenFile(problem.file, problem.message) for problem in library.problems),
        "",
    )


def _row(concept: Concept, states: Mapping[str, str]) -> Row:
    fallback = "new" if concept.descriptions else "empty"
    return Row(
        concept.name,
        len(concept.descriptions),
        states.get(concept.name, fallback),
        concept.is_neutral,
        concept.fingerprint,
    )
