"""What several test files share: no network, the bundled model loaded once, watched pages."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import pytest
from hypothesis import settings

from tests.support.running_app import PATIENCE_MS, chromium

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Dialog, Page

    from readout_ui.app.session import Studio
    from readout_ui.models.loading import LoadedModel

settings.register_profile("untimed", deadline=None)  # a first call imports, beside other work
settings.load_profile("untimed")

ROOT = Path(__file__).resolve().parents[1]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test that needs the bundled model is a slow one."""
    for item in items:
        if "bundled_model" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(autouse=True)
def without_sentence_embedding(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A baseline that takes half a minute of a judgement is there only for a test that asks."""
    if "sentence_embedding" not in request.fixturenames:
        monkeypatch.setattr("readout_ui.vectors.sentence_embedding.model_folder", lambda: None)


@pytest.fixture
def sentence_embedding() -> None:
    """Leaves the sentence embedding where it is installed."""


@pytest.fixture(scope="session")
def bundled_model() -> "LoadedModel":
    """SmolLM2-135M-Instruct on the CPU in float32; converted once per machine."""
    from readout_ui.models.loading import ModelSpec, load_model

    return load_model(ModelSpec(device="cpu", dtype="fp32"))


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    """One Chromium for the tests of a file."""
    with chromium() as opened:
        yield opened


OF_SVELTE = "Cannot read properties of undefined (reading 'e')"
"""Fails in gradio's own script at times (sveltejs/svelte#18610); the page mends its start."""


@pytest.fixture
def watched_page(browser: "Browser") -> "Iterator[Callable[..., Page]]":
    """Opens pages; at the end no script failed and no request had left the machine."""
    contexts, faults, hosts = [], [], set()

    def refuse(dialog: "Dialog") -> None:
        faults.append(dialog.message)
        dialog.dismiss()

    def opened(
        url: str,
        width: int = 1440,
        height: int = 900,
        theme: str = "light",
        address: str = "",
        context: "BrowserContext | None" = None,
    ) -> "Page":
        context = context or browser.new_context(viewport={"width": width, "height": height})
        context.set_default_timeout(PATIENCE_MS)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("dialog", refuse)
        page.on("request", lambda request: hosts.add(urlsplit(request.url).hostname))
        page.goto(f"{url}{theme and f'?__theme={theme}'}{address}")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert [fault for fault in faults if OF_SVELTE not in fault] == []
    assert {host for host in hosts if host} <= {"127.0.0.1", "localhost"}


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random Llama with a chat template, as a local folder."""
    from tests.support.tiny_model import save_tiny_model

    return save_tiny_model(tmp_path_factory.mktemp("tiny-llama"))


@pytest.fixture
def studio(
    tmp_path: Path, descriptions: Path, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> "Iterator[Studio]":
    """What an app over the small library and the tiny model holds; nothing is loaded yet."""
    from readout_ui.app.session import Studio
    from readout_ui.app.status import StudioOptions

    monkeypatch.setenv("READOUT_UI_CACHE", str(tmp_path / "cache"))
    studio = Studio(
        StudioOptions(descriptions, tmp_path / "runs", model=str(tiny_folder), report=False)
    )
    yield studio
    studio.close()


@pytest.fixture
def descriptions(tmp_path: Path) -> Path:
    """A folder of four concepts and neutral texts that a test may change."""
    folder = tmp_path / "descriptions"
    folder.mkdir()
    for name, texts in SMALL_LIBRARY.items():
        (folder / f"{name}.txt").write_text("\n\n".join(texts) + "\n", encoding="utf-8")
    return folder


SMALL_LIBRARY = {
    "calm": [
        "I feel calm. My breath is slow and nothing pulls at me.",
        "Everything in me has settled. I let each moment come without reaching for it.",
        "My shoulders are loose and my thoughts move like still water. I need nothing.",
    ],
    "afraid": [
        "I am afraid. Something is going to hurt me and my heart pounds.",
        "My body wants to run before I know why. Every sound could be the danger.",
        "Cold goes through my stomach. I watch for what is coming to harm me.",
    ],
    "angry": [
        "I feel angry. They had no right, and heat climbs into my face.",
        "My jaw locks and my hands want to hit back. I was wronged on purpose.",
        "There is a hard pressure in my chest. I want to shout at the one who did this.",
    ],
    "happy": [
        "I feel happy. Something good has come and my whole chest is light.",
        "A smile keeps rising on its own. I want to tell everyone what I was given.",
        "Warmth spreads through me and I could dance. Things have turned out well.",
    ],
    "_baseline": [
        "I am sitting upright. My hands rest where they are.",
        "I read the list from top to bottom. Then I turn the page.",
        "The form has four fields. I fill in the first one with today's date.",
        "I count the items again. There are twelve of them.",
    ],
}
