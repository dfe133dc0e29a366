"""The room Read in Chromium: typed, read, pointed at, marked, downloaded, wide and narrow.

Behind the page stands a reader that makes its scores up, so every test says what it will see.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import numpy as np
import pytest

from readout_ui.app.rooms import EXAMPLES, build_desk
from readout_ui.errors import UserError
from readout_ui.inference.reading import Reading, scored_tokens
from readout_ui.models.prompt import QUESTION
from tests.support.reports import make_concept, make_report
from tests.support.studios import address_of

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from readout_ui.models.chat_template import Turn

gr = pytest.importorskip("gradio")
playwright = pytest.importorskip("playwright.sync_api")
expect = playwright.expect
pytestmark = pytest.mark.browser

CONCEPTS = ("calm", "afraid", "sad", "hopeful", "tender", "proud")
N_LAYERS, BEST = 8, 5
HOSTILE = "<b>so</b> {{x}} ${1+1} `a` & <img src=x onerror=alert(1)> so so"
SVG = "{http://www.w3.org/2000/svg}"
LOUD = "afraid"
"""The concept with the highest mean, by a wide margin, at the best layer."""


@dataclass
class FakeStudio:
    """One token per word, scores that are always the same; counts how often it was asked."""

    folder: Path
    run_id: str = "first"
    concepts: tuple[str, ...] = CONCEPTS
    n_reads: int = 0
    read_only: bool = False
    verdict: str = "clear"
    options: Any = field(init=False)

    def __post_init__(self) -> None:
        self.options = SimpleNamespace(runs=self.folder)

    def run(self) -> Any:
        texts = {"_neutral": tuple(f"neutral words in a row {i}" for i in range(20))}
        layers = tuple(range(N_LAYERS))
        if not self.run_id:
            return None
        return SimpleNamespace(
            id=self.run_id, texts=texts, concepts=self.concepts, layers=layers, best_layer=BEST
        )

    def status(self) -> Any:
        return SimpleNamespace(run=self.run(), model_ready=True)

    def report(self) -> Any:
        return make_report(concepts=(make_concept(LOUD, 0.5, verdict=self.verdict),))

    def refuse_if_read_only(self, what: str) -> None:
        if self.read_only:
            raise UserError(f"cannot {what}: the app runs read-only")

    def on_device(self, _kind: str, _title: str, work: Callable[[Any], Any]) -> Any:
        found = work(self)
        return SimpleNamespace(result=lambda: found)

    # As a readout.

    def read(self, content: str | Sequence[Turn], mode: str) -> Reading:
        neutral = isinstance(content, str) and content.startswith("neutral words")
        self.n_reads += not neutral
        if content == "too long":
            raise UserError("the prompt has 9 tokens, tiny takes 4", fix="shorten it by 5 tokens")
        if isinstance(content, str):
            said = [] if mode == "raw" else [("user", QUESTION)]
            said.append(("user" if mode == "user" else "assistant", content))
        else:
            said = [(turn.role, turn.text) for turn in content]
        tokens, roles = ["<s>"], ["template"]
        for role, text in said:
            tokens += [f"·{word}" for word in text.split()]
            roles += [role] * len(text.split())
        return made_up(tokens, roles, self.concepts, 0 if neutral else 4)

    def next_tokens(self, _content: Any, _position: int, _mode: str) -> Any:
        return tuple((f"·word{i}", 0.5 / 2**i) for i in range(10))


def made_up(tokens: list[str], roles: list[str], concepts: tuple[str, ...], loud: float) -> Reading:
    rng = np.random.default_rng(sum(map(ord, "".join(tokens))))
    shape = (len(tokens), N_LAYERS, len(concepts))
    raw, cosine, z = (rng.normal(size=shape).astype(np.float32) for _ in range(3))
    z[:, BEST, concepts.index(LOUD)] += loud
    z[0] = 587
    similarity = np.stack([np.eye(len(concepts), dtype=np.float32)] * N_LAYERS)
    layers, scored = tuple(range(N_LAYERS)), scored_tokens(roles)
    return Reading(
        tuple(tokens),
        tuple(roles),
        concepts,
        layers,
        (raw + 50 * np.arange(len(concepts))).astype(np.float32),
        cosine / np.float32(9),
        z,
        similarity,
        scored,
        BEST,
    )


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[FakeStudio, str]]:
    studio: Any = FakeStudio(tmp_path_factory.mktemp("runs"))
    with gr.Blocks(analytics_enabled=False) as app:
        gr.HTML("<b>Header</b>", elem_id="header")  # with it the page lets things stick
        build_desk(studio)
    with address_of(app) as url:
        yield studio, url


@pytest.fixture
def studio(served: tuple[FakeStudio, str]) -> FakeStudio:
    found = served[0]
    fresh = FakeStudio(found.folder)
    for name, value in vars(fresh).items():
        setattr(found, name, value)
    (found.folder / "reading.json").unlink(missing_ok=True)
    return found


OpenPage = Callable[..., "Page"]


@pytest.fixture
def open_page(
    served: tuple[FakeStudio, str], studio: FakeStudio, watched_page: Callable[..., Page]
) -> OpenPage:
    """Opens the room and waits until all that comes by itself has come."""

    def opened(
        width: int = 1440, height: int = 900, theme: str = "light", address: str = ""
    ) -> Page:
        page = watched_page(served[1], width, height, theme, address)
        page.locator(".rd-axis", has_text="chance: 95 % of").wait_for()
        if studio.run_id:
            page.locator(f"[data-layers='{N_LAYERS}']").wait_for()
        return page

    return opened


def read(page: Page, text: str = HOSTILE) -> None:
    page.locator("#rd-input").fill(text)
    page.locator("#rd-input").press("Enter")
    last = text.rsplit(maxsplit=1)[-1]
    expect(page.locator(".rd-turn:last-child .rd-token").last).to_have_text(f" {last}")


def box(place: Any) -> dict[str, float]:
    found = place.bounding_box()
    assert found is not None
    return dict(found)


def bars(page: Page) -> list[str]:
    return list(page.locator(".rd-bar-name:visible").all_inner_texts())


def rows(page: Page) -> list[str]:
    return list(page.locator(".rd-row-name").all_inner_texts())


def settings(page: Page) -> None:
    page.get_by_role("button", name="Layer, unit, order, template").click()


def colour(page: Page, place: Any) -> str:
    return str(place.evaluate("element => getComputedStyle(element).backgroundColor"))


PAINTED = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"


def pixel(page: Page, row: int, column: float) -> list[int]:
    """Red, green, blue of a cell of the map over the page's paper."""
    script = """([row, column]) => {
      const map = document.querySelector('.rd-map').readoutMap;
      const ratio = map.canvas.width / map.width;
      const at = [(column + 0.5) * map.cell * ratio, (row + 0.5) * 20 * ratio];
      const [r, g, b, a] = map.canvas.getContext('2d').getImageData(...at, 1, 1).data;
      return [r, g, b].map(part => Math.round(255 + (part - 255) * a / 255));
    }"""
    return list(page.evaluate(script, [row, column]))


