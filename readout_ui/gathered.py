"""Activations of many texts as they come in: one row each of one tensor, and nothing besides."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from readout_ui.pooling import TextActivations


class Gathered:
    """What one read rule needs of every text, so that nothing else stays in memory."""

    def __init__(self, texts: Sequence[str], rule: int) -> None:
        self._rows: dict[str, list[int]] = {}
        for row, text in enumerate(texts):
            self._rows.setdefault(text, []).append(row)
        self._n_texts, self._rule = len(texts), rule
        self.pooled = torch.empty(0)
        self.tokens: dict[str, Tensor] = {}
        self.truncated: set[str] = set()

    def take(self, found: Mapping[str, TextActivations]) -> None:
        """Copy what is needed of these texts."""
        for text, entry in found.items():
            pooled = entry.pooled[self._rule]  # (n_layers, d_model)
            if not self.tokens:
                self.pooled = torch.empty(self._n_texts, *pooled.shape)
            self.pooled[self._rows[text]] = pooled
            self.tokens[text] = entry.tokens.clone()  # not a view of what the cache read
            if entry.truncated:
                self.truncated.add(text)
