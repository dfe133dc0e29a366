"""What a direction's raw dot product is on neutral tokens: the zero and the unit of z-scores."""

from dataclasses import dataclass

import torch
from torch import Tensor

from readout_ui.errors import UserError

_SMALLEST_SPREAD = 1e-3
_ROUNDING = 1e-6


@dataclass(frozen=True, eq=False)
class Calibration:
    """Mean and standard deviation of the raw dot product over neutral tokens."""

    mean: Tensor
    """(n_concepts, n_layers), float32."""
    std: Tensor
    """(n_concepts, n_layers), float32, above zero."""


def calibrate(directions: Tensor, token_activations: Tensor) -> Calibration:
    """Project neutral tokens on every direction and take mean and standard deviation.

    The deviation is at least a thousandth of the tokens' usual deviation along one dimension, and
    a millionth of their length (the rounding error of a forward pass), so that a handful of alike
    tokens cannot make z-scores explode.

    Args:
        directions: (n_concepts, n_layers, d_model), unit length.
        token_activations: residual stream of neutral tokens, (n_tokens, n_layers, d_model).

    Raises:
        UserError: there is no neutral token.
    """
    if directions.shape[1:] != token_activations.shape[1:]:
        raise ValueError(
            f"directions {tuple(directions.shape)}, tokens {tuple(token_activations.shape)}"
        )
    if token_activations.shape[0] == 0:
        raise UserError("there is no neutral token to calibrate on", fix="add neutral texts")
    layers = [
        _calibrate_layer(directions[:, i], token_activations[:, i])
        for i in range(directions.shape[1])
    ]
    means, stds = zip(*layers, strict=True)
    return Calibration(torch.stack(means, dim=1).float(), torch.stack(stds, dim=1).float())


def _calibrate_layer(directions: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation, (n_concepts,) each, of tokens (n_tokens, d_model) at one layer."""
    # Most of a token is the same in all tokens: the shared part is projected once, in float64.
    shared = tokens.mean(dim=0, dtype=torch.float64)  # (d_model,)
    apart = (tokens - shared).float()  # (n_tokens, d_model)
    rest = apart @ directions.T  # (n_tokens, n_concepts)
    mean = directions.double() @ shared + rest.mean(dim=0, dtype=torch.float64)
    std = rest.double().std(dim=0, correction=0)
    return mean, std.clamp_min(_smallest_deviation(tokens, apart))


def _smallest_deviation(tokens: Tensor, apart: Tensor) -> float:
    spread = float(torch.linalg.vector_norm(apart)) / apart.numel() ** 0.5
    length = float(torch.linalg.vector_norm(tokens)) / len(tokens) ** 0.5
    tiny = float(torch.finfo(torch.float32).tiny)
    smallest: float = max(_SMALLEST_SPREAD * spread, _ROUNDING * length, tiny)
    return smallest
