"""A method that is a linear map, fitted and cross-validated one layer after the other.

What a fit knows of its layers is kept beside the cache of its activations for the next one.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from torch import Tensor

from readout_ui.activations.pooling import Layered, host_block
from readout_ui.models.devices import Shortage, within_memory
from readout_ui.vectors.auroc import Floats
from readout_ui.vectors.blas import single_thread
from readout_ui.vectors.cross_validation import (
    FOLDS,
    Assignment,
    LayerScores,
    assign_folds,
    rate_layers,
)
from readout_ui.vectors.device_fits import DEVICE_METHODS, fitted_on_device
from readout_ui.vectors.groups import TextGroups
from readout_ui.vectors.mapped import MappedLayer, wide
from readout_ui.vectors.methods import unit
from readout_ui.vectors.products import KeptLayer
from readout_ui.vectors.vectors import Calibration

if TYPE_CHECKING:
    from readout_ui.activations.cache import ActivationCache
    from readout_ui.vectors.training import Corpus

_MOST_KEPT = 2**28
"""Bytes of dot products that are kept between trainings: 80 layers of 700 texts and tokens."""
_KEPT: WeakKeyDictionary[ActivationCache, dict[int, KeptLayer]] = WeakKeyDictionary()
"""Of the last training with a cache; taken away while one is at work, which changes it."""


@dataclass(frozen=True, eq=False)
class Fitted:
    """Directions at all layers and how well each layer tells held-out texts apart."""

    directions: Tensor
    """(n_concepts, n_layers, d_model), float32, of unit length or zero."""
    steering: Tensor | None
    """Of the same shape: what to push with where that is something else."""
    scores: LayerScores
    calibration: Calibration | None = None
    """On the neutral tokens, where the fit knows it anyway."""


def fit_and_rate(
    corpus: Corpus, texts: Layered, groups: TextGroups, differences: Tensor | None
) -> Fitted:
    """Fit a linear method and cross-validate it at every layer.

    Beside the directions, plain differences are kept to push with: a whitened direction says best
    where a text lies; pushed along, it moves the model no further towards the concept than the
    mean does (`bench.steering`).

    Args:
        corpus: whose settings and neutral tokens are used.
        texts: what the map is estimated from, (n_texts, n_layers, d_model).
        groups: which of their rows belong to which concept.
        differences: (n_concepts, n_layers, d_model); None for each concept against all others.
    """
    assignment = assign_folds(groups, FOLDS, corpus.settings.seed)
    if corpus.device.type == "cuda" and corpus.settings.method in DEVICE_METHODS:
        done = within_memory(partial(_on_device, corpus, texts, assignment, differences))
        if not isinstance(done, Shortage):
            return done
    known = texts is corpus.activations and groups == corpus.groups
    cache = corpus.cache if known else None
    kept = _KEPT.pop(cache, {}) if cache else {}
    fits = _LayerFits(corpus, texts, assignment, differences, kept if cache else None)
    with single_thread():
        blocks = map(fits.scores, range(texts.shape[1]))
        scores = rate_layers(blocks, assignment, texts.shape[1])
        deque(blocks, maxlen=0)  # where nothing can be rated, the layers are fitted all the same
    if cache and sum(layer.n_bytes for layer in kept.values()) <= _MOST_KEPT:
        _KEPT[cache] = kept
    return Fitted(fits.directions, fits.steering, scores, fits.calibration)


def _on_device(
    corpus: Corpus, texts: Layered, assignment: Assignment, differences: Tensor | None
) -> Fitted:
    """The same where the model is, many layers at once."""
    method, tokens = corpus.settings.method, corpus.neutral_tokens
    n_layers = texts.shape[1]
    shape = assignment.n_groups - 1, n_layers, texts.shape[2]
    directions, start = host_block(*shape), 0
    steering = None if method == "mean" else host_block(*shape)
    scores, calibrated = [], []
    for some in fitted_on_device(texts, tokens, assignment, method, differences, corpus.device):
        stop = start + len(some.directions)
        directions[:, start:stop] = some.directions.transpose(0, 1)
        if steering is not None:
            steering[:, start:stop] = some.plain.transpose(0, 1)
        scores.append(some.scores)
        calibrated += some.calibrated
        start = stop
    return Fitted(
        directions,
        steering,
        rate_layers(scores, assignment, n_layers),
        Calibration.of(calibrated) if calibrated else None,
    )


@dataclass(eq=False)
class _LayerFits:
    """What becomes of every layer; they are asked for in order."""

    corpus: Corpus
    texts: Layered
    assignment: Assignment
    differences: Tensor | None
    kept: dict[int, KeptLayer] | None
    """By layer, from the last training; None where nothing is kept."""
    _before: MappedLayer | None = None
    """The last layer, whose memory the next one takes."""

    def __post_init__(self) -> None:
        n_concepts, n_layers = self.assignment.n_groups - 1, self.texts.shape[1]
        shape = n_concepts, n_layers, self.texts.shape[2]
        self.directions = host_block(*shape)
        plain = self.corpus.settings.method == "mean"
        self.steering = None if plain else host_block(*shape)
        self._calibrated: list[tuple[Floats, Floats, float]] = []
        groups = self.corpus.groups
        members = (*groups.rows, groups.neutral)
        if self.kept is not None:
            self._keys = tuple(tuple(self.corpus.keys[row] for row in rows) for rows in members)
            for layer in range(n_layers):
                self.kept.setdefault(layer, KeptLayer())

    @property
    def calibration(self) -> Calibration | None:
        """Of all layers, where they know it."""
        return Calibration.of(self._calibrated) if self._calibrated else None

    def scores(self, index: int) -> Floats:
        """Fit a layer; scores of its held-out texts, (n_scored, 1, n_concepts)."""
        layer = self._layer(index)
        given = None if self.differences is None else wide(self.differences, index)
        found = layer.directions(given)
        unit(found.mapped, out=self.directions.numpy()[:, index])
        if self.steering is not None:
            unit(found.plain, out=self.steering.numpy()[:, index])
        if found.calibrated:
            self._calibrated.append(found.calibrated)
        scores = layer.held_out(self.assignment.fold, FOLDS)
        of_scored: Floats = scores[self.assignment.scored][:, None]
        return of_scored

    def _layer(self, index: int) -> MappedLayer:
        method, members = self.corpus.settings.method, self.assignment.members
        beside = None
        if self.kept is not None:
            (beside := self.kept[index]).begin(method, self._keys)
        tokens, before = self.corpus.neutral_tokens, self._before
        layer = MappedLayer.of(self.texts, index, members, method, tokens, beside, before)
        self._before = layer
        return layer
