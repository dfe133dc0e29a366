"""Take the README's screenshots of the running app: `python docs/screenshots.py URL [FOLDER]`."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from playwright.sync_api import Browser, Page, expect, sync_playwright

SIZES = {"desktop": (1440, 900), "phone": (390, 844)}
TABS = (
    "Concepts",
    "Train",
    "Inspect",
    "Compare",
    "Live",
    "Steering",
    "Snippets",
    "Cross-talk",
    "Generalization",
    "Layers",
    "Advice",
    "Export",
)
BUTTONS = {"Generalization": "#generalization-judge", "Layers": "#layers-compare"}
PROMPT = (
    "I lost my keys, then the dog ran away and nobody came to help. "
    "But in the evening she was back at the door!"
)
OTHER_PROMPT = PROMPT.replace("But", "And").replace("back at", "still not at")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


def open_page(browser: Browser, url: str, theme: str, size: tuple[int, int]) -> Page:
    """The app in one theme and size, with a trained run in use."""
    page = browser.new_page(viewport={"width": size[0], "height": size[1]})
    page.goto(f"{url}?__theme={theme}")
    expect(page.locator("#retrain")).to_have_text("Retrain", timeout=300_000)
    return page


def show(page: Page, tab: str) -> None:
    """One tab with something on it."""
    found = page.get_by_role("tab", name=tab, exact=True)
    if not found.is_visible():
        page.locator(".overflow-menu > button").first.click()
        found = page.locator(".overflow-dropdown button", has_text=tab)
    found.click()
    if tab in BUTTONS:
        page.click(BUTTONS[tab])
        page.wait_for_timeout(30_000)
    if tab == "Inspect":
        page.locator("#inspect-prompt textarea").fill(PROMPT)
        page.click("#inspect-read")
        expect(page.locator("#inspect-results .js-plotly-plot").first).to_be_visible(timeout=60_000)
        scroll_to(page, "#inspect-strip")
    if tab == "Compare":
        page.get_by_label("Two prompts").click()
        page.locator("#compare-first-text textarea").fill(PROMPT)
        page.locator("#compare-second-text textarea").fill(OTHER_PROMPT)
        page.click("#compare-go")
        expect(page.locator("#compare-plot .js-plotly-plot")).to_be_visible(timeout=60_000)
        scroll_to(page, "#compare-results")
    page.wait_for_timeout(4000)


def scroll_to(page: Page, place: str) -> None:
    """Put a part of a long tab below the header."""
    page.locator(place).evaluate("part => { part.scrollIntoView(); window.scrollBy(0, -100); }")


def main(url: str, folder: Path) -> None:
    """Every tab, in both themes, on a desktop and on a phone."""
    folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        for theme in ("light", "dark"):
            for name, size in SIZES.items():
                page = open_page(browser, url, theme, size)
                for tab in TABS:
                    show(page, tab)
                    page.screenshot(path=folder / f"{tab.lower()}-{theme}-{name}.png")
                page.close()
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]) if len(sys.argv) > 2 else Path(__file__).parent)
