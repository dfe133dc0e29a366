"""Rows of `LLM.generate` are those of transformers, however vLLM schedules the tokens."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import engines
import numpy as np
import offline
import pytest
from offline import SILENT, TEXTS
from parity import Reference

HERE = Path(__file__).parent
TOLERANCE = 1e-5
ONE_PROCESS = {"VLLM_ENABLE_V1_MULTIPROCESSING": "0"}
SECOND = ONE_PROCESS | {"VLLM_USE_V2_MODEL_RUNNER": "1", "VLLM_READOUT_UNTESTED": "1"}
FEW_BLOCKS = {"num_gpu_blocks_override": 10, "max_model_len": 288}
NGRAM = {"method": "ngram", "num_speculative_tokens": 4, "prompt_lookup_max": 3}
KINDS: dict[str, tuple[dict[str, str], dict[str, Any]]] = {
    "store": (ONE_PROCESS, {}),
    "recompute": (ONE_PROCESS | {"VLLM_READOUT_PREFIX_CACHE": "recompute"}, {}),
    "preempted": (ONE_PROCESS, FEW_BLOCKS),
    "V2": (SECOND, {}),
    "V2 recompute": (SECOND | {"VLLM_READOUT_PREFIX_CACHE": "recompute"}, {}),
    "V2 preempted": (SECOND, FEW_BLOCKS),
    "speculative": (ONE_PROCESS, {"speculative_config": NGRAM}),
    "tensor parallel": (
        {"VLLM_CPU_OMP_THREADS_BIND": "0|1"},
        {"tensor_parallel_size": 2, "distributed_executor_backend": "mp"},
    ),
    "pipeline parallel": (
        {"VLLM_CPU_OMP_THREADS_BIND": "0|1"},
        {"pipeline_parallel_size": 2, "distributed_executor_backend": "mp"},
    ),
    "compiled": (ONE_PROCESS, {"enforce_eager": False}),
}


@pytest.fixture(scope="session")
def begun(
    request: pytest.FixtureRequest,
    served: Path,
    environment: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[dict[str, Future[Any]]]:
    """Every kind that is selected, two at a time, while the server starts if it is selected too."""
    selected = request.session.items
    if any("starting" in item.fixturenames for item in selected):
        request.getfixturevalue("starting")
    calls = [item.callspec.params for item in selected if hasattr(item, "callspec")]
    kinds = dict.fromkeys(call["runs"] for call in calls if "runs" in call)
    folder = tmp_path_factory.mktemp("rows")
    with ThreadPoolExecutor(2) as pool:
        yield {kind: pool.submit(rows_of, kind, served, environment, folder) for kind in kinds}


def rows_of(kind: str, served: Path, environment: dict[str, str], folder: Path) -> Any:
    """What the requests of `offline.py` got."""
    extra, arguments = KINDS[kind]
    output, log = folder / f"{kind}.pickle", folder / f"{kind}.log"
    if kind.startswith("V2"):  # Triton's interpreter is chosen when vLLM is imported
        command = [sys.executable, HERE / "interpreted.py", HERE / "offline.py"]
        with log.open("w") as printed:
            code = subprocess.run(
                [*command, served, output, json.dumps(arguments)],
                env={**os.environ, **environment, **extra},
                stdout=printed,
                stderr=printed,
                check=False,
                timeout=540,
            ).returncode
        said = log.read_text()
    else:
        code, said = engines.run(offline.main, log, environment | extra, served, output, arguments)
    assert code == 0, said[-3000:]
    return pickle.loads(output.read_bytes())


@pytest.fixture(scope="module", params=list(KINDS))
def runs(request: pytest.FixtureRequest, begun: dict[str, Future[Any]]) -> Any:
    return request.param, begun[request.param].result()


def test_rows_are_those_of_transformers(runs: Any, reference: Reference) -> None:
    kind, (first, second, _) = runs
    worst = 0.0
    for output in (*first, *second):
        for answer in output["answers"]:
            if answer["rows"] is not None:
                rows, of_prompt = answer["rows"], answer["of_prompt"]
                worst = max(
                    worst,
                    reference.difference(output["prompt"], answer["new"], rows, of_prompt),
                )
    assert worst <= TOLERANCE, f"{kind}: {worst:.2g} of the largest score"


def test_who_asks_for_nothing_gets_nothing_and_who_asks_gets_all(runs: Any) -> None:
    _, (first, *_) = runs
    for place, output in enumerate(first):
        for answer in output["answers"]:
            assert (answer["rows"] is None) == (place == SILENT)
            assert (answer["of_prompt"] is None) == (place % 2 == 0)
    assert len(first[0]["answers"]) == 2
    assert len(first) == len(TEXTS)


def test_a_cached_prompt_has_the_same_rows_as_a_fresh_one(runs: Any) -> None:
    kind, (first, second, preempted) = runs
    assert (preempted > 0) == ("preempted" in kind)
    for place in (1, 3, 5):
        cached = second[place]["cached"]
        assert (cached == 0) if "recompute" in kind else (cached >= 32 or "preempted" in kind)
        before, after = (run[place]["answers"][0]["of_prompt"] for run in (first, second))
        np.testing.assert_allclose(after, before, atol=1e-4 * np.abs(before).max())
