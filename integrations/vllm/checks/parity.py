"""What the rows must be: the same token ids through transformers and `readout_ui.runtime`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM

from readout_ui import runtime


class Reference:
    """A model and an export, read the plain way."""

    def __init__(self, model: Path, export: Path) -> None:
        loaded = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
        self._model, self._export = loaded.eval(), runtime.load(export)

    def rows(self, token_ids: list[int]) -> Any:
        """(n_tokens, n_layers, n_concepts) of a text."""
        ids = torch.tensor([token_ids])
        with torch.inference_mode(), runtime.watching(self._model, self._export) as watch:
            self._model(input_ids=ids)
            return watch.scores()[0].numpy()

    def z_scores(self, raw: Any) -> Any:
        """The same rows in standard deviations from neutral tokens."""
        return self._export.z_scores(torch.from_numpy(raw)).numpy()

    def difference(self, prompt: list[int], new: list[int], rows: Any, of_prompt: Any) -> float:
        """Largest difference of an answer's rows, as a share of the largest score.

        Args:
            prompt: token ids before the answer.
            new: the answer's token ids.
            rows: (n_new, n_layers, n_concepts) as served.
            of_prompt: (n_prompt - 1, n_layers, n_concepts) as served, or None.
        """
        wanted = self.rows([*prompt, *new][:-1])
        assert rows.shape[0] == len(new)
        found = [np.abs(rows - wanted[len(prompt) - 1 :]).max()]
        if of_prompt is not None:
            assert of_prompt.shape[0] == len(prompt) - 1
            found.append(np.abs(of_prompt - wanted[: len(prompt) - 1]).max())
        return float(max(found) / np.abs(wanted).max())
