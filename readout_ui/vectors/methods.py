"""Training methods: from the activations of grouped texts to one direction per concept and layer.

Each method gives the direction that the aggregator of the same name in steering-vectors 0.12.2
gives on the same pairs, but for all concepts of a layer together and without storing a pair: what
the pairs' differences have to do with each other follows from one Gram matrix of the texts.
Layers are taken one by one, so beside the result a method holds one layer in float64.
"""

import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.linalg
import torch
from scipy.special import expit
from torch import Tensor

from readout_ui.activations.pooling import Layered, at_layer
from readout_ui.errors import UserError
from readout_ui.vectors.blas import single_thread
from readout_ui.vectors.groups import PairSettings, TextGroups, sample_pairs
from readout_ui.vectors.mapped import NOISE, MappedLayer, layer_of, wide
from readout_ui.vectors.settings import OWN_METHOD
from readout_ui.vectors.whitening import Members

_Array = npt.NDArray[np.floating]
Solver = Callable[[_Array], _Array]
"""Dot products of the pairs' differences (n_pairs, n_pairs) -> one factor per pair (n_pairs,)."""
_NEWTON_STEPS = 100
_GRADIENT_TOLERANCE = 1e-9
"""Of the weights' length; the optimum is then within the same part of it."""
_ROUNDING = 1e-12


def equal_factors(pair_gram: _Array) -> _Array:
    """The mean of the differences."""
    return np.full(len(pair_gram), 1 / len(pair_gram))


def top_component(pair_gram: _Array) -> _Array:
    """First uncentred principal component of the differences, along their mean."""
    last = len(pair_gram) - 1
    _, vectors = scipy.linalg.eigh(pair_gram, subset_by_index=[last, last])
    factors: _Array = vectors[:, 0]
    # The projections of the differences on the component are proportional to gram @ factors.
    return factors if (pair_gram @ factors).sum() >= 0 else -factors


def logistic_weights(pair_gram: _Array) -> _Array:
    """Factors `a` of the weights `w = sum a_i delta_i` that minimise scikit-learn's objective.

    A centred pair is +delta/2 with label 1 and -delta/2 with label -1, so the objective is
    |w|^2 / 2 + 2 sum log(1 + exp(-delta_i.w / 2)). At its minimum a_i = sigmoid(-delta_i.w / 2).
    """
    factors: _Array = np.zeros(len(pair_gram))  # (n_pairs,)
    margins: _Array = np.zeros(len(pair_gram))  # (n_pairs,), delta_i.w / 2
    for _ in range(_NEWTON_STEPS):
        targets = expit(-margins)
        residual = targets - factors
        # The squared lengths of gradient and weights; only rounding can make them negative.
        gradient, weights = residual @ pair_gram @ residual, 2 * (margins @ factors)
        if gradient <= _GRADIENT_TOLERANCE**2 * weights:
            break
        step = _newton_step(pair_gram, targets * (1 - targets), residual)
        factors, margins = _shortened(pair_gram, factors, margins, step)
    return factors


def _newton_step(pair_gram: _Array, curvature: _Array, residual: _Array) -> _Array:
    """Solves (1 + diag(curvature) gram / 2) step = residual, in its symmetric form."""
    root = np.sqrt(curvature)
    matrix = root[:, None] * pair_gram * (root / 2)
    matrix[np.diag_indices_from(matrix)] += 1
    factor = scipy.linalg.cho_factor(matrix, overwrite_a=True, check_finite=False)
    inner = scipy.linalg.cho_solve(factor, root * (pair_gram @ residual) / 2, check_finite=False)
    step: _Array = residual - root * inner
    return step


def _shortened(
    pair_gram: _Array, factors: _Array, margins: _Array, step: _Array
) -> tuple[_Array, _Array]:
    """The step halved until the objective falls, so that Newton's method cannot diverge."""
    step_margins = pair_gram @ step / 2
    before = _objective(factors, margins)
    while True:
        new_factors, new_margins = factors + step, margins + step_margins
        after = _objective(new_factors, new_margins)
        if after <= before + _ROUNDING * abs(before):
            return new_factors, new_margins
        step, step_margins = step / 2, step_margins / 2


