"""Advice: at most five things to change in the descriptions, each with its evidence.

Every piece of advice rests on a test whose false alarms are corrected within its kind, so that of
libraries with nothing wrong at most FALSE_ALARM per kind are given any. Strength is how far the
evidence lies beyond chance, in standard deviations, so that kinds can be compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy import stats

from readout_ui.evaluation.cohesion import (
    Alignment,
    Halves,
    Pair,
    alignments,
    halves,
    nearest_pairs,
)
from readout_ui.evaluation.influence import Influence, influences_of
from readout_ui.evaluation.left_out import LayerTexts, layer_texts, leave_out
from readout_ui.evaluation.misfits import Misfits, find_misfits
from readout_ui.evaluation.results import Floats, Rows
from readout_ui.evaluation.shortcuts import Shortcut, Shortcuts, shortcuts_of
from readout_ui.vectors.blas import single_thread

if TYPE_CHECKING:
    import pandas as pd

    from readout_ui.evaluation.results import Redundancy
    from readout_ui.vectors.training import Corpus

AdviceKind = Literal["merge", "split", "add", "contrast", "remove", "look"]
ActionKind = Literal["open", "delete", "draft"]

FALSE_ALARM = 0.01
"""Per kind of advice (five tests): at most one clean library in twenty gets any."""
MOST = 5
MOST_OF_A_KIND = 2
COMMON_PART = 0.5
"""A word or opening is worth a contrast from this part of a concept's descriptions up."""
_STRONGEST = 12.0


@dataclass(frozen=True)
class Action:
    """What one click does."""

    kind: ActionKind
    """open: show the description; delete: take it out (Undo brings it back); draft: a new empty
    box in `concept` with `hint` beside it."""
    concept: str
    index: int | None
    """Which description; None for the concept as a whole and for drafts."""
    text: str = ""
    """The description's text, by which it is found when the file has changed meanwhile."""
    hint: str = ""
    """What to write, for drafts."""


@dataclass(frozen=True)
class Advice:
    """One thing to change, why, and the click that begins it."""

    kind: AdviceKind
    title: str
    """What to do, without a full stop."""
    evidence: str
    """The numbers behind it, one sentence."""
    concept: str
    index: int | None
    strength: float
    """Standard deviations beyond chance, at most 12."""
    action: Action


@dataclass(frozen=True, repr=False)
class Judged:
    """Everything about the descriptions at one layer."""

    layer: int
    influences: Rows[Influence]
    """One per description of every concept."""
    shortcuts: Shortcuts
    advice: Rows[Advice]
    """At most five, strongest first."""

    def to_frame(self) -> pd.DataFrame:
        """The advice: `kind`, `title`, `evidence`, `concept`, `index`, `strength` in standard
        deviations beyond chance."""
        return self.advice.to_frame()

    def __repr__(self) -> str:
        return f"<{len(self.advice)} pieces of advice at layer {self.layer}>"


def judge_descriptions(
    corpus: Corpus,
    layer: int,
    redundant: Sequence[Redundancy] = (),
    misfits: Misfits | None = None,
) -> Judged:
    """Influence, shortcuts and advice from a run's texts and their activations at one layer.

    Args:
        corpus: the run's texts with their activations.
        layer: which layer, from 0.
        redundant: what `redundancy` found, quoted as further evidence for a merge.
        misfits: what `find_misfits` gives; None finds them.
    """
    with single_thread():
        texts = layer_texts(corpus, layer)
        left_out = leave_out(texts)
        influences = influences_of(texts, left_out, corpus, misfits or find_misfits(corpus))
        # Whether concepts are one thing is asked of the texts: a covariance that was estimated from
        # them has already explained away part of what they differ by.
        plain = layer_texts(corpus, layer, "mean")
        pairs = nearest_pairs(plain, left_out.standard)
        sorts = halves(plain)
    shortcuts = shortcuts_of(corpus.texts, corpus.groups)
    found = [
        *_about_pairs(pairs, {r.concept: r.r2 for r in redundant}),
        *_about_texts(influences),
        *_about_halves(sorts, influences, pairs),
        *_about_alignment(alignments(plain)),
        *_about_shortcuts(shortcuts.found, influences, _nearest_others(plain)),
    ]
    return Judged(layer, influences, shortcuts, strongest(found))


def strongest(found: Iterable[Advice]) -> Rows[Advice]:
    """The five strongest, no more than two of a kind."""
    kept: list[Advice] = []
    for advice in sorted(found, key=lambda a: (-a.strength, a.concept, a.index or 0)):
        if sum(a.kind == advice.kind for a in kept) < MOST_OF_A_KIND:
            kept.append(advice)
    return Rows(kept[:MOST])


def _strength(p: float) -> float:
    return float(min(_STRONGEST, stats.norm.isf(max(p, 1e-300))))


def _about_pairs(pairs: Sequence[Pair], r2: dict[str, float]) -> Iterable[Advice]:
    for pair in pairs:
        if not pair.same or pair.p > FALSE_ALARM:
            continue
        rest = ""
        if pair.first in r2:
            rest = f"; the other concepts explain {r2[pair.first]:.0%} of {pair.first}"
        yield Advice(
            "merge",
            f"Merge {pair.first} and {pair.second}, or write what sets them apart",
            f"With endless descriptions the cosine of the two would be about "
            f"{min(pair.cosine, 1.0):.2f} (standard error {pair.error:.2f}), and held out only "
            f"{pair.told_apart:.0%} of their descriptions are nearer to their own{rest}.",
            pair.first,
            None,
            _strength(pair.p),
            Action("open", pair.second, None),
        )


