"""The room Write in Chromium: what a person types is on disk, on the page, and never lost."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from readout_ui.app.jobs import JobState
from readout_ui.app.session import Studio
from readout_ui.app.write import calls
from readout_ui.app.write.concepts import build_concepts_tab
from readout_ui.evaluation.influence import Influence
from readout_ui.runs.report import Finding, PairReport, TextReport
from readout_ui.texts.editing import record_library
from readout_ui.texts.library import Library
from readout_ui.texts.tags import change_tags, read_tags
from tests.support.reports import make_concept, make_report
from tests.support.rooms import until
from tests.support.studios import address_of

if TYPE_CHECKING:
    from playwright.sync_api import Page

gr = pytest.importorskip("gradio")
playwright = pytest.importorskip("playwright.sync_api")
expect = playwright.expect
pytestmark = pytest.mark.browser


@dataclass
class FolderDesk:
    """A desk over whichever folder a test needs, without a model or runs."""

    folder: Path = Path()
    read_only: bool = False
    states: dict[str, str] = field(default_factory=dict)
    known: dict[str, str] = field(default_factory=dict)
    judged: Any = None
    """The report on the run in use."""
    found: Any = None
    """What the newest search in a large file found."""

    runs: Any = field(default_factory=lambda: SimpleNamespace(current=lambda: None))

    @property
    def worker(self) -> Any:
        done = SimpleNamespace(state=JobState.DONE)
        job = SimpleNamespace(view=lambda: done, result=lambda: self.found)
        return SimpleNamespace(
            latest=lambda kind: job if kind == "snippets" and self.found else None
        )

    def report(self) -> Any:
        return self.judged

    def judging(self) -> None:
        return None

    def run(self) -> Any:
        return SimpleNamespace(concepts=tuple(self.states))

    def on_device(self, _kind: str, title: str, _work: Any) -> Any:
        answers = ("I went home.", f"I went home. ({title})")
        return SimpleNamespace(result=lambda: answers)

    def library(self) -> Library:
        library = Library(self.folder)
        if not self.read_only:
            self.known = record_library(library, self.known)
        return library

    def concept_states(self) -> dict[str, str]:
        return self.states

    def count_tokens(self, texts: Sequence[str]) -> list[int] | None:
        return [len(text.split()) for text in texts]

    def refuse_if_read_only(self, what: str) -> None:
        session: Any = self
        Studio.refuse_if_read_only(session, what)


@dataclass(frozen=True)
class Served:
    """The running page and the desk behind it."""

    desk: FolderDesk
    url: str


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    desk: Any = FolderDesk()
    with gr.Blocks(analytics_enabled=False) as app:
        with gr.Tabs():
            with gr.Tab("Concepts"):
                tab = build_concepts_tab(desk)
            with gr.Tab("Train"):
                gr.Markdown("Another tab")
        asked = gr.Textbox(elem_id="asked")
        tab.train_requested(lambda: "training asked", None, asked, api_visibility="private")
    with address_of(app) as url:
        yield Served(desk, url)


@pytest.fixture
def desk(served: Served, descriptions: Path) -> FolderDesk:
    served.desk.folder, served.desk.read_only = descriptions, False
    served.desk.states, served.desk.known = {}, {}
    served.desk.judged = served.desk.found = None
    return served.desk


OpenPage = Callable[..., "Page"]


@pytest.fixture
def open_page(
    served: Served, desk: FolderDesk, watched_page: Callable[..., Page]
) -> Iterator[OpenPage]:
    """Opens the page; at the end nothing typed is on its way to the folder of the next test."""
    pages: list[Page] = []

    def opened(address: str = "#/write", width: int = 1440, context: Any = None) -> Page:
        # Without the shell's script a link leaves a page whose address has a query.
        options = {"theme": "", "address": address, "context": context}
        pages.append(watched_page(served.url, width, **options))
        return pages[-1]

    yield opened
    for page in pages:
        if not page.is_closed():
            expect(page.locator(".rs-mark", has_text=UNSAVED)).to_have_count(0)


UNSAVED = re.compile("^(Not saved yet|Saving…)$")


def link(page: Page, name: str) -> Any:
    """The name of a concept on the scoreboard."""
    return page.locator(f".rs-row[data-key='{name}'] a")


def choose(page: Page, name: str) -> None:
    """Open a concept by keyboard, which puts the caret into its first text."""
    link(page, name).focus()
    page.keyboard.press("Enter")
    expect(page.locator(".rs-name")).to_have_text(name)
    expect(boxes(page).first).to_be_focused()


def boxes(page: Page) -> Any:
    return page.locator(".rs-text")


def saved(page: Page) -> None:
    expect(page.locator(".rs-mark")).to_have_text("Saved")


def on_disk(desk: FolderDesk, name: str) -> tuple[str, ...]:
    return desk.library().concept(name).descriptions


def menu(page: Page, item: str) -> None:
    """Something of the menu of the concept that is open."""
    page.get_by_label("More", exact=True).click()
    page.get_by_role("button", name=item, exact=True).click()


def press(page: Page, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def test_typed_text_reaches_the_file_by_itself(desk: FolderDesk, open_page: OpenPage) -> None:
    page = open_page()
    choose(page, "calm")
    boxes(page).first.fill("I am at rest. Nothing moves in me.")
    saved(page)
    assert on_disk(desk, "calm")[0] == "I am at rest. Nothing moves in me."


def test_ctrl_enter_saves_first_and_then_asks_for_a_training(
    desk: FolderDesk, open_page: OpenPage
) -> None:
    page = open_page()
    choose(page, "calm")
    page.keyboard.insert_text("Indeed. ")
    press(page, "Control+Enter")
    expect(page.locator("#asked textarea")).to_have_value("training asked")
    assert "Indeed." in " ".join(on_disk(desk, "calm"))


def test_everything_in_the_editor_works_from_the_keyboard(
    desk: FolderDesk, open_page: OpenPage
) -> None:
    page = open_page()
    first, second, third = on_disk(desk, "calm")
    choose(page, "calm")
    press(page, "Alt+ArrowDown", "Control+s")
    saved(page)
    assert on_disk(desk, "calm") == (second, first, third)
    expect(boxes(page).nth(1)).to_be_focused()
    press(page, "Alt+Shift+ArrowDown", "Control+s")
    saved(page)
    assert on_disk(desk, "calm") == (second, first, first, third)
    press(page, "Alt+Enter")
    page.keyboard.insert_text("I lie still.")
    press(page, "Control+s")
    saved(page)
    assert on_disk(desk, "calm") == (second, first, first, "I lie still.", third)
    press(page, "Control+a", "Backspace", "Backspace", "Control+s")
    saved(page)
    assert on_disk(desk, "calm") == (second, first, first, third)
    press(page, "Tab")  # the tools of the third description are one stop
    expect(page.locator(".rs-box").nth(2).get_by_role("button", name="Move up")).to_be_focused()
    press(page, "ArrowLeft", "Enter")
    expect(boxes(page)).to_have_count(3)
    press(page, "Control+z")
    expect(boxes(page)).to_have_count(4)
    press(page, "Control+Shift+z")
    expect(boxes(page)).to_have_count(3)
    press(page, "Escape")
    expect(link(page, "calm")).to_be_focused()
    press(page, "ArrowDown", "Enter")
    expect(page.locator(".rs-name")).to_have_text("happy")
    until(page, lambda: on_disk(desk, "calm") == (second, first, third))  # saved meanwhile


def test_undo_takes_back_typing_in_whole_steps_and_saves_that_too(
    desk: FolderDesk, open_page: OpenPage
) -> None:
    page = open_page()
    before = on_disk(desk, "calm")
    choose(page, "calm")
    page.keyboard.type("Quite so. ")
    press(page, "Control+s")
    saved(page)
    press(page, "Control+z", "Control+s")
    saved(page)
    assert on_disk(desk, "calm") == before


def test_a_blank_line_starts_a_new_description_as_it_does_in_the_file(
    desk: FolderDesk, open_page: OpenPage
) -> None:
    page = open_page()
    choose(page, "calm")
    press(page, "Control+a")
    page.keyboard.insert_text("First one.\n\nSecond one.\n \nThird")
    page.keyboard.type(" one.")
    expect(boxes(page)).to_have_count(5)
    expect(boxes(page).nth(2)).to_be_focused()
    press(page, "Control+s")
    saved(page)
    assert on_disk(desk, "calm")[:3] == ("First one.", "Second one.", "Third one.")


def test_a_file_changed_by_another_program_appears_by_itself(
    desk: FolderDesk, open_page: OpenPage
) -> None:
    page = open_page()
    choose(page, "calm")
    (desk.folder / "calm.txt").write_text("I came from vim.\n", encoding="utf-8")
    (desk.folder / "proud.txt").write_text("I stand tall.\n", encoding="utf-8")
    expect(boxes(page)).to_have_count(1)
    expect(boxes(page)).to_have_value("I came from vim.")
    expect(page.locator(".rs-row[data-key='proud']")).to_be_visible()


@contextmanager
def unreachable(page: Page) -> Iterator[None]:
    """Inside, the page gets no answer from the app."""
    page.route("**/component_server/", lambda route: route.abort())
    yield
    if not page.is_closed():
        page.unroute("**/component_server/")


def make_conflict(page: Page, desk: FolderDesk) -> None:
    """Type while the app cannot be reached, and change the file meanwhile."""
    choose(page, "calm")
    with unreachable(page):
        boxes(page).first.fill("Mine it is.")
        (desk.folder / "calm.txt").write_text("Theirs it is.\n", encoding="utf-8")
    press(page, "Control+s")
    expect(page.get_by_role("group", name="Changed on disk")).to_be_visible()
    assert on_disk(desk, "calm") == ("Theirs it is.",)


def test_a_conflict_shows_both_texts_and_keeps_mine_on_request(
    desk: FolderDesk, open_page: OpenPage
) -> None:
    page = open_page()
    make_conflict(page, desk)
    page.get_by_role("button", name="See both").click()
    sides = page.locator(".rs-side")
    expect(sides.nth(0)).to_contain_text("Mine it is.")
    expect(sides.nth(1)).to_contain_text("Theirs it is.")
    page.get_by_role("button", name="Keep mine").click()
    saved(page)
    assert on_disk(desk, "calm")[0] == "Mine it is."


def test_taking_theirs_can_be_undone(desk: FolderDesk, open_page: OpenPage) -> None:
    page = open_page()
    make_conflict(page, desk)
    page.get_by_role("button", name="Take theirs").click()
    expect(boxes(page)).to_have_value("Theirs it is.")
    boxes(page).focus()
    press(page, "Control+z", "Control+s")
    saved(page)
    assert on_disk(desk, "calm")[0] == "Mine it is."


def test_text_that_could_not_be_saved_survives_the_page(
    desk: FolderDesk, open_page: OpenPage
) -> None:
    page = open_page()
    choose(page, "calm")
    # Not `unreachable`: Chromium sends what it holds back for a route when the page closes.
    page.context.set_offline(True)
    boxes(page).first.fill("Typed while the app was gone.")
    expect(page.locator(".rs-notice")).to_contain_text("The app does not answer")
    page.close()
    assert "Typed while the app was gone." not in on_disk(desk, "calm")
    page.context.set_offline(False)
    page = open_page(context=page.context)
    expect(page.locator(".rs-name")).to_have_text("calm")
    saved(page)
    assert on_disk(desk, "calm")[0] == "Typed while the app was gone."


def test_a_concept_deleted_by_another_program_can_be_kept_or_let_go(
    desk: FolderDesk, open_page: OpenPage
) -> None:
    page = open_page()
    choose(page, "calm")
    with unreachable(page):
        page.keyboard.insert_text(" Still typing.")
        (desk.folder / "calm.txt").unlink()
    page.get_by_role("button", name="Keep mine (bring it back)").click()
    saved(page)
    assert len(on_disk(desk, "calm")) == 3
    (desk.folder / "calm.txt").unlink()
    expect(page.locator(".rs-blank")).to_contain_text("is deleted")


def test_switching_to_another_concept_or_tab_loses_nothing(
    desk: FolderDesk, open_page: OpenPage
) -> None:
    page = open_page()
    choose(page, "calm")
    boxes(page).first.fill("Left in a hurry.")
    link(page, "happy").click()
    expect(page.locator(".rs-name")).to_have_text("happy")
    boxes(page).first.fill("Off to another tab.")
    page.get_by_role("tab", name="Train").click()
    page.get_by_role("tab", name="Concepts").click()
    expect(boxes(page).first).to_have_value("Off to another tab.")
    saved(page)
    choose(page, "calm")
    expect(boxes(page).first).to_have_value("Left in a hurry.")
    assert on_disk(desk, "happy")[0] == "Off to another tab."


def test_findings_and_tokens_stand_beside_the_text_while_typing(open_page: OpenPage) -> None:
    page = open_page()
    choose(page, "calm")
    boxes(page).first.fill("He is angry about it.")
    first = page.locator(".rs-box").first
    expect(first.locator(".rs-findings")).to_contain_text("in the first person")
    expect(first.locator(".rs-findings")).to_contain_text("angry")
    expect(first.locator(".rs-tokens")).to_have_text("5 tokens")


def test_a_concept_is_made_renamed_deleted_and_brought_back(
    desk: FolderDesk, open_page: OpenPage
) -> None:
    page = open_page()
    page.get_by_role("button", name="New", exact=True).click()
    page.keyboard.type("../proud")
    press(page, "Enter")
    expect(page.get_by_role("alert")).to_contain_text("cannot contain")
    press(page, "Control+a")
    page.keyboard.type("proud")
    press(page, "Enter")
    expect(page.locator(".rs-name")).to_have_text("proud")
    expect(boxes(page)).to_be_focused()
    page.keyboard.type("I did that. I stand taller.")
    menu(page, "Rename")
    page.keyboard.type("pleased")
    press(page, "Enter")
    expect(page.locator(".rs-name")).to_have_text("pleased")
    assert on_disk(desk, "pleased") == ("I did that. I stand taller.",)
    menu(page, "Delete")
    expect(page.locator(".rs-row[data-key='pleased']")).to_have_count(0)
    page.get_by_role("button", name="Undo", exact=True).click()
    expect(boxes(page).first).to_have_value("I did that. I stand taller.")
    menu(page, "Delete")
    expect(page.locator(".rs-row[data-key='pleased']")).to_have_count(0)
    page.get_by_role("button", name="Trash").click()
    page.get_by_role("button", name="Restore").click()
    expect(page.locator(".rs-name")).to_have_text("pleased")


def test_contrast_texts_are_folded_away_and_have_a_page_of_their_own(
    desk: FolderDesk, open_page: OpenPage
) -> None:
    page = open_page()
    choose(page, "calm")
    page.get_by_text("Contrasted with all other concepts").click()
    page.get_by_role("button", name="Write contrast texts").click()
    expect(page.locator(".rs-name")).to_have_text("_against calm")
    boxes(page).first.fill("I cannot sit still.")
    saved(page)
    assert on_disk(desk, "_against calm") == ("I cannot sit still.",)
    assert desk.library().texts()["_against calm"] == ("I cannot sit still.",)
    expect(link(page, "_against calm")).to_have_count(0)
    page.get_by_role("link", name="To calm").click()
    page.get_by_text("Contrasted with 1 text of its own").click()
    expect(page.locator(".rs-contrast-texts li")).to_have_text(["I cannot sit still."])
    page.get_by_role("button", name="Edit them").click()
    expect(boxes(page).first).to_have_value("I cannot sit still.")


def test_words_that_give_a_concept_away_follow_what_is_saved(
    desk: FolderDesk, open_page: OpenPage
) -> None:
    page = open_page()
    choose(page, "calm")
    rows, word = page.locator(".rs-telling tbody tr"), "The harbour is quiet."
    page.get_by_text("Words that give it away").click()
    expect(page.locator(".rs-telling")).to_contain_text("name it")
    expect(rows.filter(has_text="harbour")).to_have_count(0)
    for at in (0, 1):
        boxes(page).nth(at).fill(f"{word} {at}")
    press(page, "Control+s")
    expect(rows.filter(has_text="harbour").locator(".rs-num")).to_have_text(["2", "0"])
    page.get_by_role("button", name="harbour").click()
    assert page.evaluate("getSelection().toString()") == "harbour"


def test_an_earlier_version_is_shown_and_restored(desk: FolderDesk, open_page: OpenPage) -> None:
    page = open_page()
    before = on_disk(desk, "calm")
    choose(page, "calm")
    boxes(page).first.fill("Only for now.")
    press(page, "Control+s")
    saved(page)
    page.get_by_role("button", name="History").click()
    expect(page.locator(".rs-version").first).to_be_focused()
    expect(page.locator(".rs-preview")).to_contain_text(before[0])
    page.get_by_role("button", name="Restore this version").click()
    expect(boxes(page).first).to_have_value(before[0])
    saved(page)
    assert on_disk(desk, "calm") == before


def test_a_set_is_exported_and_an_import_is_looked_at_first(
    desk: FolderDesk, open_page: OpenPage
) -> None:
    page = open_page()
    page.get_by_role("button", name="Export").click()
    page.get_by_label("JSONL").check()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download").click()
    assert download.value.suggested_filename == "descriptions.jsonl"
    lines = Path(download.value.path()).read_text(encoding="utf-8").splitlines()
    assert {json.loads(line)["concept"] for line in lines} == {*desk.known}
    page.get_by_role("button", name="Import", exact=True).click()
    page.locator("input[type=file]").set_input_files(
        {
            "name": "set.csv",
            "mimeType": "text/csv",
            "buffer": b"concept,description\ncalm,I am still.\nproud,I stand tall.\n",
        }
    )
    plan = page.locator(".rs-plan")
    expect(plan).to_contain_text("3 → 1 description (+1 −3)")
    assert len(on_disk(desk, "calm")) == 3
    page.get_by_label("Import calm").uncheck()
    page.get_by_role("button", name="Import 1 concept").click()
    expect(page.locator(".rs-row[data-key='proud']")).to_be_visible()
    assert len(on_disk(desk, "calm")) == 3


def test_read_only_shows_everything_and_offers_no_writing(
    desk: FolderDesk, open_page: OpenPage
) -> None:
    desk.read_only = True
    page = open_page()
    link(page, "calm").click()
    expect(page.locator(".rs-name")).to_have_text("calm")
    expect(boxes(page).first).not_to_be_editable()
    for name in ("New", "Import", "Save and train", "Add a text", "+ tag"):
        expect(page.get_by_role("button", name=name, exact=True)).to_have_count(0)
    expect(page.get_by_label("More", exact=True)).to_be_hidden()
    expect(page.get_by_label("Train calm")).to_be_disabled()
    expect(page.get_by_role("button", name="History")).to_be_visible()


def test_markup_in_texts_names_and_messages_is_only_text(
    desk: FolderDesk, open_page: OpenPage
) -> None:
    evil = "<img src=x onerror=\"document.title='owned'\"> I ${1} {{x}} & you."
    (desk.folder / "calm.txt").write_text(f"{evil}\n\n{evil} Twice.\n", encoding="utf-8")
    (desk.folder / "<img src=x onerror=alert(1)>.txt").write_text("I am odd.\n", encoding="utf-8")
    page = open_page()
    choose(page, "calm")
    expect(boxes(page).first).to_have_value(evil)
    expect(page.locator(".rs-finding").first).to_be_visible()
    page.get_by_role("link", name="<img").click()
    expect(page.locator(".rs-blank")).to_contain_text("cannot contain")
    assert page.locator(".rs-concepts img").count() == 0
    assert page.title() != "owned"


def test_a_file_that_cannot_be_used_says_why_and_appears_when_mended(
    desk: FolderDesk, open_page: OpenPage
) -> None:
    (desk.folder / "torn.txt").write_bytes(b"caf\xe9")
    page = open_page()
    page.get_by_role("link", name="torn.txt").click()
    expect(page.locator(".rs-blank")).to_contain_text("is not UTF-8")
    (desk.folder / "torn.txt").write_text("I am whole again.\n", encoding="utf-8")
    expect(page.locator(".rs-name")).to_have_text("torn")
    expect(boxes(page)).to_have_value("I am whole again.")


def test_search_finds_one_of_two_hundred_and_offers_to_make_what_is_missing(
    desk: FolderDesk, open_page: OpenPage
) -> None:
    for number in range(200):
        (desk.folder / f"mood_{number:03}.txt").write_text("I am.\n", encoding="utf-8")
    page = open_page()
    expect(page.locator(".rs-row")).to_have_count(205)
    page.get_by_label("Search names and texts").fill("MOOD_117")
    expect(page.locator(".rs-row")).to_have_count(1)
    press(page, "Enter")
    expect(page.locator(".rs-name")).to_have_text("mood_117")
    page.get_by_label("Search names and texts").fill("serene joy")
    page.get_by_role("button", name="Create “serene_joy”").click()
    press(page, "Enter")
    expect(page.locator(".rs-name")).to_have_text("serene_joy")


def test_the_list_tells_each_concepts_state_and_count(
    desk: FolderDesk, open_page: OpenPage
) -> None:
    desk.states = {"calm": "trained", "afraid": "edited", "angry": "new"}
    page = open_page()
    row = page.locator(".rs-row[data-key='afraid']")
    expect(row).to_contain_text("edited")
    expect(row.locator("td").nth(2)).to_have_text("3")
    page.get_by_role("button", name="changed 4").click()
    expect(page.locator(".rs-row[data-key='calm']")).to_have_count(0)
    desk.states = {**desk.states, "afraid": "trained"}
    page.get_by_role("button", name="All 4").click()
    expect(row).to_contain_text("trained")


def test_an_empty_folder_says_what_to_do_first(desk: FolderDesk, open_page: OpenPage) -> None:
    for path in desk.folder.glob("*.txt"):
        path.unlink()
    page = open_page()
    expect(page.locator(".rs-blank")).to_contain_text("Write the first concept")
    page.get_by_role("button", name="New concept").click()
    page.keyboard.type("calm")
    press(page, "Enter")
    expect(boxes(page)).to_be_focused()


def test_a_phone_shows_the_list_or_the_editor_and_a_way_back(open_page: OpenPage) -> None:
    page = open_page(width=390)
    expect(page.locator(".rs-row").first).to_be_visible()
    expect(boxes(page).first).to_be_hidden()
    link(page, "calm").click()
    expect(boxes(page).first).to_be_visible()
    expect(page.locator(".rs-row").first).to_be_hidden()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.get_by_role("button", name="All concepts").click()
    expect(page.locator(".rs-row").first).to_be_visible()


def test_two_pages_see_each_others_changes(desk: FolderDesk, open_page: OpenPage) -> None:
    one, other = open_page(), open_page()
    choose(one, "calm")
    choose(other, "calm")
    boxes(one).first.fill("From the first page.")
    saved(one)
    expect(boxes(other).first).to_have_value("From the first page.")


def test_the_server_checks_what_any_page_sends(open_page: OpenPage) -> None:
    page = open_page()
    choose(page, "calm")
    with page.expect_request("**/component_server/") as asked:
        boxes(page).first.fill("Anything.")
    body = json.loads(asked.value.post_data or "{}")
    forged = {
        **body,
        "fn_name": "save_texts",
        "data": {"name": "../x", "boxes": [], "opened": None},
    }
    assert "cannot contain" in page.request.post(asked.value.url, data=forged).json()["message"]
    harmless = {**forged, "fn_name": "create_concept", "data": {"name": "x", "neutral": False}}
    elsewhere = {"Sec-Fetch-Site": "cross-site"}
    answer = page.request.post(asked.value.url, data=harmless, headers=elsewhere)
    assert "own page" in answer.json()["message"]
    assert page.request.post(asked.value.url, data=harmless).json()["ok"] is True


def test_a_text_that_pulls_away_says_so_until_it_is_edited(
    desk: FolderDesk, open_page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, _ = on_disk(desk, "calm")
    odd = Influence(
        "calm", 0, first, 0.12, -0.4, 3.9, "afraid", 4.1, 0.03, "afraid", -6.0, 0.001, 1.0
    )
    usual = Influence(
        "calm", 1, second, 0.01, 4.0, 3.8, "afraid", 0.2, 0.001, "afraid", 0.1, 1.0, 1.0
    )
    monkeypatch.setattr(calls, "influences_of", lambda _desk, _name: (odd, usual))
    page = open_page()
    choose(page, "calm")
    notes = page.locator(".rs-note:visible")
    expect(notes).to_have_count(1)
    expect(notes).to_contain_text("Reads more like a text of afraid")
    expect(page.locator(".rs-box").first.locator(".rs-note")).to_be_visible()
    boxes(page).first.press_sequentially("Now ")
    expect(notes).to_have_count(0)


def judge(desk: FolderDesk, **changes: Any) -> None:
    """A report on the folder's concepts: calm weak, with something to say about its second text."""
    texts = on_disk(desk, "calm")
    reports = (
        TextReport(texts[0], 1.62, "happy", 0.31, 0.03, ""),
        TextReport(texts[1], 0.74, "happy", 0.71, 0.09, "Pulls towards happy: say what is still."),
        TextReport(texts[2], 1.21, "happy", 0.11, 0.02, ""),
    )
    known: dict[str, Any] = {
        "nearest": (("happy", 0.41), ("afraid", 0.12)),
        "raises": ("still", "quiet"),
        "lowers": ("hurry",),
    }
    concepts = (
        make_concept("afraid", 0.95, nearest=(("calm", 0.2),)),
        make_concept("calm", 0.71, texts=reports, **known),
        make_concept("happy", None),
    )
    pair = PairReport("calm", "happy", 0.41, 0.08, 0.64, "confused")
    finding = Finding("Add texts to calm: three are few.", "#/write/calm")
    made = {"concepts": concepts, "pairs": (pair,), "findings": (finding,), **changes}
    desk.judged = make_report(**made)
    desk.states = dict.fromkeys(("afraid", "calm", "happy"), "trained")


