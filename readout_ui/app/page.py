"""The app: header and tabs, and every event that crosses from one tab to another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr

from readout_ui.app.api import publish_programs
from readout_ui.app.assets import ASK_AGAIN, STYLES
from readout_ui.app.events import (
    DEVICE,
    PRIVATE,
    QUIET,
    SAME_SITE,
    Changes,
    Values,
    bound,
    components,
    guarded,
)
from readout_ui.app.header import Clock, Header, build_clock, build_header
from readout_ui.app.session import Studio
from readout_ui.app.tabs.advice import build_advice_tab, refresh_advice
from readout_ui.app.tabs.compare import build_compare_tab, refresh_compare
from readout_ui.app.tabs.concepts import ConceptsTab, build_concepts_tab
from readout_ui.app.tabs.crosstalk import build_crosstalk_tab, refresh_crosstalk
from readout_ui.app.tabs.export import build_export_tab, refresh_export
from readout_ui.app.tabs.generalization import build_generalization_tab, refresh_generalization
from readout_ui.app.tabs.inspect import build_inspect_tab, refresh_inspect
from readout_ui.app.tabs.layers import build_layers_tab, refresh_layers, use_layers
from readout_ui.app.tabs.live import build_live_tab
from readout_ui.app.tabs.sources import build_sources_tab, refresh_sources
from readout_ui.app.tabs.steering import build_steering_tab, refresh_steering
from readout_ui.app.tabs.top_tokens import build_snippets_tab, refresh_snippets
from readout_ui.app.tabs.train import TrainTab, build_train_tab, refresh_train

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
        clock = build_clock(studio, app, header, train)
        _wire_training(studio, header, train, concepts, clock)
        layers.use.click(guarded(use_layers), layers.chosen, train.settings.layers, **PRIVATE)
        followers: tuple[tuple[Callable[..., Changes], Any, Any], ...] = (
            (refresh_inspect, inspect, inspect.controls.reading),
            (refresh_compare, compare.question, compare.question.chosen),
            (refresh_steering, steering, None),
            (refresh_snippets, snippets, None),
            (refresh_sources, sources, None),
            (refresh_crosstalk, crosstalk, crosstalk.shown),
            (refresh_generalization, generalization, generalization.shown),
            (refresh_layers, layers, layers.shown),
        )
        for refresh, tab, inputs in followers:
            clock.run.change(bound(refresh, studio, tab), inputs, components(tab), **QUIET)
        # These follow the texts as well, and advice waits for the device.
        for refresh, tab, manner in (
            (refresh_advice, advice, {**DEVICE, **QUIET}),
            (refresh_train, train, QUIET),
            (refresh_export, export, QUIET),
        ):
            clock.standing.change(bound(refresh, studio, tab), None, components(tab), **manner)
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


def _wire_training(
    studio: Studio, header: Header, train: TrainTab, concepts: ConceptsTab, clock: Clock
) -> None:
    """Three ways to start the one training: the header, the Train tab, Ctrl+Enter in the editor."""

    def start_with(values: Values) -> None:
        studio.start_training(train.settings.settings(values))

    def start() -> None:
        studio.start_training()

    started = (
        train.train.click(guarded(start_with), set(train.settings.inputs), None, **PRIVATE),
        header.retrain.click(guarded(start), None, None, **PRIVATE),
        concepts.train_requested(guarded(start), None, None, **PRIVATE),
        train.run_chosen,
    )
    for event in started:
        clock.tick_after(event)
