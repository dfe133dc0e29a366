"""The app: header and tabs, and every event that crosses from one tab to another."""

from __future__ import annotations

from html import escape
from typing import Any

import gradio as gr
from fastapi import FastAPI
from starlette.types import ASGIApp

from readout_ui.app.api import publish_programs
from readout_ui.app.api_answers import answer_in_json
from readout_ui.app.assets import ASK_AGAIN, STYLES
from readout_ui.app.events import (
    DEVICE,
    PRIVATE,
    QUIET,
    Changes,
    Part,
    Values,
    bound,
    components,
    guarded,
)
from readout_ui.app.follow import draw_progress, is_training
from readout_ui.app.jobs import JobState
from readout_ui.app.login import Login, ServedRoutes, WatchPages
from readout_ui.app.session import Studio
from readout_ui.app.status import Status
from readout_ui.app.tabs.advice import AdviceTab
from readout_ui.app.tabs.compare import CompareTab
from readout_ui.app.tabs.concepts import build_concepts_tab
from readout_ui.app.tabs.crosstalk import CrosstalkTab
from readout_ui.app.tabs.export import ExportTab
from readout_ui.app.tabs.generalization import GeneralizationTab
from readout_ui.app.tabs.inspect import InspectTab
from readout_ui.app.tabs.layers import LayersTab, use_layers
from readout_ui.app.tabs.live import build_live_tab
from readout_ui.app.tabs.sources import SourcesTab
from readout_ui.app.tabs.steering import SteeringTab
from readout_ui.app.tabs.top_tokens import SnippetsTab
from readout_ui.app.tabs.train import TrainTab, draw_training
from readout_ui.inference.gate import Gate, Hosts


class Header(Part):
    """The status line and two buttons: train as last time, and stop."""

    def __init__(self, studio: Studio) -> None:
        with gr.Row(elem_id="header", equal_height=True):
            gr.HTML("<h1>Readout Studio</h1>", elem_id="wordmark", min_width=150, padding=False)
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
        self.cancel.click(guarded(studio.cancel_training), **QUIET)


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

    def __init__(self, studio: Studio, app: gr.Blocks, header: Header, train: TrainTab) -> None:
        self.studio, self.header, self.progress = studio, header, train.progress
        self.run = gr.State("")  # changes when another run is in use
        self.standing = gr.State("")  # and once texts differ, and once the model is loaded
        self.seen = gr.State({})  # what this page shows already, by the id of the component
        show, outputs = bound(self.tick), components(self)
        gr.Timer(TICK_SECONDS).tick(show, self.seen, outputs, **QUIET)
        app.load(show, self.seen, outputs, **QUIET)

    def tick_after(self, event: Any) -> None:
        """Do not wait for the next second after this event."""
        event.then(bound(self.tick), self.seen, components(self), **QUIET)

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


SYSTEM_FONTS = ["ui-sans-serif", "system-ui", "sans-serif"]
MOST_BYTES, MOST_UPLOAD = 80_000_000, 210_000_000
"""Longest request: a set of 50 MB travels in base64, files of up to 200 MB as they are."""
SYSTEM_MONO = ["ui-monospace", "Menlo", "Consolas", "monospace"]