def names(page: Page) -> list[str]:
    keys = page.locator(".rs-row").evaluate_all("rows => rows.map(row => row.dataset.key)")
    return list(keys)


def test_the_scoreboard_says_how_well_each_concept_is_read_and_sorts_by_any_column(
    desk: FolderDesk, open_page: OpenPage
) -> None:
    judge(desk)
    page = open_page()
    calm = page.locator(".rs-row[data-key='calm']")
    expect(calm).to_contain_text(".710")
    expect(calm).to_contain_text("happy .41")
    expect(calm).to_contain_text("weak")
    expect(calm.locator(".rs-ci-warn b")).to_have_attribute("style", "left:27px")
    expect(calm.locator("td").nth(4)).to_have_attribute(
        "title", "95 %: .66 to .76, 12 held-out texts"
    )
    expect(page.locator(".rs-row[data-key='happy']")).to_contain_text("not judged")
    expect(page.get_by_role("columnheader", name="Name")).to_have_attribute(
        "aria-sort", "ascending"
    )
    page.get_by_role("button", name="AUROC").click()
    head = page.get_by_role("columnheader", name="AUROC")
    expect(head).to_have_attribute("aria-sort", "ascending")
    assert names(page)[:2] == ["calm", "afraid"]
    press(page, "Enter")  # the same button, by keyboard
    expect(head).to_have_attribute("aria-sort", "descending")
    assert names(page)[:2] == ["afraid", "calm"]
    assert names(page)[-2:] != ["calm", "afraid"]
    page.reload()
    expect(head).to_have_attribute("aria-sort", "descending")
    with page.expect_download() as download:
        page.get_by_role("button", name="CSV").click()
    text = Path(download.value.path()).read_text(encoding="utf-8-sig")
    assert text.splitlines()[0].startswith("concept,texts,state,in_training,tags,auroc,low,high")
    assert "calm,3,trained,yes,,0.71,0.66,0.76,12,0.62,,0.5,happy,0.41,weak" in text


