"""A read-only app refuses every writer, whatever is called and with whatever it is given."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from readout_ui.app.page import build_site
from readout_ui.app.session import Studio
from readout_ui.errors import UserError
from readout_ui.inference.gate import Hosts
from readout_ui.texts.library import Library
from tests.support.running_app import serving


@pytest.fixture
def viewer(studio: Studio) -> Iterator[Studio]:
    """A read-only app over two runs, the older one in use."""
    studio.load_model()
    first = studio.start_training().result()
    studio.start_training(replace(studio.settings, seed=5)).result()
    studio.use_run(first.id)
    studio.library()
    studio.close()
    viewer = Studio(replace(studio.options, read_only=True))
    viewer.load_model().result()
    yield viewer
    viewer.close()


def disk(viewer: Studio) -> dict[str, tuple[bytes, int]]:
    """Every file of texts, history, trash and runs, with its time."""
    roots = (viewer.options.descriptions.parent,)
    files = (path for root in roots for path in root.rglob("*") if path.is_file())
    kept = (path for path in files if "cache" not in path.relative_to(roots[0]).parts)
    return {str(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in kept}


def plausible(component: dict[str, Any], target: Path) -> Any:
    """A value that an event could have been given: what is shown, else a text."""
    kind, props = component["type"], component["props"]
    if kind in ("state", "button", "timer", "html", "plot"):
        return None
    value = props.get("value")
    if kind == "textbox" and not value:
        return str(target)
    if value is None and props.get("choices"):
        return props["choices"][0][1]
    return value


def call(url: str, event: int, data: list[Any], extra: dict[str, Any]) -> str:
    """What an event answers; one that shows progress is left when it has ended."""
    body = {"data": data, "fn_index": event, "session_hash": f"s{event}-{time.monotonic_ns()}"}
    joined = httpx.post(f"{url}gradio_api/queue/join", json={**body, **extra})
    if joined.status_code != 200:
        return joined.text
    address = f"{url}gradio_api/queue/data?session_hash={body['session_hash']}"
    with httpx.stream("GET", address, timeout=60) as stream:
        return next((line for line in stream.iter_lines() if "process_completed" in line), "")


def test_no_event_and_no_question_of_the_page_changes_the_disk(
    viewer: Studio, tmp_path: Path
) -> None:
    other = next(run.id for run in viewer.runs.list() if run.id != viewer.run().id)
    before = disk(viewer)
    with serving(build_site(viewer, Hosts("127.0.0.1"))) as url:
        config = httpx.get(f"{url}config").json()
        known = {one["id"]: one for one in config["components"]}
        said = {}
        for event in config["dependencies"]:
            given = [plausible(known[each], tmp_path / "written") for each in event["inputs"]]
            chosen = {"event_data": {"run": other, "name": "calm", "index": 0}}
            said[event["id"]] = call(url, event["id"], given, chosen)
        for one in config["components"]:
            for name in one["props"].get("server_fns") or ():
                asked = {"component_id": one["id"], "fn_name": name, "session_hash": "s"}
                for data in ({}, {"name": "calm", "text": "x", "texts": ["x"]}, "calm", None):
                    httpx.post(
                        f"{url}gradio_api/component_server",
                        json={**asked, "data": data},
                        timeout=60,
                    )
        for name in ("train", "export"):
            httpx.post(f"{url}gradio_api/call/{name}", json={"data": []})
    refused = [answer for answer in said.values() if "read-only" in answer]
    assert len(refused) >= 4, said
    assert disk(viewer) == before
    assert not (tmp_path / "written").exists()


def test_writers_are_refused_in_a_sentence(viewer: Studio, tmp_path: Path) -> None:
    other = next(run.id for run in viewer.runs.list() if run.id != viewer.run().id)
    used = viewer.run().id
    for write in (
        lambda: viewer.use_run(other),
        viewer.start_training,
        lambda: viewer.export([], [], tmp_path / "out"),
        lambda: viewer.start_training_from(Library(viewer.folder), viewer.settings),  # type: ignore[arg-type]
    ):
        with pytest.raises(UserError, match="read-only"):
            write()
    assert viewer.run().id == used
