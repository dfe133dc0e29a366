"""The report of a run: written and read back, refused where it is damaged, kept with its run."""

from __future__ import annotations

import json
import random
from base64 import b64decode
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from readout_ui.errors import UserError
from readout_ui.runs.report import (
    ConceptReport,
    RunReport,
    pack_cosines,
    verdict_of,
)
from readout_ui.runs.store import REPORT_FILE, RunStore
from tests.support.reports import make_report
from tests.support.trained_example import make_run


@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=40)
@given(st.from_type(RunReport))
def test_what_is_written_is_read_back(report: RunReport) -> None:
    assert RunReport.from_json(report.to_json()) == report


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("auroc",), 1.5),
        (("words",), float("nan")),
        (("concepts", 0, "verdict"), "excellent"),
        (("pairs", 0, "cosine"), "near"),
        (("layer",), None),
    ],
)
def test_damage_is_named_with_its_place(path: tuple[str | int, ...], value: object) -> None:
    whole = json.loads(make_report().to_json())
    inner = whole
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = value
    with pytest.raises(UserError, match=r"no report of a run") as refused:
        RunReport.from_json(json.dumps(whole).encode(), "here.json")
    assert "here.json" in str(refused.value)
    assert str(path[-1]) in str(refused.value)


@given(st.floats(0, 1), st.floats(0, 1))
def test_a_verdict_follows_the_lower_end_and_never_falls_as_it_rises(a: float, b: float) -> None:
    order = ["at chance", "weak", "readable", "clear"]
    low, high = sorted((a, b))
    assert order.index(verdict_of(1.0, low)) <= order.index(verdict_of(1.0, high))
    assert verdict_of(None, None) == "not judged"
    assert [verdict_of(0.9, each) for each in (0.5, 0.69, 0.7, 0.85)] == order


def test_a_report_is_kept_with_its_run_and_goes_with_it(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    run = store.save(make_run())
    assert store.report(run.id) is None
    report = make_report(run.id)
    store.keep_report(report)
    assert store.report(run.id) == RunStore(tmp_path).report(run.id) == report
    better = replace(report, headline="all can be read")
    store.keep_report(better)
    assert store.report(run.id) == better
    store.delete(run.id)
    with pytest.raises(UserError, match="no run"):
        store.report(run.id)


def test_a_damaged_report_and_that_of_another_run_count_as_none(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    run = store.save(make_run())
    assert run.folder is not None
    (run.folder / REPORT_FILE).write_bytes(make_report("another run").to_json())
    assert store.report(run.id) is None
    (run.folder / REPORT_FILE).write_bytes(b"{")
    assert store.report(run.id) is None
    assert [each.id for each in store.list()] == [run.id]


@given(st.integers(1, 12), st.randoms(use_true_random=False))
def test_cosines_come_back_to_four_places(n: int, draws: random.Random) -> None:
    half = np.array([[draws.uniform(-1, 1) for _ in range(n)] for _ in range(n)])
    matrix = np.triu(half, 1) + np.triu(half, 1).T + np.eye(n)
    above = np.frombuffer(b64decode(pack_cosines(matrix)), "<i2") / 10_000
    assert np.abs(above - matrix[np.triu_indices(n, k=1)]).max(initial=0) <= 0.5e-4


def test_a_concept_is_found_by_its_name() -> None:
    found = make_report().concept("calm")
    assert isinstance(found, ConceptReport)
    assert make_report().concept("bored") is None
