"""Shortcuts: words, openings, lengths and punctuation that give a concept away by themselves.

A direction may learn these instead of the meaning. Nothing here reads a model; whether a word is
setting or meaning is for a person to say. Words and openings are tested by Fisher's exact test
(one-sided: more often in the concept's texts than elsewhere), lengths and punctuation by permuting
which text belongs to which concept; both are corrected for everything that was tested.

What the texts of a library contain, and whose they are: words, openings, concepts' own names.

What words alone know of each concept: a ridge regression on which words a text has.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import stats
from scipy.linalg import lapack
from scipy.sparse import csr_array

from readout_ui.texts.words import concept_words, count_sentences, opening, words_of
from readout_ui.vectors.auroc import Floats, auroc
from readout_ui.vectors.blas import single_thread
from readout_ui.vectors.groups import TextGroups

_OPENING_WORDS = (2, 3)


class LabelledTexts:
    """The members of all groups and what each of them contains."""

    def __init__(self, texts: tuple[str, ...], groups: TextGroups) -> None:
        self.texts, self.concepts = texts, groups.concepts
        members = (*groups.rows, groups.neutral)
        self.starts = np.cumsum([0, *(len(rows) for rows in members)])
        group = np.repeat(np.arange(len(members)), [len(rows) for rows in members])
        self.own: Bools = group[:, None] == np.arange(len(self.concepts))  # (n_texts, n_concepts)
        self.counts = self.own.sum(axis=0)  # (n_concepts,)

    @cached_property
    def words(self) -> Presence:
        """Which word is in which text."""
        return _presence([set(words_of(text)) for text in self.texts])

    @cached_property
    def openings(self) -> Presence:
        """Which opening each text has."""
        return _presence([{opening(text, n) for n in _OPENING_WORDS} - {""} for text in self.texts])

    @cached_property
    def names(self) -> tuple[frozenset[str], ...]:
        """For each concept the words of its own name in all forms."""
        table = concept_words(self.concepts).names
        return tuple(
            frozenset(word for form, whose in table.items() if name in whose for word in form)
            for name in self.concepts
        )


@dataclass(frozen=True, eq=False)
class Presence:
    """A 0/1 matrix of texts and the things they contain."""

    things: tuple[str, ...]
    matrix: csr_array
    """(n_texts, n_things)."""


def _presence(contents: Sequence[set[str]]) -> Presence:
    things = sorted(set().union(*contents))
    column = {thing: i for i, thing in enumerate(things)}
    indices = [column[thing] for some in contents for thing in sorted(some)]
    starts = np.cumsum([0, *(len(some) for some in contents)])
    shape = (len(contents), len(things))
    return Presence(tuple(things), csr_array((np.ones(len(indices)), indices, starts), shape))


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
    aurocs = auroc(left_out, library.own)
    inside = matrix.T @ library.own.astype(np.float64)  # (n_words, n_concepts)
    totals = matrix.sum(axis=0)  # (n_words,)
    named = concept_words(library.concepts)
    naming = [set().union(*named.found_in(text).values()) for text in library.texts]
    return tuple(
        WordModel(
            concept=name,
            auroc=float(aurocs[c]),
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


Kind = Literal["word", "opening", "length", "punctuation"]
Bools = npt.NDArray[np.bool_]

FALSE_ALARM = 0.05
"""At most this part of libraries whose words, lengths and marks are shuffled has any
finding of one family (words and openings; lengths and punctuation)."""
_N_PERMUTATIONS = 1999
_MARKS = {"?": "[?]", "!": "!", "…": "…|\\.\\.\\.", "—": "[—–]", ",": ",", ";": ";", ":": ":"}
_QUOTES = '["“”„«»]'


@dataclass(frozen=True)
class Shortcut:
    """Something countable that tells a concept's descriptions from all others."""

    concept: str
    kind: Kind
    what: str
    """The word, the opening, the mark, or "words" or "sentences" for a length."""
    inside: float
    """Descriptions of the concept that have it; for lengths and marks: the mean number."""
    of: int
    """Descriptions of the concept."""
    outside: float
    """All other texts that have it; for lengths and marks: their mean number."""
    of_outside: int
    p: float
    """Corrected for everything of its family that was tested."""
    indices: tuple[int, ...]
    """Which descriptions of the concept have it; all of them for lengths and marks."""

    def sentence(self) -> str:
        """The finding with its numbers."""
        if self.kind in {"word", "opening"}:
            begin = "begin with" if self.kind == "opening" else "contain"
            return (
                f"{self.inside:.0f} of {self.of} descriptions {begin} “{self.what}”, "
                f"{self.outside:.0f} of the {self.of_outside} other texts do."
            )
        unit = self.what if self.kind == "length" else f"“{self.what}”"
        return f"Mean {unit} per text: {self.inside:.1f}, elsewhere {self.outside:.1f}."


