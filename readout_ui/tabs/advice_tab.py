"""The Advice tab: what to change in the descriptions, and what each of them does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from readout_ui.errors import UserError
from readout_ui.evidence import Evidence
from readout_ui.studio import Studio
from readout_ui.tabs.events import DEVICE, QUIET, guarded
from readout_ui.tabs.layer_choices import layer_slider
from readout_ui.tabs.notices import NO_RUN, draw_notice
from readout_ui.tabs.visibility import HIDDEN

if TYPE_CHECKING:
    from readout_ui.advice import Judged

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
_JUDGEMENT = "Advice"


@dataclass(frozen=True)
class AdviceTab:
    """Components of the Advice tab, and what brings them up to date."""

    layer: gr.Slider
    """Which layer is judged."""
    recheck: gr.Button
    """Judges again, after a training if descriptions changed."""
    drawn: tuple[Any, ...]
    """Notice, results' column, and the HTML inside it."""
    cards: gr.HTML
    """The advice; its buttons ask for a description to be opened."""
    blames: gr.HTML
    """The table of descriptions; the same."""

    @property
    def refreshed(self) -> list[Any]:
        """The outputs of `refresh_advice`."""
        return [self.layer, self.recheck, *self.drawn]

    @property
    def open_requested(self) -> tuple[Callable[..., Any], ...]:
        """Listeners, told concept, index, text, kind and hint when a button asks for the editor.

        The page has gone to the Concepts tab by itself then.
        """
        return self.cards.open_requested, self.blames.open_requested


def build_advice_tab(studio: Studio) -> AdviceTab:
    """Lay out the tab; it judges the run in use when it is opened or the layer changes."""
    run = studio.runs.current()
    script = (Path(__file__).parent / "advice.js").read_text(encoding="utf-8")
    gr.Markdown(INTRO)
    with gr.Row(elem_id="advice-choices") as choices:
        layer = gr.Slider(**layer_slider(run), step=1, label="Layer", elem_id="advice-layer")
        recheck = gr.Button(_recheck_label(studio), elem_id="advice-recheck", min_width=160)
    notice = gr.HTML(draw_notice(None if run else NO_RUN), elem_id="advice-notice", padding=False)
    with gr.Column(visible=HIDDEN, elem_id="advice-results") as results:
        about = gr.HTML(padding=False)
        cards = gr.HTML(elem_id="advice-cards", padding=False, js_on_load=script)
        gr.Markdown(TABLE_TITLE)
        blames = gr.HTML(elem_id="advice-blames", padding=False, js_on_load=script)
        gr.Markdown(SHORTCUTS_TITLE)
        shortcuts = gr.HTML(elem_id="advice-shortcuts", padding=False)
    tab = AdviceTab(
        layer, recheck, (notice, results, about, cards, blames, shortcuts), cards, blames
    )
    _wire(studio, tab, choices.parent)
    return tab


def _wire(studio: Studio, tab: AdviceTab, page: object) -> None:
    def show(chosen: float) -> tuple[Any, ...]:
        return gr.Button(_recheck_label(studio)), *show_advice(studio, int(chosen))

    def recheck() -> tuple[Any, ...]:
        if studio.changed_descriptions() and not studio.read_only:
            studio.start_training().result()
        return refresh_advice(studio)

    shown = [tab.recheck, *tab.drawn]
    if isinstance(page, gr.Tab):
        page.select(show, tab.layer, shown, **DEVICE, show_progress_on=tab.drawn[0])
    tab.layer.input(show, tab.layer, shown, trigger_mode="always_last", **{**DEVICE, **QUIET})
    tab.recheck.click(
        guarded(recheck), None, tab.refreshed, **DEVICE, show_progress_on=tab.drawn[0]
    )


def refresh_advice(studio: Studio) -> tuple[Any, ...]:
    """New values for `AdviceTab.refreshed`, judged at the best layer of the run in use.

    Waits for the device; the editor asks for the same judgement, which is made once.
    """
    run = studio.runs.current()
    drawn = show_advice(studio, run.best_layer if run else 0)
    return gr.Slider(**layer_slider(run)), gr.Button(_recheck_label(studio)), *drawn


def show_advice(studio: Studio, layer: int) -> tuple[Any, ...]:
    """Notice, visibility and everything drawn for one layer; a user's mistake is the notice."""
    from readout_ui.tabs.advice_tables import draw_about, draw_advice, draw_blames, draw_shortcuts

    try:
        judged = judge_advice(studio, layer)
    except UserError as error:
        return draw_notice(error), gr.Column(visible=HIDDEN), *(gr.skip() for _ in range(4))
    return (
        "",
        gr.Column(visible=True),
        draw_about(judged, studio.changed_descriptions()),
        draw_advice(judged.advice, read_only=studio.read_only),
        draw_blames(judged.blames),
        draw_shortcuts(judged.shortcuts.found, judged.shortcuts.models),
    )


def judge_advice(studio: Studio, layer: int) -> Judged:
    """Blame, shortcuts and advice of the run in use, worked out once per run and layer.

    Raises:
        UserError: nothing was trained yet, or the model is not loaded.
    """
    from readout_ui.advice import judge_evidence

    if studio.runs.current() is None:
        raise NO_RUN

    def judge(evidence: Evidence) -> Judged:
        return judge_evidence(evidence, layer)

    return studio.judge(_JUDGEMENT, layer, judge)


def _recheck_label(studio: Studio) -> str:
    stale = studio.runs.current() is not None and studio.changed_descriptions() > 0
    return "Retrain and recheck" if stale and not studio.read_only else "Recheck"
