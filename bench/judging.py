"""Judging at size: time of every view and memory beyond the activations, on synthetic ones.

A view is one table or figure of the page with its numbers, worked out for one layer from the
activations of a run, which are in memory by then ("warm"). What needs all layers is worked out
once per run, in the background with progress, and remembered: those parts have no goal here, what
is read from them afterwards has. Each part runs alone in this process after another one warmed
numpy and scipy up; times are of the wall clock, the better of two.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from bench.fit import GIB, Size, synthetic
from bench.results import Row, publish
from readout_ui.evaluation.advice import judge_descriptions
from readout_ui.evaluation.crosstalk import cosine_matrix
from readout_ui.evaluation.generalization import judge
from readout_ui.evaluation.held_out import held_out_matrix
from readout_ui.evaluation.influence import influence
from readout_ui.evaluation.judgements import JudgeSettings
from readout_ui.evaluation.layer_sets import best_layer_sets
from readout_ui.evaluation.layers import LayerSweep, sweep_means
from readout_ui.evaluation.redundancy import concept_map, redundancy
from readout_ui.evaluation.run_diff import compare_directions, compare_scores
from readout_ui.evaluation.scored_texts import ScoredTexts
from readout_ui.evaluation.shortcuts import find_shortcuts
from readout_ui.vectors.groups import PairSettings
from readout_ui.vectors.methods import mean_difference
from readout_ui.vectors.settings import TrainSettings
from readout_ui.vectors.training import Corpus
from readout_ui.vectors.vectors import ConceptVectors

VIEW_SECONDS = "<= 2"
MEMORY_GIB = "<= 3.725"
"""4 GB, the activations included."""
N_LABELLED = 4000
WORDS = 3000
WORDS_PER_TEXT = 30


@dataclass(frozen=True)
class Case:
    """A run of that size."""

    corpus: Corpus
    layer: int

    @cached_property
    def edited(self) -> Corpus:
        """The same texts but one, at the layer alone."""
        at_layer = self.corpus.pooled[:, [self.layer]].clone()
        at_layer[0] = at_layer[-1]
        return replace(self.corpus, texts=("new", *self.corpus.texts[1:]), activations=at_layer)

    @cached_property
    def alone(self) -> Corpus:
        """The corpus at the layer alone."""
        return replace(self.corpus, activations=self.corpus.pooled[:, [self.layer]].clone())

    @cached_property
    def vectors(self) -> ConceptVectors:
        """Mean differences at all layers."""
        groups, pooled = self.corpus.groups, self.corpus.pooled
        directions = mean_difference(pooled, groups, PairSettings())
        n_concepts, n_layers, d_model = directions.shape
        zeros, ones = torch.zeros(n_concepts, n_layers), torch.ones(n_concepts, n_layers)
        center = torch.zeros(n_layers, d_model)
        layers = tuple(range(n_layers))
        return ConceptVectors(groups.concepts, layers, directions, center, zeros, ones)

    @cached_property
    def sweep(self) -> LayerSweep:
        """Mean differences at all layers by the run's read rule."""
        return sweep_means([self.corpus])

    @cached_property
    def scored(self) -> ScoredTexts:
        """Labelled texts with scores of some use."""
        draws, concepts = np.random.default_rng(0), self.corpus.groups.concepts
        own = np.arange(N_LABELLED)[:, None] % len(concepts) == np.arange(len(concepts))
        scores = draws.normal(size=own.shape).astype(np.float32) + own
        words = draws.normal(size=own.shape) + own / 2
        n_random = JudgeSettings().n_random
        return ScoredTexts(
            layer=self.layer,
            concepts=concepts,
            texts=tuple(f"text {i}" for i in range(N_LABELLED)),
            own=own,
            scores=scores,
            neutral_scores=draws.normal(size=(200, len(concepts))),
            random_scores=draws.normal(size=(N_LABELLED, n_random)),
            word_scores=words,
        )


