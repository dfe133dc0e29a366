"""The seed trainer's loop over steering-vectors, one side of the speed benchmark.

Facts from the seed: every concept, 20 sampled negatives per positive, batches of two pairs, whole
model, last token of the templated text, PCA, float32 aggregation.
"""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence

import torch
from steering_vectors import SteeringVectorTrainingSample, pca_aggregator, train_steering_vector
from torch import Tensor

NEGATIVES = 20
BATCH = 2


def template(tokenizer: object, text: str) -> str:
    """The seed's frame around a text."""
    turns = [
        {"role": "user", "content": "How do you feel right now?"},
        {"role": "assistant", "content": text},
    ]
    return str(tokenizer.apply_chat_template(turns, tokenize=False))  # type: ignore[attr-defined]


def samples_of(
    concept: str, texts: Mapping[str, Sequence[str]], tokenizer: object
) -> list[SteeringVectorTrainingSample]:
    """The seed's pairs of one concept, with a seed that is the same in every process."""
    pool = [t for name, group in texts.items() if name != concept for t in group]
    draws = random.Random(concept)
    return [
        SteeringVectorTrainingSample(
            positive_str=template(tokenizer, positive), negative_str=template(tokenizer, negative)
        )
        for positive in texts[concept]
        for negative in draws.sample(pool, min(NEGATIVES, len(pool)))
    ]


def train_as_the_seed_does(
    model: object, tokenizer: object, texts: Mapping[str, Sequence[str]], layers: list[int]
) -> tuple[float, dict[str, dict[int, Tensor]]]:
    """Run the whole loop; returns its seconds and the vectors per concept and layer."""
    aggregate = pca_aggregator()

    def in_float32(positive: Tensor, negative: Tensor) -> Tensor:
        vector: Tensor = aggregate(positive.float(), negative.float())
        return vector

    vectors: dict[str, dict[int, Tensor]] = {}
    started = time.perf_counter()
    for concept in sorted(name for name in texts if not name.startswith("_")):
        trained = train_steering_vector(
            model,  # type: ignore[arg-type]
            tokenizer,  # type: ignore[arg-type]
            samples_of(concept, texts, tokenizer),
            layers=layers,
            aggregator=in_float32,
            batch_size=BATCH,
            move_to_cpu=True,
        )
        vectors[concept] = {
            layer: torch.nn.functional.normalize(vector.float(), dim=0)
            for layer, vector in trained.layer_activations.items()
        }
    return time.perf_counter() - started, vectors
