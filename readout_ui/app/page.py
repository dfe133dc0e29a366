"""The page: header, Train drawer and four rooms, and what crosses from one to another."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import gradio as gr
from fastapi import FastAPI, HTTPException
from starlette.types import ASGIApp

from readout_ui.app.api import publish_programs
from readout_ui.app.api_answers import NAMES, answer_in_json
from readout_ui.app.assets import ASK_AGAIN, START_AGAIN, STYLES
from readout_ui.app.clock import Clock
from readout_ui.app.events import IN_TURN, LATEST, Values, bound, components, guarded
from readout_ui.app.header import Header, ModelPicker
from readout_ui.app.judge.layers import use_layers
from readout_ui.app.login import Login, ServedRoutes, WatchPages
from readout_ui.app.rooms import JudgeRoom, ReadRoom, ShipRoom, WriteRoom
from readout_ui.app.session import Studio
from readout_ui.app.train import TrainDrawer
from readout_ui.inference.gate import Gate, Hosts

SYSTEM_FONTS = ["ui-sans-serif", "system-ui", "sans-serif"]
MOST_BYTES, MOST_UPLOAD = 80_000_000, 210_000_000
"""Longest request: a set of 50 MB travels in base64, files of up to 200 MB as they are."""
MOST_EVENTS = 64
"""How many of the page's events run at once: more than may wait for the device (gradio: 40, as many
as may wait), so that Cancel and the clock always have their turn."""
SYSTEM_MONO = ["ui-monospace", "Menlo", "Consolas", "monospace"]


ROOMS: dict[str, Any] = {
    "Write": WriteRoom,
    "Read": ReadRoom,
    "Judge": JudgeRoom,
    "Ship": ShipRoom,
}


def build_app(studio: Studio) -> gr.Blocks:
    """Build the whole page over one studio; nothing here loads torch."""
    app: gr.Blocks
    rooms: dict[str, Any] = {}
    with gr.Blocks(title="Readout Studio", analytics_enabled=False) as app:
        header = Header(studio)
        drawer, picker = TrainDrawer(studio), ModelPicker(studio)
        header.model.select(bound(picker.refresh), None, components(picker), **LATEST)
        # Tabs whose strip is not seen: a room comes onto the page at its first visit.
        with gr.Tabs(elem_id="rooms", selected=studio.home()):
            for name, build in ROOMS.items():
                with gr.Tab(name, id=name.lower(), elem_id=f"room-{name.lower()}"):
                    rooms[name] = build(studio)
        clock = Clock(studio, app, header, drawer)
        for room in rooms.values():
            room.follow(clock)
        _wire_training(studio, header, drawer, clock, rooms)
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
        "footer_links": [],
        "show_error": False,
        "ssr_mode": False,
        "allowed_paths": [str(studio.options.runs)],
        "app_kwargs": {"middleware": [ASK_AGAIN, START_AGAIN]},
    }


class Known(dict[int, Any]):
    """The page's events, or its components, as gradio looks them up by the number it was sent."""

    def __missing__(self, number: int) -> Any:
        raise HTTPException(404, f"There is nothing of number {number} here; reload the page.")


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
    page.default_config.fns, page.blocks = Known(page.fns), Known(page.blocks)
    options = {**launch_options(studio), "mcp_server": bool(tools_at)}
    if tools_at:
        options["footer_links"] = ["api"]
    gr.mount_gradio_app(site, page, path="/", **options)
    # As `launch` does. Only then gradio refuses files that no visitor uploaded, such as /etc/passwd
    # in the place of an upload, and tells in its streams that they are alive.
    page.has_launched = page.is_running = True
    # On threads of their own: gradio would take those that deliver the page.
    page.max_threads = page._queue.max_thread_count = MOST_EVENTS
    if tools_at:
        answer_in_json(page, tools_at)
    site.add_middleware(WatchPages, left=studio.worker.leave)
    site.add_middleware(ServedRoutes, endpoints=NAMES)
    if login is not None:
        site.add_middleware(Login, user=login[0], password=login[1])
    site.add_middleware(Gate, hosts=hosts, most_bytes=MOST_BYTES, most_upload=MOST_UPLOAD)
    return site


def _wire_training(
    studio: Studio, header: Header, drawer: TrainDrawer, clock: Clock, rooms: dict[str, Any]
) -> None:
    """Two ways to start the one training, the header and Ctrl+Enter in the editor, and what
    chooses its settings."""

    def start(values: Values) -> None:
        drawer.settings.settings(values)  # what makes no sense there is told
        studio.start_training()

    def take_layers(chosen: str | None) -> None:
        studio.choose_settings(replace(studio.settings, layers=use_layers(chosen)))

    settings, runs, layers = {*drawer.settings.all}, rooms["Ship"].runs, rooms["Judge"].layers
    started = (
        header.retrain.click(guarded(start), settings, None, **IN_TURN),
        rooms["Write"].concepts.train_requested(guarded(start), settings, None, **IN_TURN),
        layers.use.click(guarded(take_layers), layers.chosen, None, **IN_TURN),
        runs.run_chosen,
    )
    for event in started:
        clock.tick_after(event)