def _objective(factors: _Array, margins: _Array) -> float:
    return float(factors @ margins + 2 * np.logaddexp(0, -margins).sum())


PAIR_SOLVERS: dict[str, Solver] = {
    "whitened": equal_factors,
    "mean": equal_factors,
    "neutral_pcs": equal_factors,
    "pca": top_component,
    "logistic": logistic_weights,
}
"""The solver of each training method, by its name; a map has too little to learn from in pairs."""


Method = Callable[..., Tensor]
"""Activations (n_texts, n_layers, d_model), groups, pairing and, if there are any, neutral tokens
(n_tokens, n_layers, d_model) -> directions (n_concepts, n_layers, d_model), float32, unit
length, or zero where a layer cannot tell the texts apart."""

_Indices = npt.NDArray[np.intp]


def mean_difference(
    activations: Tensor, groups: TextGroups, _pairs: PairSettings, _tokens: Tensor | None = None
) -> Tensor:
    """Mean of a concept's texts minus the mean of all its negatives, each counted once.

    Equals the mean over the full cross product of positives and negatives (`mean_aggregator`).
    """
    return _mapped(activations, groups, "mean", None)


def whitened(
    activations: Tensor, groups: TextGroups, _pairs: PairSettings, tokens: Tensor | None = None
) -> Tensor:
    """Mean differences in which what texts and neutral tokens differ by anyway counts less."""
    return _mapped(activations, groups, "whitened", tokens)


def neutral_pcs(
    activations: Tensor, groups: TextGroups, _pairs: PairSettings, tokens: Tensor | None = None
) -> Tensor:
    """Mean differences without the first principal components of neutral tokens.

    So many are removed that they hold half of the tokens' variance (Anthropic, 2026).
    """
    return _mapped(activations, groups, "neutral_pcs", tokens)


def _mapped(activations: Tensor, groups: TextGroups, method: str, tokens: Tensor | None) -> Tensor:
    return map_differences(None, activations, groups, method, tokens)


def map_differences(
    differences: Tensor | None,
    activations: Layered,
    groups: TextGroups,
    method: str,
    tokens: Layered | None,
) -> Tensor:
    """Directions from differences of means.

    Args:
        differences: (n_concepts, n_layers, d_model); None for each concept against all others.
        activations: what the map is estimated from, (n_texts, n_layers, d_model).
        groups: which of their rows belong to which concept.
        method: one of `MAPPED`.
        tokens: neutral tokens (n_tokens, n_layers, d_model), if there are any.
    """
    members, directions = Members.of(groups), _no_directions(activations, groups)
    here: MappedLayer | None = None
    with single_thread():
        for layer in range(activations.shape[1]):
            here = MappedLayer.of(activations, layer, members, method, tokens, before=here)
            apart = None if differences is None else wide(differences, layer)
            directions[:, layer] = unit(here.directions(apart).mapped)
    return directions


def principal_component(
    activations: Tensor, groups: TextGroups, pairs: PairSettings, _tokens: Tensor | None = None
) -> Tensor:
    """First uncentred principal component of the pairs' differences (`pca_aggregator`).

    Its sign makes the mean projection of the differences positive.
    """
    return _fit_pairs(activations, groups, pairs, top_component)


def logistic(
    activations: Tensor, groups: TextGroups, pairs: PairSettings, _tokens: Tensor | None = None
) -> Tensor:
    """Weights of a logistic regression without intercept on centred pairs (`logistic_aggregator`).

    The exact optimum at scikit-learn's default strength (C = 1), by Newton's method.
    """
    return _fit_pairs(activations, groups, pairs, logistic_weights)


METHODS: dict[str, Method] = {
    "whitened": whitened,
    "mean": mean_difference,
    "neutral_pcs": neutral_pcs,
    "pca": principal_component,
    "logistic": logistic,
}


