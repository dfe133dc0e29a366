"""Zero and unit of z-scores from neutral tokens."""

import pytest
import torch

from readout_ui.errors import UserError
from readout_ui.vectors.vectors import calibrate


def unit_directions(n_concepts: int = 4, n_layers: int = 3, d_model: int = 32) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    directions = torch.randn(n_concepts, n_layers, d_model, generator=generator)
    return torch.nn.functional.normalize(directions, dim=2)


def test_neutral_tokens_have_mean_zero_and_deviation_one_after_calibration() -> None:
    directions = unit_directions()
    tokens = 5 * torch.randn(200, 3, 32, generator=torch.Generator().manual_seed(1)) + 40
    calibration = calibrate(directions, tokens)
    raw = torch.einsum("tld,cld->tcl", tokens, directions)  # (n_tokens, n_concepts, n_layers)
    z = (raw - calibration.mean) / calibration.std
    torch.testing.assert_close(z.mean(dim=0), torch.zeros(4, 3), atol=1e-4, rtol=0)
    torch.testing.assert_close(z.std(dim=0, correction=0), torch.ones(4, 3), atol=1e-4, rtol=0)


def test_a_massive_shared_dimension_does_not_drown_the_deviation() -> None:
    directions = unit_directions()
    tokens = torch.randn(300, 3, 32, generator=torch.Generator().manual_seed(1))
    expected = calibrate(directions, tokens).std
    tokens[:, :, 7] += 30_000
    torch.testing.assert_close(calibrate(directions, tokens).std, expected, rtol=0.02, atol=0)


def test_alike_tokens_get_a_deviation_above_zero() -> None:
    token = torch.randn(1, 3, 32, generator=torch.Generator().manual_seed(1))
    calibration = calibrate(unit_directions(), token.expand(5, -1, -1))
    assert (calibration.std > 1e-6).all()
    zeros = calibrate(unit_directions(), torch.zeros(2, 3, 32))
    assert (zeros.std > 0).all()


def test_no_neutral_token_is_said_plainly() -> None:
    with pytest.raises(UserError, match="neutral"):
        calibrate(unit_directions(), torch.zeros(0, 3, 32))


def test_tokens_of_another_model_are_refused() -> None:
    with pytest.raises(ValueError, match="tokens"):
        calibrate(unit_directions(), torch.zeros(2, 3, 16))