def build_app(studio: Studio) -> gr.Blocks:
    """Build the whole page over one studio; nothing here loads torch."""
    app: gr.Blocks
    with gr.Blocks(title="Readout Studio", analytics_enabled=False) as app:
        header = Header(studio)
        with gr.Tabs(elem_id="tabs"):
            with gr.Tab("Concepts", id="concepts"):
                concepts: Any = build_concepts_tab(studio)
            with gr.Tab("Train", id="train"):
                train = TrainTab(studio)
            with gr.Tab("Sources", id="sources"):
                sources = SourcesTab(studio)
            with gr.Tab("Inspect", id="inspect"):
                inspect = InspectTab(studio)
            with gr.Tab("Compare", id="compare"):
                compare = CompareTab(studio)
            with gr.Tab("Live", id="live"):
                build_live_tab(studio)
            with gr.Tab("Steering", id="steering"):
                steering = SteeringTab(studio)
            with gr.Tab("Snippets", id="snippets"):
                snippets = SnippetsTab(studio)
            with gr.Tab("Cross-talk", id="crosstalk"):
                crosstalk = CrosstalkTab(studio)
            with gr.Tab("Generalization", id="generalization"):
                generalization = GeneralizationTab(studio)
            with gr.Tab("Layers", id="layers"):
                layers = LayersTab(studio)
            with gr.Tab("Advice", id="advice"):
                advice = AdviceTab(studio)
            with gr.Tab("Export", id="export"):
                export = ExportTab(studio)
        clock = Clock(studio, app, header, train)
        _wire_training(studio, header, train, concepts, clock)
        layers.use.click(guarded(use_layers), layers.chosen, train.settings.layers, **PRIVATE)
        for tab, inputs in (
            (inspect, inspect.controls.reading),
            (compare.question, compare.question.chosen),
            (steering, None),
            (snippets, None),
            (sources, None),
            (crosstalk, crosstalk.shown),
            (generalization, generalization.shown),
            (layers, layers.shown),
        ):
            clock.run.change(bound(tab.refresh), inputs, components(tab), **QUIET)
        # These follow the texts as well, and advice waits for the device.
        for follower, manner in ((advice, {**DEVICE, **QUIET}), (train, QUIET), (export, QUIET)):
            outputs = components(follower)
            clock.standing.change(bound(follower.refresh), None, outputs, **manner)
        publish_programs(studio)
    return app


def launch_options(studio: Studio) -> dict[str, Any]:
    """What `Blocks.launch` needs besides address and login: look, and nothing from outside."""
    theme = gr.themes.Default(
        primary_hue="teal",
        neutral_hue="slate",
        font=SYSTEM_FONTS,
        font_mono=SYSTEM_MONO,
        radius_size="lg",
    ).set(  # white on teal 500 is too faint to read (2.5:1)
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_dark="*primary_700",
        button_primary_background_fill_hover_dark="*primary_600",
    )
    return {
        "theme": theme,
        "css_paths": STYLES,
        "footer_links": ["settings"],
        "show_error": False,
        "ssr_mode": False,
        "allowed_paths": [str(studio.options.runs)],
        "app_kwargs": {"middleware": [ASK_AGAIN]},
    }


def build_site(
    studio: Studio, hosts: Hosts, login: tuple[str, str] | None = None, tools_at: str = ""
) -> ASGIApp:
    """The whole page behind its gate.

    Args:
        studio: what the page is of.
        hosts: the names it is served under.
        login: user and password, where it asks for them.
        tools_at: own address, where the named endpoints are MCP tools too; the footer says so.
    """
    page, site = build_app(studio), FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    options = {**launch_options(studio), "mcp_server": bool(tools_at)}
    if tools_at:
        options["footer_links"] = ["api", "settings"]
    gr.mount_gradio_app(site, page, path="/", **options)
    # As `launch` does. Only then gradio refuses files that no visitor uploaded, such as /etc/passwd
    # in the place of an upload, and tells in its streams that they are alive.
    page.has_launched = page.is_running = True
    if tools_at:
        answer_in_json(page, tools_at)
    site.add_middleware(WatchPages, left=studio.worker.leave)
    site.add_middleware(ServedRoutes)
    if login is not None:
        site.add_middleware(Login, user=login[0], password=login[1])
    site.add_middleware(Gate, hosts=hosts, most_bytes=MOST_BYTES, most_upload=MOST_UPLOAD)
    return site


def _wire_training(
    studio: Studio, header: Header, train: TrainTab, concepts: Any, clock: Clock
) -> None:
    """Three ways to start the one training: the header, the Train tab, Ctrl+Enter in the editor."""

    def start_with(values: Values) -> None:
        studio.start_training(train.settings.settings(values))

    def start() -> None:
        studio.start_training()

    started = (
        train.train.click(guarded(start_with), {*components(train.settings)}, None, **PRIVATE),
        header.retrain.click(guarded(start), None, None, **PRIVATE),
        concepts.train_requested(guarded(start), None, None, **PRIVATE),
        train.run_chosen,
    )
    for event in started:
        clock.tick_after(event)
