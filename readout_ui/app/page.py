"""The app: header and tabs, and every event that crosses from one tab to another."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import gradio as gr

from readout_ui.app.api import publish_programs
from readout_ui.app.assets import ASK_AGAIN, STYLES
from readout_ui.app.clock import Clock, wire_clock
from readout_ui.app.events import DEVICE, PRIVATE, QUIET, SAME_SITE, guarded
from readout_ui.app.header import Header, build_header
from readout_ui.app.session import Studio
from readout_ui.app.tabs.advice import AdviceTab, build_advice_tab, refresh_advice
from readout_ui.app.tabs.compare import build_compare_tab, refresh_compare
from readout_ui.app.tabs.concepts import ConceptsTab, build_concepts_tab
from readout_ui.app.tabs.crosstalk import CrosstalkTab, build_crosstalk_tab, refresh_crosstalk
from readout_ui.app.tabs.export import ExportTab, build_export_tab, refresh_export
from readout_ui.app.tabs.generalization import (
    GeneralizationTab,
    build_generalization_tab,
    refresh_generalization,
)
from readout_ui.app.tabs.inspect import InspectTab, build_inspect_tab, draw_notice
from readout_ui.app.tabs.layers import LayersTab, build_layers_tab, refresh_layers, use_layers
from readout_ui.app.tabs.live import build_live_tab
from readout_ui.app.tabs.sources import build_sources_tab, refresh_sources
from readout_ui.app.tabs.steering import build_steering_tab, refresh_steering
from readout_ui.app.tabs.top_tokens import build_snippets_tab, refresh_snippets
from readout_ui.app.tabs.train import (
    TrainTab,
    build_train_tab,
    settings_from,
    show_scores,
    wire_train_tab,
)
from readout_ui.app.widgets import draw_runs

SYSTEM_FONTS = ["ui-sans-serif", "system-ui", "sans-serif"]
SYSTEM_MONO = ["ui-monospace", "Menlo", "Consolas", "monospace"]


def build_app(studio: Studio) -> gr.Blocks:
    """Build the whole page over one studio; nothing here loads torch."""
    app: gr.Blocks
    with gr.Blocks(title="Readout Studio", analytics_enabled=False) as app:
        header = build_header(studio)
        with gr.Tabs(elem_id="tabs"):
            with gr.Tab("Concepts", id="concepts"):
                concepts = build_concepts_tab(studio)
            with gr.Tab("Train", id="train"):
                train = build_train_tab(studio)
            with gr.Tab("Sources", id="sources"):
                sources = build_sources_tab(studio)
            with gr.Tab("Inspect", id="inspect"):
                inspect = build_inspect_tab(studio)
            with gr.Tab("Compare", id="compare"):
                compare = build_compare_tab(studio)
            with gr.Tab("Live", id="live"):
                build_live_tab(studio)
            with gr.Tab("Steering", id="steering"):
                steering = build_steering_tab(studio)
            with gr.Tab("Snippets", id="snippets"):
                snippets = build_snippets_tab(studio)
            with gr.Tab("Cross-talk", id="crosstalk"):
                crosstalk = build_crosstalk_tab(studio)
            with gr.Tab("Generalization", id="generalization"):
                generalization = build_generalization_tab(studio)
            with gr.Tab("Layers", id="layers"):
                layers = build_layers_tab(studio)
            with gr.Tab("Advice", id="advice"):
                advice = build_advice_tab(studio)
            with gr.Tab("Export", id="export"):
                export = build_export_tab(studio)
        clock = wire_clock(studio, app, header, train)
        _wire_training(studio, header, train, concepts, clock)
        clock.tick_after(wire_train_tab(studio, train))
        _wire_runs(studio, clock, train, export, inspect)
        _wire_judgements(studio, clock, Judged(crosstalk, generalization, layers, advice), train)
        follow = guarded(partial(refresh_compare, studio))
        clock.run.change(follow, list(compare.inputs), list(compare.refreshed), **QUIET)
        follow = guarded(partial(refresh_steering, studio))
        clock.run.change(follow, None, steering.refreshed, **QUIET)
        follow = guarded(partial(refresh_snippets, studio))
        clock.run.change(follow, None, snippets.refreshed, **QUIET)
        follow = guarded(partial(refresh_sources, studio))
        clock.run.change(follow, None, sources.refreshed, **QUIET)
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
        "ssr_mode": False,
        "allowed_paths": [str(studio.options.runs)],
        "app_kwargs": {"middleware": [SAME_SITE, ASK_AGAIN]},
    }


class Judged(NamedTuple):
    """The tabs that judge the run in use."""

    crosstalk: CrosstalkTab
    generalization: GeneralizationTab
    layers: LayersTab
    advice: AdviceTab


def _wire_training(
    studio: Studio, header: Header, train: TrainTab, concepts: ConceptsTab, clock: Clock
) -> None:
    """Three ways to start the one training: the header, the Train tab, Ctrl+Enter in the editor."""

    def start_with(*values: Any) -> None:
        studio.start_training(settings_from(*values))

    def start() -> None:
        studio.start_training()

    started = (
        train.train.click(guarded(start_with), list(train.settings), None, **PRIVATE),
        header.retrain.click(guarded(start), None, None, **PRIVATE),
        concepts.train_requested(guarded(start), None, None, **PRIVATE),
    )
    for event in started:
        clock.tick_after(event)


def _wire_runs(
    studio: Studio, clock: Clock, train: TrainTab, export: ExportTab, inspect: InspectTab
) -> None:
    """After a training or a step back to an earlier run, show it everywhere."""

    def refresh() -> tuple[object, ...]:
        run_in_use = studio.runs.current()
        return draw_runs(studio), show_scores(run_in_use), *refresh_export(studio)

    def notice(reading: Any) -> str:
        return draw_notice(studio.status(), reading)

    outputs = [
        train.runs,
        train.layers,
        export.about,
        export.concepts,
        export.layers,
        export.allow_changed,
    ]
    clock.standing.change(refresh, None, outputs, **QUIET)
    clock.run.change(notice, inspect.reading, inspect.notice, **QUIET)


def _wire_judgements(studio: Studio, clock: Clock, judged: Judged, train: TrainTab) -> None:
    """What was judged of another run is taken down; chosen layers go to the next training."""
    refreshes = (
        (clock.run, refresh_crosstalk, judged.crosstalk.refreshed),
        (clock.run, refresh_generalization, judged.generalization.refreshed),
        (clock.run, refresh_layers, judged.layers.outputs),
        (clock.standing, refresh_advice, judged.advice.refreshed),
    )
    for cause, refresh, outputs in refreshes:
        manner = {**DEVICE, **QUIET} if refresh is refresh_advice else QUIET
        cause.change(guarded(partial(refresh, studio)), None, outputs, **manner)
    judged.layers.use.click(guarded(use_layers), judged.layers.chosen, train.settings[2], **PRIVATE)
