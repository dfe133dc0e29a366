"""A run's descriptions with their activations: what every judgement of its vectors starts from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from readout_ui.activations import read_activations
from readout_ui.pairs import TextGroups
from readout_ui.progress import Report, silent
from readout_ui.training import capture_settings, group_texts, tokens_to_keep

if TYPE_CHECKING:
    from readout_ui.cache import ActivationCache
    from readout_ui.models import LoadedModel
    from readout_ui.trained import TrainSettings


@dataclass(frozen=True, eq=False)
class Corpus:
    """Texts, which concept each belongs to, and their activations at every layer."""

    texts: tuple[str, ...]
    """Every description, neutral ones included; a text may occur twice."""
    groups: TextGroups
    """Which rows belong to which concept."""
    pooled: Tensor
    """(n_texts, n_layers, d_model), float32, by the run's read rule."""
    settings: TrainSettings
    """How the texts were read and the vectors fitted."""

    def __post_init__(self) -> None:
        if self.pooled.ndim != 3 or self.pooled.shape[0] != len(self.texts):
            raise ValueError(f"{len(self.texts)} texts but activations {tuple(self.pooled.shape)}")

    @property
    def n_layers(self) -> int:
        """All layers of the model, whichever the run kept."""
        return self.pooled.shape[1]

    def place(self, row: int) -> tuple[str, int] | None:
        """Concept and index within it of a row, None for a neutral text."""
        for concept, rows in zip(self.groups.concepts, self.groups.rows, strict=True):
            if row in rows:
                return concept, rows.index(row)
        return None


def read_corpus(
    model: LoadedModel,
    descriptions: Mapping[str, Sequence[str]],
    settings: TrainSettings,
    cache: ActivationCache | None = None,
    report: Report = silent,
) -> Corpus:
    """Activations of a run's texts; nothing goes through the model that the cache still has.

    Args:
        model: the model the run was trained on.
        descriptions: texts per file name; names with a leading underscore are neutral.
        settings: the run's.
        cache: activations read earlier.
        report: told after every batch.
    """
    texts, groups = group_texts(descriptions)
    activations = read_activations(
        model, texts, capture_settings(settings), cache, tokens_to_keep(texts, groups), report
    )
    return Corpus(texts, groups, activations.pooled, settings)
