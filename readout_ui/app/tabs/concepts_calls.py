"""The questions the Concepts page asks the server, each answered with JSON and never a traceback.

Every call names its concept, so any number of open pages may ask at once. Whatever a page sends is
checked here and in `editing`; a mistake comes back as `{"ok": false, "message": sentence}`.
"""

from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import Any, TypeVar

import gradio as gr
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from readout_ui.app import editor as editing
from readout_ui.app.editor import Conflict, Desk, Opened, influence_notes, overview
from readout_ui.errors import UserError
from readout_ui.texts.versions import TrashEntry, Version

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


def concept_calls(desk: Desk) -> list[Call]:
    """The server functions of the list and the editor."""
    return [*_reading_calls(desk), *_writing_calls(desk)]


def overview_answer(desk: Desk) -> Answer:
    """The list as JSON."""
    view = overview(desk)
    return {**asdict(view), "revision": view.revision}


def news(desk: Desk, revision: str) -> Answer | None:
    """The list, or None for a page that has it."""
    answer = overview_answer(desk)
    return None if answer["revision"] == revision else answer


def _reading_calls(desk: Desk) -> list[Call]:
    return [
        answering("read_overview", Poll, lambda r: {"overview": news(desk, r.revision)}),
        answering("open_concept", Named, lambda r: _opened(editing.open_concept(desk, r.name))),
        answering("review_texts", Texts, lambda r: _reviewed(desk, r)),
        answering("read_trash", Nothing, lambda _r: {"entries": _entries(editing.trash(desk))}),
        answering(
            "read_versions",
            Named,
            lambda r: {"versions": [_version(v) for v in editing.versions(desk, r.name)]},
        ),
        answering(
            "read_version",
            Stored,
            lambda r: {"descriptions": editing.version_texts(desk, r.name, r.version)},
        ),
    ]


def _writing_calls(desk: Desk) -> list[Call]:
    def then(answer: Answer) -> Answer:
        return {**answer, "overview": overview_answer(desk)}

    return [
        answering(
            "save_texts",
            Save,
            lambda r: then(_saved(editing.save(desk, r.name, r.boxes, r.opened))),
        ),
        answering(
            "create_concept",
            Create,
            lambda r: then(_opened(editing.create(desk, r.name, neutral=r.neutral))),
        ),
        answering(
            "rename_concept", Rename, lambda r: then(_opened(editing.rename(desk, r.name, r.to)))
        ),
        answering(
            "delete_concept",
            Named,
            lambda r: then({"entry": _entries([editing.delete(desk, r.name)])[0]}),
        ),
        answering(
            "restore_trashed",
            Trashed,
            lambda r: then(_opened(editing.undelete(desk, r.entry, r.to))),
        ),
        answering(
            "restore_version",
            Stored,
            lambda r: then(_opened(editing.put_back(desk, r.name, r.version))),
        ),
    ]


def _reviewed(desk: Desk, texts: Texts) -> Answer:
    return {
        **asdict(editing.review(desk, texts.name, texts.boxes)),
        "notes": influence_notes(desk, texts.name, texts.boxes),
    }


def _opened(opened: Opened) -> Answer:
    return {"concept": asdict(opened)}


def _saved(outcome: Opened | Conflict) -> Answer:
    return _opened(outcome) if isinstance(outcome, Opened) else {"conflict": asdict(outcome)}


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
