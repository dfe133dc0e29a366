"""A new user in Chromium with the real model: edits a concept, sees it get better, exports."""

from __future__ import annotations

import re
import shutil
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from readout_ui.app.page import build_site
from readout_ui.app.session import Studio
from readout_ui.app.status import StudioOptions
from readout_ui.inference.gate import Hosts
from readout_ui.texts.reading import parse_descriptions
from tests.support.running_app import ROOT, fresh_cache, serving

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

expect = pytest.importorskip("playwright.sync_api").expect
pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.once]

LONG = 180_000
MOST_ACTS = 12
OTHERS = ("calm", "happy", "angry", "sad", "afraid", "_baseline")
AUROC = re.compile(r"\.\d{3}")
MOVED = re.compile(r"AUROC \.(\d+) → \.(\d+)")
VAGUE = "I am sitting at the table. There is a letter in front of me, and it is raining."


@dataclass
class Person:
    """Somebody at the page, whose clicks and typings are counted."""

    page: Page
    acts: list[str] = field(default_factory=list)
    """The words of what was clicked, and what was typed."""

    def click(self, where: Locator) -> None:
        """One click on words that stand on the page."""
        self.acts.append(where.inner_text() or where.input_value())
        where.click()

    def press(self, keys: str) -> None:
        """One stroke of keys."""
        self.acts.append(keys)
        self.page.keyboard.press(keys)

    def type(self, text: str) -> None:
        """One typing."""
        self.acts.append(text)
        self.page.keyboard.insert_text(text)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The page over six shipped concepts without a run; one text of *anxious* is about nothing."""
    folder = tmp_path_factory.mktemp("new-user")
    library = folder / "descriptions"
    library.mkdir()
    for name in OTHERS:
        shutil.copy(ROOT / f"descriptions/{name}.txt", library)
    (library / "anxious.txt").write_text(f"{good_texts()[0]}\n\n{VAGUE}\n", encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("READOUT_UI_CACHE", str(fresh_cache(folder / "cache")))
        studio = Studio(StudioOptions(library, folder / "runs"))
        studio.load_model()
        with serving(build_site(studio, Hosts("127.0.0.1"))) as address:
            yield address
        studio.close()


def good_texts() -> tuple[str, ...]:
    return parse_descriptions((ROOT / "descriptions/anxious.txt").read_bytes(), "anxious.txt")


def facts_of(page: Page, concept: str) -> Locator:
    """What a concept's page says about it, not what that of the one before says."""
    name = page.locator(".rs-name", has_text=re.compile(f"^{concept}$"))
    return page.locator(".rs-editor-head", has=name).locator(".rs-fact-grid")


def found_in(place: Locator, pattern: re.Pattern[str]) -> re.Match[str]:
    """A pattern in what a place says; waited for and read in one moment."""
    found = pattern.search(place.filter(has_text=pattern).inner_text())
    assert found is not None
    return found


def test_anxious_is_edited_gets_better_and_is_exported_in_twelve_acts(
    url: str, watched_page: Callable[..., Page], tmp_path: Path
) -> None:
    page = watched_page(url)
    person, facts = Person(page), facts_of(page, "anxious")
    person.click(page.get_by_role("button", name="Train", exact=True))
    score = page.locator(".rs-row[data-key=anxious]")
    expect(score).to_contain_text(re.compile(r"\.\d\d"), timeout=LONG)  # its AUROC
    person.click(score.get_by_role("link", name="anxious"))
    before = found_in(facts, AUROC)[0]

    texts = page.locator(".rs-text")
    values = texts.evaluate_all("boxes => boxes.map((box) => box.value)")
    person.click(texts.nth(values.index(VAGUE)))
    person.press("Control+a")
    person.type(good_texts()[1])
    person.click(page.get_by_role("button", name="Train · 1 changed"))
    news = page.locator("#status")
    expect(news).to_contain_text("Anxious turned", timeout=LONG)
    told = found_in(news, MOVED)
    assert int(told[2]) > int(told[1])
    expect(news.get_by_role("link", name="Anxious")).to_have_attribute("href", "#/write/anxious")
    expect(page.locator(".rs-state-line")).to_contain_text("anxious turned")
    after = found_in(facts.filter(has_not_text=before), AUROC)[0]
    assert float(after) > float(before)

    person.click(page.get_by_role("link", name="Ship"))
    with page.expect_download(timeout=LONG) as download:
        person.click(page.get_by_role("button", name="Download", exact=True))
    download.value.save_as(tmp_path / "export.zip")
    with zipfile.ZipFile(tmp_path / "export.zip") as archive:
        assert "readout.json" in archive.namelist()
    expect(page.locator("#export-checks")).to_contain_text("read again: the same to")

    assert len(person.acts) <= MOST_ACTS
    said = ["Train", "anxious", VAGUE, "Control+a", good_texts()[1], "Train · 1 changed"]
    assert person.acts == [*said, "Ship", "Download"]  # no word that needs the README