def test_what_is_searched_for_is_found_in_the_texts_as_well(
    desk: FolderDesk, open_page: OpenPage
) -> None:
    (desk.folder / "proud.txt").write_text("I raise a LANTERN. It is mine.\n", encoding="utf-8")
    page = open_page()
    page.get_by_label("Search names and texts").fill("lantern mine")
    expect(page.locator(".rs-row")).to_have_count(1)
    expect(page.locator(".rs-row")).to_contain_text("1 text")
    press(page, "Escape")
    expect(page.locator(".rs-row")).to_have_count(6)


def test_a_concept_is_left_out_of_the_next_training_and_stays_on_disk(
    desk: FolderDesk, open_page: OpenPage
) -> None:
    page = open_page()
    expect(page.locator(".rs-counted")).to_have_text("4 of 4 in the next training")
    page.get_by_label("Train calm").uncheck()
    expect(page.locator(".rs-counted")).to_have_text("3 of 4 in the next training")
    link(page, "happy").focus()
    press(page, " ")  # the space bar ticks
    expect(page.get_by_label("Train happy")).not_to_be_checked()
    expect(page.locator(".rs-counted")).to_have_text("2 of 4 in the next training")
    expect(link(page, "happy")).to_be_focused()
    until(page, lambda: read_tags(desk.folder).left_out == {"calm", "happy"})
    assert len(on_disk(desk, "calm")) == 3
    page.reload()
    expect(page.locator(".rs-counted")).to_have_text("2 of 4 in the next training")
    page.get_by_role("button", name="left out 2").click()
    page.get_by_label("Train all concepts shown").check()
    expect(page.locator(".rs-counted")).to_have_text("4 of 4 in the next training")
    until(page, lambda: not read_tags(desk.folder).left_out)


