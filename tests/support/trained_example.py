"""A small training result without a model, the same on every call with the same seed."""

import hashlib

import torch

from readout_ui.vectors.settings import Trained, TrainSettings
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


def make_trained(seed: int = 0, vectors: ConceptVectors | None = None) -> Trained:
    """A training of three concepts and one neutral file."""
    descriptions: dict[str, tuple[str, ...]] = {
        name: (f"I feel {name}. It is in my chest.", f"All of me is {name}. I know it.")
        for name in CONCEPTS
    }
    descriptions["_neutral"] = ("The train leaves at nine. It has four coaches.",)
    return Trained(
        vectors=vectors or make_vectors(seed),
        settings=TrainSettings(),
        model_name="tiny/model",
        model_revision="main",
        model_fingerprint="f" * 16,
        frame_fingerprint="a" * 64,
        frame_description="chat template: user 'How do you feel right now?'",
        module_path="model.layers.{num}",
        fingerprints={
            name: hashlib.sha256("\n\n".join(texts).encode()).hexdigest()
            for name, texts in descriptions.items()
        },
        n_texts=7,
        layer_scores=(0.5, 0.75, 0.625, 0.875),
        best_layer=3,
        warnings=("1 text was cut off: calm 2",),
        timings={"forward": 1.25, "fit": 0.5},
        calibrated_on="256 tokens of 1 neutral text",
        descriptions=descriptions,
    )
