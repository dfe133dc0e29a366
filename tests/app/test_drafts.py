"""Drafts on the Concepts page, without a browser: asked, followed, cancelled, kept by a click."""

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from readout_ui.app.events import Answer
from readout_ui.app.session import Studio
from readout_ui.app.status import StudioOptions
from readout_ui.app.write.calls import concept_calls
from readout_ui.app.write.concepts import draft_calls
from readout_ui.texts.drafts import written_by
from tests.support.pretend_endpoint import PretendEndpoint, pretend_endpoint

ANSWER = "1. I sit here by the water.\n2. I let the whole day go by.\n"


@pytest.fixture
def endpoint() -> Iterator[PretendEndpoint]:
    with pretend_endpoint(ANSWER) as endpoint:
        yield endpoint


@pytest.fixture
def desk(descriptions: Path, tmp_path: Path, endpoint: PretendEndpoint) -> Iterator[Studio]:
    options = StudioOptions(descriptions, tmp_path / "runs", draft_endpoint=endpoint.url)
    studio = Studio(options)
    yield studio
    studio.close()


def ask(desk: Studio, name: str, data: object) -> Answer:
    calls = {call.__name__: call for call in (*concept_calls(desk), *draft_calls(desk))}
    answer: Answer = json.loads(json.dumps(calls[name](data)))
    return answer


def asked(desk: Studio, *, at_endpoint: bool = True, kind: str = "descriptions") -> Answer:
    words = {"name": "calm", "kind": kind, "count": 2, "at_endpoint": at_endpoint}
    return ask(desk, "ask_drafts", words)


def ended(desk: Studio) -> Answer:
    for _ in range(200):
        now = ask(desk, "read_drafts", {})
        if now["state"] not in ("waiting", "running"):
            return now
        time.sleep(0.05)
    pytest.fail("drafting did not end")


def test_drafts_are_shown_and_only_what_is_chosen_enters_the_library(desk: Studio) -> None:
    before = desk.library().concept("calm").descriptions
    assert ask(desk, "read_drafts", {})["state"] == "none"
    assert asked(desk)["ok"]
    now = ended(desk)
    assert (now["state"], now["done"], now["total"]) == ("done", 2, 2)
    assert now["summary"] == "org/pretend-1 wrote 2 of 2 texts in 1 answers."
    assert {"text", "findings", "nearest", "percent"} <= now["drafts"][0].keys()
    assert desk.library().concept("calm").descriptions == before
    kept = ask(desk, "keep_drafts", {"name": "calm", "texts": [now["drafts"][1]["text"]]})
    assert kept["ok"]
    texts = desk.library().concept("calm").descriptions
    assert texts == (*before, "I let the whole day go by.")
    assert written_by(desk.folder, texts)[-1] == "org/pretend-1"


def test_the_history_names_the_model_that_wrote_a_text(desk: Studio) -> None:
    asked(desk)
    ask(desk, "keep_drafts", {"name": "calm", "texts": [ended(desk)["drafts"][0]["text"]]})
    opened = ask(desk, "open_concept", {"name": "calm"})["concept"]
    mine = {"name": "calm", "boxes": ["I am still."], "opened": opened["fingerprint"]}
    assert ask(desk, "save_texts", mine)["ok"]
    versions = ask(desk, "read_versions", {"name": "calm"})["versions"]
    found = [
        ask(desk, "read_version", {"name": "calm", "version": v["version"]})["models"]
        for v in versions
    ]
    assert found == [["org/pretend-1"], []]


def test_drafting_is_cancelled_and_a_second_one_waits(
    desk: Studio, endpoint: PretendEndpoint
) -> None:
    endpoint.pause = threading.Event()
    asked(desk)
    assert "under way" in asked(desk)["message"]
    ask(desk, "cancel_drafts", {})
    endpoint.pause.set()
    assert ended(desk)["state"] == "cancelled"
    refused = ask(desk, "keep_drafts", {"name": "calm", "texts": ["I am."]})
    assert "no drafts any more" in refused["message"]


def test_what_cannot_be_drafted_is_said_in_a_sentence(desk: Studio) -> None:
    assert "nothing of the kind" in asked(desk, kind="poems")["message"]
    asked(desk, at_endpoint=False)
    assert "no model" in ended(desk)["error"]
    desk.options = replace(desk.options, read_only=True)
    assert "read-only" in asked(desk)["message"]
