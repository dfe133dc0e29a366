"""The readings that the room Read shows before any training, made anew.

Trains the shipped emotions on the bundled model, reads the examples at the best layer, and writes
`readout_ui/app/static/read/stored.json`. Run it again when texts, model or method change.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from readout_ui.app.assets import STATIC
from readout_ui.app.read.calls import Scores, TextReader
from readout_ui.app.rooms import EXAMPLES
from readout_ui.app.session import Studio
from readout_ui.app.status import StudioOptions
from readout_ui.texts.shipped import shipped_descriptions
from readout_ui.vectors.settings import TrainSettings

TARGET = STATIC / "read" / "stored.json"


def neutral_band(desk: TextReader, answer: dict[str, Any]) -> dict[str, Any]:
    """The band for the text's own number of tokens, once all neutral texts are read."""
    own = [s and r == "assistant" for s, r in zip(answer["scored"], answer["roles"], strict=True)]
    found: dict[str, Any] = {}
    while "ends" not in found:
        found = desk.chance(sum(own))
    return {**found, "run": "stored"}


def main() -> None:
    """Train, read, write."""
    with tempfile.TemporaryDirectory() as folder:
        studio = Studio(StudioOptions(shipped_descriptions(), Path(folder)))
        studio.load_model().result()
        run = studio.start_training(TrainSettings(layers="auto")).result()
        desk = TextReader(studio)
        readings: dict[str, Any] = {}
        chance: dict[str, Any] = {}
        for text in EXAMPLES.values():
            answer = desk.scores(Scores(text=text))
            readings[text] = {**answer, "run": "stored"}
            chance[text] = neutral_band(desk, answer)
        studio.close()
    origin = (
        f"A stored reading: {run.model_name} with the {len(run.concepts)} shipped emotions "
        f"at layer {run.best_layer}."
    )
    made_by = "python -m bench.stored_reading"
    stored = {"origin": origin, "made_by": made_by, "readings": readings, "chance": chance}
    TARGET.write_text(json.dumps(stored, ensure_ascii=False) + "\n", "utf-8")


if __name__ == "__main__":
    main()