def test_the_first_example_is_read_at_once_and_everything_is_in_sight(
    open_page: OpenPage, studio: FakeStudio
) -> None:
    page = open_page()
    first = next(iter(EXAMPLES.values()))
    assert page.locator("#rd-input").input_value() == first
    text, rail, names = box(page.locator(".rd-text")), box(page.locator(".rd-rail")), rows(page)
    assert text["y"] + text["height"] < 900
    assert rail["width"] == 400
    assert rail["y"] < text["y"]
    assert names[0] == bars(page)[0] == LOUD
    third = box(page.locator(".rd-row-name").nth(2))
    assert third["y"] + third["height"] < 900
    assert page.locator("#rd-template").is_checked() is False
    page.get_by_role("button", name="The letter said yes").click()
    expect(page.locator(".rd-assistant .rd-token").first).to_have_text(" The")
    assert studio.n_reads == 2


def test_a_hostile_text_is_shown_as_text_and_a_mistake_as_a_sentence(open_page: OpenPage) -> None:
    page = open_page()
    read(page)
    shown = page.locator(".rd-assistant .rd-token").all_inner_texts()
    assert [word.strip() for word in shown] == HOSTILE.split()
    assert page.locator(".rd-text img").count() == 0
    page.locator("#rd-input").fill("too long")
    page.locator("#rd-input").press("Enter")
    expect(page.locator(".rd-notice")).to_contain_text("shorten it by 5 tokens")
    expect(page.locator(".rd-assistant .rd-token").first).to_be_visible()


