"""Which layer tells the concepts apart best, judged on descriptions held out of training."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from readout_ui.auroc import Floats, grouped_auroc
from readout_ui.blas import single_thread
from readout_ui.folds import Deal, can_be_scored, deal_texts, layer_blocks, score_held_out
from readout_ui.pairs import TextGroups

_USUAL_DEPTH = 0.6
"""Where concepts are read best as a rule, as a part of the model's depth."""


@dataclass(frozen=True)
class LayerScores:
    """Cross-validated scores of every layer, and the layer they recommend."""

    auroc: tuple[float, ...] | None
    """Macro AUROC of each layer on held-out descriptions; None where too few allow it."""
    top1: tuple[float, ...] | None
    """Part of a concept's held-out descriptions that score highest on it, mean over concepts."""
    best: int
    """The recommended layer."""


def cross_validated_layers(
    activations: Tensor, groups: TextGroups, folds: int = 8, seed: int = 0
) -> LayerScores:
    """Score every layer on descriptions held out of training, and recommend one.

    Each concept's descriptions are dealt over the folds, as are the neutral texts; a fold's texts
    are scored (centred cosine) on mean-difference directions of the other folds, whatever method
    the vectors themselves are trained with: all folds follow from one set of sums, so this costs
    little more than reading the activations.

    A concept's score at a layer is the mean of its AUROC and of the part of its texts that score
    highest on it. Few descriptions leave many layers within chance of the best one, so of those
    that are at most one standard error (of the paired differences over concepts) below it, the
    one nearest to 0.6 of the depth is recommended: the region the seeds and the literature name.

    Concepts with one description are only ever negatives. Where no concept can be scored, the
    layer at 0.6 of the depth is recommended.

    Args:
        activations: (n_texts, n_layers, d_model).
        groups: which rows belong to which concept.
        folds: how many parts the descriptions are dealt into, at least 2.
        seed: decides which description falls into which fold.
    """
    deal = deal_texts(groups, folds, seed)
    blocks = layer_blocks(activations) if can_be_scored(deal).any() else ()
    with single_thread():
        scores = (score_held_out(block, deal) for block in blocks)
        return rate_layers(scores, deal, activations.shape[1])


def rate_layers(scores: Iterable[Floats], deal: Deal, n_layers: int) -> LayerScores:
    """AUROC, top-1 and the recommended layer from scores of held-out texts.

    Args:
        scores: (n_scored, n_some_layers, n_concepts) each, all layers in order; not read where no
            concept can be scored.
        deal: which text is held out where.
        n_layers: layers of the model.
    """
    usual = _USUAL_DEPTH * (n_layers - 1)
    if not can_be_scored(deal).any():
        return LayerScores(None, None, round(usual))
    rated = [_rate(some, deal) for some in scores]
    areas, hits = (np.concatenate(column) for column in zip(*rated, strict=True))
    return LayerScores(
        auroc=tuple(areas.mean(axis=1).tolist()),
        top1=tuple(hits.mean(axis=1).tolist()),
        best=_recommended((areas + hits) / 2, usual),
    )


def _rate(scores: Floats, deal: Deal) -> tuple[Floats, Floats]:
    """AUROC and top-1 of held-out texts, (n_some_layers, n_scored_concepts) each."""
    group = deal.group[deal.scored]
    own = group[:, None] == np.arange(deal.n_groups - 1)  # (n_scored, n_concepts)
    first = scores.argmax(axis=2)[:, :, None] == np.arange(deal.n_groups - 1)
    hits = (own[:, None] & first).sum(axis=0) / np.maximum(own.sum(axis=0), 1)
    kept = can_be_scored(deal)
    return grouped_auroc(scores, group)[:, kept], hits[:, kept]


def _recommended(scores: Floats, usual: float) -> int:
    """The layer nearest to the usual one, of those within one standard error of the best.

    Args:
        scores: (n_layers, n_concepts).
        usual: where concepts are read best as a rule, in layers.
    """
    best = scores.mean(axis=1).argmax()
    behind = scores[best] - scores  # (n_layers, n_concepts)
    n_concepts = scores.shape[1]
    error = behind.std(axis=1, ddof=1) / np.sqrt(n_concepts) if n_concepts > 1 else 0.0
    as_good = np.flatnonzero(behind.mean(axis=1) <= error)
    return int(as_good[np.abs(as_good - usual).argmin()])
