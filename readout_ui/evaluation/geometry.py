"""Geometry of a run's directions: two components beside ratings, layers alike, families.

What the field asks of emotion directions: do their first components follow valence and arousal,
is their arrangement the same across layers, and are texts at least taken for the right family.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.cluster.hierarchy import fcluster

from readout_ui.errors import UserError, printable
from readout_ui.evaluation.crosstalk import cosines_of, spread_layers
from readout_ui.evaluation.direction_samples import observed_cosines
from readout_ui.evaluation.held_out import held_out_matrix
from readout_ui.evaluation.redundancy import principal_plane
from readout_ui.evaluation.resampling import p_values
from readout_ui.evaluation.results import Floats, HeldOutMatrix, Indices, Rows, cluster
from readout_ui.files import read_bytes, shown
from readout_ui.texts.shipped import shipped_ratings
from readout_ui.texts.tables import MAX_BYTES, titled
from readout_ui.vectors.auroc import ranks_of

if TYPE_CHECKING:
    from readout_ui.inference.readout import Readout
    from readout_ui.texts.tables import TextTable
    from readout_ui.vectors.training import Corpus
    from readout_ui.vectors.vectors import ConceptVectors

N_PERMUTATIONS = 2000
FEWEST_RATED = 5
"""Rated concepts below which no correlation is worth a number."""
MOST_NAMED = 8
"""Names without a concept that are listed."""


@dataclass(frozen=True, eq=False)
class Ratings:
    """What a person gave every concept on some scales."""

    scales: tuple[str, ...]
    """Titles of the columns, e.g. valence and arousal."""
    values: Floats
    """(n_concepts, n_scales); NaN for a concept that is not rated."""
    unknown: tuple[str, ...] = ()
    """Names that are rated and no concepts of the run."""

    @property
    def passed_over(self) -> tuple[str, ...]:
        """A sentence about these names, none without any."""
        if not self.unknown:
            return ()
        names = ", ".join(map(printable, self.unknown[:MOST_NAMED]))
        rest = len(self.unknown) - MOST_NAMED
        more = f" and {rest} more" if rest > 0 else ""
        return (f"Passed over, as the run has no such concept: {names}{more}.",)


@dataclass(frozen=True)
class RatingFit:
    """How a component follows a scale."""

    component: int
    """1 or 2."""
    scale: str
    r: float
    """Pearson's correlation over the rated concepts; its sign is arbitrary, as a component's is."""
    p: float
    """From permuted concepts, two-sided, corrected over components and scales by the largest."""
    n: int
    """Rated concepts."""


@dataclass(frozen=True)
class FamilyLevel:
    """Concepts cut into so many families, and how often a text is taken for one of its own."""

    families: tuple[tuple[str, ...], ...]
    """Largest first."""
    top1: float
    """Part of the held-out descriptions that score highest on a concept of their own family."""
    chance: float
    """The same where texts are taken for concepts at random."""
    shuffled: float
    """The same for families of these sizes with members at random, mean of many: what taking texts
    for their own concept alone gives."""


@dataclass(frozen=True, eq=False, repr=False)
class Geometry:
    """Where the directions of a layer lie to each other."""

    layer: int
    concepts: tuple[str, ...]
    xy: Floats
    """(n_concepts, 2), along the first two principal components of the unit directions."""
    explained: tuple[float, float]
    """Part of the variance along each, 0..1."""
    ratings: Rows[RatingFit]
    """Empty without ratings."""
    layers: tuple[int, ...]
    """Those that are compared with each other."""
    stability: Floats
    """(n_layers, n_layers), -1..1: Spearman's correlation of the cosines of all pairs of concepts
    at two layers (representational similarity analysis)."""
    families: Rows[FamilyLevel]
    """Coarse first."""

    def sentences(self) -> tuple[str, ...]:
        """The numbers in words, for people."""
        first, second = self.explained
        said = [f"The first two components hold {first:.0%} and {second:.0%} of the variance."]
        said += [
            f"Component {fit.component} and {fit.scale}: r {fit.r:+.2f}, p {fit.p:.3f} "
            f"({fit.n} rated concepts)."
            for fit in self.ratings
        ]
        if len(self.layers) > 1 and len(self.concepts) > 2:
            apart = self.stability[np.triu_indices(len(self.layers), k=1)]
            said.append(
                f"Across layers {self.layers[0]} to {self.layers[-1]} the order of all cosines "
                f"correlates by {apart.mean():.2f} (lowest {apart.min():.2f})."
            )
        said += [
            f"{len(level.families)} families: {level.top1:.0%} of held-out descriptions score "
            f"highest in their own (random families {level.shuffled:.0%}, chance "
            f"{level.chance:.0%}): {'; '.join(', '.join(names) for names in level.families)}."
            for level in self.families
        ]
        return tuple(said)

    def as_json(self) -> dict[str, Any]:
        """All of it as values that JSON can hold."""
        return {
            "layer": self.layer,
            "concepts": list(self.concepts),
            "xy": self.xy.tolist(),
            "explained": list(self.explained),
            "ratings": [asdict(fit) for fit in self.ratings],
            "layers": list(self.layers),
            "stability": self.stability.tolist(),
            "families": [asdict(level) for level in self.families],
        }

    def __repr__(self) -> str:
        return f"<geometry of {len(self.concepts)} concepts at layer {self.layer}>"


def read_ratings(path: Path, concepts: Sequence[str]) -> Ratings:
    """Ratings of concepts from a file, see `rate_table`.

    Raises:
        UserError: no such file, no table, or what `rate_table` refuses.
    """
    from readout_ui.texts.table_files import read_table

    return rate_table(read_table(read_bytes(path, MAX_BYTES), shown(path)), concepts)


def rate_table(table: TextTable, concepts: Sequence[str]) -> Ratings:
    """Ratings of a run's concepts from a column `concept` and a column of numbers per scale.

    Raises:
        UserError: no such column, a cell that is no number, a concept that is rated twice, or too
            few of the concepts.
    """
    title = titled(table.columns, ("concept",))
    table.require((title or "concept",))
    scales = tuple(name for name in table.columns if name != title)
    if not scales:
        raise UserError(
            "there is no column of ratings", where=table.file, fix="add one, such as valence"
        )
    given: dict[str, dict[str, float]] = {}
    for row in table.rows:
        where = f"{table.file} line {row.line}"
        pairs = zip(table.columns, row.cells, strict=True)
        cells = {column: " ".join(cell).strip() for column, cell in pairs}
        name = cells.pop(title or "")
        if name in given:
            raise UserError(f"'{printable(name)}' is rated twice", where=where)
        given[name] = {}
        if name in concepts:
            given[name] = {scale: _number(cells[scale], where) for scale in scales}
    return rate(given, concepts, table.file)


def rate(given: Mapping[str, Mapping[str, float]], concepts: Sequence[str], where: str) -> Ratings:
    """Ratings by concept and scale as a table of all concepts.

    Args:
        given: numbers by scale, by concept; concepts that the run has not are passed over.
        concepts: the run's.
        where: they come from.

    Raises:
        UserError: too few of the concepts are rated on every scale.
    """
    unknown = tuple(name for name in given if name not in concepts)
    known = [given.get(name, {}) for name in concepts]
    scales = tuple(dict.fromkeys(scale for some in known for scale in some))
    values = np.array([[some.get(scale, np.nan) for scale in scales] for some in known])
    n_rated = int((~np.isnan(values)).all(axis=1).sum()) if scales else 0
    if n_rated < FEWEST_RATED:
        raise UserError(
            f"{n_rated} of the run's concepts are rated",
            where=where,
            fix=f"rate {FEWEST_RATED} or more",
            options=list(concepts)[:20],
        )
    return Ratings(scales, values, unknown)


def ratings_or_shipped(path: Path | None, concepts: Sequence[str]) -> Ratings | None:
    """A person's ratings; without a file valence and arousal of the shipped emotions, None where
    too few of these are among the concepts."""
    if path is not None:
        return read_ratings(path, concepts)
    try:
        return read_ratings(shipped_ratings(), concepts)
    except UserError:
        return None


def _number(written: str, where: str) -> float:
    with suppress(ValueError):
        if isfinite(number := float(written)):
            return number
    raise UserError(f"'{printable(written)}' is no number", where=where)


def geometry_of(readout: Readout, layer: int, ratings: Ratings | None) -> Geometry:
    """The geometry of a run's own directions at a layer of the model.

    Raises:
        UserError: the texts of the training are not there.
    """
    corpus = readout.corpus()
    own = readout.vectors if readout.run.source else None
    return judge_geometry(corpus, layer, held_out_matrix(corpus, layer), ratings, own)


def judge_geometry(
    corpus: Corpus,
    layer: int,
    held_out: HeldOutMatrix,
    ratings: Ratings | None = None,
    own: ConceptVectors | None = None,
) -> Geometry:
    """Components, ratings, stability across layers and families.

    Args:
        corpus: the run's texts.
        layer: a layer of the model.
        held_out: held-out descriptions at the layer, for the families.
        ratings: of the concepts.
        own: the run's vectors where its directions do not follow from the corpus by its method.
    """

    def cosines(at: int) -> Floats:
        return observed_cosines(corpus, at) if own is None else cosines_of(own, at)

    layers = spread_layers(corpus.n_layers) if own is None else own.layers
    found = cosines(layer)
    counts = _taken_for(held_out, [len(rows) for rows in corpus.groups.rows])
    xy, explained = principal_plane(found)
    return Geometry(
        layer=layer,
        concepts=corpus.groups.concepts,
        xy=xy,
        explained=explained,
        ratings=Rows() if ratings is None else fit_ratings(xy, ratings),
        layers=tuple(layers),
        stability=rsa([cosines(each) for each in layers]),
        families=families(found, counts, corpus.groups.concepts),
    )


def fit_ratings(xy: Floats, ratings: Ratings, seed: int = 0) -> Rows[RatingFit]:
    """Correlations of two components (n_concepts, 2) with every scale."""
    rated = ~np.isnan(ratings.values).any(axis=1)
    points, values = xy[rated], ratings.values[rated]
    found = _correlations(points, values)  # (2, n_scales)
    orders = np.tile(np.arange(len(points)), (N_PERMUTATIONS, 1))
    shuffled = points[np.random.default_rng(seed).permuted(orders, axis=1)]  # (n, n_rated, 2)
    largest = np.abs(_correlations(shuffled, values)).max(axis=(1, 2))  # (n,)
    p = p_values(np.abs(found).ravel(), largest).reshape(found.shape)
    return Rows(
        RatingFit(
            component + 1, scale, float(found[component, s]), float(p[component, s]), len(points)
        )
        for component in range(2)
        for s, scale in enumerate(ratings.scales)
    )


def _correlations(left: Floats, right: Floats) -> Floats:
    """Pearson's r of every column (..., n, n_left) with every one (n, n_right); 0 for constants."""
    a, b = left - left.mean(axis=-2, keepdims=True), right - right.mean(axis=0)
    lengths = np.linalg.norm(a, axis=-2)[..., None] * np.linalg.norm(b, axis=0)
    dots = a.swapaxes(-1, -2) @ b
    found: Floats = np.divide(dots, lengths, out=np.zeros(lengths.shape), where=lengths > 1e-12)
    return found


