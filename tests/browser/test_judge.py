"""The report that Judge opens with, in Chromium: pairs side by side, matrix, files, addresses."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

import numpy as np
import pytest

from readout_ui.app.session import Studio
from readout_ui.inference.gate import Hosts
from readout_ui.runs.report import Finding, PairReport, RunReport, pack_cosines
from tests.support.axe import violations
from tests.support.reports import make_concept, make_report
from tests.support.rooms import open_room
from tests.support.running_app import serving
from tests.support.studios import small_studio

if TYPE_CHECKING:
    from playwright.sync_api import Page

expect = pytest.importorskip("playwright.sync_api").expect
pytestmark = pytest.mark.browser

OpenPage = Callable[..., "Page"]


@dataclass(frozen=True)
class Served:
    """The page and the session behind it."""

    url: str
    studio: Studio


def report_of(studio: Studio) -> RunReport:
    """Every pair beyond chance, the first confused; the last concept at chance."""
    run = studio.run()
    names = run.concepts
    pairs = tuple(
        PairReport(a, b, 0.5 - 0.3 * (i > 0), 0.08, 0.6 + 0.3 * (i > 0), "told apart")
        for i, (a, b) in enumerate((a, b) for a in names for b in names if a < b)
    )
    pairs = (replace(pairs[0], verdict="confused"), *pairs[1:])
    first = pairs[0]
    half = np.full((len(names),) * 2, 0.2)
    half[0, 1] = half[1, 0] = 0.5
    address = f"#/judge?pair={first.a}~{first.b}"
    scores = [0.95] * (len(names) - 1) + [0.51]
    return make_report(
        run.id,
        layer=run.best_layer,
        headline="3 of 4 concepts can be read; 1 pair is confused",
        concepts=tuple(make_concept(n, s) for n, s in zip(names, scores, strict=True)),
        pairs=pairs,
        findings=(Finding("They are confused.", address), Finding("Weak.", "#/write/calm")),
        moved="calm turned 0.04; nothing else moved",
        order=names,
        cosines=pack_cosines(half),
    )


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    from readout_ui.app.page import build_site

    with small_studio(tmp_path_factory.mktemp("judge")) as studio:
        studio.runs.keep_report(report_of(studio))
        with serving(build_site(studio, Hosts("127.0.0.1"))) as url:
            yield Served(url, studio)


def test_the_report_leads_to_both_texts_of_a_pair_and_back(
    served: Served, watched_page: OpenPage
) -> None:
    page = watched_page(served.url)
    open_room(page, "judge")
    report = page.locator(".report")
    expect(report.locator("h1")).to_contain_text("3 of 4 concepts can be read")
    expect(report.locator(".moved")).to_contain_text("calm turned 0.04")
    expect(report.locator(".verd > a")).to_have_count(4)
    expect(report.locator(".verd .v.bad").first).to_be_visible()
    expect(report.locator(".pairs tbody tr")).to_have_count(6)
    expect(report.locator(".pairs tbody tr").first).to_contain_text("confused, .600")
    report.get_by_role("link", name="Side by side").click()
    sheet = page.locator("dialog.judge-pair")
    a, b = served.studio.run().concepts[:2]
    texts = served.studio.run().texts
    expect(sheet).to_contain_text(texts[a][0])
    expect(sheet).to_contain_text(texts[b][0])
    expect(sheet).to_contain_text("Cosine 0.50 ± 0.08; confused, .600")
    page.reload()
    expect(sheet).to_contain_text(texts[b][0])
    page.keyboard.press("Escape")
    expect(sheet).to_have_count(0)
    expect(page).to_have_url(re.compile("#/judge$"))


def test_the_matrix_outlines_pairs_and_a_click_opens_one(
    served: Served, watched_page: OpenPage
) -> None:
    page = watched_page(served.url)
    open_room(page, "judge")
    canvas = page.locator(".report canvas")
    expect(page.locator(".report .scale")).to_contain_text("+.50")  # it is painted
    box = canvas.bounding_box()
    assert box is not None
    cell = (box["width"] - 98) / 4
    at = {"x": 98 + 1.5 * cell, "y": 98 + 0.5 * cell}
    canvas.hover(position=at)  # type: ignore[arg-type]
    a, b = served.studio.run().concepts[:2]
    expect(page.locator(".report .told")).to_have_text(f"{a}, {b}: 0.50")
    canvas.click(position=at)  # type: ignore[arg-type]
    expect(page.locator("dialog.judge-pair")).to_contain_text(b)


def test_reports_that_come_while_the_page_is_open_are_painted_too(
    tmp_path: Path, watched_page: OpenPage
) -> None:
    from readout_ui.app.page import build_site

    with small_studio(tmp_path) as studio, serving(build_site(studio, Hosts("127.0.0.1"))) as url:
        page = watched_page(url)
        open_room(page, "judge")
        expect(page.locator(".report h1")).to_contain_text("not judged yet")
        first = report_of(studio)
        for day, headline in enumerate(("1 pair is confused", "Judged again: the same numbers"), 1):
            made = f"2026-11-0{day}T12:00:00"
            studio.runs.keep_report(replace(first, headline=headline, made=made))
            expect(page.locator(".report h1")).to_have_text(headline)
            expect(page.locator(".report .scale")).to_contain_text("+.50")
            expect(page.locator(".report canvas")).not_to_have_js_property(
                "width", 300
            )  # unpainted


def test_tables_and_the_whole_report_are_saved(
    served: Served, watched_page: OpenPage, tmp_path: Path
) -> None:
    page = watched_page(served.url)
    open_room(page, "judge")
    expect(page.locator(".report .scale")).to_contain_text("+.50")  # it is painted
    for button, expected in (
        ("csv-pairs", "concept,other,cosine,margin_95,held_out_auroc,verdict"),
        ("csv-concepts", "Concept,Verdict,AUROC"),
        ("save", "<!doctype html>"),
    ):
        with page.expect_download() as saving:
            page.locator(f".report [data-do={button}]").click()
        saving.value.save_as(tmp_path / "saved")
        saved = (tmp_path / "saved").read_text("utf-8-sig")
        assert saved.startswith(expected)
        assert all(name in saved for name in served.studio.run().concepts)
    assert "data:image/png;base64" in saved
    assert "<script" not in saved


def test_a_phone_scrolls_only_down_and_shows_every_part(
    served: Served, watched_page: OpenPage
) -> None:
    page = watched_page(served.url, 390, 844, "dark")
    open_room(page, "judge")
    expect(page.locator(".report .scale")).to_contain_text("+.50")  # it is painted
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    expect(page.locator("#judge-parts > .tab-wrapper [role=tab]:visible")).to_have_count(4)


def test_a_run_without_a_report_is_judged_at_a_click(
    served: Served, watched_page: OpenPage
) -> None:
    studio = served.studio
    run = studio.start_training().result()
    page = watched_page(served.url)
    open_room(page, "judge")
    page.get_by_role("button", name="Judge this run").click()
    expect(page.locator(".report .verd")).to_be_visible()
    report = studio.report(run.id)
    assert report is not None
    expect(page.locator(".report h1")).to_have_text(report.headline)


def test_what_was_judged_is_there_after_a_reload_and_a_restart(
    tmp_path: Path, watched_page: OpenPage
) -> None:
    from readout_ui.app.page import build_site

    hosts = Hosts("127.0.0.1")
    with small_studio(tmp_path) as studio:
        best, options = studio.run().best_layer, studio.options
        with serving(build_site(studio, hosts)) as url:
            page = watched_page(url)
            open_room(page, "judge/layers")
            about = page.locator("#layers-about")
            expect(about.locator("h2")).to_have_text(f"Use layer {best}")
            expect(about.locator("table.heat tbody tr")).to_have_count(1)
            page.click("#layers-compare")
            expect(about.locator("table.heat tbody tr")).to_have_count(15)
            assert violations(page, "#layers-about") == {}
            open_room(page, "judge/new-texts")
            page.click("#generalization-judge")
            summary = page.locator("#generalization-summary")
            expect(summary).to_contain_text("48 texts, 4 concepts")
            violins = page.locator("#generalization-violins .js-plotly-plot")
            expect(violins).to_be_visible()
            told = summary.inner_text()
            page.reload()
            expect(summary).to_have_text(told, use_inner_text=True)
            follow_a_miss(page)
            save_misses(page, tmp_path / "misses.csv")
    later = Studio(options)  # no model is loaded
    with serving(build_site(later, hosts)) as url:
        page = watched_page(url, 390, 844, "dark")
        open_room(page, "judge/new-texts")
        expect(page.locator("#generalization-summary")).to_contain_text("48 texts")
        expect(page.locator("#generalization-misses tbody tr")).to_have_count(10)
        open_room(page, "judge/layers")
        expect(page.locator("#layers-about")).to_contain_text("Compared 20")
        expect(page.locator("#layers-about table.heat tbody tr")).to_have_count(15)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
    later.close()


def follow_a_miss(page: Page) -> None:
    """A miss is read, and becomes a description of what it is labelled with."""
    row = page.locator("#generalization-misses tbody tr").first
    reading = row.get_by_role("link", name="Read it")
    text = parse_qs(str(reading.get_attribute("href")).partition("?")[2])["text"][0]
    reading.click()
    expect(page.locator("#rd-input")).to_have_value(text)
    page.go_back()
    adding = row.get_by_role("link", name="Add to")
    concept = str(adding.inner_text()).removeprefix("Add to ")
    adding.click()
    boxes = page.locator("#room-write textarea")
    page.wait_for_function(
        "text => [...document.querySelectorAll('#room-write textarea')]"
        ".some((box) => box.value === text)",
        arg=text,
    )
    assert boxes.count() > 1
    expect(page).to_have_url(re.compile(f"#/write/{concept}$"))


def save_misses(page: Page, file: Path) -> None:
    """The table of misses as a file: plain texts, without the buttons' words."""
    open_room(page, "judge/new-texts")
    with page.expect_download() as saving:
        page.locator("#generalization-misses").get_by_role("button", name="CSV").click()
    saving.value.save_as(file)
    lines = file.read_text("utf-8-sig").splitlines()
    assert lines[0] == 'Text,Labelled,"Labelled, detail",Scored highest,"Scored highest, detail"'
    assert len(lines) == 11
    assert "Read it" not in lines[1]
