"""The whole page without a browser: how its events are wired, and what a tick changes."""

import inspect
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr
import httpx
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from readout_ui.app.api_answers import MOST_AT_ONCE, NAMES
from readout_ui.app.assets import STATIC
from readout_ui.app.clock import Clock, Shown
from readout_ui.app.events import Changes, Values, bound, components
from readout_ui.app.header import Header
from readout_ui.app.jobs import MOST_UNFINISHED
from readout_ui.app.judge.report import cosine
from readout_ui.app.page import MOST_EVENTS, build_app, build_site
from readout_ui.app.session import Studio
from readout_ui.app.status import Status, StudioOptions
from readout_ui.app.train import TrainDrawer
from readout_ui.app.widgets import short, table
from readout_ui.errors import UserError
from readout_ui.evaluation.resampling import Estimate
from readout_ui.inference.gate import Hosts
from readout_ui.vectors.settings import TrainSettings
from tests.support.running_app import serving
from tests.support.studios import device_taken, small_studio


@pytest.fixture
def session(tmp_path: Path, descriptions: Path) -> Iterator[Studio]:
    """A session that never loads its model."""
    session = Studio(StudioOptions(descriptions, tmp_path / "runs", report=False))
    yield session
    session.close()


def test_handlers_of_several_inputs_get_them_by_name(session: Studio) -> None:
    events = [event for event in build_app(session).fns.values() if event.fn is not None]
    handled = [event for event in events if event.api_name not in NAMES]
    by_position = [
        event.name for event in handled if len(event.inputs) > 1 and not event.inputs_as_dict
    ]
    assert len(handled) > 60
    assert by_position == []


@pytest.fixture
def clock(session: Studio) -> Clock:
    with gr.Blocks() as app:
        return Clock(session, app, Header(session), TrainDrawer(session))


def fresh(clock: Clock) -> Shown:
    """What gradio keeps of a page that was just opened."""
    shown: Shown = deepcopy(clock.shown.value)
    return shown


def test_a_tick_sends_what_differs_and_then_nothing(clock: Clock) -> None:
    shown = Shown({})
    changes = clock.tick(shown)
    assert set(changes) == {*components(clock)} - {clock.shown}
    assert changes[clock.header.retrain].value == "Train"
    assert clock.tick(shown) == {}
    shown.values[clock.run._id] = "another"
    assert set(clock.tick(shown)) == {clock.run, clock.arrived}
    assert clock.tick(fresh(clock)) == {}, "a fresh page shows what was built"


def test_settings_chosen_anywhere_are_those_on_every_page(session: Studio, clock: Clock) -> None:
    settings, here, elsewhere = clock.drawer.settings, fresh(clock), fresh(clock)
    chosen = replace(TrainSettings(), method="pca", seed=7)
    values = {**settings.show(chosen), clock.shown: here, clock.arrived: 0}
    clock.settle(settings.method, values)
    clock.settle(settings.seed, values)
    assert session.settings == chosen
    # A page that was opened before, or after a reload, learns it; the one where it was chosen
    # knows it, so that what a person types there meanwhile stays.
    assert clock.tick(here) == {}
    late = replace(TrainSettings(), batch_size=3)
    assert {settings.method, settings.seed, clock.arrived} == set(clock.tick(fresh(clock)))
    # Nor does that page take back what it has not learnt yet, when something is chosen there.
    values = {**settings.show(late), clock.shown: elsewhere, clock.arrived: 0}
    clock.settle(settings.batch_size, values)
    assert session.settings == replace(chosen, batch_size=3)


class OpenPage:
    """The method on a page, whose choices and news travel for a while."""

    def __init__(self, clock: Clock) -> None:
        self.clock, self.shown, self.method = clock, fresh(clock), clock.drawer.settings.method
        self.screen: dict[Any, Any] = {self.method: self.method.value, clock.arrived: 0}
        self.choices: list[Values] = []
        self.news: list[Changes] = []

    def choose(self, method: str) -> None:
        self.screen[self.method] = method
        settings = self.clock.drawer.settings
        shown = settings.show(replace(self.clock.studio.settings, method=method))
        self.choices.append({**shown, **self.screen, self.clock.shown: self.shown})

    def settle(self) -> None:
        if self.choices:
            self.clock.settle(self.method, self.choices.pop(0))

    def tick(self) -> None:
        """One at a time, as gradio's timer."""
        if not self.news:
            self.news.append(self.clock.tick(self.shown))

    def hear(self) -> None:
        if self.news:
            self.screen |= {k: v for k, v in self.news.pop().items() if k in self.screen}


