"""The clock of the page: what brings its header and drawer up to date."""

from __future__ import annotations

from dataclasses import dataclass, field
from threading import Lock
from typing import Any

import gradio as gr

from readout_ui.app.events import IN_TURN, QUIET, Changes, Part, Values, bound, components, seen_if
from readout_ui.app.header import Header, draw_model, draw_news, train_button
from readout_ui.app.session import Studio
from readout_ui.app.status import Status
from readout_ui.app.train import TrainDrawer, draw_training

TICK_SECONDS = 1.0


@dataclass
class Shown:
    """What a page shows of what changes without it, by the id of the component."""

    values: dict[int, Any]
    told: dict[int, int] = field(default_factory=dict)
    """Which news told it last, by their number."""
    newest: int = 0
    """The number of the newest news."""

    def news(self, look: Changes) -> Changes:
        """What is not on the page yet; it is told now."""
        fresh = {each: value for each, value in look.items() if self.values.get(each._id) != value}
        self.values = {each._id: value for each, value in look.items()}
        self.newest += bool(fresh)
        self.told |= dict.fromkeys((each._id for each in fresh), self.newest)
        return fresh

    def choose(self, component: int, value: Any, arrived: int) -> None:
        """What a person chose there, with the number of the news that had come by then.

        Later news of it may have come over the choice: the next ones tell it again.
        """
        self.values[component] = value if self.told.get(component, 0) <= arrived else None


class Clock(Part):
    """What brings header and drawer up to date, every second and after a click."""

    def __init__(self, studio: Studio, app: gr.Blocks, header: Header, drawer: TrainDrawer) -> None:
        self.studio, self.header, self.drawer = studio, header, drawer
        status = studio.status()
        self.run = gr.State(_run_id(status))  # changes when another run is in use
        # Changes with texts, the model, names, reports and packs too.
        self.kept = gr.State(_kept(status, studio.runs.mark()))
        self._looking = Lock()  # nothing is chosen between a look and the note of what it told
        # Changed in place, as gradio keeps it for each page: two events never write an older one.
        self.shown = gr.State(Shown({each._id: value for each, value in self.look().items()}))
        self.arrived = gr.Number(0, visible=False)  # the number of the newest news on the page
        show, outputs = bound(self.tick), components(self)
        gr.Timer(TICK_SECONDS).tick(show, self.shown, outputs, **QUIET)
        app.load(show, self.shown, outputs, **QUIET)
        asked = {*drawer.settings.all, self.shown, self.arrived}
        for each, chosen in drawer.settings.choices():
            chosen(bound(self.settle, each), asked, None, **IN_TURN)

    def tick_after(self, event: Any) -> None:
        """Do not wait for the next second after this event."""
        event.then(bound(self.tick), self.shown, components(self), **QUIET)

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

    def tick(self, shown: Shown) -> Changes:
        """Only what differs from what this page shows already."""
        with self._looking:
            fresh, number = shown.news(self.look()), shown.newest
        buttons = {each: gr.Button(**fresh[each]) for each in fresh if isinstance(each, gr.Button)}
        return {**fresh, **buttons, self.arrived: number} if fresh else {}

    def settle(self, chosen: Any, values: Values) -> None:
        """One setting that was chosen on this page is used from now on, on every page."""
        settings = self.drawer.settings
        with self._looking:
            self.studio.choose_settings(settings.with_chosen(self.studio.settings, chosen, values))
            value = settings.show(self.studio.settings)[chosen]
            values[self.shown].choose(chosen._id, value, int(values[self.arrived]))


def _run_id(status: Status) -> str:
    return status.run.id if status.run else ""


def _kept(status: Status, mark: str) -> str:
    return f"{_run_id(status)} {status.changed > 0} {status.model_ready} {mark}"
