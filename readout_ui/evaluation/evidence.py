"""What judges a run in its report: texts that it was not trained on, read in pieces, with scores.

Texts of the shipped test set judge the concepts they name; the others are judged by their own
texts, each scored on directions that were fitted without its fold.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from readout_ui.evaluation.crosstalk import cosine_matrix
from readout_ui.evaluation.generalization import (
    NO_EMBEDDING,
    SortedTexts,
    baselines,
    sort_texts,
)
from readout_ui.evaluation.judgements import beside
from readout_ui.evaluation.layers import FOLDS, held_out_scores
from readout_ui.evaluation.resampling import (
    Estimate,
    auroc_estimate,
    bootstrap_weights,
    direction_auroc,
    weighted_auroc,
)
from readout_ui.evaluation.scored_texts import compared, mean_of_known
from readout_ui.progress import finished
from readout_ui.runs.report import PairReport, PairVerdict
from readout_ui.texts.labelled import mapping_of, read_shipped, suggest_mapping
from readout_ui.texts.shipped import fitting_library
from readout_ui.vectors import sentence_embedding
from readout_ui.vectors.auroc import Bools, Floats, auroc
from readout_ui.vectors.cross_validation import assign_folds, can_be_scored

if TYPE_CHECKING:
    from readout_ui.evaluation.results import CosineMatrix
    from readout_ui.inference.readout import Readout

N_RANDOM, N_DRAWS = 100, 400
AT_ONCE = 16
"""Texts that are read in one piece: a fraction of a second of a small model on a processor."""
CONFUSED = 0.75
"""Two concepts are confused whose held-out texts are told apart in fewer pairs of texts."""
FEWEST = 2
"""Concepts that the shipped texts have to name, to be asked at all."""


@dataclass(frozen=True)
class Estimates:
    """How well one concept, or all of them in the mean, is read beside baselines."""

    auroc: Estimate | None
    n_texts: int
    words: float | None
    embedding: float | None
    random: float | None

    def ends(self) -> tuple[float | None, float | None, float | None]:
        """AUROC, lower and upper end of its interval."""
        found = self.auroc
        return (found.value, found.low, found.high) if found else (None, None, None)


NO_EVIDENCE = Estimates(None, 0, None, None, None)
"""Of a concept that no held-out text judges."""


@dataclass(frozen=True, eq=False)
class Evidence:
    """Held-out texts with labels and scores."""

    name: str
    """What they are, such as "432 shipped texts"."""
    concepts: tuple[str, ...]
    """Those that have texts of their own and of others."""
    texts: tuple[str, ...]
    own: Bools
    """(n_texts, n_concepts)."""
    scores: Floats
    """(n_texts, n_concepts), centred cosine."""
    random: Floats
    """(n_texts, N_RANDOM): along directions of no meaning."""
    words: Floats | None = None
    """(n_texts, n_concepts): a bag of words of the same descriptions."""
    embedding: Floats | None = None
    """(n_texts, n_concepts): a sentence embedding."""

    @cached_property
    def weights(self) -> Floats:
        """Resamples of the texts, (n_texts, N_DRAWS)."""
        return bootstrap_weights(self.own, N_DRAWS, 0)

    @cached_property
    def drawn(self) -> Floats:
        """AUROCs of the resamples, (N_DRAWS, n_concepts)."""
        return weighted_auroc(self.scores, self.own, self.weights)

    @cached_property
    def _columns(self) -> dict[str, Floats]:
        """AUROC by concept of the scores and of each baseline, (n_concepts,)."""
        known = {"own": self.scores, "words": self.words, "embedding": self.embedding}
        found = {k: auroc(scores, self.own) for k, scores in known.items() if scores is not None}
        return found | {"random": direction_auroc(self.random, self.own).mean(axis=0)}

    def per_concept(self) -> dict[str, Estimates]:
        """By concept."""
        n_own = self.own.sum(axis=0)
        return {
            name: self._estimates(
                {key: float(column[i]) for key, column in self._columns.items()},
                self.drawn[:, i],
                int(n_own[i]),
            )
            for i, name in enumerate(self.concepts)
        }

    def macro(self) -> Estimates:
        """Means over the concepts."""
        means = {key: float(column.mean()) for key, column in self._columns.items()}
        return self._estimates(means, mean_of_known(self.drawn), len(self.texts))

    def beside(self) -> tuple[str, ...]:
        """What each baseline reaches, with the paired interval of the difference, in sentences."""
        said: list[str] = []
        found = float(self._columns["own"].mean())
        drawn = mean_of_known(self.drawn)
        for name, key in (("A bag of words", "words"), ("A sentence embedding", "embedding")):
            scores = getattr(self, key)
            if scores is not None:
                resampled = weighted_auroc(scores, self.own, self.weights)
                rival = compared(found, drawn, self._columns[key], resampled, len(self.texts))
                said += beside(name, *rival)
        if self.words is not None and self.embedding is None:
            said.append(NO_EMBEDDING)
        return tuple(said)

    @staticmethod
    def _estimates(values: dict[str, float], drawn: Floats, n_texts: int) -> Estimates:
        found = auroc_estimate(values["own"], drawn, n_texts)
        beside = values.get("words"), values.get("embedding")
        return Estimates(found, n_texts, *beside, values["random"])

    def told_apart(self, first: str, second: str) -> float | None:
        """AUROC of the difference of two scores over the texts of either concept.

        None where one of the two has no text here that the other has not.
        """
        if not {first, second} <= set(self.concepts):
            return None
        a, b = self.concepts.index(first), self.concepts.index(second)
        either = self.own[:, a] != self.own[:, b]
        labels, difference = self.own[either, a], self.scores[either, a] - self.scores[either, b]
        mine, others = difference[labels], difference[~labels]
        if not (len(mine) and len(others)):
            return None
        above = np.sign(mine[:, None] - others).mean()  # few texts: ranks would cost more
        return round(float(1 + above) / 2, 4)

    def read_as(self, concept: str) -> Counter[str]:
        """For its texts that score higher on another concept: how many on which."""
        own = self.own[:, self.concepts.index(concept)]
        best = self.scores[own].argmax(axis=1)
        rivals = np.flatnonzero(own)[~self.own[own, best]]
        return Counter(self.concepts[int(i)] for i in self.scores[rivals].argmax(axis=1))


def gather(
    readout: Readout, layer: int, *, beside: bool = True
) -> Generator[None, None, tuple[Evidence, ...]]:
    """Everything that can judge a run: shipped texts first, then its own for the rest.

    Args:
        readout: the run with its model.
        layer: one of its layers.
        beside: whether bag of words and sentence embedding are asked as well.

    Yields:
        Nothing, between two pieces of work.
    """
    shipped = yield from _shipped(readout, layer, beside)
    named = set(shipped.concepts) if shipped else set()
    own = None
    if readout.texts and not named >= set(readout.concepts):
        own = _left_out(readout, layer)
        yield
    return tuple(each for each in (shipped, own) if each is not None)


def shipped_texts(readout: Readout) -> SortedTexts | None:
    """The shipped texts that name concepts of a run; None where too few are named."""
    library = fitting_library(readout.concepts)
    labelled = read_shipped("situations", "dialogue", "neutral", library=library)
    suggested = suggest_mapping((each.labels[0] for each in labelled), readout.concepts)
    mapping = mapping_of(suggested)
    if len(set(mapping.values()) & set(readout.concepts)) < FEWEST:
        return None
    return sort_texts(labelled, mapping, readout.concepts, readout.texts)


def _shipped(readout: Readout, layer: int, beside: bool) -> Generator[None, None, Evidence | None]:
    texts = shipped_texts(readout)
    if texts is None:
        return None
    for start in range(0, len(texts.counted), AT_ONCE):
        readout.activations(texts.counted[start : start + AT_ONCE], layer)
        yield
    read = readout.activations(texts.counted, layer)
    columns = [readout.concepts.index(name) for name in texts.concepts]
    words = embedding = None
    if beside:
        yield from _embed(readout, texts)
        words, embedding, _ = baselines(readout, texts)
    return Evidence(
        name=f"{len(texts.counted)} shipped texts",
        concepts=texts.concepts,
        texts=texts.counted,
        own=texts.own,
        scores=readout.score(read, layer)[:, columns],
        random=readout.score_randomly(read, layer, N_RANDOM, 0),
        words=words,
        embedding=embedding,
    )


def _embed(readout: Readout, texts: SortedTexts) -> Generator[None, None, None]:
    """Have the sentence embedding read everything, a little at a time."""
    folder = sentence_embedding.model_folder()
    trained: list[str] = [text for some in readout.texts.values() for text in some]
    if folder is None or not trained:
        return
    every: Sequence[str] = sorted({*trained, *texts.counted}, key=len)
    for start in range(0, len(every), AT_ONCE):
        sentence_embedding.embed(every[start : start + AT_ONCE], folder)
        yield


def _left_out(readout: Readout, layer: int) -> Evidence | None:
    """The run's own texts, each scored by directions that never saw its fold."""
    corpus = readout.corpus()
    assignment = assign_folds(corpus.groups, FOLDS, corpus.settings.seed)
    kept = can_be_scored(assignment)
    if not kept.any():
        return None
    scored = assignment.scored
    group, rows = assignment.group[scored], assignment.rows[scored]
    scores = held_out_scores(corpus, layer, assignment, corpus.mapped_method)
    own: Bools = group[:, None] == np.arange(len(kept))  # (n_held_out, n_concepts)
    read = corpus.pooled[rows.tolist(), layer]
    return Evidence(
        name="descriptions left out in turn" if not readout.run.source else "texts left out",
        concepts=tuple(np.array(corpus.groups.concepts)[kept].tolist()),
        texts=tuple(corpus.texts[row] for row in rows),
        own=own[:, kept],
        scores=scores[:, kept],
        random=readout.score_randomly(read, layer, N_RANDOM, 0),
    )


