"""The Sources tab: training on contrast pairs, stories or scored memories instead of descriptions.

A training here is the session's one training: the header shows and cancels it, it goes on when the
page is left, and its run is kept beside the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from readout_ui.app.events import HIDDEN, QUIET, Changes, Values, guarded, seen_if
from readout_ui.app.follow import Follower, Task, draw_failure
from readout_ui.app.jobs import JobState, JobView
from readout_ui.app.session import Studio
from readout_ui.app.tabs.sources_html import draw_stories, draw_trained
from readout_ui.app.tabs.sources_memories import MemoryInputs, build_memory_inputs, memory_request
from readout_ui.app.tabs.sources_pairs import PairInputs, build_pair_inputs, pair_request
from readout_ui.app.tabs.train import METHOD_CHOICES, READ_CHOICES
from readout_ui.app.widgets import sentence
from readout_ui.errors import UserError
from readout_ui.texts.stories import StoryLibrary, read_stories, read_story_zip
from readout_ui.vectors.settings import (
    LAYER_TYPE_NAMES,
    METHOD_NAMES,
    READ_RULE_NAMES,
    TrainSettings,
)

if TYPE_CHECKING:
    from readout_ui.vectors.sources import Texts, TextSource

TO_BEGIN = (
    "Drop a zip with a folder of .txt files for each concept (calm/kitchen.txt), or JSON lines "
    'such as {"concept": "calm", "scene": "kitchen", "text": "..."}.'
)


@dataclass(frozen=True)
class StoryInputs:
    """Where the stories are, and whether file names are scenes."""

    file: gr.File
    pair_by_name: gr.Checkbox
    about: gr.HTML

    @property
    def asked(self) -> set[Any]:
        """What a training needs."""
        return {self.file, self.pair_by_name}


def build_story_inputs() -> StoryInputs:
    """Lay out the stories' part; what was dropped is described at once."""
    file = gr.File(
        label="Stories: zip or JSONL",
        file_types=[".zip", ".jsonl"],
        height=130,
        elem_id="src-story-file",
    )
    pair_by_name = gr.Checkbox(
        label="Files of the same name share a scene",
        info="What stories of one scene have in common cancels. JSON lines name their scene.",
        elem_id="src-story-pair",
    )
    about = gr.HTML(sentence(TO_BEGIN), elem_id="src-story-about", padding=False)
    inputs = StoryInputs(file, pair_by_name, about)

    def show(values: Values) -> Changes:
        return {about: show_stories(values[file], values[pair_by_name])}

    gr.on(
        [file.upload, file.clear, pair_by_name.input], guarded(show), inputs.asked, about, **QUIET
    )
    return inputs


def show_stories(path: str | None, pair_by_name: bool) -> str:
    """The stories by concept with their scenes and warnings, or why they cannot be read."""
    if not path:
        return sentence(TO_BEGIN)
    try:
        return draw_stories(_read(path, pair_by_name))
    except UserError as error:
        return sentence(str(error), "failed")


def story_request(path: str | None, pair_by_name: bool, neutral: Texts | None = None) -> TextSource:
    """The stories on screen, to be trained on.

    Raises:
        UserError: there are no stories, or they cannot be read.
    """
    from readout_ui.vectors.sources import story_source

    if not path:
        raise UserError("there are no stories yet", fix="drop a zip or JSON lines")

    return story_source(_read(path, pair_by_name), neutral)


def _read(path: str, pair_by_name: bool) -> StoryLibrary:
    file = Path(path)
    if file.suffix.lower() == ".zip":
        return read_story_zip(file, pair_by_name)
    return read_stories(file)


SOURCES = {"Contrast pairs": "pairs", "Stories": "stories", "Scored memories": "memories"}
INTRO = (
    "Directions from other texts than descriptions: two sides that differ in one thing, stories, "
    "or memories that were scored."
)
LONG_TEXT = 1024
"""Tokens read of a story or memory; a side of a pair is read like a description."""


@dataclass(frozen=True)
class SettingsInputs:
    """How a source is fitted."""

    method: gr.Dropdown
    read: gr.Dropdown
    layers: gr.Textbox
    layer_type: gr.Dropdown
    neutral: gr.Checkbox
    """Whether the description folder's neutral texts set the zero of scores; pairs always do so."""

    def settings(self, values: Values, max_length: int) -> TrainSettings:
        """The settings on screen; UserError on values that make no sense."""
        return TrainSettings(
            method=values[self.method],
            read=values[self.read],
            layers=str(values[self.layers]).strip().lower() or "all",
            layer_type=values[self.layer_type],
            max_length=max_length,
        )


@dataclass(frozen=True)
class SourcesTab:
    """Components of the Sources tab."""

    source: gr.Radio
    pairs: PairInputs
    stories: StoryInputs
    memories: MemoryInputs
    settings: SettingsInputs
    follower: Follower
    """Train, Cancel and progress."""
    trained: gr.HTML
    """What the run in use reached, where it is from one of these sources."""

    @property
    def asked(self) -> set[Any]:
        """What `request_from` takes."""
        sources = self.pairs.asked | self.stories.asked | self.memories.asked
        return {self.source, *vars(self.settings).values(), *sources}


