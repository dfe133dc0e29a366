"""The clock of the page: what brings its header and drawer up to date."""

from __future__ import annotations

from typing import Any

import gradio as gr

from readout_ui.app.events import IN_TURN, QUIET, Changes, Part, Values, bound, components, seen_if
from readout_ui.app.header import Header, draw_model, draw_news, train_button
from readout_ui.app.session import Studio
from readout_ui.app.status import Status
from readout_ui.app.train import TrainDrawer, draw_training

TICK_SECONDS = 1.0


class Clock(Part):
    """What brings header and drawer up to date, every second and after a click."""

    def __init__(self, studio: Studio, app: gr.Blocks, header: Header, drawer: TrainDrawer) -> None:
        self.studio, self.header, self.drawer = studio, header, drawer
        status = studio.status()
        self.run = gr.State(_run_id(status))  # changes when another run is in use
        # Changes with texts, the model, names, reports and packs too.
        self.kept = gr.State(_kept(status, studio.runs.mark()))
        # What this page shows already, by the id of the component: at first, what was built.
        self.seen = gr.State({each._id: value for each, value in self.look().items()})
        show, outputs = bound(self.tick), components(self)
        gr.Timer(TICK_SECONDS).tick(show, self.seen, outputs, **QUIET)
        app.load(show, self.seen, outputs, **QUIET)
        asked = {*drawer.settings.all, self.seen}
        for each, chosen in drawer.settings.choices():
            chosen(bound(self.settle, each), asked, self.seen, **IN_TURN)

    def tick_after(self, event: Any) -> None:
        """Do not wait for the next second after this event."""
        event.then(bound(self.tick), self.seen, components(self), **QUIET)

    def on_run(self, part: Any, inputs: Any = None) -> None:
        """Refresh a part of the page when another run is in use."""
        self.run.change(bound(part.refresh), inputs, components(part), **QUIET)

    def look(self) -> Changes:
        """What the page is to show, by component; of buttons, their properties."""
        status, header, studio = self.studio.status(), self.header, self.studio
        stops = status.stoppable
        return {
            header.news: draw_news(status, studio.report()),
            header.model: draw_model(status),
            header.retrain: train_button(status, studio.read_only),
            header.cancel: {
                "elem_classes": seen_if(stops is not None),
                "interactive": not (stops and stops.cancelling),
            },
            self.drawer.progress: draw_training(status),
            **self.drawer.settings.show(studio.settings),
            self.run: _run_id(status),
            self.kept: _kept(status, studio.runs.mark()),
        }

    def tick(self, seen: dict[int, Any]) -> Changes:
        """Only what differs from what this page shows already."""
        look = self.look()
        fresh = {each: value for each, value in look.items() if seen.get(each._id) != value}
        if not fresh:
            return {}
        buttons = {each: gr.Button(**fresh[each]) for each in fresh if isinstance(each, gr.Button)}
        return {self.seen: {each._id: value for each, value in look.items()}, **fresh, **buttons}

    def settle(self, chosen: Any, values: Values) -> Changes:
        """One setting that was chosen on this page is used from now on, on every page."""
        settings = self.drawer.settings
        self.studio.choose_settings(settings.with_chosen(self.studio.settings, chosen, values))
        shown = settings.show(self.studio.settings)[chosen]
        return {self.seen: {**values[self.seen], chosen._id: shown}}


def _run_id(status: Status) -> str:
    return status.run.id if status.run else ""


def _kept(status: Status, mark: str) -> str:
    return f"{_run_id(status)} {status.changed > 0} {status.model_ready} {mark}"
