"""The Snippets tab: a large file in, for every concept the places at which it is strongest out."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from readout_ui.app.assets import saving
from readout_ui.app.events import (
    HIDDEN,
    PRIVATE,
    QUIET,
    Changes,
    Values,
    bound,
    components,
    guarded,
    seen_if,
)
from readout_ui.app.follow import Follower, Task, draw_failure
from readout_ui.app.jobs import JobState, JobView
from readout_ui.app.session import Studio
from readout_ui.app.widgets import NO_RUN, draw_notice, layer_list
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

NO_FILE = UserError("there is no file yet", fix="drop a .txt or .jsonl")
EVERY = "All concepts"
AMOUNTS = {"Everything": 0, "About 100,000 tokens": 100_000, "About 10,000 tokens": 10_000}
INTRO = (
    "Where in a large file is each concept strongest? Plain text (blank lines, or else lines, "
    "separate texts) or JSON lines, up to 100 MB."
)


@dataclass(frozen=True)
class Inputs:
    """What is searched, and how."""

    file: gr.File
    field: gr.Dropdown
    layer: gr.Dropdown
    kind: gr.Radio
    width: gr.Dropdown
    amount: gr.Dropdown
    n_kept: gr.Dropdown
    about: gr.HTML
    """What was dropped, in a line."""

    @property
    def asked(self) -> set[Any]:
        """What `search_from` takes."""
        how = {self.layer, self.kind, self.width, self.amount, self.n_kept}
        return {self.file, self.field, *how}


@dataclass(frozen=True)
class Results:
    """Everything below the buttons."""

    box: gr.Column
    about: gr.HTML
    concept: gr.Dropdown
    wanted: gr.Textbox
    shown: gr.HTML
    found: gr.State


@dataclass(frozen=True)
class SnippetsTab:
    """Components of the Snippets tab."""

    notice: gr.HTML
    """What to do first; empty when there are vectors."""
    inputs: Inputs
    results: Results


def build_snippets_tab(studio: Studio) -> SnippetsTab:
    """Lay out the tab and wire its own events."""
    run = studio.runs.current()
    gr.Markdown(INTRO)
    notice = gr.HTML(draw_notice(None if run else NO_RUN), elem_id="snip-notice")
    inputs = _build_inputs(run)
    with gr.Row(elem_id="snip-go"):
        find = gr.Button(
            "Find snippets", variant="primary", elem_id="snip-find", scale=0, min_width=160
        )
        stop = gr.Button("Stop", elem_id="snip-stop", visible=HIDDEN, scale=0, min_width=100)
        progress = gr.HTML(elem_id="snip-progress", padding=False, min_width=220)
    tab = SnippetsTab(notice, inputs, _build_results())
    events = [inputs.file.upload, inputs.file.clear]
    described = [inputs.about, inputs.field]
    gr.on(events, bound(show_file, inputs), inputs.file, described, **QUIET)
    follower = Follower(studio.worker, progress, stop, [find])
    search = partial(find_snippets, studio, tab, follower)
    follower.wire(find, search, inputs.asked, components(tab.results))
    follower.wire_cancel()
    return tab


def refresh_snippets(studio: Studio, tab: SnippetsTab) -> Changes:
    """New layers after a run was made or chosen; results stay."""
    run = studio.runs.current()
    return {
        tab.inputs.layer: gr.Dropdown(**layer_list(run)),
        tab.notice: draw_notice(None if run else NO_RUN),
    }


def show_file(inputs: Inputs, path: str | None) -> Changes:
    """What was dropped in a line, and which of its fields hold text."""
    nothing = gr.Dropdown(visible=HIDDEN, choices=[], value=None)
    if not path:
        return {inputs.about: "", inputs.field: nothing}
    file, chosen = Path(path), ""
    fields: tuple[str, ...] = ()
    try:
        if file.suffix.lower() in JSON_SUFFIXES:
            fields = text_fields(file)
            chosen = guess_field(fields)
        texts = open_texts(file, chosen or (fields[0] if fields else ""))
    except UserError as error:
        return {inputs.about: draw_failure(str(error)), inputs.field: nothing}
    kind = "JSON lines" if fields else "every line a text" if texts.by_line else "plain text"
    line = f"<p class='snip-file'><b>{escape(texts.name)}</b> {_size(texts.n_bytes)}, {kind}</p>"
    field = gr.Dropdown(visible=seen_if(bool(fields)), choices=list(fields), value=chosen or None)
    return {inputs.about: line, inputs.field: field}


def search_from(studio: Studio, inputs: Inputs, values: Values) -> Search:
    """What is on screen, checked before the device is asked for.

    Raises:
        UserError: no vectors, no file, or one that cannot be read.
    """
    from readout_ui.inference.search import Search

    studio.run()
    if not values[inputs.file]:
        raise NO_FILE
    if values[inputs.layer] is None:
        raise UserError("no layer is chosen", fix="choose one")
    settings = SnippetSettings(
        layer=int(values[inputs.layer]),
        kind=values[inputs.kind],
        width=int(values[inputs.width]),
        n_kept=int(values[inputs.n_kept]),
        max_tokens=int(values[inputs.amount]),
    )
    return Search(open_texts(Path(values[inputs.file]), values[inputs.field] or ""), settings)


def find_snippets(studio: Studio, tab: SnippetsTab, follower: Follower, values: Values) -> Task:
    """Search what is on screen; a search that is stopped shows what it has found."""
    search = search_from(studio, tab.inputs, values)
    job = studio.on_device("snippets", "Finding snippets", partial(search_on_device, search))

    def end(view: JobView) -> Changes:
        note, found = ending(view, search)
        return {follower.progress: note, **(show_found(tab.results, found) if found else {})}

    return Task(job, partial(show_found, tab.results), words=partial(_counts, search), end=end)


def search_on_device(search: Search, used: Readout) -> Snippets:
    """The search, on the device's thread."""
    return search.run(used)


