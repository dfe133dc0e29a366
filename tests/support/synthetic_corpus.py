"""Synthetic activations and texts with nothing planted, and ways to plant something."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from readout_ui.vectors.groups import TextGroups
from readout_ui.vectors.settings import TrainSettings
from readout_ui.vectors.training import Corpus

Floats = npt.NDArray[np.float64]
Plant = Callable[[Floats, Floats], None]
"""Changes the texts' activations (n_texts, d_model), given the concepts' means."""


@dataclass(frozen=True)
class Shape:
    """How large and how clear a synthetic library is."""

    n_concepts: int = 8
    n_each: int = 8
    n_neutral: int = 8
    d_model: int = 64
    signal: float = 8.0
    """Length of each concept's mean; the noise has deviation 1 in every dimension."""
    uneven: bool = False
    """True gives the noise a decaying spectrum, as activations have."""


def make_corpus(seed: int, shape: Shape | None = None, plant: Plant | None = None) -> Corpus:
    """Concepts of independent means in noise, with texts of words drawn at random."""
    shape = shape or Shape()
    draws = np.random.default_rng(seed)
    means = draws.normal(size=(shape.n_concepts, shape.d_model))
    means *= shape.signal / np.linalg.norm(means, axis=1, keepdims=True)
    n_texts = shape.n_concepts * shape.n_each + shape.n_neutral
    spectrum = 3 / np.sqrt(np.arange(1, shape.d_model + 1)) if shape.uneven else 1.0
    texts = spectrum * draws.normal(size=(n_texts, shape.d_model))  # (n_texts, d_model)
    texts[: shape.n_concepts * shape.n_each] += np.repeat(means, shape.n_each, axis=0)
    if plant is not None:
        plant(texts, means)
    pooled = torch.tensor(texts[:, None], dtype=torch.float32)  # (n_texts, 1, d_model)
    return Corpus(make_texts(seed, n_texts), make_groups(shape), pooled, TrainSettings())


def make_groups(shape: Shape) -> TextGroups:
    """Concepts of equal size, then the neutral texts."""
    starts = range(0, shape.n_concepts * shape.n_each, shape.n_each)
    names = tuple(f"{'abcdefghijklmnopqrstuvwxyz'[i]}concept" for i in range(shape.n_concepts))
    rows = tuple(tuple(range(start, start + shape.n_each)) for start in starts)
    first = shape.n_concepts * shape.n_each
    return TextGroups(names, rows, tuple(range(first, first + shape.n_neutral)))


def make_texts(seed: int, n_texts: int, n_words: int = 400) -> tuple[str, ...]:
    """Two sentences each, of words whose frequencies fall off as in language."""
    draws = np.random.default_rng((seed, 1))
    letters = str.maketrans("0123456789", "abcdefghij")
    words = np.array([f"w{str(i).translate(letters)}" for i in range(n_words)])
    chance = 1 / np.arange(1, n_words + 1)
    chosen = draws.choice(words, (n_texts, 30), p=chance / chance.sum())
    lengths = draws.integers(22, 31, n_texts)
    return tuple(
        f"{' '.join(row[:12])}. {' '.join(row[12:length])}."
        for row, length in zip(chosen, lengths, strict=True)
    )
