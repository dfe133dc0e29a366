import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from readout_ui.plots.score_map import MAX_CELLS, Window, bin_starts, pool_peaks, window_at


@given(
    st.integers(1, 9), st.integers(1, 40), st.integers(1, 9), st.integers(1, 40), st.integers(0, 99)
)
def test_every_pooled_score_is_the_strongest_of_its_bin(
    n: int, n_tokens: int, n_rows: int, n_columns: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    cells = rng.normal(size=(n, n_tokens)).astype(np.float32)
    counted = rng.random(n_tokens) < 0.7
    pooled = pool_peaks(cells, n_rows, n_columns, counted)
    rows = [*bin_starts(n, n_rows), n]
    columns = [*bin_starts(n_tokens, n_columns), n_tokens]
    assert pooled.shape == (len(rows) - 1, len(columns) - 1)
    for i, j in np.ndindex(pooled.shape):
        inside = np.where(counted, cells, 0)[
            rows[i] : rows[i + 1], columns[j] : columns[j + 1]
        ].ravel()
        assert pooled[i, j] == inside[np.abs(inside).argmax()]


@given(st.integers(1, 5000), st.integers(1, 5000))
def test_bins_are_never_empty_and_equal_but_for_one_item(n_items: int, n_bins: int) -> None:
    sizes = np.diff([*bin_starts(n_items, n_bins), n_items])
    assert len(sizes) == min(n_items, n_bins)
    assert sizes.min() >= 1
    assert sizes.max() - sizes.min() <= 1


def test_what_has_no_score_counts_for_nothing() -> None:
    cells = np.array([[np.nan, -2, 1, 9]], np.float32)
    pooled = pool_peaks(cells, 1, 2, np.array([True, True, True, False]))
    np.testing.assert_array_equal(pooled, [[-2, 1]])
    assert pool_peaks(np.zeros((0, 4), np.float32), 3, 2, np.ones(4, bool)).shape == (0, 2)


@given(st.integers(-10, 10**6), st.integers(0, 400), st.integers(1, 10**6))
def test_a_window_fits_the_page_and_has_the_wanted_token(
    middle: int, n_rows: int, n_tokens: int
) -> None:
    window = window_at(middle, n_rows, n_tokens)
    assert window.total == n_tokens
    assert (window.stop - window.start) * max(1, n_rows) <= MAX_CELLS
    assert window.start <= np.clip(middle, 0, n_tokens - 1) < window.stop


def test_4096_tokens_of_200_concepts_are_one_window() -> None:
    assert window_at(0, 201, 4096) == Window(0, 4096, 4096)
    with pytest.raises(ValueError, match="no tokens"):
        Window(3, 3, 5)
