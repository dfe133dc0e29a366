"""The questions the Concepts page asks the server, each answered with JSON and never a traceback.

Every call names its concept, so any number of open pages may ask at once. Whatever a page sends is
checked here and in `texts.editing`; a mistake comes back as `{"ok": false, "message": sentence}`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, TypeVar

import gradio as gr
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from readout_ui.app.session import Studio
from readout_ui.errors import UserError, printable
from readout_ui.files import sha256_of
from readout_ui.texts.editing import (
    FileChanged,
    create_concept,
    delete_concept,
    list_versions,
    read_version,
    rename_concept,
    restore_trashed,
    restore_version,
    save_concept,
)
from readout_ui.texts.library import Concept
from readout_ui.texts.lint import Finding, check_concept
from readout_ui.texts.names import check_name, is_neutral_name
from readout_ui.texts.reading import require_readable
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
    require_readable("\n".join(boxes), printable(name))
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


Answer = dict[str, Any]
Call = Callable[..., Answer]
R = TypeVar("R", bound="Request")


class Request(BaseModel):
    """What a page may send: nothing it was not asked for."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Nothing(Request):
    """A question without details."""


class Poll(Request):
    """What the page has already."""

    revision: str = Field(max_length=64)


class Named(Request):
    """A question about one concept."""

    name: str = Field(max_length=1000)


class Texts(Named):
    """The boxes of one concept."""

    boxes: list[str] = Field(max_length=100_000)


class Save(Texts):
    """The boxes and the fingerprint of the file they were opened from."""

    opened: str | None


class Create(Named):
    """A new concept or file of neutral texts."""

    neutral: bool


class Rename(Named):
    """A concept's new name."""

    to: str = Field(max_length=1000)


class Trashed(Request):
    """One file in the trash, perhaps with another name to restore it under."""

    entry: str = Field(max_length=1000)
    to: str | None


class Stored(Named):
    """One earlier version."""

    version: str = Field(max_length=64)


def answering(name: str, request: type[R], handle: Callable[[R], Answer]) -> Call:
    """A server function of that name that checks what it is sent and answers with JSON.

    A page of another site can make a browser send a request to this app (it cannot read the
    answer); browsers mark such requests, and they are refused.
    """

    def call(data: object, sender: gr.Request | None = None) -> Answer:
        if sender is not None and sender.headers.get("sec-fetch-site") == "cross-site":
            return {"ok": False, "message": "Only the app's own page may ask this."}
        try:
            return {"ok": True, **handle(request.model_validate(data))}
        except ValidationError:
            return {"ok": False, "message": "The page and the app disagree; reload the page."}
        except UserError as error:
            return {"ok": False, "message": str(error)}

    call.__name__ = name
    return call


def concept_calls(studio: Studio) -> list[Call]:
    """The server functions of the list and the editor."""
    return [*_reading_calls(studio), *_writing_calls(studio)]


def overview_answer(studio: Studio) -> Answer:
    """The list as JSON."""
    view = overview(studio)
    return {**asdict(view), "revision": view.revision}


def news(studio: Studio, revision: str) -> Answer | None:
    """The list, or None for a page that has it."""
    answer = overview_answer(studio)
    return None if answer["revision"] == revision else answer


def _reading_calls(studio: Studio) -> list[Call]:
    return [
        answering("read_overview", Poll, lambda r: {"overview": news(studio, r.revision)}),
        answering("open_concept", Named, lambda r: _opened(studio.library().concept(r.name))),
        answering("review_texts", Texts, lambda r: _reviewed(studio, r)),
        answering(
            "read_trash", Nothing, lambda _r: {"entries": _entries(list_trash(studio.folder))}
        ),
        answering(
            "read_versions",
            Named,
            lambda r: {"versions": [_version(v) for v in versions_of(studio, r.name)]},
        ),
        answering(
            "read_version",
            Stored,
            lambda r: {"descriptions": read_version(version_of(studio, r.name, r.version))},
        ),
    ]


def _writing_calls(studio: Studio) -> list[Call]:
    """Calls that change something on disk; each is answered with the new list."""

    def writing(name: str, request: type[R], what: str, write: Callable[[R], Answer]) -> Call:
        def handle(asked: R) -> Answer:
            studio.refuse_if_read_only(what)
            return {**write(asked), "overview": overview_answer(studio)}

        return answering(name, request, handle)

    return [
        writing("save_texts", Save, "save", partial(_saved, studio)),
        writing(
            "create_concept",
            Create,
            "create a concept",
            lambda r: _opened(create_concept(studio.folder, r.name, neutral=r.neutral)),
        ),
        writing(
            "rename_concept",
            Rename,
            "rename",
            lambda r: _opened(rename_concept(studio.folder, r.name, r.to)),
        ),
        writing(
            "delete_concept",
            Named,
            "delete",
            lambda r: {"entry": _entries([delete_concept(studio.folder, r.name)])[0]},
        ),
        writing(
            "restore_trashed",
            Trashed,
            "restore",
            lambda r: _opened(restore_trashed(studio.folder, trashed(studio, r.entry), r.to)),
        ),
        writing(
            "restore_version",
            Stored,
            "restore a version",
            lambda r: _opened(
                restore_version(studio.folder, r.name, version_of(studio, r.name, r.version))
            ),
        ),
    ]


def _reviewed(studio: Studio, texts: Texts) -> Answer:
    return {
        **asdict(review(studio, texts.name, texts.boxes)),
        "notes": influence_notes(studio, texts.name, texts.boxes),
    }


def _saved(studio: Studio, asked: Save) -> Answer:
    """Write the boxes, unless the file is not the one that was opened; then both texts."""
    try:
        return _opened(save_concept(studio.folder, asked.name, asked.boxes, asked.opened))
    except FileChanged as changed:
        return {
            "conflict": {
                "message": str(changed),
                "mine": changed.mine,
                "theirs": changed.theirs,
                "theirs_fingerprint": changed.theirs_fingerprint,
            }
        }


def _opened(concept: Concept) -> Answer:
    return {
        "concept": {
            "name": concept.name,
            "neutral": concept.is_neutral,
            "fingerprint": concept.fingerprint,
            "descriptions": concept.descriptions,
        }
    }


def _entries(entries: Iterable[TrashEntry]) -> list[Answer]:
    return [
        {
            "entry": entry.path.name,
            "name": entry.name,
            "when": entry.when.isoformat(),
            "n_descriptions": entry.n_descriptions,
        }
        for entry in entries
    ]


def _version(version: Version) -> Answer:
    return {
        "version": version.fingerprint,
        "when": version.when.isoformat(),
        "n_descriptions": version.n_descriptions,
    }
