"""The four rooms: the parts of each, and what they do when another run is in use."""

from __future__ import annotations

import json
from collections.abc import Callable
from html import escape
from typing import Any

import gradio as gr

from readout_ui.app.assets import on_load
from readout_ui.app.clock import Clock
from readout_ui.app.events import LATEST, Part, bound, components, on_threads
from readout_ui.app.judge.crosstalk import CrosstalkTab
from readout_ui.app.judge.generalization import GeneralizationTab
from readout_ui.app.judge.layers import LayersTab
from readout_ui.app.judge.leaderboard import LeaderboardPart
from readout_ui.app.judge.report import ReportPart
from readout_ui.app.read.calls import read_calls
from readout_ui.app.read.chat import chat_calls
from readout_ui.app.read.passages import Passages
from readout_ui.app.session import Studio
from readout_ui.app.ship.diff import DiffBox
from readout_ui.app.ship.export import ExportCard
from readout_ui.app.ship.packs import PackCard, PacksBox
from readout_ui.app.ship.runs import RunsList
from readout_ui.app.ship.uses import ServerCard
from readout_ui.app.write.concepts import build_concepts_tab
from readout_ui.app.write.sources import SourcesTab


class JudgeRoom(Part):
    """A report, concepts against each other, other people's texts, and layers."""

    def __init__(self, studio: Studio) -> None:
        with gr.Tabs(elem_id="judge-parts"):
            with gr.Tab("Report", id="report"):
                self.report = ReportPart(studio)
            with gr.Tab("Cross-talk", id="cross-talk"):
                self.crosstalk = CrosstalkTab(studio)
            with gr.Tab("New texts", id="new-texts") as new_texts:
                self.generalization = GeneralizationTab(studio)
                self.leaderboard = LeaderboardPart(studio)
            with gr.Tab("Layers", id="layers") as layers:
                self.layers = LayersTab(studio)
        # What is kept with the run is read when a part is opened.
        for tab, part in (
            (new_texts, self.generalization),
            (new_texts, self.leaderboard),
            (layers, self.layers),
        ):
            tab.select(bound(part.refresh), part.shown, components(part), **LATEST)

    def follow(self, clock: Clock) -> None:
        """Keep up with the run in use."""
        for part in (self.crosstalk, self.generalization, self.leaderboard, self.layers):
            clock.on_run(part, part.shown)


BACK = "<p class='src-back'><a href='#/write'>← All concepts</a></p>"


class WriteRoom(Part):
    """Concepts and their texts; while others are brought, these take their place.

    The address says which of the two is seen: `#/write?from=stories`.
    """

    def __init__(self, studio: Studio) -> None:
        self.concepts: Any = build_concepts_tab(studio)
        with gr.Column(elem_id="write-sources"):
            gr.HTML(BACK, padding=False)
            self.sources = SourcesTab(studio)

    def follow(self, clock: Clock) -> None:
        """Keep up with the run in use."""
        clock.on_run(self.sources)


EXAMPLES = {
    "Lost keys and a dog": "I lost my keys, then the dog ran away and nobody came to help. But in "
    "the evening she was back at the door!",
    "The letter said yes": "The letter came this morning and it said yes. I read it three times, "
    "then I ran through the house to tell everyone. We did it!",
    "My best friend moved away": "My best friend moved away today. We waved until the car was "
    "gone, and now the street is so quiet that I can hear the clock.",
}
"""Texts to try, by the words on their buttons."""


def build_desk(studio: Studio) -> gr.HTML:
    """The part that reads texts."""
    examples = escape(json.dumps(EXAMPLES))
    return gr.HTML(
        html_template=f'<div class="rs-read" data-examples="{examples}"></div>',
        js_on_load=on_load("read/main.js"),
        apply_default_css=False,
        container=False,
        padding=False,
        elem_id="read-desk",
        server_functions=on_threads([*read_calls(studio), *chat_calls(studio)]),
    )


class ReadRoom(Part):
    """One text, a chat, two of anything, a steered model; passages of a file have an address."""

    def __init__(self, studio: Studio) -> None:
        build_desk(studio)
        with gr.Column(elem_id="read-passages"):  # at "#/read/passages"
            gr.HTML("<a class='btn quiet' href='#/read'>Back to the text</a>")
            self.snippets = Passages(studio)

    def follow(self, clock: Clock) -> None:
        """Keep up with the run in use."""
        clock.on_run(self.snippets)


class ShipRoom(Part):
    """The runs that were kept, and files for other people and programs."""

    def __init__(self, studio: Studio) -> None:
        with gr.Row(elem_id="ship"):
            with gr.Column(elem_id="ship-main"):
                self.runs = RunsList(studio)
                self.diff = DiffBox(studio)
                self.packs = PacksBox(studio)
            with gr.Column(elem_id="ship-side"):
                with gr.Column(elem_classes="card"):
                    self.export = ExportCard(studio)
                with gr.Column(elem_classes="card"):
                    self.pack = PackCard(studio)
                with gr.Column(elem_classes="card"):
                    self.server = ServerCard(studio)
        self.diff.compare_on(self.runs.list)

    @property
    def parts(self) -> tuple[Any, ...]:
        """All that shows something of the run in use."""
        return self.runs, self.diff, self.packs, self.export, self.pack, self.server

    def follow(self, clock: Clock) -> None:
        """All of it follows the texts as well, and whatever is kept of runs and packs."""
        for part in self.parts:
            refresh_after(clock.kept.change, part)
        # A name that was given stands in every part; a pack brings a run.
        for part in self.parts[1:]:
            refresh_after(self.runs.run_chosen.success, part)
        for event in self.packs.changed:
            refresh_after(event.success, self.runs)
            clock.tick_after(event)


def refresh_after(event: Callable[..., Any], part: Any) -> None:
    """Bring a part up to date when something has happened."""
    asked = getattr(part, "asked", None)
    # A second one meanwhile would send choices that the first has taken away.
    event(bound(part.refresh), asked, components(part), **LATEST)
