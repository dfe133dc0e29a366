"""The Generalization tab: do the vectors hold on texts by other hands, and without the word."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import gradio as gr
import plotly.graph_objects as go
from gradio.components.plot import PlotData

from readout_ui.dose import DoseCurves, parse_values
from readout_ui.errors import UserError
from readout_ui.evidence import Evidence
from readout_ui.judgements import Generalization, JudgeSettings
from readout_ui.labelled_texts import LabelledText
from readout_ui.runs import RunRecord
from readout_ui.studio import Studio
from readout_ui.tabs.events import DEVICE, QUIET, guarded
from readout_ui.tabs.generalization_source import (
    MAPPING_TITLES,
    SHIPPED_CHOICES,
    SOURCES,
    Brought,
    bring,
    mapping_from,
    mapping_rows,
)
from readout_ui.tabs.generalization_tables import (
    draw_brought,
    draw_concepts,
    draw_dose_table,
    draw_misses,
    draw_notice,
    draw_summary,
    draw_words,
    mapping_help,
)
from readout_ui.views.generalization import draw_dose, draw_forest, draw_violins

INTRO = (
    "Do the vectors find their concepts in texts by other hands? The shipped test set was written "
    "from the concept names alone; no training ever sees it."
)
NO_RUN = UserError("there are no vectors to judge yet", fix="press Train first")
NOT_YET = UserError("nothing judged yet", fix="choose texts, then press Judge")
OTHER_RUN = UserError("another run is in use now", fix="press Judge to see its vectors")
PASTE_HINT = "calm: The lake lay still and so did I.\nafraid: Someone is behind the door."
DOSE_TEXT = "I just took {x} mg of paracetamol for my headache."
DOSE_VALUES = "200, 500, 1000, 2000, 4000, 8000, 16000"


@dataclass(frozen=True)
class GeneralizationTab:
    """Components of the Generalization tab that others listen to."""

    layer: gr.Dropdown
    """Which of the run's layers is judged."""
    mapping: gr.Dataframe
    """Label -> concept, editable."""
    notice: gr.HTML
    """What to do first, empty when there is something to show."""
    results: gr.Column
    """Everything that was found; hidden until there is something."""

    @property
    def refreshed(self) -> list[Any]:
        """The outputs of `refresh_generalization`."""
        return [self.layer, self.mapping, self.notice, self.results]


@dataclass(frozen=True)
class _Inputs:
    """What is judged and how."""

    brought: gr.State
    text: gr.Dropdown
    labels: gr.Dropdown
    mapping: gr.Dataframe
    layer: gr.Dropdown
    recall: gr.Slider
    threshold: gr.Textbox

    def all(self) -> list[Any]:
        """In the order `Wish` takes them."""
        return [
            self.brought,
            self.text,
            self.labels,
            self.mapping,
            self.layer,
            self.recall,
            self.threshold,
        ]


@dataclass(frozen=True)
class Wish:
    """The inputs on screen."""

    brought: Brought
    text_column: str | None
    label_columns: Sequence[str]
    mapping: Sequence[Sequence[object]]
    layer: int | None
    recall: float
    threshold: str

    def settings(self) -> JudgeSettings:
        """How to judge.

        Raises:
            UserError: the threshold is no number.
        """
        typed = self.threshold.strip().replace(",", ".")
        try:
            threshold = float(typed) if typed else None
        except ValueError:
            raise UserError(
                f"{typed!r} is no number", where="threshold", fix="leave it empty or type 0.2"
            ) from None
        return JudgeSettings(recall=self.recall, threshold=threshold)


