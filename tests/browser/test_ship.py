"""The room Ship in Chromium over a tiny model: runs, diffs, packs, exports, hub."""

from __future__ import annotations

import csv
import io
import pickle
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from readout_ui.app.rooms import ShipRoom
from readout_ui.app.session import Studio
from readout_ui.runs.packs import pack_files
from readout_ui.runs.run import Run
from readout_ui.runs.run_files import write_zip
from readout_ui.runs.store import RunStore
from tests.runs.test_packs import packable_run
from tests.support.hub_stand_in import TOKEN, hub_stand_in
from tests.support.reports import make_report
from tests.support.rooms import until, wait_until_copied
from tests.support.studios import address_of, device_taken, small_studio

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

gr = pytest.importorskip("gradio")
playwright = pytest.importorskip("playwright.sync_api")
expect = playwright.expect
pytestmark = pytest.mark.browser


@dataclass(frozen=True)
class Served:
    """The running page and what stands behind it."""

    url: str
    studio: Studio
    folder: Path
    n_events: int
    """What brings a page up to date that has just come."""


class StandIn:
    """A clock that ticks once, when the page has come; the page counts what came up to date."""

    def __init__(self) -> None:
        self._came = gr.State("")
        self.kept = self
        self.n_events = 0

    def change(self, *event: Any, **manner: Any) -> None:
        """What follows that tick."""
        self._came.change(*event, **manner).then(None, js=COUNT)
        self.n_events += 1

    def start(self, app: Any) -> None:
        """Tick as soon as a page comes."""
        app.load(lambda: "came", None, self._came)

    def tick_after(self, event: object) -> None:
        """Nothing stands in a header here."""


COUNT = "() => { window.upToDate = (window.upToDate ?? 0) + 1 }"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("ship")
    with pytest.MonkeyPatch.context() as patch, small_studio(folder) as studio:
        patch.setattr("huggingface_hub.get_token", lambda: None)
        with gr.Blocks() as app:
            clock = StandIn()
            ShipRoom(studio).follow(clock)  # type: ignore[arg-type]
            clock.start(app)
        with address_of(app) as url:
            yield Served(url, studio, folder, clock.n_events)


@pytest.fixture
def served(place: Served) -> Served:
    """With one run of the texts as they were, in use, and no pack."""
    studio, first = place.studio, place.studio.runs.list()[-1:]
    for file, text in _TEXTS.items():
        (studio.folder / file).write_text(text)
    kept = first[0] if first else studio.start_training().result()
    for run in studio.runs.list():
        if run.id != kept.id:
            studio.runs.delete(run.id)
    studio.runs.describe(kept.id, name="first run", note="", tags=())
    studio.use_run(kept.id)
    for pack in (studio.options.runs / ".packs").glob("*.zip"):
        pack.unlink()
    return place


_TEXTS: dict[str, str] = {}


@pytest.fixture(scope="module", autouse=True)
def remembered(place: Served) -> None:
    """The texts as they were, so that every test begins with them."""
    texts = place.studio.folder.glob("*.txt")
    _TEXTS.update({file.name: file.read_text() for file in texts})


@pytest.fixture
def open_page(served: Served, watched_page: Callable[..., Page]) -> Callable[..., Page]:
    """Opens the room and waits until it is up to date."""

    def opened(**size: int) -> Page:
        page = watched_page(served.url, **size)
        wait_until_up_to_date(page, served)
        return page

    return opened


def wait_until_up_to_date(page: Page, served: Served) -> None:
    page.wait_for_function("n => window.upToDate === n", arg=served.n_events)


def another_run(served: Served, name: str = "second try", hours: float = -1) -> Run:
    """A run after the first one, whose calm is about something else."""
    studio = served.studio
    own = studio.folder / "calm.txt"
    first = studio.runs.current()
    assert first is not None
    own.write_text("The pan is hot. I wait for the oil.\n\nThe bus is late. I stand in the rain.\n")
    made = studio.start_training().result()
    kept = made.save(studio.options.runs, (), datetime.now(UTC) - timedelta(hours=hours))
    studio.runs.delete(made.id)
    studio.runs.describe(kept.id, name=name)
    own.write_text(_TEXTS["calm.txt"])
    studio.use_run(first.id)
    return kept