def filter_snippets(results: Results, values: Values) -> Changes:
    """Only the snippets that the filters let through."""
    found: Snippets | None = values[results.found]
    if found is None:
        return {}
    return {results.shown: draw_results(found, values[results.concept], values[results.wanted])}


def draw_results(found: Snippets, concept: str, wanted: str) -> str:
    """The snippets of a concept, or of all, that hold the words."""
    return draw_snippets(found, "" if concept == EVERY else concept, wanted.strip())


def draw_file(found: Snippets | None, form: str) -> str:
    """All snippets as "jsonl" or "csv", whatever the filters say."""
    if found is None:
        raise UserError("there is nothing to download yet", fix="press Find snippets")
    return snippets_jsonl(found) if form == "jsonl" else snippets_csv(found)


def _build_inputs(run: Run | None) -> Inputs:
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
    about = gr.HTML(elem_id="snip-file-about", padding=False)
    return Inputs(file, field, layer, kind, width, amount, n_kept, about)


def _build_results() -> Results:
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
    results = Results(box, about, concept, wanted, shown, found)
    gr.on(
        [concept.input, wanted.change],
        bound(filter_snippets, results),
        {found, concept, wanted},
        shown,
        trigger_mode="always_last",
        concurrency_limit=None,
        **QUIET,
    )
    return results


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


def show_found(results: Results, found: Snippets) -> Changes:
    """All snippets, unfiltered."""
    return {
        results.found: found,
        results.box: gr.Column(visible=True),
        results.about: draw_found(found),
        results.concept: gr.Dropdown(choices=[EVERY, *found.by_concept], value=EVERY),
        results.wanted: "",
        results.shown: draw_results(found, EVERY, ""),
    }


def _counts(search: Search) -> str:
    if not search.n_tokens:
        return ""
    return (
        f"<p class='snip-note'>{search.n_texts:,} texts, {search.n_tokens:,} tokens read so far</p>"
    )


def _size(n_bytes: int) -> str:
    return f"{n_bytes / 2**20:.1f} MB" if n_bytes >= 2**20 else f"{max(1, n_bytes >> 10)} kB"
