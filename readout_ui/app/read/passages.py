"""Passages: a large file in, for every concept the places at which it is strongest out."""

from __future__ import annotations

from functools import partial
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import gradio as gr

from readout_ui.app.events import (
    AWAY,
    LATEST,
    Changes,
    Part,
    Values,
    bound,
    components,
    seen_if,
)
from readout_ui.app.follow import Follower, Task, draw_failure
from readout_ui.app.jobs import JobState, JobView
from readout_ui.app.session import Studio
from readout_ui.app.widgets import KINDS, NO_RUN, draw_notice, layer_list, save_button
from readout_ui.errors import UserError
from readout_ui.files import size_text
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
    from readout_ui.inference.search import Search

NO_FILE = UserError("there is no file yet", fix="drop a .txt or .jsonl")
EVERY = "All concepts"
AMOUNTS = {"Everything": 0, "About 100,000 tokens": 100_000, "About 10,000 tokens": 10_000}
INTRO = (
    "Where in a large file is each concept strongest? Plain text (a blank line ends a text; "
    "without any, each line is one) or JSON lines, up to 100 MB."
)


class Inputs(Part):
    """What is searched, and how."""

    def __init__(self, run: Run | None) -> None:
        with gr.Row(elem_id="snip-inputs"):
            self.file = gr.File(
                label="Text or JSON lines",
                file_types=[*TEXT_SUFFIXES, *JSON_SUFFIXES],
                height=150,
                scale=2,
                min_width=280,
                elem_id="snip-file",
            )
            with gr.Column(scale=3, min_width=300):
                self._build_choices(run)
        self.about = gr.HTML(elem_id="snip-file-about", padding=False)  # what was dropped
        self.how = {self.layer, self.kind, self.width, self.amount, self.n_kept}
        events = [self.file.upload, self.file.clear]
        gr.on(events, bound(self.show_file), self.file, [self.about, self.field], **LATEST)

    def _build_choices(self, run: Run | None) -> None:
        with gr.Row():
            self.layer = gr.Dropdown(
                **layer_list(run), label="Layer", elem_id="snip-layer", min_width=130
            )
            self.amount = gr.Dropdown(
                list(AMOUNTS.items()),
                value=100_000,
                label="Read",
                info="A part is spread evenly over the file.",
                elem_id="snip-amount",
                min_width=230,
            )
            self.field = gr.Dropdown(
                [], label="Text field", elem_classes=AWAY, elem_id="snip-field", min_width=130
            )
        with gr.Row():
            units = [(name, unit) for name, unit in KINDS.items() if unit != "raw"]
            self.kind = gr.Radio(units, value="z", label="Rank by", min_width=180)
            widths = [("1 token", 1), *((f"{n}-token mean", n) for n in WIDTHS[1:])]
            self.width = gr.Dropdown(widths, value=5, label="Strength", min_width=190)
            self.n_kept = gr.Dropdown(
                [10, 25, 50, 100], value=25, label="Per concept", min_width=110
            )

    def show_file(self, path: str | None) -> Changes:
        """What was dropped in a line, and which of its fields hold text."""
        nothing = gr.Dropdown(elem_classes=AWAY, choices=[], value=None)
        if not path:
            return {self.about: "", self.field: nothing}
        file, chosen = Path(path), ""
        fields: tuple[str, ...] = ()
        try:
            if file.suffix.lower() in JSON_SUFFIXES:
                fields = text_fields(file)
                chosen = guess_field(fields)
            texts = open_texts(file, chosen or (fields[0] if fields else ""))
        except UserError as error:
            return {self.about: draw_failure(str(error)), self.field: nothing}
        kind = "JSON lines" if fields else "every line a text" if texts.by_line else "plain text"
        size = size_text(texts.n_bytes)
        line = f"<p class='snip-file'><b>{escape(texts.name)}</b> {size}, {kind}</p>"
        field = gr.Dropdown(
            elem_classes=seen_if(bool(fields)), choices=list(fields), value=chosen or None
        )
        return {self.about: line, self.field: field}

    def search(self, studio: Studio, values: Values) -> Search:
        """What is on screen, checked before the device is asked for.

        Raises:
            UserError: no vectors, no file, or one that cannot be read.
        """
        from readout_ui.inference.search import Search

        studio.run()
        if not values[self.file]:
            raise NO_FILE
        if values[self.layer] is None:
            raise UserError("no layer is chosen", fix="choose one")
        settings = SnippetSettings(
            layer=int(values[self.layer]),
            kind=values[self.kind],
            width=int(values[self.width]),
            n_kept=int(values[self.n_kept]),
            max_tokens=int(values[self.amount]),
        )
        return Search(open_texts(Path(values[self.file]), values[self.field] or ""), settings)


