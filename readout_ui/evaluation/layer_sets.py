"""Which few layers together read a whole library best, and what reading them costs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from readout_ui.evaluation.layers import STAGE
from readout_ui.evaluation.results import Rows
from readout_ui.files import size_text
from readout_ui.progress import Progress, Report, silent
from readout_ui.vectors.auroc import Floats, grouped_auroc
from readout_ui.vectors.cross_validation import (
    Assignment,
    assign_folds,
    held_out_blocks,
    rate_layers,
)
from readout_ui.vectors.training import Corpus

if TYPE_CHECKING:
    import pandas as pd

FOLDS = 8
"""As many as the training takes to choose its layer, so that both see the same scores."""
MOST_LAYERS = 4
SHORTLIST = 24
"""Layers a set is chosen from: those that score best alone."""
_BYTES_OF_HALF, _BYTES_OF_FLOAT = 2, 4


@dataclass(frozen=True)
class LayerSet:
    """Layers whose standardized scores are averaged, how well they read, and their cost."""

    layers: tuple[int, ...]
    """Ascending."""
    auroc: float
    """Macro AUROC on held-out descriptions; those chose the layers too, so it flatters a little."""
    elsewhere: float
    """The same number of layers chosen on half of the descriptions, scored on the other half."""
    gain: float
    """Macro AUROC above that of the best single layer."""
    gain_error: float
    """Standard error of the gain over concepts."""
    n_bytes: int
    """Of an export: float16 directions, float32 center and calibration."""
    multiply_adds: int
    """Per token read, all concepts."""

    @property
    def spec(self) -> str:
        """What the Layers box of the training settings takes."""
        return ",".join(map(str, self.layers))


@dataclass(frozen=True)
class LayerSets:
    """The single layer that training recommends, and the best set of each size."""

    recommended: int
    """What `auto` means: within two standard errors of the best, nearest to the middle."""
    sets: Rows[LayerSet]
    """Of 1, 2, ... layers; empty where no concept has two descriptions."""

    def to_frame(self) -> pd.DataFrame:
        """By number of layers: AUROCs, gain over one layer, bytes and multiply-adds per token."""
        return self.sets.to_frame()

    def table(self) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
        """Titles and rows for people; one layer gains nothing over itself."""
        titles = (
            *("Best layers", "AUROC", "Chosen on half, scored on the other", "Over one layer"),
            *("Export", "Multiply-adds per token"),
        )
        rows = (
            (
                ", ".join(map(str, one.layers)),
                f"{one.auroc:.3f}",
                f"{one.elsewhere:.3f}",
                "–" if len(one.layers) == 1 else f"{one.gain:+.3f} ± {one.gain_error:.3f}",
                size_text(one.n_bytes),
                f"{one.multiply_adds:,}",
            )
            for one in self.sets
        )
        return titles, tuple(rows)


def best_layer_sets(
    corpus: Corpus, most: int = MOST_LAYERS, folds: int = FOLDS, report: Report = silent
) -> LayerSets:
    """Choose layers one by one, each time the one that helps the others most.

    Scores are those of directions fitted without the scored text's fold (by the run's method, or
    mean differences where that is not linear), set to
    mean 0 and variance 1 over all held-out texts at each layer, and averaged over the set.

    Args:
        corpus: the run's descriptions with activations at every layer.
        most: layers of the largest set.
        folds: how many parts the descriptions are split into.
        report: told after every few layers.
    """
    assignment = assign_folds(corpus.groups, folds, corpus.settings.seed)
    held_out = list(_held_out(corpus, assignment, report))
    found = rate_layers(held_out, assignment, corpus.n_layers)
    if found.auroc is None:
        return LayerSets(found.best, Rows())
    ranking = np.argsort(-np.array(found.auroc), kind="stable")
    layers = ranking[:SHORTLIST].tolist()
    alone = [some[:, i] for some in held_out for i in range(some.shape[1])]
    scores = {layer: _standard(alone[layer]) for layer in layers}
    scored = assignment.scored
    group = assignment.group[scored]
    chosen = _choose(scores, group, min(most, len(layers)))
    single = _aurocs(scores[chosen[0]], group)  # (n_scored_concepts,)
    elsewhere = _scored_elsewhere(scores, group, assignment, len(chosen))
    sets = []
    for size in range(1, len(chosen) + 1):
        aurocs = _aurocs(_mean(scores, chosen[:size]), group)
        better = aurocs - single
        sets.append(
            LayerSet(
                layers=tuple(sorted(chosen[:size])),
                auroc=float(aurocs.mean()),
                elsewhere=elsewhere[size - 1],
                gain=float(better.mean()),
                gain_error=_standard_error(better),
                n_bytes=export_bytes(size, len(corpus.groups.concepts), corpus.pooled.shape[2]),
                multiply_adds=size * len(corpus.groups.concepts) * corpus.pooled.shape[2],
            )
        )
    return LayerSets(found.best, Rows(sets))


def _held_out(corpus: Corpus, assignment: Assignment, report: Report) -> Iterator[Floats]:
    """Scores of held-out texts, (n_scored, n_some_layers, n_concepts) at a time."""
    done = 0
    method, tokens = corpus.mapped_method, corpus.neutral_tokens
    for scores in held_out_blocks(corpus.activations, assignment, method, tokens):
        report(Progress(STAGE, done, corpus.n_layers, "layers"))
        yield scores
        done += scores.shape[1]


def export_bytes(n_layers: int, n_concepts: int, d_model: int) -> int:
    """Bytes of the tensors of an export of so many layers."""
    directions = n_concepts * d_model * _BYTES_OF_HALF
    calibration = (d_model + 2 * n_concepts) * _BYTES_OF_FLOAT
    return n_layers * (directions + calibration)


def _scored_elsewhere(
    scores: dict[int, Floats], group: npt.NDArray[np.intp], assignment: Assignment, most: int
) -> list[float]:
    """For each size: chosen on the even folds and scored on the odd ones, and the other way."""
    fold = assignment.fold[assignment.scored]
    halves = [fold % 2 == 0, fold % 2 == 1]
    results = []
    for choose_on, score_on in (halves, halves[::-1]):
        there = {layer: cells[choose_on] for layer, cells in scores.items()}
        chosen = _choose(there, group[choose_on], most)
        here = {layer: cells[score_on] for layer, cells in scores.items()}
        results.append(
            [
                float(np.nanmean(_aurocs(_mean(here, chosen[:size]), group[score_on])))
                for size in range(1, most + 1)
            ]
        )
    means: list[float] = np.mean(results, axis=0).tolist()
    return means


def _choose(scores: dict[int, Floats], group: npt.NDArray[np.intp], most: int) -> list[int]:
    """Layers in the order in which a greedy search takes them."""
    chosen: list[int] = []
    for _ in range(most):
        rest = [layer for layer in scores if layer not in chosen]
        chosen.append(
            max(rest, key=lambda layer: _aurocs(_mean(scores, [*chosen, layer]), group).mean())
        )
    return chosen


def _mean(scores: dict[int, Floats], layers: Sequence[int]) -> Floats:
    total: Floats = sum((scores[layer] for layer in layers[1:]), start=scores[layers[0]])
    return total


def _standard(scores: Floats) -> Floats:
    spread = np.maximum(scores.std(axis=0), 1e-12)
    standard: Floats = (scores - scores.mean(axis=0)) / spread
    return standard


def _aurocs(scores: Floats, group: npt.NDArray[np.intp]) -> Floats:
    """AUROC of each concept that has texts here."""
    aurocs = grouped_auroc(scores, group)
    return aurocs[~np.isnan(aurocs)]


def _standard_error(differences: Floats) -> float:
    n = len(differences)
    return float(differences.std(ddof=1) / np.sqrt(n)) if n > 1 else 0.0
