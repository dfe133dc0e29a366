"""How a browser test opens a room of the page, or a part of one, by its address."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from tests.support.running_app import PATIENCE_MS

if TYPE_CHECKING:
    from playwright.sync_api import Page

PARTS = {
    "Concepts": "write",
    "Sources": "write?from=pairs",
    "Inspect": "read",
    "Snippets": "read/passages",
    "Report": "judge",
    "Cross-talk": "judge/cross-talk",
    "New texts": "judge/new-texts",
    "Layers": "judge/layers",
    "Runs": "ship",
    "Export": "ship",
}
"""Where each part that is a tab today stands."""


def open_room(page: Page, address: str) -> None:
    """Open `judge/new-texts`, or a part by its name, and wait until it is on the page."""
    wanted = PARTS.get(address, address)
    room = wanted.split("/")[0].split("?")[0]
    page.evaluate("address => { location.hash = `#/${address}` }", wanted)
    page.wait_for_function("room => document.body.dataset.room === room", arg=room)
    page.locator(f"#room-{room}").wait_for()
    page.wait_for_function(PART_IS_OPEN, arg=[room, wanted.partition("/")[2].split("?")[0]])


PART_IS_OPEN = """([room, part]) => {
  const tabs = [...document.querySelectorAll(`#${room}-parts > .tab-wrapper [role=tab]`)];
  const named = tabs.find((tab) => tab.textContent.trim().toLowerCase() === part);
  return !named || named.ariaSelected === "true";
}"""


def wait_until_trained(page: Page, timeout: float = 300_000) -> None:
    """Wait until no text differs from those of the run in use."""
    page.locator("#retrain", has_text="up to date").wait_for(timeout=timeout)


def wait_until_copied(page: Page, wanted: str) -> None:
    """Wait until the clipboard holds these words: a page is told later that they are there."""
    page.wait_for_function(
        "async wanted => (await navigator.clipboard.readText()).includes(wanted)", arg=wanted
    )


def until(page: Page, true: Callable[[], bool]) -> None:
    """Wait for something behind the page, such as a file: some changes are shown before."""
    deadline = time.monotonic() + PATIENCE_MS / 1000
    while not (found := true()) and time.monotonic() < deadline:
        page.wait_for_timeout(50)
    assert found
