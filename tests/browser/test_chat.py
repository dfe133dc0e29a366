"""The chat of the room Read in Chromium, its branches, its steering and Compare.

Behind the page stands a tiny model whose passes a test can hold back.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from readout_ui.app.read.chats import TICK_SECONDS
from tests.support.rooms import wait_until_copied
from tests.support.studios import address_of, small_studio

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

    from readout_ui.app.session import Studio

pytest.importorskip("gradio")
playwright = pytest.importorskip("playwright.sync_api")
expect = playwright.expect
pytestmark = pytest.mark.browser
SAMPLING = {"max_new_tokens": 8, "temperature": 1.0, "top_p": 1.0, "seed": 0}
OpenPage = Callable[..., "Page"]
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


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
            self._passes.wait_for(lambda: self._left != 0, timeout=300)
            self._left -= self._left > 0


@dataclass(frozen=True)
class Served:
    """The running page, what is behind it and the model's gate."""

    studio: Studio
    url: str
    gate: Gate


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, tiny_folder: Path) -> Iterator[Served]:
    from readout_ui.app.page import build_app, launch_options

    with small_studio(tmp_path_factory.mktemp("chat"), tiny_folder) as studio:
        gate = Gate()
        hold = lambda used: used.model.model.register_forward_pre_hook(gate)  # noqa: E731
        studio.on_device("gate", "Gate", hold).result()
        with address_of(build_app(studio), **launch_options(studio)) as url:
            yield Served(studio, url, gate)
            gate.allow(-1)


@pytest.fixture
def open_page(
    served: Served, browser: Browser, watched_page: Callable[..., Page]
) -> Iterator[OpenPage]:
    """Opens the room with short answers."""

    def opened(
        width: int = 1440, height: int = 900, theme: str = "light", address: str = "#/read"
    ) -> Page:
        context = browser.new_context(viewport={"width": width, "height": height})
        context.grant_permissions(["clipboard-read", "clipboard-write"])
        kept = json.dumps(json.dumps({"sampling": SAMPLING}))
        context.add_init_script(
            "if (!localStorage.getItem('readout-chat-settings')) "
            f"localStorage.setItem('readout-chat-settings', {kept})"
        )
        page = watched_page(served.url, theme=theme, address=address, context=context)
        page.locator("#read-desk [data-drawn]").wait_for()
        return page

    served.gate.allow(-1)
    yield opened
    served.gate.allow(-1)


def say(page: Page, text: str) -> None:
    page.locator("#chat-box").fill(text)
    page.locator("#chat-box").press("Enter")


def status(page: Page) -> Locator:
    return page.locator(".rc-chat .rc-status")


def answered(page: Page) -> None:
    expect(status(page)).to_contain_text(re.compile(r"tokens? in [\d.]+ s"))


def turns(page: Page, role: str = "") -> Locator:
    return page.locator(f".rd-text .rd-turn{f'.rd-{role}' if role else ''}")


def words(page: Page) -> str:
    """What the last turn says."""
    return turns(page).last.locator(".rd-words").inner_text()


def press(page: Page, name: str, at: Locator | None = None) -> None:
    (at or turns(page).last).get_by_role("button", name=name, exact=True).click()


def test_a_text_becomes_a_chat_and_a_reload_loses_nothing(open_page: OpenPage) -> None:
    page = open_page()
    expect(turns(page)).to_have_count(2)  # the frame's question, and the text as the answer
    say(page, "How was your day?")
    answered(page)
    expect(page.locator("#chat-box")).to_have_value("")
    expect(turns(page)).to_have_count(4)
    expect(turns(page, "user").last).to_contain_text("How was your day?")
    for turn in (turns(page, "user").last, turns(page, "assistant").last):
        first = turn.locator(".rd-token").first
        expect(first).to_have_attribute("style", re.compile("color-mix"))
    said = words(page)
    page.locator("#chat-box").fill("not sent yet")
    page.reload()
    expect(turns(page)).to_have_count(4)
    expect(turns(page).last.locator(".rd-words")).to_have_text(said)
    expect(page.locator("#chat-box")).to_have_value("not sent yet")
    page.locator("#chat-list").click()
    expect(page.locator(".rc-row")).to_have_count(1)
    with page.expect_download() as saved:
        page.locator("#chat-save").click()
    chat = json.loads(Path(saved.value.path()).read_text(encoding="utf-8"))
    texts = [turn.get("text") for turn in chat["tree"]["turns"].values()]
    assert "How was your day?" in texts
    page.locator("#chat-new").click()
    expect(turns(page)).to_have_count(0)
    expect(page.locator("#chat-new")).to_be_hidden()
    expect(page.locator("#chat-box")).to_have_value("")
    page.locator("#chat-list").click()
    page.locator(".rc-open").click()
    expect(turns(page)).to_have_count(4)


