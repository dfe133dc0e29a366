"""What the texts of a library contain, and whose they are: words, openings, concepts' own names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from readout_ui.pairs import TextGroups
from readout_ui.sentences import opening
from readout_ui.word_forms import concept_words, words_of

Bools = npt.NDArray[np.bool_]
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
