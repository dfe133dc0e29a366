"""From projections to scores in all three units, with what depends only on the vectors kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from readout_ui.readout import (
    TEMPLATE_ROLE,
    FloatArray,
    Readout,
    centred_cosines,
    scored_tokens,
    z_scores,
)

if TYPE_CHECKING:
    from readout_ui.projecting import Projections
    from readout_ui.vectors import ConceptVectors


class Scorer:
    """Turns projections on one set of vectors into a Readout, as often as wanted."""

    def __init__(self, vectors: ConceptVectors) -> None:
        directions = vectors.directions.float()  # (n_concepts, n_layers, d_model)
        by_layer = directions.transpose(0, 1)  # (n_layers, n_concepts, d_model)
        self._vectors = vectors
        self._center_raw = _numpy(torch.einsum("cld,ld->lc", directions, vectors.center.float()))
        self._similarity = _numpy(by_layer @ by_layer.transpose(1, 2))
        self._neutral = _numpy(vectors.neutral_mean), _numpy(vectors.neutral_std)

    def readout(
        self,
        projections: Projections,
        *,
        tokens: Sequence[str],
        roles: Sequence[str],
        start: int = 0,
    ) -> Readout:
        """The scores of these tokens; `start` is the position of the first of them in its text."""
        raw = projections.raw
        before = [TEMPLATE_ROLE] * min(start, 1)
        return Readout(
            tokens=tuple(tokens),
            roles=tuple(roles),
            concepts=tuple(self._vectors.concepts),
            layers=tuple(self._vectors.layers),
            raw=raw,
            cosine=centred_cosines(raw, projections.norms, self._center_raw),
            z=z_scores(raw, *self._neutral),
            similarity=self._similarity,
            scored=scored_tokens([*before, *roles])[len(before) :],
        )


def _numpy(tensor: torch.Tensor) -> FloatArray:
    array: FloatArray = tensor.detach().float().cpu().numpy()
    return array
