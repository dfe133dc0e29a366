"""What judgements find, in numpy and as pandas tables; views and reports need no torch for it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, is_dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt

from readout_ui.errors import UserError
from readout_ui.evaluation.resampling import Estimate

if TYPE_CHECKING:
    import pandas as pd

Floats = npt.NDArray[np.floating]
Bools = npt.NDArray[np.bool_]
Indices = npt.NDArray[np.intp]
Row = TypeVar("Row")


class Rows(tuple[Row, ...]):
    """One judgement per concept or text: a tuple that is a table as well."""

    __slots__ = ()

    def to_frame(self) -> pd.DataFrame:
        """One row per judgement, its fields as columns, in their units.

        A number with an interval becomes three columns: `auroc`, `auroc_low`, `auroc_high`.
        """
        return frame_of(self)

    def __repr__(self) -> str:
        kind = type(self[0]).__name__ if self else "judgement"
        return f"<{len(self)} x {kind}; .to_frame() shows them>"


def frame_of(rows: Iterable[Any]) -> pd.DataFrame:
    """A table of dataclasses of one kind; the field `concept`, where there is one, is the index."""
    import pandas as pd

    frame = pd.DataFrame([dict(_cells(row)) for row in rows])
    return frame.set_index("concept") if "concept" in frame and frame.concept.is_unique else frame


def matrix_frame(
    cells: Floats, index: Sequence[Any], columns: Sequence[Any], names: tuple[str, str]
) -> pd.DataFrame:
    """A table of (n_index, n_columns) numbers; `names` say what its two axes are."""
    import pandas as pd

    rows = pd.Index(list(index), name=names[0])
    return pd.DataFrame(cells, index=rows, columns=pd.Index(list(columns), name=names[1]))


def _cells(row: Any) -> Iterable[tuple[str, Any]]:
    for field in fields(row):
        value = getattr(row, field.name)
        if isinstance(value, Estimate):
            yield field.name, value.value
            yield f"{field.name}_low", value.low
            yield f"{field.name}_high", value.high
        elif isinstance(value, tuple):
            yield field.name, ", ".join(map(_short, value))
        elif not is_dataclass(value):
            yield field.name, value


def _short(value: Any) -> str:
    return str(getattr(value, "concept", value))


MAP_METHODS = ("pca", "umap")
LEAST_FOR_UMAP = 4
"""Concepts below which there are no neighbourhoods to keep."""


def umap_installed() -> bool:
    """True when the optional package umap-learn is there; it is not imported for that."""
    return find_spec("umap") is not None


FALSE_ALARMS = 0.05
"""Of the cells marked as different from chance, the expected part that is not (Benjamini-Hochberg);
where nothing is planted at all, the chance that even one cell is marked."""
CONFIDENCE = 0.95
"""Of every interval."""


@dataclass(frozen=True, eq=False, repr=False)
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
    """How the run fits directions; intervals and marks are those of plain mean differences where it
    does not fit a linear map of mean differences."""

    def __post_init__(self) -> None:
        _check_square(self, "cosine", "low", "high", "chance", "differs")

    def to_frame(self, what: str = "cosine") -> pd.DataFrame:
        """Concept x concept.

        Args:
            what: "cosine", "low" and "high" (its 95 % interval), "chance" (mean of random groups)
                or "differs" (True beyond chance).
        """
        return _square_frame(self, what, ("cosine", "low", "high", "chance", "differs"))

    def __repr__(self) -> str:
        where = "all layers" if self.layer is None else f"layer {self.layer}"
        return f"<cosines of {len(self.concepts)} directions at {where}; .to_frame() shows them>"


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


@dataclass(frozen=True, eq=False, repr=False)
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

    def to_frame(self, what: str = "mean") -> pd.DataFrame:
        """Concept whose texts were held out x concept of the direction.

        Args:
            what: "mean" (score in standard deviations of the column), "low" and "high" (its 95 %
                interval) or "differs" (True where it is not 0 beyond chance).
        """
        return _square_frame(self, what, ("mean", "low", "high", "differs"))

    def __repr__(self) -> str:
        return (
            f"<held-out scores of {len(self.concepts)} concepts at layer {self.layer}: "
            f"{self.top1.value:.0%} highest on their own>"
        )


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


@dataclass(frozen=True, eq=False, repr=False)
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

    def to_frame(self) -> pd.DataFrame:
        """By concept: `x`, `y`, and `cluster` (0 is the largest, -1 alone)."""
        frame = matrix_frame(self.xy, self.concepts, ("x", "y"), ("concept", "axis"))
        return frame.assign(cluster=self.cluster)

    def __repr__(self) -> str:
        return f"<{self.method} map of {len(self.concepts)} concepts at layer {self.layer}>"


@dataclass(frozen=True, eq=False, repr=False)
class Crosstalk:
    """Which directions are alike, and which texts score on the direction of another concept."""

    cosines: CosineMatrix
    held_out: HeldOutMatrix
    redundancy: Rows[Redundancy]
    map: ConceptMap

    def to_frame(self) -> pd.DataFrame:
        """One row per ordered pair of concepts.

        Columns: `cosine` of the two directions with `cosine_low` and `cosine_high` (95 %) and
        `cosine_differs` (beyond chance); `score`, what held-out texts of the first concept score on
        the direction of the second, in standard deviations, with the same three.
        """
        parts: dict[str, tuple[CosineMatrix | HeldOutMatrix, str]] = {
            "cosine": (self.cosines, "cosine"),
            "score": (self.held_out, "mean"),
        }
        columns = {}
        for name, (matrix, main) in parts.items():
            for what, ending in ((main, ""), ("low", "_low"), ("high", "_high"), ("differs",) * 2):
                column = f"{name}_{ending}" if ending == "differs" else f"{name}{ending}"
                columns[column] = matrix.to_frame(what).to_numpy().ravel()
        import pandas as pd

        index = pd.MultiIndex.from_product([self.cosines.concepts] * 2, names=["concept", "other"])
        frame = pd.DataFrame(columns, index=index)
        return frame[frame.index.get_level_values(0) != frame.index.get_level_values(1)]

    def __repr__(self) -> str:
        return f"<cross-talk of {len(self.cosines.concepts)} concepts; .to_frame() shows it>"


def cluster(cosine: Floats) -> tuple[Indices, Floats]:
    """Leaf order and average-linkage tree over 1 - cosine, (n,) and (n - 1, 4)."""
    if len(cosine) < 2:
        return np.arange(len(cosine)), np.empty((0, 4))
    from scipy.cluster.hierarchy import leaves_list, linkage  # half a second to import
    from scipy.spatial.distance import squareform

    distance = np.clip(1 - (cosine + cosine.T) / 2, 0, 2)
    np.fill_diagonal(distance, 0)
    tree = linkage(squareform(distance, checks=False), "average", optimal_ordering=True)
    return np.asarray(leaves_list(tree), dtype=np.intp), tree


def _square_frame(
    result: CosineMatrix | HeldOutMatrix, what: str, known: tuple[str, ...]
) -> pd.DataFrame:
    if what not in known:
        raise UserError(f"'{what}' is no column of it", options=known)
    return matrix_frame(
        getattr(result, what), result.concepts, result.concepts, ("concept", "direction")
    )


def _check_square(result: CosineMatrix | HeldOutMatrix, *names: str) -> None:
    expected = (len(result.concepts),) * 2
    for name in names:
        found = getattr(result, name).shape
        if found != expected:
            raise ValueError(f"{name} has shape {found}, expected {expected}")