def build_sources_tab(studio: Studio) -> SourcesTab:
    """Lay out the tab and wire its own events."""
    gr.Markdown(INTRO)
    source = gr.Radio(list(SOURCES.items()), value="pairs", label="Source", elem_id="src-source")
    with gr.Column(elem_id="src-pairs") as pair_box:
        pairs = build_pair_inputs()
    with gr.Column(elem_id="src-stories", visible=HIDDEN) as story_box:
        stories = build_story_inputs()
    with gr.Column(elem_id="src-memories", visible=HIDDEN) as memory_box:
        memories = build_memory_inputs()
    boxes = {"pairs": pair_box, "stories": story_box, "memories": memory_box}
    settings = _build_settings()
    train, follower = _build_go(studio)
    trained = gr.HTML(draw_trained(studio.runs.current()), elem_id="src-trained", padding=False)
    tab = SourcesTab(source, pairs, stories, memories, settings, follower, trained)

    def show_source(chosen: str) -> Changes:
        return {box: gr.Column(visible=seen_if(chosen == n)) for n, box in boxes.items()}

    source.input(show_source, source, list(boxes.values()), **QUIET)
    follower.wire(train, partial(train_source, studio, tab), tab.asked, [trained])
    follower.cancel_button.click(guarded(studio.cancel_training), **QUIET)
    return tab


def _build_go(studio: Studio) -> tuple[gr.Button, Follower]:
    with gr.Row(elem_id="src-go"):
        train = gr.Button(
            "Train on this",
            variant="primary",
            elem_id="src-train",
            interactive=not studio.read_only,
            scale=0,
            min_width=160,
        )
        cancel = gr.Button("Cancel", elem_id="src-cancel", visible=HIDDEN, scale=0, min_width=100)
        progress = gr.HTML(elem_id="src-progress", padding=False, min_width=220)
    return train, Follower(studio.worker, progress, cancel, [train])


def refresh_sources(studio: Studio, tab: SourcesTab) -> Changes:
    """What the run in use reached, after a run was made or chosen."""
    return {tab.trained: draw_trained(studio.runs.current())}


def request_from(
    studio: Studio, tab: SourcesTab, values: Values
) -> tuple[TextSource, TrainSettings]:
    """What is on screen: the texts, and how they are fitted.

    Raises:
        UserError: the app runs read-only, or something on screen cannot be trained on.
    """
    from readout_ui.vectors.sources import neutral_texts_of

    studio.refuse_if_read_only("train")
    source, pairs, stories = values[tab.source], tab.pairs, tab.stories
    longest = TrainSettings.max_length if source == "pairs" else LONG_TEXT
    settings = tab.settings.settings(values, longest)
    neutral = neutral_texts_of(studio.library()) if values[tab.settings.neutral] else None
    match source:
        case "pairs":
            leave_out = values[pairs.leave_out]
            texts = pair_request(studio, pairs.mapping(values), leave_out=leave_out)
        case "stories":
            texts = story_request(values[stories.file], values[stories.pair_by_name], neutral)
        case _:
            texts = memory_request(tab.memories, values, neutral)
    return texts, settings


def train_source(studio: Studio, tab: SourcesTab, values: Values) -> Task:
    """Train on what is on screen; it goes on when the page is left.

    Raises:
        UserError: it cannot be trained on, or another training is under way.
    """
    job = studio.start_training_from(*request_from(studio, tab, values))

    def end(view: JobView) -> Changes:
        trained = refresh_sources(studio, tab) if view.state is JobState.DONE else {}
        return {tab.follower.progress: draw_outcome(view), **trained}

    return Task(job, lambda _run: {}, end=end, outlives_page=True)


def draw_outcome(view: JobView) -> str:
    """How the training ended."""
    if view.state is JobState.FAILED:
        return draw_failure(view.error)
    if view.state is JobState.CANCELLED:
        return "<p class='src-note'><b>Cancelled.</b> The vectors in use are as before.</p>"
    return f"<p class='src-note'><b>Trained in {view.seconds:.1f} s.</b></p>"


def _build_settings() -> SettingsInputs:
    with gr.Accordion("How it is fitted", open=False, elem_id="src-settings"), gr.Row():
        method = gr.Dropdown(
            [(METHOD_CHOICES[name], name) for name in METHOD_NAMES],
            value=TrainSettings.method,
            label="Method",
            elem_id="src-method",
        )
        read = gr.Dropdown(
            [(READ_CHOICES[name], name) for name in READ_RULE_NAMES],
            value="content_mean",
            label="Read rule",
            info="Which tokens of a text become its activation.",
            elem_id="src-read",
        )
        layers = gr.Textbox(
            "all",
            label="Layers",
            info="all, auto (the best one), or numbers such as 14,22 or -1",
            elem_id="src-layers",
        )
        layer_type = gr.Dropdown(
            list(LAYER_TYPE_NAMES),
            value=TrainSettings.layer_type,
            label="Layer type",
            info="What of a decoder block is read.",
            elem_id="src-layer-type",
        )
        neutral = gr.Checkbox(
            label="Neutral texts of the description folder set the zero of scores",
            info="For stories and memories; pairs always use them.",
            elem_id="src-neutral",
        )
    return SettingsInputs(method, read, layers, layer_type, neutral)