def saved(page: Page, button: str) -> Path:
    """What the browser saves after a press."""
    with page.expect_download() as download:
        page.click(button)
    return Path(download.value.path())


def row(page: Page, name: str) -> Locator:
    return page.locator("#runs tbody tr").filter(has=page.get_by_text(name, exact=True))


def sheet_of(page: Page, name: str) -> Locator:
    """What is done with a run, opened."""
    page.get_by_role("button", name=f"Name, note, tags, delete: {name}", exact=True).click()
    return page.get_by_role("dialog", name=name)


def rename(page: Page, before: str, name: str) -> None:
    sheet = sheet_of(page, before)
    sheet.get_by_label("Name").fill(name)
    page.keyboard.press("Enter")
    expect(row(page, name)).to_have_count(1)


# Runs


def test_a_run_is_named_noted_and_tagged_by_keyboard_and_found_again(
    served: Served, open_page: Callable[..., Page]
) -> None:
    run = served.studio.run()
    manifest = (served.studio.options.runs / run.id / "manifest.json").read_bytes()
    served.studio.runs.keep_report(make_report(run.id, auroc=0.883))
    page = open_page()
    menu = page.get_by_role("button", name="Name, note, tags, delete: first run")
    expect(page.locator("#runs")).to_contain_text(".883")
    menu.focus()
    page.keyboard.press("Enter")
    sheet = page.get_by_role("dialog", name="first run")
    expect(sheet.get_by_label("Name")).to_be_focused()
    sheet.get_by_label("Name").fill("anxious <again>")
    sheet.get_by_label("Note").fill("one text rewritten")
    sheet.get_by_label("Tags, with commas between").fill("diary, draft")
    page.keyboard.press("Enter")
    expect(row(page, "anxious <again>")).to_contain_text("one text rewritten")
    expect(row(page, "anxious <again>").locator(".tag")).to_have_text(["in use", "diary", "draft"])
    expect(page.locator("#export-about")).to_contain_text("anxious <again>")
    about = served.studio.runs.about(run.id)
    assert (about.name, about.tags) == ("anxious <again>", ("diary", "draft"))
    kept = served.studio.options.runs / run.id / "manifest.json"
    assert kept.read_bytes() == manifest
    page.reload()
    expect(row(page, "anxious <again>")).to_contain_text("descriptions · whitened")
    (served.studio.options.runs / run.id / "report.json").unlink()


def test_a_run_is_deleted_only_when_it_is_said_twice(
    served: Served, open_page: Callable[..., Page]
) -> None:
    other = another_run(served)
    page = open_page()
    page.get_by_role("button", name="Name, note, tags, delete: second try").click()
    sheet = page.get_by_role("dialog")
    sheet.get_by_role("button", name="Delete", exact=True).click()
    page.keyboard.press("Escape")
    expect(sheet).to_have_count(0)
    assert served.studio.runs.open(other.id).id == other.id
    page.get_by_role("button", name="Name, note, tags, delete: second try").click()
    sheet.get_by_role("button", name="Delete", exact=True).click()
    sheet.get_by_role("button", name="Delete it for good").click()
    expect(page.locator("#runs tbody tr")).to_have_count(1)
    assert [run.id for run in served.studio.runs.list()] == [served.studio.run().id]


def test_use_is_within_reach_on_a_phone(served: Served, open_page: Callable[..., Page]) -> None:
    another_run(served, "a long name that somebody gave a run in a hurry, without a thought")
    page = open_page(width=390, height=844)
    use = page.locator("#runs [data-act=use]")
    use.scroll_into_view_if_needed()
    box = use.bounding_box()
    assert box is not None
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 390
    assert box["height"] >= 32
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    use.click()
    expect(page.locator("#runs tr.use")).to_contain_text("a long name")


