"""Scripts and styles as files: behind a login and a prefix, never stale, from this package only."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
import httpx
import pytest
import uvicorn
from fastapi import FastAPI
from playwright.sync_api import expect

from readout_ui.app.assets import ASK_AGAIN, STATIC, STYLES, calling, on_load
from readout_ui.app.write.concepts import build_concepts_tab
from tests.browser.test_write import FolderDesk
from tests.support.running_app import free_port

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser
LOGIN = ("reader", "secret")


@contextmanager
def served(desk: Any) -> Iterator[str]:
    """The Concepts page under a prefix of another server, with a login."""
    with gr.Blocks(analytics_enabled=False) as page:
        tab = build_concepts_tab(desk)
        tab.train_requested(lambda: None, None, None, api_visibility="private")
    outer = FastAPI(middleware=[ASK_AGAIN])
    gr.mount_gradio_app(
        outer, page, path="/studio", auth=LOGIN, css_paths=list(STYLES), ssr_mode=False
    )
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(outer, port=port, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    yield f"http://127.0.0.1:{port}/studio/"
    server.should_exit = True
    thread.join(timeout=20)


def test_the_page_works_behind_a_prefix_and_a_login(
    watched_page: Callable[..., Page], descriptions: Path
) -> None:
    desk = FolderDesk()
    desk.folder = descriptions
    scripts: dict[str, dict[str, str]] = {}

    def heard(response: Any) -> None:
        if response.url.endswith(".js") and str(STATIC) in response.url:
            scripts[response.url] = response.headers

    with served(desk) as url:
        address = f"{url}gradio_api/file={STATIC}/write/main.js"
        assert httpx.get(address).status_code == 401
        page = watched_page(url)
        page.context.on("response", heard)
        page.get_by_label("Username").fill(LOGIN[0])
        page.get_by_label("Password").fill(LOGIN[1])
        page.get_by_role("button", name="Login").click()
        expect(page.locator(".rs-row").first).to_be_visible()
        expect(page.locator(".rs-box").first).to_be_visible()
    assert all(address.startswith(url) for address in scripts)
    names = {address.rsplit("/", 2)[-2] + "/" + address.rsplit("/", 1)[-1] for address in scripts}
    assert {"write/main.js", "write/editor_state.js", "lib/dom.js"} <= names
    for headers in scripts.values():
        assert headers["cache-control"] == "no-cache"
        assert re.match(r"(text|application)/javascript", headers["content-type"])


def test_a_module_that_is_not_there_is_found_out_before_the_page_is_built() -> None:
    with pytest.raises(FileNotFoundError, match="missing"):
        on_load("read/missing.js")
    assert '"asked"' in on_load("read/chat.js", "asked")
    assert calling("lib/download.js", "saveText", 'a"b').endswith('.saveText(...values, "a\\"b")')
