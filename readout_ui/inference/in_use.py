"""What work on the device may use: the model and the vectors of one run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from readout_ui.progress import Report
from readout_ui.runs.run import RunRecord

if TYPE_CHECKING:
    from readout_ui.activations.cache import ActivationCache
    from readout_ui.models.loading import LoadedModel
    from readout_ui.vectors.vectors import ConceptVectors


@dataclass(frozen=True, eq=False)
class InUse:
    """The loaded model and one run's vectors, which belong to it."""

    run: RunRecord
    vectors: ConceptVectors
    model: LoadedModel
    cache: ActivationCache | None
    report: Report
    """Call it after every step; it raises Cancelled."""