class Results(Part):
    """Everything below the buttons."""

    def __init__(self) -> None:
        self.found = gr.State(None)
        with gr.Column(elem_classes=AWAY, elem_id="snip-results") as self.box:
            self.about = gr.HTML(elem_id="snip-about", padding=False)
            with gr.Row(elem_id="snip-filter"):
                self.concept = gr.Dropdown(
                    [EVERY], value=EVERY, label="Concept", elem_id="snip-concept"
                )
                self.wanted = gr.Textbox(
                    label="Holds the words", placeholder="any text", elem_id="snip-wanted"
                )
                saves = {
                    form: gr.Button(
                        f"Save {form.upper()}",
                        size="sm",
                        elem_id=f"snip-{form}",
                        scale=0,
                        min_width=110,
                    )
                    for form in ("jsonl", "csv")
                }
            self.shown = gr.HTML(elem_id="snip-list", padding=False)
        for form, button in saves.items():
            text, kind = bound(self.save, form), "text/plain;charset=utf-8"
            save_button(button, text, {self.found}, f"snippets.{form}", kind)
        gr.on(
            [self.concept.input, self.wanted.change],
            bound(self.filter),
            {self.found, self.concept, self.wanted},
            self.shown,
            concurrency_limit=None,
            **LATEST,
        )

    def filter(self, values: Values) -> Changes:
        """Only the snippets that the filters let through."""
        found: Snippets | None = values[self.found]
        if found is None:
            return {}
        return {self.shown: draw_results(found, values[self.concept], values[self.wanted])}

    def show(self, found: Snippets) -> Changes:
        """All snippets, unfiltered."""
        return {
            self.found: found,
            self.box: gr.Column(elem_classes=seen_if(True)),
            self.about: draw_found(found),
            self.concept: gr.Dropdown(choices=[EVERY, *found.by_concept], value=EVERY),
            self.wanted: "",
            self.shown: draw_results(found, EVERY, ""),
        }

    def save(self, form: str, values: Values) -> str:
        """All snippets as "jsonl" or "csv", whatever the filters say."""
        found: Snippets | None = values[self.found]
        if found is None:
            raise UserError("there is nothing to download yet", fix="press Find passages")
        return snippets_jsonl(found) if form == "jsonl" else snippets_csv(found)


class Passages(Part):
    """The tab: a file, how it is searched, and what was found."""

    def __init__(self, studio: Studio) -> None:
        self.studio, run = studio, studio.runs.current()
        gr.Markdown(INTRO)
        self.notice = gr.HTML(draw_notice(None if run else NO_RUN), elem_id="snip-notice")
        self.inputs = Inputs(run)
        with gr.Row(elem_id="snip-go"):
            find = gr.Button(
                "Find passages", variant="primary", elem_id="snip-find", scale=0, min_width=160
            )
            stop = gr.Button("Stop", elem_id="snip-stop", elem_classes=AWAY, scale=0, min_width=100)
            self.progress = gr.HTML(elem_id="snip-progress", padding=False, min_width=220)
        self.results = Results()
        follower = Follower(studio.worker, self.progress, stop, [find])
        asked = {self.inputs.file, self.inputs.field, *self.inputs.how}
        follower.wire(find, self.find, asked, components(self.results))
        follower.wire_cancel()

    def refresh(self) -> Changes:
        """New layers after a run was made or chosen; results stay."""
        run = self.studio.runs.current()
        return {
            self.inputs.layer: gr.Dropdown(**layer_list(run)),
            self.notice: draw_notice(None if run else NO_RUN),
        }

    def find(self, values: Values) -> Task:
        """Search what is on screen; a search that is stopped shows what it has found."""
        search = self.inputs.search(self.studio, values)
        job = self.studio.on_device("snippets", "Finding passages", search.run)

        def end(view: JobView) -> Changes:
            note, found = ending(view, search)
            return {self.progress: note, **(self.results.show(found) if found else {})}

        return Task(job, self.results.show, words=partial(_counts, search), end=end)


def draw_results(found: Snippets, concept: str, wanted: str) -> str:
    """The snippets of a concept, or of all, that hold the words."""
    return draw_snippets(found, "" if concept == EVERY else concept, wanted.strip())


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


def _counts(search: Search) -> str:
    if not search.n_tokens:
        return ""
    return (
        f"<p class='snip-note'>{search.n_texts:,} texts, {search.n_tokens:,} tokens read so far</p>"
    )
