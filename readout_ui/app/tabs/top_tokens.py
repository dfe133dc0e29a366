"""The Snippets tab: a large file in, for every concept the places at which it is strongest out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from readout_ui.app.assets import saving
from readout_ui.app.events import HIDDEN, PRIVATE, QUIET, guarded, seen_if
from readout_ui.app.follow import SessionJobs, draw_failure, draw_job, follow
from readout_ui.app.jobs import JobState, JobView
from readout_ui.app.session import Studio
from readout_ui.app.widgets import draw_notice, layer_list
from readout_ui.errors import UserError
from readout_ui.inference.top_tokens import (
    WIDTHS,
    Snippets,
    SnippetSettings,
    snippets_csv,
    snippets_jsonl,
)
from readout_ui.plots.tokens import draw_found, draw_snippets
from readout_ui.runs.run import Run
from readout_ui.texts.streams import (
    JSON_SUFFIXES,
    TEXT_SUFFIXES,
    guess_field,
    open_texts,
    text_fields,
)

if TYPE_CHECKING:
    from readout_ui.inference.readout import Readout
    from readout_ui.inference.search import Search

NO_RUN = UserError("there are no vectors to search with yet", fix="press Train first")
NO_FILE = UserError("there is no file yet", fix="drop a .txt or .jsonl")
EVERY = "All concepts"
AMOUNTS = {"Everything": 0, "About 100,000 tokens": 100_000, "About 10,000 tokens": 10_000}
INTRO = (
    "Where in a large file is each concept strongest? Plain text (blank lines, or else lines, "
    "separate texts) or JSON lines, up to 100 MB."
)
FOLLOWING: dict[str, Any] = {
    **PRIVATE,
    "show_progress": "hidden",
    "concurrency_id": "snippets",
    "concurrency_limit": 16,
}
"""For the event that only looks at a job; the device itself runs one at a time."""


@dataclass(frozen=True)
class SnippetsTab:
    """Components of the Snippets tab that others listen to."""

    layer: gr.Dropdown
    """Which of the run's layers is read."""
    notice: gr.HTML
    """What to do first; empty when there are vectors."""

    @property
    def refreshed(self) -> list[Any]:
        """The outputs of `refresh_snippets`."""
        return [self.layer, self.notice]


@dataclass(frozen=True)
class _Inputs:
    """What is searched, and how."""

    file: gr.File
    field: gr.Dropdown
    layer: gr.Dropdown
    kind: gr.Radio
    width: gr.Dropdown
    amount: gr.Dropdown
    n_kept: gr.Dropdown

    def all(self) -> list[Any]:
        """In the order `wish` takes them."""
        return [
            *(self.file, self.field, self.layer, self.kind),
            *(self.width, self.amount, self.n_kept),
        ]


@dataclass(frozen=True)
class _Results:
    """Everything below the buttons."""

    box: gr.Column
    about: gr.HTML
    concept: gr.Dropdown
    wanted: gr.Textbox
    list: gr.HTML
    found: gr.State


def build_snippets_tab(studio: Studio) -> SnippetsTab:
    """Lay out the tab and wire its own events."""
    run = studio.runs.current()
    gr.Markdown(INTRO)
    notice = gr.HTML(draw_notice(None if run else NO_RUN), elem_id="snip-notice")
    inputs = _build_inputs(run)
    about = gr.HTML(elem_id="snip-file-about", padding=False)
    with gr.Row(elem_id="snip-go"):
        find = gr.Button(
            "Find snippets", variant="primary", elem_id="snip-find", scale=0, min_width=160
        )
        stop = gr.Button("Stop", elem_id="snip-stop", visible=HIDDEN, scale=0, min_width=100)
        progress = gr.HTML(elem_id="snip-progress", padding=False, min_width=220)
    results = _build_results()
    _wire_file(inputs, about)
    _wire_search(studio, inputs, (find, stop, progress), results)
    return SnippetsTab(inputs.layer, notice)


def refresh_snippets(studio: Studio) -> tuple[Any, ...]:
    """New values for `SnippetsTab.refreshed` after a run was made or chosen; results stay."""
    run = studio.runs.current()
    return gr.Dropdown(**layer_list(run)), draw_notice(None if run else NO_RUN)


