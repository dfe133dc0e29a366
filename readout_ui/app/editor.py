"""What the concept editor asks: the list of concepts, checks of texts being typed, notes on texts.

The page holds the boxes a person types in; everything here is asked about one concept by name, so
any number of open pages may ask at once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from readout_ui.app.session import Studio
from readout_ui.errors import UserError, printable
from readout_ui.files import sha256_of
from readout_ui.texts.editing import list_versions
from readout_ui.texts.library import Concept
from readout_ui.texts.lint import Finding, check_concept
from readout_ui.texts.names import check_name, is_neutral_name
from readout_ui.texts.versions import TrashEntry, Version, list_trash


def influence_notes(studio: Studio, name: str, boxes: Sequence[str]) -> list[str] | None:
    """One line per box, mostly empty; a text that was edited since the training has none.

    None while it is still being worked out.
    """
    influences = studio.influence(name)
    if influences is None:
        return None
    notes = {one.text.strip(): one.note() for one in influences}
    return [notes.get(text.strip(), "") for text in boxes]


@dataclass(frozen=True)
class Review:
    """Lint and token counts for texts that are being typed."""

    findings: tuple[Finding, ...]
    """`index` counts the boxes, empty ones included."""
    tokens: tuple[int | None, ...] | None
    """Per box, None for an empty one; None as a whole while no model is loaded."""


def review(studio: Studio, name: str, boxes: Sequence[str]) -> Review:
    """Check the texts in the boxes against each other and the rest of the library."""
    filled = [index for index, text in enumerate(boxes) if text.strip()]
    counts = studio.count_tokens([boxes[index] for index in filled]) if filled else []
    return Review(
        check_concept(studio.library(), name, boxes),
        None if counts is None else _per_box(len(boxes), dict(zip(filled, counts, strict=True))),
    )


def versions_of(studio: Studio, name: str) -> list[Version]:
    """Earlier versions of a concept that differ from the present one, newest first.

    Raises:
        UserError: the name is none. It becomes a folder, so only a plain file name may pass.
    """
    return list_versions(studio.folder, check_name(name, neutral=is_neutral_name(name)))


def version_of(studio: Studio, name: str, fingerprint: str) -> Version:
    """One earlier version; UserError where there is none."""
    for version in versions_of(studio, name):
        if version.fingerprint == fingerprint:
            return version
    raise UserError("there is no such version any more", where=printable(name))


def trashed(studio: Studio, entry: str) -> TrashEntry:
    """One file in the trash, by its name there; UserError where there is none."""
    for found in list_trash(studio.folder):
        if found.path.name == entry:
            return found
    raise UserError("this is no longer in the trash", where=printable(entry))


def _per_box(n_boxes: int, counts: Mapping[int, int]) -> tuple[int | None, ...]:
    return tuple(counts.get(index) for index in range(n_boxes))


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
        return sha256_of(repr(self).encode("utf-8", "backslashreplace"))


def overview(studio: Studio) -> Overview:
    """The list as it is now; a folder that cannot be read gives an empty list and the reason."""
    try:
        library = studio.library()
        states = studio.concept_states()
    except UserError as error:
        return Overview(str(studio.folder), studio.read_only, (), (), str(error))
    return Overview(
        str(studio.folder),
        studio.read_only,
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
