"""Texts from elsewhere, in Chromium over a tiny model: import, train, judge, export."""

from __future__ import annotations

import csv
import json
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from readout_ui.app.session import Studio
from readout_ui.runs.run import Run
from tests.support.rooms import open_room
from tests.support.studios import whole_page

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

expect = pytest.importorskip("playwright.sync_api").expect
pytestmark = pytest.mark.browser
HOSTILE = "<img src=x onerror=alert(1)>"


@dataclass(frozen=True)
class Served:
    """The running page, its studio, and a folder for files to drop on it."""

    url: str
    folder: Path
    studio: Studio


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, tiny_folder: Path) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("sources")
    with whole_page(folder, tiny_folder, train=False) as (url, studio):
        yield Served(url, folder, studio)


def tab(page: Page, name: str) -> None:
    """Open a part of the page once the model is there."""
    expect(page.locator("#model-chip.ready")).to_be_visible()
    open_room(page, name)


def drop(page: Page, elem_id: str, path: Path) -> None:
    page.locator(f"#{elem_id} input[type=file]").set_input_files(path)


def choose(page: Page, elem_id: str, option: str) -> None:
    page.locator(f"#{elem_id} input").first.click()
    page.get_by_role("option", name=option, exact=True).click()
    expect(page.get_by_role("option")).to_have_count(0)


def shown(page: Page, elem_id: str) -> Locator:
    found = page.locator(f"#{elem_id}")
    expect(found).to_be_visible()
    return found


def fits(page: Page) -> bool:
    wide: Any = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
    return bool(wide <= 0)


def pair_file(folder: Path) -> Path:
    path = folder / "tea.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["asked", "cold", "warm"])
        for i in range(12):
            cold, warm = f"Cup {i} is cold {HOSTILE}.", f"How splendid, cup {i} is warm again."
            writer.writerow([f"Is cup {i} warm?", cold, "Cup 3 is cold." if i == 3 else warm])
    return path


def test_a_pair_file_is_imported_swapped_trained_judged_and_exported(
    served: Served, watched_page: Callable[..., Page], tmp_path: Path
) -> None:
    page = watched_page(served.url)
    tab(page, "Sources")
    about = shown(page, "src-pair-about")
    expect(about).to_contain_text("Drop a JSON")
    page.locator("#src-train").click()
    expect(page.locator("#src-progress")).to_contain_text("There are no pairs yet")
    drop(page, "src-pair-file", pair_file(served.folder))
    expect(about).to_contain_text("choose both sides among asked, cold, warm")
    choose(page, "src-positive", "cold")
    choose(page, "src-negative", "warm")
    choose(page, "src-prompt", "asked")
    expect(about).to_contain_text("Positive = cold: high scores of cold mean cold")
    expect(about).to_contain_text("The first 5 of 12 pairs")
    assert about.locator("img").count() == 0
    page.locator("#src-swap").click()
    expect(about).to_contain_text(
        "Positive = warm: high scores of warm mean warm, low scores mean cold. "
        "The user says what is in asked."
    )
    expect(page.locator("#src-name").locator("input, textarea").first).to_have_value("warm")
    page.locator("#src-train").click()
    trained = shown(page, "src-trained")
    for words in ("In use: warm", "Bag of words", "Permuted polarity", "12 pairs of tea.csv"):
        expect(trained).to_contain_text(words)
    expect(page.locator("#status")).to_contain_text("from contrast pairs")
    expect(page.locator("#retrain")).to_have_text("Train")
    tab(page, "Export")
    expect(page.locator("#export-checks")).to_contain_text("contrast pairs")
    with page.expect_download() as download:
        page.click("#export-zip")
    target = tmp_path / "readout.zip"
    download.value.save_as(target)
    loaded = Run.open(target)
    assert loaded.manifest.concepts == ("warm",)
    contrast = loaded.manifest.contrast
    assert contrast is not None
    assert contrast["polarity"] == "positive = warm, negative = cold, prompt = asked"