@dataclass(frozen=True)
class OwnMethod:
    """A method that is a function, called like the built-in ones."""

    function: Callable[..., Tensor]
    """Activations, groups and pairing -> directions, as `Method`; or an aggregator as those of
    steering-vectors: positive and negative activations (n_pairs, d_model) -> (d_model,)."""

    @property
    def name(self) -> str:
        """What the settings of a run call it."""
        return OWN_METHOD + str(getattr(self.function, "__name__", type(self.function).__name__))

    @property
    def aggregates(self) -> bool:
        """Whether it takes the two sides of pairs, of one layer at a time."""
        needed = inspect.signature(self.function).parameters.values()
        return sum(each.default is each.empty for each in needed) == 2

    def __call__(
        self,
        activations: Tensor,
        groups: TextGroups,
        pairs: PairSettings,
        _tokens: Tensor | None = None,
    ) -> Tensor:
        """Directions (n_concepts, n_layers, d_model), unit length or zero.

        Raises:
            UserError: the function gave another shape, or numbers that are not finite.
        """
        if self.aggregates:
            found = [self.fit(activations, sample_pairs(groups, c, pairs)) for c in groups.concepts]
            return torch.stack(found)
        shape = (len(groups.concepts), *activations.shape[1:])
        return self._unit(self.function(activations, groups, pairs), shape)

    def fit(self, activations: Tensor, pairs: Sequence[tuple[int, int]]) -> Tensor:
        """One direction per layer from given pairs of rows, (n_layers, d_model)."""
        positive, negative = ([pair[side] for pair in pairs] for side in (0, 1))
        if not self.aggregates:
            groups = TextGroups(("pairs",), (tuple(positive),), tuple(negative))
            return self(activations, groups, PairSettings())[0]
        layers = [
            self._unit(self.function(layer[positive], layer[negative]), layer.shape[1:])
            for layer in activations.unbind(dim=1)
        ]
        return torch.stack(layers)

    def _unit(self, found: Tensor, shape: Sequence[int]) -> Tensor:
        if tuple(found.shape) != tuple(shape) or not torch.isfinite(found).all():
            raise UserError(
                f"gave {tuple(found.shape)}, or NaN, where {tuple(shape)} is needed",
                where=self.name,
            )
        return torch.nn.functional.normalize(found.double(), dim=-1).float()


def method_named(name: str) -> Method:
    """The built-in method of that name.

    Raises:
        UserError: it was a function, of which a run keeps only the name.
    """
    if name not in METHODS:
        raise UserError(
            f"the directions were fitted by {name}, a function that is not stored",
            fix="train with a built-in method",
            options=METHODS,
        )
    return METHODS[name]


def fit_given_pairs(
    activations: Tensor, pairs: Sequence[tuple[int, int]], method: str | OwnMethod
) -> Tensor:
    """One direction per layer from pairs as they are given, none drawn.

    Args:
        activations: (n_texts, n_layers, d_model).
        pairs: rows (positive, negative).
        method: one of `METHODS`; "mean" is the mean of the pairs' differences.

    Returns:
        (n_layers, d_model), float32, unit length or zero.
    """
    if isinstance(method, OwnMethod):
        return method.fit(activations, pairs)
    rows = [np.array(pairs, dtype=np.intp).reshape(-1, 2)]  # (n_pairs, 2)
    directions = torch.zeros(activations.shape[1:])  # (n_layers, d_model)
    with single_thread():
        for layer in _layers(activations):
            weights = _text_weights(layer, rows, PAIR_SOLVERS[method])  # (1, n_texts)
            directions[layer.index] = unit(weights @ layer.texts)[0]
    return directions