def test_forty_runs_are_ten_until_the_others_are_asked_for_or_searched(
    served: Served, open_page: Callable[..., Page]
) -> None:
    first = served.studio.run()
    for hours in range(1, 40):
        made = first.save(
            served.studio.options.runs, (), datetime.now(UTC) - timedelta(hours=hours)
        )
        if hours == 33:
            served.studio.runs.describe(made.id, note="for the diary")
    page = open_page()
    rows = page.locator("#runs tbody tr:visible")
    expect(rows).to_have_count(10)
    page.get_by_label("Find a run").fill("DIARY")
    expect(rows).to_have_count(1)
    rename(page, rows.locator(".title").inner_text(), "found again")  # the list is drawn anew
    expect(rows).to_have_count(1)
    page.get_by_label("Find a run").fill("")
    expect(rows).to_have_count(10)
    page.get_by_role("button", name="Show all 40 runs").click()
    expect(rows).to_have_count(40)
    rename(page, "found again", "once more")
    expect(rows).to_have_count(40)


# Diff


@pytest.mark.parametrize("in_use", ["first run", "second try"])
def test_a_diff_is_the_newer_run_minus_the_older_whichever_is_in_use(
    served: Served, open_page: Callable[..., Page], in_use: str
) -> None:
    new = another_run(served)
    if in_use == "second try":
        served.studio.use_run(new.id)
    page = open_page()
    page.locator("#runs [data-act=compare]").click()
    found = page.locator("#diff-found")
    expect(found.locator("h2")).to_have_text("second try − first run")
    expect(found).to_contain_text("texts both runs have, at layer")
    expect(found).to_contain_text("changed")
    text = saved(page, "#diff-found a[download]").read_text("utf-8-sig")
    rows = {line["concept"]: line for line in csv.DictReader(io.StringIO(text))}
    assert rows.keys() == {"afraid", "angry", "calm", "happy"}
    assert float(rows["calm"]["turned"]) > 0.01
    for line in rows.values():
        if line["before"]:
            change = float(line["after"]) - float(line["before"])
            assert float(line["change"]) == pytest.approx(change)
    link = found.get_by_role("link", name="calm", exact=True)
    assert link.get_attribute("href") == "#/write/calm"


def test_any_two_runs_are_compared_by_choosing_them(
    served: Served, open_page: Callable[..., Page]
) -> None:
    another_run(served)
    another_run(served, "third try", hours=-2)
    page = open_page()
    page.get_by_label("New run").select_option(label="third try")
    page.get_by_label("Old run").select_option(label="second try")
    page.get_by_role("button", name="Compare", exact=True).click()
    expect(page.locator("#diff-found h2")).to_have_text("third try − second try")
    expect(page.locator("#diff-found")).to_contain_text("all 4 concepts")
    expect(page.get_by_label("New run").locator(":checked")).to_have_text("third try")


def test_what_is_asked_for_while_a_diff_is_worked_out_is_shown_last(
    served: Served, open_page: Callable[..., Page]
) -> None:
    another_run(served)
    another_run(served, "third try", hours=-2)
    page, worker = open_page(), served.studio.worker
    with device_taken(served.studio):
        page.get_by_role("button", name="Diff against second try").click()
        until(page, lambda: any(job.title == "Comparing runs" for job in worker.unfinished()))
        page.get_by_role("button", name="Diff against third try").click()
        expect(page.get_by_label("Old run").locator(":checked")).to_have_text("third try")
    expect(page.locator("#diff-found h2")).to_have_text("third try − first run")


def test_runs_stay_picked_when_another_one_is_deleted(
    served: Served, open_page: Callable[..., Page]
) -> None:
    another_run(served)
    another_run(served, "third try", hours=-2)
    page = open_page()
    page.get_by_label("New run").select_option(label="second try")
    page.get_by_label("Old run").select_option(label="first run")
    sheet = sheet_of(page, "third try")
    sheet.get_by_role("button", name="Delete", exact=True).click()
    sheet.get_by_role("button", name="Delete it for good").click()
    expect(page.get_by_label("New run").locator("option")).to_have_count(2)
    expect(page.get_by_label("New run").locator(":checked")).to_have_text("second try")
    expect(page.get_by_label("Old run").locator(":checked")).to_have_text("first run")


# Packs


