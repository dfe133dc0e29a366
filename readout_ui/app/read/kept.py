"""What a person keeps beside the runs: thresholds of concepts, and texts to read again."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from readout_ui.errors import UserError
from readout_ui.files import locked, read_bytes, write_file

FILE = "reading.json"
MOST_PROMPTS = 500


@dataclass(frozen=True)
class Prompt:
    """A text that was kept under a name."""

    name: str
    text: str
    mode: str


@dataclass(frozen=True)
class Kept:
    """Everything in the file."""

    thresholds: dict[str, float] = field(default_factory=dict)
    """z by concept, where it is not the calibration's own."""
    prompts: tuple[Prompt, ...] = ()
    """Newest first."""

    def with_threshold(self, concept: str, z: float | None) -> Kept:
        """Another threshold of one concept; None goes back to the calibration's."""
        rest = {name: value for name, value in self.thresholds.items() if name != concept}
        return replace(self, thresholds=rest if z is None else {**rest, concept: z})

    def with_prompt(self, prompt: Prompt) -> Kept:
        """One more text; one of the same name is replaced.

        Raises:
            UserError: it has no name, or there are too many.
        """
        if not prompt.name.strip():
            raise UserError("the text needs a name", fix="write one")
        rest = self.without_prompt(prompt.name).prompts
        if len(rest) >= MOST_PROMPTS:
            raise UserError(f"{MOST_PROMPTS} texts are kept already", fix="remove some")
        return replace(self, prompts=(prompt, *rest))

    def without_prompt(self, name: str) -> Kept:
        """The same without the text of that name."""
        return replace(self, prompts=tuple(one for one in self.prompts if one.name != name))


class KeptFile:
    """The file in the folder of the runs; a damaged one counts as empty and is replaced."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE

    def load(self) -> Kept:
        """What is kept now."""
        if not self.path.is_file():
            return Kept()
        try:
            return _kept(json.loads(read_bytes(self.path)))
        except (ValueError, TypeError, KeyError, AttributeError):
            return Kept()

    def change(self, **how: Any) -> Kept:
        """Load, change by `threshold`, `prompt` or `drop`, save.

        Raises:
            UserError: the change is none, or the folder cannot be written.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with locked(self.path.parent):
            now = _changed(self.load(), **how)
            raw = json.dumps(asdict(now), ensure_ascii=False, indent=1)
            write_file(self.path, raw.encode("utf-8", "replace"))
        return now


def _changed(
    kept: Kept,
    threshold: tuple[str, float | None] | None = None,
    prompt: Prompt | None = None,
    drop: str = "",
) -> Kept:
    if threshold is not None:
        kept = kept.with_threshold(*threshold)
    if prompt is not None:
        kept = kept.with_prompt(prompt)
    return kept.without_prompt(drop) if drop else kept


def _kept(found: dict[str, Any]) -> Kept:
    thresholds = {str(name): float(z) for name, z in found["thresholds"].items()}
    prompts = (
        Prompt(str(each["name"]), str(each["text"]), str(each["mode"])) for each in found["prompts"]
    )
    return Kept(thresholds, tuple(prompts))
