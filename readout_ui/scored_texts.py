"""Texts with labels and with the scores of everything that is compared on them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from readout_ui.auroc import Bools, Floats
from readout_ui.judgements import Miss

WORST = 10
"""Misses that are shown as texts."""


@dataclass(frozen=True, eq=False)
class ScoredTexts:
    """Texts, their labels, and how everything that is compared scores them."""

    layer: int
    concepts: tuple[str, ...]
    """Each has some but not all of the texts."""
    texts: tuple[str, ...]
    own: Bools
    """(n_texts, n_concepts): which text is labelled with which concept."""
    scores: Floats
    """(n_texts, n_concepts), centred cosine."""
    neutral_scores: Floats
    """(n_neutral_texts, n_concepts)."""
    random_scores: Floats
    """(n_texts, n_random), cosines with directions of no meaning."""
    word_scores: Floats | None
    """(n_texts, n_concepts), log odds of the bag of words."""

    def __post_init__(self) -> None:
        counts = self.own.sum(axis=0)
        if not ((counts > 0) & (counts < len(self.texts))).all():
            raise ValueError("every concept needs texts of its own and of others")

    @property
    def best_own(self) -> Floats:
        """Highest score of the concepts a text is labelled with, -inf without any, (n_texts,)."""
        best: Floats = np.where(self.own, self.scores, -np.inf).max(axis=1)
        return best

    @property
    def rivals(self) -> Floats:
        """(n_texts, n_concepts): scores of the concepts a text is not labelled with, else -inf."""
        rivals: Floats = np.where(self.own, -np.inf, self.scores)
        return rivals

    def worst_misses(self, most: int = WORST) -> tuple[Miss, ...]:
        """The texts on which another concept won by most."""
        own, rivals = self.best_own, self.rivals
        rival = rivals.max(axis=1)
        missed = self.own.any(axis=1) & (rival >= own)
        margin = np.where(missed, rival - np.where(missed, own, 0), -np.inf)
        worst = np.argsort(-margin, kind="stable")[: min(most, int(missed.sum()))]
        return tuple(
            Miss(
                text=self.texts[i],
                concepts=tuple(
                    c for c, is_own in zip(self.concepts, self.own[i], strict=True) if is_own
                ),
                score=float(own[i]),
                rival=self.concepts[int(rivals[i].argmax())],
                rival_score=float(rival[i]),
            )
            for i in worst.tolist()
        )
