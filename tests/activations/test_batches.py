"""Batches: which tokens are fed, side by side, and how many at once."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from readout_ui.activations.batches import Feed, batch_end, pad_batch
from readout_ui.activations.pooling import CONTENT_RULES, TEMPLATE_RULES
from readout_ui.models.devices import is_out_of_memory, wanted_memory
from readout_ui.models.prompt import FramedText

SHORT = FramedText("short", (1, 2, 3, 10, 11, 4, 5), 3, 5, truncated=False)
LONG = FramedText("long", (1, 2, 3, 20, 21, 22, 23, 4, 5), 3, 7, truncated=False)


def test_only_the_content_is_fed_behind_a_shared_prefix() -> None:
    assert Feed(SHORT, 3, CONTENT_RULES).token_ids == (10, 11)
    assert Feed(SHORT, 0, CONTENT_RULES).token_ids == (1, 2, 3, 10, 11)
    assert Feed(SHORT, 3, TEMPLATE_RULES).token_ids == (10, 11, 4, 5)


def test_padding_stands_on_the_right_and_the_mask_covers_the_prefix() -> None:
    batch = pad_batch(
        [Feed(LONG, 3, CONTENT_RULES, 2), Feed(SHORT, 3, CONTENT_RULES, 5)], torch.device("cpu")
    )
    assert batch.input_ids.tolist() == [[20, 21, 22, 23], [10, 11, 11, 11]]
    assert batch.attention_mask.tolist() == [[1] * 7, [1] * 5 + [0] * 2]
    assert batch.weights[1].tolist() == [[0.5, 0.5, 0, 0], [0, 1, 0, 0], [0.5, 0.5, 0, 0]]
    assert batch.kept_counts == (2, 2)
    assert batch.kept_rows.tolist() == [0, 0, 1, 1]
    assert batch.kept_columns.tolist() == [1, 3, 0, 1]


@given(
    st.lists(st.integers(1, 300), min_size=1, max_size=60),
    st.integers(1, 2000),
    st.none() | st.integers(1, 9),
)
def test_batches_hold_every_text_once_within_the_budget(
    lengths: list[int], budget: int, batch_size: int | None
) -> None:
    lengths.sort(reverse=True)
    start = 0
    while start < len(lengths):
        stop = batch_end(lengths, start, budget, batch_size)
        n_texts = stop - start
        assert n_texts == 1 or n_texts * lengths[start] <= budget
        assert batch_size is None or n_texts <= batch_size
        full = stop == len(lengths) or n_texts == batch_size
        assert full or (n_texts + 1) * lengths[start] > budget
        start = stop
    assert start == len(lengths)


@pytest.mark.parametrize(
    ("error", "wanted"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB."), "20.00 MiB"),
        (RuntimeError("can't allocate memory: you tried to allocate 1073741824 bytes"), "1.00 GiB"),
        (MemoryError(), ""),
    ],
)
def test_lack_of_memory_is_recognised_with_its_size(error: Exception, wanted: str) -> None:
    assert is_out_of_memory(error)
    assert wanted_memory(error) == wanted


@pytest.mark.parametrize("error", [RuntimeError("mat1 and mat2"), ValueError("out of memory")])
def test_other_errors_are_not_a_lack_of_memory(error: Exception) -> None:
    assert not is_out_of_memory(error)
