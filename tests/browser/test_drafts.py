"""Drafts in Chromium: nothing is ticked beforehand, and a click adds what was ticked."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from readout_ui.app.session import Studio
from readout_ui.app.status import StudioOptions
from readout_ui.app.write.concepts import build_concepts_tab
from tests.support.pretend_endpoint import pretend_endpoint
from tests.support.studios import address_of

if TYPE_CHECKING:
    from playwright.sync_api import Page

gr = pytest.importorskip("gradio")
expect = pytest.importorskip("playwright.sync_api").expect
pytestmark = pytest.mark.browser
ANSWER = "1. I sit here by the water.\n2. I am <b>calm</b>, and angry people pass by.\n"
SIDES = "I sit by the lake and watch the water.", "I run round the lake and shout at it."
ANSWER += "\n" + "".join(f"{side}: {text}\n" for side, text in zip("AB", SIDES, strict=True))


def test_a_draft_enters_the_library_by_a_click_alone(
    descriptions: Path, tmp_path: Path, watched_page: Callable[..., Page]
) -> None:
    with pretend_endpoint(ANSWER) as endpoint:
        studio = Studio(StudioOptions(descriptions, tmp_path / "runs", draft_endpoint=endpoint.url))
        with gr.Blocks(analytics_enabled=False) as app:
            build_concepts_tab(studio)
        with closing(studio), address_of(app) as url:
            page = watched_page(url)
            page.locator(".rs-row[data-key='calm'] a").click()
            page.get_by_role("button", name="New", exact=True).click()
            page.get_by_role("button", name="Let a model draft some").click()
            sheet = page.locator("dialog.rs-sheet")
            sheet.get_by_label("How many").fill("2")
            sheet.get_by_label("Written by").select_option("endpoint")
            sheet.get_by_role("button", name="Draft").click()
            expect(sheet).to_contain_text("wrote 2 of 2 texts")
            expect(sheet).to_contain_text("is a word of the concept angry")
            expect(sheet).to_contain_text("Nearest: ")
            boxes = sheet.get_by_role("checkbox")
            assert [boxes.nth(i).is_checked() for i in range(2)] == [False, False]
            boxes.nth(0).check()
            sheet.get_by_role("button", name="Add the ticked ones to the library").click()
            expect(sheet).to_have_count(0)
            texts = studio.library().concept("calm").descriptions
            assert texts[-1] == "I sit here by the water."
            assert not any("angry people" in text for text in texts)
            page.get_by_role("button", name="New", exact=True).click()
            page.get_by_role("button", name="Let a model draft some").click()
            sheet.get_by_label("What").select_option("contrast")
            sheet.get_by_label("How many").fill("1")
            sheet.get_by_label("Written by").select_option("endpoint")
            sheet.get_by_role("button", name="Draft").click()
            expect(boxes).to_have_count(1)
            boxes.check()
            expect(
                sheet.get_by_role("button", name="Save the ticked ones as a file")
            ).to_be_visible()
            sheet.get_by_role("button", name="Add the ticked ones to the library").click()
            expect(sheet).to_have_count(0)  # both sides are kept by then
            expect(page.locator(".rs-contrast summary")).to_have_text(
                "Contrasted with 1 text of its own"
            )
            library = studio.library()
            assert library.concept("calm").descriptions[-1] == SIDES[0]
            assert library.concept("_against calm").descriptions == SIDES[1:]