def pairs_at(readout: Readout, layer: int | None) -> tuple[PairReport, ...]:
    """The pairs of a run's directions beyond chance at a layer, as its report has them at the best.

    Args:
        readout: the run with its model.
        layer: one of its layers; None for the mean over all of the model, where no text judges.

    Raises:
        UserError: the texts of the training are not there.
    """
    from readout_ui.evaluation.public import own_directions

    own = own_directions(readout)
    cosines = cosine_matrix(readout.corpus(), layer, report=readout.report, own=own)
    evidence = () if layer is None else finished(gather(readout, layer, beside=False))
    return pairs_beyond_chance(cosines, evidence)


def pairs_beyond_chance(
    cosines: CosineMatrix, evidence: Sequence[Evidence]
) -> tuple[PairReport, ...]:
    """All pairs whose directions are nearer or further than chance, confused ones first."""
    rows, columns = np.nonzero(np.triu(cosines.differs, k=1))
    found = [
        _pair(cosines, a, b, evidence) for a, b in zip(rows.tolist(), columns.tolist(), strict=True)
    ]
    return tuple(sorted(found, key=lambda p: (p.verdict != "confused", -abs(p.cosine))))


def _pair(cosines: CosineMatrix, a: int, b: int, evidence: Sequence[Evidence]) -> PairReport:
    first, second = cosines.concepts[a], cosines.concepts[b]
    told = (each.told_apart(first, second) for each in evidence)
    auroc = next((one for one in told if one is not None), None)
    cosine = float(cosines.cosine[a, b])
    margin = float(cosines.high[a, b] - cosines.low[a, b]) / 2
    return PairReport(
        first, second, round(cosine, 4), round(margin, 4), auroc, pair_verdict(cosine, auroc)
    )


def pair_verdict(cosine: float, auroc: float | None) -> PairVerdict:
    """What to make of two directions whose cosine is beyond chance.

    Args:
        cosine: of the two.
        auroc: how well their held-out texts are told apart; None where none judges both.
    """
    if cosine < 0:
        return "opposed"
    if auroc is None:
        return "not judged"
    return "confused" if auroc < CONFUSED else "told apart"
