"""How the next token is chosen, as the user sets it, and which layers are read meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from readout_ui.errors import UserError

_RANGES = {
    "temperature": (0.0, 10.0),
    "top_p": (0.0, 1.0),
    "top_k": (0, 1_000_000),
    "min_p": (0.0, 1.0),
    "repetition_penalty": (0.1, 10.0),
    "presence_penalty": (-2.0, 2.0),
    "frequency_penalty": (-2.0, 2.0),
    "max_new_tokens": (1, 1_000_000),
    "seed": (0, 2**63 - 1),
}
_WHOLE = ("top_k", "max_new_tokens", "seed")
COLDEST = 1e-5
"""Below this temperature the likeliest token is taken, as in vLLM."""


@dataclass(frozen=True)
class Sampling:
    """One setting of the sampler; the same seed gives the same text on the same machine."""

    temperature: float = 0.7
    """0 always takes the likeliest token."""
    top_p: float = 0.95
    """Only the likeliest tokens that together have this probability; 1 takes all."""
    top_k: int = 0
    """Only this many of the likeliest tokens; 0 takes all."""
    repetition_penalty: float = 1.0
    """Above 1 makes tokens less likely that were there before (Keskar et al. 2019)."""
    min_p: float = 0.0
    """Only tokens at least this fraction as likely as the likeliest; 0 takes all."""
    presence_penalty: float = 0.0
    """Taken off the logit of every token that the answer has already, as OpenAI does."""
    frequency_penalty: float = 0.0
    """The same, as often as the answer has it."""
    max_new_tokens: int = 256
    """The answer is cut off after this many tokens."""
    seed: int = 0
    """What chance starts from."""

    def __post_init__(self) -> None:
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            inside = isinstance(value, int | float) and low <= value <= high
            if not inside or (name in _WHOLE and value != int(value)):
                number = "a whole number" if name in _WHOLE else "a number"
                raise UserError(
                    f"{name.replace('_', ' ')} is {value!r}", fix=f"give {number} {low} to {high}"
                )
        if self.top_p == 0:
            raise UserError("top p is 0", fix="give a number above 0; 1 takes all tokens")

    @property
    def greedy(self) -> bool:
        """True when nothing is left to chance; numbers divided by less would be infinite."""
        return self.temperature < COLDEST


N_LIVE_LAYERS = 4
"""So few layers that reading them is not noticed while the model answers."""


def live_layers(layers: Sequence[int], best: int, count: int = N_LIVE_LAYERS) -> tuple[int, ...]:
    """At most `count` of `layers`, spread over them, the one nearest to `best` among them.

    Args:
        layers: layers that the vectors have, at least one.
        best: the layer that told the concepts apart best.
        count: how many at most, at least 1.
    """
    known = sorted(layers)
    if len(known) <= count:
        return tuple(known)
    nearest = min(known, key=lambda layer: (abs(layer - best), layer))
    step = (len(known) - 1) / max(1, count - 1)
    spread = [known[round(place * step)] for place in range(count)]
    replaced = min(spread, key=lambda layer: abs(layer - nearest))
    return tuple(sorted({nearest, *spread} - ({replaced} - {nearest})))