def test_tags_are_given_shown_as_chips_and_taken_off(desk: FolderDesk, open_page: OpenPage) -> None:
    page = open_page()
    page.get_by_role("group", name="Show").get_by_role("button", name="+ tag").click()
    page.keyboard.type("to, rewrite")
    page.get_by_label("calm", exact=True).check()
    page.get_by_label("happy", exact=True).check()
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("cannot be a tag")
    page.get_by_label("Tag", exact=True).fill("to rewrite")
    page.get_by_role("button", name="Save", exact=True).click()
    page.get_by_role("button", name="to rewrite 2").click()
    assert names(page) == ["calm", "happy"]
    link(page, "calm").click()
    expect(page.locator(".rs-tags")).to_contain_text("to rewrite")
    page.get_by_role("button", name="Take the tag to rewrite off").click()
    expect(page.locator(".rs-row")).to_have_count(1)
    page.locator(".rs-tags").get_by_role("button", name="+ tag").click()
    page.keyboard.type("rest")
    press(page, "Enter")
    expect(page.locator(".rs-tags")).to_contain_text("rest")
    assert dict(read_tags(desk.folder).tags) == {"happy": ("to rewrite",), "calm": ("rest",)}


def test_the_page_of_a_concept_shows_its_scores_beside_the_baselines(
    desk: FolderDesk, open_page: OpenPage
) -> None:
    judge(desk, moved="calm turned 0.04; AUROC .70 -> .71, within noise")
    page = open_page("#/write/calm")
    facts = page.locator(".rs-fact-grid")
    expect(facts).to_contain_text(".710")
    page.evaluate(LISTEN)
    expect(facts).to_contain_text("[.66, .76]")
    expect(facts).to_contain_text("bag of words .62 · random .50")
    expect(facts).to_contain_text("still, quiet")
    expect(page.locator(".rs-state-line")).to_contain_text("calm turned 0.04")
    expect(page.locator(".rs-advice-list")).to_contain_text("Add texts to calm")
    expect(page.locator(".rs-advice-list")).to_contain_text("Confused with happy")
    expect(page.get_by_role("link", name="Read with it")).to_have_attribute(
        "href", "#/read?concept=calm"
    )
    facts.get_by_role("link", name="happy").click()
    expect(page.locator(".rs-name")).to_have_text("happy")
    expect(facts).to_contain_text("No held-out text judges it")
    page.go_back()
    expect(page.locator(".rs-name")).to_have_text("calm")
    expect(facts).to_contain_text(".710")
    assert not any("Not judged yet" in said for said in page.evaluate("window.told"))
    page.reload()
    expect(page.locator(".rs-name")).to_have_text("calm")


