"""From click to paint: every room and part of the page in Chromium, at 37 and at 200 concepts.

The page is that of a run in use with its report, over the bundled model; the library are the
shipped descriptions, for 200 concepts under further names. A time begins with the change of the
address (or of the layer, or with the key that reads) and ends with the first frame in which the
thing that was asked for is on the page. The first time of each, and the median of five after it.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from bench.results import Row, publish
from readout_ui.app.page import build_site
from readout_ui.app.session import Studio
from readout_ui.app.status import StudioOptions
from readout_ui.inference.gate import Hosts
from readout_ui.runs.run import Run
from readout_ui.runs.store import RunStore
from readout_ui.texts.names import is_neutral_name
from readout_ui.texts.reading import format_descriptions
from tests.support.running_app import chromium, serving

if TYPE_CHECKING:
    from playwright.sync_api import Page

DESCRIPTIONS = Path(__file__).parents[1] / "descriptions"
ROUNDS = 5
AWAY = "#/ship"
"""Where the page stands between two measurements of another room."""
TEXT = "I lost my keys, then the dog ran away and nobody came to help."

AFTER_ACT = """async ([act, seen]) => {
  const there = new Function("return " + seen);
  const start = performance.now();
  new Function(act)();
  await new Promise((painted, missed) => {
    const look = () => {
      if (there()) requestAnimationFrame(() => setTimeout(painted));
      else if (performance.now() - start > 60000) missed(new Error("never in sight: " + seen));
      else requestAnimationFrame(look);
    };
    look();
  });
  return performance.now() - start;
}"""


@dataclass(frozen=True)
class View:
    """Something to open, and how one sees that it is there."""

    name: str
    address: str
    shown: str
    """Selector of what has to be in sight."""
    goal: str = "<= 2000"
    away: str = AWAY


VIEWS = (
    View("Write, all concepts", "#/write", ".rs-row[data-key]"),
    View("concept page", "#/write/anxious", ".rs-box .rs-text", "<= 300", "#/write/calm"),
    View("two side by side", "#/write/anxious?beside=calm", "dialog .rs-side li"),
    View("Write, sources", "#/write?from=pairs", "#src-train"),
    View("Read", "#/read", ".rd-bar-name"),
    View("many texts", "#/read/many", "dialog .rd-many-box"),
    View("passages", "#/read/passages", "#read-passages button"),
    View("Judge, report", "#/judge", ".report h1"),
    View(
        "a pair", "#/judge/cross-talk?pair=afraid~anxious", "dialog.judge-pair li", away="#/judge"
    ),
    View("cross-talk", "#/judge/cross-talk", ".crosstalk .pairlist table", away="#/judge"),
    View("new texts", "#/judge/new-texts", "#generalization-judge", away="#/judge"),
    View("layers", "#/judge/layers", "#layers-compare", away="#/judge"),
    View("Ship", "#/ship", "#runs tbody tr", away="#/read"),
)


def library_of(run: Run, folder: Path) -> Path:
    """The texts of a kept run as files."""
    folder.mkdir()
    for name, texts in run.texts.items():
        (folder / f"{name}.txt").write_text(format_descriptions(texts), encoding="utf-8")
    return folder


def write_library(folder: Path, n_concepts: int) -> Path:
    """The shipped descriptions, repeated under further names up to that many concepts."""
    shutil.copytree(DESCRIPTIONS, folder, ignore=shutil.ignore_patterns("tags.json"))
    files = [file for file in sorted(folder.glob("*.txt")) if not is_neutral_name(file.stem)]
    for number in range(len(files), n_concepts):
        file = files[number % len(files)]
        texts = file.read_text(encoding="utf-8").replace(".", f", says number {number}.")
        (folder / f"{file.stem}_{number}.txt").write_text(texts, encoding="utf-8")
    return folder


@contextmanager
def page_of(n_concepts: int, runs: Path | None) -> Iterator[tuple[Studio, str]]:
    """A session with a judged run of that many concepts, or with the kept one, and its address."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        used = RunStore(runs).current() if runs else None
        texts = folder / "descriptions"
        library = library_of(used, texts) if used else write_library(texts, n_concepts)
        studio = Studio(StudioOptions(library, runs or folder / "runs", report=False))
        studio.load_model().result()
        if used is None:
            studio.start_report(studio.start_training().result().id).result()
        with serving(build_site(studio, Hosts("127.0.0.1"))) as url:
            yield studio, url
        studio.close()


def go(address: str) -> str:
    """The script that opens an address."""
    return f"location.hash = {address!r}"


