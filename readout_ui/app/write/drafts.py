"""Drafts on the Concepts page: a model writes them, a person keeps some."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from pydantic import Field

from readout_ui.app.jobs import JobState
from readout_ui.app.requests import Answer, Call, Named, Nothing, answering
from readout_ui.app.session import Studio
from readout_ui.app.write.calls import overview
from readout_ui.errors import UserError
from readout_ui.texts.drafts import MOST_DRAFTS, DraftRequest, keep_drafts


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