LISTEN = """() => {
  const place = document.querySelector(".rs-state-line");
  window.told = [];
  new MutationObserver(() => window.told.push(place.textContent)).observe(place, {
    childList: true, characterData: true, subtree: true });
}"""


def test_advice_stands_at_the_text_it_concerns_most_to_gain_first(
    desk: FolderDesk, open_page: OpenPage
) -> None:
    judge(desk)
    first, second, third = on_disk(desk, "calm")
    page = open_page("#/write/calm")
    box = page.locator(".rs-box").first
    expect(box.locator(".rs-note")).to_contain_text("Pulls towards happy: say what is still.")
    expect(box.locator(".rs-nums")).to_contain_text("0.74".lstrip("0"))
    expect(box.locator(".rs-number")).to_have_text("2")
    expect(box.locator(".rs-text")).to_have_value(second)
    expect(boxes(page).nth(1)).to_have_value(third)
    box.get_by_role("button", name="Show both").click()
    expect(page.locator(".rs-side").nth(1)).to_contain_text(on_disk(desk, "happy")[0])
    press(page, "Escape")
    box.locator(".rs-text").fill("I am still. Nothing moves.")
    expect(box.locator(".rs-note")).to_be_hidden()
    expect(box.locator(".rs-nums")).to_be_empty()
    expect(box.locator(".rs-text")).to_be_focused()
    saved(page)
    assert on_disk(desk, "calm") == (first, "I am still. Nothing moves.", third)
    page.get_by_role("button", name="Most to gain first").click()
    expect(boxes(page).first).to_have_value(first)