def test_text_bars_and_map_paint_the_same_score_in_the_same_colour(open_page: OpenPage) -> None:
    page = open_page()
    read(page, "one two three four")
    tokens = page.locator(".rd-assistant .rd-token")
    for column in range(4):
        shown = colour(page, tokens.nth(column))
        numbers = [float(part) for part in shown.rpartition("srgb")[2].strip(" )").split()[:3]]
        wanted = [round(255 * part) for part in numbers]
        painted = pixel(page, 0, column + len(QUESTION.split()))
        assert max(abs(a - b) for a, b in zip(wanted, painted, strict=True)) <= 3
    bar = page.locator(".rd-fill").first
    tokens.first.hover()
    expect(page.locator(".rd-rail h2")).to_have_text("This word reads as")
    assert colour(page, bar) == colour(page, tokens.first)


def test_template_tokens_are_off_at_first_and_as_strong_as_they_score(open_page: OpenPage) -> None:
    page = open_page()
    assert page.locator(".rd-token.rd-template").count() == 0
    settings(page)
    page.locator("#rd-template").check()
    start = page.locator(".rd-token.rd-template").first
    expect(start).to_have_text("<s>")
    assert pixel(page, 0, 0) == [232, 131, 58]  # z = 587
    legend = box(page.locator(".rd-maphead .rd-scale"))
    assert legend["x"] > 0
    assert legend["x"] + legend["width"] <= 1440


def test_the_rail_follows_the_pointer_and_the_keys_without_asking(
    open_page: OpenPage, studio: FakeStudio
) -> None:
    page = open_page()
    before, asked = bars(page), studio.n_reads
    page.locator(".rd-assistant .rd-token").nth(4).hover()
    expect(page.locator(".rd-rail h2")).to_have_text("This word reads as")
    assert sorted(bars(page)) == sorted(before)
    expect(page.locator(".rd-map-column")).to_be_visible()
    page.locator("#rd-input").hover()
    expect(page.locator(".rd-rail h2")).to_have_text("This text reads as")
    assert bars(page) == before
    page.locator(".rd-token[tabindex='0']").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator(".rd-rail .rd-sub")).to_contain_text("“do” · token 3")
    assert page.locator(".rd-token[tabindex='0']").count() == 1
    assert studio.n_reads == asked


def test_the_band_of_chance_is_counted_from_neutral_texts(open_page: OpenPage) -> None:
    page = open_page()
    words = "chance: 95 % of stretches of 6 neutral tokens, the longest there are"
    expect(page.locator(".rd-axis")).to_contain_text(words)
    expect(page.locator(".rd-chance").first).to_be_visible()
    within = page.locator(".rd-bar.rd-within .rd-bar-name").all_inner_texts()
    assert LOUD not in [name.strip() for name in within]
    assert float(page.locator("#rd-threshold").input_value()) > 1.5


def test_a_doubted_concept_has_a_question_mark_that_leads_to_judge(
    open_page: OpenPage, studio: FakeStudio
) -> None:
    studio.verdict = "at chance"
    page = open_page()
    mark = page.locator(".rd-bar a.rd-q:visible")
    expect(mark).to_have_count(1)
    assert mark.get_attribute("href") == f"#/judge?concept={LOUD}"
    assert "at chance" in str(mark.get_attribute("aria-label"))