def test_a_growing_answer_shows_its_means_and_last_token_and_escape_stops_it_within_one_token(
    open_page: OpenPage, served: Served
) -> None:
    page = open_page()
    served.gate.allow(3)
    say(page, "Go on")
    expect(status(page)).to_contain_text(re.compile(r"Answering · 3 tokens"))
    time.sleep(TICK_SECONDS)  # the page is not told of tokens that came sooner after the prompt
    served.gate.allow(1)
    rail = page.locator(".rd-left + .rd-rail")
    last = rail.locator(".rd-last").first
    expect(rail.locator("h2")).to_have_text("This answer reads as")
    expect(rail.locator(".rd-sub")).to_contain_text(re.compile(r"mean z of \d tokens? · last “"))
    expect(last).to_have_text(re.compile(r"^−?\d+\.\d\d$"))
    with page.expect_response(lambda response: "chat_stop" in (response.request.post_data or "")):
        page.keyboard.press("Escape")
    served.gate.allow(-1)
    expect(status(page)).to_contain_text("stopped")
    expect(status(page)).to_contain_text(re.compile(r"^5 tokens"))
    expect(last).to_be_hidden()
    expect(page.locator("#chat-send")).to_be_visible()


def test_branches_are_made_walked_starred_noted_and_compared(open_page: OpenPage) -> None:
    page = open_page()
    say(page, "First question")
    answered(page)
    first = words(page)
    press(page, "Again")
    expect(turns(page).last.locator(".rc-branch")).to_have_text("branch 2 of 2")
    answered(page)
    second = words(page)
    assert second != first
    press(page, "Branch before")
    expect(turns(page).last.locator(".rd-words")).to_have_text(first)
    page.keyboard.press("ArrowRight")
    expect(turns(page).last.locator(".rc-branch")).to_have_text("branch 2 of 2")
    expect(turns(page).last.locator(".rd-words")).to_have_text(second)
    press(page, "Star this branch")
    press(page, "Note")
    page.locator(".rc-note").fill("the warmer one")
    page.reload()
    expect(page.locator(".rc-note")).to_have_value("the warmer one")
    expect(turns(page).last.locator(".rc-star")).to_have_attribute("aria-pressed", "true")
    press(page, "Edit", turns(page, "user").last)
    page.locator(".rc-edit-box").fill("Another question")
    page.locator(".rc-edit-box").press("Enter")
    expect(turns(page, "user").last).to_contain_text("Another question")
    answered(page)
    press(page, "Branch before", turns(page, "user").last)
    expect(page.locator(".rc-note")).to_have_value("the warmer one")
    press(page, "Compare")
    expect(page.locator(".rc-side .rd-words").last).to_be_visible()
    assert "compare=branches" in page.url
    expect(page.locator(".rc-side")).to_have_count(2)
    expect(page.locator("#compare-about")).to_contain_text("token")


def test_the_model_goes_on_from_any_of_its_words(open_page: OpenPage) -> None:
    page = open_page()
    say(page, "How was your day?")
    answered(page)
    page.locator("#rd-concept").focus()
    token = turns(page, "assistant").first.locator(".rd-token").nth(2)
    begun = "".join(turns(page, "assistant").first.locator(".rd-token").all_inner_texts()[:3])
    token.click()
    page.get_by_role("button", name="Fork the chat from here").click()
    expect(turns(page).last.locator(".rc-branch")).to_have_text("branch 2 of 2")
    answered(page)
    expect(turns(page)).to_have_count(2)
    assert words(page).startswith(begun)
    assert words(page) != begun


def test_wrong_settings_are_told_and_thinking_is_sent(open_page: OpenPage) -> None:
    page = open_page()
    gear = page.get_by_role("button", name=re.compile("Layer, unit"))
    gear.click()
    page.locator(".rc-sampling summary").click()
    page.locator("#chat-temperature").fill("-3")
    page.locator("#chat-system").fill("Be kind.")
    page.locator("#chat-thinking").select_option("off")
    page.keyboard.press("Escape")
    say(page, "Do not lose me")
    expect(page.locator(".rc-chat .rc-message")).to_contain_text("temperature is -3")
    expect(turns(page, "user").last).to_contain_text("Do not lose me")
    gear.click()
    page.locator("#chat-temperature").fill("0")
    page.keyboard.press("Escape")
    sent: list[dict[str, Any]] = []
    page.on("request", lambda request: sent.append(_asked(request.post_data or "")))
    page.locator("#chat-box").press("Enter")
    answered(page)
    asked = next(one for one in sent if one)
    assert (asked["thinking"], asked["system"]) == (False, "Be kind.")
    expect(turns(page, "system")).to_contain_text("Be kind.")
    page.reload()
    expect(turns(page, "system")).to_contain_text("Be kind.")
    expect(page.locator("#chat-thinking")).to_have_value("false")


def _asked(body: str) -> dict[str, Any]:
    """What a request asked of `chat_ask`; empty for other requests."""
    if "chat_ask" not in body:
        return {}
    found: Any = json.loads(body)
    while not (isinstance(found, dict) and "turns" in found):
        values = list(found.values()) if isinstance(found, dict) else found
        found = next(one for one in values if isinstance(one, dict | list) and "turns" in str(one))
    return dict(found)


