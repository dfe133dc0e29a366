"""Stories on the Sources tab: a zip or JSON lines, which scenes they share, what may go wrong."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from readout_ui.errors import UserError
from readout_ui.source_wishes import SourceTraining, story_training
from readout_ui.stories import StoryLibrary, read_stories
from readout_ui.story_zip import read_story_zip
from readout_ui.tabs.events import QUIET, guarded
from readout_ui.tabs.sources_tables import draw_sentence, draw_stories
from readout_ui.trained import TrainSettings

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


def story_wish(settings: TrainSettings, path: str | None, pair_by_name: bool) -> SourceTraining:
    """The training that is on screen.

    Raises:
        UserError: there are no stories, or they cannot be read.
    """
    if not path:
        raise UserError("there are no stories yet", fix="drop a zip or JSON lines")
    return story_training(_read(path, pair_by_name), settings)


def _read(path: str, pair_by_name: bool) -> StoryLibrary:
    file = Path(path)
    if file.suffix.lower() == ".zip":
        return read_story_zip(file, pair_by_name)
    return read_stories(file)
