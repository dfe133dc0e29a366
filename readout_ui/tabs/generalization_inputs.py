"""What is judged, on screen: texts, their columns, what labels stand for, layer and threshold."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from readout_ui.errors import UserError
from readout_ui.runs import RunRecord
from readout_ui.studio import Studio
from readout_ui.tabs.events import QUIET, guarded
from readout_ui.tabs.generalization_source import (
    MAPPING_TITLES,
    SHIPPED_CHOICES,
    SOURCES,
    Brought,
    bring,
    mapping_rows,
)
from readout_ui.tabs.generalization_tables import draw_brought, mapping_help
from readout_ui.tabs.layer_choices import layer_list
from readout_ui.tabs.visibility import HIDDEN, seen_if

PASTE_HINT = "calm: The lake lay still and so did I.\nafraid: Someone is behind the door."


@dataclass(frozen=True)
class Inputs:
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


def build_inputs(studio: Studio, run: RunRecord | None) -> Inputs:
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
    shown = (brought, about, text, labels, group, mapping)
    _wire_source(studio, (source, parts, pasted, files), shown)
    return Inputs(brought, text, labels, mapping, layer, recall, threshold)


def _wire_source(
    studio: Studio, sources: tuple[Any, Any, Any, Any], brought: tuple[Any, ...]
) -> None:
    """Whatever is chosen, pasted or uploaded shows its columns and suggestions at once."""
    source, parts, pasted, files = sources
    state, _about, text, labels, _group, mapping = brought

    def switch(chosen: str) -> tuple[Any, ...]:
        return tuple(gr.update(visible=seen_if(chosen == name)) for name in SOURCES.values())

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
        gr.update(visible=seen_if(settled)),
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