def build_generalization_tab(studio: Studio) -> GeneralizationTab:
    """Lay out the tab and wire its events; `tabs/__init__` refreshes it with the run."""
    run = studio.runs.current()
    gr.Markdown(INTRO)
    inputs = _build_inputs(studio, run)
    judge = gr.Button("Judge", variant="primary", elem_id="generalization-judge")
    notice = gr.HTML(draw_notice(NOT_YET if run else NO_RUN), elem_id="generalization-notice")
    found = gr.State(None)
    with gr.Column(visible=False, elem_id="generalization-results") as results:
        drawn, violin_choice, violins = _build_results()
        words_button, words = _build_words()
    _build_dose(studio, inputs.layer)

    def show(*values: Any) -> tuple[Any, ...]:
        return show_judgement(studio, Wish(*values))

    def show_words(*values: Any) -> str:
        return draw_words(judge_words(studio, Wish(*values)))

    judge.click(
        guarded(show),
        inputs.all(),
        [found, notice, results, violin_choice, words, *drawn, violins],
        **DEVICE,
        show_progress_on=judge,
    )
    words_button.click(
        guarded(show_words), inputs.all(), words, **DEVICE, show_progress_on=words_button
    )
    violin_choice.input(guarded(redraw_violins), [found, violin_choice], violins, **QUIET)
    return GeneralizationTab(inputs.layer, inputs.mapping, notice, results)


def refresh_generalization(studio: Studio) -> tuple[Any, ...]:
    """New values for `GeneralizationTab.refreshed` after a run was made or chosen."""
    run = studio.runs.current()
    return (
        gr.update(**_layer_choices(run)),
        gr.update(label=mapping_help(run.concepts if run else ("a concept",))),
        draw_notice(OTHER_RUN if run else NO_RUN),
        gr.update(visible=False),
    )


def show_judgement(studio: Studio, wish: Wish) -> tuple[Any, ...]:
    """State, notice, visibility, violin choice, words, and everything drawn."""
    found = judge_wish(studio, wish)
    return (
        found,
        "",
        gr.update(visible=True),
        gr.update(choices=list(found.concepts), value=[]),
        "",
        draw_summary(found),
        plot_data(draw_forest(found)),
        draw_concepts(found),
        draw_misses(found.misses),
        plot_data(draw_violins(found)),
    )


def redraw_violins(found: Generalization | None, concepts: list[str]) -> PlotData | None:
    """The violins of other concepts."""
    return None if found is None else plot_data(draw_violins(found, concepts))


def judge_wish(studio: Studio, wish: Wish) -> Generalization:
    """Judge the run in use on the texts on screen; the same question is answered once."""
    asked = _ask(studio, wish)

    def work(evidence: Evidence) -> Generalization:
        from readout_ui.generalization import judge_texts

        return judge_texts(
            scorer_of(evidence), asked.texts, asked.mapping, asked.layer, asked.settings
        )

    return studio.judge("Generalization", asked.key, work)


def judge_words(studio: Studio, wish: Wish) -> Any:
    """The lexical control of the texts on screen."""
    asked = _ask(studio, wish)

    def work(evidence: Evidence) -> Any:
        from readout_ui.lexical import control_words

        return control_words(
            scorer_of(evidence), asked.texts, asked.mapping, asked.layer, asked.settings
        )

    return studio.judge("Generalization: words", asked.key, work)


def judge_dose(studio: Studio, template: str, values: str, layer: int | None) -> DoseCurves:
    """The dose curves of one text."""
    _run_of(studio)
    chosen = _chosen_layer(layer)
    parsed = parse_values(values)

    def work(evidence: Evidence) -> DoseCurves:
        from readout_ui.dose import read_dose

        return read_dose(scorer_of(evidence), template, parsed, chosen)

    return studio.judge("Generalization: dose", (template, parsed, chosen), work)


def scorer_of(evidence: Evidence) -> Any:
    """What scores new texts with the run in use."""
    from readout_ui.text_scores import Scorer

    return Scorer(
        evidence.vectors,
        evidence.run.settings,
        evidence.model,
        evidence.run.descriptions,
        evidence.cache,
        evidence.report,
    )


@dataclass(frozen=True)
class _Asked:
    """One question about the run in use, with a name of its own."""

    texts: tuple[LabelledText, ...]
    mapping: dict[str, str]
    layer: int
    settings: JudgeSettings

    @property
    def key(self) -> str:
        """Digest of everything the answer depends on."""
        asked = [
            [[each.text, *each.labels] for each in self.texts],
            sorted(self.mapping.items()),
            self.layer,
            asdict(self.settings),
        ]
        return hashlib.sha256(json.dumps(asked).encode()).hexdigest()


