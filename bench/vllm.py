"""What a readout costs inside vLLM: tokens per second without, loaded but unasked, and asked.

One engine in one process, in the venv that `make vllm-test` makes; the three kinds take
turns, so that a busy machine slows all of them. Per CPU second and per second of the clock.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

KINDS = ("off", "loaded", "asked")
NEW_TOKENS = 32


def overhead(model: str, turns: int, batches: tuple[int, ...] = (1, 8)) -> dict[str, Any]:
    """Medians over turns, as shares of the kind `off`.

    Args:
        model: the served model's folder; VLLM_READOUT_VECTORS names the folder of the export.
        turns: how often each kind runs, after once to warm up.
        batches: numbers of concurrent requests.
    """
    from vllm import LLM

    manifest = Path(os.environ["VLLM_READOUT_VECTORS"]) / "readout.json"
    llm = LLM(
        model,
        served_model_name=json.loads(manifest.read_text())["model"]["id"],
        dtype="float32",
        enforce_eager=True,
        max_model_len=512,
        max_num_seqs=8,
        enable_prefix_caching=False,
        disable_log_stats=True,
    )
    choose = _chooser(llm)
    made: dict[str, Any] = {}
    for n_requests in batches:
        rates: dict[str, list[tuple[float, float]]] = {kind: [] for kind in KINDS}
        for turn in range(turns + 1):
            for kind in KINDS:
                choose(kind)
                rate = _rate(llm, n_requests, kind == "asked")
                if turn:  # the first turn warms up
                    rates[kind].append(rate)
        made[f"batch {n_requests}"] = _shares(rates)
        print(n_requests, made[f"batch {n_requests}"], file=sys.stderr, flush=True)
    return made


def _chooser(llm: Any) -> Callable[[str], None]:
    """A switch between an engine without the plugin and one with it."""
    runner = llm.llm_engine.model_executor.driver_worker.worker.model_runner
    readout, layers = runner.readout, runner.model.model.aux_hidden_state_layers

    def choose(kind: str) -> None:
        off = kind == "off"
        runner.readout = None if off else readout
        runner.use_aux_hidden_state_outputs = not off
        runner.model.set_aux_hidden_state_layers(() if off else layers)

    return choose


def _rate(llm: Any, n_requests: int, asked: bool) -> tuple[float, float]:
    """Tokens per second of the clock and per CPU second."""
    from vllm import SamplingParams

    parameters = SamplingParams(
        max_tokens=NEW_TOKENS,
        min_tokens=NEW_TOKENS,
        temperature=0,
        extra_args={"readout": 1} if asked else None,
    )
    prompts = [f"Once upon a time, number {i}, there was a" for i in range(n_requests)]
    clock, cpu = time.perf_counter(), time.process_time()
    outputs = llm.generate(prompts, parameters, use_tqdm=False)
    clock, cpu = time.perf_counter() - clock, time.process_time() - cpu
    if (outputs[0].outputs[0].readout is not None) != asked:
        raise RuntimeError("the readout is not what was chosen")
    return n_requests * NEW_TOKENS / clock, n_requests * NEW_TOKENS / cpu


def _shares(rates: dict[str, list[tuple[float, float]]]) -> dict[str, Any]:
    base = [statistics.median(rate[i] for rate in rates["off"]) for i in range(2)]
    made: dict[str, Any] = {"off tokens per second": round(base[0], 1)}
    for kind in KINDS[1:]:
        # In pairs: each turn's kinds ran one after the other.
        pairs = zip(rates[kind], rates["off"], strict=True)
        ratios = [(one[0] / off[0], one[1] / off[1]) for one, off in pairs]
        made[kind] = {
            "of off, clock": round(statistics.median(r[0] for r in ratios), 4),
            "of off, CPU": round(statistics.median(r[1] for r in ratios), 4),
            "range, CPU": [round(f(r[1] for r in ratios), 4) for f in (min, max)],
        }
    return made


if __name__ == "__main__":
    os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
    print(json.dumps(overhead(sys.argv[1], int((sys.argv[2:] or ["7"])[0])), indent=2))