@dataclass(frozen=True)
class Shortcuts:
    """The whole library's."""

    found: tuple[Shortcut, ...]
    """Significant ones, smallest p first; never a concept's own name."""
    models: tuple[WordModel, ...]
    """One per concept, in their order."""


def find_shortcuts(texts: Sequence[str], groups: TextGroups, seed: int = 0) -> Shortcuts:
    """Look for shortcuts in all texts of a library.

    Args:
        texts: those that the groups' rows count.
        groups: which text belongs to which concept; neutral texts are others of every concept.
        seed: of the permutations.
    """
    library = LabelledTexts(tuple(texts[row] for row in groups.all_rows()), groups)
    found = [*_presence_findings(library), *_measure_findings(library, seed)]
    with single_thread():
        models = word_models(library)
    return Shortcuts(tuple(sorted(found, key=lambda s: (s.p, s.concept))), models)


shortcuts_of = lru_cache(maxsize=3)(find_shortcuts)  # of a run at every layer, and of the editor


def _presence_findings(library: LabelledTexts) -> list[Shortcut]:
    kinds: Mapping[Kind, Presence] = {"word": library.words, "opening": library.openings}
    tested = {kind: _fisher(library, presence) for kind, presence in kinds.items()}
    n_tests = sum(n for _, _, n in tested.values())
    found = []
    for kind, (p, inside, _) in tested.items():
        outside = kinds[kind].matrix.sum(axis=0) - inside  # (n_concepts, n_things)
        for concept, thing in np.argwhere(p * max(1, n_tests) <= FALSE_ALARM):
            what = kinds[kind].things[thing]
            if library.names[concept] & set(words_of(what)):
                continue
            start = library.starts[concept]
            has = kinds[kind].matrix[:, [thing]].toarray()[start : library.starts[concept + 1], 0]
            found.append(
                Shortcut(
                    concept=library.concepts[concept],
                    kind=kind,
                    what=what,
                    inside=float(inside[concept, thing]),
                    of=int(library.counts[concept]),
                    outside=float(outside[concept, thing]),
                    of_outside=int(len(library.texts) - library.counts[concept]),
                    p=float(p[concept, thing] * n_tests),
                    indices=tuple(np.flatnonzero(has).tolist()),
                )
            )
    return _longest_openings(found)


def _longest_openings(found: list[Shortcut]) -> list[Shortcut]:
    """Without the openings that only begin another one of the same texts."""

    def shadowed(one: Shortcut) -> bool:
        return any(
            one.kind == other.kind == "opening"
            and one is not other
            and one.concept == other.concept
            and other.what.startswith(f"{one.what} ")
            and other.indices == one.indices
            for other in found
        )

    return [one for one in found if not shadowed(one)]


def _fisher(library: LabelledTexts, presence: Presence) -> tuple[Floats, Floats, int]:
    """Chance of so many texts of a concept with a thing, were labels shuffled.

    Pairs that could not be significant however the labels fell (Tarone 1990) are not counted.

    Returns:
        p and counts, (n_concepts, n_things), and the number of tests to correct for.
    """
    inside = (presence.matrix.T @ library.own.astype(np.float64)).T  # (n_concepts, n_things)
    totals = presence.matrix.sum(axis=0)  # (n_things,)
    n = len(library.texts)
    sizes = library.counts[:, None]
    most = np.minimum(totals, sizes)
    best = _tails(n, totals, sizes, most)  # the smallest p there can be
    n_tests = 1
    while n_tests < best.size and np.count_nonzero(best <= FALSE_ALARM / n_tests) > n_tests:
        n_tests = max(n_tests + 1, min(2 * n_tests, best.size))
    testable = best <= FALSE_ALARM / n_tests
    p = np.ones(inside.shape)
    p[testable] = _tails(n, totals, sizes, inside)[testable]
    return p, inside, n_tests


