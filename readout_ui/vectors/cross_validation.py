"""Descriptions assigned to folds, and scores of each fold on directions that never saw it.

Which layer tells the concepts apart best, judged on descriptions held out of training.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from readout_ui.activations.pooling import Layered, some_layers
from readout_ui.vectors.auroc import Bools, Floats, grouped_auroc
from readout_ui.vectors.blas import single_thread
from readout_ui.vectors.groups import TextGroups
from readout_ui.vectors.mapped import MappedLayer
from readout_ui.vectors.whitening import Members, lengths_of

_Indices = npt.NDArray[np.intp]
FOLDS = 8
_BLOCK = 2**21
"""Numbers of the activations that are taken at once: few texts leave much to call for little."""


@dataclass(frozen=True, eq=False)
class Assignment:
    """Which text belongs to which concept and is held out in which fold."""

    rows: _Indices
    """(n_members,): row of the activations."""
    group: _Indices
    """(n_members,): index of its concept; n_concepts for neutral texts."""
    fold: _Indices
    """(n_members,): where it is held out; n_folds for a text that never is."""
    n_groups: int
    n_folds: int
    against: tuple[tuple[int, ...], ...] = ()
    """As `TextGroups.against`: in every fold's directions, held out in none."""

    @cached_property
    def members(self) -> Members:
        """The same without folds; one object, for what follows from it is kept by it."""
        return Members(self.rows, self.group, self.n_groups, self.against)

    @property
    def scored(self) -> Bools:
        """(n_members,): texts that are held out in some fold."""
        scored: Bools = self.fold < self.n_folds
        return scored


def assign_folds(groups: TextGroups, folds: int, seed: int) -> Assignment:
    """Assign every concept's texts, and the neutral ones, to folds.

    Args:
        groups: which rows belong to which concept.
        folds: at least 2.
        seed: decides which text falls into which fold.
    """
    if folds < 2:
        raise ValueError(f"{folds} folds leave nothing to train on")
    draws = random.Random(seed)
    members = (*groups.rows, groups.neutral)
    fold: list[int] = []
    for rows in members:
        given = [i % folds for i in range(len(rows))] if len(rows) > 1 else [folds] * len(rows)
        draws.shuffle(given)
        fold.extend(given)
    group = np.repeat(np.arange(len(members)), [len(rows) for rows in members])
    row, held_out = np.array(groups.all_rows()), np.array(fold)
    return Assignment(row, group, held_out, len(members), folds, groups.against)


def can_be_scored(assignment: Assignment) -> Bools:
    """(n_concepts,): concepts with held-out texts of their own and of others."""
    held_out = assignment.group[assignment.scored]
    counts = np.bincount(held_out, minlength=assignment.n_groups)[:-1]
    scorable: Bools = (counts > 0) & (counts < len(held_out))
    return scorable


