"""What brings the page up to date: it asks the studio every second and sends what differs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import gradio as gr

from readout_ui.app.events import QUIET
from readout_ui.app.header import Header, draw_status, is_training, retrain_label
from readout_ui.app.session import Studio
from readout_ui.app.tabs.train import TrainTab, draw_training

TICK_SECONDS = 1.0


class Clock(NamedTuple):
    """What brings header and progress up to date, every second and after a click."""

    show: Callable[..., Any]
    inputs: list[Any]
    outputs: list[Any]
    run: gr.State
    """Changes when another run is in use."""
    standing: gr.State
    """Changes with the run, once its texts differ, and once the model is loaded."""

    def tick_after(self, event: Any) -> None:
        """Do not wait for the next second after this event."""
        event.then(self.show, self.inputs, self.outputs, **QUIET)


def wire_clock(studio: Studio, app: gr.Blocks, header: Header, train: TrainTab) -> Clock:
    """Poll the studio; send only what differs from what this page shows already."""
    run, standing, seen = gr.State(""), gr.State(""), gr.State(())

    def show(before: tuple[str, ...]) -> tuple[Any, ...]:
        status = studio.status()
        used = status.run.id if status.run else ""
        busy, stopping = is_training(status), bool(status.training and status.training.cancelling)
        now = (
            draw_status(status),
            f"{retrain_label(status)}{busy}",
            f"{busy}{stopping}",
            draw_training(status),
            used,
            f"{used} {status.changed > 0} {status.model_ready}",
        )
        if now == before:
            return (gr.skip(),) * 7
        button = gr.Button(retrain_label(status), interactive=not busy and not studio.read_only)
        cancel = gr.Button(visible=busy, interactive=not stopping)
        values = (now[0], button, cancel, *now[3:])
        old = before or ("",) * len(now)
        fresh = (
            value if new != past else gr.skip()
            for value, new, past in zip(values, now, old, strict=True)
        )
        return (*fresh, now)

    shown = [header.status, header.retrain, header.cancel, train.progress, run, standing, seen]
    clock = Clock(show, [seen], shown, run, standing)
    gr.Timer(TICK_SECONDS).tick(show, clock.inputs, clock.outputs, **QUIET)
    app.load(show, clock.inputs, clock.outputs, **QUIET)
    return clock
