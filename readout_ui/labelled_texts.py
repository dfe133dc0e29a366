"""Texts with the labels somebody gave them: the evidence that vectors mean what they are called."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib import resources

NEUTRAL_LABEL = "neutral"
"""The label of the shipped texts that hold no feeling."""
SHIPPED_SETS = ("situations", "dialogue", "neutral")
"""The shipped test set: what the concepts are judged on, and texts without any of them."""


@dataclass(frozen=True)
class LabelledText:
    """A text and what somebody says it is about."""

    text: str
    labels: tuple[str, ...]
    """As they stand in the source, one or several, each once."""

    def __post_init__(self) -> None:
        if not self.text.strip() or not self.labels:
            raise ValueError("a labelled text needs a text and a label")


def read_shipped(*names: str) -> tuple[LabelledText, ...]:
    """Texts that ship with the project and were never trained on; see held_out/README.md.

    Args:
        names: "situations", "dialogue", "neutral" or "other_sense"; by default the first three.
    """
    return tuple(text for name in names or SHIPPED_SETS for text in _read_shipped(name))


def _read_shipped(name: str) -> list[LabelledText]:
    file = resources.files("readout_ui.held_out") / f"{name}.jsonl"
    rows = map(json.loads, file.read_text(encoding="utf-8").splitlines())
    return [LabelledText(row["text"], (row["label"],)) for row in rows]