STEPS = st.sampled_from(["mean", "pca", "logistic", "settle", "tick", "hear"])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
@given(st.lists(st.tuples(st.booleans(), STEPS), max_size=14))
@example([(False, "pca"), (False, "settle"), (True, "tick"), (True, "mean"), (True, "settle")])
def test_two_pages_end_with_the_method_that_is_used_whatever_overtakes_what(
    session: Studio, clock: Clock, steps: list[tuple[bool, str]]
) -> None:
    pages = OpenPage(clock), OpenPage(clock)
    for which, step in steps:
        page = pages[which]
        if step in ("settle", "tick", "hear"):
            getattr(page, step)()
        else:
            page.choose(step)
    for page in pages:
        while page.choices:
            page.settle()
    for page in pages:
        for _ in range(2):
            page.hear()
            page.tick()
        page.hear()
    assert {page.screen[page.method] for page in pages} == {session.settings.method}
    session.choose_settings(TrainSettings())


def test_a_number_that_rounds_to_nothing_has_no_sign() -> None:
    assert [short(-0.0004), short(-0.0004, "+"), short(-0.25)] == [".000", "+.000", "−.250"]
    assert [cosine(-0.001), cosine(-0.25)] == ["0.00", "−0.25"]
    assert str(Estimate(-0.0001, -0.5, 0.0)) == "0.000 [-0.500, 0.000]"


def test_nothing_is_chosen_while_a_tick_looks(
    session: Studio, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown, method = fresh(clock), clock.drawer.settings.method
    chosen = clock.drawer.settings.show(TrainSettings(method="pca"))
    values = {**chosen, clock.shown: shown, clock.arrived: 0}
    status = session.status

    def looking() -> Status:
        choosing = pool.submit(clock.settle, method, values)
        with pytest.raises(TimeoutError):
            choosing.result(timeout=0.3)
        return status()

    with ThreadPoolExecutor() as pool:
        monkeypatch.setattr(session, "status", looking)
        assert clock.tick(shown) == {}
        monkeypatch.undo()
    assert session.settings.method == shown.values[method._id] == "pca"


def test_settings_and_trainings_are_taken_one_after_another(session: Studio) -> None:
    steps = [step for step in build_app(session).fns.values() if step.concurrency_id == "settings"]
    named = [step.name for step in steps]
    # Train, Ctrl+Enter in the editor, "use these layers", a run chosen in Ship, every setting.
    assert (named.count("start"), named.count("take_layers")) == (2, 1)
    with gr.Blocks():
        assert len(steps) == 4 + len(TrainDrawer(session).settings.all)
    assert {(step.concurrency_limit, step.trigger_mode) for step in steps} == {(1, "multiple")}


def test_settings_on_screen_are_the_settings_that_are_trained_with(session: Studio) -> None:
    with gr.Blocks():
        drawer = TrainDrawer(session)
    paths = (("mlp", "model.layers.{num}.mlp"), ("self_attn", "model.layers.{num}.self_attn"))
    settings = replace(TrainSettings(), method="pca", layers="auto", seed=7, batch_size=3)
    settings = replace(settings, layer_type="mlp", layer_config=paths)
    for shown in (settings, TrainSettings()):
        assert drawer.settings.settings(drawer.settings.show(shown)) == shown
    empty = drawer.settings.show(settings) | {drawer.settings.max_length: None}
    with pytest.raises(UserError, match="max length"):
        drawer.settings.settings(empty)
    no_path = drawer.settings.show(settings) | {drawer.settings.layer_config: "model.layers"}
    with pytest.raises(UserError, match="cannot read layer config"):
        drawer.settings.settings(no_path)


def test_no_choice_is_lost_while_an_earlier_one_is_under_way(session: Studio) -> None:
    choices = {"input", "blur", "select"}
    events = [
        event
        for event in build_app(session).fns.values()
        if event.fn and choices & {name for _, name in event.targets}
    ]
    assert len(events) > 20
    for event in events:
        detailed = gr.EventData in event.fn.__annotations__.values()
        kept = {"multiple"} if detailed else {"multiple", "always_last"}
        assert event.trigger_mode in kept, (event.targets, event.fn)


def test_no_question_of_the_page_is_answered_on_its_event_loop(session: Studio) -> None:
    parts = build_app(session).blocks.values()
    asked = [
        getattr(part, name) for part in parts for name in part.get_config().get("server_fns") or ()
    ]
    assert len(asked) > 40
    assert all(map(inspect.iscoroutinefunction, asked))


def test_more_events_run_at_once_than_may_wait_for_the_device(session: Studio) -> None:
    shared = {"device", "following", "programs"}
    events = build_app(session).fns.values()
    limits: Any = {e.concurrency_id: e.concurrency_limit for e in events}
    assert sum(limits[each] for each in shared) < MOST_EVENTS


def posted_by_a_page(url: str, text: str) -> dict[str, Any]:
    """What a page posts so that a text is read."""
    parts = httpx.get(f"{url}config").json()["components"]
    desk = next(each["id"] for each in parts if each["props"].get("elem_id") == "read-desk")
    asked = {"component_id": desk, "fn_name": "read_text", "session_hash": text}
    question = {"text": text, "kind": "z", "layers": None}
    return {"url": f"{url}gradio_api/component_server", "json": {**asked, "data": question}}


def posted_by_a_program(url: str, text: str) -> dict[str, Any]:
    """The same of a program that calls the tool."""
    call = {"name": "read_text", "arguments": {"text": text}}
    asked = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call}
    headers = {"accept": "application/json, text/event-stream"}
    return {"url": f"{url}gradio_api/mcp/", "json": asked, "headers": headers}


