"""Scores of labelled texts with a planted difference between own and other ones."""

import numpy as np

from readout_ui.evaluation.judgements import JudgeSettings
from readout_ui.evaluation.scored_texts import ScoredTexts

CONCEPTS = ("calm", "sad", "tired", "proud", "angry", "bored")
QUICK = JudgeSettings(n_bootstrap=300, n_permutations=300, n_random=60)


def labels(n_each: int, n_concepts: int = len(CONCEPTS)) -> np.ndarray:
    return np.repeat(np.eye(n_concepts, dtype=bool), n_each, axis=0)


def scored(seed: int, strength: float, n_each: int = 12) -> ScoredTexts:
    """Scores with a planted difference of `strength` standard deviations between own and other."""
    rng = np.random.default_rng(seed)
    own = labels(n_each)
    noise = rng.normal(size=own.shape)
    return ScoredTexts(
        layer=3,
        concepts=CONCEPTS,
        texts=tuple(f"text {i}" for i in range(len(own))),
        own=own,
        scores=noise + strength * own,
        neutral_scores=rng.normal(size=(40, len(CONCEPTS))),
        random_scores=rng.normal(size=(len(own), 60)),
        word_scores=rng.normal(size=own.shape),
        embedding_scores=rng.normal(size=own.shape) + own,
    )
