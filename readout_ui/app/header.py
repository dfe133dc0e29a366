"""The header: rooms, status line, the buttons to train and stop, and the clock behind them."""

from __future__ import annotations

from html import escape
from typing import Any

import gradio as gr

from readout_ui.app.assets import on_load
from readout_ui.app.events import QUIET, Changes, Part, bound, components, guarded
from readout_ui.app.follow import draw_progress, is_training
from readout_ui.app.jobs import JobState
from readout_ui.app.session import Studio
from readout_ui.app.status import Status
from readout_ui.app.train import TrainDrawer, draw_training


class Header(Part):
    """The status line and two buttons: train as last time, and stop."""

    def __init__(self, studio: Studio) -> None:
        with gr.Row(elem_id="header", equal_height=True):
            gr.HTML(
                draw_masthead(studio.home()),
                elem_id="masthead",
                padding=False,
                js_on_load=on_load("shell/header.js"),
            )
            self.status = gr.HTML(draw_status(studio.status()), elem_id="status", padding=False)
            self.cancel = gr.Button(
                "Cancel", elem_id="cancel-training", visible=False, min_width=90
            )
            self.retrain = gr.Button(
                "Train",
                variant="primary",
                elem_id="retrain",
                min_width=110,
                interactive=not studio.read_only,
            )
            gr.HTML(_GEAR, elem_id="train-gear", padding=False)
        self.cancel.click(guarded(studio.cancel_training), **QUIET)


_LINKS = "".join(
    f"<a href='#/{name.lower()}' data-label='{name}'>{name}</a>"
    for name in ("Write", "Read", "Judge", "Ship")
)
_GEAR = (
    "<button type='button' class='btn' data-drawer='train-drawer' aria-expanded='false' "
    "aria-controls='train-drawer' aria-label='Training settings' "
    "title='Training settings'>▾</button>"
)


def draw_masthead(home: str) -> str:
    """Name and rooms; `home` is the room of an address that names none."""
    return (
        f"<a class='name' href='#/{home}' data-home='{home}'>Readout<em> Studio</em></a>"
        f"<nav class='rooms' aria-label='Rooms'>{_LINKS}</nav>"
    )


def retrain_label(status: Status) -> str:
    """What the button says: Train at first, Retrain later, Training… meanwhile.

    It trains on the descriptions, so after a training on something else it says Train again.
    """
    if is_training(status):
        return "Training…"
    return "Retrain" if status.run and not status.run.source else "Train"


def draw_status(status: Status) -> str:
    """The status line as HTML: model, changed descriptions, running work."""
    chips = [_model_chip(status), _changes_chip(status)]
    if status.training is not None and not status.training.state.finished:
        chips.append(draw_progress(status.training))
    return f"<div class='chips' role='status'>{''.join(chips)}</div>"


def _model_chip(status: Status) -> str:
    if status.model_description:
        return _chip("model ready", "Model", status.model_description)
    if status.model is None:
        return _chip("model", "Model", "not loaded")
    if status.model.state is JobState.FAILED:
        return _chip("model failed", "No model", status.model.error)
    return draw_progress(status.model)


def _changes_chip(status: Status) -> str:
    if status.run is None:
        return _chip("changes", "Not trained yet", "")
    if status.run.source:
        concepts = status.run.concepts
        label = concepts[0] if len(concepts) == 1 else f"{len(concepts)} concepts"
        return _chip("changes same", label, f"from {status.run.source}")
    if status.changed == 0:
        return _chip("changes same", "Up to date", "")
    noun = "description" if status.changed == 1 else "descriptions"
    return _chip("changes changed", f"{status.changed} {noun} changed", "since the last training")


def _chip(kind: str, label: str, detail: str) -> str:
    text = f"<span class='detail'>{escape(detail)}</span>" if detail else ""
    return f"<span class='chip {kind}' title='{escape(detail)}'><b>{escape(label)}</b>{text}</span>"


TICK_SECONDS = 1.0


class Clock(Part):
    """What brings header and progress up to date, every second and after a click."""

    def __init__(self, studio: Studio, app: gr.Blocks, header: Header, drawer: TrainDrawer) -> None:
        self.studio, self.header, self.progress = studio, header, drawer.progress
        self.run = gr.State("")  # changes when another run is in use
        self.standing = gr.State("")  # and once texts differ, and once the model is loaded
        self.seen = gr.State({})  # what this page shows already, by the id of the component
        show, outputs = bound(self.tick), components(self)
        gr.Timer(TICK_SECONDS).tick(show, self.seen, outputs, **QUIET)
        app.load(show, self.seen, outputs, **QUIET)

    def tick_after(self, event: Any) -> None:
        """Do not wait for the next second after this event."""
        event.then(bound(self.tick), self.seen, components(self), **QUIET)

    def on_run(self, part: Any, inputs: Any = None) -> None:
        """Refresh a part of the page when another run is in use."""
        self.run.change(bound(part.refresh), inputs, components(part), **QUIET)

    def on_texts(self, part: Any, **manner: Any) -> None:
        """The same also when texts differ from the run's, or the model is loaded."""
        outputs = components(part)
        self.standing.change(bound(part.refresh), None, outputs, **(manner or QUIET))

    def tick(self, seen: dict[int, Any]) -> Changes:
        """Only what differs from what this page shows already."""
        status, header = self.studio.status(), self.header
        used, busy = status.run.id if status.run else "", is_training(status)
        stopping = bool(status.training and status.training.cancelling)
        label, idle = retrain_label(status), not busy and not self.studio.read_only
        words: Changes = {
            header.status: draw_status(status),
            self.progress: draw_training(status),
            self.run: used,
            self.standing: f"{used} {status.changed > 0} {status.model_ready}",
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
        return {self.seen: now, **{each: drawn[each] for each in fresh}}
