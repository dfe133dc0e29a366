"""The whole path in Chromium with the real model: edit, train, reload, cancel, read, export."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.rooms import PARTS, open_room, wait_until_trained
from tests.support.running_app import ROOT, RunningApp, fresh_cache, running_app

if TYPE_CHECKING:
    from playwright.sync_api import Page

playwright = pytest.importorskip("playwright.sync_api")
expect = playwright.expect
pytestmark = pytest.mark.browser

TRAINING_MS = 300_000
PROMPT = "Somebody broke into my flat last night and the lock is still open."


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningApp]:
    """The app over a copy of the shipped descriptions, with nothing cached and no run."""
    folder = tmp_path_factory.mktemp("app")
    descriptions = folder / "descriptions"
    descriptions.mkdir()
    for file in (ROOT / "descriptions").glob("*.txt"):
        shutil.copy(file, descriptions)
    with running_app(folder, descriptions, fresh_cache(folder / "cache")) as running:
        yield running


OpenPage = Callable[..., "Page"]


@pytest.fixture
def open_page(app: RunningApp, watched_page: OpenPage) -> OpenPage:
    """Opens the page of the app."""

    def opened(*size: int) -> Page:
        page = watched_page(app.url, *size)
        page.locator("#retrain").wait_for()
        return page

    return opened


def runs_of(app: RunningApp) -> list[Path]:
    return sorted(path for path in app.runs.glob("*") if path.is_dir())


def reading_texts(page: Page) -> Any:
    """The header's chip of a training that has begun to read, with its counts."""
    return page.locator("#status .job.train").filter(has_text="of 312 texts")


def test_cancel_leaves_no_run_and_says_so(app: RunningApp, open_page: OpenPage) -> None:
    page = open_page()
    page.click("#retrain")
    expect(reading_texts(page)).to_be_visible(timeout=TRAINING_MS)
    page.click("#cancel-training")
    expect(page.locator("#retrain")).to_have_text("Train")
    page.click("#train-gear button")
    expect(page.locator("#training")).to_contain_text("Cancelled.")
    assert runs_of(app) == []


def test_a_training_survives_a_reload_and_another_page_sees_the_same_one(
    app: RunningApp, open_page: OpenPage
) -> None:
    page = open_page()
    page.click("#retrain")
    expect(page.locator("#retrain")).to_have_text("Training…")
    other = open_page()
    expect(other.locator("#retrain")).to_have_text("Training…")
    expect(other.locator("#retrain")).to_be_disabled()
    page.reload()
    expect(page.locator("#retrain")).to_have_text("Training…")
    wait_until_trained(page)
    wait_until_trained(other)
    expect(page.locator("#status")).to_contain_text("Trained 36 concepts in")
    assert len(runs_of(app)) == 1


def test_an_edit_is_counted_trained_read_exported_and_taken_back(
    app: RunningApp, open_page: OpenPage, tmp_path: Path
) -> None:
    page = open_page()
    have_a_run(app, page)
    edit_first_description(page, "afraid", "I am afraid. Something is coming to hurt me.")
    expect(page.locator("#retrain")).to_have_text("Train · 1 changed")
    refused_export(page)
    open_room(page, "Concepts")
    page.locator(".rs-text").first.focus()
    before = len(runs_of(app))
    page.keyboard.press("Control+Enter")
    wait_until_trained(page)
    assert len(runs_of(app)) == before + 1
    expect(page.locator("#training")).to_contain_text("1 texts read, 311 from the cache")
    read_prompt(page)
    exported = export(page, tmp_path)
    manifest = json.loads((exported / "readout.json").read_text())
    assert len(manifest["concepts"]) == 36
    assert scores_of(exported).shape[1] == 36
    go_back_to_the_run_before(page)
    assert len(runs_of(app)) == before + 1


def have_a_run(app: RunningApp, page: Page) -> None:
    """Train, where no test before this one did."""
    if not runs_of(app):
        page.click("#retrain")
        wait_until_trained(page)


def go_back_to_the_run_before(page: Page) -> None:
    open_room(page, "Runs")
    rows = page.locator("#runs tbody tr")
    expect(rows).to_have_count(2)
    page.locator("#runs [data-act=use]").click()
    expect(rows.last).to_contain_text("in use")
    expect(page.locator("#retrain")).to_have_text("Train · 1 changed")


def edit_first_description(page: Page, concept: str, text: str) -> None:
    open_room(page, "Concepts")
    page.locator(f".rs-row[data-key='{concept}'] a").click()
    expect(page.locator(".rs-name")).to_have_text(concept)
    page.locator(".rs-text").first.fill(text)
    expect(page.locator(".rs-mark")).to_have_text("Saved")