def test_before_a_training_nothing_is_judged_and_no_box_is_empty(open_page: OpenPage) -> None:
    page = open_page("#/write/calm")
    expect(page.locator(".rs-state-line")).to_have_text("Not judged yet.")
    expect(page.locator(".rs-fact-grid")).to_be_hidden()
    for title in ("Strongest passages", "Try it in an answer"):
        expect(page.get_by_text(title)).to_be_hidden()
    expect(page.get_by_role("button", name="Most to gain first")).to_be_hidden()


def test_steering_is_tried_in_two_short_answers(desk: FolderDesk, open_page: OpenPage) -> None:
    judge(desk)
    page = open_page("#/write/calm")
    page.get_by_label("Strength of calm").focus()
    press(page, "ArrowLeft", "ArrowLeft")
    page.get_by_role("button", name="Answer").click()
    answers = page.locator(".rs-ans")
    expect(answers.nth(0)).to_contain_text("As it is")
    expect(answers.nth(0)).to_contain_text("I went home.")
    expect(answers.nth(1)).to_contain_text("+0.3 calm")
    expect(answers.nth(1)).to_contain_text("Trying calm")
    judge(desk, run_id="a report that came later", concepts=(make_concept("calm", 0.83),))
    expect(page.locator(".rs-fact-grid")).to_contain_text(".830")
    expect(answers.nth(1)).to_contain_text("Trying calm")


