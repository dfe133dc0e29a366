"""New texts of Judge in Chromium: shipped texts, pasted ones, files of every kind."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from readout_ui.app.judge.generalization import GeneralizationTab
from tests.support.studios import address_of, small_studio

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

gr = pytest.importorskip("gradio")
expect = pytest.importorskip("playwright.sync_api").expect
pytestmark = pytest.mark.browser

OpenPage = Callable[..., "Page"]
PASTED = "\n".join(
    (
        "calmness: The lake lay still.",
        "calmness: Calm words, calm hands.",
        "anger: He took my seat <b>again</b>!",
        "anger: The letter was torn in two.",
        "odd: A chair is a chair.",
        "odd: The form has four fields.",
    )
)
CSV = """id,said,emotion,also
1,The lake lay still.,calm,happy
2,Nothing hurries here.,calm,
3,He slammed the door.,angry,afraid
4,"Twice, she tore it up.",angry,
5,A step behind me.,afraid,
6,The light went out.,afraid,
7,They gave me the prize.,happy,
8,We danced all evening.,happy,
"""


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory, tiny_folder: Path) -> Iterator[str]:
    """The tab over a real run of the tiny model."""
    place = tmp_path_factory.mktemp("generalization")
    with small_studio(place, tiny_folder) as studio:
        with gr.Blocks(analytics_enabled=False) as app:
            GeneralizationTab(studio)
        with address_of(app) as address:
            yield address


def part(page: Page, name: str) -> Locator:
    return page.locator(f"#generalization-{name}")


def figure(page: Page, name: str) -> Locator:
    return part(page, name).locator(".js-plotly-plot")


def judge(page: Page, about: str) -> None:
    """Press Judge and wait until what was found is about these texts."""
    part(page, "judge").click()
    expect(part(page, "summary")).to_contain_text(about)


def choose(page: Page, name: str, option: str) -> None:
    """Pick one of a list; gradio 6.17 gives a multiple choice no label to find it by."""
    part(page, name).locator("input").click()
    page.get_by_role("option", name=option, exact=True).click()
    page.keyboard.press("Escape")


def upload(page: Page, *files: Path) -> None:
    """Drop files in the place of those that are there."""
    place = part(page, "files")
    taking, clear = place.locator("input[type=file]"), place.get_by_label("Clear")
    expect(taking.or_(clear).first).to_be_attached()
    if clear.count():
        clear.click()
    taking.set_input_files([str(file) for file in files])


def labels(page: Page) -> Locator:
    """The mapping's first column."""
    cells = ".virtual-body [data-testid^=cell-][data-testid$='-0']"
    return part(page, "mapping").locator(cells)


def target(page: Page, row: int) -> Locator:
    """The concept that a row of the mapping names."""
    return part(page, "mapping").locator(f".virtual-body [data-testid=cell-{row}-2]")


def test_the_shipped_set_is_judged_beside_its_baselines(url: str, watched_page: OpenPage) -> None:
    page = watched_page(url, 1280, 900)
    expect(part(page, "notice")).to_contain_text("press Judge")
    judge(page, "48 texts, 4 concepts, 48 neutral texts")
    summary = part(page, "summary")
    for baseline in ("Bag of words", "Random directions", "Permuted labels", "Top-1", "chance"):
        expect(summary).to_contain_text(baseline)
    expect(part(page, "forest").locator("tr")).to_have_count(5)
    expect(part(page, "misses").locator("tbody tr")).to_have_count(10)
    expect(figure(page, "violins").locator(".yaxislayer-above text")).to_have_count(4)
    choose(page, "violin-choice", "calm")
    expect(figure(page, "violins").locator(".yaxislayer-above text")).to_have_count(1)
    page.get_by_text("All numbers").click()
    expect(part(page, "table").locator("tbody tr")).to_have_count(4)
    page.get_by_text("Is it the word or the meaning?").click()
    part(page, "check-words").click()
    words = part(page, "words")
    expect(words).to_contain_text("No text holds its concept's own word")
    expect(words).to_contain_text("sentences use the word in another sense")
    page.get_by_text("Dose: one text, many values").click()
    expect(part(page, "curves")).to_be_hidden()
    part(page, "dose").click()
    expect(figure(page, "curves")).to_be_visible()
    expect(part(page, "dose-table")).to_contain_text("Cosine, 200 → 16000")
    expect(part(page, "dose-table").locator("tbody tr")).to_have_count(4)