def test_two_pages_wait_for_each_other_and_never_mix(open_page: OpenPage, served: Served) -> None:
    one, two = open_page(), open_page(width=390, height=844, theme="dark")
    served.gate.allow(0)
    say(one, "The first page asks")
    expect(status(one)).to_contain_text("Reading the chat")
    say(two, "The second page asks")
    expect(status(two)).to_have_text("1 job before this one: Answering in a chat")
    expect(turns(two, "user").last).to_contain_text("The second page asks")
    served.gate.allow(-1)
    answered(one)
    answered(two)
    expect(turns(one, "user").last).to_contain_text("The first page asks")
    expect(turns(two, "user").last).to_contain_text("The second page asks")
    assert two.evaluate(OVERFLOW) <= 0


def test_a_recipe_steers_both_ways_and_is_swept(open_page: OpenPage, served: Served) -> None:
    page = open_page()
    page.get_by_role("button", name="Steer").click()
    drawer = page.locator("#read-steer")
    box = page.locator("#steer-recipe")
    box.fill("4 clam")
    expect(page.locator("#steer-fault")).to_contain_text("character 3: concept clam")
    box.fill("4 calm")
    expect(page.locator("#steer-fault")).to_be_hidden()
    page.locator("#steer-add").select_option("angry")
    expect(box).to_have_value("4 calm + 0.25 angry")
    page.locator("#steer-where").select_option("generated")
    expect(box).to_have_value("4 calm + 0.25 angry @generated")
    slider = page.get_by_label("How much angry")
    slider.focus()
    slider.press("ArrowLeft")
    expect(box).to_have_value("4 calm + 0.2 angry @generated")
    drawer.get_by_role("button", name="Take angry out").click()
    expect(box).to_have_value("4 calm @generated")
    drawer.get_by_role("button", name="Copy curl").click()
    wait_until_copied(page, '"steer":"4 calm @generated"')
    with page.expect_download() as download:
        drawer.get_by_role("button", name="Save as a file").click()
    box.fill("1 angry")
    page.locator("#steer-file").set_input_files(download.value.path())
    expect(box).to_have_value("4 calm @generated")
    page.locator("#steer-both").click()
    expect(page.locator("#steer-cost")).to_contain_text("Perplexity of the plain answer")
    answers = drawer.locator(".rs-answer .rd-words")
    expect(answers).to_have_count(2)
    plain, steered = answers.all_inner_texts()
    assert plain != steered
    moved = drawer.locator(".rs-pushed td").all_inner_texts()
    assert float(moved[1].replace("−", "-")) > float(moved[0].replace("−", "-")) + 1
    expect(turns(page).last.locator(".rc-recipe")).to_have_text("4 calm @generated")
    expect(turns(page).last.locator(".rc-branch")).to_have_text("branch 3 of 3")
    page.locator("#steer-factors").fill("0,1")
    page.locator("#steer-sweep").click()
    expect(drawer.locator(".rs-swept tbody .rs-said")).to_have_count(2)
    expect(drawer.locator(".rs-chart")).to_have_attribute("aria-label", re.compile("calm from"))
    page.keyboard.press("Escape")
    expect(drawer).not_to_have_class(re.compile("open"))
    page.reload()
    expect(turns(page).last.locator(".rc-recipe")).to_have_text("4 calm @generated")


def test_two_texts_stand_side_by_side_and_an_address_opens_them(open_page: OpenPage) -> None:
    page = open_page(address="#/read?compare=texts")
    page.locator("#compare-text-0").fill("I feel calm and warm.")
    page.locator("#compare-go").click()
    expect(page.locator(".rc-compare .rc-message")).to_contain_text("nothing to read in text B")
    page.locator("#compare-text-1").fill("I feel calm and afraid.")
    page.locator("#compare-go").click()
    expect(page.locator("#compare-about")).to_contain_text("where both have the same token")
    expect(page.locator(".rc-side .rd-token")).not_to_have_count(0)
    expect(page.locator(".rc-differs .rd-bar:visible")).to_have_count(4)
    page.locator(".rc-differs .rd-bar-name").last.click()
    name = page.locator(".rc-differs .rd-bar-name").last.inner_text()
    expect(page.locator("#compare-concept")).to_have_value(name)
    layer = page.locator("#compare-layer-0")
    layer.focus()
    before = layer.get_attribute("aria-valuetext")
    layer.press("ArrowLeft" if layer.input_value() != "0" else "ArrowRight")
    expect(layer).not_to_have_attribute("aria-valuetext", before or "")
    page.locator(".rc-way", has_text="Two runs").click()
    expect(page.locator(".rc-compare .rc-status")).to_contain_text("only one run")
    expect(page.locator("#compare-go")).to_be_disabled()
    page.locator("#compare-close").click()
    expect(page.locator("#chat-box")).to_be_visible()
    assert page.evaluate(OVERFLOW) <= 0
