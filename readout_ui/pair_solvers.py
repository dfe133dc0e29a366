"""How much of each pair's difference is in a direction, from the differences' Gram matrix alone."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import scipy.linalg
from scipy.special import expit

_Array = npt.NDArray[np.float64]
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
    factors = np.zeros(len(pair_gram))  # (n_pairs,)
    margins = np.zeros(len(pair_gram))  # (n_pairs,), delta_i.w / 2
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
    "mean": equal_factors,
    "pca": top_component,
    "logistic": logistic_weights,
}
"""The solver of each training method, by its name."""