def _about_texts(influences: Sequence[Influence]) -> Iterable[Advice]:
    for one in influences:
        if one.p > FALSE_ALARM:
            continue
        elsewhere = bool(one.like)
        kind: AdviceKind = "remove" if elsewhere else "look"
        begin = "Remove or rewrite" if elsewhere else "Look at"
        like = f"one of {one.like}" if elsewhere else "a neutral text"
        yield Advice(
            kind,
            f"{begin} description {one.index + 1} of {one.concept}: it reads like {like}",
            f"Held out it scores {one.own:.1f} on {one.concept}, where the others score "
            f"{one.siblings:.1f}, and its odds of belonging there lie {-one.margin:.1f} standard "
            f"deviations below the usual; its influence is {one.influence:.2f}.",
            one.concept,
            one.index,
            _strength(one.p),
            Action("delete" if elsewhere else "open", one.concept, one.index, one.text),
        )


def _about_halves(
    found: Sequence[Halves], influences: Sequence[Influence], pairs: Sequence[Pair]
) -> Iterable[Advice]:
    explained = {b.concept for b in influences if b.outlier}
    explained |= {n for p in pairs if p.same for n in (p.first, p.second) if p.p <= FALSE_ALARM}
    for one in found:
        if one.p > FALSE_ALARM or one.concept in explained or len(one.other) < 2:
            continue
        yield Advice(
            "split",
            f"Split {one.concept}: its descriptions are of two sorts",
            f"One line holds {one.share:.0%} of what its descriptions differ by, {one.usual:.0%} "
            f"is usual; on one side {_numbers(one.other)}, on the other {_numbers(one.one)}.",
            one.concept,
            one.other[0],
            _strength(one.p),
            Action("open", one.concept, one.other[0]),
        )


def _numbers(indices: Sequence[int]) -> str:
    *first, last = (str(i + 1) for i in indices)
    return f"{', '.join(first)} and {last}" if first else last


def _about_alignment(found: Sequence[Alignment]) -> Iterable[Advice]:
    for one in found:
        if one.p > FALSE_ALARM:
            continue
        evidence = (
            f"With {one.n_texts} the direction's cosine with that of endless descriptions is "
            f"about {one.cosine:.2f}; {2 * one.n_texts} would give about {one.doubled:.2f}."
        )
        if np.isnan(one.cosine):
            only = "one description" if one.n_texts == 1 else f"{one.n_texts} descriptions"
            evidence = f"It has {only}, too few to say how well its direction is known."
        yield Advice(
            "add",
            f"Add descriptions to {one.concept}",
            evidence,
            one.concept,
            None,
            _strength(max(one.p, 1e-6)),
            Action("draft", one.concept, None, hint="One more, in another setting than the others"),
        )


def _nearest_others(texts: LayerTexts) -> dict[str, str]:
    """For each concept the other one with the most alike direction."""
    k = texts.n_concepts
    if k < 2:
        return {}
    lengths = np.sqrt(np.maximum(np.diag(texts.sums)[:k], np.finfo(np.float64).tiny))
    cosines: Floats = texts.sums[:k, :k] / (lengths[:, None] * lengths)
    cosines[np.diag_indices(k)] = -np.inf
    names = texts.concepts
    return {names[a]: names[int(b)] for a, b in enumerate(cosines.argmax(axis=1))}


def _about_shortcuts(
    found: Sequence[Shortcut], influences: Sequence[Influence], nearest: dict[str, str]
) -> Iterable[Advice]:
    """One contrast per concept, for the word or opening most of its texts share."""
    seen: set[str] = set()
    for one in sorted(found, key=lambda s: (s.kind != "opening", s.p)):
        common = one.inside >= COMMON_PART * one.of
        if one.kind not in {"word", "opening"} or one.p > FALSE_ALARM or not common:
            continue
        if one.concept in seen or one.concept not in nearest:
            continue
        seen.add(one.concept)
        other = nearest[one.concept]
        yield Advice(
            "contrast",
            f"Add a contrast to {other} that keeps “{one.what}” and changes the feeling",
            f"{one.sentence()[:-1]}{_with_and_without(one, influences)}.",
            one.concept,
            one.indices[0],
            _strength(one.p),
            Action("draft", other, None, hint=f"Keep “{one.what}”, but feel {other}"),
        )


def _with_and_without(shortcut: Shortcut, influences: Sequence[Influence]) -> str:
    """Held-out scores of descriptions with the word and without it, where there are both."""
    own = [b for b in influences if b.concept == shortcut.concept and not np.isnan(b.own)]
    has = [b.own for b in own if b.index in shortcut.indices]
    lacks = [b.own for b in own if b.index not in shortcut.indices]
    if not has or not lacks:
        return ""
    return f"; held out, those with it score {np.mean(has):.1f}, those without {np.mean(lacks):.1f}"
