"""The Live tab in Chromium over a tiny model whose passes a test can hold back."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr
import pytest
from playwright.sync_api import expect

from readout_ui.app.tabs.live import build_live_tab
from tests.support.studios import address_of, small_studio

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

pytestmark = pytest.mark.browser
SETTINGS = {"max_new_tokens": 12, "temperature": 1.0, "top_p": 1.0, "seed": 0}
SLOW = 20_000
OpenPage = Callable[..., "Page"]
expect.set_options(timeout=SLOW)


class Gate:
    """Lets passes of the model through, all or only some."""

    def __init__(self) -> None:
        self._passes, self._left = threading.Condition(), -1

    def allow(self, passes: int) -> None:
        """Let this many through, then hold the next; -1 lets all through."""
        with self._passes:
            self._left = passes
            self._passes.notify_all()

    def __call__(self, *_inputs: Any) -> None:
        with self._passes:
            self._passes.wait_for(lambda: self._left != 0, timeout=60)
            self._left -= self._left > 0


@dataclass(frozen=True)
class Served:
    """The running page, what is behind it and the model's gate."""

    url: str
    gate: Gate


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder, gate = tmp_path_factory.mktemp("live"), Gate()
    with small_studio(folder) as studio:
        studio.on_device("gate", "Gate", lambda used: hold(used.model.model, gate)).result()
        with gr.Blocks(analytics_enabled=False) as app:
            build_live_tab(studio)
        with address_of(app) as url:
            yield Served(url, gate)
            gate.allow(-1)


def hold(model: Any, gate: Gate) -> None:
    model.register_forward_pre_hook(gate)


@pytest.fixture
def open_page(served: Served, browser: Browser) -> Iterator[OpenPage]:
    """Opens the page with short answers; at the end no script failed, nothing left the machine."""
    contexts, faults = [], []

    def opened(width: int = 1280, height: int = 900, theme: str = "light") -> Page:
        context = browser.new_context(viewport={"width": width, "height": height})
        contexts.append(context)
        kept = json.dumps(json.dumps({"sampling": SETTINGS}))
        context.add_init_script(
            "if (!sessionStorage.getItem('readout-live-chat')) "
            f"sessionStorage.setItem('readout-live-chat', {kept})"
        )
        page = context.new_page()
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto(f"{served.url}?__theme={theme}")
        expect(page.locator("#live-send")).to_be_enabled()
        return page

    served.gate.allow(-1)
    yield opened
    served.gate.allow(-1)
    for context in contexts:
        context.close()
    assert faults == []


def say(page: Page, text: str) -> None:
    page.locator("#live-composer").fill(text)
    page.locator("#live-composer").press("Enter")


def status(page: Page) -> Locator:
    return page.locator(".lv-status")


def answered(page: Page) -> None:
    expect(status(page)).to_contain_text(re.compile(r"tokens? in [\d.]+ s"))


def turns(page: Page, role: str) -> Locator:
    return page.locator(f".lv-turn.lv-{role}")


def test_a_chat_is_read_out_and_a_reload_loses_nothing(open_page: OpenPage) -> None:
    page = open_page()
    say(page, "How are you?")
    answered(page)
    expect(page.locator("#live-composer")).to_have_value("")
    expect(turns(page, "user")).to_contain_text("How are you?")
    tokens = turns(page, "assistant").locator(".lv-token")
    assert 1 <= tokens.count() <= 12
    expect(page.locator("#live-about li")).to_have_count(4)
    expect(page.locator("#live-bars li")).to_have_count(4)
    coloured = turns(page, "user").locator(".lv-token").first
    before = coloured.get_attribute("style")
    page.locator("#live-concept").select_option("afraid")
    expect(page.locator(".lv-legend b")).to_have_text("afraid")
    page.locator("#live-concept").select_option("happy")
    expect(page.locator(".lv-legend b")).to_have_text("happy")
    assert before is not None
    assert "rgba" in before
    coloured.click()
    expect(page.locator("#live-bars .lv-title")).to_have_text("Selected token")
    page.keyboard.press("Escape")
    expect(page.locator("#live-bars .lv-title")).to_have_text("Now")
    page.locator("#live-mean").check()
    expect(page.locator("#live-bars .lv-title")).to_have_text("Mean of the answer")
    page.locator("#live-kind").select_option("cosine")
    expect(page.locator(".lv-legend")).to_contain_text("cosine")
    answer = turns(page, "assistant").locator(".lv-text").inner_text()
    page.locator("#live-composer").fill("not sent yet")
    page.reload()
    answered(page)
    expect(page.locator("#live-composer")).to_have_value("not sent yet")
    expect(page.locator(".lv-legend")).to_contain_text("cosine")
    assert turns(page, "assistant").locator(".lv-text").inner_text() == answer
    expect(turns(page, "assistant").locator(".lv-token").first).to_have_attribute(
        "style", re.compile("rgba")
    )