VIEWS: dict[str, Callable[[Case], object]] = {
    "cosines with intervals": lambda case: cosine_matrix(case.corpus, case.layer),
    "responses": lambda case: held_out_matrix(case.corpus, case.layer),
    "redundancy": lambda case: redundancy(case.corpus, case.layer),
    "map": lambda case: concept_map(case.corpus, case.layer),
    "influence": lambda case: influence(case.corpus, case.layer),
    "shortcuts": lambda case: find_shortcuts(case.corpus.texts, case.corpus.groups),
    "advice": lambda case: judge_descriptions(case.corpus, case.layer),
    f"generalization, {N_LABELLED} texts": lambda case: judge(case.scored, JudgeSettings()),
    "layers: the sweep that is kept": lambda case: (case.sweep.scores(), case.sweep.best()),
    "what moved: directions": lambda case: compare_directions(case.vectors, case.vectors),
    "what moved: scores": lambda case: compare_scores(case.alone, case.edited, 0),
}
ONCE: dict[str, Callable[[Case], object]] = {
    "cosines, mean over layers": lambda case: cosine_matrix(case.corpus, None),
    "layers: sweep of mean differences": lambda case: sweep_means([case.corpus]),
    "layers: best sets": lambda case: best_layer_sets(case.corpus),
}
"""Parts that need all layers."""
PREPARED = ("scored", "sweep", "vectors", "edited", "alone")


def make_case(size: Size) -> Case:
    """Synthetic activations, and texts of words drawn at random."""
    draws, n_texts = np.random.default_rng(0), size.concepts * size.descriptions
    chosen = draws.zipf(1.3, (n_texts, WORDS_PER_TEXT)) % WORDS
    letters = str.maketrans("0123456789", "abcdefghij")
    texts = (" ".join(f"w{word}".translate(letters) for word in row) for row in chosen.tolist())
    corpus = Corpus(tuple(texts), size.groups, synthetic(size), TrainSettings())
    return Case(corpus, round(0.6 * (size.layers - 1)))


def measure(name: str, part: Callable[[Case], object], case: Case, rounds: int) -> tuple[Row, Row]:
    """Seconds, and memory on top of what was held before."""
    goal = VIEW_SECONDS if name in VIEWS else ""
    for prepared in PREPARED:  # what the part reads is no part of it
        if _uses(name, prepared):
            getattr(case, prepared)
    _forget_peak()
    before = _resident("VmRSS")
    seconds, work = [], []
    for _ in range(rounds):
        started, worked = time.perf_counter(), time.process_time()
        part(case)
        seconds.append(time.perf_counter() - started)
        work.append(time.process_time() - worked)
    memory = (_resident("VmHWM") - before) / GIB
    note = f"{min(work):.3g} s of processor time" + ("" if goal else "; once per run")
    return (
        Row(f"{name}: time", min(seconds), "s", goal, note),
        Row(f"{name}: memory beyond activations", memory, "GiB"),
    )


def _uses(name: str, prepared: str) -> bool:
    return {
        "scored": name.startswith("generalization"),
        "sweep": name.endswith("that is kept"),
        "vectors": name == "what moved: directions",
        "edited": name == "what moved: scores",
        "alone": name == "what moved: scores",
    }[prepared]


def _resident(field: str) -> int:
    """Bytes of memory this process holds (VmRSS) or held at most (VmHWM); Linux only."""
    lines = Path("/proc/self/status").read_text("ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) * 1024


def _forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5", "ascii")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--concepts", type=int, default=200)
    parser.add_argument("--descriptions", type=int, default=10)
    parser.add_argument("--layers", type=int, default=64)
    parser.add_argument("--d-model", type=int, default=5120)
    parser.add_argument("--only", nargs="+", help="parts whose names contain one of these")
    parser.add_argument("--without-once", action="store_true", help="leave out what runs once")
    chosen = parser.parse_args()
    size = Size(chosen.concepts, chosen.descriptions, chosen.layers, chosen.d_model)
    parts = {**VIEWS, **({} if chosen.without_once else ONCE)}
    wanted = [n for n in parts if not chosen.only or any(word in n for word in chosen.only)]
    case = make_case(size)
    small = make_case(Size(6, 4, 2, 16))
    rows = [Row("activations", case.corpus.pooled.nbytes / GIB, "GiB")]
    most = 0.0
    for name in wanted:
        parts[name](small)
        time_row, memory_row = measure(name, parts[name], case, 2 if name in VIEWS else 1)
        rows += [time_row, memory_row]
        most = max(most, _resident("VmHWM") / GIB)
        print(f"{name}: {time_row.value:.2f} s, {memory_row.value:.2f} GiB", flush=True)
    name = "whole process at most, activations and libraries included"
    rows.append(Row(name, most, "GiB", MEMORY_GIB))
    title = (
        f"Judging {size.concepts} concepts x {size.descriptions} descriptions x {size.layers} "
        f"layers x d_model {size.d_model}, synthetic activations"
    )
    publish("judging", title, rows)


if __name__ == "__main__":
    main()
