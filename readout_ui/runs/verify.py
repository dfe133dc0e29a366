"""Does a model give the scores that an export was made with? Its probe texts are read again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from readout_ui.activations.extract import read_activations
from readout_ui.errors import UserError
from readout_ui.progress import Report, silent
from readout_ui.runs.run import Run
from readout_ui.vectors.training import capture_settings
from readout_ui.vectors.vectors import pooled_scores

if TYPE_CHECKING:
    from readout_ui.models.loading import LoadedModel

TOLERANCE = 0.05
"""Largest difference in z that certifies a float32 model: vectors are rounded to float16, which
moves a z-score by about 0.001 on SmolLM2-135M."""
LOW_PRECISION_TOLERANCE = 0.5
"""The same where the model itself computes in half precision or is quantized."""


@dataclass(frozen=True)
class Certificate:
    """What the comparison found."""

    n_texts: int
    n_scores: int
    largest: float
    """Largest difference of any score, in standard deviations of neutral tokens."""
    text: str
    """Where it was."""
    concept: str
    layer: int
    tolerance: float

    @property
    def certified(self) -> bool:
        """Whether every score is as it was."""
        return self.largest <= self.tolerance

    def sentence(self) -> str:
        """The verdict with its largest difference."""
        verdict = "Certified" if self.certified else "Refused"
        return (
            f"{verdict}: {self.n_scores} scores of {self.n_texts} probe texts differ by at most "
            f"{self.largest:.3g} standard deviations (allowed: {self.tolerance:g}), "
            f"most at layer {self.layer} for {self.concept} in “{self.text}”"
        )


def verify(run: Run, model: LoadedModel, report: Report = silent) -> Certificate:
    """Read the probe texts of an export on a model and compare.

    Args:
        run: the export, or a run.
        model: the model it is to be used with.
        report: told how many texts are read.

    Raises:
        UserError: the export has no probe texts, or was made for another model.
    """
    vectors, manifest = run.vectors, run.manifest
    if vectors.probes is None:
        raise UserError(
            "the export holds no probe texts, an older version wrote it", fix="export again"
        )
    run.refuse_other_model(model)
    settings = capture_settings(run.settings)
    texts = vectors.probes.texts
    pooled = read_activations(model, texts, settings, None, report=report).pooled
    pooled = pooled[:, list(vectors.layers)]
    found = pooled_scores(pooled, vectors.directions, vectors.neutral_mean, vectors.neutral_std)
    difference = (found - vectors.probes.scores).abs()  # (n_probes, n_concepts, n_layers)
    worst = int(difference.argmax())
    n_concepts, n_layers = difference.shape[1:]
    text, concept, layer = (
        worst // (n_concepts * n_layers),
        worst // n_layers % n_concepts,
        worst % n_layers,
    )
    exact = manifest.model.dtype == "float32"
    return Certificate(
        n_texts=len(texts),
        n_scores=difference.numel(),
        largest=float(difference.max()),
        text=texts[text][:60],
        concept=vectors.concepts[concept],
        layer=vectors.layers[layer],
        tolerance=TOLERANCE if exact else LOW_PRECISION_TOLERANCE,
    )