@pytest.mark.parametrize(
    ("posted", "at_once"),
    [(posted_by_a_page, MOST_UNFINISHED - 4), (posted_by_a_program, MOST_AT_ONCE)],
)
def test_who_waits_for_the_device_holds_up_nobody_else(
    posted: Callable[[str, str], dict[str, Any]], at_once: int, tmp_path: Path, tiny_folder: Path
) -> None:
    with (
        small_studio(tmp_path, tiny_folder) as studio,
        serving(build_site(studio, Hosts("127.0.0.1"), tools_at="http://127.0.0.1:1/")) as url,
        ThreadPoolExecutor(MOST_UNFINISHED) as others,
        device_taken(studio) as go_on,
    ):
        asked = [posted(url, f"{number} keys are lost.") for number in range(MOST_UNFINISHED - 4)]
        texts = [others.submit(partial(httpx.post, timeout=300, **each)) for each in asked]
        latest = time.monotonic() + 60
        while len(studio.worker.unfinished()) <= at_once:
            assert time.monotonic() < latest, "they wait for each other"
            time.sleep(0.05)
        assert httpx.get(url, timeout=60).status_code == 200
        script = f"{url}gradio_api/file={STATIC.as_posix()}/lib/route.js"
        assert httpx.get(script, timeout=60).status_code == 200
        assert not any(text.done() for text in texts)
        go_on.set()
        assert all("concepts" in text.result().text for text in texts)


def test_a_bound_handler_tells_mistakes_and_changes_nothing_when_it_gives_nothing() -> None:
    def handler(known: str, values: Values, event: gr.EventData) -> Changes:
        if event.token == "bad":
            raise UserError("this is bad", fix="take another")
        return {"box": f"{known} {values['box']}"} if values else {}

    handler.__annotations__["event"] = "gr.EventData"
    call = bound(handler, "one")
    good = gr.EventData(None, {"token": "good"})
    assert call({"box": "two"}, good) == {"box": "one two"}
    assert call({}, good) == gr.skip()
    assert call.__annotations__ == {"event": gr.EventData}
    with pytest.raises(gr.Error, match="this is bad"):
        call({}, gr.EventData(None, {"token": "bad"}))


def test_a_table_escapes_titles_and_puts_them_beside_the_cells() -> None:
    drawn = table(("a<b", "n"), [("<b>x</b>", "1")], row_kinds=["used"], column_kinds={"n": "n"})
    assert "<th>a&lt;b</th>" in drawn
    assert "<tr class='used'><td data-title='a&lt;b'><b>x</b></td>" in drawn
    assert "<td class='n' data-title='n'>1</td>" in drawn
    with pytest.raises(ValueError, match="zip"):
        table(("a", "b"), [("only one",)])


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("queue/join", {"data": [], "fn_index": 9999, "session_hash": "a"}),
        (
            "component_server",
            {"data": {}, "component_id": 9999, "fn_name": "a", "session_hash": "b"},
        ),
    ],
)
def test_a_number_that_the_page_does_not_have_is_refused_in_a_sentence(
    session: Studio, path: str, asked: dict[str, Any]
) -> None:
    with serving(build_site(session, Hosts("127.0.0.1"))) as url:
        answer = httpx.post(f"{url}gradio_api/{path}", json=asked)
    assert answer.status_code == 404
    assert answer.json() == {"detail": "There is nothing of number 9999 here; reload the page."}


def test_the_page_brings_the_watch_over_its_start_before_all_other_scripts(
    session: Studio,
) -> None:
    with serving(build_site(session, Hosts("127.0.0.1"))) as url:
        page = httpx.get(url).text
    watch = (STATIC / "shell" / "start.js").read_text(encoding="utf-8")
    assert page.split("<script", 2)[1].startswith(f">{watch}")
    assert page.rstrip().endswith("</html>")