def neutral_center(activations: Layered, groups: TextGroups) -> Tensor:
    """Mean over the neutral texts, (n_layers, d_model): what the cosine score is centred on.

    A text is compared with text that shows nothing, not with the average emotion: on other
    writers' situations the mean over all training texts gives the same AUROC and clearly worse
    top-1, since every concept's score then starts from another offset (see the README's figures).
    Without neutral texts it is the mean over all texts of the groups.
    """
    rows = list(groups.neutral or groups.all_rows())
    means = [
        at_layer(activations, layer, rows).mean(axis=0, dtype=np.float64)
        for layer in range(activations.shape[1])
    ]
    return torch.from_numpy(np.stack(means)).float()  # (n_layers, d_model)


@dataclass(frozen=True)
class _Layer:
    """One layer of the activations, in the precision that methods work in."""

    index: int
    """Which layer."""
    texts: _Array
    """(n_texts, d_model), minus the mean text: differences stay, cancellation errors do not."""
    noise: float
    """Differences below this length are rounding errors of the model's forward pass."""


def _layers(activations: Tensor) -> Iterator[_Layer]:
    for index in range(activations.shape[1]):
        texts = layer_of(activations, index)
        length = float(np.sqrt(np.einsum("td,td->", texts, texts) / len(texts)))
        texts -= texts.mean(axis=0)
        yield _Layer(index, texts, NOISE * length)


def _no_directions(activations: Layered, groups: TextGroups) -> Tensor:
    _, n_layers, d_model = activations.shape
    return torch.zeros(len(groups.concepts), n_layers, d_model)  # (n_concepts, n_layers, d_model)


def unit(vectors: _Array, out: _Array | None = None) -> Tensor:
    """Rows scaled to length 1, float32, maybe put out; those of no length stay zero."""
    lengths = np.sqrt(np.einsum("cd,cd->c", vectors, vectors))[:, None]
    scale = np.divide(1, lengths, out=np.zeros_like(lengths), where=lengths > 0)
    if out is None:
        out = np.empty(vectors.shape, dtype=np.float32)
    return torch.from_numpy(np.multiply(vectors, scale, out=out, casting="same_kind"))


def _fit_pairs(
    activations: Tensor, groups: TextGroups, settings: PairSettings, solve: Solver
) -> Tensor:
    """Directions that are sums of pair differences, with the factors that `solve` finds.

    `solve` takes the Gram matrix of the differences (n_pairs, n_pairs) and gives one factor per
    pair (n_pairs,); both methods need to know nothing else about the pairs.
    """
    pairs = [np.array(sample_pairs(groups, c, settings), dtype=np.intp) for c in groups.concepts]
    directions = _no_directions(activations, groups)
    with single_thread():
        for layer in _layers(activations):
            weights = _text_weights(layer, pairs, solve)  # (n_concepts, n_texts)
            directions[:, layer.index] = unit(weights @ layer.texts)
    return directions


def _text_weights(layer: _Layer, pairs: list[_Indices], solve: Solver) -> _Array:
    """How much of each text is in each concept's direction, (n_concepts, n_texts)."""
    gram = layer.texts @ layer.texts.T  # (n_texts, n_texts)
    weights = np.zeros((len(pairs), len(gram)))  # (n_concepts, n_texts)
    for row, concept_pairs in zip(weights, pairs, strict=True):
        pair_gram = _pair_gram(gram, concept_pairs)  # (n_pairs, n_pairs)
        if np.trace(pair_gram) > len(pair_gram) * layer.noise**2:
            factors = solve(pair_gram)  # (n_pairs,)
            np.add.at(row, concept_pairs[:, 0], factors)
            np.subtract.at(row, concept_pairs[:, 1], factors)
    return weights


def _pair_gram(gram: _Array, pairs: _Indices) -> _Array:
    """Dot products between the differences of the pairs, from those between the texts."""
    texts, members = np.unique(pairs, return_inverse=True)
    positive, negative = members.reshape(pairs.shape).T
    small = gram[np.ix_(texts, texts)]
    half = small[positive] - small[negative]  # (n_pairs, n_pair_texts)
    pair_gram: _Array = half[:, positive] - half[:, negative]
    return pair_gram
