"""Cross-talk in Chromium: pairs first, any layer by keyboard and address, what is below."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import combinations
from typing import TYPE_CHECKING

import pytest

from readout_ui.app.judge.pairs import shared_words
from readout_ui.inference.gate import Hosts
from readout_ui.texts.words import words_of
from tests.browser.test_judge import OpenPage, Served, report_of
from tests.support.axe import violations
from tests.support.rooms import open_room
from tests.support.running_app import serving
from tests.support.studios import small_studio

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Page

expect = pytest.importorskip("playwright.sync_api").expect
pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    from readout_ui.app.page import build_site

    with small_studio(tmp_path_factory.mktemp("crosstalk")) as studio:
        studio.runs.keep_report(report_of(studio))
        with serving(build_site(studio, Hosts("127.0.0.1"))) as url:
            yield Served(url, studio)


def expect_layer(page: Page, layer: int) -> None:
    """The address names this layer, and no pair."""
    expect(page).to_have_url(re.compile(rf"#/judge/cross-talk\?layer={layer}$"))


def test_all_pairs_come_first_and_a_layer_is_chosen_by_keyboard_and_address(
    served: Served, watched_page: OpenPage, tmp_path: Path
) -> None:
    best = served.studio.run().best_layer
    page = watched_page(served.url)
    open_room(page, "judge/cross-talk")
    found, choice = page.locator(".crosstalk .found"), page.locator(".crosstalk .at select").first
    expect(found).to_have_text(f"6 of 6 pairs beyond chance; 1 confused, layer {best}")
    expect(choice).to_have_value(str(best))
    expect(page.locator(".crosstalk .pairs tbody tr")).to_have_count(6)
    with page.expect_download() as saving:
        page.locator(".crosstalk [data-do=csv-pairs]").click()
    saving.value.save_as(tmp_path / "pairs.csv")
    assert len((tmp_path / "pairs.csv").read_text("utf-8-sig").splitlines()) == 7
    choice.focus()
    choice.press("ArrowUp" if best else "ArrowDown")
    other = best - 1 if best else 1
    expect(found).to_contain_text(f", layer {other}")
    expect_layer(page, other)
    page.go_back()
    expect(found).to_contain_text(f", layer {best}")
    open_room(page, "judge/cross-talk?layer=0")
    expect(choice).to_have_value("0")
    page.reload()
    expect(choice).to_have_value("0")
    expect(found).to_contain_text("beyond chance, layer 0")
    choice.select_option("mean")
    expect(found).to_contain_text("mean over all layers")


def test_a_pair_opens_with_its_shared_words_marked_and_closes_to_where_it_was(
    served: Served, watched_page: OpenPage
) -> None:
    run = served.studio.run()
    page = watched_page(served.url)
    open_room(page, f"judge/cross-talk?layer={run.best_layer}")
    shared = {pair: shared_words(run.texts, *pair) for pair in combinations(run.concepts, 2)}
    a, b = max(shared, key=lambda pair: len(shared[pair]))
    assert shared[a, b]
    page.locator(".crosstalk .pairs a", has_text=re.compile(f"^{a} . {b}$")).click()
    sheet = page.locator("dialog.judge-pair")
    expect(sheet).to_contain_text(run.texts[a][0])
    expect(sheet).to_contain_text(run.texts[b][0])
    expect(sheet).to_contain_text("± 0.08; ")
    marked = " ".join(sheet.locator("mark").all_inner_texts()).casefold()
    assert set(words_of(marked)) == shared[a, b]
    page.keyboard.press("Escape")
    expect(sheet).to_have_count(0)
    expect_layer(page, run.best_layer)
    expect(page.locator(".crosstalk .scale")).to_contain_text("+")  # it is painted
    canvas = page.locator(".crosstalk canvas")
    box = canvas.bounding_box()
    assert box is not None
    cell = (box["width"] - 98) / 4
    at = {"x": 98 + 1.5 * cell, "y": 98 + 0.5 * cell}
    canvas.hover(position=at)  # type: ignore[arg-type]
    told = page.locator(".crosstalk .cosines .told")
    expect(told).not_to_contain_text("Point at")
    first, second = str(told.inner_text()).split(":")[0].split(", ")
    canvas.click(position=at)  # type: ignore[arg-type]
    expect(sheet).to_contain_text(run.texts[first][0])
    expect(sheet).to_contain_text(run.texts[second][0])


def test_on_a_phone_everything_below_opens_and_is_saved(
    served: Served, watched_page: OpenPage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("readout_ui.evaluation.geometry.FEWEST_RATED", 4)  # as many as there are
    page = watched_page(served.url, 390, 844, "dark")
    open_room(page, "judge/cross-talk")
    expect(page.locator(".crosstalk .pairs tbody tr")).to_have_count(6)
    part = page.locator(".crosstalk details").nth
    for i in range(4):
        part(i).locator("summary").click()
    expect(part(0).locator("canvas")).to_be_visible()
    expect(part(0).locator(".scale")).to_contain_text("+")
    expect(part(1).locator("tbody tr")).to_have_count(4)
    expect(part(2).locator("circle")).to_have_count(4)
    expect(part(3)).to_contain_text("Logit lens")
    rows = [f"{name},{i % 3}" for i, name in enumerate((*served.studio.run().concepts, "gone"))]
    ratings, file = part(3).locator("input[type=file]"), tmp_path / "ratings.csv"
    for title, found in (
        ("name", "there is no column 'concept'"),
        ("concept", "such concept: gone"),
    ):
        file.write_text("\n".join([f"{title},hue", *rows]), "utf-8")
        ratings.set_input_files(file)
        expect(part(3)).to_contain_text(found)
        expect(part(3)).to_contain_text("Logit lens")  # what was there stays
    expect(part(3)).to_contain_text("Component 1 and hue: r ")
    expect(part(3)).to_contain_text("(4 rated concepts)")
    with page.expect_download() as saving:
        part(1).get_by_role("button", name="CSV").click()
    saving.value.save_as(tmp_path / "saved.csv")
    lines = (tmp_path / "saved.csv").read_text("utf-8-sig").splitlines()
    assert lines[0].startswith("Concept,Nearest three (cosine),R2 from the others,")
    assert lines[0].endswith('By chance,First component,"First component, detail"')
    assert len(lines) == 5
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert violations(page, "#crosstalk") == {}
