"""The Steering tab in Chromium: steer, sweep, cancel, tokens by click, setups to disk and back."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from readout_ui.app.events import components
from readout_ui.app.session import Studio
from tests.support.studios import address_of, small_studio

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from readout_ui.progress import Report

gr = pytest.importorskip("gradio")
playwright = pytest.importorskip("playwright.sync_api")
expect = playwright.expect
pytestmark = pytest.mark.browser

PATIENCE = 20_000
OpenPage = Callable[..., "Page"]


@dataclass(frozen=True)
class Served:
    """The running page and the studio behind it."""

    studio: Studio
    url: str


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, tiny_folder: Path) -> Iterator[Served]:
    """The tab alone, over a tiny model; at first nothing is trained."""
    from readout_ui.app.page import launch_options
    from readout_ui.app.tabs.steering import SteeringTab

    place = tmp_path_factory.mktemp("steering")
    with small_studio(place, tiny_folder, train=False) as studio:
        with gr.Blocks(analytics_enabled=False) as app, gr.Tabs(), gr.Tab("Steering"):
            tab = SteeringTab(studio)
            again = gr.Button("Another run", elem_id="another-run")
            again.click(tab.refresh, None, components(tab))
        with address_of(app, **launch_options(studio)) as url:
            yield Served(studio, url)


@pytest.fixture
def page_of(served: Served, watched_page: OpenPage) -> OpenPage:
    """Opens the tab with a trained run."""

    def opened(**look: Any) -> Page:
        if served.studio.runs.current() is None:
            served.studio.start_training().result()
        page = watched_page(served.url, **look)
        expect(prompt_of(page)).to_be_visible(timeout=PATIENCE)
        page.locator("#another-run").click()
        concept = page.locator(".steer-concept input").first
        concept.fill("calm")
        concept.press("Enter")
        page.get_by_label("Layers").first.fill("1")
        prompt_of(page).fill("How was your day?")
        page.get_by_role("button", name="System prompt, sampling").click()
        longest = page.get_by_label("number input for Longest answer, tokens")
        longest.fill("8")
        longest.press("Tab")
        return page

    return opened


def prompt_of(page: Page) -> Any:
    return page.locator("#steer-prompt textarea")


def answers(page: Page) -> tuple[str, str]:
    plain, steered = (
        page.locator(f"#steer-{side}-text .steer-answer").inner_text()
        for side in ("plain", "steered")
    )
    return plain, steered


def steer(page: Page) -> None:
    page.locator("#steer-run").click()
    expect(page.locator("#steer-steered-heatmap .heatmaplayer image").first).to_be_visible(
        timeout=PATIENCE
    )
    expect(page.locator("#steer-cancel")).to_be_hidden(timeout=PATIENCE)


def load(page: Page, file: Path) -> None:
    with page.expect_file_chooser(timeout=PATIENCE) as chooser:
        page.locator("#steer-load").click()
    chooser.value.set_files(file)


def test_before_the_first_training_it_says_what_to_do(
    served: Served, watched_page: OpenPage
) -> None:
    assert served.studio.runs.current() is None
    page = watched_page(served.url)
    notice = page.locator("#steer-notice")
    expect(notice).to_contain_text("press Train first", timeout=PATIENCE)
    prompt_of(page).fill("Hello")
    page.locator("#steer-run").click()
    expect(page.locator("#steer-progress")).to_contain_text("no vectors", timeout=PATIENCE)


def test_two_answers_stand_side_by_side_and_a_zero_makes_them_equal(page_of: OpenPage) -> None:
    page = page_of()
    multiplier = page.locator(".steer-multiplier input").first
    multiplier.fill("0")
    steer(page)
    plain, steered = answers(page)
    assert plain == steered != ""
    multiplier.fill("8")
    multiplier.press("Tab")
    page.locator("#steer-run").click()
    expect(page.locator("#steer-summary")).to_contain_text("add calm +8 x norm", timeout=PATIENCE)
    expect(page.locator("#steer-means tr.steered td").first).to_have_text("calm")
    assert answers(page)[0] == plain
    assert answers(page)[1] != plain
    legend = page.locator("#steer-steered-strip .strip-legend")
    expect(legend).to_contain_text("calm · layer", timeout=PATIENCE)
    shared = [page.locator(f"#steer-{s}-strip .strip-legend").inner_text() for s in SIDES]
    assert shared[0] == shared[1]
    n_answer = page.locator("#steer-plain-strip .token").count()
    page.get_by_role("button", name="Look").click()
    page.locator("#steer-whole input").check()
    expect(page.locator("#steer-plain-strip .turn-user")).to_be_visible(timeout=PATIENCE)
    assert page.locator("#steer-plain-strip .token").count() > n_answer


SIDES = ("plain", "steered")


def test_a_sweep_shows_answers_curves_and_the_usable_range_on_a_phone(page_of: OpenPage) -> None:
    page = page_of(width=390, height=844, theme="dark")
    page.locator("#steer-factors input, #steer-factors textarea").fill("-1..1:3")
    page.locator("#steer-sweep").click()
    rows = page.locator("#steer-table td.answer")
    expect(rows).to_have_count(3, timeout=PATIENCE)
    expect(page.locator("#steer-table")).to_contain_text("Usable factors")
    expect(page.locator("#steer-curves .scatterlayer .trace").first).to_be_visible(timeout=PATIENCE)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_a_waiting_job_says_its_place_and_cancels_and_mistakes_are_sentences(
    served: Served, page_of: OpenPage
) -> None:
    page = page_of()
    release = threading.Event()

    def occupy(report: Report) -> None:
        release.wait(timeout=120)

    served.studio.worker.submit("train", "Something long", occupy)
    try:
        page.locator("#steer-run").click()
        place = page.locator("#steer-progress .steer-queue")
        expect(place).to_have_text("1 job before this one: Something long", timeout=PATIENCE)
        page.locator("#steer-cancel").click()
        expect(page.locator("#steer-progress")).to_contain_text("Cancelled", timeout=PATIENCE)
    finally:
        release.set()
    page.get_by_label("Layers").first.fill("99")
    page.locator("#steer-run").click()
    expect(page.locator("#steer-progress")).to_contain_text("99 was not trained", timeout=PATIENCE)
    expect(page.locator("#steer-progress p.failed")).to_be_visible(timeout=PATIENCE)


def test_a_setup_goes_to_disk_and_comes_back_and_another_models_is_refused(
    page_of: OpenPage, tmp_path: Path
) -> None:
    page = page_of()
    page.locator("#steer-place").get_by_label("Chosen spans").check()
    tokens = page.locator("#steer-picker [data-token]")
    expect(tokens.first).to_be_visible(timeout=PATIENCE)
    typed = page.locator("#steer-tokens input, #steer-tokens textarea")
    for number, text in ((2, "2"), (3, "2-3"), (5, "2-3,5")):
        tokens.nth(number).click()
        expect(typed).to_have_value(text, timeout=PATIENCE)
    page.locator("#steer-add").click()
    second = page.locator(".steer-concept input:visible").nth(1)
    second.fill("angry")
    second.press("Enter")
    with page.expect_download(timeout=PATIENCE) as download:
        page.locator("#steer-save").click()
    file = tmp_path / "steering.json"
    download.value.save_as(file)
    saved = json.loads(file.read_text())
    assert [steer["concept"] for steer in saved["steers"]] == ["calm", "angry"]
    assert saved["where"]["spans"] == [[2, 4], [5, 6]]
    saved["steers"] = [saved["steers"][1] | {"multiplier": -0.5, "layers": [0, 2]}]
    file.write_text(json.dumps(saved))
    load(page, file)
    expect(page.locator("#steer-progress")).to_contain_text("Loaded.", timeout=PATIENCE)
    expect(page.locator(".steer-concept input:visible")).to_have_count(1, timeout=PATIENCE)
    expect(page.locator(".steer-concept input").first).to_have_value("angry", timeout=PATIENCE)
    expect(page.locator(".steer-multiplier input").first).to_have_value("-0.5", timeout=PATIENCE)
    file.write_text(json.dumps(saved | {"model": "elsewhere/big"}))
    load(page, file)
    expect(page.get_by_text("the setup is for elsewhere/big")).to_be_visible(timeout=PATIENCE)
