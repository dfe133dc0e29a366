"""The scoreboard of concepts, the page of each, and everything about description files."""

from __future__ import annotations

import base64
import re
from dataclasses import asdict, replace
from typing import Any

import gradio as gr
from pydantic import Field

from readout_ui.app.assets import on_load
from readout_ui.app.events import (
    Answer,
    Call,
    Named,
    Nothing,
    Request,
    answering,
    decoded,
    on_threads,
)
from readout_ui.app.jobs import JobState
from readout_ui.app.session import Studio
from readout_ui.app.write.calls import concept_calls, overview
from readout_ui.app.write.scores import score_calls
from readout_ui.errors import UserError
from readout_ui.texts.drafts import MOST_DRAFTS, DraftRequest, keep_drafts
from readout_ui.texts.exchange import (
    ImportPlan,
    PlannedConcept,
    apply_import,
    export_bytes,
    plan_import,
    read_set,
)
from readout_ui.texts.library import Library
from readout_ui.texts.set_files import ImportedSet
from readout_ui.texts.shipped import library_named


class AskDrafts(Named):
    """What to draft, and whether the endpoint that the app was started with writes."""

    kind: str = Field(max_length=20)
    count: int = Field(ge=1, le=MOST_DRAFTS)
    at_endpoint: bool


class KeepDrafts(Named):
    """What a person chose of the drafts, as they left it."""

    texts: list[str] = Field(max_length=MOST_DRAFTS)


def draft_calls(studio: Studio) -> list[Call]:
    """The server functions of the drafts sheet."""
    return [
        answering("ask_drafts", AskDrafts, lambda r: asked(studio, r)),
        answering("read_drafts", Nothing, lambda _r: drafts_now(studio)),
        answering("cancel_drafts", Nothing, lambda _r: cancelled(studio)),
        answering("keep_drafts", KeepDrafts, lambda r: kept(studio, r)),
    ]


def asked(studio: Studio, wanted: AskDrafts) -> Answer:
    """Start to draft in the background."""
    kind: Any = wanted.kind
    request = DraftRequest(studio.library(), kind, wanted.name, wanted.count)
    studio.start_drafts(request, at_endpoint=wanted.at_endpoint)
    return drafts_now(studio)


def drafts_now(studio: Studio) -> Answer:
    """How far the newest drafting has come, and what it made."""
    endpoint = studio.options.draft_endpoint
    job = studio.worker.latest("draft")
    if job is None:
        return {"state": "none", "endpoint": endpoint}
    view = job.view()
    now: Answer = {"state": str(view.state), "error": view.error, "endpoint": endpoint}
    if view.progress is not None:
        now |= {"done": view.progress.done, "total": view.progress.total}
    if view.state is JobState.DONE:
        made: Any = job.result()
        now |= {**asdict(made), "summary": made.summary()}
    return now


def cancelled(studio: Studio) -> Answer:
    """Stop the drafting under way."""
    job = studio.worker.latest("draft")
    if job is not None and not job.view().state.finished:
        job.cancel()
    return drafts_now(studio)


def kept(studio: Studio, chosen: KeepDrafts) -> Answer:
    """Add the chosen drafts to the concept's file, marked as the model's that wrote them."""
    studio.refuse_if_read_only("keep drafts")
    job = studio.worker.latest("draft")
    if job is None or job.view().state is not JobState.DONE:
        raise UserError("there are no drafts any more", fix="draft again")
    made: Any = job.result()
    concept = keep_drafts(studio.folder, chosen.name, chosen.texts, made.writer)
    return {"name": concept.name, "overview": overview(studio)}


def build_concepts_tab(studio: Studio) -> gr.HTML:
    """List and editor in one component, which asks the server by itself what changed on disk.

    It triggers `train_requested` after "Save and train" or Ctrl+Enter, once the text is on disk.
    """
    return gr.HTML(
        html_template='<div class="rs-concepts"></div>',
        js_on_load=on_load("write/main.js", "train_requested"),
        apply_default_css=False,
        container=False,
        padding=False,
        elem_id="concepts-desk",
        server_functions=on_threads(
            [
                *concept_calls(studio),
                *exchange_calls(studio),
                *draft_calls(studio),
                *score_calls(studio),
            ]
        ),
    )


MAX_UPLOAD_CHARACTERS = 28_000_000
"""Base64 of 20 MB, which the page refuses before it sends more."""

_UNSAFE = re.compile(r"[^\w. ()-]+")


class Export(Request):
    """The kind of file wanted."""

    format: str = Field(max_length=20)


class SetFile(Request):
    """A set as the page read it from a file, or the name of a shipped one."""

    file_name: str = Field(max_length=1000)
    """With `shipped:` and the name of a library, there is no content."""
    content: str = Field(max_length=MAX_UPLOAD_CHARACTERS)
    """Base64."""


class Apply(SetFile):
    """What to import of it."""

    chosen: dict[str, str | None]
    """Concept to the fingerprint of its file when the plan was shown, None for a new one."""


def exchange_calls(studio: Studio) -> list[Call]:
    """The server functions of the import and export sheets."""
    return [
        answering("export_set", Export, lambda r: exported(studio, r.format)),
        answering("plan_import", SetFile, lambda r: planned(plan_of(studio, r))),
        answering("apply_import", Apply, lambda r: applied(studio, r)),
    ]


def exported(studio: Studio, suffix: str) -> Answer:
    """The whole set as a file to download."""
    content = base64.b64encode(export_bytes(studio.library(), suffix)).decode("ascii")
    return {"file_name": f"descriptions{suffix}", "content": content}


def plan_of(studio: Studio, sent: SetFile) -> ImportPlan:
    """What importing the file would do.

    Raises:
        UserError: it is no set of descriptions.
    """
    if library_named(sent.file_name):
        texts = Library(sent.file_name).texts()
        return plan_import(studio.library(), ImportedSet(texts, (), ()))
    found = read_set(decoded(sent.content), _plain_name(sent.file_name))
    return plan_import(studio.library(), found)


def planned(plan: ImportPlan) -> Answer:
    """A plan as the page shows it."""
    return {
        "changes": [asdict(concept) for concept in plan.concepts],
        "refused": [asdict(refusal) for refusal in plan.refused],
        "notes": plan.notes,
    }


def applied(studio: Studio, asked: Apply) -> Answer:
    """Import the chosen concepts, unless one of their files changed since the plan was shown."""
    studio.refuse_if_read_only("import")
    plan = plan_of(studio, asked)
    chosen = tuple(_as_shown(c, asked) for c in plan.concepts if c.name in asked.chosen)
    written = apply_import(studio.folder, replace(plan, concepts=chosen))
    return {"imported": [concept.name for concept in written], "overview": overview(studio)}


def _as_shown(concept: PlannedConcept, asked: Apply) -> PlannedConcept:
    return replace(concept, opened=asked.chosen[concept.name])


def _plain_name(file_name: str) -> str:
    """The file's own name without folders, for messages and its suffix."""
    plain = _UNSAFE.sub("_", file_name.replace("\\", "/").rsplit("/", 1)[-1]).strip(". ")
    return plain[-80:] or "set"