def test_a_click_on_a_token_shows_layers_next_words_and_a_fork(open_page: OpenPage) -> None:
    page = open_page()
    page.evaluate(
        "document.addEventListener('read-fork', event => {"
        " window.forked = event.detail; event.stopImmediatePropagation() }, true)"
    )
    page.locator(".rd-assistant .rd-token").nth(3).click()
    panel = page.locator(".rd-token-panel")
    expect(panel.locator("h2")).to_have_text("“keys,”")
    expect(panel.locator(".rd-next li")).to_have_count(10)
    expect(panel.locator(".rd-next li").first).to_contain_text("50.0 %")
    assert panel.locator("svg path[class^='rd-line']").count() == 5
    assert box(panel)["width"] == 472
    panel.get_by_role("button", name="Fork the chat from here").click()
    turns = [{"role": "user", "text": QUESTION}]
    cut = {"role": "assistant", "text": "I lost my keys,"}
    assert page.evaluate("window.forked") == {"turns": turns, "cut": cut}
    page.keyboard.press("Escape")
    expect(panel).to_be_hidden()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    expect(panel.locator("h2")).to_have_text("“then”")


def test_layer_and_order_change_without_the_server(open_page: OpenPage, studio: FakeStudio) -> None:
    page = open_page()
    asked = studio.n_reads
    page.route("**/component_server", lambda route: route.abort())
    settings(page)
    page.locator("#rd-layer").fill("2")
    expect(page.locator(".rd-rail .rd-sub")).to_contain_text("layer 2")
    page.locator("#rd-order").select_option("alphabet")
    assert rows(page) == sorted(CONCEPTS)
    assert studio.n_reads == asked


def test_raw_scores_have_a_scale_per_row_and_keep_the_order_of_z(open_page: OpenPage) -> None:
    page = open_page()
    before = rows(page)
    settings(page)
    page.locator("#rd-unit").select_option("raw")
    expect(page.locator(".rd-maphead")).to_contain_text("raw, each row on its own scale")
    assert rows(page) == before
    reds = {tuple(pixel(page, row, column)) for row in range(6) for column in range(20)}
    assert any(red > blue + 60 for red, _, blue in reds)
    assert any(blue > red + 60 for red, _, blue in reds)


def test_a_threshold_marks_tokens_and_is_kept(open_page: OpenPage, studio: FakeStudio) -> None:
    page = open_page()
    expect(page.locator("#rd-threshold")).not_to_have_value("")
    page.locator("#rd-threshold").fill("-20")
    with page.expect_response(lambda each: "keep_threshold" in (each.request.post_data or "")):
        page.locator("#rd-threshold").press("Tab")
    n_words = page.locator(".rd-token").count()
    expect(page.locator(".rd-token.rd-over")).to_have_count(n_words)
    page.reload()
    expect(page.locator("#rd-threshold")).to_have_value("-20.0")
    page.locator("#rd-threshold").fill("99")
    page.locator("#rd-threshold").press("Tab")
    expect(page.locator(".rd-token.rd-over")).to_have_count(0)
    studio.read_only = True
    page.locator("#rd-threshold").fill("3")
    page.locator("#rd-threshold").press("Tab")
    expect(page.locator(".rd-notice")).to_contain_text("read-only")


def test_many_texts_become_a_table_and_a_csv(open_page: OpenPage, tmp_path: Path) -> None:
    page = open_page()
    page.get_by_role("button", name="Many texts").click()
    sheet = page.get_by_role("dialog", name="Many texts")
    sheet.locator("textarea").fill("one two three\ntoo long\n=four, five\nsix\nseven eight nine")
    sheet.get_by_role("button", name="Read them").click()
    expect(sheet.locator("tbody tr")).to_have_count(5)
    expect(sheet.locator("tbody tr").first).to_contain_text(LOUD)
    expect(sheet.locator("tbody tr").nth(1)).to_contain_text("shorten it by 5 tokens")
    with page.expect_download() as download:
        sheet.get_by_role("button", name="CSV", exact=True).click()
    download.value.save_as(tmp_path / "means.csv")
    with (tmp_path / "means.csv").open(encoding="utf-8-sig", newline="") as file:
        table = list(csv.DictReader(file))
    assert [row["text"] for row in table][2:] == ["=four, five", "six", "seven eight nine"]
    wanted = FakeStudio(tmp_path).read("one two three", "assistant")
    means = wanted.z[-3:, BEST].mean(axis=0)
    found = [float(table[0][name]) for name in CONCEPTS]
    np.testing.assert_allclose(found, means, atol=1e-3)


