"""What brings the page up to date: it asks the session every second and sends what differs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from readout_ui.app.events import QUIET, Changes, bound
from readout_ui.app.header import Header, draw_status, is_training, retrain_label
from readout_ui.app.session import Studio
from readout_ui.app.tabs.train import TrainTab, draw_training

TICK_SECONDS = 1.0


@dataclass(frozen=True)
class Clock:
    """What brings header and progress up to date, every second and after a click."""

    studio: Studio
    header: Header
    progress: gr.HTML
    """Of the newest training, on the Train tab."""
    run: gr.State
    """Changes when another run is in use."""
    standing: gr.State
    """Changes with the run, once its texts differ, and once the model is loaded."""
    seen: gr.State
    """What this page shows already, by the id of the component."""

    @property
    def outputs(self) -> list[Any]:
        """The outputs of `tick`."""
        header = [self.header.status, self.header.retrain, self.header.cancel]
        return [*header, self.progress, self.run, self.standing, self.seen]

    def tick_after(self, event: Any) -> None:
        """Do not wait for the next second after this event."""
        event.then(bound(tick, self), self.seen, self.outputs, **QUIET)


def build_clock(studio: Studio, app: gr.Blocks, header: Header, train: TrainTab) -> Clock:
    """Poll the session from now on."""
    states = gr.State(""), gr.State(""), gr.State({})
    clock = Clock(studio, header, train.progress, *states)
    show = bound(tick, clock)
    gr.Timer(TICK_SECONDS).tick(show, clock.seen, clock.outputs, **QUIET)
    app.load(show, clock.seen, clock.outputs, **QUIET)
    return clock


def tick(clock: Clock, seen: dict[int, Any]) -> Changes:
    """Only what differs from what this page shows already."""
    status, header = clock.studio.status(), clock.header
    used, busy = status.run.id if status.run else "", is_training(status)
    stopping = bool(status.training and status.training.cancelling)
    label, idle = retrain_label(status), not busy and not clock.studio.read_only
    words: Changes = {
        header.status: draw_status(status),
        clock.progress: draw_training(status),
        clock.run: used,
        clock.standing: f"{used} {status.changed > 0} {status.model_ready}",
    }
    buttons: Changes = {
        header.retrain: {"value": label, "interactive": idle},
        header.cancel: {"visible": busy, "interactive": not stopping},
    }
    now = {each._id: value for each, value in (words | buttons).items()}
    fresh = {each for each in (*words, *buttons) if now[each._id] != seen.get(each._id)}
    if not fresh:
        return {}
    drawn = words | {each: gr.Button(**look) for each, look in buttons.items()}
    return {clock.seen: now, **{each: drawn[each] for each in fresh}}
