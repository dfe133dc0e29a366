"""What becomes of a model's logits before the next token is chosen from them."""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite
from typing import TYPE_CHECKING, Any

import torch
from transformers import LogitsProcessor

if TYPE_CHECKING:
    from readout_ui.errors import UserError
    from readout_ui.inference.decoding import TokenTracker
    from readout_ui.inference.sampling import Sampling


class FiniteLogits(LogitsProcessor):
    """Logits that are none never reach the sampler: on a GPU that would end the whole process.

    Args:
        tracker: told which rows were finite.
        otherwise: makes what it is to raise for the others.
    """

    def __init__(self, tracker: TokenTracker, otherwise: Callable[[], UserError]) -> None:
        self._tracker, self._otherwise = tracker, otherwise

    def __call__(self, _input_ids: Any, scores: Any) -> Any:
        """The logits (n_rows, n_vocabulary), zeros where a row has no finite maximum."""
        largest = scores.amax(dim=-1)  # (n_rows,); -inf alone only rules tokens out
        if scores.device.type == "cpu" and all(map(isfinite, largest.tolist())):
            return scores  # looking takes no waiting there, and a copy as long as the projections
        finite = largest.isfinite()
        self._tracker.expect(finite, [True] * len(scores), self._otherwise)
        return torch.where(finite[:, None], scores, 0.0)


class NextLogits(LogitsProcessor):
    """The model's own logits of the newest token, and the penalties on what the answer has already.

    Args:
        n_prompt: tokens of the prompt, padding included; they are no part of the answer.
    """

    def __init__(self, sampling: Sampling, n_prompt: int) -> None:
        self.own: torch.Tensor | None = None
        """(n_rows, n_vocabulary) before temperature and penalties of ours; None before a pass."""
        self._presence, self._frequency = sampling.presence_penalty, sampling.frequency_penalty
        self._n_prompt = n_prompt

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        """The logits to choose from."""
        self.own = scores
        if not (self._presence or self._frequency):
            return scores
        new = input_ids[:, self._n_prompt :]
        ones = torch.ones_like(new, dtype=scores.dtype)
        counts = torch.zeros_like(scores).scatter_add_(1, new, ones)
        return scores - self._frequency * counts - self._presence * (counts > 0)

    def likeliest(self, row: int, token: int, count: int) -> tuple[float, list[tuple[int, float]]]:
        """Log probability of a token, and the `count` likeliest ones with theirs."""
        assert self.own is not None
        chances = self.own[row].float().log_softmax(-1)
        top = chances.topk(min(count, len(chances)))
        pairs = torch.stack([top.indices.float(), top.values], dim=1)  # ids: exact to 16 million
        (_, own), *found = torch.cat([chances[token].expand(1, 2), pairs]).tolist()  # in one wait
        return own, [(int(index), value) for index, value in found]