def show_file(path: str | None) -> tuple[Any, ...]:
    """What was dropped in a line, and which of its fields hold text."""
    if not path:
        return "", gr.Dropdown(visible=HIDDEN, choices=[], value=None)
    file, chosen = Path(path), ""
    fields: tuple[str, ...] = ()
    try:
        if file.suffix.lower() in JSON_SUFFIXES:
            fields = text_fields(file)
            chosen = guess_field(fields)
        texts = open_texts(file, chosen or (fields[0] if fields else ""))
    except UserError as error:
        return draw_failure(str(error)), gr.Dropdown(visible=HIDDEN, choices=[], value=None)
    kind = "JSON lines" if fields else "every line a text" if texts.by_line else "plain text"
    line = f"<p class='snip-file'><b>{escape(texts.name)}</b> {_size(texts.n_bytes)}, {kind}</p>"
    return line, gr.Dropdown(
        visible=seen_if(bool(fields)), choices=list(fields), value=chosen or None
    )


def wish(studio: Studio, *values: Any) -> Search:
    """What is on screen, checked before the device is asked for.

    Raises:
        UserError: no vectors, no file, or one that cannot be read.
    """
    from readout_ui.inference.search import Search

    path, field, layer, kind, width, amount, n_kept = values
    if studio.runs.current() is None:
        raise NO_RUN
    if not path:
        raise NO_FILE
    if layer is None:
        raise UserError("no layer is chosen", fix="choose one")
    settings = SnippetSettings(
        layer=int(layer), kind=kind, width=int(width), n_kept=int(n_kept), max_tokens=int(amount)
    )
    file = Path(path)
    return Search(open_texts(file, field or ""), settings)


def search_on_device(search: Search, used: Readout) -> Snippets:
    """The search, on the device's thread."""
    return search.run(used)


def draw_results(found: Snippets | None, concept: str, wanted: str) -> str:
    """The snippets that the filters let through."""
    if found is None:
        return ""
    return draw_snippets(found, "" if concept == EVERY else concept, wanted.strip())


def draw_file(found: Snippets | None, form: str) -> str:
    """All snippets as "jsonl" or "csv", whatever the filters say."""
    if found is None:
        raise UserError("there is nothing to download yet", fix="press Find snippets")
    return snippets_jsonl(found) if form == "jsonl" else snippets_csv(found)


def _build_inputs(run: Run | None) -> _Inputs:
    with gr.Row(elem_id="snip-inputs"):
        file = gr.File(
            label="Text or JSON lines",
            file_types=[*TEXT_SUFFIXES, *JSON_SUFFIXES],
            height=150,
            scale=2,
            min_width=280,
            elem_id="snip-file",
        )
        with gr.Column(scale=3, min_width=300):
            with gr.Row():
                layer = gr.Dropdown(
                    **layer_list(run), label="Layer", elem_id="snip-layer", min_width=130
                )
                amount = gr.Dropdown(
                    list(AMOUNTS.items()),
                    value=100_000,
                    label="Read",
                    info="A part is spread evenly over the file.",
                    elem_id="snip-amount",
                    min_width=230,
                )
                field = gr.Dropdown(
                    [], label="Text field", visible=HIDDEN, elem_id="snip-field", min_width=130
                )
            with gr.Row():
                kind = gr.Radio(
                    [("z-score", "z"), ("Cosine", "cosine")],
                    value="z",
                    label="Rank by",
                    min_width=180,
                )
                width = gr.Dropdown(
                    [("1 token", 1), *((f"{n}-token mean", n) for n in WIDTHS[1:])],
                    value=5,
                    label="Strength",
                    min_width=190,
                )
                n_kept = gr.Dropdown(
                    [10, 25, 50, 100], value=25, label="Per concept", min_width=110
                )
    return _Inputs(file, field, layer, kind, width, amount, n_kept)


