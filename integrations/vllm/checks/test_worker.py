"""What the worker keeps of scores, without a model."""

from __future__ import annotations

import torch
from readout_vllm.worker import SlotScores


def test_a_block_that_vllm_copies_takes_its_scores_along() -> None:
    """A hybrid model's prompt can end inside a cached block, of which it then gets a copy."""
    slots = SlotScores((3, 4), 2, 5, torch.device("cpu"))
    scores = torch.randn(2, 2, 5)
    slots.write(torch.tensor([1, 2]), scores)  # in block 0
    slots.copy([(0, 2)])
    slots.write(torch.tensor([10]), scores[:1])  # the copy is another's from here on
    torch.testing.assert_close(slots.read(torch.tensor([9, 10])), scores[[0, 0]])
    torch.testing.assert_close(slots.read(torch.tensor([1, 2])), scores)