def test_the_strongest_passages_of_the_last_search_stand_on_the_page(
    desk: FolderDesk, open_page: OpenPage
) -> None:
    judge(desk)
    page = open_page("#/write/calm")
    expect(page.get_by_role("link", name="Find them in a file")).to_be_visible()
    snippet = SimpleNamespace(
        cut=(True, False),
        pieces=("The lake ", "lay still", " at dawn."),
        start=1,
        stop=2,
        strength=3.4123,
        line=7,
        span="lay still",
        part=lambda start, stop: "".join(("The lake ", "lay still", " at dawn.")[start:stop]),
    )
    desk.found = SimpleNamespace(file="diary.txt", by_concept={"calm": (snippet,)})
    page.reload()
    passages = page.locator(".rs-passages")
    expect(passages).to_have_text("… The lake lay still at dawn. 3.41")
    expect(passages.locator("mark")).to_have_text("lay still")


def test_two_concepts_stand_side_by_side_under_an_address(
    desk: FolderDesk, open_page: OpenPage
) -> None:
    judge(desk)
    page = open_page("#/write/calm?beside=afraid")
    sides = page.locator(".rs-side")
    expect(sides.nth(0)).to_contain_text(on_disk(desk, "calm")[0])
    expect(sides.nth(1)).to_contain_text(on_disk(desk, "afraid")[0])
    page.get_by_label("Right").select_option("happy")
    expect(sides.nth(1)).to_contain_text(on_disk(desk, "happy")[0])
    expect(page.get_by_role("status").filter(has_text="confused")).to_be_visible()
    press(page, "Escape")
    expect(sides).to_have_count(0)
    expect(page).to_have_url(re.compile("#/write/calm$"))


