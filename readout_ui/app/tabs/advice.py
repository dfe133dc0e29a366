"""The Advice tab: what to change in the descriptions, and what each of them does."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from html import escape
from math import isnan
from typing import TYPE_CHECKING, Any

import gradio as gr

from readout_ui.app.assets import on_load
from readout_ui.app.events import DEVICE, QUIET, Changes, Part, bound, components
from readout_ui.app.session import Studio
from readout_ui.app.widgets import (
    NO_RUN,
    build_judged,
    count,
    decimals,
    layer_slider,
    sentence,
    table,
)

if TYPE_CHECKING:
    from readout_ui.evaluation.advice import Action, Advice, Judged
    from readout_ui.evaluation.influence import Influence
    from readout_ui.evaluation.shortcuts import Shortcut, WordModel

INTRO = "What to change in the descriptions, strongest first, each with its evidence."
TABLE_TITLE = (
    "### Every description\n"
    "**Influence**: 1 − cosine of the concept's direction with and without the text. **Own**: its "
    "score on its concept when held out, in standard deviations above other concepts' texts; "
    "**others**: the mean of the concept's other texts. **Pulls towards**: the concept whose "
    "direction it brings its own closest to, with its score there."
)
SHORTCUTS_TITLE = (
    "### Shortcuts\n"
    "Words, openings, lengths and marks that tell a concept without its meaning; the concept's "
    "own name is counted apart."
)


class AdviceTab(Part):
    """The tab; it judges the run in use when it is opened or the layer changes."""

    def __init__(self, studio: Studio) -> None:
        self.studio, run = studio, studio.runs.current()
        script = on_load("widgets/advice.js", "open_requested")
        gr.Markdown(INTRO)
        with gr.Row(elem_id="advice-choices") as choices:
            self.layer = gr.Slider(
                **layer_slider(run), step=1, label="Layer", elem_id="advice-layer"
            )
            label = _recheck_label(studio)
            self.recheck = gr.Button(label, elem_id="advice-recheck", min_width=160)
        self.judged = build_judged("advice", None if run else NO_RUN, padding=False)
        with self.judged.results:
            self.about = gr.HTML(padding=False)
            self.cards = gr.HTML(elem_id="advice-cards", padding=False, js_on_load=script)
            gr.Markdown(TABLE_TITLE)
            self.influences = gr.HTML(elem_id="advice-blames", padding=False, js_on_load=script)
            gr.Markdown(SHORTCUTS_TITLE)
            self.shortcuts = gr.HTML(elem_id="advice-shortcuts", padding=False)
        self._wire(choices.parent)

    def _wire(self, page: Any) -> None:
        outputs, manner = components(self), {**DEVICE, "show_progress_on": self.judged.notice}
        show, quiet = bound(self.show), {**DEVICE, **QUIET, "trigger_mode": "always_last"}
        if isinstance(page, gr.Tab):
            page.select(show, self.layer, outputs, **manner)
        self.layer.input(show, self.layer, outputs, **quiet)
        self.recheck.click(bound(self.train_and_advise), None, outputs, **manner)

    @property
    def open_requested(self) -> tuple[Callable[..., Any], ...]:
        """Listeners, told concept, index, text, kind and hint when a button asks for the editor.

        The page has gone to the Concepts tab by itself then.
        """
        return self.cards.open_requested, self.influences.open_requested

    def train_and_advise(self) -> Changes:
        """Judge again, after a training where descriptions changed."""
        if self.studio.changed_descriptions() and not self.studio.read_only:
            self.studio.start_training().result()
        return self.refresh()

    def refresh(self) -> Changes:
        """The advice, judged at the best layer of the run in use.

        Waits for the device; the editor asks for the same judgement, which is made once.
        """
        run = self.studio.runs.current()
        shown = self.show(run.best_layer if run else 0)
        return {self.layer: gr.Slider(**layer_slider(run)), **shown}

    def show(self, layer: float) -> Changes:
        """Everything drawn for one layer; a user's mistake is the notice."""
        run = self.studio.runs.current()
        editable = run is None or not run.source  # texts of another source are in no editor

        def find() -> Changes:
            judged = self.studio.advise(int(layer)).result()
            advice, shortcuts = judged.advice, judged.shortcuts
            return {
                self.about: draw_about(judged, self.studio.changed_descriptions()),
                self.cards: draw_advice(advice, read_only=self.studio.read_only, editable=editable),
                self.influences: draw_influences(judged.influences, editable=editable),
                self.shortcuts: draw_shortcuts(shortcuts.found, shortcuts.models),
            }

        return {self.recheck: gr.Button(_recheck_label(self.studio)), **self.judged.show(find)}


def _recheck_label(studio: Studio) -> str:
    stale = studio.runs.current() is not None and studio.changed_descriptions() > 0
    return "Retrain and recheck" if stale and not studio.read_only else "Recheck"


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
SHORTCUT_TITLES = ("Concept", "Kind", "What tells it", "Chance")
WORD_TITLES = (
    "Concept",
    "AUROC of words, each text left out",
    "Names it",
    "Strongest words (own texts, others)",
)
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
        changed = count(n_changed, "description")
        stale = f" <b>{changed} changed since:</b> recheck to see what it did."
    return (
        f"<p class='about'>{len(judged.influences)} descriptions at layer {judged.layer}, each "
        "judged by mean-difference directions fitted without it. Of libraries with nothing wrong, "
        f"at most one in twenty gets any advice.{stale}</p>"
    )