def test_concepts_of_memories_that_are_chosen_stay_when_a_threshold_is_changed(
    served: Served, watched_page: Callable[..., Page], tmp_path: Path
) -> None:
    page = watched_page(served.url, address="#/write?from=memories")
    dump = tmp_path / "dump.jsonl"
    tagged = [("warmth", 8), ("warmth", 9), ("clarity", 8), ("clarity", 9), ("sorrow", 9)]
    notes = [
        {
            "key": f"{tag}{i}",
            "content": f"Note {i} of {tag} in a long winter is here.\n{tag}:{score}",
        }
        for i, (tag, score) in enumerate(tagged)
    ]
    dump.write_text("\n".join(map(json.dumps, notes)), encoding="utf-8")
    drop(page, "src-memory-file", dump)
    chosen = page.locator("#src-memory-concepts .token")
    expect(chosen).to_have_count(3)
    chosen.filter(has_text="clarity").locator(".token-remove").click()
    expect(chosen).to_have_count(2)
    page.get_by_label("Lowest score for").fill("9")
    expect(page.locator("#src-memory-about")).to_contain_text("Scored 9 or more")
    expect(chosen).to_contain_text(["warmth (1 for)", "sorrow (1 for)"])
    expect(chosen).to_have_count(2)
    page.locator("#src-memory-concepts input").click()
    page.get_by_role("option", name="clarity (1 for)").click()
    expect(chosen).to_have_count(3)
    page.keyboard.press("Tab")  # the list goes
    page.locator("#src-memory-zip").click()
    with page.expect_download() as download:
        page.locator("#src-memory-packed a").first.click()
    with zipfile.ZipFile(download.value.path()) as archive:
        folders = {name.split("/")[0] for name in archive.namelist() if "/" in name}
    assert folders == {"clarity", "sorrow", "warmth"}


def test_stories_and_memories_are_trained_on_a_phone(
    served: Served, watched_page: Callable[..., Page], tmp_path: Path
) -> None:
    page = watched_page(served.url, 390, 844, "dark")
    tab(page, "Sources")
    page.get_by_label("Stories", exact=True).click()
    stories = served.folder / "stories.zip"
    with zipfile.ZipFile(stories, "w") as archive:
        for concept in ("calm", "angry"):
            for scene in ("kitchen", "garden"):
                archive.writestr(f"{concept}/{scene}.txt", f"In the {scene} all were {concept}.")
    drop(page, "src-story-file", stories)
    about = shown(page, "src-story-about")
    expect(about).to_contain_text("No scene is shared")
    page.get_by_label("Files of the same name share a scene").click()
    expect(about).to_contain_text("Settings cancel in 2 scenes")
    page.locator("#src-train").click()
    expect(page.locator("#src-trained")).to_contain_text("From stories: 4 texts")
    assert fits(page)
    page.get_by_label("Scored memories", exact=True).click()
    dump = served.folder / "dump.jsonl"
    notes = [
        {"key": f"{tag}{i}", "content": f"{text} This is note {i} of a long winter.\n{tag}:9"}
        for i in range(8)
        for tag, text in (("warmth", "The fire was lit."), ("clarity", "The sky was clear."))
    ]
    dump.write_text("\n".join(map(json.dumps, notes)), encoding="utf-8")
    drop(page, "src-memory-file", dump)
    about = shown(page, "src-memory-about")
    expect(about).to_contain_text("16 memories are long enough")
    with page.expect_download() as download:
        page.locator("#src-memory-zip").click()
        page.locator("#src-memory-packed a").first.click()
    download.value.save_as(tmp_path / "examples.zip")
    with zipfile.ZipFile(tmp_path / "examples.zip") as archive:
        assert "warmth/positive.jsonl" in archive.namelist()
    page.locator("#src-train").click()
    trained = page.locator("#src-trained")
    expect(trained).to_contain_text("In use: clarity, warmth")
    assert fits(page)
    assert {run.source for run in served.studio.runs.list()} >= {"stories", "examples"}
