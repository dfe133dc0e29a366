import numpy as np
import pytest
import torch

from readout_ui.inference.projection import Projector
from tests.support.loaded_tiny import load_tiny, random_vectors

LLAMA = load_tiny()
VECTORS = random_vectors(LLAMA, layers=(2, 0))
STATES = torch.randn(4, 2, 6, 32, generator=torch.Generator().manual_seed(2))
"""(n_layers, n_rows, n_tokens, d_model)"""


def projected(*widths: int, flat: bool = False, dtype: torch.dtype = torch.float32) -> Projector:
    """STATES fed in passes of these widths."""
    projector, start = Projector(VECTORS, n_rows=2), 0
    for width in widths:
        for layer, states in enumerate(STATES):
            fed = states[:, start : start + width].to(dtype)
            projector(layer, fed.reshape(-1, 32) if flat else fed)
        start += width
    return projector


def test_numbers_are_dot_products_and_lengths_of_the_layers_asked_for() -> None:
    left = projected(6).projections(row=1)
    for place, layer in enumerate(VECTORS.layers):
        states = STATES[layer, 1]
        raw = states @ VECTORS.directions[:, place].T
        norms = (states - VECTORS.center[place]).norm(dim=-1)
        np.testing.assert_allclose(left.raw[:, place], raw, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(left.norms[:, place], norms, rtol=1e-4)


@pytest.mark.parametrize("widths", [(4, 1, 1), (1,) * 6, (5, 1), (1, 2, 1, 2)])
def test_passes_of_any_width_leave_the_same_numbers(widths: tuple[int, ...]) -> None:
    whole, parts = projected(6).projections(), projected(*widths).projections()
    np.testing.assert_allclose(parts.raw, whole.raw, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(parts.norms, whole.norms, rtol=1e-4)


def test_outputs_that_a_model_changes_before_the_pass_is_over_are_read_as_they_were() -> None:
    projector = Projector(VECTORS, n_rows=2)
    for token in range(6):
        outputs = STATES[:, :, token : token + 1].clone().unbind()
        for layer, output in enumerate(outputs):
            projector(layer, output)
            outputs[layer - 1].zero_()
    np.testing.assert_allclose(
        projector.projections().raw, projected(6).projections().raw, 1e-4, 1e-5
    )


def test_blocks_that_flatten_their_rows_are_told_apart() -> None:
    whole, flat = projected(6).projections(row=1), projected(4, 2, flat=True).projections(row=1)
    np.testing.assert_allclose(flat.raw, whole.raw, rtol=1e-4, atol=1e-5)


def test_a_model_may_flatten_the_rows_of_some_of_its_layers_alone() -> None:
    projector, whole = Projector(VECTORS, n_rows=2), projected(6).projections(row=1)
    for token in range(6):
        for layer, states in enumerate(STATES[:, :, token]):
            projector(layer, states if layer == 2 else states[:, None])
    left = projector.projections(row=1)
    np.testing.assert_allclose(left.raw, whole.raw, rtol=1e-4, atol=1e-5)


def test_half_precision_is_projected_in_full() -> None:
    left = projected(6, dtype=torch.bfloat16).projections()
    raw = STATES[2, 0].bfloat16().float() @ VECTORS.directions[:, 0].T
    assert left.raw.dtype == np.float32
    np.testing.assert_allclose(left.raw[:, 0], raw, rtol=1e-4, atol=1e-5)


def test_a_span_across_passes_is_cut_out_even_after_an_earlier_look() -> None:
    projector, whole = projected(4, 1, 1), projected(6).projections()
    assert projector.projections().n_tokens == 6
    part = projector.projections(start=3, stop=5)
    np.testing.assert_allclose(part.raw, whole.raw[3:5], rtol=1e-4, atol=1e-5)
    assert projector.projections(start=6).n_tokens == 0


def test_before_the_first_pass_there_is_nothing() -> None:
    left = Projector(VECTORS).projections()
    assert left.raw.shape == (0, 2, 3)
    assert left.norms.shape == (0, 2)
