"""Texts kept with the vectors, with the scores they had: what `readout-ui verify` reads again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from readout_ui.pairs import TextGroups
    from readout_ui.vectors import ConceptVectors

N_PROBES = 8


@dataclass(frozen=True, eq=False)
class Probes:
    """Some of the training's texts and the z-score of their activation, pooled as in training."""

    texts: tuple[str, ...]
    scores: Tensor
    """(n_probes, n_concepts, n_layers), float32."""

    def __post_init__(self) -> None:
        if not self.texts or self.scores.ndim != 3 or len(self.scores) != len(self.texts):
            raise ValueError(f"{len(self.texts)} probes with scores {tuple(self.scores.shape)}")
        if not torch.isfinite(self.scores).all():
            raise ValueError("probe scores hold values that are not finite")

    def select(self, rows: Sequence[int], columns: Sequence[int]) -> Probes:
        """The scores of some concepts and layers, by their positions."""
        return replace(self, scores=self.scores[:, list(rows)][:, :, list(columns)])


def pooled_scores(vectors: ConceptVectors, pooled: Tensor) -> Tensor:
    """z-scores of whole texts, (n_texts, n_concepts, n_layers) float32.

    Args:
        vectors: directions and calibration.
        pooled: activations at the layers of `vectors`, (n_texts, n_layers, d_model).
    """
    # float64: a massive dimension would cost the digits that tell the texts apart.
    raw = torch.einsum("tld,cld->tcl", pooled.double(), vectors.directions.double())
    return ((raw - vectors.neutral_mean.double()) / vectors.neutral_std.double()).float()


def add_probes(
    vectors: ConceptVectors, texts: Sequence[str], groups: TextGroups, pooled: Tensor
) -> ConceptVectors:
    """The vectors with a few texts to check them by, spread over concepts and neutral texts.

    Args:
        vectors: what was fitted, at all layers.
        texts: all texts of the training.
        groups: whose they are.
        pooled: their activations, (n_texts, n_layers, d_model).
    """
    first = [rows[0] for rows in (*groups.rows, groups.neutral) if rows]
    step = max(1, -(-len(first) // N_PROBES))
    chosen = sorted({*first[::step][: N_PROBES - 1], first[-1]})
    scores = pooled_scores(vectors, pooled[chosen])
    return replace(vectors, probes=Probes(tuple(texts[row] for row in chosen), scores))