def test_a_pack_is_made_installed_and_asks_before_it_overwrites(
    served: Served, open_page: Callable[..., Page]
) -> None:
    studio = served.studio
    page = open_page()
    page.fill("#pack-by input, #pack-by textarea", "Ana")
    pack = saved(page, "#pack-make")
    named = pack.rename(pack.with_name("first-run.zip"))
    studio.runs.delete(studio.run().id)
    mine = studio.folder / "calm.txt"
    mine.write_text("My own calm. I keep it.\n")
    (studio.folder / "happy.txt").unlink()
    page.locator("#packs-head input[type=file]").set_input_files(named)
    told = page.locator("#pack-told")
    expect(told).to_contain_text("1 concept here has other texts (calm). Nothing was changed yet.")
    assert not (studio.folder / "happy.txt").exists()
    assert studio.runs.list() == ()
    told.get_by_role("button", name="Keep both").click()
    expect(told).to_contain_text("first run is installed: 2 files of texts joined your library")
    expect(told).to_contain_text("Certified")
    assert mine.read_text() == "My own calm. I keep it.\n"
    assert (studio.folder / "calm_first-run.txt").read_text() == _TEXTS["calm.txt"]
    expect(row(page, "first run")).to_contain_text("brought from pack first run by Ana")
    expect(page.locator("#packs")).to_contain_text("in use")
    (studio.folder / "calm_first-run.txt").unlink()
    forget = page.get_by_role("button", name="Forget the pack first run")
    forget.click()
    expect(forget).to_have_text("Forget it?")
    forget.click()
    expect(page.locator("#packs")).not_to_contain_text("from Ana")


def test_a_pack_of_another_model_is_trained_here(
    served: Served, open_page: Callable[..., Page], tmp_path: Path
) -> None:
    studio, other = served.studio, RunStore(tmp_path / "other")
    files, about = pack_files(other, other.save(packable_run()), "care-talk", "Ana")
    write_zip(tmp_path / "care-talk.zip", files)
    page = open_page()
    page.locator("#packs-head input[type=file]").set_input_files(tmp_path / "care-talk.zip")
    page.locator("#pack-told").get_by_role("button", name="Keep mine").click()
    expect(page.locator("#pack-told")).to_contain_text("it needs training on this model")
    expect(page.locator("#packs")).to_contain_text("3 concepts · needs training on this model")
    assert len(studio.runs.list()) == 1
    page.get_by_role("button", name="Train here: care-talk").click()
    expect(page.locator("#pack-told")).to_contain_text("Training the texts of care-talk")
    job = studio.worker.latest("train")
    assert job is not None
    made = job.result()
    assert isinstance(made, Run)
    assert made.concepts == ("afraid", "calm", "sad")
    page.reload()
    expect(page.locator("#packs")).to_contain_text("in use")
    for name in about.files:
        if name.endswith(".txt") and name not in _TEXTS:
            (studio.folder / name).unlink()


def test_what_is_no_pack_is_refused_in_one_sentence(
    served: Served, open_page: Callable[..., Page], tmp_path: Path
) -> None:
    exported = served.studio.export([], [])
    page = open_page()
    page.locator("#packs-head input[type=file]").set_input_files(exported)
    expect(page.locator(".toast-body")).to_contain_text("this is no pack")
    assert not list((served.studio.options.runs / ".packs").glob("*"))


# Export


def test_what_is_downloaded_was_read_again_and_named_after_the_run(
    served: Served, open_page: Callable[..., Page]
) -> None:
    page = open_page()
    checks = page.locator("#export-checks")
    expect(checks).to_contain_text("texts unchanged since training")
    with page.expect_download() as download:
        page.click("#export-zip")
    assert download.value.suggested_filename == "first-run.zip"
    expect(checks).to_contain_text("probe texts read again: the same to")
    loaded = Run.open(Path(download.value.path()).rename(served.folder / "first-run.zip"))
    assert loaded.concepts == served.studio.run().concepts
    (served.studio.folder / "calm.txt").write_text("Another calm. It is new.\n")
    page.reload()
    wait_until_up_to_date(page, served)
    expect(checks).to_contain_text("changed since training: train again")
    page.click("#export-zip")
    expect(page.locator(".toast-body")).to_contain_text("descriptions changed since training: calm")
    page.get_by_label("Export although descriptions changed").check()
    with page.expect_download():
        page.click("#export-zip")


