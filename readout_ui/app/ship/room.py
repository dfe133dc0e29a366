"""The room Ship: runs, what moved between them, packs, exports and servers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr

from readout_ui.app.events import QUIET, Part, bound, components
from readout_ui.app.header import Clock
from readout_ui.app.session import Studio
from readout_ui.app.ship.diff import DiffBox
from readout_ui.app.ship.export import ExportCard
from readout_ui.app.ship.packs import PackCard, PacksBox
from readout_ui.app.ship.runs import RunsList
from readout_ui.app.ship.uses import ServerCard


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
            for state in (clock.standing, clock.kept):
                refresh_after(state.change, part)
        # A name that was given stands in every part; a pack brings a run.
        for part in self.parts[1:]:
            refresh_after(self.runs.run_chosen.success, part)
        for event in self.packs.changed:
            refresh_after(event.success, self.runs)
            clock.tick_after(event)


def refresh_after(event: Callable[..., Any], part: Any) -> None:
    """Bring a part up to date when something has happened."""
    event(bound(part.refresh), getattr(part, "asked", None), components(part), **QUIET)
