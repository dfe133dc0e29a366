"""Texts from elsewhere: contrast pairs, stories or scored memories, added or trained on alone.

A training here is the session's one training: the header shows and cancels it, it goes on when the
page is left, and its run is kept beside the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import gradio as gr

from readout_ui.app.events import (
    AWAY,
    LATEST,
    PRIVATE,
    QUIET,
    Changes,
    Part,
    Values,
    bound,
    components,
    guarded,
    seen_if,
)
from readout_ui.app.follow import Follower, Task
from readout_ui.app.jobs import JobState, JobView
from readout_ui.app.session import Studio
from readout_ui.app.train import METHOD_CHOICES, READ_CHOICES
from readout_ui.app.widgets import count, sentence, table
from readout_ui.app.write.memories import MemoryInputs, memory_request
from readout_ui.app.write.pairs import PairInputs, pair_request
from readout_ui.app.write.trained import draw_outcome, draw_trained
from readout_ui.errors import UserError
from readout_ui.texts.editing import add_texts
from readout_ui.texts.names import against_name
from readout_ui.texts.stories import StoryLibrary, read_stories, read_story_zip
from readout_ui.texts.tags import change_tags
from readout_ui.texts.words import cut
from readout_ui.vectors.settings import LAYER_TYPE_NAMES, RECIPES, TrainSettings

if TYPE_CHECKING:
    from readout_ui.vectors.sources import Texts, TextSource

TO_BEGIN = (
    "Drop a zip with a folder of .txt files for each concept (calm/kitchen.txt), or JSON lines "
    'such as {"concept": "calm", "scene": "kitchen", "text": "..."}.'
)


SOURCES = {"Contrast pairs": "pairs", "Stories": "stories", "Scored memories": "memories"}
INTRO = (
    "Texts from elsewhere: two sides that differ in one thing, stories, or memories that were "
    "scored. **Add to the library** puts them beside the described concepts, to be trained "
    "together (pairs and memories with the texts they are contrasted with); **Train on this "
    "alone** makes a run of its own."
)
Sides = tuple[tuple[str, ...], tuple[str, ...]]
"""Texts for a concept and against it."""
LONG_TEXT = 1024
"""Tokens read of a story or memory; a side of a pair is read like a description."""


SHOWN_SCENES = 8


class StoryInputs(Part):
    """Where the stories are, and whether file names are scenes; described as soon as dropped."""

    def __init__(self) -> None:
        self.file = gr.File(
            label="Stories: zip or JSONL",
            file_types=[".zip", ".jsonl"],
            height=130,
            elem_id="src-story-file",
        )
        self.pair_by_name = gr.Checkbox(
            label="Files of the same name share a scene",
            info="What stories of one scene have in common cancels. JSON lines name their scene.",
            elem_id="src-story-pair",
        )
        self.about = gr.HTML(sentence(TO_BEGIN), elem_id="src-story-about", padding=False)
        self.recipe = gr.Dropdown(
            [("As set below", ""), *((name, name) for name in RECIPES)],
            value="",
            label="Recipe",
            info="anthropic-2026: tokens from the 50th on (of short texts the last two thirds), "
            "minus the mean of the other concepts, components of neutral texts removed.",
            elem_id="src-story-recipe",
        )
        self.asked: set[Any] = {self.file, self.pair_by_name, self.recipe}
        events = [self.file.upload, self.file.clear, self.pair_by_name.input]
        gr.on(events, bound(self.show), self.asked, self.about, **LATEST)

    def show(self, values: Values) -> Changes:
        """What was dropped."""
        return {self.about: show_stories(values[self.file], values[self.pair_by_name])}


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


class SettingsInputs(Part):
    """How a source is fitted."""

    def __init__(self) -> None:
        with gr.Accordion("How it is fitted", open=False, elem_id="src-settings"), gr.Row():
            self.method = gr.Dropdown(
                METHOD_CHOICES, value=TrainSettings.method, label="Method", elem_id="src-method"
            )
            self.read = gr.Dropdown(
                READ_CHOICES,
                value=TrainSettings.read,
                label="Read rule",
                info="Which tokens of a text become its activation.",
                elem_id="src-read",
            )
            self.layers = gr.Textbox(
                "all",
                label="Layers",
                info="all, auto (the best one), or numbers such as 14,22 or -1",
                elem_id="src-layers",
            )
            self.layer_type = gr.Dropdown(
                list(LAYER_TYPE_NAMES),
                value=TrainSettings.layer_type,
                label="Layer type",
                info="What of a decoder block is read.",
                elem_id="src-layer-type",
            )
            self.neutral = gr.Checkbox(
                label="Neutral texts of the description folder set the zero of scores",
                info="For stories and memories; pairs always use them.",
                elem_id="src-neutral",
            )

    def settings(self, values: Values, max_length: int) -> TrainSettings:
        """The settings on screen; UserError on values that make no sense."""
        return TrainSettings(
            method=values[self.method],
            read=values[self.read],
            layers=str(values[self.layers]).strip().lower() or "all",
            layer_type=values[self.layer_type],
            max_length=max_length,
        )


class SourcesTab(Part):
    """The tab: where texts are from, how they are fitted, and what came out."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio
        gr.Markdown(INTRO)
        self.source = gr.Radio(
            list(SOURCES.items()), value="pairs", label="Source", elem_id="src-source"
        )
        with gr.Column(elem_id="src-pairs") as pair_box:
            self.pairs = PairInputs()
        with gr.Column(elem_id="src-stories", elem_classes=AWAY) as story_box:
            self.stories = StoryInputs()
        with gr.Column(elem_id="src-memories", elem_classes=AWAY) as memory_box:
            self.memories = MemoryInputs()
        boxes = {"pairs": pair_box, "stories": story_box, "memories": memory_box}
        self.settings = SettingsInputs()
        button = self._build_go()
        self.trained = gr.HTML(
            draw_trained(studio.runs.current()), elem_id="src-trained", padding=False
        )

        def show_source(chosen: str) -> Changes:
            return {box: gr.Column(elem_classes=seen_if(chosen == n)) for n, box in boxes.items()}

        self.source.input(show_source, self.source, list(boxes.values()), **LATEST)
        sources = self.pairs.asked | self.stories.asked | self.memories.asked
        asked = {self.source, *components(self.settings), *sources}
        self.follower.wire(button, self.train, asked, [self.trained])
        self.add.click(bound(self.add_to_library), asked, self.follower.progress, **PRIVATE)
        self.follower.cancel_button.click(guarded(studio.cancel_training), **QUIET)

    def _build_go(self) -> gr.Button:
        with gr.Row(elem_id="src-go"):
            train = gr.Button(
                "Train on this alone",
                variant="primary",
                elem_id="src-train",
                interactive=not self.studio.read_only,
                scale=0,
                min_width=190,
            )
            self.add = gr.Button(
                "Add to the library",
                elem_id="src-add",
                interactive=not self.studio.read_only,
                scale=0,
                min_width=180,
            )
            cancel = gr.Button(
                "Cancel", elem_id="src-cancel", elem_classes=AWAY, scale=0, min_width=100
            )
            progress = gr.HTML(elem_id="src-progress", padding=False, min_width=220)
        self.follower = Follower(self.studio.worker, progress, cancel, [train])
        return train

    def refresh(self) -> Changes:
        """What the run in use reached, after a run was made or chosen."""
        return {self.trained: draw_trained(self.studio.runs.current())}

    def request(self, values: Values) -> tuple[TextSource, TrainSettings]:
        """What is on screen: the texts, and how they are fitted.

        Raises:
            UserError: the app runs read-only, or something on screen cannot be trained on.
        """
        from readout_ui.vectors.sources import neutral_texts_of

        studio, source = self.studio, values[self.source]
        pairs, stories = self.pairs, self.stories
        studio.refuse_if_read_only("train")
        longest = TrainSettings.max_length if source == "pairs" else LONG_TEXT
        settings = self.settings.settings(values, longest)
        recipe = values[stories.recipe] if source == "stories" else ""
        if recipe:
            settings = replace(settings, **dict[str, Any](RECIPES[recipe]))
        wanted = values[self.settings.neutral] or recipe
        neutral = neutral_texts_of(studio.library()) if wanted else None
        match source:
            case "pairs":
                leave_out = values[pairs.leave_out]
                texts = pair_request(studio, pairs.mapping(values), leave_out=leave_out)
            case "stories":
                texts = story_request(values[stories.file], values[stories.pair_by_name], neutral)
            case _:
                texts = memory_request(self.memories, values, neutral)
        return texts, settings

    def add_to_library(self, values: Values) -> Changes:
        """Let the texts on screen stand beside the described ones, as concepts like any other.

        Raises:
            UserError: they cannot be trained on, or a file cannot be written.
        """
        source, _ = self.request(values)
        kind, folder = str(values[self.source]), self.studio.folder
        added = {name: both_sides(source, name) for name in source.texts if name[0] != "_"}
        for name, (texts, others) in added.items():
            add_texts(folder, name, texts)
            if others:
                add_texts(folder, against_name(name), others)
        change_tags(folder, lambda said: said.with_tag(kind, added))
        return {self.follower.progress: draw_added(added)}

    def train(self, values: Values) -> Task:
        """Train on what is on screen; it goes on when the page is left.

        Raises:
            UserError: it cannot be trained on, or another training is under way.
        """
        job = self.studio.start_training_from(*self.request(values))

        def end(view: JobView) -> Changes:
            trained = self.refresh() if view.state is JobState.DONE else {}
            return {self.follower.progress: draw_outcome(view), **trained}

        return Task(job, lambda _run: {}, end=end, outlives_page=True)