def test_a_text_is_saved_and_called_back(open_page: OpenPage) -> None:
    page = open_page()
    read(page, "one two three")
    page.get_by_role("button", name="Saved").click()
    page.locator("#rd-keep-name").fill("my <b>words</b>")
    page.get_by_role("button", name="Save this text").click()
    saved = page.get_by_role("button", name="my <b>words</b>", exact=True)
    expect(saved).to_be_visible()
    page.keyboard.press("Escape")
    read(page, "other words")
    page.get_by_role("button", name="Saved").click()
    saved.click()
    expect(page.locator(".rd-assistant .rd-token").last).to_have_text(" three")


def test_cells_download_as_csv_svg_and_png(open_page: OpenPage, tmp_path: Path) -> None:
    page = open_page()
    read(page, "one two three")
    for format_ in ("csv", "svg", "png"):
        with page.expect_download() as download:
            page.get_by_role("button", name=format_.upper(), exact=True).click()
        assert download.value.suggested_filename == f"readout.{format_}"
        download.value.save_as(tmp_path / f"readout.{format_}")
    lines = (tmp_path / "readout.csv").read_text("utf-8-sig").splitlines()
    assert len(lines) == 1 + (1 + len(QUESTION.split()) + 3) * len(CONCEPTS)
    drawn = ElementTree.parse(tmp_path / "readout.svg").getroot()
    words = {str(text.text) for text in drawn.iter(f"{SVG}text")}
    assert {*CONCEPTS, "one", "two", "three"} <= words
    assert (tmp_path / "readout.png").stat().st_size > 2_000


def test_a_text_comes_with_the_address_and_no_other_before_it(
    open_page: OpenPage, studio: FakeStudio
) -> None:
    page = open_page(address="#/read?text=so%20far%20away")
    assert studio.n_reads == 1
    expect(page.locator(".rd-assistant .rd-token").last).to_have_text(" away")
    assert page.locator("#rd-input").input_value() == "so far away"


def test_another_run_reads_the_text_again_by_itself(
    open_page: OpenPage, studio: FakeStudio
) -> None:
    page = open_page()
    read(page, "one two three")
    studio.concepts, studio.run_id = (LOUD, "brave"), "second"
    expect(page.locator(".rd-row-name")).to_have_text([LOUD, "brave"])
    assert page.locator("#rd-input").input_value() == "one two three"


def test_before_a_training_a_stored_reading_shows_what_this_is(
    open_page: OpenPage, studio: FakeStudio
) -> None:
    studio.run_id = ""
    page = open_page()
    expect(page.locator(".rd-notice")).to_contain_text("A stored reading")
    expect(page.locator(".rd-notice")).to_contain_text("shipped emotions")
    assert len(rows(page)) == 20
    expect(page.locator(".rd-chance").first).to_be_visible()
    page.get_by_role("button", name="The letter said yes").click()
    expect(page.locator(".rd-assistant .rd-token").nth(1)).to_have_text(" letter")
    page.evaluate(
        "document.body.insertAdjacentHTML('beforeend', '<button id=retrain>Train</button>')"
    )
    page.evaluate("document.querySelector('#retrain').onclick = () => { window.trained = true }")
    page.get_by_role("button", name="Train on your texts").click()
    assert page.evaluate("window.trained")
    assert studio.n_reads == 0


def test_the_map_shows_the_concepts_that_are_asked_for_also_after_a_reload(
    open_page: OpenPage, studio: FakeStudio
) -> None:
    page = open_page()
    other = next(name for name in sorted(studio.concepts) if name != LOUD)
    n_shown = min(20, len(studio.concepts))
    only = page.get_by_label("Only these concepts")
    only.fill(f"{other}, {LOUD[:3].upper()}")
    expect(page.locator(".rd-row-name")).to_have_text([LOUD, other])
    page.reload()
    expect(page.locator(".rd-row-name")).to_have_text([LOUD, other])
    only.fill("nobody is called this")
    expect(page.locator(".rd-maphead")).to_contain_text("none found")
    expect(page.locator(".rd-row-name")).to_have_count(n_shown)
    only.fill(other)
    expect(page.locator(".rd-row-name")).to_have_text([other])
    page.locator("[data-rows=top]").click()
    expect(page.locator(".rd-row-name")).to_have_count(n_shown)
    expect(only).to_have_value("")


