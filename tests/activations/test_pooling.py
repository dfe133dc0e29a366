"""Read rules as positions and weights."""

import itertools
import weakref

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from readout_ui.activations.pooling import (
    READ_RULES,
    Rows,
    TextActivations,
    evenly_spaced,
    rule_group,
    rule_span,
    span_weights,
    tail_length,
)
from readout_ui.errors import UserError


@pytest.mark.parametrize(
    ("n_tokens", "expected"), [(1, 1), (2, 2), (3, 2), (4, 3), (9, 6), (10, 7)]
)
def test_the_tail_is_the_last_two_thirds_rounded_up(n_tokens: int, expected: int) -> None:
    assert tail_length(n_tokens) == expected


def test_every_rule_reads_its_own_positions() -> None:
    spans = {rule: rule_span(rule, start=5, stop=14, n_tokens=20) for rule in READ_RULES}
    assert spans == {
        "content_mean": (5, 14),
        "content_last": (13, 14),
        "content_tail": (8, 14),
        "template_last": (19, 20),
    }


@pytest.mark.parametrize(
    ("n_tokens", "begins"), [(1, 0), (9, 3), (60, 20), (147, 49), (148, 49), (600, 49)]
)
def test_from_a_token_on_a_short_text_loses_its_first_third(n_tokens: int, begins: int) -> None:
    span = rule_span("from:50", start=5, stop=5 + n_tokens, n_tokens=n_tokens + 9)
    assert span == (5 + begins, 5 + n_tokens)
    assert rule_group("from:50") == ("from:50",)


def test_an_unknown_rule_is_a_mistake() -> None:
    with pytest.raises(UserError, match="unknown read rule 'first'"):
        rule_group("first")
    with pytest.raises(UserError, match="unknown read rule 'from:0'"):
        rule_group("from:0")


def test_weights_pool_every_rule_of_every_text_in_one_product() -> None:
    values = torch.arange(12.0).view(2, 6, 1)
    weights = span_weights([[(0, 2), (1, 2)], [(0, 6), (5, 6)]], 6)
    pooled = torch.bmm(weights, values)[..., 0]
    assert torch.allclose(pooled, torch.tensor([[0.5, 1.0], [8.5, 11.0]]))


@given(st.integers(0, 30), st.integers(1, 60), st.integers(0, 70))
def test_kept_positions_are_distinct_ordered_content_and_never_the_first_token(
    start: int, length: int, n_kept: int
) -> None:
    stop = start + length
    kept = evenly_spaced(start, stop, n_kept)
    available = stop - max(start, 1)
    assert len(kept) == min(n_kept, available)
    assert list(kept) == sorted(set(kept))
    assert all(max(start, 1) <= position < stop for position in kept)


@given(st.integers(1, 30), st.integers(1, 60), st.integers(1, 60))
def test_kept_positions_are_spread_evenly(start: int, length: int, n_kept: int) -> None:
    kept = evenly_spaced(start, start + length, n_kept)
    gaps = [right - left for left, right in itertools.pairwise(kept)]
    assert not gaps or max(gaps) - min(gaps) <= 1


def test_activations_of_different_models_do_not_mix() -> None:
    with pytest.raises(ValueError, match="n_layers, d_model"):
        TextActivations(torch.zeros(3, 4, 8), torch.zeros(0, 5, 8), 1, truncated=False)


def test_rows_in_one_tensor_leave_nothing_of_where_they_were() -> None:
    read = np.ones((2, 3), dtype=np.float32)
    before, rows = weakref.ref(read), Rows((torch.from_numpy(read),), 2, 3)
    del read
    apart = rows.layer(1).copy()
    assert before() is not None
    assert rows.whole.shape == (1, 2, 3)
    assert before() is None
    assert (rows.layer(1) == apart).all()
