"""New texts in Judge: do the vectors hold on texts of other writers, and without the word."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr

from readout_ui.app.events import (
    AWAY,
    DEVICE,
    LATEST,
    Changes,
    Part,
    Values,
    bound,
    components,
    guarded,
    seen_if,
)
from readout_ui.app.judge.generalization_run import (
    MAPPING_TITLES,
    SHIPPED_CHOICES,
    SOURCES,
    Brought,
    Request,
    bring,
    draw_brought,
    judge_dose,
    judge_request,
    judge_words,
    mapping_help,
    mapping_rows,
)
from readout_ui.app.judge.judged import (
    draw_concepts,
    draw_dose_table,
    draw_forest,
    draw_misses,
    draw_summary,
    draw_words,
)
from readout_ui.app.judge.kept import KeptTexts, keep_texts, read_kept
from readout_ui.app.session import Studio
from readout_ui.app.widgets import (
    NO_RUN,
    build_judged,
    build_plot,
    layer_list,
    plot_data,
    sentence,
)
from readout_ui.errors import UserError
from readout_ui.evaluation.dose import EXAMPLE_TEXT, EXAMPLE_VALUES
from readout_ui.evaluation.judgements import Generalization
from readout_ui.plots.new_texts import draw_dose, draw_violins
from readout_ui.runs.run import Run
from readout_ui.texts.shipped import SHIPPED, fitting_library, library_named


class Found(Part):
    """Where the tab shows what was judged."""

    def __init__(self, error: UserError) -> None:
        self.state = gr.State(None)  # what was judged last; the violins are drawn anew from it
        self.judged = build_judged("generalization", error)
        with self.judged.results:
            self.before = gr.Dropdown(
                [], label="Judged so far", elem_id="generalization-before", interactive=True
            )
            self.summary = gr.HTML(elem_id="generalization-summary")
            gr.Markdown("### AUROC of each concept")
            self.forest = gr.HTML(elem_id="generalization-forest")
            with gr.Accordion("All numbers", open=False):
                self.table = gr.HTML(elem_id="generalization-table")
            gr.Markdown("### Ten worst misses")
            self.misses = gr.HTML(elem_id="generalization-misses")
            gr.Markdown("### Scores")
            self.no_scores = gr.HTML(elem_id="generalization-no-scores")
            self.violin_choice = gr.Dropdown(
                [],
                multiselect=True,
                label="Concepts (empty: the twelve with the lowest AUROC)",
                elem_id="generalization-violin-choice",
            )
            self.violins = build_plot("generalization-violins")
            with gr.Accordion("Is it the word or the meaning?", open=False):
                gr.Markdown(
                    "Masks each concept's own word and its inflections in the texts above, and "
                    "scores sentences that use the word in another sense."
                )
                self.check_words = gr.Button("Check words", elem_id="generalization-check-words")
                self.words = gr.HTML(elem_id="generalization-words")
        asked: set[Any] = {self.state, self.violin_choice}
        self.violin_choice.input(bound(self.redraw_violins), asked, self.violins, **LATEST)

    def show(self, kept: KeptTexts, every: Sequence[KeptTexts], title: str) -> Changes:
        """One judgement as it is kept, without the scores of single texts.

        Args:
            kept: which.
            every: all of the run.
            title: what the run is called.
        """
        names = [each.name() for each in every]
        drawn = {
            self.state: None,
            self.before: gr.update(
                choices=names, value=kept.name(), elem_classes=seen_if(len(names) > 1)
            ),
            self.no_scores: sentence(NO_SCORES, "about"),
            self.violin_choice: gr.Dropdown(elem_classes=AWAY),
            self.violins: None,
            self.words: "",
            self.summary: draw_summary(kept, title),
            self.forest: draw_forest(kept.macro, kept.per_concept),
            self.table: draw_concepts(kept.per_concept),
            self.misses: draw_misses(kept.misses),
        }
        return self.judged.found(drawn)

    def show_scores(self, found: Generalization) -> Changes:
        """The scores of single texts, which only a judgement of this session has."""
        choice = gr.Dropdown(choices=list(found.concepts), value=[], elem_classes=seen_if(True))
        return {
            self.state: found,
            self.no_scores: "",
            self.violin_choice: choice,
            self.violins: plot_data(draw_violins(found)),
        }

    def redraw_violins(self, values: Values) -> Changes:
        """The violins of other concepts."""
        found: Generalization | None = values[self.state]
        if found is None:
            return {}
        return {self.violins: plot_data(draw_violins(found, values[self.violin_choice]))}


def build_dose(studio: Studio, layer: gr.Dropdown) -> None:
    """The dose, laid out and wired; it needs nothing else on the page but the layer."""
    with gr.Accordion("Dose: one text, many values", open=False):
        with gr.Row():
            template = gr.Textbox(
                EXAMPLE_TEXT, label="Text with {x}", scale=3, elem_id="generalization-dose-text"
            )
            values = gr.Textbox(
                EXAMPLE_VALUES, label="Values", scale=2, elem_id="generalization-dose-values"
            )
        button = gr.Button("Draw curves", elem_id="generalization-dose")
        curves = build_plot("generalization-curves")
        table = gr.HTML(elem_id="generalization-dose-table")

    def show(filled: Values) -> Changes:
        found = judge_dose(studio, filled[template], filled[values], filled[layer])
        return {curves: plot_data(draw_dose(found)), table: draw_dose_table(found)}

    button.click(
        guarded(show), {template, values, layer}, [curves, table], **DEVICE, show_progress_on=button
    )


INTRO = (
    "Do the vectors find their concepts in texts of other writers? The shipped test set was "
    "written from the concept names alone; no training ever sees it."
)
NOT_YET = UserError("nothing judged yet", fix="choose texts, then press Judge")
NO_SCORES = "The scores of single texts are not kept: press Judge, and they are drawn."


class GeneralizationTab(Part):
    """The tab: texts by other writers, and how the vectors read them."""

    def __init__(self, studio: Studio) -> None:
        self.studio, run = studio, studio.runs.current()
        gr.Markdown(INTRO)
        self.inputs = Inputs(studio, run)
        judge = gr.Button("Judge", variant="primary", elem_id="generalization-judge")
        self.found = Found(NOT_YET if run else NO_RUN)
        self.shown = gr.State("")  # run and judgement that the page shows
        build_dose(studio, self.inputs.layer)
        outputs = components(self.found, self.shown)
        for button, show in ((judge, self.judge), (self.found.check_words, self.check_words)):
            manner = {**DEVICE, "show_progress_on": button}
            button.click(bound(show), self.inputs.asked, outputs, **manner)
        self.found.before.input(bound(self.show_before), self.found.before, outputs, **LATEST)

    def refresh(self, shown: str) -> Changes:
        """What changes after a run was made or chosen, and when the tab is opened."""
        run = self.studio.runs.current()
        found = self.found.judged.missing(NOT_YET if run else NO_RUN)
        now = run.id if run else ""
        try:
            if every := read_kept(self.studio).texts:
                now = f"{now} {every[0].made}"
                found = {} if now == shown else self.found.show(every[0], every, self._title())
        except UserError as error:
            found = self.found.judged.missing(error)
        if now == shown:
            return {}
        help_text = mapping_help(run.concepts if run else ("a concept",))
        return {
            self.shown: now,
            self.inputs.layer: gr.update(**layer_list(run)),
            self.inputs.mapping: gr.update(label=help_text),
            **found,
        }

    def judge(self, values: Values) -> Changes:
        """Judge what is on screen, keep it with the run and draw everything."""
        request, run = self.inputs.request(values), self.studio.run()
        found = judge_request(self.studio, request)
        kept = KeptTexts.of(found, request.brought.name())
        keep_texts(self.studio, run.id, kept)
        every = read_kept(self.studio).texts or (kept,)
        drawn = {**self.found.show(kept, every, self._title()), **self.found.show_scores(found)}
        return {**drawn, self.shown: f"{run.id} {kept.made}"}

    def show_before(self, name: str) -> Changes:
        """A judgement that is kept, by its name."""
        every = read_kept(self.studio).texts
        chosen = next((each for each in every if each.name() == name), None)
        if chosen is None:
            raise UserError("this judgement is not kept any more", fix="choose another")
        return self.found.show(chosen, every, self._title())

    def check_words(self, values: Values) -> Changes:
        """What masking the words does to what is on screen."""
        found = judge_words(self.studio, self.inputs.request(values))
        return {self.found.words: draw_words(found)}

    def _title(self) -> str:
        return self.studio.runs.title(self.studio.run())


PASTE_HINT = "calm: The lake lay still and so did I.\nafraid: Someone is behind the door."


class Inputs(Part):
    """What is judged and how; columns show as soon as texts come."""

    def __init__(self, studio: Studio, run: Run | None) -> None:
        self.studio = studio
        library = fitting_library(run.concepts if run else ())
        self.brought = gr.State(Brought("shipped", library=library))
        self._build_sources(library)
        self.about = gr.HTML(elem_id="generalization-brought")
        hidden = gr.Group(elem_classes=AWAY, elem_id="generalization-columns")
        with hidden as self.columns:  # columns and mapping, not for the shipped set
            self._build_columns(run)
        with gr.Row():
            self.layer = gr.Dropdown(
                **layer_list(run), label="Layer", elem_id="generalization-layer", min_width=160
            )
            self.recall = gr.Slider(
                0.5,
                1,
                value=0.8,
                step=0.05,
                label="Own texts to be found",
                info="Sets each concept's threshold; false positives on neutral texts follow.",
            )
            self.threshold = gr.Textbox(
                label="Or one threshold for all", info="A cosine; empty for the share beside it."
            )
        self.sources = {"shipped": self.parts, "paste": self.pasted, "files": self.files}
        how = {self.layer, self.recall, self.threshold}
        self.asked: set[Any] = {self.brought, self.text, self.labels, self.mapping, *how}
        self._wire()

    def _build_sources(self, library: str) -> None:
        with gr.Row():
            self.source = gr.Radio(
                list(SOURCES.items()),
                value=f"{SHIPPED}{library}",
                label="Texts",
                elem_id="generalization-source",
            )
            self.parts = gr.CheckboxGroup(
                list(SHIPPED_CHOICES.items()),
                value=list(SHIPPED_CHOICES.values()),
                label="Parts",
                info="Neutral texts are always read along.",
            )
        self.pasted = gr.Textbox(
            label="Texts with labels",
            lines=6,
            max_lines=14,
            placeholder=PASTE_HINT,
            info="Lines label: text, CSV, JSON or JSON lines.",
            elem_classes=AWAY,
            elem_id="generalization-paste",
        )
        self.files = gr.File(
            label="CSV, TSV, JSONL, JSON, or several {concept}.txt",
            file_count="multiple",
            file_types=[".csv", ".tsv", ".jsonl", ".json", ".txt"],
            elem_classes=AWAY,
            elem_id="generalization-files",
        )

    def _build_columns(self, run: Run | None) -> None:
        with gr.Row():
            self.text = gr.Dropdown(
                [], label="Column with the texts", elem_id="generalization-text"
            )
            self.labels = gr.Dropdown(
                [],
                label="Columns with labels",
                multiselect=True,
                info="a|b in a cell is two labels.",
                elem_id="generalization-labels",
            )
        self.mapping = gr.Dataframe(
            headers=MAPPING_TITLES,
            datatype="str",
            type="array",
            interactive=True,
            static_columns=[0, 1, 3],
            column_count=4,
            max_height=320,
            label=mapping_help(run.concepts if run else ("a concept",)),
            elem_id="generalization-mapping",
        )

    def _wire(self) -> None:
        """Whatever is chosen, pasted or uploaded shows its columns and suggestions at once."""
        source, files, parts = self.source, self.files, [*self.sources.values()]
        source.input(bound(self.show_source), source, parts, **LATEST)
        changed = [source.input, self.parts.input, self.pasted.change, files.upload, files.clear]
        asked = {self.brought, source, *parts}
        gr.on(changed, bound(self.show_brought), asked, components(self), **LATEST)
        chosen: set[Any] = {self.brought, self.text, self.labels}
        columns = [self.text.input, self.labels.input]
        gr.on(columns, bound(self.show_mapping), chosen, self.mapping, **LATEST)

    def show_source(self, chosen: str) -> Changes:
        """Only the chosen source is on the page."""
        kind = "shipped" if library_named(chosen) else chosen
        return {box: gr.update(elem_classes=seen_if(n == kind)) for n, box in self.sources.items()}

    def show_brought(self, values: Values) -> Changes:
        """Columns and suggested mapping of what was brought; none where the guesses do not fit."""
        parts, pasted, files = (values[box] for box in self.sources.values())
        brought = bring(values[self.source], parts, pasted, files)
        if brought == values[self.brought]:  # looked at twice: what was chosen meanwhile counts
            return {}
        columns, text, labels = brought.columns()
        changes: Changes = {
            self.brought: brought,
            self.about: draw_brought(brought),
            self.columns: gr.update(elem_classes=seen_if(brought.table is not None)),
            self.text: gr.update(choices=list(columns), value=text),
            self.labels: gr.update(choices=list(columns), value=list(labels)),
        }
        if brought.table is not None:
            now = {self.brought: brought, self.text: text, self.labels: labels}
            try:
                changes |= self.show_mapping(now)
            except UserError:
                changes[self.mapping] = []
        return changes

    def show_mapping(self, values: Values) -> Changes:
        """Suggestions for the labels of the chosen columns."""
        run = self.studio.runs.current()
        texts = values[self.brought].texts(values[self.text], values[self.labels])
        return {self.mapping: mapping_rows(texts, run.concepts if run else ())}

    def request(self, values: Values) -> Request:
        """What is on screen, to be judged."""
        columns = (self.brought, self.text, self.labels, self.mapping)
        how = (self.layer, self.recall, self.threshold)
        return Request(*(values[each] for each in (*columns, *how)))
