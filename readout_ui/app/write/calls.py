"""The questions the room Write asks the server, each answered with JSON and never a traceback.

Every call names its concept, so any number of open pages may ask at once. Whatever a page sends is
checked here and in `texts.editing`; a mistake comes back as `{"ok": false, "message": sentence}`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING

from readout_ui.app.events import Answer, Call, Named, Nothing, R, answering
from readout_ui.app.jobs import JobState
from readout_ui.app.session import Studio
from readout_ui.app.write.requests import (
    Create,
    Members,
    Poll,
    Query,
    Rename,
    Save,
    Stored,
    Tagged,
    Texts,
    Tick,
    Trashed,
)
from readout_ui.app.write.scores import judged
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
from readout_ui.texts.library import Concept, Library
from readout_ui.texts.lint import check_concept
from readout_ui.texts.names import check_name, contrasted, is_neutral_name
from readout_ui.texts.reading import require_readable
from readout_ui.texts.tags import Tags, change_tags, read_tags
from readout_ui.texts.versions import TrashEntry, Version, list_trash

if TYPE_CHECKING:
    from readout_ui.evaluation.influence import Influence


def influences_of(studio: Studio, name: str) -> tuple[Influence, ...] | None:
    """What each of a concept's texts did to the run in use, at its best layer.

    None while it is being worked out in the background; empty where there is nothing to judge, or
    where a report says it or is about to.
    """
    run, told = studio.runs.current(), studio.report() is not None or studio.judging() is not None
    if run is None or run.source or told or not studio.status().model_ready:
        return ()
    job = studio.advise(run.best_layer, again=False)
    state = job.view().state
    if not state.finished:
        return None
    found = job.result().influences if state is JobState.DONE else ()
    return tuple(one for one in found if one.concept == name)


def influence_notes(studio: Studio, name: str, boxes: Sequence[str]) -> list[str] | None:
    """One line per box, mostly empty; a text that was edited since the training has none.

    None while it is still being worked out.
    """
    influences = influences_of(studio, name)
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
    error, said, report = "", read_tags(studio.folder), studio.report()
    try:
        library, states = studio.library(), studio.concept_states()
    except UserError as refusal:
        error = str(refusal)
    else:
        rows = [_row(concept, states, said) for concept in library.files]
        problems = [{"file": one.file, "message": one.message} for one in library.problems]
    view = {
        "folder": str(studio.folder),
        "read_only": studio.read_only,
        "rows": rows,
        "problems": problems,
        "error": error,
        "notice": said.problem,
        "report": report.run_id if report else "",
    }
    # Changes whenever anything in the list does.
    return {**view, "revision": sha256_of(repr(view).encode("utf-8", "backslashreplace"))}


def judging(studio: Studio) -> str:
    """How far the report on the run in use is, in words; empty where none is being made."""
    view = studio.judging()
    if view is None:
        return ""
    step = view.progress
    if step is None or not step.total:
        return "Judging the new vectors"
    return f"Judging the new vectors: {step.stage}, {step.done:,} of {step.total:,} {step.unit}"


def _row(concept: Concept, states: Mapping[str, str], said: Tags) -> Answer:
    fallback = "new" if concept.descriptions else "empty"
    return {
        "name": concept.name,
        "n_descriptions": len(concept.descriptions),
        "state": states.get(concept.name, fallback),
        "neutral": concept.is_neutral,
        "against": contrasted(concept.name),
        "fingerprint": concept.fingerprint,
        "tags": said.of(concept.name),
        "ticked": concept.name not in said.left_out,
    }


def found_in_texts(library: Library, query: str) -> dict[str, int]:
    """How many texts of each concept hold every word of a query, in any case."""
    words = query.casefold().split()
    counts = {
        concept.name: sum(
            all(word in text for word in words) for text in map(str.casefold, concept.descriptions)
        )
        for concept in library.files
    }
    return {name: n for name, n in counts.items() if n and words}


def concept_calls(studio: Studio) -> list[Call]:
    """The server functions of the list and the editor."""
    return [*_reading_calls(studio), *_writing_calls(studio)]


def _reading_calls(studio: Studio) -> list[Call]:
    def news(asked: Poll) -> Answer:
        """The list, or None for a page that has it."""
        now = overview(studio)
        new = None if now["revision"] == asked.revision else now
        return {"overview": new, "judging": judging(studio)}

    def opened(asked: Named) -> Answer:
        """A concept's texts, and what the report says about it."""
        concept = studio.library().concept(asked.name)
        return {**_opened(concept), **judged(studio.report(), asked.name)}

    return [
        answering("read_overview", Poll, news),
        answering("open_concept", Named, opened),
        answering(
            "find_texts", Query, lambda r: {"found": found_in_texts(studio.library(), r.query)}
        ),
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

    def saying(change: Callable[[Tags], Tags]) -> Answer:
        change_tags(studio.folder, change)
        return {}

    return [
        writing("save_texts", Save, "save", partial(_saved, studio)),
        writing(
            "tick",
            Tick,
            "choose what is trained",
            lambda r: saying(lambda said: said.with_ticks(r.names, ticked=r.ticked)),
        ),
        writing(
            "tag_concept",
            Tagged,
            "change tags",
            lambda r: saying(lambda said: said.with_tags(r.name, r.tags)),
        ),
        writing(
            "tag_members",
            Members,
            "change tags",
            lambda r: saying(lambda said: said.with_members(r.tag, r.names)),
        ),
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
