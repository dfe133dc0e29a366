"""Corpora of made-up activations with known truth, for tests of the cross-talk judgements."""

import torch

from readout_ui.vectors.groups import TextGroups
from readout_ui.vectors.settings import TrainSettings
from readout_ui.vectors.training import Corpus


def make_corpus(
    sizes: tuple[int, ...] = (8,) * 10,
    *,
    strength: float = 0.0,
    copies: dict[int, int] | None = None,
    n_neutral: int = 8,
    n_layers: int = 1,
    d_model: int = 64,
    seed: int = 0,
    noise: int | None = None,
    method: str = "mean",
    contrasts: dict[int, int] | None = None,
) -> Corpus:
    """Noise around a far mean; each concept's texts share a direction, `strength` long.

    Args:
        sizes: descriptions of each concept.
        strength: of the planted directions against noise of 1 per coordinate; 0 plants nothing.
        copies: concept -> the concept whose planted direction it shares.
        n_neutral: neutral texts.
        n_layers: layers, all alike in kind.
        d_model: width.
        seed: of the planted directions.
        noise: seed of the noise around them; another one than the directions' by default.
        method: what the run claims to have been fitted by.
        contrasts: concept -> how many contrast texts of its own it has; nothing is planted there.
    """
    n_usual = sum(sizes) + n_neutral
    counts = [(contrasts or {}).get(concept, 0) for concept in range(len(sizes))]
    n_texts = n_usual + sum(counts)
    pooled = _normal(10_000 + seed if noise is None else noise, n_texts, n_layers, d_model) + 20
    planted = _normal(seed, len(sizes), n_layers, d_model)
    ends = torch.tensor(sizes).cumsum(0).tolist()
    rows = tuple(tuple(range(end - size, end)) for end, size in zip(ends, sizes, strict=True))
    for concept, own in enumerate(rows):
        pooled[list(own)] += strength * planted[(copies or {}).get(concept, concept)]
    names = tuple(f"c{i}" for i in range(len(sizes)))
    starts = [n_usual + sum(counts[:i]) for i in range(len(counts))]
    against = tuple(tuple(range(at, at + n)) for at, n in zip(starts, counts, strict=True))
    neutral = tuple(range(sum(sizes), n_usual))
    groups = TextGroups(names, rows, neutral, against if contrasts else ())
    texts = tuple(f"text {i}" for i in range(n_texts))
    return Corpus(texts, groups, pooled, TrainSettings(method=method))


def _normal(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
