"""Fit alone: time and peak memory of each method on synthetic activations, one process each."""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import sys
import time
from dataclasses import astuple, dataclass
from multiprocessing.queues import Queue

import torch
from torch import Tensor

from bench.results import Row, publish
from readout_ui.vectors.cross_validation import cross_validated_layers
from readout_ui.vectors.groups import PairSettings, TextGroups
from readout_ui.vectors.methods import METHODS

GIB = 2**30
MAXRSS_UNIT = 1 if sys.platform == "darwin" else 1024
LAYER_CHOICE = "choosing the layer"
N_TOKENS = 256
"""Neutral tokens, as many as a training keeps."""


@dataclass(frozen=True)
class Size:
    """How much there is to fit."""

    concepts: int
    descriptions: int
    layers: int
    d_model: int

    @property
    def groups(self) -> TextGroups:
        """Descriptions concept by concept, no neutral texts."""
        starts = range(0, self.concepts * self.descriptions, self.descriptions)
        rows = tuple(tuple(range(start, start + self.descriptions)) for start in starts)
        return TextGroups(tuple(f"concept{i:04d}" for i in range(self.concepts)), rows, ())


def synthetic(size: Size) -> Tensor:
    """Texts around their concept's mean, with one dimension 50 times as wide as the rest."""
    generator = torch.Generator().manual_seed(0)
    n_texts = size.concepts * size.descriptions
    activations = torch.randn(n_texts, size.layers, size.d_model, generator=generator)
    for rows in size.groups.rows:
        shared = torch.randn(size.layers, size.d_model, generator=generator)
        activations[rows[0] : rows[-1] + 1] += shared
    activations[:, :, 1] *= 50
    return activations  # (n_texts, n_layers, d_model)


def neutral_tokens(size: Size) -> Tensor:
    """Tokens that spread like the texts, (n_tokens, n_layers, d_model)."""
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randn(N_TOKENS, size.layers, size.d_model, generator=generator)
    tokens[:, :, 1] *= 50
    return tokens


def measure(
    part: str, numbers: tuple[int, ...], results: Queue[tuple[float, float, float]]
) -> None:
    """In a process of its own: seconds, of processor time too, and bytes beyond the activations."""
    size = Size(*numbers)
    activations, tokens, groups = synthetic(size), neutral_tokens(size), size.groups
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started, worked = time.perf_counter(), time.process_time()
    if part == LAYER_CHOICE:
        cross_validated_layers(activations, groups, method="whitened", tokens=tokens)
    else:
        METHODS[part](activations, groups, PairSettings(), tokens)
    seconds, work = time.perf_counter() - started, time.process_time() - worked
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    results.put((seconds, work, (after - before) * MAXRSS_UNIT))


def measured_apart(part: str, size: Size) -> tuple[float, list[Row]]:
    """Processor time, and the rows of one part, untouched by what ran before."""
    context = multiprocessing.get_context("spawn")
    results: Queue[tuple[float, float, float]] = context.Queue()
    process = context.Process(target=measure, args=(part, astuple(size), results))
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit(f"{part} ended with {process.exitcode}")
    seconds, work, memory = results.get()
    return work, [
        Row(f"{part}: time", seconds, "s", note=f"{work:.3g} s of processor time"),
        Row(f"{part}: memory beyond activations", memory / GIB, "GiB"),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--concepts", type=int, default=200)
    parser.add_argument("--descriptions", type=int, default=10)
    parser.add_argument("--layers", type=int, default=64)
    parser.add_argument("--d-model", type=int, default=5120)
    parser.add_argument("--method", nargs="+", default=[*METHODS, LAYER_CHOICE])
    chosen = parser.parse_args()
    size = Size(chosen.concepts, chosen.descriptions, chosen.layers, chosen.d_model)
    n_floats = size.concepts * size.descriptions * size.layers * size.d_model
    rows = [
        Row("activations", 4 * n_floats / GIB, "GiB"),
        Row("directions (the result)", 4 * n_floats / size.descriptions / GIB, "GiB"),
    ]
    work: dict[str, float] = {}
    for part in chosen.method:
        work[part], found = measured_apart(part, size)
        rows += found
    if {"mean", "whitened"} <= work.keys():
        ratio = work["whitened"] / work["mean"]
        rows.append(Row("whitened: processor time of the mean", ratio, "x", "<= 2"))
    title = (
        f"Fit of {size.concepts} concepts x {size.descriptions} descriptions x "
        f"{size.layers} layers x d_model {size.d_model}, synthetic activations"
    )
    publish("fit", title, rows)


if __name__ == "__main__":
    main()
