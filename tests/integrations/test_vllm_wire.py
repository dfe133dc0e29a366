"""Rows of the vLLM plugin arrive as they left, however an answer is cut into passes and chunks."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from readout_vllm.asks import Ask
from readout_vllm.export import Export, load_export
from readout_vllm.wire import (
    Collected,
    Rows,
    answer_fields,
    firing,
    merged,
    pack,
    summary_fields,
    top_concepts,
)

from tests.integrations.exported import CONCEPTS, write_export


@pytest.fixture
def export(tmp_path: Path) -> Export:
    write_export(tmp_path)
    return load_export(tmp_path / "readout.safetensors", tmp_path / "readout.json")


def rows(n_tokens: int, first: float = 0.0) -> Any:
    """Row k holds first + k everywhere: (n_tokens, 2, 3)."""
    return np.broadcast_to(
        np.arange(first, first + n_tokens, dtype=np.float32)[:, None, None], (n_tokens, 2, 3)
    )


@given(st.lists(st.integers(0, 4), max_size=6), st.lists(st.integers(0, 5), max_size=8))
def test_rows_arrive_once_and_in_order(passes: list[int], takes: list[int]) -> None:
    collected, total = Collected(), 0
    for n_tokens in passes:
        collected.add(pack(Rows(generated=rows(n_tokens, total)), n_tokens), CONCEPTS)
        total += n_tokens
    taken, at = [], 0
    for n_tokens in [*takes, total]:
        at = min(at + n_tokens, total)
        part = collected.next_rows(at)
        taken.append(rows(0) if part is None else part)
    np.testing.assert_array_equal(np.concatenate(taken), rows(total))


def test_tokens_after_the_end_of_an_answer_have_no_rows() -> None:
    collected = Collected()
    collected.add(pack(Rows(generated=rows(5)), 2, [(2, 1, 3.5)]), CONCEPTS)
    assert collected.n_tokens == 2
    assert collected.fired == [{"concept": "sad", "token": 1, "z": 3.5}]


def test_a_prompt_that_is_read_again_after_preemption_counts_once() -> None:
    collected = Collected()
    for _ in range(2):
        collected.add(pack(Rows(prompt=rows(3)), 0), CONCEPTS)
    assert collected.prompt is not None
    np.testing.assert_array_equal(collected.prompt, rows(3))
    assert collected.next_prompt() is not None
    assert collected.next_prompt() is None


def test_chunks_that_a_slow_client_takes_together_keep_all_rows() -> None:
    assert merged(None, None) is None
    np.testing.assert_array_equal(merged(rows(2), rows(1, 2)), rows(3))


def test_an_answer_carries_layers_times_concepts_per_token(export: Export) -> None:
    fields = answer_fields(export, Ask(rows=True, prompt=True, z=True), rows(2, 5), rows(1))
    assert fields["readout"] == rows(2, 5).tolist()
    assert fields["readout_prompt"] == rows(1).tolist()
    assert fields["readout_z"][0] == [[2.0] * 3] * 2  # (5 - 1) / 2
    assert set(fields) == {"readout", "readout_z", "readout_prompt", "readout_prompt_z"}


def test_aggregates_come_at_the_end_and_need_no_rows_on_the_wire(export: Export) -> None:
    ask = Ask(summary=("mean", "max", "last"), top=1)
    assert answer_fields(export, ask, rows(3), None) == {}
    fields = summary_fields(export, ask, rows(3), [])
    assert fields["readout_summary"] == {
        "mean": [[1.0] * 3] * 2,
        "max": [[2.0] * 3] * 2,
        "last": [[2.0] * 3] * 2,
    }
    assert fields["readout_top"] == [{"concept": "afraid", "layer": 3, "z": 0.0}]


def test_the_top_concepts_are_those_of_the_best_layer(export: Export) -> None:
    made = np.zeros((2, 2, 3), np.float32)
    made[:, 0, 0] = 9  # layer 1, which is not the best
    made[:, 1] = [1, 5, 3]
    assert [one["concept"] for one in top_concepts(export, made, 2)] == ["calm", "sad"]


def test_a_watched_concept_fires_once_at_its_first_token(export: Export) -> None:
    made = np.ones((4, 2, 3), np.float32)  # z = 0
    made[2:, 1, 2] = 7  # sad: z = 3 from token 2 on
    made[1, 1, 0] = 7  # afraid is not watched
    assert firing(export, Ask(watch=("calm", "sad"), threshold=2.5), made) == [(2, 2, 3.0)]
