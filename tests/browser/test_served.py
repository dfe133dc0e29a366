"""The page of an app that reads through a server, in Chromium."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from readout_ui.inference.answers import Service
from readout_ui.inference.client import Server
from readout_ui.inference.gate import Hosts
from readout_ui.inference.server import build_server
from readout_ui.progress import silent
from tests.support.running_app import serving
from tests.support.studios import address_of, small_studio

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytest.importorskip("gradio")
playwright = pytest.importorskip("playwright.sync_api")
expect = playwright.expect
pytestmark = pytest.mark.browser


def test_a_text_is_read_and_what_needs_the_weights_says_where_they_are(
    tmp_path: Path, tiny_folder: Path, watched_page: Callable[..., Page]
) -> None:
    from readout_ui.app.page import build_app, launch_options
    from readout_ui.app.served import ServedStudio

    with small_studio(tmp_path, tiny_folder) as here:
        run = here.run()
        service = Service(here.readout_of(run, silent).model, run)
        with serving(build_server(service, Hosts("127.0.0.1"))) as address:
            options = replace(here.options, runs=tmp_path / "none")
            there = ServedStudio(options, Server.at(address))
            there.load_model().result()
            with address_of(build_app(there), **launch_options(there)) as url:
                page = watched_page(url)
                page.locator("#rd-input").fill("I am calm, very calm")
                page.locator("#rd-input").press("Enter")
                tokens = page.locator(".rd-turn:last-child .rd-token")
                expect(tokens.last).to_have_text(" calm")
                expect(page.locator("#retrain")).to_be_disabled()
                tokens.last.click()
                expect(page.locator(".rd-next")).to_contain_text(f"are at {address.rstrip('/')};")
            there.close()
