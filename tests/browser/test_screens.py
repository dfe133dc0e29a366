"""Every screen against axe-core, wide in both themes and on a phone in dark, and the keys there."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from readout_ui.app.page import build_app, launch_options
from tests.browser.test_judge import report_of
from tests.support.axe import violations
from tests.support.rooms import open_room, until
from tests.support.studios import address_of, small_studio

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Page

expect = pytest.importorskip("playwright.sync_api").expect
pytestmark = [pytest.mark.browser, pytest.mark.once]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory, tiny_folder: Path) -> Iterator[str]:
    """The whole page: a named run in use that is judged, an older one, and a pack."""
    with small_studio(tmp_path_factory.mktemp("screens"), tiny_folder) as studio:
        earlier = datetime.now(UTC) - timedelta(days=1)
        studio.run().save(studio.options.runs, (), earlier)
        studio.runs.describe(studio.run().id, name="first try", note="With eight texts.")
        studio.runs.keep_report(report_of(studio))
        with address_of(build_app(studio), **launch_options(studio)) as address:
            yield address


def read_text(page: Page) -> None:
    text = "I lost my keys, then the dog ran away."
    page.locator("#rd-input").fill(text)
    page.locator("#rd-input").press("Enter")
    expect(page.locator(".rd-assistant .rd-token").last).to_contain_text(".")
    expect(page.locator(".rd-axis")).to_contain_text("chance: 95 % of")
    expect(page.locator(".rd-assistant .rd-words")).to_have_text(text)  # every word once


def open_token(page: Page) -> None:
    page.locator(".rd-assistant .rd-token").nth(3).click()
    expect(page.locator(".rd-token-panel .rd-next li")).to_have_count(10)


def open_gear(page: Page) -> None:
    page.get_by_role("button", name="Layer, unit, order, template").click()
    expect(page.locator("#rd-layer")).to_be_visible()


def chat(page: Page) -> None:
    page.locator("#chat-box").fill("How was your day?")
    page.locator("#chat-box").press("Enter")
    expect(page.locator(".rc-chat .rc-status")).to_contain_text(re.compile(r"tokens? in [\d.]+ s"))


def steer(page: Page) -> None:
    page.get_by_role("button", name="Steer").click()
    page.locator("#steer-recipe").fill("0.3 calm @generated")
    expect(page.locator("#steer-both")).to_be_visible()


def compare(page: Page) -> None:
    page.locator("#compare-text-0").fill("I am calm and still today.")
    page.locator("#compare-text-1").fill("I am angry and loud today.")
    page.locator("#compare-go").click()
    expect(page.locator(".rc-differs .rd-bar").first).to_be_visible()


def see(shown: str) -> Callable[[Page], None]:
    """Waits for what the address opens."""

    def act(page: Page) -> None:
        expect(page.locator(shown).first).to_be_visible()

    return act


def press(role: Any, name: str, shown: str = "dialog[open]") -> Callable[[Page], None]:
    """Presses a button by its name and waits for what it opens."""

    def act(page: Page) -> None:
        page.get_by_role(role, name=name, exact=True).locator("visible=true").first.click()
        expect(page.locator(shown).first).to_be_visible()

    return act


def tap(button: str, shown: str) -> Callable[[Page], None]:
    """Presses a button by its selector and waits for what it brings."""

    def act(page: Page) -> None:
        page.locator(button).locator("visible=true").first.click()
        expect(page.locator(shown).first).to_be_visible()

    return act


def shortcuts(page: Page) -> None:
    page.evaluate("document.activeElement?.blur()")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Shortcuts")).to_be_visible()


def palette(page: Page) -> None:
    page.keyboard.press("Control+k")
    expect(page.locator(".palette").get_by_role("option").first).to_be_visible()


SCREENS: dict[str, tuple[str, Callable[[Page], None]]] = {
    "all concepts": ("write", see(".rs-row")),
    "a concept": ("write/calm", see(".rs-text")),
    "two side by side": ("write/calm?beside=afraid", see("dialog .rs-side li")),
    "new concept": ("write?new=1", see("dialog input")),
    "history": ("write/calm", press("button", "History")),
    "import": ("write", press("button", "Import")),
    "trash": ("write", press("button", "Trash")),
    "sources": ("write?from=pairs", see("#src-train")),
    "stories": ("write?from=stories", see("#src-train")),
    "memories": ("write?from=memories", see("#src-train")),
    "a text": ("read", read_text),
    "a token": ("read", open_token),
    "the gear": ("read", open_gear),
    "steering": ("read", steer),
    "a chat": ("read", chat),
    "many texts": ("read/many", see("dialog .rd-many-box")),
    "passages": ("read/passages", see("#read-passages button")),
    "compare": ("read?compare=texts", compare),
    "compare runs": ("read?compare=runs", see("#compare-go")),
    "report": ("judge", see(".report .verd")),
    "a pair": ("judge/cross-talk?pair=afraid~angry", see("dialog.judge-pair li")),
    "cross-talk": ("judge/cross-talk", see("#crosstalk .at >> visible=true")),
    "new texts": ("judge/new-texts", see("#generalization-judge")),
    "layers": ("judge/layers", see("#layers-compare")),
    "runs": ("ship", see("#runs tbody tr")),
    "a run": ("ship", tap("#runs [data-act=menu]", "dialog[open]")),
    "a diff": ("ship", tap("[data-act=compare][data-picked]", "#diff-found h2")),
    "export, all of it": ("ship", tap("#export-what button", "#export-layers")),
    "export to a folder": ("ship", tap("#export-to-folder", "#export-path")),
    "export to the hub": ("ship", tap("#hub", "#hub-about")),
    "training settings": ("ship", tap("#train-gear button", "#train-drawer")),
    "model picker": ("ship", tap("#model-chip", "#model-free")),
    "shortcuts": ("ship", shortcuts),
    "palette": ("ship", palette),
}


def part_of(page: Page) -> str:
    """The sheet, the drawer or the room in front; header and drawers have a test of their own."""
    for part in ("dialog[open]", ".drawer.open"):
        if page.locator(part).count():
            return part
    return f"#room-{page.evaluate('document.body.dataset.room')}"


def close(page: Page) -> None:
    """Close sheets and drawers."""
    for _ in range(3):
        if page.locator("dialog[open], .drawer.open").count():
            page.keyboard.press("Escape")


@pytest.mark.parametrize(("width", "theme"), [(1440, "light"), (1440, "dark"), (390, "dark")])
def test_axe_finds_no_fault_on_any_screen(
    url: str, watched_page: Callable[..., Page], width: int, theme: str
) -> None:
    page, found = watched_page(url, width, 900, theme), {}
    page.emulate_media(reduced_motion="reduce")  # no colour is on its way to another
    expect(page.locator(".rooms [aria-current]")).to_have_text("Read")
    for name, (address, act) in SCREENS.items():
        open_room(page, address)
        act(page)
        page.evaluate(QUIET)
        page.evaluate(
            "scrollTo(0, 0)"
        )  # else the header covers half a field, which axe-core counts
        found[name] = violations(page, part_of(page))
        found[name]["mouse only"] = page.evaluate(MOUSE_ONLY)
        found[name]["outside its sheet"] = page.evaluate(OUTSIDE)
        wide = page.evaluate("document.documentElement.scrollWidth")
        found[name]["scrolls sideways"] = [wide] if wide > width else []
        close(page)
    faults = {name: [*rules.items()] for name, rules in found.items() if any(rules.values())}
    assert faults == {}


QUIET = """() => new Promise((done) => {
  const quiet = () => { watcher.disconnect(); done(); };
  let timer = setTimeout(quiet, 200);
  setTimeout(quiet, 5000);
  const watcher = new MutationObserver(() => {
    clearTimeout(timer);
    timer = setTimeout(quiet, 200);
  });
  watcher.observe(document.body, { childList: true, subtree: true });
})"""
"""Comes back when nothing more is put onto the page."""

MOUSE_ONLY = """() => {
  const keys = "a[href], button, input, select, textarea, summary, label, [tabindex], [role]";
  const pointed = (each) => getComputedStyle(each).cursor === "pointer" && each.checkVisibility();
  return [...document.querySelectorAll("#rooms *, .drawer *, dialog *")]
    .filter((each) => pointed(each) && !each.closest(keys) && !each.querySelector(keys))
    .map((each) => each.outerHTML.slice(0, 200));
}"""
"""What a pointer can press and no key can reach."""


OUTSIDE = """() => {
  const sheet = document.querySelector("dialog[open]");
  if (!sheet) return [];
  const { left, right } = sheet.getBoundingClientRect();
  return [...sheet.querySelectorAll("button, a, input")]
    .filter((each) => each.checkVisibility() && !each.closest(".rs-hidden"))
    .filter((each) => {
      const at = each.getBoundingClientRect();
      return at.left < left || at.right > right;
    })
    .map((each) => each.outerHTML.slice(0, 200));
}"""
"""What is cut off at the sides of a sheet."""


def outline(page: Page) -> tuple[str, str]:
    """Style and width of the line around what has the focus."""
    style, width = page.evaluate(
        "() => { const at = getComputedStyle(document.activeElement);"
        "return [at.outlineStyle, at.outlineWidth] }"
    )
    return style, width


def test_radios_sliders_boxes_and_lists_show_where_the_keyboard_is(
    url: str, watched_page: Callable[..., Page]
) -> None:
    page = watched_page(url)
    expect(page.locator(".rooms [aria-current]")).to_have_text("Read")
    page.locator("#train-gear button").click()
    chosen = page.get_by_label("Whitened mean difference (default)")

    def next_is_reached() -> bool:
        # The page's first news may draw the choices anew, and what is drawn anew has no focus.
        chosen.press("ArrowDown")
        return bool(page.evaluate("document.activeElement.value === 'mean'"))

    until(page, next_is_reached)
    assert outline(page) == ("solid", "2px")
    page.keyboard.press("ArrowUp")
    expect(chosen).to_be_checked()
    page.keyboard.press("Escape")
    read_text(page)
    open_gear(page)
    page.locator("#rd-layer").focus()
    page.keyboard.press("ArrowLeft")
    assert outline(page) == ("solid", "2px")
    page.keyboard.press("Escape")
    for selector in (".rd-bar-name[tabindex='0']", ".rd-token[tabindex='0']"):
        page.locator(selector).first.focus()
        page.keyboard.press("ArrowRight")
        assert outline(page) == ("solid", "2px")
    open_room(page, "ship")
    page.get_by_role("radio", name="Readout").focus()
    page.keyboard.press("ArrowDown")
    expect(page.get_by_role("radio", name="GGUF")).to_be_focused()
    assert outline(page) == ("solid", "2px")


def test_download_is_few_stops_behind_the_skip_link(
    url: str, watched_page: Callable[..., Page]
) -> None:
    page = watched_page(url)
    expect(page.locator(".rooms [aria-current]")).to_have_text("Read")
    open_room(page, "ship")
    expect(page.locator("#export-checks")).to_contain_text("texts unchanged")
    page.locator(".skip").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#room-ship")).to_be_focused()
    stops = 0
    while page.evaluate("document.activeElement.id") != "export-zip":
        page.keyboard.press("Tab")
        stops += 1
        assert stops <= 25


def test_nothing_moves_for_who_asked_for_less_motion(
    url: str, watched_page: Callable[..., Page]
) -> None:
    page = watched_page(url)
    page.emulate_media(reduced_motion="reduce")
    expect(page.locator(".rooms [aria-current]")).to_have_text("Read")
    longest = """() => Math.max(...[...document.querySelectorAll("*")].map((each) => {
      const at = getComputedStyle(each);
      return Math.max(...`${at.transitionDuration},${at.animationDuration}`
        .split(",").map((time) => Number.parseFloat(time) * (time.endsWith("ms") ? 1 : 1000)));
    }))"""
    assert page.evaluate(longest) < 1
