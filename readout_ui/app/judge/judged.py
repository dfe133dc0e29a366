"""What New texts in Judge says of what was judged: means, concepts, misses, words, doses."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING
from urllib.parse import quote

from readout_ui.app.widgets import bullets, minute, table
from readout_ui.evaluation.dose import DoseCurves
from readout_ui.evaluation.judgements import ConceptJudgement, Generalization, Macro, Miss
from readout_ui.evaluation.resampling import Estimate
from readout_ui.vectors.sentence_embedding import INSTALL

if TYPE_CHECKING:
    from readout_ui.app.judge.kept import KeptTexts
    from readout_ui.evaluation.lexical import LexicalControl

FIRST_CONCEPTS = 40
"""Concepts whose lines are in sight; those of the others are opened."""
CHANCE_EXPLAINS = 0.05
"""Corrected p from which a number is marked as not different from chance."""


def draw_summary(found: KeptTexts, title: str) -> str:
    """The means over all concepts with their baselines, and what to know about the texts.

    Args:
        found: what was judged.
        title: what the run is called that judged it.
    """
    macro = found.macro
    beside = [("Random directions", _interval(macro.random), "middle 95 % of them")]
    beside.append(("Permuted labels", _interval(macro.permuted), f"p {_p(macro.p)}"))
    if macro.words is not None and macro.gain is not None:
        gain = f"vectors minus words {_interval(macro.gain, signed=True)}"
        beside.insert(0, ("Bag of words, same descriptions", _interval(macro.words), gain))
    if macro.embedding is not None and macro.embedding_gain is not None:
        gain = f"vectors minus embedding {_interval(macro.embedding_gain, signed=True)}"
        row = ("Sentence embedding, same descriptions", _interval(macro.embedding), gain)
        beside.insert(0, row)
    elif macro.words is not None:
        beside.insert(0, ("Sentence embedding", "not installed", f"<code>{INSTALL}</code>"))
    rows = [
        ("<b>Vectors</b>", f"<b>{_interval(macro.auroc)}</b>", "macro AUROC; 0.5 is chance"),
        *beside,
        ("Average precision", f"{macro.average_precision:.3f}", f"chance {_base(found):.3f}"),
        *((f"Top-{top.k}", _interval(top.hits), f"chance {top.chance:.3f}") for top in found.top),
    ]
    when = minute(found.made)
    about = (
        f"<p class='about'><b>{escape(found.what)}</b>, judged by run {escape(title)} at layer "
        f"{found.layer} on {when}: {found.n_texts} texts, {len(found.per_concept)} concepts, "
        f"{found.n_neutral} neutral texts. Brackets: 95 %.</p>"
    )
    values = table(("", "Value", " "), rows, kind="judged", file="new-texts")
    return f"{about}{values}{bullets(map(escape, found.said))}"


def draw_concepts(judged: Sequence[ConceptJudgement]) -> str:
    """One row per concept, lowest AUROC first."""
    ordered = sorted(judged, key=lambda each: each.auroc.value)
    titles = (
        "Concept",
        "Texts",
        "AUROC",
        "Bag of words",
        "Embedding",
        "p, corrected",
        "Av. precision",
        "Top-1",
        "Threshold",
        "Found",
        "False positives on neutral",
    )
    drawn = table(titles, map(_concept_row, ordered), kind="judged", file="concepts")
    return f"<div class='wide'>{drawn}</div>"


def _concept_row(each: ConceptJudgement) -> tuple[str, ...]:
    wrong = each.false_positives
    return (
        escape(each.concept),
        str(each.n_texts),
        _interval(each.auroc),
        _interval(each.words) if each.words else "–",
        _interval(each.embedding) if each.embedding else "–",
        _p(each.p),
        f"{each.average_precision:.2f} <i>chance {each.base_rate:.2f}</i>",
        f"{each.top1:.0%}",
        f"{each.threshold:+.3f}",
        f"{each.recall:.0%}",
        f"{wrong.value:.0%} <i>{wrong.low:.0%}–{wrong.high:.0%}</i>" if wrong else "–",
    )


def draw_forest(macro: Macro, judged: Sequence[ConceptJudgement]) -> str:
    """AUROC of every concept with its interval and baselines on one line, lowest first.

    Args:
        macro: the means, which stand above.
        judged: the concepts.
    """
    ordered = sorted(judged, key=lambda each: each.auroc.value)
    ends = [macro.auroc.low, *(each.auroc.low for each in ordered)]
    start = min(0.4, *ends)
    rows = [_line("Mean of all", macro.auroc, macro.words, macro.random, macro.p, start)]
    rows += [_line(e.concept, e.auroc, e.words, e.random, e.p, start) for e in ordered]
    first, rest = rows[: 1 + FIRST_CONCEPTS], rows[1 + FIRST_CONCEPTS :]
    legend = (
        "<p class='about'>Dots: vectors with their 95 % interval, hollow where chance explains "
        "them. Diamonds: bag of words trained on the same descriptions. Grey: 95 % of random "
        f"directions. The line is 0.5; the left end is {start:.2f}, the right one 1.</p>"
    )
    more = ""
    if rest:
        more = f"<details><summary>The other {len(rest)} concepts</summary>{_lines(rest)}</details>"
    return f"{legend}{_lines(first)}{more}"


def _lines(rows: Sequence[str]) -> str:
    return f"<table class='forest'><tbody>{''.join(rows)}</tbody></table>"


def _line(
    name: str, auroc: Estimate, words: Estimate | None, random: Estimate, p: float, start: float
) -> str:
    def at(value: float) -> str:
        return f"{max(0.0, value - start) / (1 - start):.2%}"

    def span(kind: str, each: Estimate) -> str:
        wide = f"{max(0.0, each.high - max(each.low, start)) / (1 - start):.2%}"
        return f"<span class='{kind}' style='left:{at(each.low)};width:{wide}'></span>"

    hollow = "" if p < CHANCE_EXPLAINS else " hollow"
    beside = f"<span class='words' style='left:{at(words.value)}'></span>" if words else ""
    return (
        f"<tr><th scope='row'>{escape(name)}</th><td><div class='line'>{span('random', random)}"
        f"<span class='half' style='left:{at(0.5)}'></span>{span('reach', auroc)}{beside}"
        f"<span class='dot{hollow}' style='left:{at(auroc.value)}'></span></div></td>"
        f"<td class='num'>{_interval(auroc)}</td></tr>"
    )


def draw_misses(misses: Sequence[Miss]) -> str:
    """The worst misses as texts."""
    if not misses:
        return "<p class='about'>No text scored higher on another concept than on its own.</p>"
    rows = [
        (
            f"{escape(miss.text)} {_ways_on(miss)}",
            f"{escape(', '.join(miss.concepts))} <i>{miss.score:+.3f}</i>",
            f"{escape(miss.rival)} <i>{miss.rival_score:+.3f}</i>",
        )
        for miss in misses
    ]
    return table(("Text", "Labelled", "Scored highest"), rows, file="misses")


def _ways_on(miss: Miss) -> str:
    """Read the text, or make it a description of what it is labelled with."""
    text = quote(miss.text)
    ways = {f"read?text={text}": "Read it"}
    if miss.concepts:
        name = quote(miss.concepts[0])
        ways[f"write/{name}?draft={text}"] = f"Add to {miss.concepts[0]}"
    return " ".join(
        f"<a class='btn quiet' href='#/{address}'>{escape(words)}</a>"
        for address, words in ways.items()
    )


def draw_words(found: LexicalControl) -> str:
    """What masking the own word does, and what the word does in another sense."""
    before, after = found.macro
    if found.n_named:
        text = (
            f"<p class='about'>{found.n_named} texts hold their concept's own word. With it masked "
            f"by an ellipsis, macro AUROC goes from {before:.3f} to <b>{after:.3f}</b>.</p>"
        )
        titles = ("Concept", "Texts", "AUROC", "Masked", "Cosine moved")
        named = sorted((m for m in found.masked if m.n_named), key=lambda m: m.after - m.before)
        rows = [
            (
                escape(m.concept),
                str(m.n_named),
                f"{m.before:.3f}",
                f"{m.after:.3f}",
                f"{m.moved:+.3f}",
            )
            for m in named
        ]
        text += table(titles, rows, kind="judged", file="words")
    else:
        text = (
            "<p class='about'>No text holds its concept's own word, so there is nothing to mask: "
            "the scores above owe nothing to it.</p>"
        )
    return text + _other_sense(found.other_sense)


def _other_sense(found: Generalization | None) -> str:
    if found is None:
        return "<p class='about'>There are no other-sense sentences for these concepts.</p>"
    macro = found.macro
    words = f" The bag of words: {_interval(macro.words)}." if macro.words else ""
    words += f" A sentence embedding: {_interval(macro.embedding)}." if macro.embedding else ""
    pulled = [
        f"{escape(each.concept)} {each.auroc.value:.2f}"
        for each in found.per_concept
        if each.p < CHANCE_EXPLAINS
    ]
    named = f" Pulled by the word alone: {', '.join(pulled)}." if pulled else ""
    return (
        f"<p class='about'>{len(found.texts)} sentences use the word in another sense. Scored as "
        f"if they meant it, macro AUROC is <b>{_interval(macro.auroc)}</b>, p {_p(macro.p)}; 0.5 "
        f"would say that the word alone moves nothing.{words}{named}</p>"
    )


def draw_dose_table(curves: DoseCurves) -> str:
    """Every concept's rank correlation with the value, strongest first."""
    order = sorted(range(len(curves.concepts)), key=lambda c: -abs(curves.rho[c]))
    rows = [
        (
            escape(curves.concepts[c]),
            f"{curves.rho[c]:+.2f}",
            _p(float(curves.p[c])),
            f"{curves.scores[0, c]:+.3f} → {curves.scores[-1, c]:+.3f}",
        )
        for c in order
    ]
    first, last = curves.values[0], curves.values[-1]
    titles = ("Concept", "Spearman ρ", "p, corrected", f"Cosine, {first} → {last}")
    return table(titles, rows, kind="judged", file="dose")


def _base(found: KeptTexts) -> float:
    return sum(each.base_rate for each in found.per_concept) / len(found.per_concept)


def _interval(each: Estimate, *, signed: bool = False) -> str:
    sign = "+" if signed else ""
    low, high = format(each.low, f"{sign}.3f"), format(each.high, f"{sign}.3f")
    return f"{format(each.value, f'{sign}.3f')} <i>{low} to {high}</i>"


def _p(p: float) -> str:
    shown = f"{p:.3f}"
    return shown if p < CHANCE_EXPLAINS else f"{shown} <i>as by chance</i>"
