"""What a readout costs inside vLLM: tokens per second without, loaded but unasked, and asked.

One engine in one process, in the venv that `make vllm-quick` makes; the three kinds take
turns in changing order, so that a busy machine slows all of them.
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
NEW_TOKENS = 16
Rate = tuple[float, float]
"""Tokens per second of the clock, and of the processor, which holds beside other work."""


def overhead(model: str, seconds: float, batches: tuple[int, ...] = (1, 8)) -> dict[str, Any]:
    """Tokens per second of each kind, and as shares of the kind `off`.

    Args:
        model: the served model's folder; VLLM_READOUT_VECTORS names the folder of the export.
        seconds: how long each number of requests is measured.
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
        rates: dict[str, list[Rate]] = {kind: [] for kind in KINDS}
        end, turn = time.perf_counter() + seconds, 0
        while time.perf_counter() < end:
            for place in range(len(KINDS)):
                kind = KINDS[(turn + place) % len(KINDS)]
                choose(kind)
                rate = _rate(llm, n_requests, kind == "asked")
                if turn:  # the first turn warms up
                    rates[kind].append(rate)
            turn += 1
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


def _rate(llm: Any, n_requests: int, asked: bool) -> Rate:
    from vllm import SamplingParams

    parameters = SamplingParams(
        max_tokens=NEW_TOKENS,
        min_tokens=NEW_TOKENS,
        temperature=0,
        extra_args={"readout": 1} if asked else None,
    )
    prompts = [f"Once upon a time, number {i}, there was a" for i in range(n_requests)]
    clock, processor = time.perf_counter(), time.process_time()
    outputs = llm.generate(prompts, parameters, use_tqdm=False)
    clock, processor = time.perf_counter() - clock, time.process_time() - processor
    if (outputs[0].outputs[0].readout is not None) != asked:
        raise RuntimeError("the readout is not what was chosen")
    return n_requests * NEW_TOKENS / clock, n_requests * NEW_TOKENS / processor


def _shares(rates: dict[str, list[Rate]]) -> dict[str, Any]:
    """Median and quartiles of the rates, and of each turn's share of its own `off`."""
    made: dict[str, Any] = {"turns": len(rates["off"])}
    for place, unit in enumerate(("tokens per second", "tokens per processor second")):
        for kind, own in rates.items():
            pairs = [(one[place], off[place]) for one, off in zip(own, rates["off"], strict=True)]
            shares = _spread([one / off for one, off in pairs], 4)
            own_rates = _spread([one for one, _ in pairs], 1)
            made[f"{kind}, {unit}"] = {"rate": own_rates, "of off": shares}
    return made


def _spread(values: list[float], digits: int) -> list[float]:
    """Lower quartile, median, upper quartile."""
    return [round(value, digits) for value in statistics.quantiles(values, n=4)]


if __name__ == "__main__":
    os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
    seconds = float((sys.argv[2:] or ["60"])[0])
    print(json.dumps(overhead(sys.argv[1], seconds), indent=2))