def _tails(n: int, totals: Floats, sizes: Floats, inside: Floats) -> Floats:
    """P(at least `inside` of a thing's `totals` fall among `sizes` of n texts).

    Few different triples occur, so each is worked out once.
    """
    totals, sizes, inside = np.broadcast_arrays(totals, sizes, inside)
    codes = (totals * (n + 1) + sizes) * (n + 1) + inside
    _, first, places = np.unique(codes, return_index=True, return_inverse=True)
    once = (values.ravel()[first] for values in (inside - 1, totals, sizes))
    inside_once, totals_once, sizes_once = once
    tails = stats.hypergeom.sf(inside_once, n, totals_once, sizes_once)
    spread: Floats = tails[places].reshape(codes.shape)
    return spread


def _measure_findings(library: LabelledTexts, seed: int) -> list[Shortcut]:
    values, names = _measures(library.texts)  # (n_texts, n_measures)
    varies = values.std(axis=0) > 0
    values, names = values[:, varies], [name for name, v in zip(names, varies, strict=True) if v]
    if not names:
        return []
    p, _ = permutation_p(values, library.own, seed)  # (n_concepts, n_measures)
    found = []
    for concept, measure in np.argwhere(p <= FALSE_ALARM):
        own = library.own[:, concept]
        kind, what = names[measure]
        found.append(
            Shortcut(
                concept=library.concepts[concept],
                kind=kind,
                what=what,
                inside=float(values[own, measure].mean()),
                of=int(own.sum()),
                outside=float(values[~own, measure].mean()),
                of_outside=int((~own).sum()),
                p=float(p[concept, measure]),
                indices=tuple(range(int(own.sum()))),
            )
        )
    return found


def _measures(texts: Sequence[str]) -> tuple[Floats, list[tuple[Kind, str]]]:
    marks = {**_MARKS, "quotation marks": _QUOTES}
    columns: dict[tuple[Kind, str], list[int]] = {
        ("length", "words"): [len(words_of(text)) for text in texts],
        ("length", "sentences"): [count_sentences(text) for text in texts],
    }
    for mark, pattern in marks.items():
        columns[("punctuation", mark)] = [len(re.findall(pattern, text)) for text in texts]
    return np.array(list(columns.values()), dtype=np.float64).T, list(columns)


def permutation_p(values: Floats, own: Bools, seed: int) -> tuple[Floats, Floats]:
    """Two-sided p that a concept's texts rank higher or lower than others on a measure.

    Corrected by the largest statistic of each permutation (Westfall and Young), so that the
    measures' dependence costs nothing.

    Args:
        values: (n_texts, n_measures), each column varying.
        own: (n_texts, n_concepts), True where a text belongs to the concept.
        seed: of the permutations.

    Returns:
        p and standardized rank differences, (n_concepts, n_measures).
    """
    ranks = stats.rankdata(values, axis=0)  # (n_texts, n_measures)
    ranks = (ranks - ranks.mean(axis=0)) / ranks.std(axis=0)
    n = len(ranks)
    sizes = own.sum(axis=0)
    usual = np.maximum(np.sqrt(np.maximum(sizes * (n - sizes) / max(n - 1, 1), 0)), 1e-9)
    members = csr_array((own / usual).T)  # (n_concepts, n_texts)
    observed: Floats = members @ ranks  # (n_concepts, n_measures)
    draws = np.random.default_rng(seed)
    largest = np.array(
        [np.abs(members @ ranks[draws.permutation(n)]).max() for _ in range(_N_PERMUTATIONS)]
    )
    largest.sort()
    at_least = len(largest) - np.searchsorted(largest, np.abs(observed) - 1e-9)
    p: Floats = (1 + at_least) / (1 + len(largest))
    return p, observed
