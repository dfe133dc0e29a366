"""What a request can ask the vLLM plugin for, and what it is told when it asks wrongly."""

from statistics import NormalDist
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from readout_vllm.asks import KEYS, Ask, ask_of
from readout_vllm.errors import ReadoutError

CONCEPTS = ("afraid", "calm", "sad")


def ask(calibrated: bool = True, always: bool = False, **extra: Any) -> Ask | None:
    return ask_of(extra, CONCEPTS, calibrated, always)


def test_a_request_that_says_nothing_asks_for_nothing() -> None:
    assert ask_of(None, CONCEPTS, True) is None
    assert ask(other=3) is None
    assert ask(readout=0) is None


def test_always_gives_rows_to_every_request_that_does_not_decline() -> None:
    assert ask(always=True) == Ask(rows=True)
    assert ask(always=True, readout=0) is None


def test_everything_can_be_asked_at_once() -> None:
    found = ask(
        readout="1",
        readout_prompt=1,
        readout_z=1,
        readout_summary=["mean", "last"],
        readout_top=2,
        readout_watch="sad",
        readout_stop=1,
    )
    assert found == Ask(
        rows=True,
        prompt=True,
        z=True,
        summary=("mean", "last"),
        top=2,
        watch=("sad",),
        threshold=NormalDist().inv_cdf(0.99),
        stop=True,
    )


def test_a_concept_fires_at_the_normal_quantile_of_the_false_positive_rate() -> None:
    rare = ask(readout_watch=["calm"], readout_false_positives=1e-300)
    assert rare is not None
    assert 37 < rare.threshold < 38
    found = ask(readout_watch=["calm"], readout_false_positives=0.05)
    assert found is not None
    assert found.threshold == pytest.approx(1.645, abs=1e-3)


def test_all_watches_every_concept() -> None:
    found = ask(readout_watch="all")
    assert found is not None
    assert found.watch == CONCEPTS


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ({"readout_promt": 1}, "readout_promt is unknown"),
        ({"readout": "yes"}, "it can be 0 or 1"),
        ({"readout_summary": "median"}, "it can be mean, max, last"),
        ({"readout_top": 4}, "it can be 0 to 3"),
        ({"readout_watch": "happy"}, "which the export does not hold"),
        ({"readout_watch": "sad", "readout_false_positives": 1}, "between 0 and 0.5"),
        ({"readout": 1, "readout_stop": 1}, "readout_stop needs readout_watch"),
    ],
)
def test_a_wrong_wish_gets_a_sentence(extra: dict[str, Any], message: str) -> None:
    with pytest.raises(ReadoutError, match=message):
        ask(**extra)


@pytest.mark.parametrize("extra", [{"readout": 1, "readout_z": 1}, {"readout_watch": "sad"}])
def test_z_and_thresholds_need_calibration(extra: dict[str, Any]) -> None:
    with pytest.raises(ReadoutError, match=r"calibration\.safetensors"):
        ask(calibrated=False, **extra)


words = st.text("alms01-", max_size=6)
values = st.one_of(st.integers(), st.floats(), words, st.lists(words, max_size=3))


@given(st.dictionaries(st.sampled_from([*KEYS, "readout_x", "other"]), values))
def test_whatever_a_client_sends_ends_in_an_ask_or_a_sentence(extra: dict[str, Any]) -> None:
    try:
        found = ask_of(extra, CONCEPTS, True)
    except ReadoutError:
        return
    assert found is None or found.needs_rows or found.prompt
