"""A scorer whose model is replaced by a rule from words to activations."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import torch
from torch import Tensor

from readout_ui.evaluation.public import Readout
from readout_ui.runs.manifest import describe_bare
from readout_ui.runs.run import Run
from readout_ui.vectors.groups import group_texts
from readout_ui.vectors.settings import TrainSettings
from readout_ui.vectors.training import Corpus
from readout_ui.vectors.vectors import ConceptVectors

D_MODEL = 64
CONCEPTS = ("angry", "calm", "happy", "sad")

Meaning = Callable[[str], Sequence[str]]


@dataclass(frozen=True, eq=False, repr=False)
class PlantedScorer(Readout):
    """Reads what `meaning` finds in a text as the sum of those concepts' directions plus noise."""

    meaning: Meaning = field(kw_only=True)

    def activations(self, texts: Sequence[str], layer: int) -> Tensor:
        return torch.stack([self._activation(text) for text in texts])

    def corpus(self, settings: TrainSettings | None = None) -> Corpus:
        texts, groups = group_texts(self.texts)
        pooled = self.activations(texts, 5)[:, None].expand(-1, 6, -1)
        return Corpus(texts, groups, pooled, settings or self.settings)

    def _activation(self, text: str) -> Tensor:
        seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")
        noise = torch.randn(D_MODEL, generator=torch.Generator().manual_seed(seed)) / 8
        found = [self.concepts.index(concept) for concept in self.meaning(text)]
        return noise + self.vectors.directions[found, 0].sum(dim=0) + 3


def planted_scorer(
    meaning: Meaning, descriptions: Mapping[str, tuple[str, ...]] | None = None
) -> PlantedScorer:
    n = len(CONCEPTS)
    generator = torch.Generator().manual_seed(0)
    directions = torch.linalg.qr(torch.randn(D_MODEL, n, generator=generator))[0].T[:, None]
    vectors = ConceptVectors(
        concepts=CONCEPTS,
        layers=(5,),
        directions=directions.contiguous(),
        center=torch.full((1, D_MODEL), 3.0),
        neutral_mean=torch.zeros(n, 1),
        neutral_std=torch.ones(n, 1),
    )
    run = Run(describe_bare(vectors, "planted", {}), lambda: vectors, dict(descriptions or {}))
    return PlantedScorer(cast(Any, SimpleNamespace(name="planted")), run, meaning=meaning)
