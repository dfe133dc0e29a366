"""The shell of the page in Chromium: rooms and their addresses, header, drawer, keyboard."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from readout_ui.app.assets import on_load
from readout_ui.app.header import draw_masthead
from readout_ui.vectors.settings import TrainSettings
from tests.support.axe import violations
from tests.support.rooms import until, wait_until_trained
from tests.support.studios import address_of, device_taken, whole_page
from tests.support.tiny_model import save_tiny_model

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from readout_ui.app.session import Studio

gr = pytest.importorskip("gradio")
playwright = pytest.importorskip("playwright.sync_api")
expect = playwright.expect
pytestmark = pytest.mark.browser


@dataclass(frozen=True)
class Served:
    """A running page and the session behind it."""

    url: str
    studio: Studio


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, tiny_folder: Path) -> Iterator[Served]:
    """The whole page over the small library with a run in use."""
    with whole_page(tmp_path_factory.mktemp("rooms"), tiny_folder) as (url, studio):
        yield Served(url, studio)


@pytest.fixture
def served(place: Served) -> Iterator[Served]:
    """The same; the next test finds settings and model as they were, whatever happens in one."""
    studio, before = place.studio, place.studio.options
    yield place
    studio.choose_settings(TrainSettings())
    if studio.options != before:
        studio.load_model(before.model_spec()).result()
        studio.use_run(studio.runs.list()[-1].id)


GO = """(address) => new Promise((done) => {
  window.addEventListener("hashchange", () => requestAnimationFrame(done), { once: true });
  window.location.hash = address;
})"""
"""Opens an address and comes back when the page has heard of it."""


def room_of(page: Page) -> str:
    room: str = page.evaluate("document.body.dataset.room")
    return room


@pytest.fixture(scope="module")
def parts() -> Iterator[str]:
    """The address of a page of two rooms with two parts each."""
    with gr.Blocks(analytics_enabled=False) as app:
        gr.HTML(draw_masthead("write"), js_on_load=on_load("shell/header.js"))
        with gr.Tabs(elem_id="rooms"):
            for room, names in (
                ("Write", ("Concepts", "Sources")),
                ("Judge", ("Pairs", "All of it")),
            ):
                with (
                    gr.Tab(room, elem_id=f"room-{room.lower()}"),
                    gr.Tabs(elem_id=f"{room.lower()}-parts"),
                ):
                    for name in names:
                        with gr.Tab(name):
                            gr.HTML(f"<p id='{room}-{name[:3]}'>{name}</p>")
    with address_of(app) as url:
        yield url


def test_an_address_opens_its_room_and_survives_reload_back_and_links(
    served: Served, watched_page: Callable[..., Page]
) -> None:
    page = watched_page(served.url)
    rooms = page.get_by_role("navigation", name="Rooms")
    expect(page).to_have_url(f"{served.url}?__theme=light#/read")
    expect(page.locator("#room-read")).to_be_visible()
    rooms.get_by_role("link", name="Judge").click()
    expect(page.locator("#room-judge")).to_be_visible()
    expect(page.locator("#room-read")).to_be_hidden()
    expect(page).to_have_url(f"{served.url}?__theme=light#/judge")
    page.reload()
    expect(page.locator("#room-judge")).to_be_visible()
    rooms.get_by_role("link", name="Ship").click()
    expect(page.locator("#room-ship")).to_be_visible()
    page.go_back()
    expect(page.locator("#room-judge")).to_be_visible()
    expect(rooms.get_by_role("link", name="Judge")).to_have_attribute("aria-current", "page")
    expect(page).to_have_title("Judge · Readout Studio")
    page.evaluate(GO, "#/attic")
    assert room_of(page) == "judge"


def test_parts_of_a_room_have_addresses_too(parts: str, watched_page: Callable[..., Page]) -> None:
    page = watched_page(parts)
    expect(page).to_have_url(f"{parts}?__theme=light#/write")
    page.get_by_role("tab", name="Sources").click()
    expect(page).to_have_url(f"{parts}?__theme=light#/write?tab=sources")
    page.evaluate("location.hash = '#/write/calm'")  # a concept, in the first part
    expect(page.locator("#Write-Con")).to_be_visible()
    page.get_by_role("link", name="Judge").click()
    page.get_by_role("tab", name="All of it").click()
    expect(page).to_have_url(f"{parts}?__theme=light#/judge/all-of-it")
    page.reload()
    expect(page.locator("#Judge-All")).to_be_visible()
    page.go_back()
    expect(page.locator("#Judge-Pai")).to_be_visible()
    page.go_back()
    expect(page.locator("#Write-Con")).to_be_visible()


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
    button = page.locator("#retrain")
    expect(button).to_have_text("Train · up to date")
    page.evaluate(SAMPLE)
    with device_taken(served.studio):
        button.click()
        expect(button).to_have_text("Training…")
        expect(page.locator("#status")).to_contain_text("Waiting for the device")
    expect(button).to_have_text("Train · up to date")
    expect(page.locator("#status")).to_contain_text("Trained 4 concepts in")
    heights, widths = page.evaluate("window.sampled")
    assert heights == [height]
    assert len(widths) == 1, "the Train button is as wide in every state"
    assert page.evaluate("document.documentElement.scrollWidth") <= width


SAMPLE = """() => {
  const heights = new Set(), widths = new Set();
  const look = () => {
    heights.add(document.querySelector("#header").offsetHeight);
    widths.add(document.querySelector("#retrain").offsetWidth);
    window.sampled = [[...heights], [...widths]];
    requestAnimationFrame(look);
  };
  look();
}"""


def test_settings_are_those_of_the_run_in_use_also_after_a_reload(
    served: Served, watched_page: Callable[..., Page]
) -> None:
    page = watched_page(served.url)
    expect(page.locator(".rooms [aria-current]")).to_have_text("Read")
    page.locator("#train-gear button").click()
    page.get_by_label("PCA of pairs").check()
    page.get_by_label("Mean difference", exact=True).check()
    page.locator("#retrain").click()  # at once
    until(page, lambda: served.studio.run().settings.method == "mean")
    page.reload()
    expect(page.get_by_label("Mean difference", exact=True)).to_be_checked()
    served.studio.choose_settings(TrainSettings())  # another page, or a program
    expect(page.get_by_label("Whitened mean difference (default)")).to_be_checked()


def test_a_setting_that_is_chosen_while_another_one_is_taken_counts(
    served: Served, watched_page: Callable[..., Page], monkeypatch: pytest.MonkeyPatch
) -> None:
    studio, takes, go_on = served.studio, threading.Event(), threading.Event()
    choose = studio.choose_settings

    def choose_slowly(settings: TrainSettings) -> None:
        takes.set()
        go_on.wait(60)
        choose(settings)

    page = watched_page(served.url)
    expect(page.locator(".rooms [aria-current]")).to_have_text("Read")
    page.locator("#train-gear button").click()
    monkeypatch.setattr(studio, "choose_settings", choose_slowly)
    page.get_by_label("PCA of pairs").check()
    until(page, takes.is_set)
    page.get_by_label("Mean difference", exact=True).check()
    go_on.set()
    until(page, lambda: studio.settings.method == "mean")


def test_the_keyboard_skips_to_the_room_and_steps_through_tabs(
    parts: str, watched_page: Callable[..., Page]
) -> None:
    page = watched_page(parts)
    expect(page.locator(".rooms [aria-current]")).to_have_text("Write")
    page.locator(".name").focus()
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")  # the skip link
    expect(page.locator("#room-write")).to_be_focused()
    tab = page.get_by_role("tab", name="Concepts")
    tab.focus()
    page.keyboard.press("ArrowLeft")
    last = page.get_by_role("tab", name="Sources")
    expect(last).to_be_focused()
    expect(last).to_have_attribute("aria-selected", "true")
    expect(page).to_have_url(f"{parts}?__theme=light#/write?tab=sources")
    expect(last).to_have_css("outline-width", "2px")
    page.keyboard.press("Home")
    expect(tab).to_be_focused()


def test_gradios_own_footer_is_not_there(served: Served, watched_page: Callable[..., Page]) -> None:
    page = watched_page(served.url)
    expect(page.locator(".rooms [aria-current]")).to_have_text("Read")
    expect(page.get_by_role("button", name="Settings", exact=True)).to_have_count(0)
    expect(page.get_by_text("Built with Gradio")).to_have_count(0)


def test_the_palette_finds_concepts_rooms_and_actions_by_keyboard_alone(
    served: Served, watched_page: Callable[..., Page]
) -> None:
    page = watched_page(served.url)
    expect(page.locator(".rooms [aria-current]")).to_have_text("Read")
    page.locator("#model-chip").focus()
    page.keyboard.press("Control+k")
    box = page.get_by_role("combobox", name="Find a concept")
    expect(box).to_be_focused()
    page.keyboard.type("judge: the")
    found = page.locator(".palette").get_by_role("option")
    expect(found.first).to_contain_text("Judge: the report")
    page.keyboard.press("Escape")
    expect(page.locator("#model-chip")).to_be_focused()
    page.keyboard.press("Control+k")
    page.keyboard.type("cal")
    expect(page.locator(".palette [aria-selected=true]")).to_contain_text("calm")
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{served.url}?__theme=light#/write/calm")
    page.keyboard.press("Control+k")
    page.keyboard.type("I lost my keys & more")
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{served.url}?__theme=light#/read?text=I+lost+my+keys+%26+more")
    page.locator(".name").focus()
    page.keyboard.press("Alt+4")
    expect(page.locator("#room-ship")).to_be_visible()
    page.keyboard.press("?")
    keys = page.get_by_role("dialog", name="Shortcuts")
    for where in ("Everywhere", "Write, the list", "Write, a text", "Read"):
        expect(keys.get_by_role("heading", name=where, exact=True)).to_be_visible()
    for key in ("Ctrl Enter", "Ctrl S", "Alt Enter", "Space", "Ctrl K"):  # of every script
        expect(keys.get_by_text(key, exact=True)).to_be_visible()


def with_other_weights(folder: Path) -> Path:
    """The same kind of model, that has learned something else."""
    from safetensors.torch import load_file, save_file

    file = folder / "model.safetensors"
    save_file({k: 1.5 * w for k, w in load_file(file).items()}, file, {"format": "pt"})
    return folder


def test_another_model_is_loaded_and_what_must_be_trained_again_is_said(
    served: Served, watched_page: Callable[..., Page], tmp_path: Path
) -> None:
    studio = served.studio
    other = with_other_weights(save_tiny_model(tmp_path / "other-tiny"))
    page = watched_page(served.url)
    expect(page.locator(".rooms [aria-current]")).to_have_text("Read")
    page.locator("#model-chip").click()
    expect(page.locator("#model-free")).to_contain_text("GiB")
    name = page.locator("#model-name textarea")
    name.fill(str(tmp_path / "nothing"))
    page.locator("#model-load").click()
    expect(page.locator("#model-progress")).to_contain_text("does not exist")
    studio.read("The one in use still reads.", "raw")
    name.fill(str(other))
    page.locator("#model-load").click()
    expect(page.locator("#model-chip")).to_contain_text("other-tiny")
    expect(page.locator("#model-about")).to_contain_text("Your texts stay as they are")
    expect(page.locator("#retrain")).to_have_text("Train · new model")
    page.locator("#retrain").click()
    wait_until_trained(page)


@pytest.mark.parametrize(("theme", "width"), [("light", 1440), ("dark", 1440), ("light", 390)])
def test_axe_finds_no_fault_in_header_and_drawers(
    served: Served, watched_page: Callable[..., Page], theme: str, width: int
) -> None:
    page = watched_page(served.url, width, 844, theme)
    page.emulate_media(reduced_motion="reduce")  # nothing is seen while it slides
    expect(page.locator(".rooms [aria-current]")).to_have_text("Read")
    assert violations(page, "#header") == {}
    page.locator("#train-gear button").click()
    expect(page.locator("#train-drawer.open")).to_be_visible()
    assert violations(page, "#train-drawer") == {}
    page.locator("#model-chip").click()
    expect(page.locator("#model-free")).to_contain_text("GiB")
    assert violations(page, "#model-drawer") == {}
    page.keyboard.press("Escape")
    page.keyboard.press("Control+k")
    expect(page.locator(".palette").get_by_role("option").first).to_be_visible()
    assert violations(page, ".palette") == {}


def test_a_room_opens_at_its_top_and_one_that_was_left_where_it_was(
    served: Served, watched_page: Callable[..., Page]
) -> None:
    page = watched_page(served.url, 390, 500, address="#/ship")
    # A page is built of what there was when the app started; then it hears of all runs.
    expect(page.locator("#runs tbody tr")).to_have_count(len(served.studio.runs.list()))
    page.wait_for_function("document.documentElement.scrollHeight > 900")
    # News that come above what is seen would move the place down, as Chromium does for readers.
    page.add_style_tag(content="* { overflow-anchor: none }")
    page.evaluate("scrollTo(0, 300)")
    page.get_by_role("link", name="Judge").click()
    page.wait_for_function("scrollY === 0 && document.querySelector('#room-judge .report h1')")
    page.get_by_role("link", name="Ship").click()
    page.wait_for_function("scrollY === 300")