def both_sides(source: TextSource, concept: str) -> Sides:
    """The texts that show a concept and those it is contrasted with; of pairs without prompts."""
    from readout_ui.vectors.pairs import PairSource
    from readout_ui.vectors.sources import ExampleSource

    if isinstance(source, PairSource):
        pairs = source.pairs.pairs
        return tuple(each.positive for each in pairs), tuple(each.negative for each in pairs)
    sides = source.sides if isinstance(source, ExampleSource) else {}
    return sides.get(concept, (source.texts[concept], ()))


def draw_added(added: Mapping[str, Sides]) -> str:
    """Which concepts got texts, each with the way to its page."""
    told = ", ".join(
        f"<a href='#/write/{quote(name)}'>{escape(name)}</a> ({count(len(texts), 'text')}"
        f"{f', contrasted with {len(others)}' if others else ''})"
        for name, (texts, others) in added.items()
    )
    return f"<p class='src-note'><b>In the library:</b> {told}. Train to judge them.</p>"


def draw_stories(library: StoryLibrary) -> str:
    """Stories by concept, which scenes they share, and what may go wrong."""
    by_scene: dict[str, list[str]] = {}
    for story in library.stories:
        if story.scene:
            by_scene.setdefault(story.scene, []).append(story.concept)
    shared = {scene: names for scene, names in by_scene.items() if len(set(names)) > 1}
    rows = []
    for concept, texts in library.texts().items():
        own = [s for s in library.stories if s.concept == concept]
        words = sum(len(text.split()) for text in texts) / len(texts)
        paired = sum(story.scene in shared for story in own)
        begins = escape(cut(texts[0], 110))
        rows.append((escape(concept), str(len(own)), f"{words:.0f}", str(paired), begins))
    heads = ("Concept", "Stories", "Words each", "In shared scenes", "Begins")
    warnings = "".join(sentence(each, "warning") for each in library.warnings())
    return (
        f"<h3>{len(library.stories):,} stories of {len(library.concepts())} concepts</h3>"
        f"{_scenes(shared)}{table(heads, rows)}{warnings}"
    )


def _scenes(shared: Mapping[str, Sequence[str]]) -> str:
    if not shared:
        return (
            "<p class='src-note'>No scene is shared, so settings do not cancel. Give stories of "
            "one setting the same <code>scene</code>, or the same file name and tick the box.</p>"
        )
    some = "; ".join(
        f"<b>{escape(cut(scene, 40))}</b> ({escape(', '.join(sorted(set(names))))})"
        for scene, names in sorted(shared.items())[:SHOWN_SCENES]
    )
    more = f" and {len(shared) - SHOWN_SCENES} more" if len(shared) > SHOWN_SCENES else ""
    return f"<p class='src-note'>Settings cancel in {len(shared)} scenes: {some}{more}.</p>"