def _ask(studio: Studio, wish: Wish) -> _Asked:
    run = _run_of(studio)
    texts = wish.brought.texts(wish.text_column, wish.label_columns)
    # The shipped labels are concept names, so their mapping follows the run, not the table.
    rows = mapping_rows(texts, run.concepts) if wish.brought.source == "shipped" else wish.mapping
    mapping = mapping_from(rows, run.concepts)
    return _Asked(texts, mapping, _chosen_layer(wish.layer), wish.settings())


def _run_of(studio: Studio) -> RunRecord:
    run = studio.runs.current()
    if run is None:
        raise NO_RUN
    return run


def _chosen_layer(layer: int | None) -> int:
    if layer is None:
        raise UserError("no layer is chosen", fix="choose one")
    return int(layer)


def show_brought(studio: Studio, *values: Any) -> tuple[Any, ...]:
    """Columns and mapping of what was brought: state, about, text, labels, group, mapping."""
    brought = bring(*values)
    columns, text, labels = brought.columns()
    settled = brought.table is not None
    return (
        brought,
        draw_brought(brought),
        gr.update(choices=list(columns), value=text),
        gr.update(choices=list(columns), value=list(labels)),
        gr.update(visible=settled),
        suggest_now(studio, brought, text, labels) if settled else gr.skip(),
    )


def suggest_now(
    studio: Studio, brought: Brought, text: str | None, labels: Sequence[str]
) -> list[list[object]]:
    """Suggestions for the labels, none while the guessed columns do not fit."""
    try:
        return show_mapping(studio, brought, text, labels)
    except UserError:
        return []


def show_mapping(
    studio: Studio, brought: Brought, text: str | None, labels: Sequence[str]
) -> list[list[object]]:
    """Suggestions for the labels of the chosen columns."""
    run = studio.runs.current()
    return mapping_rows(brought.texts(text, labels), run.concepts if run else ())


def plot_data(figure: go.Figure) -> PlotData:
    """The figure with its settings, which gr.Plot would leave out of a plain figure."""
    config = '"config":{"displaylogo":false,"displayModeBar":false,"responsive":true}'
    return PlotData(type="plotly", plot=f"{figure.to_json()[:-1]},{config}}}")


