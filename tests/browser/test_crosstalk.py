"""Cross-talk in Chromium, over activations in which one pair of concepts is planted."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from readout_ui.app.jobs import Question
from readout_ui.app.judge.crosstalk import CrosstalkTab
from readout_ui.errors import UserError
from readout_ui.evaluation.results import umap_installed
from readout_ui.progress import silent
from tests.support.planted_corpus import make_corpus
from tests.support.studios import address_of

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

gr = pytest.importorskip("gradio")
expect = pytest.importorskip("playwright.sync_api").expect
pytestmark = pytest.mark.browser

CORPUS = make_corpus((8,) * 6, strength=1.0, copies={4: 1}, n_layers=3)
RUN = SimpleNamespace(id="run 1", best_layer=2, layer_scores=(0.8, 0.8, 0.9), layers=(0, 1, 2))
WAIT = 20_000
OpenPage = Callable[..., "Page"]


@dataclass
class PlantedStudio:
    """A studio that judges the planted corpus once it has a run."""

    run: Any = None
    answers: dict[Hashable, Any] = field(default_factory=dict)

    @property
    def runs(self) -> Any:
        return SimpleNamespace(current=lambda: self.run)

    def judge(self, question: Question, work: Callable[[Any], Any]) -> Any:
        if self.run is None:
            raise UserError("there are no vectors yet", fix="press Train first")
        if question not in self.answers:
            readout = SimpleNamespace(
                report=silent,
                run=SimpleNamespace(source=None),
                corpus=lambda: CORPUS,
                concepts=CORPUS.groups.concepts,
            )
            needs_a_model = question.title == "Cross-talk: tokens"
            self.answers[question] = "tokens" if needs_a_model else work(readout)
        return self.answers[question]


@dataclass(frozen=True)
class Served:
    """The running page and the studio behind it."""

    studio: PlantedStudio
    url: str


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    studio: Any = PlantedStudio()
    with gr.Blocks(analytics_enabled=False) as app, gr.Tabs():
        with gr.Tab("Concepts"):
            gr.Markdown("Another tab")
        with gr.Tab("Cross-talk"):
            CrosstalkTab(studio)
    with address_of(app) as url:
        yield Served(studio, url)


def go(page: Page, name: str) -> None:
    page.get_by_role("tab", name=name).click()


def figure(page: Page, name: str) -> Locator:
    return page.locator(f"#crosstalk-{name} .js-plotly-plot")


def hover(page: Page, name: str, row: int, column: int) -> Locator:
    """The text beside the pointer over one cell of a figure's matrix of six."""
    cells = figure(page, name).locator(".hm image").first
    cells.scroll_into_view_if_needed()
    box = cells.bounding_box()
    assert box is not None
    width, height = box["width"] / 6, box["height"] / 6
    page.mouse.move(box["x"] + (column + 0.4) * width, box["y"] + (row + 0.4) * height)
    page.mouse.move(box["x"] + (column + 0.5) * width, box["y"] + (row + 0.5) * height)
    return figure(page, name).locator(".hoverlayer .hovertext")


def test_the_tab_shows_the_planted_pair_in_every_figure(
    served: Served, watched_page: OpenPage
) -> None:
    served.studio.run = None
    page = watched_page(served.url, 1280, 900)
    go(page, "Cross-talk")
    expect(page.locator("#crosstalk-notice")).to_contain_text("press Train first", timeout=WAIT)
    served.studio.run = RUN  # the first training; the slider still stands at 0
    go(page, "Concepts")
    go(page, "Cross-talk")
    note = page.locator("#crosstalk-cosine-note")
    expect(note).to_contain_text("1 of 15 pairs differ from chance (layer 2)", timeout=WAIT)
    expect(page.locator("#crosstalk-layer input[type=number]")).to_have_value("2")
    for name in ("cosines", "responses", "map"):
        expect(figure(page, name)).to_be_visible(timeout=WAIT)
    # The clustering puts the two alike concepts side by side, whichever rows those are.
    order = served.studio.answers[Question("Cross-talk: cosines", 2)].order.tolist()
    row, column = order.index(1), order.index(4)
    told = hover(page, "cosines", row, column)
    expect(told).to_contain_text(re.compile(r"c1.*c4.*cosine 0\.\d\d.*95 %.*0\.\d\d"))
    told = hover(page, "responses", row, column)
    expect(told).to_contain_text(re.compile(r"c1.*c4.*\d\.\d.*95 %"))
    confusions = page.locator("#crosstalk-confusions")
    expect(confusions).to_contain_text(re.compile(r"c1 is taken for c4: \d of 8 descriptions"))
    rows = page.locator("#crosstalk-redundancy tbody tr")
    expect(rows).to_have_count(6)
    expect(rows.first).to_contain_text(re.compile(r"c[14]\s*c[41] 0\.\d\d"))
    expect(page.locator("#crosstalk-map-note")).to_contain_text("1 cluster")
    expect(figure(page, "map").locator(".textpoint")).to_have_count(6)
    plane = page.locator("#crosstalk-plane")
    expect(plane).to_contain_text("UMAP" if umap_installed() else "pip install umap-learn")


def test_layer_and_average_are_chosen_on_a_phone_too(
    served: Served, watched_page: OpenPage
) -> None:
    served.studio.run = RUN
    page = watched_page(served.url, 390, 844, "dark")
    go(page, "Cross-talk")
    note = page.locator("#crosstalk-cosine-note")
    expect(note).to_contain_text("(layer 2)", timeout=WAIT)
    number = page.locator("#crosstalk-layer input[type=number]")
    number.fill("1")
    number.press("Tab")
    expect(note).to_contain_text("(layer 1)", timeout=WAIT)
    page.get_by_label("Cosines: mean over all layers").click()
    expect(note).to_contain_text("(mean over all layers)", timeout=WAIT)
    expect(figure(page, "map")).to_be_visible(timeout=WAIT)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    first = page.locator("#crosstalk-redundancy tbody tr").first
    expect(page.locator("#crosstalk-redundancy thead")).to_be_hidden()
    cells = [cell.bounding_box() for cell in first.locator("td").all()]
    tops = [cell["y"] for cell in cells if cell is not None]
    assert tops == sorted(tops)
    assert len(set(tops)) == 5