def draw_advice(advice: Sequence[Advice], *, read_only: bool = False, editable: bool = True) -> str:
    """The advice as cards, strongest first; empty says so.

    Args:
        advice: what was found.
        read_only: whether nothing may be changed, only looked at.
        editable: whether the texts are descriptions, which the Concepts tab can open.
    """
    if not advice:
        return NOTHING
    cards = "".join(
        _card(one, _action_buttons(one, read_only) if editable else "") for one in advice
    )
    return f"<ol class='advice-cards'>{cards}</ol>"


def _card(advice: Advice, buttons: str) -> str:
    return (
        f"<li class='advice-card {advice.kind}'><span class='kind'>{KIND_WORDS[advice.kind]}</span>"
        f"<h4>{escape(advice.title)}</h4><p>{escape(advice.evidence)}</p>"
        f"<div class='acts'>{buttons}</div></li>"
    )


def _action_buttons(advice: Advice, read_only: bool) -> str:
    shown = _opening(advice.concept, advice.index, _text_of(advice))
    buttons = _action_button("Open in editor", shown)
    if advice.action.kind != "open" and not read_only:
        buttons += _action_button(ACTION_WORDS[advice.action.kind], advice.action)
    elif advice.action.concept != advice.concept:
        buttons += _action_button(f"Open {advice.action.concept}", advice.action)
    return buttons


def _text_of(advice: Advice) -> str:
    same = advice.action.concept == advice.concept and advice.action.index == advice.index
    return advice.action.text if same else ""


def _opening(concept: str, index: int | None, text: str) -> Action:
    from readout_ui.evaluation.advice import Action

    return Action("open", concept, index, text)


def _action_button(label: str, action: Action) -> str:
    return f"<button data-open='{escape(json.dumps(asdict(action)))}'>{escape(label)}</button>"


def draw_influences(influences: Sequence[Influence], *, editable: bool = True) -> str:
    """All descriptions, marked ones and then the most influential first, with a search field."""
    if not influences:
        return ""
    order = sorted(influences, key=lambda i: (not i.outlier, not i.heavy, -_or_zero(i.influence)))
    head = "".join(
        f"<th aria-sort='none'><button data-sort='{i}' data-as='{kind}'>{name}</button></th>"
        for i, (name, kind) in enumerate(_COLUMNS)
    )
    rows = "".join(_row(one, editable) for one in order)
    return (
        "<div class='advice-search'><input type='search' placeholder='Search descriptions' "
        f"aria-label='Search descriptions'><span class='shown' role='status'>{len(influences)} of "
        f"{len(influences)}</span></div><div class='scroll'><table class='judged cards blames'>"
        f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _row(one: Influence, editable: bool) -> str:
    pull = "" if one.pull is None else f"{escape(one.pull)} <i>{decimals(one.pull_score)}</i>"
    mark, rank = "", 0
    if one.outlier:
        mark, rank = f"<b>outlier</b> <i>p {one.p:.2g}</i>", 2
    elif one.heavy:
        mark, rank = f"heavy <i>p {one.influence_p:.2g}</i>", 1
    opening = escape(f"{one.concept} {one.index + 1}")
    if editable:
        opening = _action_button(
            f"{one.concept} {one.index + 1}", _opening(one.concept, one.index, one.text)
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
    shown = decimals(value, digits)
    return f"<td class='n' data-title='{title}' data-value='{_or_zero(value)}'>{shown}</td>"


def _or_zero(value: float) -> float:
    return 0.0 if isnan(value) else value


def draw_shortcuts(found: Sequence[Shortcut], models: Sequence[WordModel]) -> str:
    """What gives concepts away by itself, then what words alone know of each."""
    if not models:
        return ""
    told = sentence("No word, opening, length or mark tells a concept by itself.", "about")
    if found:
        told = table(SHORTCUT_TITLES, map(_shortcut, found[:MOST_SHORTCUTS]), kind="judged")
    rest = len(found) - MOST_SHORTCUTS
    more = sentence(f"{rest} more, less certain.", "about") if rest > 0 else ""
    known = table(WORD_TITLES, map(_model, models), kind="judged")
    return (
        f"{told}{more}<details><summary>What words alone know of each concept</summary>"
        f"{known}</details>"
    )


def _shortcut(one: Shortcut) -> tuple[str, ...]:
    return escape(one.concept), one.kind, escape(one.sentence()), f"<i>p {one.p:.2g}</i>"


def _model(model: WordModel) -> tuple[str, ...]:
    words = ", ".join(f"{escape(w.word)} <i>{w.inside}, {w.outside}</i>" for w in model.top)
    named = f"{model.own_word} of {model.of}"
    return escape(model.concept), decimals(model.auroc, 2), named, words