def test_an_address_can_name_a_text_and_a_concept_that_is_not_there(open_page: OpenPage) -> None:
    page = open_page("#/write/calm?text=2")
    expect(boxes(page).nth(1)).to_be_focused()
    page.evaluate("location.hash = '#/write/serene'")
    expect(page.locator(".rs-blank")).to_contain_text("there is no concept 'serene'")


def test_a_text_from_elsewhere_is_added_by_an_address_once(
    desk: FolderDesk, open_page: OpenPage
) -> None:
    page = open_page("#/write/calm?draft=The%20lake%20lay%20still%2C%20and%20so%20did%20I.")
    expect(boxes(page)).to_have_count(4)
    expect(boxes(page).nth(3)).to_be_focused()
    saved(page)
    expect(page).to_have_url(re.compile("#/write/calm$"))
    assert on_disk(desk, "calm")[3] == "The lake lay still, and so did I."


def test_a_damaged_file_of_tags_is_said_and_nothing_is_written(
    desk: FolderDesk, open_page: OpenPage
) -> None:
    (desk.folder / "tags.json").write_text("{", encoding="utf-8")
    page = open_page()
    expect(page.locator(".rs-list-note")).to_contain_text("tags.json")
    page.get_by_label("Train calm").click()
    expect(page.locator(".rs-mark")).to_contain_text("correct or remove")
    assert (desk.folder / "tags.json").read_text(encoding="utf-8") == "{"


def test_two_hundred_judged_concepts_are_sorted_and_opened_at_once(
    desk: FolderDesk, open_page: OpenPage
) -> None:
    for number in range(200):
        (desk.folder / f"mood_{number:03}.txt").write_text("I am.\n", encoding="utf-8")
    moods = [make_concept(f"mood_{number:03}", 0.5 + number / 400) for number in range(200)]
    desk.judged = make_report(concepts=tuple(moods))
    change_tags(desk.folder, lambda said: said.with_members("mood", [m.name for m in moods]))
    page = open_page()
    expect(page.locator(".rs-row")).to_have_count(205)
    painted = """async act => {
        const start = performance.now();
        document.querySelector(act).click();
        await new Promise(done => requestAnimationFrame(() => setTimeout(done)));
        return performance.now() - start;
    }"""
    times = [page.evaluate(painted, "[data-by=auroc]") for _ in range(3)]
    assert sorted(times)[1] < 2000
    page.evaluate(painted, "[data-key=mood_117] a")
    expect(page.locator(".rs-name")).to_have_text("mood_117")