def layer_blocks(activations: Layered) -> Iterator[Floats]:
    """All layers in order, a few at a time where texts are few, (n_texts, n_some, d_model)."""
    n_texts, n_layers, d_model = activations.shape
    together = max(1, _BLOCK // (n_texts * d_model))
    for start in range(0, n_layers, together):
        layers = range(start, min(start + together, n_layers))
        yield some_layers(activations, layers).numpy()


def score_held_out(activations: Floats, assignment: Assignment) -> Floats:
    """Centred cosine of held-out texts with mean differences that never saw their fold.

    Args:
        activations: (n_texts, n_layers, d_model).
        assignment: which text is held out where.

    Returns:
        (n_scored, n_layers, n_concepts), texts in the order of the assignment.
    """
    centred = activations - activations.mean(axis=0)
    texts = assignment.members.of_texts(centred)  # (n_members, n_layers, d_model)
    counts, sums = _fold_sums(texts, assignment)
    all_counts, all_sums = counts.sum(axis=0), sums.sum(axis=0)
    scores = np.empty((*texts.shape[:2], assignment.n_groups - 1), dtype=np.float32)
    for fold in range(assignment.n_folds):
        held_out = assignment.fold == fold
        rest = all_counts - counts[fold], all_sums - sums[fold]
        scores[held_out] = _score_fold(texts[held_out], *rest)
    return scores[assignment.scored]


def held_out_blocks(
    activations: Layered,
    assignment: Assignment,
    method: str = "mean",
    tokens: Layered | None = None,
) -> Iterator[Floats]:
    """Scores of held-out texts at all layers in order, (n_scored, n_some_layers, n_concepts) each.

    Args:
        activations: (n_texts, n_layers, d_model).
        assignment: which text is held out where.
        method: one of `MAPPED`.
        tokens: neutral tokens (n_tokens, n_layers, d_model), if there are any.
    """
    if method == "mean" and not assignment.against:
        for block in layer_blocks(activations):
            with single_thread():
                scores = score_held_out(block, assignment)
            yield scores
        return
    members, here = assignment.members, None
    for layer in range(activations.shape[1]):
        with single_thread():
            here = MappedLayer.of(activations, layer, members, method, tokens, before=here)
            scores = here.held_out(assignment.fold, assignment.n_folds)
        yield scores[assignment.scored][:, None]


def _fold_sums(texts: Floats, assignment: Assignment) -> tuple[Floats, Floats]:
    """How many texts each fold and group has, and their sums.

    Args:
        texts: (n_members, n_layers, d_model), in the assignment's order.
        assignment: which text belongs where.

    Returns:
        (n_folds + 1, n_groups) and (n_folds + 1, n_groups, n_layers, d_model); the last row holds
        the texts that are never held out.
    """
    cells = assignment.fold * assignment.n_groups + assignment.group
    n_cells = (assignment.n_folds + 1) * assignment.n_groups
    ones = np.ones(len(texts), dtype=texts.dtype)
    members = csr_array((ones, (cells, np.arange(len(texts)))), shape=(n_cells, len(texts)))
    shape = (assignment.n_folds + 1, assignment.n_groups)
    counts = np.bincount(cells, minlength=n_cells).reshape(shape).astype(texts.dtype)
    sums = members @ texts.reshape(len(texts), -1)
    return counts, sums.reshape(*shape, *texts.shape[1:])


def _score_fold(held_out: Floats, counts: Floats, sums: Floats) -> Floats:
    """Centred cosine of texts with mean-difference directions of the other folds' sums.

    Args:
        held_out: (n_held_out, n_layers, d_model).
        counts: (n_groups,): texts of each group in the other folds.
        sums: (n_groups, n_layers, d_model): their sums.

    Returns:
        (n_held_out, n_layers, n_concepts).
    """
    n_all, all_texts = counts.sum(), sums.sum(axis=0)
    n_own, own = counts[:-1, None, None], sums[:-1]
    # own / n_own - (all_texts - own) / (n_all - n_own)
    directions = own * (1 / n_own + 1 / (n_all - n_own))  # (n_concepts, n_layers, d_model)
    directions -= all_texts / (n_all - n_own)
    texts = held_out - all_texts / n_all
    dots = texts.transpose(1, 0, 2) @ directions.transpose(1, 2, 0)
    lengths = lengths_of(texts).T[:, :, None] * lengths_of(directions).T[:, None]
    scores: Floats = (dots / lengths).transpose(1, 0, 2)
    return scores


USUAL_DEPTH = 0.5
"""Where concepts are read best as a rule, as a part of the model's depth."""
AS_GOOD = 2.0
"""Standard errors a layer may lie below the best one and still count as good: held-out
descriptions by the same writer keep rising where other writers' texts no longer do."""


def usual_layer(n_layers: int) -> int:
    """The layer to use where nothing can be compared."""
    return round(USUAL_DEPTH * (n_layers - 1))


@dataclass(frozen=True)
class LayerScores:
    """Cross-validated scores of every layer, and the layer they recommend."""

    auroc: tuple[float, ...] | None
    """Macro AUROC of each layer on held-out descriptions; None where too few allow it."""
    top1: tuple[float, ...] | None
    """Part of a concept's held-out descriptions that score highest on it, mean over concepts."""
    best: int
    """The recommended layer."""
    held_out: dict[str, Any] | None = None
    """Of contrast pairs, all that was found on held-out ones, as JSON holds it."""

    @property
    def ratings(self) -> tuple[float, ...] | None:
        """By which layers are ordered: AUROC, or how many held-out pairs are told apart."""
        return self.top1 if self.held_out else self.auroc


def cross_validated_layers(
    activations: Layered,
    groups: TextGroups,
    folds: int = FOLDS,
    seed: int = 0,
    method: str = "mean",
    tokens: Layered | None = None,
) -> LayerScores:
    """Score every layer on descriptions held out of training, and recommend one.

    Each concept's descriptions are assigned to the folds, as are the neutral texts; a fold's texts
    are scored (centred cosine) on directions of the other folds.

    Few descriptions leave many layers within chance of the best AUROC, so of those that are at
    most two standard errors (of the paired differences over concepts) below it, the one nearest
    to the middle of the depth is recommended.

    Concepts with one description are only ever negatives. Where no concept can be scored, the
    layer in the middle is recommended.

    Args:
        activations: (n_texts, n_layers, d_model).
        groups: which rows belong to which concept.
        folds: how many parts the descriptions are split into, at least 2.
        seed: decides which description falls into which fold.
        method: one of `MAPPED`; the others would be fitted anew for every fold and layer.
        tokens: neutral tokens (n_tokens, n_layers, d_model), if there are any.
    """
    assignment = assign_folds(groups, folds, seed)
    scores = held_out_blocks(activations, assignment, method, tokens)
    return rate_layers(scores, assignment, activations.shape[1])


def rate_layers(scores: Iterable[Floats], assignment: Assignment, n_layers: int) -> LayerScores:
    """AUROC, top-1 and the recommended layer from scores of held-out texts.

    Args:
        scores: (n_scored, n_some_layers, n_concepts) each, all layers in order; not read where no
            concept can be scored.
        assignment: which text is held out where.
        n_layers: layers of the model.
    """
    if not can_be_scored(assignment).any():
        return LayerScores(None, None, usual_layer(n_layers))
    rated = [_rate(some, assignment) for some in scores]
    aurocs, hits = (np.concatenate(column) for column in zip(*rated, strict=True))
    return LayerScores(
        auroc=tuple(aurocs.mean(axis=1).tolist()),
        top1=tuple(hits.mean(axis=1).tolist()),
        best=recommended_layer(aurocs),
    )


def _rate(scores: Floats, assignment: Assignment) -> tuple[Floats, Floats]:
    """AUROC and top-1 of held-out texts, (n_some_layers, n_scored_concepts) each."""
    group = assignment.group[assignment.scored]
    own = group[:, None] == np.arange(assignment.n_groups - 1)  # (n_scored, n_concepts)
    first = scores.argmax(axis=2)[:, :, None] == np.arange(assignment.n_groups - 1)
    hits = (own[:, None] & first).sum(axis=0) / np.maximum(own.sum(axis=0), 1)
    kept = can_be_scored(assignment)
    return grouped_auroc(scores, group)[:, kept], hits[:, kept]


def recommended_layer(scores: Floats) -> int:
    """The layer nearest to the usual depth, of those within two standard errors of the best.

    Args:
        scores: (n_layers, n_concepts), or one column for each pair.
    """
    best = scores.mean(axis=1).argmax()
    behind = scores[best] - scores  # (n_layers, n_concepts)
    n_columns = scores.shape[1]
    error = behind.std(axis=1, ddof=1) / np.sqrt(n_columns) if n_columns > 1 else 0.0
    as_good = np.flatnonzero(behind.mean(axis=1) <= AS_GOOD * error)
    return int(as_good[np.abs(as_good - USUAL_DEPTH * (len(scores) - 1)).argmin()])
