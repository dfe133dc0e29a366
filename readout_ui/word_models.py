"""What words alone know of each concept: a ridge regression on which words a text has."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import lapack

from readout_ui.auroc import Floats, auroc
from readout_ui.text_contents import LabelledTexts
from readout_ui.word_forms import concept_words

TOP_WORDS = 5
_RIDGE = 1.0


@dataclass(frozen=True)
class WordEvidence:
    """A word the bag-of-words model relies on."""

    word: str
    weight: float
    """Its weight in the ridge regression on word presence."""
    inside: int
    """Descriptions of the concept that contain it."""
    outside: int
    """Other texts that do."""


@dataclass(frozen=True)
class WordModel:
    """What words alone know of one concept."""

    concept: str
    auroc: float
    """Of descriptions left out in turn against all other texts; 0.5 is chance, NaN untested."""
    top: tuple[WordEvidence, ...]
    """Strongest first, without the concept's own name."""
    own_word: int
    """Descriptions that name the concept in any form."""
    of: int


def word_models(library: LabelledTexts) -> tuple[WordModel, ...]:
    """One ridge regression on word presence for all concepts, each text scored left out."""
    matrix = library.words.matrix
    n = len(library.texts)
    targets = library.own - library.own.mean(axis=0)  # (n_texts, n_concepts)
    gram = (matrix @ matrix.T).toarray()  # (n_texts, n_texts)
    gram -= gram.mean(axis=0)
    gram -= gram.mean(axis=1, keepdims=True)
    inverse = _inverse(gram + _RIDGE * np.eye(n))
    dual = inverse @ targets  # (n_texts, n_concepts)
    left_out = targets - dual / np.diag(inverse)[:, None]
    weights = matrix.T @ (dual - dual.mean(axis=0))  # (n_words, n_concepts)
    areas = auroc(left_out, library.own)
    inside = matrix.T @ library.own.astype(np.float64)  # (n_words, n_concepts)
    totals = matrix.sum(axis=0)  # (n_words,)
    named = concept_words(library.concepts)
    naming = [set().union(*named.found_in(text).values()) for text in library.texts]
    return tuple(
        WordModel(
            concept=name,
            auroc=float(areas[c]),
            top=_top_words(library, c, weights[:, c], inside[:, c], totals),
            own_word=sum(name in naming[i] for i in np.flatnonzero(library.own[:, c])),
            of=int(library.counts[c]),
        )
        for c, name in enumerate(library.concepts)
    )


def _inverse(matrix: Floats) -> Floats:
    """Of a symmetric positive definite matrix, by its Cholesky factor."""
    factor, _ = lapack.spotrf(matrix.astype(np.float32))
    upper, _ = lapack.spotri(factor, overwrite_c=True)
    upper = np.triu(upper).astype(np.float64)
    inverse: Floats = upper + np.triu(upper, 1).T
    return inverse


def _top_words(
    library: LabelledTexts, concept: int, weights: Floats, inside: Floats, totals: Floats
) -> tuple[WordEvidence, ...]:
    words = library.words.things
    n_kept = min(len(words), TOP_WORDS + len(library.names[concept]))
    order = np.argpartition(-weights, n_kept - 1)[:n_kept]
    order = order[np.argsort(-weights[order], kind="stable")]
    return tuple(
        WordEvidence(words[i], float(weights[i]), int(inside[i]), int(totals[i] - inside[i]))
        for i in order
        if words[i] not in library.names[concept] and weights[i] > 0
    )[:TOP_WORDS]
