"""Stories as a file of JSON lines."""

import json
from collections.abc import Iterable

from readout_ui.texts.stories import Story


def story_lines(stories: Iterable[Story]) -> str:
    """One object per line, as `read_stories` reads it."""
    return "".join(f"{json.dumps(vars(story), ensure_ascii=False)}\n" for story in stories)