def _build_inputs(studio: Studio, run: RunRecord | None) -> _Inputs:
    brought = gr.State(Brought("shipped"))
    with gr.Row():
        source = gr.Radio(
            list(SOURCES.items()), value="shipped", label="Texts", elem_id="generalization-source"
        )
        parts = gr.CheckboxGroup(
            list(SHIPPED_CHOICES.items()),
            value=list(SHIPPED_CHOICES.values()),
            label="Parts",
            info="Neutral texts are always read along.",
        )
    pasted = gr.Textbox(
        label="Texts with labels",
        lines=6,
        max_lines=14,
        placeholder=PASTE_HINT,
        info="Lines label: text, CSV, JSON or JSON lines.",
        visible=False,
        elem_id="generalization-paste",
    )
    files = gr.File(
        label="CSV, TSV, JSONL, JSON, or several {concept}.txt",
        file_count="multiple",
        file_types=[".csv", ".tsv", ".jsonl", ".json", ".txt"],
        visible=False,
        elem_id="generalization-files",
    )
    about = gr.HTML(elem_id="generalization-brought")
    with gr.Group(visible=False, elem_id="generalization-columns") as group:
        with gr.Row():
            text = gr.Dropdown([], label="Column with the texts", elem_id="generalization-text")
            labels = gr.Dropdown(
                [],
                label="Columns with labels",
                multiselect=True,
                info="a|b in a cell is two labels.",
                elem_id="generalization-labels",
            )
        mapping = gr.Dataframe(
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
    with gr.Row():
        layer = gr.Dropdown(
            **_layer_choices(run), label="Layer", elem_id="generalization-layer", min_width=160
        )
        recall = gr.Slider(
            0.5,
            1,
            value=0.8,
            step=0.05,
            label="Own texts to be found",
            info="Sets each concept's threshold; false positives on neutral texts follow.",
        )
        threshold = gr.Textbox(
            label="Or one threshold for all", info="A cosine; empty for the share beside it."
        )
    shown = (brought, about, text, labels, group, mapping)
    _wire_source(studio, (source, parts, pasted, files), shown)
    return _Inputs(brought, text, labels, mapping, layer, recall, threshold)


def _wire_source(
    studio: Studio, sources: tuple[Any, Any, Any, Any], brought: tuple[Any, ...]
) -> None:
    """Whatever is chosen, pasted or uploaded shows its columns and suggestions at once."""
    source, parts, pasted, files = sources
    state, _about, text, labels, _group, mapping = brought

    def switch(chosen: str) -> tuple[Any, ...]:
        return tuple(gr.update(visible=chosen == name) for name in SOURCES.values())

    def bring_now(*values: Any) -> tuple[Any, ...]:
        return show_brought(studio, *values)

    def map_now(now: Brought, column: str | None, chosen: list[str]) -> list[list[object]]:
        return show_mapping(studio, now, column, chosen)

    source.input(switch, source, [parts, pasted, files], **QUIET)
    events: list[Callable[..., Any]] = [
        source.input,
        parts.input,
        pasted.change,
        files.upload,
        files.clear,
    ]
    for event in events:
        event(
            bring_now,
            [source, parts, pasted, files],
            list(brought),
            trigger_mode="always_last",
            **QUIET,
        )
    gr.on([text.input, labels.input], guarded(map_now), [state, text, labels], mapping, **QUIET)


def _build_results() -> tuple[tuple[Any, ...], gr.Dropdown, gr.Plot]:
    summary = gr.HTML(elem_id="generalization-summary")
    gr.Markdown(
        "### AUROC of each concept\nDots: vectors, hollow where chance explains them. Diamonds: "
        "bag of words trained on the same descriptions. Grey: random directions."
    )
    forest = _plot("generalization-forest")
    with gr.Accordion("All numbers", open=False):
        table = gr.HTML(elem_id="generalization-table")
    gr.Markdown("### Ten worst misses")
    misses = gr.HTML(elem_id="generalization-misses")
    gr.Markdown("### Scores")
    choice = gr.Dropdown(
        [],
        multiselect=True,
        label="Concepts (empty: the twelve with the lowest AUROC)",
        elem_id="generalization-violin-choice",
    )
    violins = _plot("generalization-violins")
    return (summary, forest, table, misses), choice, violins


def _build_words() -> tuple[gr.Button, gr.HTML]:
    with gr.Accordion("Is it the word or the meaning?", open=False):
        gr.Markdown(
            "Masks each concept's own word and its inflections in the texts above, and scores "
            "sentences that use the word in another sense."
        )
        button = gr.Button("Check words", elem_id="generalization-check-words")
        return button, gr.HTML(elem_id="generalization-words")


def _build_dose(studio: Studio, layer: gr.Dropdown) -> None:
    with gr.Accordion("Dose: one text, many values", open=False):
        with gr.Row():
            template = gr.Textbox(
                DOSE_TEXT, label="Text with {x}", scale=3, elem_id="generalization-dose-text"
            )
            values = gr.Textbox(
                DOSE_VALUES, label="Values", scale=2, elem_id="generalization-dose-values"
            )
        button = gr.Button("Draw curves", elem_id="generalization-dose")
        curves = _plot("generalization-curves")
        table = gr.HTML(elem_id="generalization-dose-table")

    def show(text: str, written: str, chosen: int | None) -> tuple[PlotData, str]:
        found = judge_dose(studio, text, written, chosen)
        return plot_data(draw_dose(found)), draw_dose_table(found)

    button.click(
        guarded(show), [template, values, layer], [curves, table], **DEVICE, show_progress_on=button
    )


def _plot(elem_id: str) -> gr.Plot:
    return gr.Plot(
        show_label=False, container=False, elem_id=elem_id, elem_classes="generalization-plot"
    )


def _layer_choices(run: RunRecord | None) -> dict[str, Any]:
    if run is None:
        return {"choices": [], "value": None}
    return {
        "choices": list(run.layers),
        "value": run.best_layer,
        "info": f"best layer of this run: {run.best_layer}",
    }