def test_pasted_labels_are_mapped_by_suggestion_and_by_hand(
    url: str, watched_page: OpenPage
) -> None:
    page = watched_page(url, 1280, 900)
    page.get_by_label("Pasted text").click()
    part(page, "paste").locator("textarea").fill('[{"text": 1')
    expect(part(page, "brought")).to_contain_text("this is not JSON")
    part(page, "paste").locator("textarea").fill(PASTED)
    expect(part(page, "brought")).to_contain_text("6 texts in pasted text")
    expect(labels(page)).to_have_text(["calmness", "anger", "odd"])
    expect(target(page, 0)).to_have_text("calm")
    expect(target(page, 2)).to_have_text("(ignore)")
    judge(page, "4 texts, 2 concepts, 48 neutral texts")  # the shipped ones stand in
    # By hand: the odd ones are neutral.
    target(page, 2).dblclick()
    typed = part(page, "mapping").locator(".virtual-body textarea")
    typed.fill("(neutral)")
    typed.press("Enter")
    expect(target(page, 2)).to_contain_text("(neutral)")
    judge(page, "4 texts, 2 concepts, 2 neutral texts")
    page.get_by_text("Is it the word or the meaning?").click()
    part(page, "check-words").click()
    expect(part(page, "words")).to_contain_text("1 texts hold")
    expect(part(page, "words").locator("table")).to_contain_text("calm")


def test_files_of_every_kind_are_read_and_their_columns_chosen(
    url: str, watched_page: OpenPage, tmp_path: Path
) -> None:
    page = watched_page(url, 390, 844, "dark")
    page.get_by_label("Files", exact=True).click()
    table = tmp_path / "said.csv"
    table.write_text(CSV)
    upload(page, table)
    expect(part(page, "brought")).to_contain_text("8 texts in said.csv")
    expect(page.get_by_label("Column with the texts")).to_have_value("said")
    expect(labels(page)).to_have_text(["calm", "angry", "afraid", "happy"])
    choose(page, "labels", "also")
    names = ["calm", "happy", "angry", "afraid"]
    expect(labels(page)).to_have_text(names)
    expect(part(page, "labels")).to_contain_text("also")
    judge(page, "8 texts, 4 concepts")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    expect(part(page, "forest").locator("tr")).to_have_count(5)

    lines = tmp_path / "said.jsonl"
    rows = [("The lake lay still.", ["calm", "happy"]), ("He slammed the door.", ["angry"])]
    lines.write_text("\n".join(json.dumps({"text": t, "labels": names}) for t, names in rows))
    upload(page, lines)
    expect(part(page, "brought")).to_contain_text("2 texts in said.jsonl")
    expect(labels(page)).to_have_text(["calm", "happy", "angry"])
    judge(page, "2 texts, 3 concepts")

    lists = tmp_path / "said.json"
    lists.write_text(json.dumps({"calm": ["Still water.", "Slow air."], "angry": ["A torn page."]}))
    upload(page, lists)
    expect(part(page, "brought")).to_contain_text("3 texts in said.json")
    judge(page, "3 texts, 2 concepts")

    for name, texts in (("afraid", "A step.\n\nThe dark."), ("happy", "A prize.\n\nA dance.")):
        (tmp_path / f"{name}.txt").write_text(texts)
    upload(page, tmp_path / "afraid.txt", tmp_path / "happy.txt")
    expect(part(page, "brought")).to_contain_text("4 texts in these files")
    expect(labels(page)).to_have_text(["afraid", "happy"])
    judge(page, "4 texts, 2 concepts")
