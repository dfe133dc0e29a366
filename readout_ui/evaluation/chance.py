"""What neutral texts score: the band that a mean z has to leave before it says anything.

Tokens of one text are alike, so the mean of n of them varies more than n tokens drawn at random
would. The band is therefore counted, not computed: the neutral texts that z is calibrated on are
read once, and every stretch of n tokens in them gives one mean. Texts are read in pieces, so that
a page does not wait for all of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from readout_ui.inference.reading import FloatArray
from readout_ui.texts.names import holds_neutral_texts
from readout_ui.texts.sources import shipped_neutral

if TYPE_CHECKING:
    from readout_ui.inference.readout import Readout

MOST_TEXTS = 64
"""Neutral texts that are read."""
INSIDE = 0.95
"""Share of the neutral stretches inside the band."""
ABOVE = 0.01
"""Share of the neutral tokens above a concept's threshold."""
MOST_STRETCHES = 400
"""Means that a band is counted from; more are thinned out."""
FEWEST_TEXTS = 8
"""Texts that have to be as long as a stretch."""


def neutral_texts(texts: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """The neutral texts of a run, spread over its files; the shipped ones where it has none."""
    own = {name: some for name, some in texts.items() if holds_neutral_texts(name) and some}
    files = own or shipped_neutral()
    every = [text for name in sorted(files) for text in files[name] if len(text.split()) > 1]
    step = max(1, -(-len(every) // MOST_TEXTS))
    return tuple(dict.fromkeys(every[::step]))


@dataclass(frozen=True, eq=False)
class Band:
    """Where the mean z of neutral stretches of one length lies."""

    length: int
    """Tokens of each stretch: as many as asked for, or fewer where neutral texts are shorter."""
    n_stretches: int
    low: FloatArray
    """(n_layers, n_concepts): 2.5 % of the means lie below."""
    high: FloatArray
    """(n_layers, n_concepts): 2.5 % of the means lie above."""


@dataclass(eq=False)
class NeutralScores:
    """z of the tokens of neutral texts, read piece by piece."""

    texts: tuple[str, ...]
    sums: list[FloatArray] = field(default_factory=list)
    """Of each text read so far (n_tokens + 1, n_layers, n_concepts): z added up from its start."""

    @property
    def complete(self) -> bool:
        """Whether every text was read."""
        return len(self.sums) == len(self.texts)

    def read(self, readout: Readout, n: int) -> None:
        """Read the next `n` texts."""
        for text in self.texts[len(self.sums) : len(self.sums) + n]:
            found = readout.read(text, "assistant")
            own = found.scored & (np.array(found.roles) == "assistant")
            added = np.cumsum(found.z[own], axis=0, dtype=np.float64)
            self.sums.append(np.concatenate([np.zeros_like(added[:1]), added]).astype(np.float32))

    def band(self, length: int) -> Band:
        """The middle 95 % of the means of stretches of so many tokens."""
        lengths = sorted((len(each) - 1 for each in self.sums), reverse=True)
        longest = lengths[min(FEWEST_TEXTS, len(lengths)) - 1]
        used = max(1, min(length, longest))
        means = self._means(used)
        edge = (1 - INSIDE) / 2
        low, high = np.quantile(means, [edge, 1 - edge], axis=0).astype(np.float32)
        return Band(used, len(means), low, high)

    def thresholds(self) -> FloatArray:
        """(n_layers, n_concepts): the z that one neutral token in a hundred is above."""
        found: FloatArray = np.quantile(self._means(1), 1 - ABOVE, axis=0).astype(np.float32)
        return found

    def _means(self, length: int) -> FloatArray:
        """(n_stretches, n_layers, n_concepts), spread evenly over the texts."""
        most = MOST_STRETCHES if length > 1 else 4 * MOST_STRETCHES
        total = sum(max(0, len(each) - length) for each in self.sums)
        step = max(1, total // most)
        parts = [
            (each[length:][::step] - each[:-length][::step]) / length
            for each in self.sums
            if len(each) > length
        ]
        return np.concatenate(parts)
