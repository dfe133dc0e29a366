"""Short situations by other writers that almost never name their emotion (RepE, MIT)."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from readout_ui.errors import UserError

FOLDER = Path("data") / "repe_emotions"
PER_EMOTION = 200
CONCEPT_OF = {
    "anger": "angry",
    "disgust": "disgusted",
    "fear": "afraid",
    "happiness": "happy",
    "sadness": "sad",
    "surprise": "surprised",
}


@dataclass(frozen=True)
class Situations:
    """Texts and the concept that each was written for."""

    texts: tuple[str, ...]
    labels: tuple[str, ...]

    @property
    def candidates(self) -> tuple[str, ...]:
        """The concepts, sorted."""
        return tuple(sorted(set(self.labels)))


def read_situations() -> Situations:
    """The first 200 of each emotion, from $READOUT_SHARED or ../shared beside the repository."""
    beside = Path(__file__).resolve().parents[2] / "shared"
    folder = Path(os.environ.get("READOUT_SHARED", beside)) / FOLDER
    if not folder.is_dir():
        raise UserError(
            "the situations are not there",
            where=str(folder),
            fix="set READOUT_SHARED to the folder that holds data/repe_emotions",
        )
    pairs = [
        (text, concept)
        for emotion, concept in CONCEPT_OF.items()
        for text in json.loads((folder / f"{emotion}.json").read_text("utf-8"))[:PER_EMOTION]
    ]
    texts, labels = zip(*pairs, strict=True)
    return Situations(texts, labels)
