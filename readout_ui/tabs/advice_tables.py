"""Cards and tables of the Advice tab as HTML."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from html import escape
from math import isnan

from readout_ui.advice import Action, Advice, Judged
from readout_ui.blame import Blame
from readout_ui.shortcuts import Shortcut
from readout_ui.word_models import WordModel

NOTHING = (
    "<p class='empty'>Nothing stands out: no description, word or pair of concepts differs from "
    "the rest by more than chance explains.</p>"
)
ACTION_WORDS = {"delete": "Remove it", "draft": "Begin one"}
KIND_WORDS = {
    "merge": "Merge",
    "split": "Split",
    "add": "More texts",
    "contrast": "Contrast",
    "remove": "Mislabelled?",
    "look": "Odd one out",
}
MOST_SHORTCUTS = 60
_COLUMNS = (
    ("Concept", "text"),
    ("Description", "text"),
    ("Influence", "number"),
    ("Own", "number"),
    ("Others", "number"),
    ("Pulls towards", "text"),
    ("Mark", "number"),
)


def draw_about(judged: Judged, n_changed: int) -> str:
    """What was judged, and how often advice is wrong."""
    stale = ""
    if n_changed:
        noun = "description" if n_changed == 1 else "descriptions"
        stale = f" <b>{n_changed} {noun} changed since:</b> recheck to see what it did."
    return (
        f"<p class='about'>{len(judged.blames)} descriptions at layer {judged.layer}, each judged "
        "by mean-difference directions fitted without it. Of libraries with nothing wrong, at "
        f"most one in twenty gets any advice.{stale}</p>"
    )


def draw_advice(advice: Sequence[Advice], *, read_only: bool = False) -> str:
    """The advice as cards, strongest first; empty says so."""
    if not advice:
        return NOTHING
    cards = "".join(_card(one, read_only) for one in advice)
    return f"<ol class='advice-cards'>{cards}</ol>"


def _card(advice: Advice, read_only: bool) -> str:
    shown = Action("open", advice.concept, advice.index, _text_of(advice))
    buttons = _action_button("Open in editor", shown)
    if advice.action.kind != "open" and not read_only:
        buttons += _action_button(ACTION_WORDS[advice.action.kind], advice.action)
    elif advice.action.concept != advice.concept:
        buttons += _action_button(f"Open {advice.action.concept}", advice.action)
    return (
        f"<li class='advice-card {advice.kind}'><span class='kind'>{KIND_WORDS[advice.kind]}</span>"
        f"<h4>{escape(advice.title)}</h4><p>{escape(advice.evidence)}</p>"
        f"<div class='acts'>{buttons}</div></li>"
    )


def _text_of(advice: Advice) -> str:
    same = advice.action.concept == advice.concept and advice.action.index == advice.index
    return advice.action.text if same else ""


def _action_button(label: str, action: Action) -> str:
    return f"<button data-open='{escape(json.dumps(asdict(action)))}'>{escape(label)}</button>"


def draw_blames(blames: Sequence[Blame]) -> str:
    """All descriptions, marked ones and then the most influential first, with a search field."""
    if not blames:
        return ""
    order = sorted(blames, key=lambda b: (not b.outlier, not b.heavy, -_or_zero(b.influence)))
    head = "".join(
        f"<th aria-sort='none'><button data-sort='{i}' data-as='{kind}'>{name}</button></th>"
        for i, (name, kind) in enumerate(_COLUMNS)
    )
    rows = "".join(_row(one) for one in order)
    return (
        "<div class='advice-search'><input type='search' placeholder='Search descriptions' "
        f"aria-label='Search descriptions'><span class='shown' role='status'>{len(blames)} of "
        f"{len(blames)}</span></div><div class='scroll'><table class='judged cards blames'>"
        f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _row(one: Blame) -> str:
    pull = "" if one.pull is None else f"{escape(one.pull)} <i>{_number(one.pull_score)}</i>"
    mark, rank = "", 0
    if one.outlier:
        mark, rank = f"<b>outlier</b> <i>p {one.p:.2g}</i>", 2
    elif one.heavy:
        mark, rank = f"heavy <i>p {one.influence_p:.2g}</i>", 1
    opening = _action_button(
        f"{one.concept} {one.index + 1}", Action("open", one.concept, one.index, one.text)
    )
    return (
        f"<tr><td data-value='{escape(one.concept)}'>{opening}</td>"
        f"<td class='words'>{escape(one.text)}</td>"
        f"{_cell('Influence', one.influence, 3)}{_cell('Own', one.own)}"
        f"{_cell('Others', one.siblings)}"
        f"<td data-title='Pulls towards' data-value='{escape(one.pull or '')}'>{pull}</td>"
        f"<td data-title='Mark' data-value='{rank}'>{mark}</td></tr>"
    )


def _cell(title: str, value: float, digits: int = 1) -> str:
    shown = _number(value, digits)
    return f"<td class='n' data-title='{title}' data-value='{_or_zero(value)}'>{shown}</td>"


def _number(value: float, digits: int = 1) -> str:
    return "–" if isnan(value) else f"{value:.{digits}f}"


def _or_zero(value: float) -> float:
    return 0.0 if isnan(value) else value


def draw_shortcuts(found: Sequence[Shortcut], models: Sequence[WordModel]) -> str:
    """What gives concepts away by itself, then what words alone know of each."""
    if not models:
        return ""
    lines = "".join(_shortcut(one) for one in found[:MOST_SHORTCUTS])
    rest = len(found) - MOST_SHORTCUTS
    more = f"<p class='about'>{rest} more, less certain.</p>" if rest > 0 else ""
    table = f"<div class='scroll'><table class='judged'>{lines}</table></div>{more}"
    if not found:
        table = "<p class='about'>No word, opening, length or mark tells a concept by itself.</p>"
    rows = "".join(map(_model, models))
    return (
        f"{table}<details><summary>What words alone know of each concept</summary>"
        "<div class='scroll'><table class='judged'><tr><th>Concept</th><th>AUROC of words, each "
        "text left out</th><th>Names it</th><th>Strongest words (own texts, others)</th></tr>"
        f"{rows}</table></div></details>"
    )


def _shortcut(one: Shortcut) -> str:
    return (
        f"<tr><td>{escape(one.concept)}</td><td>{one.kind}</td>"
        f"<td>{escape(one.sentence())}</td><td class='n'><i>p {one.p:.2g}</i></td></tr>"
    )


def _model(model: WordModel) -> str:
    words = ", ".join(f"{escape(w.word)} <i>{w.inside}, {w.outside}</i>" for w in model.top)
    return (
        f"<tr><td>{escape(model.concept)}</td><td class='n'>{_number(model.auroc, 2)}</td>"
        f"<td class='n'>{model.own_word} of {model.of}</td><td>{words}</td></tr>"
    )