MANY = tuple(sorted((LOUD, *(f"concept {i}" for i in range(199)))))


def test_200_concepts_keep_names_header_and_legend_in_sight(
    open_page: OpenPage, studio: FakeStudio
) -> None:
    studio.concepts, studio.run_id = MANY, "many"
    page = open_page()
    assert len(rows(page)) == 20
    page.get_by_role("button", name="All 200").click()
    assert len(rows(page)) == 200
    assert all(page.locator(".rd-row-name").nth(i).inner_text() for i in (0, 99, 199))
    page.locator(".rd-row-name").nth(150).scroll_into_view_if_needed()
    for place in (".rd-map-tokens", ".rd-maphead .rd-scale"):
        found = box(page.locator(place))
        assert 0 <= found["y"] < 200
    name = box(page.locator(".rd-row-name").nth(150))
    assert name["x"] >= 0
    assert 0 < name["y"] < 900
    drawn = page.evaluate(
        """async () => {
          const slider = document.querySelector('#rd-layer');
          const begin = performance.now();
          slider.value = 2;
          slider.dispatchEvent(new Event('input'));
          await new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)));
          return performance.now() - begin;
        }"""
    )
    expect(page.locator(".rd-rail .rd-sub")).to_contain_text("layer 2")
    assert drawn < 1500  # a busy machine; the goal is 150 ms, see bench/


def test_a_long_text_scrolls_in_the_map_alone(open_page: OpenPage) -> None:
    page = open_page()
    read(page, " ".join(f"word{i}" for i in range(300)))
    assert page.evaluate("document.documentElement.scrollWidth") <= 1440
    bar = page.locator(".rd-map-scroll")
    assert bar.evaluate("bar => bar.scrollWidth > 2 * bar.clientWidth")
    before = [pixel(page, 0, column) for column in range(9)]
    bar.evaluate("bar => { bar.scrollLeft = bar.scrollWidth }")
    page.wait_for_function("document.querySelector('.rd-map').readoutMap.start > 200")
    page.evaluate(PAINTED)
    expect(page.locator(".rd-row-name").first).to_be_visible()
    assert [pixel(page, 0, column) for column in range(9)] != before
    page.get_by_role("button", name="Whole text").click()
    expect(bar).to_be_hidden()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_on_a_phone_everything_is_stacked_and_nothing_scrolls_sideways(
    open_page: OpenPage, theme: str
) -> None:
    page = open_page(390, 844, theme)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    places = [box(page.locator(place)) for place in (".rd-text", ".rd-rail", ".rd-mapbox")]
    tops = [place["y"] for place in places]
    assert tops == sorted(tops)
    assert all(place["x"] >= 0 and place["x"] + place["width"] <= 390 for place in places)
    for control in page.locator(".rd-foot > *:visible").all():
        placed = box(control)
        assert placed["x"] + placed["width"] <= 378
    page.locator(".rd-assistant .rd-token").nth(3).click()
    panel = page.locator(".rd-token-panel")
    expect(panel.locator(".rd-next li")).to_have_count(10)
    assert box(panel)["width"] == 390


def test_keys_move_through_bars_and_rows_and_close_what_is_open(open_page: OpenPage) -> None:
    page = open_page()
    first = page.locator(".rd-bar-name[tabindex='0']")
    first.focus()
    page.keyboard.press("ArrowDown")
    second = bars(page)[1]
    expect(page.locator(".rd-bar-name:focus")).to_have_text(second)
    page.keyboard.press("Enter")
    expect(page.locator("#rd-concept")).to_have_value(second)
    page.locator(".rd-row-name[tabindex='0']").focus()
    page.keyboard.press("End")
    expect(page.locator(".rd-row-name:focus")).to_have_text(rows(page)[-1])
    settings(page)
    expect(page.locator("#rd-layer")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator("#rd-layer")).to_be_hidden()