def test_every_format_says_how_it_is_used_and_the_command_is_copied(
    served: Served, open_page: Callable[..., Page]
) -> None:
    page = open_page()
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    code = page.locator("#export-code")
    expect(code).to_contain_text("readout-ui read --vectors first-run.zip")
    code.get_by_role("button", name="Copy the command").click()
    wait_until_copied(
        page, 'readout-ui read --vectors first-run.zip "I did not expect to see you here!"'
    )
    page.get_by_role("radio", name="Readout").focus()
    page.keyboard.press("ArrowDown")
    expect(page.get_by_role("radio", name="GGUF")).to_be_focused()
    expect(code).to_contain_text("llama-cli -m MODEL.gguf --control-vector-scaled afraid.gguf 1.0")
    expect(page.locator("#export-checks")).to_contain_text("directions alone")
    page.get_by_role("button", name="Concepts, layers and scale").click()
    scale = page.locator("#export-scale")
    scale.get_by_label("Vectors of length 1").click()
    saved_to = saved(page, "#export-zip").rename(served.folder / "gguf.zip")
    assert not Run.open(saved_to).manifest.calibrated
    page.locator("#export-format [value=steering]").check()
    expect(code).to_contain_text("from steering_vectors import SteeringVector")
    page.locator("#export-format [value=steering-pkl]").check()
    expect(code).to_contain_text("A pickle can run any program")
    page.locator("#export-format [value=npz]").check()
    expect(scale).to_be_hidden()
    servers = page.locator("#servers")
    expect(servers).to_contain_text("readout-ui serve --vectors")
    expect(servers).to_contain_text("VLLM_READOUT_VECTORS=first-run VLLM_PLUGINS=readout")
    page.get_by_role("button", name="Write a folder").click()
    page.fill("#export-path input, #export-path textarea", str(served.folder / "written"))
    page.click("#export-folder")
    expect(page.locator("#export-said")).to_contain_text("Written to")
    assert (served.folder / "written" / "vectors.npz").is_file()


def test_nothing_is_pushed_without_a_token_and_only_on_the_button_with_one(
    served: Served, open_page: Callable[..., Page], monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.runs.test_hub import forget_sessions, reach

    page = open_page()
    head = page.get_by_role("button", name="Push to the hub")
    head.click()
    expect(page.locator("#hub-about")).to_be_visible()  # it has its words before that, unseen
    expect(page.locator("#hub-about")).to_contain_text("there is no hub token on this machine")
    expect(page.locator("#hub-push")).to_be_hidden()
    with hub_stand_in() as hub:
        reach(hub.url, monkeypatch)
        head.click()
        expect(page.locator("#hub-push")).to_be_visible()
        expect(page.locator("#hub-about")).to_contain_text("quotes up to eight of your texts")
        assert hub.requests == []
        page.fill("#hub-name input, #hub-name textarea", "me")
        page.click("#hub-push")
        expect(page.locator(".toast-body")).to_contain_text("write OWNER/NAME")
        page.locator(".toast-close").click()
        page.fill("#hub-name input, #hub-name textarea", "me/calm")
        page.click("#hub-push")
        expect(page.locator("#export-said")).to_contain_text("/me/calm (private), commit")
        assert hub.private == {"me/calm": True}
        assert "readout.safetensors" in hub.files["me/calm"]
    monkeypatch.undo()
    forget_sessions()
    assert TOKEN not in page.content()


# Import


def test_an_export_comes_back_as_the_run_in_use_and_a_pickle_does_not(
    served: Served, open_page: Callable[..., Page]
) -> None:
    studio = served.studio
    exported = studio.export([], [], form="npz")
    gguf = studio.export(["calm"], [1], form="gguf")
    for run in studio.runs.list():
        studio.runs.delete(run.id)
    page = open_page()
    expect(page.locator("#runs")).to_contain_text("No run yet")
    take = page.locator("#runs-head input[type=file]")
    hostile = served.folder / "calm.pkl"
    hostile.write_bytes(pickle.dumps([1]))
    take.set_input_files(hostile)
    expect(page.locator(".toast-body")).to_contain_text("so it is not opened")
    take.set_input_files(gguf)
    expect(page.locator("#bring-found")).to_contain_text("gguf.zip holds directions alone")
    assert studio.runs.current() is None
    take.set_input_files(exported)
    expect(page.locator("#bring-found")).to_contain_text("In use now: 4 concepts at 3 layers")
    expect(page.locator("#bring-found")).to_contain_text("Certified")
    expect(page.locator("#runs tr.use")).to_contain_text("brought from npz.zip")
