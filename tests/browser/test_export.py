"""The Export tab in Chromium over a tiny model: push when asked, bring an export back."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from readout_ui.app.session import Studio
from readout_ui.app.tabs.export import ExportTab
from readout_ui.runs.export import FORMATS
from tests.support.hub_stand_in import TOKEN, hub_stand_in
from tests.support.studios import address_of, small_studio

if TYPE_CHECKING:
    from playwright.sync_api import Page

gr = pytest.importorskip("gradio")
playwright = pytest.importorskip("playwright.sync_api")
expect = playwright.expect
pytestmark = pytest.mark.browser
expect.set_options(timeout=30_000)


@dataclass(frozen=True)
class Served:
    """The running page and what stands behind it."""

    url: str
    studio: Studio
    folder: Path


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("export")
    with pytest.MonkeyPatch.context() as patch, small_studio(folder) as studio:
        patch.setattr("huggingface_hub.get_token", lambda: None)
        with gr.Blocks() as app:
            ExportTab(studio)
        with address_of(app) as url:
            yield Served(url, studio, folder)


def test_nothing_is_pushed_without_a_token_and_only_on_the_button_with_one(
    served: Served, watched_page: Callable[..., Page], monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.runs.test_hub import forget_sessions, reach

    page = watched_page(served.url)
    head = page.get_by_role("button", name="Push to the Hugging Face hub")
    head.click()
    expect(page.locator("#hub-about")).to_contain_text("there is no hub token on this machine")
    expect(page.locator("#hub-push")).to_be_hidden()
    head.click()
    with hub_stand_in() as hub:
        reach(hub.url, monkeypatch)
        head.click()
        expect(page.locator("#hub-push")).to_be_visible()
        expect(page.locator("#hub-about")).to_contain_text("quotes up to eight of your texts")
        assert hub.requests == []
        page.fill("#hub-name input, #hub-name textarea", "me")
        page.click("#hub-push")
        expect(page.locator(".toast-body")).to_contain_text("write OWNER/NAME")
        page.fill("#hub-name input, #hub-name textarea", "me/calm")
        page.click("#hub-push")
        expect(page.locator("#hub-pushed")).to_contain_text("/me/calm (private), commit")
        assert hub.private == {"me/calm": True}
        assert "readout.safetensors" in hub.files["me/calm"]
    monkeypatch.undo()
    forget_sessions()
    assert TOKEN not in page.content()


def test_an_export_comes_back_as_the_run_in_use_and_a_pickle_does_not(
    served: Served, watched_page: Callable[..., Page]
) -> None:
    studio = served.studio
    exported = studio.export([], [], form="npz")
    gguf = studio.export(["calm"], [1], form="gguf")
    for run in studio.runs.list():
        studio.runs.delete(run.id)
    page = watched_page(served.url)
    page.get_by_role("button", name="Bring vectors").click()
    hostile = served.folder / "calm.pkl"
    hostile.write_bytes(pickle.dumps([1]))
    bring(page, hostile)
    expect(page.locator(".toast-body")).to_contain_text("so it is not opened")
    bring(page, gguf)
    expect(page.locator("#bring-found")).to_contain_text("gguf.zip holds directions alone")
    assert studio.runs.current() is None
    bring(page, exported)
    expect(page.locator("#bring-found")).to_contain_text("In use now: 4 concepts at 3 layers")
    expect(page.locator("#bring-found")).to_contain_text("Certified")
    assert studio.runs.current() is not None


def bring(page: Page, file: Path) -> None:
    """Choose one file instead of those that are chosen, and press the button."""
    remove = page.locator("#bring-files button[aria-label='Clear']")
    if remove.count():
        remove.first.click()
    with page.expect_response(lambda answer: "/upload" in answer.url):
        page.locator("#bring-files input[type=file]").first.set_input_files(file)
    expect(page.locator("#bring-files")).to_contain_text(file.stem)
    page.click("#bring-use")


def test_a_format_to_steer_with_asks_for_its_scale(
    served: Served, watched_page: Callable[..., Page]
) -> None:
    if served.studio.runs.current() is None:
        served.studio.use_run(served.studio.start_training().result().id)
    page = watched_page(served.url)
    scale = page.locator("#export-scale")
    expect(scale).to_be_hidden()
    page.locator("#export-format").get_by_label(FORMATS["gguf"].title).click()
    expect(page.locator("#export-explained")).to_contain_text("control vector")
    scale.get_by_label("Vectors of length 1").click()
    page.locator("#export-format").get_by_label(FORMATS["npz"].title).click()
    expect(scale).to_be_hidden()
