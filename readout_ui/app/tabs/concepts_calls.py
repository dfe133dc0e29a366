"""The questions the Concepts page asks the server, each answered with JSON and never a traceback.

Every call names its concept, so any number of open pages may ask at once. Whatever a page sends is
checked here and in `texts.editing`; a mistake comes back as `{"ok": false, "message": sentence}`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any, TypeVar

import gradio as gr
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from readout_ui.app.session import Studio
from readout_ui.errors import UserError, printable
from readout_ui.files import sha256_of
from readout_ui.texts.drafts import written_by
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
from readout_ui.texts.lint import check_concept
from readout_ui.texts.names import check_name, is_neutral_name
from readout_ui.texts.reading import require_readable
from readout_ui.texts.versions import TrashEntry, Version, list_trash

Answer = dict[str, Any]
Call = Callable[..., Answer]
R = TypeVar("R", bound="Request")


def influence_notes(studio: Studio, name: str, boxes: Sequence[str]) -> list[str] | None:
    """One line per box, mostly empty; a text that was edited since the training has none.

    None while it is still being worked out.
    """
    influences = studio.influence(name)
    if influences is None:
        return None
    notes = {one.text.strip(): one.note() for one in influences}
    return [notes.get(text.strip(), "") for text in boxes]


def review(studio: Studio, name: str, boxes: Sequence[str]) -> Answer:
    """Lint, token counts and notes for texts that are being typed, against the whole library.

    Findings count the boxes, empty ones included. Tokens: per box, None for an empty one; None as a
    whole while no model is loaded.
    """
    require_readable("\n".join(boxes), printable(name))
    filled = [index for index, text in enumerate(boxes) if text.strip()]
    counts = studio.count_tokens([boxes[index] for index in filled]) if filled else []
    tokens = None if counts is None else dict(zip(filled, counts, strict=True))
    return {
        "findings": [asdict(found) for found in check_concept(studio.library(), name, boxes)],
        "tokens": None if tokens is None else [tokens.get(i) for i in range(len(boxes))],
        "notes": influence_notes(studio, name, boxes),
    }


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


def overview(studio: Studio) -> Answer:
    """The list as it is now; a folder that cannot be read gives an empty list and the reason."""
    rows: list[Answer] = []
    problems: list[Answer] = []
    error = ""
    try:
        library, states = studio.library(), studio.concept_states()
    except UserError as refusal:
        error = str(refusal)
    else:
        rows = [_row(concept, states) for concept in library.files]
        problems = [{"file": one.file, "message": one.message} for one in library.problems]
    view = {
        "folder": str(studio.folder),
        "read_only": studio.read_only,
        "rows": rows,
        "problems": problems,
        "error": error,
    }
    # Changes whenever anything in the list does.
    return {**view, "revision": sha256_of(repr(view).encode("utf-8", "backslashreplace"))}


def _row(concept: Concept, states: Mapping[str, str]) -> Answer:
    fallback = "new" if concept.descriptions else "empty"
    return {
        "name": concept.name,
        "n_descriptions": len(concept.descriptions),
        "state": states.get(concept.name, fallback),
        "neutral": concept.is_neutral,
        "fingerprint": concept.fingerprint,
    }


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


def _reading_calls(studio: Studio) -> list[Call]:
    def news(asked: Poll) -> Answer:
        """The list, or None for a page that has it."""
        now = overview(studio)
        return {"overview": None if now["revision"] == asked.revision else now}

    return [
        answering("read_overview", Poll, news),
        answering("open_concept", Named, lambda r: _opened(studio.library().concept(r.name))),
        answering("review_texts", Texts, lambda r: review(studio, r.name, r.boxes)),
        answering(
            "read_trash", Nothing, lambda _r: {"entries": _entries(list_trash(studio.folder))}
        ),
        answering(
            "read_versions",
            Named,
            lambda r: {"versions": [_version(v) for v in versions_of(studio, r.name)]},
        ),
        answering("read_version", Stored, partial(_read_version, studio)),
    ]


def _read_version(studio: Studio, asked: Stored) -> Answer:
    texts = read_version(version_of(studio, asked.name, asked.version))
    models = sorted({model for model in written_by(studio.folder, texts) if model})
    return {"descriptions": texts, "models": models}


def _writing_calls(studio: Studio) -> list[Call]:
    """Calls that change something on disk; each is answered with the new list."""

    def writing(name: str, request: type[R], what: str, write: Callable[[R], Answer]) -> Call:
        def handle(asked: R) -> Answer:
            studio.refuse_if_read_only(what)
            return {**write(asked), "overview": overview(studio)}

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
