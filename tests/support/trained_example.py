"""A small training result without a model, the same on every call with the same seed."""

import hashlib
from typing import Any

import torch

from readout_ui.runs.manifest import FramePart, MetricsPart, ModelPart, describe
from readout_ui.runs.run import Run
from readout_ui.vectors.settings import TrainSettings
from readout_ui.vectors.vectors import ConceptVectors

CONCEPTS = ("afraid", "calm", "sad")
LAYERS = (1, 3)
D_MODEL = 64


def make_vectors(seed: int = 0) -> ConceptVectors:
    """Random unit directions; one dimension carries a massive mean, as real models have."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    directions = normal(len(CONCEPTS), len(LAYERS), D_MODEL)
    center = normal(len(LAYERS), D_MODEL)
    center[:, 5] = 500.0
    return ConceptVectors(
        concepts=CONCEPTS,
        layers=LAYERS,
        directions=directions / directions.norm(dim=2, keepdim=True),
        center=center,
        neutral_mean=normal(len(CONCEPTS), len(LAYERS)),
        neutral_std=normal(len(CONCEPTS), len(LAYERS)).abs() + 0.5,
    )


def make_run(seed: int = 0, vectors: ConceptVectors | None = None, **changes: Any) -> Run:
    """A training of three concepts and one neutral file.

    Args:
        seed: of the vectors.
        vectors: others than the random ones.
        changes: other arguments of `describe`, e.g. `settings`.
    """
    texts: dict[str, tuple[str, ...]] = {
        name: (f"I feel {name}. It is in my chest.", f"All of me is {name}. I know it.")
        for name in CONCEPTS
    }
    texts["_neutral"] = ("The train leaves at nine. It has four coaches.",)
    texts = changes.pop("texts", texts)
    kept = make_vectors(seed) if vectors is None else vectors
    parts: dict[str, Any] = {
        "settings": TrainSettings(),
        "model": ModelPart(id="tiny/model", revision="main", fingerprint="f" * 16, dtype=""),
        "frame": FramePart(
            fingerprint="a" * 64, description="chat template: user 'How do you feel right now?'"
        ),
        "module_path": "model.layers.{num}",
        "metrics": MetricsPart(best_layer=3, layer_scores=(0.5, 0.75, 0.625, 0.875), n_texts=7),
        "calibrated_on": "256 tokens of 1 neutral text",
        "fingerprints": {
            name: hashlib.sha256("\n\n".join(some).encode()).hexdigest()
            for name, some in texts.items()
        },
    }
    return Run(
        describe(kept, **{**parts, **changes}),
        lambda: kept,
        texts,
        timings={"forward": 1.25, "fit": 0.5},
        warnings=("1 text was cut off: calm 2",),
    )
