"""What a long text costs to open: 4,096 tokens x 200 concepts, from scores to the page's bytes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import numpy as np

from bench.results import Row, publish
from readout_ui.app.tabs.inspect_view import Look, draw, settle_choices
from readout_ui.inference.reading import Reading, scored_tokens

N_TOKENS, N_CONCEPTS, N_LAYERS = 4096, 200, 30
LOOK = Look("concepts", "z", 0, None, [], "peak", True)
Result = TypeVar("Result")


def made_up() -> Reading:
    """A long text with random scores; the values do not matter for time and size."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=(N_TOKENS, N_LAYERS, N_CONCEPTS)).astype(np.float32)
    gain = rng.uniform(1, 9, (N_LAYERS, N_CONCEPTS)).astype(np.float32)
    roles = ("template", *("user",) * (N_TOKENS - 1))
    similarity = np.stack([np.eye(N_CONCEPTS, dtype=np.float32)] * N_LAYERS)
    return Reading(
        tokens=tuple(f"·word{i % 97}" for i in range(N_TOKENS)),
        roles=roles,
        concepts=tuple(f"concept {i}" for i in range(N_CONCEPTS)),
        layers=tuple(range(N_LAYERS)),
        raw=z * gain + 500,
        cosine=np.tanh(z),
        z=z,
        similarity=similarity,
        scored=scored_tokens(roles),
    )


def timed(work: Callable[[], Result]) -> tuple[float, Result]:
    """Seconds of the fastest of three goes, and what came out."""
    best = float("inf")
    for _ in range(3):
        start = time.perf_counter()
        result = work()
        best = min(best, time.perf_counter() - start)
    return best, result


def main() -> None:
    reading = made_up()
    look = settle_choices(reading, None, LOOK)

    def opened(**changes: object) -> tuple[float, int]:
        shown = replace(look, **changes)  # type: ignore[arg-type]
        seconds, drawn = timed(lambda: draw(reading, shown))
        return seconds, len(drawn.map)

    seconds, n_bytes = opened()
    rows = [
        Row("server, tokens x concepts", seconds * 1000, "ms", "<= 3000", "the page adds its part"),
        Row("sent to the browser", n_bytes / 1e6, "MB", "<= 4"),
    ]
    for name, changes in (("cosine", {"kind": "cosine"}), ("tokens x layers", {"view": "layers"})):
        seconds, n_bytes = opened(**changes)
        rows.append(Row(f"server, {name}", seconds * 1000, "ms", note=f"{n_bytes / 1e6:.2f} MB"))
    publish("long_text", f"Opening {N_TOKENS} tokens x {N_CONCEPTS} concepts in Inspect", rows)


if __name__ == "__main__":
    main()
