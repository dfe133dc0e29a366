"""A page whose start fails, as gradio's own script does at times, in Chromium."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.studios import whole_page

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

expect = pytest.importorskip("playwright.sync_api").expect
pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory, tiny_folder: Path) -> Iterator[str]:
    with whole_page(tmp_path_factory.mktemp("start"), tiny_folder, train=False) as (address, _):
        yield address


FAILING = """(() => {
  const loads = Number(localStorage.getItem("loads") ?? 0) + 1;
  localStorage.setItem("loads", loads);
  if (loads > TIMES) return;
  let config;
  Object.defineProperty(window, "gradio_config", {
    get: () => config,
    set: (given) => { config = { ...given, components: undefined } },
  });
})()"""
"""Takes the components away from gradio's script at the first loads of the page."""


def failing_page(
    browser: Browser, url: str, times: int, before: str = ""
) -> tuple[Page, list[str]]:
    """A page whose start fails so many times, and what failed on it."""
    faults: list[str] = []
    page = browser.new_context().new_page()
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.add_init_script(FAILING.replace("TIMES", str(times)) + before)
    page.goto(url)
    return page, faults


def loads(page: Page) -> int:
    number: int = page.evaluate("Number(localStorage.getItem('loads'))")
    return number


def test_a_page_whose_start_failed_once_is_loaded_anew(browser: Browser, url: str) -> None:
    page, faults = failing_page(browser, url, times=1)
    expect(page.locator(".rooms [aria-current]")).to_have_text("Write")
    assert faults
    assert loads(page) == 2
    expect(page.get_by_role("alert")).to_have_count(0)
    page.wait_for_function(
        "!sessionStorage.getItem('readout-loaded-anew')"
    )  # the next failure is mended as well
    page.context.close()


def test_a_page_that_never_starts_says_so_once_and_is_not_loaded_for_ever(
    browser: Browser, url: str
) -> None:
    page, _faults = failing_page(browser, url, times=100)
    expect(page.get_by_role("alert")).to_contain_text("did not start. Reload it")
    page.wait_for_timeout(6000)
    expect(page.get_by_role("alert")).to_have_count(1)
    assert loads(page) == 2
    page.context.close()


def test_where_the_browser_remembers_nothing_the_page_only_says_so(
    browser: Browser, url: str
) -> None:
    forgets = ";Object.defineProperty(window, 'sessionStorage', { get() { throw new Error() } })"
    page, _faults = failing_page(browser, url, times=1, before=forgets)
    expect(page.get_by_role("alert")).to_contain_text("did not start. Reload it")
    assert loads(page) == 1
    page.reload()
    expect(page.locator(".rooms [aria-current]")).to_have_text("Write")
    page.context.close()
