"""What the Generalization tab judges, on screen: texts, columns, labels, layer and threshold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from readout_ui.app.events import HIDDEN, QUIET, Changes, Values, bound, seen_if
from readout_ui.app.session import Studio
from readout_ui.app.tabs.generalization_html import draw_brought, mapping_help
from readout_ui.app.tabs.generalization_run import (
    MAPPING_TITLES,
    SHIPPED_CHOICES,
    SOURCES,
    Brought,
    Request,
    bring,
    mapping_rows,
)
from readout_ui.app.widgets import layer_list
from readout_ui.errors import UserError
from readout_ui.runs.run import Run

PASTE_HINT = "calm: The lake lay still and so did I.\nafraid: Someone is behind the door."


@dataclass(frozen=True)
class Inputs:
    """What is judged and how."""

    source: gr.Radio
    parts: gr.CheckboxGroup
    pasted: gr.Textbox
    files: gr.File
    brought: gr.State
    """What the chosen source holds."""
    about: gr.HTML
    columns: gr.Group
    """Columns and mapping; hidden for the shipped set."""
    text: gr.Dropdown
    labels: gr.Dropdown
    mapping: gr.Dataframe
    """Label -> concept, editable."""
    layer: gr.Dropdown
    recall: gr.Slider
    threshold: gr.Textbox

    @property
    def asked(self) -> set[Any]:
        """What `request_from` takes."""
        how = {self.layer, self.recall, self.threshold}
        return {self.brought, self.text, self.labels, self.mapping, *how}

    @property
    def sources(self) -> dict[str, Any]:
        """Where texts come from, by the name of the source."""
        return {"shipped": self.parts, "paste": self.pasted, "files": self.files}

    @property
    def described(self) -> list[Any]:
        """The outputs of `show_brought`."""
        return [self.brought, self.about, self.columns, self.text, self.labels, self.mapping]


def build_inputs(studio: Studio, run: Run | None) -> Inputs:
    """Lay out everything above the Judge button, and show columns as soon as texts come."""
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
        visible=HIDDEN,
        elem_id="generalization-paste",
    )
    files = gr.File(
        label="CSV, TSV, JSONL, JSON, or several {concept}.txt",
        file_count="multiple",
        file_types=[".csv", ".tsv", ".jsonl", ".json", ".txt"],
        visible=HIDDEN,
        elem_id="generalization-files",
    )
    about = gr.HTML(elem_id="generalization-brought")
    with gr.Group(visible=HIDDEN, elem_id="generalization-columns") as group:
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
            **layer_list(run), label="Layer", elem_id="generalization-layer", min_width=160
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
    inputs = Inputs(
        *(source, parts, pasted, files, brought, about, group, text, labels),
        *(mapping, layer, recall, threshold),
    )
    _wire_source(studio, inputs)
    return inputs


def _wire_source(studio: Studio, inputs: Inputs) -> None:
    """Whatever is chosen, pasted or uploaded shows its columns and suggestions at once."""
    source, files = inputs.source, inputs.files
    parts = [*inputs.sources.values()]
    source.input(bound(show_source, inputs), source, parts, **QUIET)
    gr.on(
        [source.input, inputs.parts.input, inputs.pasted.change, files.upload, files.clear],
        bound(show_brought, studio, inputs),
        {source, *parts},
        inputs.described,
        trigger_mode="always_last",
        **QUIET,
    )
    gr.on(
        [inputs.text.input, inputs.labels.input],
        bound(show_mapping, studio, inputs),
        {inputs.brought, inputs.text, inputs.labels},
        inputs.mapping,
        **QUIET,
    )


def show_source(inputs: Inputs, chosen: str) -> Changes:
    """Only the chosen source is on the page."""
    return {box: gr.update(visible=seen_if(n == chosen)) for n, box in inputs.sources.items()}


def show_brought(studio: Studio, inputs: Inputs, values: Values) -> Changes:
    """Columns and suggested mapping of what was brought; none where the guesses do not fit."""
    parts, pasted, files = (values[box] for box in inputs.sources.values())
    brought = bring(values[inputs.source], parts, pasted, files)
    columns, text, labels = brought.columns()
    changes: Changes = {
        inputs.brought: brought,
        inputs.about: draw_brought(brought),
        inputs.columns: gr.update(visible=seen_if(brought.table is not None)),
        inputs.text: gr.update(choices=list(columns), value=text),
        inputs.labels: gr.update(choices=list(columns), value=list(labels)),
    }
    if brought.table is not None:
        now = {inputs.brought: brought, inputs.text: text, inputs.labels: labels}
        try:
            changes |= show_mapping(studio, inputs, now)
        except UserError:
            changes[inputs.mapping] = []
    return changes


def show_mapping(studio: Studio, inputs: Inputs, values: Values) -> Changes:
    """Suggestions for the labels of the chosen columns."""
    run = studio.runs.current()
    texts = values[inputs.brought].texts(values[inputs.text], values[inputs.labels])
    return {inputs.mapping: mapping_rows(texts, run.concepts if run else ())}


def request_from(inputs: Inputs, values: Values) -> Request:
    """What is on screen, to be judged."""
    return Request(
        brought=values[inputs.brought],
        text_column=values[inputs.text],
        label_columns=values[inputs.labels],
        mapping=values[inputs.mapping],
        layer=values[inputs.layer],
        recall=values[inputs.recall],
        threshold=values[inputs.threshold],
    )
