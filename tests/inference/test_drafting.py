"""Drafts by the loaded model and by a pretend endpoint: counts, keys, faults, cancelling."""

import threading
from pathlib import Path

import pytest

from readout_ui.errors import UserError
from readout_ui.inference.drafting import Endpoint, draft
from readout_ui.models.loading import ModelSpec, load_model
from readout_ui.progress import Cancelled, Progress, silent
from readout_ui.texts.drafts import DraftRequest
from readout_ui.texts.library import Library
from tests.conftest import SMALL_LIBRARY
from tests.support.pretend_endpoint import pretend_endpoint

ANSWER = "1. I sit here by the water.\n2. I let the whole day go by.\n3. I rest my hands now.\n"
SAME = "1. I sit here by the water.\n"


def request(count: int = 3) -> DraftRequest:
    return DraftRequest(Library(SMALL_LIBRARY), "descriptions", "calm", count)


@pytest.mark.parametrize("streams", [True, False])
def test_an_endpoint_writes_drafts_and_gets_its_key(
    streams: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", "secret")
    with pretend_endpoint(ANSWER, streams=streams) as endpoint:
        made = draft(Endpoint(endpoint.url, key_variable="MY_KEY"), request(), silent)
    assert made.drafts[0].text == "I sit here by the water."
    assert (len(made.drafts), made.n_calls, made.writer) == (3, 1, "org/pretend-1")
    assert endpoint.keys == ["Bearer secret"]
    assert endpoint.asked[0]["model"] == "org/pretend-1"
    assert SMALL_LIBRARY["calm"][0] in endpoint.asked[0]["messages"][0]["content"]


def test_counts_are_those_that_came() -> None:
    with pretend_endpoint(ANSWER, SAME) as endpoint:
        made = draft(Endpoint(endpoint.url, "named"), request(5), silent)
    assert (len(made.drafts), made.asked, made.n_calls, made.n_dropped) == (3, 5, 6, 5)
    assert made.summary() == "named wrote 3 of 5 texts in 6 answers, 5 said the same again."


def test_an_endpoint_that_refuses_or_is_gone_is_told_in_a_sentence() -> None:
    with (
        pretend_endpoint("", status=401) as endpoint,
        pytest.raises(UserError, match=r"answers 401: .*no such key"),
    ):
        draft(Endpoint(endpoint.url, "named"), request(), silent)
    with pytest.raises(UserError, match="does not answer"):
        draft(Endpoint(endpoint.url, "named"), request(), silent)
    for url in ("ftp://127.0.0.1/v1", "127.0.0.1:80", "http://me:secret@127.0.0.1/v1"):
        with pytest.raises(UserError, match="no endpoint"):
            Endpoint(url)


def test_cancelling_ends_an_answer_in_the_middle() -> None:
    pause = threading.Event()

    def stop(progress: Progress) -> None:
        if endpoint.asked:
            pause.set()
            raise Cancelled

    with (
        pretend_endpoint(ANSWER, pause=pause) as endpoint,
        pytest.raises(Cancelled),
    ):
        draft(Endpoint(endpoint.url, "named"), request(), stop)
    assert len(endpoint.asked) == 1


def test_the_loaded_model_is_asked_and_its_progress_is_told(tiny_folder: Path) -> None:
    model = load_model(ModelSpec(model=str(tiny_folder), device="cpu"))
    told: list[Progress] = []
    made = draft(model, request(1), told.append)
    assert made.writer == model.name
    assert len(made.drafts) <= 1 <= made.n_calls <= 4
    assert len(told) > made.n_calls
    assert {each.total for each in told} == {1}
