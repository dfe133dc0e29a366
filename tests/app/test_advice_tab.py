"""The Advice tab: cards that act, a table that can be searched, and what stands in their way."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from html import unescape
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from readout_ui.app.assets import STYLES, on_load
from readout_ui.app.events import HIDDEN
from readout_ui.app.header import draw_masthead
from readout_ui.app.session import Studio
from readout_ui.app.tabs.advice import (
    AdviceTab,
    draw_advice,
    draw_influences,
    draw_shortcuts,
)
from readout_ui.errors import UserError
from readout_ui.evaluation.advice import judge_descriptions
from readout_ui.evaluation.redundancy import redundancy
from readout_ui.texts.library import Library
from tests.support.synthetic_corpus import Floats, make_corpus

gr = pytest.importorskip("gradio")
if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


def plant(texts: Floats, means: Floats) -> None:
    texts[3] += means[5] - means[0]
    texts[16:24] += means[1] - means[2]


CORPUS = make_corpus(1, plant=plant)
RUN = SimpleNamespace(id="run 1", best_layer=0, layer_scores=(0.9,), layers=(0,), source="")


@dataclass
class JudgingStudio:
    """A studio over one synthetic corpus, with a description folder of the same texts."""

    folder: Path = Path()
    read_only: bool = False
    run: Any = None
    error: UserError | None = None
    changed: int = 0
    trainings: int = 0
    influence_calls: list[str] = field(default_factory=list)

    @property
    def runs(self) -> Any:
        return SimpleNamespace(current=lambda: self.run)

    def advise(self, layer: int) -> Any:
        if self.run is None:
            raise UserError("there are no vectors yet", fix="press Train first")
        if self.error:
            raise self.error
        judged = judge_descriptions(CORPUS, layer, redundancy(CORPUS, layer))
        return SimpleNamespace(result=lambda: judged)

    def changed_descriptions(self) -> int:
        return self.changed

    def start_training(self) -> Any:
        self.trainings, self.changed = self.trainings + 1, 0
        return SimpleNamespace(result=lambda: None)

    def library(self) -> Library:
        return Library(self.folder)

    def concept_states(self) -> dict[str, str]:
        return {}

    def count_tokens(self, texts: object) -> None:
        return None

    def influence(self, name: str) -> tuple[()]:
        return ()

    def refuse_if_read_only(self, what: str) -> None:
        session: Any = self
        Studio.refuse_if_read_only(session, what)


def test_cards_name_the_planted_faults_and_can_be_acted_on() -> None:
    drawn = draw_advice(judge_descriptions(CORPUS, 0).advice)
    assert "Remove or rewrite description 4 of aconcept" in drawn
    assert "Merge bconcept and cconcept" in drawn
    wishes = [json.loads(unescape(part.split("'")[0])) for part in drawn.split("data-open='")[1:]]
    removal = next(w for w in wishes if w["kind"] == "delete")
    assert (removal["concept"], removal["index"]) == ("aconcept", 3)
    assert removal["text"] == CORPUS.texts[3]


def test_a_read_only_app_offers_to_look_and_not_to_remove() -> None:
    drawn = draw_advice(judge_descriptions(CORPUS, 0).advice, read_only=True)
    assert "Open in editor" in drawn
    assert "Remove it" not in drawn


def test_no_advice_says_so() -> None:
    assert "Nothing stands out" in draw_advice(())


def test_the_table_begins_with_the_outlier_and_escapes_texts() -> None:
    influences = judge_descriptions(CORPUS, 0).influences
    drawn = draw_influences(influences)
    first = drawn.split("<tbody>")[1].split("</tr>")[0]
    assert "aconcept 4" in first
    assert "outlier" in first
    assert drawn.count("<tr>") == 1 + len(influences)


def test_words_of_every_concept_are_listed_even_without_a_shortcut() -> None:
    found = judge_descriptions(CORPUS, 0).shortcuts
    drawn = draw_shortcuts((), found.models)
    assert "No word, opening, length or mark" in drawn
    assert "hconcept" in drawn


@pytest.mark.parametrize(
    ("studio", "words"),
    [
        (JudgingStudio(), "press Train first"),
        (JudgingStudio(run=RUN, error=UserError("there is no model to run")), "There is no model"),
    ],
)
def test_what_stands_in_the_way_is_said(studio: Any, words: str) -> None:
    with gr.Blocks():
        tab = AdviceTab(studio)
    changes = tab.refresh()
    assert words in changes[tab.judged.notice]
    assert changes[tab.judged.results].visible == HIDDEN


@pytest.fixture
def page(tmp_path: Path, browser: Browser) -> Iterator[tuple[Page, JudgingStudio]]:
    """The Advice and Concepts tabs of a small app, in Chromium."""
    from readout_ui.app.tabs.concepts import build_concepts_tab

    for concept, rows in zip(CORPUS.groups.concepts, CORPUS.groups.rows, strict=True):
        text = "\n\n".join(CORPUS.texts[row] for row in rows)
        (tmp_path / f"{concept}.txt").write_text(f"{text}\n", encoding="utf-8")
    studio: Any = JudgingStudio(tmp_path, run=RUN)
    with gr.Blocks(analytics_enabled=False) as app:
        gr.HTML(draw_masthead("write"), js_on_load=on_load("shell/header.js"))
        with gr.Tabs(elem_id="rooms"), gr.Tab("Write"), gr.Tabs(elem_id="write-parts"):
            with gr.Tab("Concepts"):
                build_concepts_tab(studio)
            with gr.Tab("Advice"):
                tab = AdviceTab(studio)
        told = gr.Textbox(elem_id="told")
        for listen in tab.open_requested:
            listen(_concept_of, None, told, api_visibility="private")
    _, url, _ = app.launch(prevent_thread_lock=True, quiet=True, css_paths=STYLES, ssr_mode=False)
    opened = browser.new_page(viewport={"width": 1280, "height": 900})
    opened.goto(url)
    yield opened, studio
    opened.close()
    app.close()


def _concept_of(event: Any) -> str:
    return str(event.concept)


_concept_of.__annotations__["event"] = gr.EventData


@pytest.mark.browser
def test_one_click_opens_or_removes_a_description_and_recheck_trains_when_needed(
    page: tuple[Page, JudgingStudio],
) -> None:
    from tests.browser.test_concepts import expect

    shown, studio = page
    shown.get_by_role("tab", name="Advice").click()
    card = shown.locator(".advice-card", has_text="description 4 of aconcept")
    expect(card).to_be_visible()
    search = shown.get_by_role("searchbox")
    search.fill("Outlier aconcept")
    expect(shown.locator(".shown")).to_have_text("1 of 64")
    shown.get_by_role("button", name="Open in editor").first.click()
    expect(shown.locator(".rs-text").first).to_be_visible()
    shown.get_by_role("tab", name="Advice").click()
    card.get_by_role("button", name="Remove it").click()
    expect(shown.locator(".rs-name")).to_have_text("aconcept")
    expect(shown.locator(".rs-box")).to_have_count(7)
    expect(shown.locator("#told textarea")).to_have_value("aconcept")
    expect(shown.locator(".rs-mark")).to_have_text("Saved")
    assert CORPUS.texts[3] not in studio.library().concept("aconcept").descriptions
    studio.changed = 1
    shown.get_by_role("tab", name="Advice").click()
    shown.get_by_role("button", name="Retrain and recheck").click()
    expect(shown.get_by_role("button", name="Recheck", exact=True)).to_be_visible()
    assert studio.trainings == 1
