"""Pairs of concepts: where their matrix is painted, and two side by side with shared words."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from pydantic import Field

from readout_ui.app.events import Answer, Call, Request, answering
from readout_ui.app.session import Studio
from readout_ui.app.widgets import short
from readout_ui.runs.report import PairReport
from readout_ui.texts.names import holds_neutral_texts, is_neutral_name
from readout_ui.texts.words import words_of

OFTEN = 0.1
"""A word is common that texts of more than this part of the other concepts have too ..."""
FEW = 1
"""... where those are more than so many."""
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")


MATRIX = (
    "<section class='cosines'><header><h2>Cosines</h2><span class='small dim'><i class='box'></i>"
    "beyond chance</span><span class='sp'></span><span class='scale dim small'></span></header>"
    "<div class='mxwrap' tabindex='0' role='region' aria-label='Matrix of cosines'><canvas "
    "role='img' aria-label='Cosines of all directions, alike ones beside each other; the pairs "
    "beyond chance are in the list'></canvas></div><p class='told dim small' aria-hidden='true'>"
    "Point at a cell; click it for both texts.</p></section>"
)
"""Where a script paints a matrix of cosines."""


class Pair(Request):
    """Two concepts."""

    a: str = Field(max_length=1_000)
    b: str = Field(max_length=1_000)


def pair_rows(pairs: Sequence[PairReport]) -> list[list[object]]:
    """Pairs as the page's scripts take them."""
    return [[p.a, p.b, p.cosine, p.margin, p.auroc, p.verdict] for p in pairs]


def pair_call(studio: Studio) -> Call:
    """The server function that both lists of pairs ask for the texts of one."""
    return answering("pair_texts", Pair, lambda r: pair_texts(studio, r))


def pair_texts(studio: Studio, asked: Pair) -> Answer:
    """Verdict and texts of either concept, each text in parts of which every second is shared."""
    run, report = studio.run(), studio.report()
    shared = shared_words(run.texts, asked.a, asked.b)
    found = []
    for name in (asked.a, asked.b):
        known = report.concept(name) if report else None
        about = f"{known.verdict}, AUROC {short(known.auroc)}" if known else ""
        texts = [marked(text, shared) for text in run.texts.get(name, ())]
        found.append({"name": name, "texts": texts, "about": about})
    return {"sides": found, "shared": sorted(shared)}


def shared_words(texts: Mapping[str, Sequence[str]], a: str, b: str) -> frozenset[str]:
    """Words that texts of both concepts have and that are not common.

    Common are the words of neutral texts, and those that stand in texts of many other concepts.

    Args:
        texts: of the training, by concept, neutral ones included.
        a: a concept.
        b: another one.
    """
    held = {name: {w for text in some for w in words_of(text)} for name, some in texts.items()}
    neutral = set[str]().union(*(held[name] for name in held if holds_neutral_texts(name)))
    others = [held[name] for name in held if name not in (a, b) and not is_neutral_name(name)]
    most = max(FEW, OFTEN * len(others))
    both = (held.get(a, set()) & held.get(b, set())) - neutral
    return frozenset(word for word in both if sum(word in each for each in others) <= most)


def marked(text: str, shared: frozenset[str]) -> list[str]:
    """A text in parts: plain, marked, plain and so on; neighbouring shared words are one part."""
    parts: list[str] = []
    end = 0
    for word in _WORD.finditer(text):
        if word[0].casefold() not in shared:
            continue
        between, end_before, end = text[end : word.start()], end, word.end()
        if end_before and not between.strip():
            parts[-1] += between + word[0]
        else:
            parts += [between, word[0]]
    return [*parts, text[end:]]
