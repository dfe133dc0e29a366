"""Steering: what answers pushed along a concept say, and what it costs the model.

Ten concepts steer one answer each to the same prompts, along plain mean differences, along whitened
ones, and along random directions of the same length; at the run's best layer, or at all layers with
the dose divided among them. Two judges that know nothing of the steering run say whose answer it
is: a run trained on other descriptions of the same concepts, which reads the finished text in the
plain model, and word counts. The perplexity of the unsteered answer while steering says how much
the model is disturbed, that of the steered answer in the plain model how odd the text is.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import numpy as np
import torch

from bench.results import Row, publish
from readout_ui.activations.cache import ActivationCache
from readout_ui.files import cache_folder
from readout_ui.inference.generation import Generated, frame_for_answer
from readout_ui.inference.readout import Readout
from readout_ui.inference.sampling import Sampling
from readout_ui.inference.steering_setup import Steer, SteeringSetup, Where
from readout_ui.inference.sweep import Trial, answer_mean
from readout_ui.models.chat_template import Turn
from readout_ui.models.loading import ModelSpec, load_model
from readout_ui.runs.training import train
from readout_ui.texts.library import Library
from readout_ui.vectors.auroc import Floats
from readout_ui.vectors.metrics import bag_of_words_scores, one_vs_rest, random_directions
from readout_ui.vectors.settings import TrainSettings
from readout_ui.vectors.vectors import ConceptVectors

ROOT = Path(__file__).resolve().parents[1]
DESCRIPTIONS = ROOT / "descriptions"
OTHERS = ROOT / "bench" / "descriptions"
"""Other descriptions of ten of the concepts."""
PROMPTS = ("How do you feel right now, and what is it like?", "Tell me about your day.")
MULTIPLIERS = (0.1, 0.2, 0.3, 0.4, 0.6)
N_TOKENS = 32


@dataclass(frozen=True, eq=False)
class Judged:
    """All concepts' answers at one multiplier."""

    words: float
    """Macro AUROC of word counts: an answer's own concept against the others' answers."""
    readout: float
    """The same by the mean z of the answer in the plain model, by the independent run."""
    gain: float
    """How many z the answer lies above the plain answer on its own concept, mean over concepts."""
    strain: float
    """Median over answers: perplexity of the plain answer while steering / without."""
    oddness: float
    """Median over answers: perplexity in the plain model, of the steered answer / the plain one."""


@dataclass(frozen=True, eq=False)
class Bench:
    """The judge, the prompts, and the texts that word counts learn from."""

    judge: Readout
    """The independent run at its best layer."""
    texts: dict[str, tuple[str, ...]]

    def judged(self, steers: Readout, layers: Sequence[int], multiplier: float) -> Judged:
        """Steer by every concept in turn at one multiplier, shared among the layers."""
        concepts, found = self.judge.concepts, []
        for prompt in PROMPTS:
            framed = frame_for_answer(self.judge.model, [Turn("user", prompt)])
            sampling = Sampling(temperature=0, max_new_tokens=N_TOKENS, repetition_penalty=1.1)
            trial = Trial(self.judge, framed, sampling, steers)
            dose = multiplier / len(layers)
            found += self._answers(trial, [Steer(c, tuple(layers), dose) for c in concepts])
        labels = list(concepts) * len(PROMPTS)
        names = [name for name, some in self.texts.items() for _ in some]
        known = [text for some in self.texts.values() for text in some]
        words = bag_of_words_scores(known, names, [one.text for one in found], concepts)
        means = np.nan_to_num(np.stack([one.means for one in found]))
        own = [concepts.index(label) for label in labels]
        return Judged(
            words=one_vs_rest(words, labels, concepts).macro_auroc,
            readout=one_vs_rest(means, labels, concepts).macro_auroc,
            gain=float(np.mean([one.gains[i] for one, i in zip(found, own, strict=True)])),
            strain=median(one.strain for one in found),
            oddness=median(one.oddness for one in found),
        )

    def _answers(self, trial: Trial, steers: Sequence[Steer]) -> list[_Answer]:
        plain = trial.answer()
        usual, before = trial.perplexity(plain) or 1.0, self._mean(trial, plain)
        found = []
        for steer in steers:
            setup = SteeringSetup((steer,), Where("all"))
            answer = trial.answer(setup)
            means = self._mean(trial, answer)
            strain = (trial.perplexity(plain, setup) or 0.0) / usual
            oddness = (trial.perplexity(answer) or 0.0) / usual
            found.append(_Answer(answer.text, means, means - before, strain, oddness))
        return found

    def _mean(self, trial: Trial, answer: Generated) -> Floats:
        found: Floats = answer_mean(trial.alone(answer), len(trial.prompt.token_ids))[0]
        return found


@dataclass(frozen=True, eq=False)
class _Answer:
    text: str
    means: Floats
    gains: Floats
    strain: float
    oddness: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--multipliers", nargs="+", type=float, default=MULTIPLIERS)
    parser.add_argument("--kinds", nargs="+", default=["mean", "whitened", "random", "all layers"])
    chosen = parser.parse_args()
    model = load_model(ModelSpec(device="cpu", dtype="fp32"))
    with closing(ActivationCache(cache_folder() / "activations")) as cache:
        runs = {
            name: train(Library(DESCRIPTIONS), model, TrainSettings(method=name), cache)
            for name in ("mean", "whitened")
        }
        other = train(Library(OTHERS), model, TrainSettings(layers="auto"), cache)
        steers = Readout(model, runs["mean"], cache)
        steers.norms()
    judge = Readout(model, other, cache)
    layer = runs["whitened"].best_layer
    drawn = random_directions(len(steers.concepts), model.n_layers, model.d_model, seed=0)
    directions = {name: run.vectors.directions for name, run in runs.items()} | {"random": drawn}
    bench = Bench(judge, {name: runs["mean"].texts[name] for name in judge.concepts})
    rows: list[Row] = []
    for kind in chosen.kinds:
        vectors = directions.get(kind, directions["mean"])
        known = runs["mean"].vectors
        pushed = ConceptVectors.bare(known.concepts, known.layers, vectors)
        kept = replace(known, directions=pushed.directions)
        layers = range(1, model.n_layers) if kind == "all layers" else (layer,)
        for multiplier in chosen.multipliers:
            found = bench.judged(steers.with_vectors(kept), layers, multiplier)
            rows += [
                Row(f"{kind}, {multiplier:g} x norm: {name}", value)
                for name, value in vars(found).items()
            ]
            print(kind, multiplier, found, flush=True)
    note = f"{len(PROMPTS) * len(judge.concepts)} answers of {N_TOKENS} tokens, layer {layer}"
    rows.append(Row("chance: AUROC", 0.5, note=note))
    publish("steering", "Steered answers of the bundled model, told apart", rows)


if __name__ == "__main__":
    torch.manual_seed(0)
    main()
