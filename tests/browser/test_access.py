"""Pages of other sites in a real Chromium, against the app and the server of readouts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import Route

from readout_ui.app.page import build_site
from readout_ui.app.session import Studio
from readout_ui.inference.answers import Service
from readout_ui.inference.gate import Hosts
from readout_ui.inference.server import build_server
from readout_ui.models.loading import ModelSpec, load_model
from tests.support.running_app import CHROMIUM_FLAGS, serving

pytestmark = pytest.mark.browser
REBOUND = "rebound.example"
ELSEWHERE = "elsewhere.example"
READ = """async (address) => {
  try { const answer = await fetch(address); return `${answer.status} ${await answer.text()}` }
  catch (error) { return 'unread' } }"""
WRITE = """async ([address, body, mode]) => {
  try { const type = mode === 'cors' ? 'application/json' : 'text/plain';
    const headers = {'content-type': type};
    const answer = await fetch(address, {method: 'POST', body, mode, headers});
    return `${answer.status} ${await answer.text()}` }
  catch (error) { return 'unread' } }"""

FRAME = """(src) => new Promise((come) => {
  const frame = document.createElement('iframe');
  document.body.append(Object.assign(frame, {src, onload: () => come()}));
})"""


async def hostile(_request: Request) -> HTMLResponse:
    return HTMLResponse("<!doctype html><title>hostile</title><p>hostile</p>")


@contextmanager
def rebinding_browser(driver: Any) -> Iterator[Any]:
    """A Chromium for which every name of an attacker is this machine."""
    import shutil

    rules = f"--host-resolver-rules=MAP {REBOUND} 127.0.0.1,MAP {ELSEWHERE} 127.0.0.1"
    opened = driver.chromium.launch(
        executable_path=shutil.which("chromium"), args=[*CHROMIUM_FLAGS, rules]
    )
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def attacker() -> Iterator[str]:
    with serving(Starlette(routes=[Route("/{path:path}", hostile)])) as url:
        yield url


@pytest.fixture(scope="module")
def chrome() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver, rebinding_browser(driver) as opened:
        yield opened


def port_of(url: str) -> str:
    return url.rstrip("/").rpartition(":")[2]


def attack(chrome: Any, page_at: str, url: str, paths: list[str]) -> list[str]:
    """What a page at an address reads of a server, and is told when it writes."""
    page = chrome.new_page()
    page.goto(page_at)
    told = [page.evaluate(READ, url + path) for path in paths]
    body = json.dumps({"data": [], "fn_index": 0, "session_hash": "s", "model": "m"})
    for mode in ("cors", "no-cors"):
        told += [page.evaluate(WRITE, [url + path, body, mode]) for path in paths]
    page.close()
    return told


def test_no_page_elsewhere_reads_or_writes_the_app(
    chrome: Any, attacker: str, studio: Studio
) -> None:
    paths = ["", "config", "gradio_api/queue/join", "gradio_api/component_server"]
    with serving(build_site(studio, Hosts("127.0.0.1"))) as url:
        for page_at in (attacker, attacker.replace("127.0.0.1", ELSEWHERE)):
            told = attack(chrome, page_at, url, paths)
            assert not [one for one in told if one[:1] == "2"], told
        # A name of the attacker's that points at this machine now: its page is of the same origin.
        rebound = f"http://{REBOUND}:{port_of(url)}/"
        page = chrome.new_page()
        assert page.goto(rebound).status == 421
        assert page.evaluate(READ, f"{rebound}config").startswith("421 ")
        page.close()
        page = chrome.new_page()
        page.goto(attacker)
        page.evaluate(FRAME, url)
        framed = [frame for frame in page.frames if frame != page.main_frame]
        assert len(framed) == 1
        assert "Readout Studio" not in framed[0].content()
        page.goto(url)  # and the page itself works
        page.get_by_role("link", name="Write").wait_for()
        page.get_by_text("calm").first.wait_for()
        page.close()


def test_no_page_elsewhere_asks_the_server_of_readouts(
    chrome: Any, attacker: str, tiny_folder: Path
) -> None:
    model = load_model(ModelSpec(str(tiny_folder), device="cpu", dtype="fp32"))
    with serving(build_server(Service(model, None), Hosts("127.0.0.1"))) as url:
        paths = ["v1/models", "v1/chat/completions", "v1/completions"]
        for page_at in (attacker, attacker.replace("127.0.0.1", ELSEWHERE)):
            told = attack(chrome, page_at, url, paths)
            assert not [one for one in told if one[:1] == "2"], told
        page = chrome.new_page()
        assert page.goto(f"http://{REBOUND}:{port_of(url)}/v1/models").status == 421
        page.close()


def test_a_person_logs_in_and_out(chrome: Any, studio: Studio) -> None:
    with serving(build_site(studio, Hosts("127.0.0.1"), ("anna", "secret"))) as url:
        page = chrome.new_page()
        page.goto(url)
        page.get_by_label("Username").fill("anna")
        page.get_by_label("Password").fill("wrong")
        page.get_by_role("button", name="Login").click()
        page.get_by_text("Wrong username or password.").wait_for()
        page.wait_for_timeout(1100)
        page.get_by_label("Username").fill("anna")
        page.get_by_label("Password").fill("secret")
        page.get_by_role("button", name="Login").click()
        page.get_by_text("calm").first.wait_for()
        page.goto(f"{url}logout")
        page.get_by_label("Username").wait_for()
        page.close()
