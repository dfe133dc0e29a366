"""Tiny models of any architecture as the app loads them, and random vectors that fit."""

from dataclasses import replace
from typing import Any

import torch

from readout_ui.inference.readout import Readout
from readout_ui.models.loading import LoadedModel, ModelSpec, adopt_model
from readout_ui.runs.manifest import describe_bare
from readout_ui.runs.run import Run
from readout_ui.vectors.vectors import ConceptVectors
from tests.support.architectures import CHATML, build, tiny_tokenizer


def load_tiny(name: str = "llama", context_length: int | None = 512, **changes: Any) -> LoadedModel:
    """A tiny random model in float32 on the CPU, with a chat template."""
    spec = ModelSpec(model="tiny", device="cpu", dtype="fp32")
    loaded = adopt_model(build(name, **changes), tiny_tokenizer(CHATML), spec)
    return replace(loaded, context_length=context_length)


def on_device(model: LoadedModel, device: torch.device) -> LoadedModel:
    """The same model there."""
    model.model.to(device)  # type: ignore[arg-type]
    return replace(model, device=device)


def load_overflowing() -> LoadedModel:
    """A model whose activations are too large for float16 from its second layer on."""
    model = load_tiny()
    with torch.no_grad():
        for name in ("up_proj", "gate_proj", "down_proj"):
            weight = model.model.get_submodule(f"model.layers.1.mlp.{name}").weight
            weight.mul_(20000).clamp_(-60000, 60000)  # type: ignore[operator, union-attr]
    model.model.to(torch.float16)  # type: ignore[arg-type]
    return replace(model, dtype=torch.float16)


def random_vectors(
    model: LoadedModel,
    layers: tuple[int, ...] = (0, 2),
    concepts: tuple[str, ...] = ("calm", "afraid", "sad"),
) -> ConceptVectors:
    """Random directions at some layers."""
    random = torch.Generator().manual_seed(1)
    n_concepts = len(concepts)
    directions = torch.randn(n_concepts, len(layers), model.d_model, generator=random)
    return ConceptVectors(
        concepts=concepts,
        layers=layers,
        directions=directions / directions.norm(dim=-1, keepdim=True),
        center=torch.randn(len(layers), model.d_model, generator=random),
        neutral_mean=torch.randn(n_concepts, len(layers), generator=random),
        neutral_std=torch.rand(n_concepts, len(layers), generator=random) + 0.5,
    )


def random_readout(model: LoadedModel) -> Readout:
    """A model with random vectors at two layers, as from a file of directions alone."""
    vectors = random_vectors(model)
    return Readout(model, Run(describe_bare(vectors, "random", {"id": "tiny"}), lambda: vectors))
