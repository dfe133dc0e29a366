"""Scores of whole texts that were never trained on: each read once, cosine with every direction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from torch import Tensor

from readout_ui.activations import read_activations
from readout_ui.evaluation import centred_cosine, random_directions
from readout_ui.progress import Report, silent
from readout_ui.training import capture_settings

if TYPE_CHECKING:
    from readout_ui.cache import ActivationCache
    from readout_ui.models import LoadedModel
    from readout_ui.trained import TrainSettings
    from readout_ui.vectors import ConceptVectors

Scores = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Scorer:
    """What scores texts: a run's vectors and the model they belong to."""

    vectors: ConceptVectors
    settings: TrainSettings
    """How the training's texts were read; new texts are read alike."""
    model: LoadedModel
    descriptions: Mapping[str, Sequence[str]]
    """The texts of the training by file name, for the bag of words; empty where unknown."""
    cache: ActivationCache | None = None
    report: Report = silent

    @property
    def concepts(self) -> tuple[str, ...]:
        """Names of the columns of every score."""
        return self.vectors.concepts

    def read(self, texts: Sequence[str], layer: int) -> Tensor:
        """Activations of texts at one layer, (n_texts, d_model); known ones are looked up."""
        settings = capture_settings(self.settings)
        read = read_activations(self.model, texts, settings, self.cache, None, self.report)
        return read.pooled[:, layer]

    def score(self, activations: Tensor, layer: int) -> Scores:
        """Centred cosine of activations (n_texts, d_model) with each concept, -1..1.

        Returns:
            (n_texts, n_concepts).

        Raises:
            UserError: the vectors have no such layer.
        """
        kept = self.vectors.select(layers=[layer])
        return _cosine(kept.directions, kept.center, activations)

    def score_texts(self, texts: Sequence[str], layer: int) -> Scores:
        """Read and score in one step, (n_texts, n_concepts)."""
        return self.score(self.read(texts, layer), layer)

    def score_randomly(self, activations: Tensor, layer: int, n: int, seed: int) -> Scores:
        """Centred cosine with n random directions, (n_texts, n)."""
        center = self.vectors.select(layers=[layer]).center
        return _cosine(random_directions(n, 1, activations.shape[1], seed), center, activations)


def _cosine(directions: Tensor, center: Tensor, activations: Tensor) -> Scores:
    scores: Scores = centred_cosine(directions, center, activations[:, None])[:, 0].numpy()
    return scores
