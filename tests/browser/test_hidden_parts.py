"""Parts of the page that are seen only at times, within parts that are seen only at times."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from readout_ui.app.session import Studio
from readout_ui.texts.editing import save_concept
from tests.support.rooms import until, wait_until_trained
from tests.support.studios import whole_page

if TYPE_CHECKING:
    from playwright.sync_api import Page

expect = pytest.importorskip("playwright.sync_api").expect
pytestmark = pytest.mark.browser
PAIRS = "asked,cold,warm\n" + "".join(
    f"Question {i}?,It is cold {i}.,It is warm {i}.\n" for i in range(12)
)


@pytest.fixture(scope="module")
def served(
    tmp_path_factory: pytest.TempPathFactory, tiny_folder: Path
) -> Iterator[tuple[str, Studio]]:
    """The page of a studio without a run."""
    with whole_page(tmp_path_factory.mktemp("untrained"), tiny_folder, train=False) as page:
        yield page


def test_the_columns_of_pairs_are_there_with_their_file_alone(
    served: tuple[str, Studio], watched_page: Callable[..., Page], tmp_path: Path
) -> None:
    page = watched_page(served[0], address="#/write?from=stories")
    expect(page.locator("#src-story-file")).to_be_visible()
    file, positive = tmp_path / "pairs.csv", page.locator("#src-positive")
    file.write_text(PAIRS)
    page.get_by_label("Contrast pairs", exact=True).click()
    expect(page.locator("#src-pair-about")).to_be_visible()
    expect(positive).to_be_hidden()
    page.locator("#src-pair-file input[type=file]").set_input_files(file)
    expect(positive).to_be_visible()
    page.get_by_label("Scored memories", exact=True).click()
    expect(page.locator("#src-memory-file")).to_be_visible()
    expect(positive).to_be_hidden()
    expect(page.locator("#src-memory-packed")).to_be_hidden()
    page.get_by_label("Contrast pairs", exact=True).click()
    expect(positive).to_be_visible()


def test_there_is_nothing_to_export_before_a_run_is_there_and_after_it_is_deleted(
    served: tuple[str, Studio], watched_page: Callable[..., Page]
) -> None:
    page, studio = watched_page(served[0], address="#/ship"), served[1]
    expect(page.locator("#export-about")).to_contain_text("nothing to export")
    zipped, cancel = page.locator("#export-zip"), page.locator("#cancel-training")
    expect(zipped).to_be_hidden()
    expect(cancel).to_be_hidden()
    page.locator("#retrain").click()
    wait_until_trained(page)
    expect(zipped).to_be_visible()
    expect(cancel).to_be_hidden()
    hub, folder = page.locator("#hub-about"), page.locator("#export-folder")
    for _ in range(2):
        page.get_by_role("button", name="Push to the hub").click()
        expect(hub).to_be_visible()
        expect(folder).to_be_hidden()
        expect(page.locator("#hub-push")).to_be_hidden()  # there is no token
        page.get_by_role("button", name="Write a folder").click()
        expect(folder).to_be_visible()
        expect(hub).to_be_hidden()
    page.locator("#export-what button").click()
    scale = page.locator("#export-scale")
    expect(page.locator("#export-layers")).to_be_visible()
    expect(scale).to_be_hidden()
    page.locator("[data-act=format][value=gguf]").check()
    expect(scale).to_be_visible()
    expect(page.locator("#export-allow-changed")).to_be_hidden()
    concept = studio.library().concepts[0]
    save_concept(studio.folder, concept.name, concept.descriptions[1:], concept.fingerprint)
    expect(page.locator("#export-allow-changed")).to_be_visible()
    for run in studio.runs.list():
        studio.runs.delete(run.id)
    expect(zipped).to_be_hidden()


def test_the_place_to_export_to_that_was_pressed_last_is_open(
    served: tuple[str, Studio], watched_page: Callable[..., Page], monkeypatch: pytest.MonkeyPatch
) -> None:
    page, studio = watched_page(served[0], address="#/ship"), served[1]
    studio.start_training().result()
    to_hub = page.get_by_role("button", name="Push to the hub")
    expect(to_hub).to_be_visible()
    asked, go_on = threading.Event(), threading.Event()

    def slow_token() -> None:
        asked.set()
        go_on.wait(60)

    monkeypatch.setattr("readout_ui.app.ship.export.hub_token", slow_token)
    to_hub.click()
    until(page, asked.is_set)
    page.get_by_role("button", name="Write a folder").click()
    page.wait_for_timeout(1000)
    go_on.set()
    page.wait_for_timeout(1000)  # the first answer would come after the second
    expect(page.locator("#export-folder")).to_be_visible()
    expect(page.locator("#hub-about")).to_be_hidden()
