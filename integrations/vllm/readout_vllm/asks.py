"""What one request asks for, from `vllm_xargs` over HTTP or `SamplingParams.extra_args`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

from readout_vllm.errors import ReadoutError

SUMMARIES = ("mean", "max", "last")
KEYS = (
    "readout",
    "readout_prompt",
    "readout_z",
    "readout_summary",
    "readout_top",
    "readout_watch",
    "readout_false_positives",
    "readout_stop",
)
DEFAULT_FALSE_POSITIVES = 0.01


@dataclass(frozen=True)
class Ask:
    """One request's wishes, checked."""

    rows: bool = False
    """Scores of every generated token."""
    prompt: bool = False
    """Scores of every prompt token, cached ones too."""
    z: bool = False
    """Standard deviations from neutral tokens beside the raw scores."""
    summary: tuple[str, ...] = ()
    """Aggregates over the generated tokens, in the last chunk."""
    top: int = 0
    """How many concepts to name, highest mean z first (raw without calibration)."""
    watch: tuple[str, ...] = ()
    """Concepts to watch for a score over their threshold."""
    threshold: float = 0.0
    """z at which a watched concept fires."""
    stop: bool = False
    """End the answer when one fires."""

    @property
    def needs_rows(self) -> bool:
        """Whether rows of generated tokens must leave the device."""
        return bool(self.rows or self.summary or self.top or self.watch)

    @property
    def in_last_chunk(self) -> bool:
        """Whether there is something that is known at the end only."""
        return bool(self.summary or self.top or self.watch)


def ask_of(
    extra: Mapping[str, Any] | None,
    concepts: tuple[str, ...],
    calibrated: bool,
    always: bool = False,
) -> Ask | None:
    """What a request asks for, or None for nothing.

    Args:
        extra: the request's `extra_args`.
        concepts: those of the export.
        calibrated: whether the export gives z scores.
        always: every request gets rows.

    Raises:
        ReadoutError: an unknown key or a value that does not fit.
    """
    found = {key: value for key, value in (extra or {}).items() if key.startswith("readout")}
    if unknown := sorted(set(found) - set(KEYS)):
        raise ReadoutError(f"{unknown[0]} is unknown; a request can say {', '.join(KEYS)}")
    watch = _watched(found, concepts, calibrated)
    ask = Ask(
        rows=_switch(found, "readout", always),
        prompt=_switch(found, "readout_prompt"),
        z=_switch(found, "readout_z"),
        summary=_summaries(found),
        top=_top(found, len(concepts)),
        watch=watch,
        threshold=-NormalDist().inv_cdf(_rate(found)) if watch else 0.0,
        stop=_switch(found, "readout_stop"),
    )
    if ask.z and not calibrated:
        raise ReadoutError("readout_z needs an export with calibration.safetensors")
    if ask.stop and not watch:
        raise ReadoutError("readout_stop needs readout_watch, the concepts that end the answer")
    return ask if ask.needs_rows or ask.prompt else None


def _switch(found: Mapping[str, Any], key: str, default: bool = False) -> bool:
    value = found.get(key, default)
    if value not in (0, 1, "0", "1"):
        raise ReadoutError(f"{key} is {value!r}; it can be 0 or 1")
    return bool(int(value))


def _words(found: Mapping[str, Any], key: str) -> tuple[str, ...]:
    value = found.get(key, ())
    words = [value] if isinstance(value, str) else value
    if not isinstance(words, list | tuple) or not all(isinstance(word, str) for word in words):
        raise ReadoutError(f"{key} is {value!r}; it must be a name or a list of names")
    return tuple(words)


def _summaries(found: Mapping[str, Any]) -> tuple[str, ...]:
    words = _words(found, "readout_summary")
    if unknown := [word for word in words if word not in SUMMARIES]:
        raise ReadoutError(f"readout_summary is {unknown[0]!r}; it can be {', '.join(SUMMARIES)}")
    return words


def _top(found: Mapping[str, Any], most: int) -> int:
    value = found.get("readout_top", 0)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
        raise ReadoutError(f"readout_top is {value!r}; it can be 0 to {most}")
    return value


def _watched(
    found: Mapping[str, Any], concepts: tuple[str, ...], calibrated: bool
) -> tuple[str, ...]:
    words = _words(found, "readout_watch")
    if words and not calibrated:
        raise ReadoutError("readout_watch needs an export with calibration.safetensors")
    if words == ("all",):
        return concepts
    if unknown := [word for word in words if word not in concepts]:
        raise ReadoutError(
            f"readout_watch names {unknown[0]!r}, which the export does not hold; it holds "
            f"{', '.join(concepts[:8])}{' ...' if len(concepts) > 8 else ''}"
        )
    return words


def _rate(found: Mapping[str, Any]) -> float:
    value = found.get("readout_false_positives", DEFAULT_FALSE_POSITIVES)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 0.5:
        raise ReadoutError(
            f"readout_false_positives is {value!r}; it can be a share between 0 and 0.5, "
            f"{DEFAULT_FALSE_POSITIVES} when left out"
        )
    return float(value)
