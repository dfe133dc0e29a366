"""The Compare tab in Chromium over tiny models: runs, prompts, models, wide and narrow."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from readout_ui.app.session import Studio
from readout_ui.app.tabs.compare import CompareTab
from tests.support.compared_runs import (
    save_spelling_model,
    train_other_model,
)
from tests.support.studios import address_of, small_studio
from tests.support.tiny_model import save_tiny_model

if TYPE_CHECKING:
    from playwright.sync_api import Page

gr = pytest.importorskip("gradio")
playwright = pytest.importorskip("playwright.sync_api")
expect = playwright.expect
pytestmark = pytest.mark.browser

TEXT = "I feel calm and warm, and nothing <b>asks</b> to be done."
expect.set_options(timeout=20_000)


@dataclass(frozen=True)
class Served:
    """The running page, the studio behind it, and where B's model is."""

    url: str
    studio: Studio
    spelling: Path


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("compare")
    with small_studio(folder, save_tiny_model(folder / "tiny-llama")) as studio:
        with gr.Blocks(analytics_enabled=False) as app, gr.Tabs():
            with gr.Tab("Concepts"):
                gr.Markdown("Another tab")
            with gr.Tab("Compare"):
                CompareTab(studio)
        with address_of(app) as url:
            yield Served(url, studio, save_spelling_model(folder / "spelling"))


def opened(page: Page) -> Page:
    page.get_by_role("tab", name="Compare").click()
    expect(page.locator("#compare-go")).to_be_visible()
    return page


def places(page: Page, name: str) -> Any:
    return page.locator(f"#compare-{name} .map-labels > *")


def compared(page: Page, how: str) -> None:
    page.locator("#compare-go").click()
    about = page.locator(f"#compare-about [data-alignment={how}]")
    expect(about).to_be_visible()


def test_runs_prompts_and_models_are_compared_on_one_page(
    served: Served, watched_page: Callable[..., Page]
) -> None:
    page = opened(watched_page(served.url))
    expect(page.locator("#compare-notice")).to_contain_text("only one run")
    expect(page.locator("#compare-go")).to_be_disabled()

    # Two runs: the second has one concept less.
    (served.studio.folder / "happy.txt").unlink()
    served.studio.start_training().result()
    page.get_by_role("tab", name="Concepts").click()
    opened(page)
    expect(page.locator("#compare-go")).to_be_enabled()
    page.locator("#compare-go").click()
    expect(page.locator("#compare-notice")).to_contain_text("nothing to read")
    page.locator("#compare-first-text textarea").fill(TEXT)
    compared(page, "position")
    expect(places(page, "first")).to_have_count(3)
    assert places(page, "first").all_inner_texts() == places(page, "second").all_inner_texts()
    expect(page.locator("#compare-plot .scatterlayer .trace")).to_have_count(6)
    expect(page.locator("#compare-about")).to_contain_text("Only one side has: happy")

    # Hovering the difference tells both scores; both maps move together.
    cells = page.locator("#compare-difference .map-cells")
    cells.scroll_into_view_if_needed()
    box = cells.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 10)
    tip = page.locator("#compare-difference .map-tip span")
    expect(tip).to_have_count(4)
    told = [line.rsplit(" ", 1) for line in tip.all_inner_texts()[1:]]
    difference, a, b = (float(score.replace("−", "-")) for _, score in told)
    assert [name for name, _ in told] == ["B − A", "A", "B"]
    assert difference == pytest.approx(b - a, abs=0.03)
    page.locator("#compare-first .map-body").focus()
    for _ in range(9):
        page.keyboard.press("+")
    page.keyboard.press("End")
    ends = [page.locator(f"#compare-{name} .map-overview") for name in ("first", "second")]
    for end in ends:
        expect(end).to_have_attribute("aria-valuetext", re.compile(r"–(\d+) of \1$"))
    assert len({end.get_attribute("aria-valuetext") for end in ends}) == 1

    # A click on a name takes its line away.
    places(page, "first").first.click()
    expect(page.locator("#compare-plot .scatterlayer .trace")).to_have_count(4)

    # Two prompts.
    page.get_by_label("Two prompts").click()
    second = page.locator("#compare-second-text textarea")
    second.fill(TEXT.replace("warm", "afraid"))
    compared(page, "shared")
    expect(page.locator("#compare-results .side").nth(1)).to_contain_text("afraid")
    second.fill("zzz")
    page.get_by_label("Raw text, no template").click()
    compared(page, "none")
    expect(page.locator("#compare-differs")).to_be_hidden()

    # Two models, of which the other is loaded for its reading.
    page.get_by_label("Two models").click()
    expect(page.locator("#compare-notice")).to_contain_text("another --model")
    train_other_model(served.studio.folder, served.studio.options.runs, served.spelling)
    page.get_by_label("Two runs").click()
    page.get_by_label("Two models").click()
    expect(page.locator("#compare-location")).to_be_visible()
    page.locator("#compare-go").click()
    expect(page.locator("#compare-notice .failed")).to_contain_text("local folder")
    page.locator("#compare-location textarea, #compare-location input").fill(str(served.spelling))
    compared(page, "characters")
    expect(page.locator("#compare-results .side").nth(1)).to_contain_text("spelling")
    expect(page.locator("#compare-differs")).to_be_visible()


def test_it_fits_a_phone_in_the_dark(served: Served, watched_page: Callable[..., Page]) -> None:
    page = opened(watched_page(served.url, 390, 844, "dark"))
    page.get_by_label("Two prompts").click()
    page.locator("#compare-first-text textarea").fill(TEXT)
    page.locator("#compare-second-text textarea").fill(TEXT + " Or not.")
    compared(page, "shared")
    expect(places(page, "second").first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
