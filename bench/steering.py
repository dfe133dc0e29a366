"""Steering: do answers steered by a concept speak of it, judged by words the model never sees?

Every shipped concept steers one answer to the same prompt from the same seed. Two judges say which
answer is whose: word counts fitted on the descriptions, which know nothing of activations, and
the plain model's readout of the finished text. Random directions of the same length stand beside
both, and the perplexity of the unsteered answer says what the steering costs the model.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import numpy as np
import torch

from bench.results import Row, publish
from readout_ui.activations.cache import ActivationCache
from readout_ui.files import cache_folder
from readout_ui.inference.generation import frame_for_answer
from readout_ui.inference.readout import Readout
from readout_ui.inference.sampling import Sampling
from readout_ui.inference.steering_setup import Steer, SteeringSetup, Where
from readout_ui.inference.sweep import Trial, answer_mean
from readout_ui.models.chat_template import Turn
from readout_ui.models.loading import ModelSpec, load_model
from readout_ui.runs.training import train
from readout_ui.texts.library import Library
from readout_ui.vectors.metrics import bag_of_words_scores, one_vs_rest, random_directions
from readout_ui.vectors.settings import TrainSettings

DESCRIPTIONS = Path(__file__).resolve().parents[1] / "descriptions"
PROMPT = "How do you feel right now, and what is it like?"
MULTIPLIERS = (0.1, 0.25, 0.5)
N_TOKENS = 32


@dataclass(frozen=True, eq=False)
class Judged:
    """All concepts' answers at one multiplier."""

    words: float
    """Macro AUROC of word counts: an answer's own concept against the others' answers."""
    readout: float
    """The same by the mean z of the answer in the plain model."""
    strain: float
    """Median over concepts: perplexity of the plain answer while steering / without."""


def judge(trial: Trial, multiplier: float, layer: int, texts: dict[str, tuple[str, ...]]) -> Judged:
    """Steer by every concept in turn at one multiplier."""
    concepts = trial.readout.concepts
    plain = trial.answer()
    usual = trial.perplexity(plain)
    answers, means, strains = [], [], []
    for concept in concepts:
        setup = SteeringSetup((Steer(concept, (layer,), multiplier),), Where("all"))
        answer = trial.answer(setup)
        answers.append(answer.text)
        means.append(answer_mean(trial.alone(answer), len(answer.prompt.token_ids))[0])
        strains.append((trial.perplexity(plain, setup) or 0.0) / (usual or 1.0))
    labels = [name for name, some in texts.items() for _ in some]
    train_texts = [text for some in texts.values() for text in some]
    by_words = bag_of_words_scores(train_texts, labels, answers, concepts)
    return Judged(
        words=one_vs_rest(by_words, concepts, concepts).macro_auroc,
        readout=one_vs_rest(np.nan_to_num(np.stack(means)), concepts, concepts).macro_auroc,
        strain=median(strains),
    )


def main() -> None:
    model = load_model(ModelSpec(device="cpu", dtype="fp32"))
    library = Library(DESCRIPTIONS)
    settings = TrainSettings(layers="auto")
    with closing(ActivationCache(cache_folder() / "activations")) as cache:
        trained = train(library, model, settings, cache)
        readout = Readout(model, trained, cache)
        readout.norms()
    layer = trained.best_layer
    reads = readout.select(layers=[layer])
    vectors = reads.vectors
    texts = library.texts()
    drawn = random_directions(len(vectors.concepts), 1, model.d_model, seed=0)
    random = replace(vectors, directions=drawn)
    prompt = frame_for_answer(model, [Turn("user", PROMPT)])
    sampling = Sampling(temperature=0, max_new_tokens=N_TOKENS, repetition_penalty=1.1)
    rows: list[Row] = []
    for multiplier in MULTIPLIERS:
        for name, steers in (("concept", reads), ("random", reads.with_vectors(random))):
            trial = Trial(reads, prompt, sampling, steers)
            found = judge(trial, multiplier, layer, texts)
            label = f"{name} directions, {multiplier:g} x norm"
            rows += [
                Row(f"{label}: AUROC by words", found.words),
                Row(f"{label}: AUROC by readout", found.readout),
                Row(f"{label}: perplexity of the plain answer", found.strain, "x"),
            ]
    note = f"{len(vectors.concepts)} answers of {N_TOKENS} tokens, layer {layer}"
    rows.append(Row("chance: AUROC", 0.5, note=note))
    publish("steering", "Steered answers of the bundled model, told apart", rows)


if __name__ == "__main__":
    torch.manual_seed(0)
    main()
