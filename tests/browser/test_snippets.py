"""Passages of Read in Chromium over a tiny model: search, filter, download, stop, bad files."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from readout_ui.app.read.passages import Passages
from tests.support.studios import address_of, small_studio

if TYPE_CHECKING:
    from playwright.sync_api import Page

gr = pytest.importorskip("gradio")
playwright = pytest.importorskip("playwright.sync_api")
expect = playwright.expect
pytestmark = pytest.mark.browser

WORDS = ("kettle", "window", "meadow", "ladder", "violet", "thunder", "pepper", "candle")
HOSTILE = "<img src=x onerror=alert(1)> {{x}} ${1} `a` Ünïcödé 🙂"


@dataclass(frozen=True)
class Served:
    """The running page and files to drop on it."""

    url: str
    folder: Path

    def file(self, name: str, text: str) -> Path:
        """A file with this text."""
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        return path


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("snippets")
    with small_studio(folder) as studio:
        with gr.Blocks(analytics_enabled=False) as app, gr.Tabs(), gr.Tab("Snippets"):
            Passages(studio)
        with address_of(app) as url:
            yield Served(url, folder)


def json_lines(n: int) -> str:
    """Texts that do not repeat, one of them hostile, and a broken line."""
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(WORDS, 30)) for _ in range(n)] + [HOSTILE]
    lines = [json.dumps({"title": f"t{i}", "body": text}) for i, text in enumerate(texts)]
    return "\n".join([*lines, "{broken"])


def drop(page: Page, path: Path) -> None:
    page.locator("#snip-file input[type=file]").set_input_files(path)


def choose(page: Page, elem_id: str, option: str) -> None:
    page.locator(f"#{elem_id} input").first.click()
    page.get_by_role("option", name=option, exact=True).click()


def counts(page: Page) -> list[str]:
    return [text.split("above")[0].strip() for text in page.locator("h3 small").all_inner_texts()]


def test_snippets_are_found_filtered_and_downloaded(
    served: Served, watched_page: Callable[..., Page], tmp_path: Path
) -> None:
    page = watched_page(served.url)
    page.locator("#snip-find").click()
    expect(page.locator("#snip-progress .failed")).to_contain_text("There is no file yet")
    drop(page, served.file("texts.jsonl", json_lines(40)))
    expect(page.locator("#snip-file-about")).to_contain_text("JSON lines")
    page.locator("#snip-find").click()
    expect(page.locator("#snip-progress .failed")).to_contain_text("options: title, body")
    choose(page, "snip-field", "body")
    page.locator("#snip-find").click()
    about = page.locator("#snip-about")
    expect(about).to_contain_text("from all of texts.jsonl")
    expect(about).to_contain_text("1 line left out, the first: line 42 is not JSON")
    expect(page.locator(".snip-concept")).to_have_count(4)
    assert page.locator("#snip-list img").count() == 0
    for first in page.locator(".snip-concept li:first-child mark").all():
        assert first.inner_text().strip()
    choose(page, "snip-concept", "calm")
    expect(page.locator(".snip-concept")).to_have_count(1)
    n_calm = int(counts(page)[0])
    expect(page.locator(".snip-concept li")).to_have_count(n_calm)
    page.locator("#snip-wanted textarea, #snip-wanted input").first.fill("no such words")
    expect(page.locator("#snip-list .empty")).to_contain_text("no such words")
    saved = {}
    for form in ("csv", "jsonl"):
        with page.expect_download() as download:
            page.locator(f"#snip-{form}").click()
        saved[form] = tmp_path / download.value.suggested_filename
        download.value.save_as(saved[form])
    with saved["csv"].open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    lines = [json.loads(line) for line in saved["jsonl"].read_text("utf-8").splitlines()]
    assert sum(row["concept"] == "calm" for row in rows) == n_calm
    assert [row["span"] for row in rows] == [line["span"] for line in lines]


def test_a_search_is_stopped_and_shows_what_it_found(
    served: Served, watched_page: Callable[..., Page]
) -> None:
    page = watched_page(served.url, 390, 844, "dark")
    text = "\n\n".join(" ".join(np.roll(WORDS, i)) * 20 for i in range(6_000))
    drop(page, served.file("long.txt", text))
    expect(page.locator("#snip-file-about")).to_contain_text("plain text")
    choose(page, "snip-amount", "Everything")
    page.locator("#snip-find").click()
    progress = page.locator("#snip-progress")
    expect(progress).to_contain_text(re.compile(r"\d+ of \d+ kB"))
    expect(progress).to_contain_text("tokens read so far")
    page.locator("#snip-stop").click()
    expect(progress).to_contain_text("Stopped.")
    expect(page.locator("#snip-about")).to_contain_text("% of long.txt")
    expect(page.locator("#snip-stop")).to_be_hidden()
    wide: Any = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
    assert wide <= 0
