"""What the cross-talk judgements find, in numpy, so that views and reports need no torch."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from readout_ui.evaluation.resampling import Estimate

Floats = npt.NDArray[np.floating]
Bools = npt.NDArray[np.bool_]
Indices = npt.NDArray[np.intp]

FALSE_ALARMS = 0.05
"""Of the cells marked as different from chance, the expected part that is not (Benjamini-Hochberg);
where nothing is planted at all, the chance that even one cell is marked."""
CONFIDENCE = 0.95
"""Of every interval."""


@dataclass(frozen=True, eq=False)
class CosineMatrix:
    """How alike the directions of a layer are."""

    concepts: tuple[str, ...]
    """Concept names, in the order of both axes."""
    layer: int | None
    """The layer, None for the mean over all layers."""
    order: Indices
    """(n_concepts,): leaves of the tree, alike concepts side by side."""
    linkage: Floats
    """(n_concepts - 1, 4): average linkage over 1 - cosine, as scipy writes a tree."""
    cosine: Floats
    """(n_concepts, n_concepts), -1..1: of the directions as the run's method fits them."""
    low: Floats
    """(n_concepts, n_concepts): lower end of the 95 % interval, from a bootstrap over texts."""
    high: Floats
    """(n_concepts, n_concepts): its upper end."""
    chance: Floats
    """(n_concepts, n_concepts): mean cosine of random groups of the same descriptions."""
    differs: Bools
    """(n_concepts, n_concepts): beyond what random groups give, and the interval agrees."""
    method: str
    """How the run fits directions; intervals and marks are always those of mean differences."""

    def __post_init__(self) -> None:
        _check_square(self, "cosine", "low", "high", "chance", "differs")


@dataclass(frozen=True)
class Confusion:
    """Held-out descriptions of one concept that score highest on another."""

    concept: str
    """Whose descriptions."""
    taken_for: str
    """The concept they score highest on."""
    count: int
    """How many."""
    of: int
    """How many descriptions of the concept could be held out."""
    differs: bool
    """Its descriptions, taken together, score on the other direction beyond chance."""


@dataclass(frozen=True, eq=False)
class HeldOutMatrix:
    """Held-out scores of each concept's descriptions on each direction."""

    concepts: tuple[str, ...]
    """Rows: whose descriptions; columns: whose direction."""
    layer: int
    """The layer."""
    mean: Floats
    """(n_concepts, n_concepts): mean score in standard deviations of its column over all held-out
    descriptions; NaN on the diagonal where a concept has one description."""
    low: Floats
    """(n_concepts, n_concepts): lower end of the 95 % interval, from a bootstrap over texts."""
    high: Floats
    """(n_concepts, n_concepts): its upper end."""
    differs: Bools
    """(n_concepts, n_concepts): differs from 0, the mean over all descriptions."""
    top1: Estimate
    """Part of the held-out descriptions that score highest on their own concept."""
    per_concept: tuple[Estimate, ...]
    """The same for each concept."""
    chance: float
    """Top-1 of guessing."""
    confusions: tuple[Confusion, ...]
    """All that occurred, the largest part of a concept first."""

    def __post_init__(self) -> None:
        _check_square(self, "mean", "low", "high", "differs")


@dataclass(frozen=True)
class Neighbour:
    """Another concept whose direction is near."""

    concept: str
    """Its name."""
    cosine: float
    """-1..1."""
    low: float
    """Lower end of the 95 % interval."""
    high: float
    """Its upper end."""
    differs: bool
    """Beyond chance."""


@dataclass(frozen=True)
class Redundancy:
    """How far one concept's direction follows from the others, and whether it is one thing."""

    concept: str
    """Its name."""
    nearest: tuple[Neighbour, ...]
    """The three with the highest cosine, or as many as there are."""
    r2: float
    """Part of the direction's squared length that a ridge fit on the others explains, 0..1."""
    r2_low: float
    """Lower end of the 95 % interval, from a bootstrap over texts."""
    r2_high: float
    """Its upper end."""
    r2_chance: float
    """The mean for random groups of the same descriptions."""
    r2_differs: bool
    """Above chance."""
    first_component_share: float
    """Part of the squared length of its differences that lies along one direction, 0..1."""
    share_chance: float
    """What 95 % of random groups of as many descriptions stay below; NaN for one description."""


@dataclass(frozen=True, eq=False)
class ConceptMap:
    """Directions as points in a plane."""

    concepts: tuple[str, ...]
    """Concept names."""
    layer: int
    """The layer."""
    xy: Floats
    """(n_concepts, 2)."""
    explained: tuple[float, float]
    """Part of the variance along each axis, 0..1; NaN for UMAP."""
    cluster: Indices
    """(n_concepts,): 0 for the largest cluster, -1 for a concept on its own."""
    threshold: float
    """Mean cosine above which concepts belong together; 95 % of random groupings stay below."""
    method: str
    """"pca" or "umap"."""


def _check_square(result: CosineMatrix | HeldOutMatrix, *names: str) -> None:
    expected = (len(result.concepts),) * 2
    for name in names:
        found = getattr(result, name).shape
        if found != expected:
            raise ValueError(f"{name} has shape {found}, expected {expected}")