def _build_results() -> _Results:
    found = gr.State(None)
    with gr.Column(visible=HIDDEN, elem_id="snip-results") as box:
        about = gr.HTML(elem_id="snip-about", padding=False)
        with gr.Row(elem_id="snip-filter"):
            concept = gr.Dropdown([EVERY], value=EVERY, label="Concept", elem_id="snip-concept")
            wanted = gr.Textbox(
                label="Holds the words", placeholder="any text", elem_id="snip-wanted"
            )
            jsonl = gr.Button("Save JSONL", size="sm", elem_id="snip-jsonl", scale=0, min_width=110)
            csv = gr.Button("Save CSV", size="sm", elem_id="snip-csv", scale=0, min_width=110)
        shown = gr.HTML(elem_id="snip-list", padding=False)
    text = gr.Textbox(visible=False)
    for button, form in ((jsonl, "jsonl"), (csv, "csv")):
        button.click(guarded(partial(draw_file, form=form)), found, text, **PRIVATE).success(
            None,
            text,
            js=saving(f"snippets.{form}", "text/plain;charset=utf-8"),
            **PRIVATE,
        )
    gr.on(
        [concept.input, wanted.change],
        guarded(draw_results),
        [found, concept, wanted],
        shown,
        trigger_mode="always_last",
        concurrency_limit=None,
        **QUIET,
    )
    return _Results(box, about, concept, wanted, shown, found)


def _wire_file(inputs: _Inputs, about: gr.HTML) -> None:
    gr.on(
        [inputs.file.upload, inputs.file.clear],
        guarded(show_file),
        inputs.file,
        [about, inputs.field],
        **QUIET,
    )


def _wire_search(studio: Studio, inputs: _Inputs, go: tuple[Any, ...], results: _Results) -> None:
    jobs = SessionJobs()
    find, stop, progress = go

    def search(request: gr.Request, *values: Any) -> Iterator[tuple[Any, ...]]:
        nothing = (gr.skip(),) * 6
        try:
            wished = wish(studio, *values)
            job = studio.on_device(
                "snippets", "Finding snippets", partial(search_on_device, wished)
            )
        except UserError as error:
            yield draw_failure(str(error)), gr.skip(), gr.skip(), *nothing
            return
        before = ""
        for view in follow(jobs, str(request.session_hash), job):
            if view.state.finished:
                end, found = ending(view, wished)
                shown = show_found(found) if found else nothing
                yield end, gr.Button(interactive=True), gr.Button(visible=HIDDEN), *shown
                return
            now = draw_job(view, studio.worker) + _counts(wished)
            buttons = (
                (gr.skip(),) * 2
                if before
                else (gr.Button(interactive=False), gr.Button(visible=True))
            )
            yield (gr.skip() if now == before else now), *buttons, *nothing
            before = now

    def cancel(request: gr.Request) -> None:
        jobs.cancel(str(request.session_hash))

    outputs = [
        *(progress, find, stop, results.found, results.box),
        *(results.about, results.concept, results.wanted, results.list),
    ]
    find.click(search, inputs.all(), outputs, **FOLLOWING)
    stop.click(cancel, **QUIET)


def ending(view: JobView, search: Search) -> tuple[str, Snippets | None]:
    """How the job ended, and what it found; a stopped one found something as well."""
    if view.state is JobState.FAILED:
        return draw_failure(view.error), None
    try:
        found = search.result()
    except UserError:
        return "<p class='snip-note'><b>Stopped</b> before anything was read.</p>", None
    if view.state is JobState.CANCELLED:
        note = f"<b>Stopped.</b> Shown is what {found.share:.0%} of the file gave."
        return f"<p class='snip-note'>{note}</p>", found
    return "", found


def show_found(found: Snippets) -> tuple[Any, ...]:
    """State, column, about, concepts, words, and the list."""
    return (
        found,
        gr.Column(visible=True),
        draw_found(found),
        gr.Dropdown(choices=[EVERY, *found.by_concept], value=EVERY),
        "",
        draw_results(found, EVERY, ""),
    )


def _counts(search: Search) -> str:
    if not search.n_tokens:
        return ""
    return (
        f"<p class='snip-note'>{search.n_texts:,} texts, {search.n_tokens:,} tokens read so far</p>"
    )


def _size(n_bytes: int) -> str:
    return f"{n_bytes / 2**20:.1f} MB" if n_bytes >= 2**20 else f"{max(1, n_bytes >> 10)} kB"