def in_sight(selector: str) -> str:
    """The script that says whether something is in sight."""
    return f"[...document.querySelectorAll({selector!r})].some((each) => each.checkVisibility())"


def timed(page: Page, act: str, seen: str) -> float:
    """Milliseconds from an act to the frame after what was asked for is there."""
    took: float = page.evaluate(AFTER_ACT, [act, seen])
    return took


def first_page(page: Page, url: str) -> float:
    """Milliseconds from an empty browser to the run's colours on the landing page."""
    started = time.perf_counter()
    page.goto(url)
    page.locator(".rd-bar-name").first.wait_for()
    took = (time.perf_counter() - started) * 1000
    page.locator("#retrain", has_text="up to date").wait_for()
    return took


def open_view(page: Page, view: View) -> float:
    """Open a view from another place of the page."""
    page.keyboard.press("Escape")
    page.evaluate(go(view.away))
    page.wait_for_timeout(600)
    return timed(page, go(view.address), in_sight(view.shown))


def read(page: Page, studio: Studio) -> float:
    """Read a text that is in no cache; the time beyond a forward pass of one as long."""
    texts = [f"{TEXT} {time.perf_counter_ns()}" for _ in range(2)]
    started = time.perf_counter()
    studio.read(texts[0], "assistant")
    forward = (time.perf_counter() - started) * 1000
    page.locator("#rd-input").fill(texts[1])
    said = "[...document.querySelectorAll('.rd-assistant .rd-token')].map((t) => t.textContent)"
    there = f"{said}.join('').endsWith({texts[1][-6:]!r})"
    press = "document.querySelector('#rd-input').form.requestSubmit()"
    return timed(page, press, there) - forward


def change_layer(page: Page, box: str, told: str) -> float:
    """One change of the layer, as a drag or a choice does it."""
    layer = 8 if page.locator(box).input_value() != "8" else 16
    turn = (
        f"const box = document.querySelector({box!r}); box.value = {layer};"
        "box.dispatchEvent(new Event('input', {bubbles: true}))"
    )
    return timed(
        page, turn, f"document.querySelector({told!r}).textContent.includes('layer {layer}')"
    )


CHANGE_IN_READ = partial(change_layer, box="#rd-layer", told=".rd-rail .rd-sub")
CHANGE_IN_CROSSTALK = partial(change_layer, box=".crosstalk .at select", told=".crosstalk .found")


def rows_of(name: str, measure: Callable[[], float], goal: str) -> list[Row]:
    """The first time, when nothing is kept yet, and the median of the rounds after it."""
    first, again = measure(), median(measure() for _ in range(ROUNDS))
    print(f"{name}: {first:.0f}, then {again:.0f} ms", file=sys.stderr, flush=True)
    return [Row(f"{name}, first time", first, "ms", "<= 2000"), Row(name, again, "ms", goal)]


def measure(n_concepts: int, runs: Path | None) -> list[Row]:
    """Every view at one size."""
    with page_of(n_concepts, runs) as (studio, url), chromium() as browser:
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.set_default_timeout(120_000)
        size = f"{n_concepts} concepts, "
        rows = [Row(f"{size}the page in a browser just started", first_page(page, url), "ms")]
        for view in VIEWS:
            rows += rows_of(size + view.name, partial(open_view, page, view), view.goal)
        page.evaluate(go("#/judge/cross-talk"))
        page.locator(".crosstalk .pairlist table").wait_for()
        turn = partial(CHANGE_IN_CROSSTALK, page)
        rows += rows_of(f"{size}layer of cross-talk", turn, "<= 150")
        page.evaluate(go("#/read"))
        page.locator("#rd-input").wait_for()
        beyond = partial(read, page, studio)
        rows += rows_of(f"{size}Read, beyond the forward pass", beyond, "<= 300")[1:]
        page.get_by_role("button", name="Layer, unit, order, template").click()
        return [*rows, *rows_of(f"{size}layer of Read", partial(CHANGE_IN_READ, page), "<= 150")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--concepts", type=int, nargs="*", default=[36, 200])
    parser.add_argument(
        "--runs", type=Path, nargs="*", default=[], help="folders of judged runs, one for each size"
    )
    asked = parser.parse_args()
    kept = dict(zip(asked.concepts, asked.runs, strict=False))
    rows = [row for size in asked.concepts for row in measure(size, kept.get(size))]
    publish("clicks", "Click to paint in Chromium, median of 5", rows)


if __name__ == "__main__":
    main()
