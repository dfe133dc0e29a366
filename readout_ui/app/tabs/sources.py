"""The Sources tab: training on contrast pairs, stories or scored memories instead of descriptions.

A training here is the studio's one training: the header shows and cancels it, it goes on when the
page is left, and its run is kept beside the others.

Stories on the Sources tab: a zip or JSON lines, which scenes they share, what may go wrong.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from readout_ui.app.events import HIDDEN, PRIVATE, QUIET, guarded, seen_if
from readout_ui.app.follow import LOOK_SECONDS, draw_failure, draw_job
from readout_ui.app.jobs import JobState, JobView
from readout_ui.app.session import Studio
from readout_ui.app.tabs.sources_html import draw_sentence, draw_stories, draw_trained
from readout_ui.app.tabs.sources_memories import build_memory_inputs, memory_wish
from readout_ui.app.tabs.sources_pairs import build_pair_inputs, pair_wish
from readout_ui.app.tabs.train import READ_CHOICES
from readout_ui.errors import UserError
from readout_ui.texts.stories import StoryLibrary, read_stories, read_story_zip
from readout_ui.vectors.settings import METHOD_NAMES, READ_RULE_NAMES, TrainSettings

if TYPE_CHECKING:
    from readout_ui.vectors.sources import TextSource

TO_BEGIN = (
    "Drop a zip with a folder of .txt files for each concept (calm/kitchen.txt), or JSON lines "
    'such as {"concept": "calm", "scene": "kitchen", "text": "..."}.'
)


@dataclass(frozen=True)
class StoryInputs:
    """Where the stories are, and whether file names are scenes."""

    file: gr.File
    pair_by_name: gr.Checkbox

    def all(self) -> list[Any]:
        """In the order `story_wish` takes them."""
        return [self.file, self.pair_by_name]


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
    about = gr.HTML(draw_sentence(TO_BEGIN), elem_id="src-story-about", padding=False)
    events = [file.upload, file.clear, pair_by_name.input]
    gr.on(events, guarded(show_stories), [file, pair_by_name], about, **QUIET)
    return StoryInputs(file, pair_by_name)


def show_stories(path: str | None, pair_by_name: bool) -> str:
    """The stories by concept with their scenes and warnings, or why they cannot be read."""
    if not path:
        return draw_sentence(TO_BEGIN)
    try:
        return draw_stories(_read(path, pair_by_name))
    except UserError as error:
        return draw_sentence(str(error), "failed")


def story_wish(path: str | None, pair_by_name: bool) -> TextSource:
    """The training that is on screen.

    Raises:
        UserError: there are no stories, or they cannot be read.
    """
    if not path:
        raise UserError("there are no stories yet", fix="drop a zip or JSON lines")
    from readout_ui.vectors.sources import story_source

    return story_source(_read(path, pair_by_name))


def _read(path: str, pair_by_name: bool) -> StoryLibrary:
    file = Path(path)
    if file.suffix.lower() == ".zip":
        return read_story_zip(file, pair_by_name)
    return read_stories(file)


SOURCES = {"Contrast pairs": "pairs", "Stories": "stories", "Scored memories": "memories"}
METHOD_CHOICES = {
    "mean": "Mean difference (default)",
    "pca": "PCA of differences",
    "logistic": "Logistic regression",
}
INTRO = (
    "Directions from other texts than descriptions: two sides that differ in one thing, stories, "
    "or memories that were scored."
)
N_PAIR_INPUTS, N_STORY_INPUTS = 6, 2
LONG_TEXT = 1024
"""Tokens read of a story or memory; a side of a pair is read like a description."""


@dataclass(frozen=True)
class SourcesTab:
    """Components of the Sources tab that others listen to."""

    trained: gr.HTML
    """What the run in use reached, where it is from one of these sources."""

    @property
    def refreshed(self) -> list[Any]:
        """The outputs of `refresh_sources`."""
        return [self.trained]


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
    boxes = [pair_box, story_box, memory_box]
    settings = _build_settings()
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
    trained = gr.HTML(draw_trained(studio.runs.current()), elem_id="src-trained", padding=False)

    def show_source(chosen: str) -> tuple[Any, ...]:
        return tuple(gr.Column(visible=seen_if(chosen == name)) for name in SOURCES.values())

    def start(*values: Any) -> Iterator[tuple[Any, ...]]:
        yield from follow_training(studio, values)

    source.input(show_source, source, boxes, **QUIET)
    inputs = [source, *settings, *pairs.all(), *stories.all(), *memories.all()]
    outputs = [progress, train, cancel, trained]
    train.click(start, inputs, outputs, **FOLLOWING)
    cancel.click(guarded(studio.cancel_training), **QUIET)
    return SourcesTab(trained)


FOLLOWING: dict[str, Any] = {
    **PRIVATE,
    "show_progress": "hidden",
    "concurrency_id": "sources",
    "concurrency_limit": 16,
}
"""For the event that only looks at a training."""


def refresh_sources(studio: Studio) -> tuple[Any, ...]:
    """New values for `SourcesTab.refreshed` after a run was made or chosen."""
    return (draw_trained(studio.runs.current()),)


def wish_of(studio: Studio, values: tuple[Any, ...]) -> tuple[TextSource, TrainSettings]:
    """The training on screen: source, method, read rule, layers, then the source's inputs.

    Raises:
        UserError: something on screen cannot be trained on.
    """
    studio.refuse_if_read_only("train")
    source, method, read, layers, *rest = values
    chosen = TrainSettings(
        method=method,
        read=read,
        layers=str(layers).strip().lower() or "all",
        max_length=TrainSettings.max_length if source == "pairs" else LONG_TEXT,
    )
    # The inputs stand one after the other as `build_sources_tab` lists them.
    match source:
        case "pairs":
            return pair_wish(studio, *rest[:N_PAIR_INPUTS]), chosen
        case "stories":
            return story_wish(*rest[N_PAIR_INPUTS:][:N_STORY_INPUTS]), chosen
        case _:
            return memory_wish(*rest[N_PAIR_INPUTS + N_STORY_INPUTS :]), chosen


def follow_training(studio: Studio, values: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    """Progress, Train, Cancel and result, until the training has ended.

    Who stops looking does not stop the training.
    """
    try:
        job = studio.start_training_from(*wish_of(studio, values))
    except UserError as error:
        yield draw_failure(str(error)), gr.skip(), gr.skip(), gr.skip()
        return
    before: Any = None
    while not (view := job.view()).state.finished:
        now = draw_job(view, studio.worker)
        if now != before:
            buttons = (gr.skip(), gr.skip()) if before else (_button(False), _cancel(True))
            yield now, *buttons, gr.skip()
        before = now
        time.sleep(LOOK_SECONDS)
    done = view.state is JobState.DONE
    trained = draw_trained(studio.runs.current()) if done else gr.skip()
    yield draw_outcome(view), _button(True), _cancel(False), trained


def draw_outcome(view: JobView) -> str:
    """How the training ended."""
    if view.state is JobState.FAILED:
        return draw_failure(view.error)
    if view.state is JobState.CANCELLED:
        return "<p class='src-note'><b>Cancelled.</b> The vectors in use are as before.</p>"
    return f"<p class='src-note'><b>Trained in {view.seconds:.1f} s.</b></p>"


def _button(interactive: bool) -> gr.Button:
    return gr.Button(interactive=interactive)


def _cancel(visible: bool) -> gr.Button:
    return gr.Button(visible=seen_if(visible))


def _build_settings() -> tuple[Any, ...]:
    """Method, read rule and layers."""
    with gr.Accordion("How it is fitted", open=False, elem_id="src-settings"), gr.Row():
        method = gr.Dropdown(
            [(METHOD_CHOICES[name], name) for name in METHOD_NAMES],
            value="mean",
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
    return method, read, layers
