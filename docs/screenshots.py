"""Take the pictures of README and docs of the running app: `python docs/screenshots.py URL`.

With a folder, `python docs/screenshots.py URL FOLDER`, every part of the page in both themes and
sizes goes there.
"""

from __future__ import annotations

import shutil
import sys
from itertools import product
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright

Wanted = tuple[tuple[str, str, str], ...]
SIZES = {"desktop": (1440, 900), "phone": (390, 844)}
PARTS = {
    "Write": "write/anxious",
    "Read": "read",
    "Chat": "read",
    "Compare": "read?compare=texts",
    "Steering": "read",
    "Judge": "judge",
    "Cross-talk": "judge/cross-talk",
    "Generalization": "judge/new-texts",
    "Layers": "judge/layers",
    "Ship": "ship",
}
ROOMS = ("Write", "Read", "Judge", "Ship")
DOCS: Wanted = (
    *product(ROOMS, ("light", "dark"), SIZES),
    *product(
        ("Cross-talk", "Generalization", "Chat", "Compare", "Steering"), ("light",), ("desktop",)
    ),
)
READY = {
    "Write": ".rs-box .rs-text",
    "Judge": ".report .verd",
    "Cross-talk": ".crosstalk .found",
    "Ship": "#runs tbody tr",
}
"""What has to be in sight before the picture."""
BUTTONS = {
    "Generalization": ("#generalization-judge", "#generalization-summary table"),
    "Layers": ("#layers-compare", "#layers-use"),
}
"""What is pressed, and what has to be in sight after it."""
PROMPT = (
    "I lost my keys, then the dog ran away and nobody came to help. "
    "But in the evening she was back at the door!"
)
OTHER_PROMPT = PROMPT.replace("But", "And").replace("back at", "still not at")
MESSAGE = "I lost my job today, and I don't know how to tell my family."
QUESTION = "How was your day?"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


def open_page(browser: Browser, url: str, theme: str, size: tuple[int, int]) -> Page:
    """The app in one theme and size, with a trained run in use."""
    page = browser.new_page(viewport={"width": size[0], "height": size[1]})
    page.goto(f"{url}?__theme={theme}")
    expect(page.locator("#model-chip.ready")).to_be_visible(timeout=300_000)
    expect(page.locator("#retrain")).to_have_text("Train · up to date", timeout=300_000)
    return page


def show(page: Page, tab: str) -> None:
    """One tab with something on it."""
    page.evaluate("address => { location.hash = `#/${address}` }", PARTS[tab])
    page.wait_for_timeout(1000)
    if tab in READY:
        expect(page.locator(READY[tab]).first).to_be_visible(timeout=120_000)
    if tab in BUTTONS:
        button, made = BUTTONS[tab]
        page.click(button)
        expect(page.locator(made).first).to_be_visible(timeout=300_000)
    if tab in STEPS:
        STEPS[tab](page)
    page.wait_for_timeout(2000)
    expect(page.locator("#cancel-training")).to_be_hidden(timeout=300_000)  # all is judged
    page.wait_for_timeout(500)


def read_text(page: Page) -> None:
    """A prompt, token by token."""
    page.locator("#rd-input").fill(PROMPT)
    page.locator("#rd-input").press("Enter")
    expect(page.locator(".rd-chance:visible").first).to_be_visible(timeout=180_000)


def compare(page: Page) -> None:
    """Two texts that part half-way."""
    page.locator("#compare-text-0").fill(PROMPT)
    page.locator("#compare-text-1").fill(OTHER_PROMPT)
    page.click("#compare-go")
    expect(page.locator(".rc-differs .rd-bar").first).to_be_visible(timeout=180_000)


def chat(page: Page) -> None:
    """A chat whose every turn is coloured."""
    page.locator("#chat-box").fill(MESSAGE)
    page.locator("#chat-box").press("Enter")
    expect(page.locator(".rc-chat .rc-status")).to_contain_text(" tokens in ", timeout=240_000)


def steering(page: Page) -> None:
    """One concept added: the answer without and with it, side by side."""
    page.locator("#chat-box").fill(QUESTION)
    page.get_by_role("button", name="Steer").click()
    page.locator("#steer-recipe").fill("0.25 happy @generated")
    page.click("#steer-both")
    expect(page.locator("#steer-cost")).to_contain_text("Perplexity", timeout=240_000)
    page.locator("#steer-cost").scroll_into_view_if_needed()


STEPS = {"Read": read_text, "Compare": compare, "Chat": chat, "Steering": steering}


def take(browser: Browser, url: str, folder: Path, wanted: Wanted) -> None:
    """The wanted tabs of one theme and size after another, on one page each."""
    for theme, size in dict.fromkeys((theme, size) for _, theme, size in wanted):
        page = open_page(browser, url, theme, SIZES[size])
        for tab in [name for name, *look in wanted if look == [theme, size]]:
            show(page, tab)
            file = folder / f"{tab.lower()}-{theme}-{size}.png"
            page.screenshot(path=file)
            Image.open(file).quantize(256).save(file, optimize=True)
        page.close()


def main(url: str, folder: Path | None) -> None:
    """The pictures of the docs beside this file, or everything into a folder."""
    everything = product(PARTS, ("light", "dark"), SIZES)
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        if folder is None:
            take(browser, url, Path(__file__).parent, DOCS)
        else:
            folder.mkdir(parents=True, exist_ok=True)
            take(browser, url, folder, tuple(everything))
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]) if len(sys.argv) > 2 else None)
