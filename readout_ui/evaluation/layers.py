"""How well held-out descriptions are told apart at every layer, by method and read rule."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
import torch

from readout_ui.activations.pooling import rule_group
from readout_ui.evaluation.results import matrix_frame
from readout_ui.progress import Progress, Report, silent
from readout_ui.vectors.auroc import Bools, Floats, grouped_auroc
from readout_ui.vectors.blas import single_thread
from readout_ui.vectors.cross_validation import (
    Assignment,
    assign_folds,
    can_be_scored,
    held_out_blocks,
)
from readout_ui.vectors.groups import PairSettings, TextGroups
from readout_ui.vectors.methods import METHODS
from readout_ui.vectors.settings import TrainSettings
from readout_ui.vectors.training import Corpus
from readout_ui.vectors.whitening import MAPPED

if TYPE_CHECKING:
    import pandas as pd

FOLDS = 4
"""Of the sweep; fewer than the layer choice takes, because PCA and logistic fit anew for each."""
STAGE = "Comparing layers"


@dataclass(frozen=True, eq=False)
class SweepColumn:
    """One method on one read rule, at every layer that was computed."""

    method: str
    read: str
    auroc: Floats
    """(n_layers, n_concepts), NaN rows for layers that were not computed."""

    @property
    def label(self) -> str:
        """Method and rule, for an axis."""
        return f"{self.method}, {self.read}"

    @property
    def computed(self) -> tuple[int, ...]:
        """The layers that have a score."""
        return tuple(np.flatnonzero(~np.isnan(self.auroc).all(axis=1)).tolist())

    @property
    def macro(self) -> Floats:
        """Mean over concepts, (n_layers,)."""
        means: Floats = self.auroc.mean(axis=1)
        return means


@dataclass(frozen=True, eq=False, repr=False)
class LayerSweep:
    """Held-out AUROC by layer, method, read rule and concept."""

    concepts: tuple[str, ...]
    """Those with two descriptions or more, in the order of the last axis."""
    columns: tuple[SweepColumn, ...]
    """One per method and read rule."""
    folds: int
    """Parts the descriptions were split into, the same for all columns."""

    def __post_init__(self) -> None:
        shapes = {column.auroc.shape for column in self.columns}
        if len(shapes) != 1 or next(iter(shapes))[1] != len(self.concepts):
            raise ValueError(f"columns {sorted(shapes)} for {len(self.concepts)} concepts")

    @property
    def n_layers(self) -> int:
        """All layers of the model."""
        return len(self.columns[0].auroc)

    @property
    def n_missing(self) -> int:
        """Cells of layers x columns that were not computed."""
        return sum(self.n_layers - len(column.computed) for column in self.columns)

    def scores(self, concept: str | None = None) -> Floats:
        """AUROC of one concept, or the mean over all of them, (n_columns, n_layers)."""
        if concept is None:
            return np.stack([column.macro for column in self.columns])
        index = self.concepts.index(concept)
        return np.stack([column.auroc[:, index] for column in self.columns])

    def to_frame(self, concept: str | None = None) -> pd.DataFrame:
        """Layer x (method and read rule): held-out AUROC of a concept, or the mean over concepts.

        NaN where a method was not fitted at a layer.
        """
        names = [column.label for column in self.columns]
        scores = self.scores(concept).T  # (n_layers, n_columns)
        return matrix_frame(scores, range(self.n_layers), names, ("layer", "method, read"))

    def __repr__(self) -> str:
        best = self.best()
        found = f": best is layer {best[1]} with {best[0].label}" if best else ""
        return f"<AUROC of {len(self.concepts)} concepts at {self.n_layers} layers{found}>"

    def best(self, concept: str | None = None) -> tuple[SweepColumn, int] | None:
        """The column and layer of the highest score; None where nothing could be scored."""
        scores = self.scores(concept)
        if np.isnan(scores).all():
            return None
        column, layer = np.unravel_index(np.nanargmax(scores), scores.shape)
        return self.columns[column], int(layer)


def sweep_means(
    corpora: Iterable[Corpus], folds: int = FOLDS, report: Report = silent
) -> LayerSweep:
    """Every layer by the run's linear method and by mean differences, for each read rule.

    The other methods stay empty.

    Args:
        corpora: the same texts by one read rule each; only one is held at a time.
        folds: how many parts the descriptions are split into.
        report: told after every few layers.
    """
    names: tuple[str, ...] = ()
    found: dict[tuple[str, str], Floats] = {}  # by method and read rule, (n_layers, n_concepts)
    for corpus in corpora:
        assignment = assign_folds(corpus.groups, folds, corpus.settings.seed)
        kept = can_be_scored(assignment)
        names = tuple(np.array(corpus.groups.concepts)[kept].tolist())
        for method in dict.fromkeys((corpus.mapped_method, "mean")):
            aurocs = [some[:, kept] for some in _all_aurocs(corpus, assignment, method, report)]
            found[method, corpus.settings.read] = np.concatenate(aurocs)
    empty = np.full(next(iter(found.values())).shape, np.nan)
    rules = dict.fromkeys(read for _, read in found)
    columns = tuple(
        SweepColumn(method, read, found.get((method, read), empty))
        for method in METHODS
        for read in rules
    )
    return LayerSweep(names, columns, folds)


def _all_aurocs(
    corpus: Corpus, assignment: Assignment, method: str, report: Report
) -> Iterator[Floats]:
    """AUROC by a linear method, (n_some_layers, n_concepts) at a time."""
    done, group = 0, assignment.group[assignment.scored]
    for scores in held_out_blocks(corpus.activations, assignment, method, corpus.neutral_tokens):
        report(Progress(STAGE, done, corpus.n_layers, "layers", note=corpus.settings.read))
        yield grouped_auroc(scores, group)
        done += scores.shape[1]


def fill_layers(
    sweep: LayerSweep,
    corpora: Iterable[Corpus],
    layers: Sequence[int],
    report: Report = silent,
) -> LayerSweep:
    """The sweep with these layers also fitted by all other methods, fold by fold.

    Args:
        sweep: what is known.
        corpora: the texts by the read rules of the sweep's columns; only one is held at a time.
        layers: which layers to add to all columns.
        report: told after every column.
    """
    filled = {column.label: column for column in sweep.columns}
    for corpus in corpora:
        for column in sweep.columns:
            if column.read == corpus.settings.read:
                done = sum(set(layers) <= set(one.computed) for one in filled.values())
                report(Progress(STAGE, done, len(filled), "columns", note=column.label))
                missing = [layer for layer in layers if layer not in column.computed]
                filled[column.label] = fill_column(column, corpus, missing, sweep.folds)
    return replace(sweep, columns=tuple(filled.values()))


def fill_column(
    column: SweepColumn, corpus: Corpus, layers: Sequence[int], folds: int
) -> SweepColumn:
    """The column with these layers computed."""
    assignment = assign_folds(corpus.groups, folds, corpus.settings.seed)
    kept = can_be_scored(assignment)
    filled = column.auroc.copy()
    for layer in layers:
        scores = held_out_scores(corpus, layer, assignment, column.method)
        filled[layer] = grouped_auroc(scores, assignment.group[assignment.scored])[kept]
    return replace(column, auroc=filled)


def held_out_scores(corpus: Corpus, layer: int, assignment: Assignment, method: str) -> Floats:
    """Centred cosine of each held-out text with directions that never saw its fold.

    Args:
        corpus: texts and activations.
        layer: which layer.
        assignment: which text is held out in which fold.
        method: how directions are fitted; mean differences follow from sums and cost next to
            nothing, the others fit anew for every fold.

    Returns:
        (n_held_out, n_concepts), texts in the order of the assignment.
    """
    here = corpus.at(layer)
    if method in MAPPED:
        return next(held_out_blocks(here.pooled, assignment, method, here.tokens))[:, 0]
    activations = here.pooled[:, 0].float().numpy()  # (n_texts, d_model)
    with single_thread():
        every = activations - activations.mean(axis=0)
        texts = every[assignment.rows]
        beside = every[[row for rows in assignment.against for row in rows]]
        scores = np.empty((len(texts), assignment.n_groups - 1), dtype=np.float32)
        for fold in np.unique(assignment.fold[assignment.scored]):
            held_out = assignment.fold == fold
            scores[held_out] = _refit_scores(texts, beside, held_out, corpus, assignment, method)
    return scores[assignment.scored]


def _refit_scores(
    texts: Floats,
    beside: Floats,
    held_out: Bools,
    corpus: Corpus,
    assignment: Assignment,
    method: str,
) -> Floats:
    """Scores of a fold; `beside` are the contrast texts, concept by concept."""
    places = iter(range(len(texts), len(texts) + len(beside)))
    groups = TextGroups(
        corpus.groups.concepts,
        tuple(_members(assignment, i, ~held_out) for i in range(assignment.n_groups - 1)),
        _members(assignment, assignment.n_groups - 1, ~held_out),
        tuple(tuple(islice(places, len(rows))) for rows in assignment.against),
    )
    settings = PairSettings(corpus.settings.seed, corpus.settings.max_negatives_per_positive)
    fitted = METHODS[method](
        torch.from_numpy(np.concatenate([texts, beside]))[:, None], groups, settings, None
    )
    directions = fitted[:, 0].numpy()
    centred = texts[held_out] - texts[~held_out].mean(axis=0)  # (n_held_out, d_model)
    lengths = np.linalg.norm(centred, axis=1, keepdims=True)
    scores: Floats = (centred / np.maximum(lengths, 1e-30)) @ directions.T
    return scores


def _members(assignment: Assignment, group: int, kept: Bools) -> tuple[int, ...]:
    return tuple(np.flatnonzero((assignment.group == group) & kept).tolist())


def refit_order(n_layers: int, first: int) -> tuple[int, ...]:
    """All layers in the order in which fitting them anew says most: the best, then ever denser.

    Args:
        n_layers: layers of the model.
        first: the layer to begin with.
    """
    order = [first]
    step = n_layers
    while step > 1:
        step = max(1, step // 2)
        order += [layer for layer in range(step - 1, n_layers, step) if layer not in order]
    return tuple(order)


def corpora_by_rule(corpus: Corpus, read: Callable[[TrainSettings], Corpus]) -> Iterator[Corpus]:
    """The run's texts by every read rule that one pass gives, one at a time.

    The run's own comes from the cache, the second brings the rest. A run that read its last
    template token has no other rule.

    Args:
        corpus: the run's texts as it read them.
        read: reads the same texts by other settings.
    """
    settings = corpus.settings
    for rule in rule_group(settings.read):
        yield corpus if rule == settings.read else read(replace(settings, read=rule))
