"""Running statistics of token scores: a quantile and the strongest places of every concept."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from readout_ui.readout import FloatArray

N_BINS = 4_000
"""Bins of a histogram; the quantile is exact to the width of one."""
REACH = {"z": 40.0, "cosine": 1.0}
"""Largest score that the histogram tells apart, by kind; what lies beyond counts as that."""
_KEY_REACH = 4
"""Tokens on either side of a peak that make two places the same, such as a repeated sentence."""


class RunningQuantile:
    """A quantile per concept over any number of tokens, from one histogram each.

    Every token counts, nothing is sampled; the answer is the lower edge of the bin that holds the
    quantile, so it is too low by at most the width of a bin.
    """

    def __init__(self, n_concepts: int, reach: float) -> None:
        self._counts = np.zeros((n_concepts, N_BINS), np.int64)
        self._reach = reach

    @property
    def width(self) -> float:
        """How exact the quantile is, in the unit of the scores."""
        return 2 * self._reach / N_BINS

    def add(self, scores: FloatArray) -> None:
        """Count the scores of some tokens, (n_tokens, n_concepts)."""
        shifted = scores.astype(np.float64) + self._reach
        bins = np.clip(shifted / self.width, 0, N_BINS - 1).astype(np.intp)
        np.add.at(self._counts, (np.arange(scores.shape[1]), bins), 1)

    def at(self, quantile: float) -> list[float]:
        """The quantile of every concept, (n_concepts,); minus the reach before the first token."""
        totals = self._counts.sum(axis=1, keepdims=True)  # (n_concepts, 1)
        reached = self._counts.cumsum(axis=1) >= quantile * totals
        edges: list[float] = (reached.argmax(axis=1) * self.width - self._reach).tolist()
        return edges


@dataclass(frozen=True, eq=False)
class Place:
    """A token at which a concept is strong, and what stands around it."""

    strength: float
    """The averaged score at the peak."""
    peak: int
    """Its index in what follows."""
    token_ids: tuple[int, ...]
    """The peak's surroundings, (n_context,)."""
    scores: FloatArray
    """The concept's score of each of these tokens."""
    averaged: FloatArray
    """The same, averaged over neighbouring tokens."""
    line: int
    """Where in the file its passage begins."""
    cut: tuple[bool, bool]
    """Whether the text goes on before and after it."""

    def span(self, threshold: float) -> tuple[int, int]:
        """From and up to which token the averaged score stays at or above the threshold."""
        start, stop = self.peak, self.peak + 1
        while start > 0 and self.averaged[start - 1] >= threshold:
            start -= 1
        while stop < len(self.averaged) and self.averaged[stop] >= threshold:
            stop += 1
        return start, stop


class StrongestPlaces:
    """The strongest places of every concept so far; one per window, repeats of a text once."""

    def __init__(self, n_concepts: int, n_kept: int, n_context: int) -> None:
        self._n_kept, self._n_context = n_kept, n_context
        self._kept: list[dict[tuple[int, ...], Place]] = [{} for _ in range(n_concepts)]
        self._floors = np.full(n_concepts, -np.inf, np.float32)

    def add(
        self,
        token_ids: tuple[int, ...],
        scores: FloatArray,
        averaged: FloatArray,
        counted: int,
        line: int,
    ) -> None:
        """Look at one window.

        Args:
            token_ids: its tokens.
            scores: (n_tokens, n_concepts).
            averaged: the same, averaged over neighbours.
            counted: the first token that was in no window before.
            line: where its passage begins.
        """
        peaks = averaged[counted:].argmax(axis=0) + counted  # (n_concepts,)
        strengths = averaged[peaks, np.arange(averaged.shape[1])]
        for concept in np.flatnonzero(strengths > self._floors).tolist():
            peak = int(peaks[concept])
            first = max(0, peak - self._n_context)
            around = slice(first, peak + self._n_context + 1)
            place = Place(
                float(strengths[concept]),
                peak - first,
                token_ids[around],
                scores[around, concept].copy(),
                averaged[around, concept].copy(),
                line,
                (first > 0 or counted > 0, around.stop < len(token_ids)),
            )
            key = token_ids[max(0, peak - _KEY_REACH) : peak + _KEY_REACH + 1]
            self._keep(concept, key, place)

    def of(self, concept: int) -> tuple[Place, ...]:
        """The strongest places of one concept, strongest first."""
        kept = self._kept[concept].values()
        return tuple(sorted(kept, key=lambda place: (-place.strength, place.line)))

    def __len__(self) -> int:
        return sum(map(len, self._kept))

    def _keep(self, concept: int, key: tuple[int, ...], place: Place) -> None:
        kept = self._kept[concept]
        if key in kept and kept[key].strength >= place.strength:
            return
        kept[key] = place
        if len(kept) > self._n_kept:
            del kept[min(kept, key=lambda each: kept[each].strength)]
        if len(kept) == self._n_kept:
            self._floors[concept] = min(each.strength for each in kept.values())


def average_over(scores: FloatArray, width: int) -> FloatArray:
    """Scores (n_tokens, n_concepts) averaged over `width` neighbouring tokens, fewer at the ends.

    Args:
        scores: per token.
        width: odd, so that the window is centred; 1 leaves the scores as they are.
    """
    n_tokens, half = len(scores), width // 2
    if half == 0 or n_tokens == 0:
        return scores
    sums = np.zeros((n_tokens + 1, scores.shape[1]))
    sums[1:] = scores.cumsum(axis=0, dtype=np.float64)
    positions = np.arange(n_tokens)
    starts: npt.NDArray[np.intp] = np.maximum(positions - half, 0)
    stops = np.minimum(positions + half + 1, n_tokens)
    means = (sums[stops] - sums[starts]) / (stops - starts)[:, None]
    return means.astype(np.float32)