def refused_export(page: Page) -> None:
    """Vectors of texts that changed are not exported unasked."""
    open_room(page, "Export")
    expect(page.locator("#export-checks")).to_contain_text("1 description changed since training")
    page.click("#export-zip")
    expect(page.get_by_text("descriptions changed since training: afraid")).to_be_visible()


def read_prompt(page: Page) -> None:
    open_room(page, "Inspect")
    page.locator("#rd-input").fill(PROMPT)
    page.locator("#rd-input").press("Enter")
    words = page.locator(".rd-assistant .rd-token")
    expect(words.filter(has_text=PROMPT.split()[1]).first).to_be_visible()
    expect(page.locator(".rd-rail .rd-sub")).to_contain_text("mean z of the model’s")


def export(page: Page, folder: Path) -> Path:
    """Make the zip, download it, unpack it."""
    open_room(page, "Export")
    expect(page.locator("#export-checks")).to_contain_text("texts unchanged since training")
    with page.expect_download() as download:
        page.click("#export-zip")
    expect(page.locator("#export-checks")).to_contain_text("probe texts read again: the same to")
    download.value.save_as(folder / "readout.zip")
    with zipfile.ZipFile(folder / "readout.zip") as archive:
        archive.extractall(folder / "readout")
    return folder / "readout"


def scores_of(exported: Path) -> Any:
    """z-scores of one made-up activation with the README's own loader."""
    import torch

    from tests.support.readme_code import readme_loader

    loader = readme_loader()
    manifest, tensors = loader["load"](exported)
    hidden = torch.ones(1, manifest["hidden_size"])
    scores = loader["z_scores"](hidden, manifest["layers"][0], tensors)
    assert torch.isfinite(scores).all()
    return scores


@pytest.mark.once
def test_the_run_is_judged_in_every_tab_that_judges(app: RunningApp, open_page: OpenPage) -> None:
    page = open_page()
    have_a_run(app, page)
    expect(page.locator("#retrain")).to_be_enabled()
    open_room(page, "Cross-talk")
    found = page.locator(".crosstalk .found")
    expect(found).to_contain_text("of 630 pairs beyond chance", timeout=300_000)
    open_room(page, "Layers")
    page.click("#layers-compare")
    expect(page.locator("#layers-about table.heat tbody tr")).to_have_count(15, timeout=400_000)
    page.click("#layers-use")
    open_room(page, "New texts")
    page.click("#generalization-judge")
    results = page.locator("#generalization-results")
    expect(results).to_contain_text("bag of words", ignore_case=True, timeout=400_000)


COMES = {
    "Concepts": ".rs-row",
    "Sources": "#src-train",
    "Inspect": ".rd-assistant .rd-token",
    "Snippets": "#snip-find",
    "Report": ".report h1",
    "Cross-talk": ".crosstalk .scale:has-text('+')",
    "New texts": "#generalization-judge",
    "Layers": "#layers-about h2",
    "Runs": "#runs tbody tr",
    "Export": "#export-checks li",
}
"""What is there when a part has come."""


def test_the_page_fits_a_phone(app: RunningApp, open_page: OpenPage) -> None:
    page = open_page(390, 844)
    have_a_run(app, page)
    assert COMES.keys() == PARTS.keys()
    for name, place in COMES.items():
        open_room(page, name)
        page.locator(place).first.wait_for()
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= 390, name


def test_without_any_model_the_app_opens_and_says_how_to_get_one(
    tmp_path: Path, descriptions: Path, watched_page: OpenPage
) -> None:
    flags = ["--model", "nobody/no-such-model"]
    with running_app(tmp_path, descriptions, tmp_path / "cache", flags) as running:
        page = watched_page(running.url)
        expect(page.locator("#status .failed")).to_be_visible(timeout=120_000)
        edit_first_description(page, "calm", "I am at rest. Nothing is missing.")
        assert "Nothing is missing." in (descriptions / "calm.txt").read_text()
        page.click("#retrain")
        open_room(page, "Runs")
        expect(page.locator("#training")).to_contain_text("there is no model to run")


def test_a_read_only_app_writes_nothing(
    tmp_path: Path, descriptions: Path, watched_page: OpenPage
) -> None:
    before = {path.name: path.read_bytes() for path in descriptions.iterdir()}
    cache = tmp_path / "cache"
    with running_app(tmp_path, descriptions, cache, ["--read-only", "--model", "no/model"]) as app:
        page = watched_page(app.url)
        expect(page.locator("#retrain")).to_be_disabled()
        open_room(page, "Concepts")
        page.locator(".rs-row[data-key='calm'] a").click()
        expect(page.locator(".rs-text").first).not_to_be_editable()
    assert {path.name: path.read_bytes() for path in descriptions.iterdir()} == before
