"""Near-duplicate texts: which share most of their words, in whatever order.

A text becomes a string with one character per word, sorted; rapidfuzz's ratio of two such strings
is the share of words in common (twice the common words over all words). On the 312 shipped texts
no two share more than half; characters instead of words were 5 times slower and told less.
"""

import functools
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from readout_ui.word_forms import words_of

NEAR = 70.0
"""Percent of words in common from which two texts count as nearly the same."""

_PLANE = 0x10000
_N_CODES = 0x100000


@dataclass(frozen=True)
class Pair:
    """Two texts that are nearly the same."""

    text: int
    """Index of the text that was checked."""
    other: int
    """Index of the one it is like."""
    percent: float
    """Words in common, NEAR..100."""
    same: bool
    """Equal but for case, punctuation and spacing."""


def near_pairs(texts: Sequence[str], n_checked: int | None = None) -> list[Pair]:
    """For each checked text the most similar other one, if they are nearly the same.

    Args:
        texts: those to check first, then those that they are only compared with.
        n_checked: how many are checked, None: all. A pair of two checked texts is reported once,
            at the later one.
    """
    # Imported here: descriptions are edited and --help is printed without it.
    import numpy as np
    from rapidfuzz import fuzz, process

    codes = [_word_codes(text) for text in texts]
    checked = codes if n_checked is None else codes[:n_checked]
    if not checked:
        return []
    percents = process.cdist(
        checked, codes, scorer=fuzz.ratio, score_cutoff=NEAR, dtype=np.float32
    )  # (n_checked, n_texts)
    n = len(checked)
    percents[:, :n][np.triu_indices(n)] = 0.0
    closest = percents.argmax(axis=1)  # (n_checked,)
    return [
        _pair(texts, i, int(j), float(percents[i, j]))
        for i, j in enumerate(closest)
        if percents[i, j] >= NEAR and codes[i]
    ]


def _pair(texts: Sequence[str], text: int, other: int, percent: float) -> Pair:
    return Pair(text, other, percent, words_of(texts[text]) == words_of(texts[other]))


@functools.lru_cache(maxsize=20_000)
def _word_codes(text: str) -> str:
    return "".join(sorted(map(_code, words_of(text))))


@functools.lru_cache(maxsize=100_000)
def _code(word: str) -> str:
    # crc32 and not hash(): the same findings in every process.
    return chr(_PLANE + zlib.crc32(word.encode("utf-8", "replace")) % _N_CODES)
