"""A session over the small library and the tiny model, and a page of it in a running server."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from readout_ui.app.session import Studio
from readout_ui.app.status import StudioOptions
from tests.support.compared_runs import write_library
from tests.support.tiny_model import save_tiny_model

if TYPE_CHECKING:
    import gradio as gr


@contextmanager
def small_studio(
    folder: Path, model: Path | None = None, *, train: bool = True
) -> Iterator[Studio]:
    """A session with texts, runs and cache in `folder`, its model loaded; closed afterwards.

    Args:
        folder: an empty folder.
        model: folder of the model; a new tiny one by default.
        train: whether a training has ended.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("READOUT_UI_CACHE", str(folder / "cache"))
        library, runs = write_library(folder / "descriptions"), folder / "runs"
        model = model or save_tiny_model(folder / "tiny")
        studio = Studio(StudioOptions(library, runs, model=str(model), report=False))
        studio.load_model().result()
        try:
            if train:
                studio.start_training().result()
            yield studio
        finally:
            studio.close()


@contextmanager
def whole_page(
    folder: Path, model: Path | None = None, *, train: bool = True
) -> Iterator[tuple[str, Studio]]:
    """The address of the page over such a session, and the session."""
    from readout_ui.app.page import build_app, launch_options

    with (
        small_studio(folder, model, train=train) as studio,
        address_of(build_app(studio), **launch_options(studio)) as url,
    ):
        yield url, studio


@contextmanager
def device_taken(studio: Studio) -> Iterator[threading.Event]:
    """The device works on something else until the event is set or the body ends, however."""
    go_on = threading.Event()
    studio.worker.submit("other", "Something else", lambda _report: go_on.wait(300))
    try:
        yield go_on
    finally:
        go_on.set()


@contextmanager
def address_of(app: gr.Blocks, **options: Any) -> Iterator[str]:
    """The address of a page while it is served, by default in our styles and with a tick a second.

    Gradio's script waits for good where the stream of events is closed while it sends one; the
    next event ends that. The whole page has its clock, a part of it had none.
    """
    import gradio as gr

    from readout_ui.app.assets import STYLES

    if not options:
        with app:
            gr.Timer().tick(lambda: None)
    look = options or {"css_paths": STYLES, "ssr_mode": False}
    _, url, _ = app.launch(prevent_thread_lock=True, quiet=True, **look)
    try:
        yield url
    finally:
        app.close()