def rsa(cosines: Sequence[Floats]) -> Floats:
    """Spearman's correlation of the cosines of all pairs between every two layers.

    Args:
        cosines: (n_concepts, n_concepts) of each layer.
    """
    pairs = np.triu_indices(len(cosines[0]), k=1)
    if len(pairs[0]) < 2:  # nothing to order
        return np.ones((len(cosines), len(cosines)))
    ranks = ranks_of(np.stack([each[pairs] for each in cosines], axis=1))  # (n_pairs, n_layers)
    found = _correlations(ranks, ranks)
    np.fill_diagonal(found, 1)
    return found


def families(
    cosine: Floats, counts: Floats, names: Sequence[str], seed: int = 0
) -> Rows[FamilyLevel]:
    """The tree of cosines cut at a few heights, with what texts are taken for at each.

    Args:
        cosine: (n_concepts, n_concepts).
        counts: (n_concepts, n_concepts), how many texts of one score highest on another.
        names: of the concepts.
        seed: of the families at random.
    """
    n = len(cosine)
    if n < 4 or not counts.sum():
        return Rows()
    _, tree = cluster(cosine)
    draws, levels = np.random.default_rng(seed), []
    for wanted in sorted({3, round(np.sqrt(n)), n // 3} - {0, 1}):
        label = fcluster(tree, wanted, "maxclust")
        members = [tuple(np.array(names)[label == each].tolist()) for each in np.unique(label)]
        shuffled = [_within(counts, draws.permutation(label)) for _ in range(200)]
        same = label[:, None] == label
        levels.append(
            FamilyLevel(
                families=tuple(sorted(members, key=lambda some: (-len(some), some))),
                top1=_within(counts, label),
                chance=float((counts.sum(axis=1) * same.mean(axis=1)).sum() / counts.sum()),
                shuffled=float(np.mean(shuffled)),
            )
        )
    return Rows(levels)


def _within(counts: Floats, label: Indices) -> float:
    return float(counts[label[:, None] == label].sum() / counts.sum())


def _taken_for(held_out: HeldOutMatrix, sizes: Sequence[int]) -> Floats:
    """(n_concepts, n_concepts): how many texts of one score highest on another's direction."""
    place = {name: i for i, name in enumerate(held_out.concepts)}
    counts = np.zeros((len(place), len(place)))
    for one in held_out.confusions:
        counts[place[one.concept], place[one.taken_for]] = one.count
    for i, (share, size) in enumerate(zip(held_out.per_concept, sizes, strict=True)):
        counts[i, i] = 0 if np.isnan(share.value) else round(share.value * size)
    return counts
