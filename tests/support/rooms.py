"""How a browser test opens a room of the page, or a part of one, by its address."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Page

PARTS = {
    "Concepts": "write",
    "Sources": "write?from=pairs",
    "Inspect": "read",
    "Live": "read/live",
    "Compare": "read/compare",
    "Steering": "read/steering",
    "Snippets": "read/passages",
    "Report": "judge",
    "Cross-talk": "judge/cross-talk",
    "New texts": "judge/new-texts",
    "Layers": "judge/layers",
    "Runs": "ship",
    "Export": "ship/export",
}
"""Where each part that is a tab today stands."""


def open_room(page: Page, address: str) -> None:
    """Open `judge/new-texts`, or a part by its name, and wait until it is on the page."""
    wanted = PARTS.get(address, address)
    room = wanted.split("/")[0].split("?")[0]
    page.evaluate("address => { location.hash = `#/${address}` }", wanted)
    page.wait_for_function("room => document.body.dataset.room === room", arg=room)
    page.locator(f"#room-{room}").wait_for()
    name = next((name for name, at in PARTS.items() if at == wanted), "")
    tab = page.locator(f"#{room}-parts > .tab-wrapper").get_by_role("tab", name=name, exact=True)
    if name and tab.count():  # elsewhere it is behind the three dots, or no tab any more
        page.wait_for_function("tab => tab.ariaSelected === 'true'", arg=tab.element_handle())