def test_escape_stops_the_answer_within_one_token(open_page: OpenPage, served: Served) -> None:
    page = open_page()
    served.gate.allow(5)
    page.locator("#live-composer").press("Shift+Enter")
    say(page, "Go on\nand on")
    expect(status(page)).to_contain_text(re.compile(r"Answering · 5 tokens"))
    with page.expect_response(lambda response: "live_stop" in (response.request.post_data or "")):
        page.keyboard.press("Escape")
    served.gate.allow(-1)
    expect(status(page)).to_contain_text("stopped")
    expect(status(page)).to_contain_text(re.compile(r"^6 tokens"))
    expect(page.locator("#live-send")).to_be_visible()


def test_answers_are_made_anew_edited_and_brought_back(open_page: OpenPage) -> None:
    page = open_page()
    say(page, "First question")
    answered(page)
    first = turns(page, "assistant").locator(".lv-text").inner_text()
    page.get_by_role("button", name="Regenerate").last.click()
    expect(turns(page, "assistant").locator(".lv-text")).not_to_have_text(first)
    answered(page)
    expect(page.locator("#live-seed")).to_have_value("1")
    page.locator("#live-undo").click()
    expect(turns(page, "assistant").locator(".lv-text")).to_have_text(first)
    turns(page, "user").get_by_role("button", name="Edit").click()
    page.locator(".lv-edit").fill("Another question")
    page.locator(".lv-edit").press("Enter")
    expect(turns(page, "user")).to_contain_text("Another question")
    answered(page)
    turns(page, "assistant").get_by_role("button", name="Edit").click()
    page.locator(".lv-edit").fill("I feel calm.")
    page.get_by_role("button", name="Save").click()
    say(page, "Why?")
    answered(page)
    expect(page.locator(".lv-turn")).to_have_count(4)
    expect(turns(page, "assistant").first).to_contain_text("I feel calm.")
    expect(turns(page, "assistant").first.locator(".lv-token")).not_to_have_count(0)


def test_two_pages_wait_for_each_other_and_never_mix(open_page: OpenPage, served: Served) -> None:
    one, two = open_page(), open_page(width=390, height=844, theme="dark")
    served.gate.allow(0)
    say(one, "The first page asks")
    expect(status(one)).to_contain_text("Reading the chat")
    say(two, "The second page asks")
    expect(status(two)).to_have_text("1 job before this one: Answering in a chat")
    served.gate.allow(-1)
    answered(one)
    answered(two)
    expect(turns(one, "user")).to_have_text(re.compile("The first page asks"))
    expect(turns(two, "user")).to_have_text(re.compile("The second page asks"))
    overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert two.evaluate(overflow) <= 0


def test_wrong_settings_are_told_and_the_message_stays(open_page: OpenPage) -> None:
    page = open_page()
    page.locator(".lv-more summary").click()
    page.locator("#live-temperature").fill("-3")
    page.locator("#live-system").fill("Be kind.")
    say(page, "Do not lose me")
    expect(page.locator(".lv-message:visible")).to_contain_text("temperature is -3")
    expect(turns(page, "user")).to_contain_text("Do not lose me")
    page.locator("#live-temperature").fill("0")
    page.locator("#live-composer").press("Enter")
    answered(page)
    expect(turns(page, "system")).to_contain_text("Be kind.")
    expect(turns(page, "system").locator(".lv-token")).not_to_have_count(0)


def test_the_heatmap_grows_and_a_cell_chooses_token_and_concept(
    open_page: OpenPage, served: Served
) -> None:
    page = open_page(width=640)
    heatmap = page.locator(".lv-wide .score-map")
    place = heatmap.locator(".map-place")
    served.gate.allow(3)
    say(page, "so " * 60)
    expect(status(page)).to_contain_text("Answering · 3 tokens")
    expect(place).to_contain_text(re.compile(r"of \d+"))
    first, last, total = map(int, re.findall(r"\d+", place.inner_text()))
    assert first > 0
    assert last == total - 1
    overview = heatmap.locator(".map-overview").bounding_box()
    assert overview is not None
    assert overview["height"] > 40
    served.gate.allow(-1)
    answered(page)
    _first, last, more = map(int, re.findall(r"\d+", place.inner_text()))
    assert last == more - 1 > total - 1

    labels = heatmap.locator(".map-labels button")
    cells = heatmap.locator(".map-cells")
    cells.scroll_into_view_if_needed()
    cells.hover(position={"x": 60, "y": 30})
    where = heatmap.locator(".map-tip span").first.inner_text()
    cells.click(position={"x": 60, "y": 30})
    expect(page.locator("#live-bars .lv-title")).to_have_text("Selected token")
    concept, _layer, token = where.split(" · ")
    assert concept == labels.nth(1).inner_text()
    expect(page.locator("#live-bars .lv-detail")).to_contain_text(f"· {token} ·")
    expect(page.locator(".lv-legend b")).to_have_text(concept)
    labels.first.click()
    expect(heatmap.locator(".map-chosen")).to_have_text(labels.first.inner_text())
    expect(page.locator(".lv-legend b")).to_have_text(labels.first.inner_text())
