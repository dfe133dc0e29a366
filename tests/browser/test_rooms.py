"""The shell of the page in Chromium: rooms and their addresses, header, drawer, keyboard."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from readout_ui.app.page import build_app, launch_options
from tests.support.rooms import open_room
from tests.support.studios import address_of, small_studio

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from readout_ui.app.session import Studio

playwright = pytest.importorskip("playwright.sync_api")
expect = playwright.expect
pytestmark = pytest.mark.browser
expect.set_options(timeout=20_000)


@dataclass(frozen=True)
class Served:
    """A running page and the session behind it."""

    url: str
    studio: Studio


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, tiny_folder: Path) -> Iterator[Served]:
    """The whole page over the small library with a run in use."""
    folder = tmp_path_factory.mktemp("rooms")
    with (
        small_studio(folder, tiny_folder) as studio,
        address_of(build_app(studio), **launch_options(studio)) as url,
    ):
        yield Served(url, studio)


def room_of(page: Page) -> str:
    room: str = page.evaluate("document.body.dataset.room")
    return room


def test_an_address_opens_its_room_and_survives_reload_back_and_links(
    served: Served, watched_page: Callable[..., Page]
) -> None:
    page = watched_page(served.url)
    expect(page).to_have_url(f"{served.url}?__theme=light#/read")
    expect(page.locator("#room-read")).to_be_visible()
    page.get_by_role("link", name="Judge").click()
    expect(page.locator("#room-judge")).to_be_visible()
    expect(page.locator("#room-read")).to_be_hidden()
    page.get_by_role("tab", name="Layers").click()
    expect(page).to_have_url(f"{served.url}?__theme=light#/judge/layers")
    page.reload()
    expect(page.get_by_role("tab", name="Layers")).to_have_attribute("aria-selected", "true")
    page.get_by_role("link", name="Ship").click()
    expect(page.locator("#room-ship")).to_be_visible()
    page.go_back()
    expect(page.get_by_role("tab", name="Layers")).to_have_attribute("aria-selected", "true")
    expect(page.get_by_role("link", name="Judge")).to_have_attribute("aria-current", "page")
    expect(page).to_have_title("Judge · Readout Studio")
    page.go_back()
    expect(page.get_by_role("tab", name="Cross-talk")).to_have_attribute("aria-selected", "true")
    page.evaluate("location.hash = '#/attic'")
    assert room_of(page) == "judge"


def test_a_part_of_write_is_opened_beside_its_concepts(
    served: Served, watched_page: Callable[..., Page]
) -> None:
    page = watched_page(served.url)
    open_room(page, "Sources")
    expect(page.get_by_role("tab", name="Sources")).to_have_attribute("aria-selected", "true")
    open_room(page, "write/calm")
    expect(page.get_by_role("tab", name="Concepts")).to_have_attribute("aria-selected", "true")


def test_the_drawer_holds_the_settings_and_gives_the_focus_back(
    served: Served, watched_page: Callable[..., Page]
) -> None:
    page = watched_page(served.url)
    expect(page.get_by_role("link", name="Read", exact=True)).to_have_attribute(
        "aria-current", "page"
    )
    gear = page.locator("#train-gear button")
    gear.click()
    expect(page.get_by_text("Whitened mean difference")).to_be_visible()
    expect(gear).to_have_attribute("aria-expanded", "true")
    page.keyboard.press("Escape")
    expect(page.locator("#train-drawer")).to_be_hidden()
    expect(gear).to_be_focused()


@pytest.mark.parametrize(("width", "height"), [(1440, 56), (390, 52)])
def test_the_header_keeps_its_height_while_a_training_runs(
    served: Served, watched_page: Callable[..., Page], width: int, height: int
) -> None:
    page = watched_page(served.url, width)
    header = page.locator("#header")
    expect(page.locator("#retrain")).to_have_text("Retrain")
    page.evaluate(
        "document.querySelector('#status').insertAdjacentHTML('beforeend', "
        "`<span class='chip'>${'Reading texts '.repeat(60)}</span>`)"
    )
    assert header.evaluate("header => header.offsetHeight") == height
    assert page.evaluate("document.documentElement.scrollWidth") <= width
