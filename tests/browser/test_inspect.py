"""The Inspect tab in Chromium: typed, read, looked at, downloaded, on wide and narrow screens."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import numpy as np
import pytest

from readout_ui.app.tabs.inspect import InspectTab
from readout_ui.errors import UserError
from readout_ui.inference.reading import Reading, scored_tokens
from tests.support.studios import address_of

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    from readout_ui.models.chat_template import Turn

gr = pytest.importorskip("gradio")
playwright = pytest.importorskip("playwright.sync_api")
expect = playwright.expect
pytestmark = pytest.mark.browser

CONCEPTS = ("calm", "afraid", "sad", "hopeful", "tender", "proud")
HOSTILE = "<b>so</b> {{x}} ${1+1} `a` & <img src=x onerror=alert(1)> so so"
SVG = "{http://www.w3.org/2000/svg}"
DRAWN = "#inspect-heatmap .heatmaplayer image"


@dataclass(frozen=True)
class FakeRun:
    id: str = "first"
    best_layer: int = 5


@dataclass
class FakeReader:
    """One token per word, scores that are always the same; counts how often it was asked."""

    run: FakeRun | None = field(default_factory=FakeRun)
    n_reads: int = 0
    concepts: tuple[str, ...] = CONCEPTS

    def status(self) -> FakeReader:
        return self

    def read(self, content: str | Sequence[Turn], mode: str) -> Reading:
        self.n_reads += 1
        if content == "too long":
            raise UserError("the prompt has 9 tokens, tiny takes 4", fix="shorten it by 5 tokens")
        if isinstance(content, str):
            said = [("user", "How are you"), ("assistant", content)]
        else:
            said = [(turn.role, turn.text) for turn in content]
        tokens, roles = ["<s>"], ["template"]
        for role, text in said:
            tokens += [f"·{word}" for word in text.split()]
            roles += [role] * len(text.split())
        return make_readout(tokens, roles, self.concepts)


def make_readout(tokens: list[str], roles: list[str], concepts: tuple[str, ...]) -> Reading:
    rng = np.random.default_rng(0)
    shape = (len(tokens), 8, len(concepts))
    raw, cosine, z = (rng.normal(size=shape).astype(np.float32) for _ in range(3))
    similarity = np.stack([np.eye(len(concepts), dtype=np.float32)] * 8)
    layers = tuple(range(8))
    scored = scored_tokens(roles)
    return Reading(
        tuple(tokens), tuple(roles), concepts, layers, raw, cosine, z, similarity, scored
    )


@dataclass(frozen=True)
class Served:
    """The running page and the reader behind it."""

    reader: FakeReader
    url: str


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    reader: Any = FakeReader()
    with gr.Blocks(analytics_enabled=False) as app, gr.Tabs():
        with gr.Tab("Concepts"):
            gr.Markdown("Another tab")
        with gr.Tab("Inspect"):
            InspectTab(reader)
    with address_of(app) as url:
        yield Served(reader, url)


@pytest.fixture
def reader(served: Served) -> FakeReader:
    served.reader.run, served.reader.n_reads = FakeRun(), 0
    served.reader.concepts = CONCEPTS
    return served.reader


OpenPage = Callable[..., "Page"]


@pytest.fixture
def open_page(served: Served, reader: FakeReader, browser: Browser) -> Iterator[OpenPage]:
    """Opens the tab; at the end no script failed and nothing was asked of another machine."""
    contexts, faults, hosts = [], [], set()

    def opened(width: int = 1440, height: int = 900, theme: str = "light") -> Page:
        context = browser.new_context(viewport={"width": width, "height": height})
        contexts.append(context)
        page: Page = context.new_page()
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("dialog", lambda dialog: faults.append(f"dialog {dialog.message}"))
        page.on("request", lambda request: hosts.add(request.url.split("/")[2]))
        page.goto(f"{served.url}?__theme={theme}")
        page.get_by_role("tab", name="Inspect").click()
        expect(prompt_of(page)).to_be_visible()
        page.wait_for_function("window.readoutInspect")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert faults == []
    assert {host for host in hosts if host} <= {served.url.split("/")[2]}


def prompt_of(page: Page) -> Any:
    return page.locator("#inspect-prompt textarea")


def read(page: Page, text: str = HOSTILE) -> None:
    prompt_of(page).fill(text)
    prompt_of(page).press("Control+Enter")
    expect(page.locator(DRAWN).first).to_be_visible(timeout=30_000)


def choose(page: Page, label: str, option: str) -> None:
    # gradio 6.17 gives a multiple choice no label to find it by, but writes it in the same block
    page.locator(".block").filter(has_text=label).last.locator("input").first.click()
    page.get_by_role("option", name=option, exact=True).click()


def box(place: Any) -> dict[str, float]:
    found = place.bounding_box()
    assert found is not None
    return dict(found)


def rows(page: Page) -> list[str]:
    return [row.strip() for row in page.locator(".row-labels > *").all_inner_texts()]


def test_a_typed_prompt_is_read_with_ctrl_enter_and_shown_as_text(open_page: OpenPage) -> None:
    page = open_page()
    expect(page.locator("#inspect-notice")).to_contain_text("Nothing read yet")
    read(page)
    shown = page.locator(".token-strip .turn-assistant .token").all_inner_texts()
    assert shown == [f"·{word}" for word in HOSTILE.split()]
    assert page.locator("#inspect-strip img").count() == 0
    expect(page.locator("#inspect-notice .empty")).to_have_count(0)
    expect(page.locator("#inspect-layer input[type=number]")).to_have_value("5")


def test_hovering_a_cell_shows_token_concept_layer_and_all_scores(open_page: OpenPage) -> None:
    page = open_page()
    read(page)
    names = rows(page)
    row = page.locator(".row-labels > *").nth(2)
    row.scroll_into_view_if_needed()
    label, column = box(row), box(page.locator(".token-labels i").nth(4))
    page.mouse.move(column["x"] + column["width"] / 2, label["y"] + label["height"] / 2)
    lines = page.locator("#inspect-heatmap .hoverlayer tspan.line")
    expect(lines).to_have_count(5)
    texts = lines.all_text_contents()
    assert texts[0] == "·<b>so</b>"
    assert texts[1] == f"{names[2]} · layer 5"
    assert [line.split()[0] for line in texts[2:]] == ["z", "cosine", "raw"]
    readout = FakeReader().read(HOSTILE, "assistant")
    place = (4, 5, CONCEPTS.index(names[2]))
    assert float(texts[2].split()[1].replace("−", "-")) == pytest.approx(
        readout.z[place], abs=0.006
    )
    assert float(texts[4].split()[1].replace("−", "-")) == pytest.approx(
        readout.raw[place], abs=0.0006
    )


def test_other_looks_are_drawn_without_asking_the_model_again(
    open_page: OpenPage, reader: FakeReader
) -> None:
    page = open_page()
    read(page)
    by_peak = rows(page)
    page.get_by_label("Cosine").click()
    expect(page.locator(".strip-legend")).to_contain_text("cosine with the direction")
    choose(page, "Order", "A to Z")
    expect(page.locator(".row-labels > *").first).to_have_text("afraid")
    assert rows(page) == sorted(by_peak) != by_peak
    page.locator("#inspect-layer input[type=number]").fill("2")
    expect(page.locator(".strip-legend")).to_contain_text("layer 2")
    choose(page, "Text coloured by", "tender")
    expect(page.locator(".strip-legend")).to_contain_text("tender")
    page.get_by_label("Tokens × layers").click()
    expect(page.locator(".row-labels > *").first).to_have_text("layer 7")
    page.get_by_label("Show template tokens").click()
    expect(page.locator(".turn-template")).to_have_count(0)
    assert reader.n_reads == 1


def test_clicking_a_row_label_colours_the_text_by_that_concept(open_page: OpenPage) -> None:
    page = open_page()
    read(page)
    last = rows(page)[-1]
    page.locator(".row-labels button").last.click()
    expect(page.locator(".strip-legend b")).to_have_text(last)
    expect(page.get_by_label("Text coloured by")).to_have_value(last)


def test_chosen_concepts_are_the_only_rows(open_page: OpenPage) -> None:
    page = open_page()
    read(page)
    choose(page, "Concepts (empty: all)", "sad")
    expect(page.locator(".row-labels > *")).to_have_count(1)
    assert rows(page) == ["sad"]


def test_labels_stand_beside_their_cells(open_page: OpenPage) -> None:
    page = open_page()
    read(page)
    cells = box(page.locator(DRAWN).first)
    labels = [box(label) for label in page.locator(".row-labels > *").all()]
    columns = [box(label) for label in page.locator(".token-labels i").all()]
    for index, label in enumerate(labels):
        middle = cells["y"] + (index + 0.5) * cells["height"] / len(labels)
        assert label["y"] + label["height"] / 2 == pytest.approx(middle, abs=2)
    for index, column in enumerate(columns):
        middle = cells["x"] + (index + 0.5) * cells["width"] / len(columns)
        assert column["x"] + column["width"] / 2 == pytest.approx(middle, abs=2)


def test_the_heatmap_is_downloaded_as_csv_png_and_svg(open_page: OpenPage, tmp_path: Path) -> None:
    page = open_page()
    read(page)
    saved = {}
    for format_ in ("csv", "png", "svg"):
        with page.expect_download() as download:
            page.locator(f"#inspect-{format_}").click()
        saved[format_] = tmp_path / download.value.suggested_filename
        download.value.save_as(saved[format_])
    with saved["csv"].open(encoding="utf-8-sig", newline="") as file:
        lines = list(csv.DictReader(file))
    readout = FakeReader().read(HOSTILE, "assistant")
    assert len(lines) == len(readout.tokens) * len(CONCEPTS)
    cell = next(i for i in lines if i["position"] == "4" and i["concept"] == "sad")
    assert cell["token"] == "·<b>so</b>"
    assert float(cell["z"]) == pytest.approx(float(readout.z[4, 5, 2]), rel=1e-4)
    assert saved["png"].read_bytes().startswith(b"\x89PNG")
    labels = {text.text for text in ElementTree.parse(saved["svg"]).iter(f"{SVG}text")}
    assert {*CONCEPTS, "·<b>so</b>", "T", "A"} <= labels


def test_a_refusal_is_shown_and_what_was_typed_stays(open_page: OpenPage) -> None:
    page = open_page()
    prompt_of(page).fill("too long")
    page.locator("#inspect-read").click()
    expect(page.get_by_text("shorten it by 5 tokens")).to_be_visible()
    expect(prompt_of(page)).to_have_value("too long")


def test_a_text_turns_into_a_chat_whose_speakers_are_told_apart(open_page: OpenPage) -> None:
    page = open_page()
    prompt_of(page).fill("I feel calm.")
    page.get_by_label("Chat", exact=True).click()
    expect(prompt_of(page)).to_have_value(
        "User: How do you feel right now?\n\nAssistant: I feel calm."
    )
    prompt_of(page).press("Control+Enter")
    expect(page.locator(".turn-user .role")).to_have_text("user")
    expect(page.locator(".turn-assistant .role")).to_have_text("assistant")
    letters = "".join(page.locator(".token-labels i").all_inner_texts())
    assert letters == "TUUUUUUAAA"


def test_a_reload_keeps_prompt_and_mode(open_page: OpenPage) -> None:
    page = open_page()
    page.get_by_label("Chat", exact=True).click()
    prompt_of(page).fill("User: one\nAssistant: two")
    page.reload()
    page.get_by_role("tab", name="Inspect").click()
    expect(prompt_of(page)).to_have_value("User: one\nAssistant: two")
    expect(page.get_by_label("Chat", exact=True)).to_be_checked()


def test_at_390_pixels_the_heatmap_scrolls_and_the_page_does_not(open_page: OpenPage) -> None:
    page = open_page(390, 844)
    read(page, " ".join(["so"] * 60))
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    window = page.locator("#inspect-scroll")
    assert window.evaluate("element => element.scrollWidth - element.clientWidth") > 800
    before = box(page.locator(".row-labels"))
    window.evaluate("element => { element.scrollLeft = 700; }")
    assert box(page.locator(".row-labels"))["x"] == pytest.approx(before["x"], abs=1)
    assert box(page.locator(DRAWN).first)["width"] >= 60 * 22


@pytest.mark.parametrize(("theme", "lightness"), [("light", (0, 90)), ("dark", (165, 255))])
def test_labels_can_be_read_in_light_and_in_dark_mode(
    open_page: OpenPage, theme: str, lightness: tuple[int, int]
) -> None:
    page = open_page(theme=theme)
    read(page)
    ink = "element => getComputedStyle(element).fill.match(/\\d+/g).slice(0, 3).map(Number)"
    for place in ("#inspect-heatmap .colorbar text", "#inspect-heatmap .cbaxis text"):
        for text in page.locator(place).all():
            assert lightness[0] <= np.mean(text.evaluate(ink)) <= lightness[1]
    assert page.locator("#inspect-heatmap .cbaxis text").count() > 0


def test_512_tokens_and_64_concepts_are_all_drawn(open_page: OpenPage, reader: FakeReader) -> None:
    reader.concepts = tuple(f"concept {i}" for i in range(64))
    page = open_page()
    read(page, " ".join(["so"] * 508))
    expect(page.locator(".token-labels i")).to_have_count(512)
    assert len(rows(page)) == 64
    with page.expect_download() as download:
        page.locator("#inspect-png").click()
    assert download.value.suggested_filename == "readout.png"


def test_a_long_text_is_moved_zoomed_and_hovered_without_asking_the_server(
    open_page: OpenPage, reader: FakeReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader.concepts = tuple(f"concept {i}" for i in range(30))
    page = open_page()
    words = " ".join(["so", "on"] * 998)
    prompt_of(page).fill(words)
    prompt_of(page).press("Control+Enter")
    place = page.locator("#inspect-map .map-place")
    expect(place).to_contain_text("of 2,000", timeout=30_000)
    expect(page.locator("#inspect-scroll")).to_be_hidden()
    answers: list[str] = []
    page.on("response", lambda response: answers.append(response.url))
    page.locator("#inspect-map .map-body").focus()
    for key, told in (("End", "2,000 of 2,000"), ("Home", "tokens 1–"), ("0", "1–2,000 of")):
        page.keyboard.press(key)
        expect(place).to_contain_text(told)
    page.keyboard.press("PageDown")
    overview = page.locator("#inspect-map .map-overview")
    for _ in range(12):
        page.keyboard.press("+")
    edge = box(overview)
    page.mouse.click(edge["x"] + edge["width"] / 2, edge["y"] + 20)
    expect(place).to_contain_text(re.compile(r"tokens 9\d\d–"))
    expect(page.locator("#inspect-map .map-strip .token").first).to_be_visible()

    cells = page.locator("#inspect-map .map-cells")
    cells.scroll_into_view_if_needed()
    shown = box(cells)
    page.mouse.move(shown["x"] + 100, shown["y"] + 30)
    tip = page.locator("#inspect-map .map-tip")
    expect(tip).to_be_visible()
    lines = tip.locator("span").all_inner_texts()
    name, _layer, token = lines[0].split(" · ")
    readout = FakeReader(concepts=reader.concepts).read(words, "assistant")
    position = int(token.removeprefix("token ").replace(",", "")) - 1
    expected = readout.z[position, 5, reader.concepts.index(name)]
    assert float(lines[1].split()[1].replace("−", "-")) == pytest.approx(expected, abs=0.01)
    assert [line.split()[0] for line in lines[1:]] == ["z", "cosine", "raw"]
    assert answers == []

    page.locator("#inspect-map .row-labels button").nth(3).click()
    chosen = page.locator("#inspect-map .row-labels button").nth(3).inner_text()
    expect(page.locator("#inspect-map .strip-legend b")).to_contain_text(chosen)
    with page.expect_download() as download:
        page.locator("#inspect-png").click()
    assert Path(download.value.path()).read_bytes().startswith(b"\x89PNG")
    assert reader.n_reads == 1

    # A text of which not even the cells are sent at once: its end comes when it is wanted.
    monkeypatch.setattr("readout_ui.plots.score_map.MAX_CELLS", 31 * 600)
    page.get_by_label("Cosine").click()
    expect(page.locator("#inspect-map .strip-legend")).to_contain_text("cosine with the direction")
    page.locator("#inspect-map .map-body").focus()
    page.keyboard.press("End")
    expect(place).to_contain_text("2,000 of 2,000")
    assert reader.n_reads == 1
