"""Compare over tiny models: nothing there, then two runs, two texts, two models."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from readout_ui.app.read.calls import Asked as Text
from readout_ui.app.read.compare import (
    Compare,
    Compared,
    model_of,
    quote_apart,
    read_both,
    room_words,
    run_choices,
    shown,
)
from readout_ui.app.session import Studio
from readout_ui.app.status import StudioOptions
from readout_ui.errors import UserError
from tests.support.compared_runs import save_spelling_model, train_once, train_other_model
from tests.support.tiny_model import save_tiny_model

TEXT = "I feel calm and warm."
PAGE = "1" * 32


@pytest.fixture
def studio(tmp_path: Path, descriptions: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Studio]:
    monkeypatch.setenv("READOUT_UI_CACHE", str(tmp_path / "cache"))
    model = save_tiny_model(tmp_path / "tiny-llama")
    studio = Studio(StudioOptions(descriptions, tmp_path / "runs", model=str(model), report=False))
    yield studio
    studio.close()


def retrained(studio: Studio) -> tuple[str, str]:
    """Two runs, the newer one without a concept."""
    first = train_once(studio)
    (studio.folder / "happy.txt").unlink()
    return first, studio.start_training().result().id


def asked(
    way: Any, texts: tuple[str, str], mode: Any, runs: tuple[str, str], location: str = ""
) -> Compare:
    first, second = (Text(text=text, mode=mode) for text in texts)
    return Compare(
        chat=PAGE, way=way, first=first, second=second, runs=list(runs), location=location
    )


def last(studio: Studio, question: Compare) -> Compared:
    work = lambda used: read_both(studio, question, used)  # noqa: E731
    return studio.on_device("compare", "Comparing", work, question.run_ids()[0]).result()


def test_each_empty_state_says_what_to_do(studio: Studio) -> None:
    assert "Press Train" in run_choices(studio, "runs", (None, None)).notice
    train_once(studio)
    assert "press Train" in run_choices(studio, "runs", (None, None)).notice
    assert "Choose another model" in run_choices(studio, "models", (None, None)).notice
    assert run_choices(studio, "texts", (None, None)).notice == ""


def test_two_runs_are_the_newest_first_and_a_choice_stays(studio: Studio) -> None:
    old, new = retrained(studio)
    assert run_choices(studio, "runs", (None, None)).values == (new, old)
    assert run_choices(studio, "runs", (old, new)).values == (old, new)
    assert run_choices(studio, "runs", ("gone", None)).values == (new, old)


def test_two_runs_read_one_text_by_position_and_the_difference_is_b_less_a(
    studio: Studio,
) -> None:
    old, new = retrained(studio)
    studio.runs.describe(new, name="stiller calm", note="", tags=())
    compared = last(studio, asked("runs", (TEXT, ""), "assistant", (old, new)))
    found = shown(compared, (-1, -1))
    assert compared.names[1] == "stiller calm"
    assert compared.names[0].startswith("run 20")
    assert run_choices(studio, "runs", (old, new)).second[0][0].startswith("stiller calm · 20")
    assert "position by position" in found["about"]
    assert found["left_out"] == ("happy",)
    first, second = found["sides"]
    layer = first["best"]
    assert first["layers"] == second["layers"] == [layer]
    assert first["concepts"] == found["difference"]["concepts"]
    for name in first["concepts"]:
        a, b = (
            one.z[:, one.layer_index(layer), one.concept_index(name)]
            for one in (compared.first, compared.second)
        )
        found_b_less_a = unpacked(found["difference"])[:, first["concepts"].index(name)]
        assert abs(found_b_less_a - (b - a)).max() < 0.01


def test_cosines_are_compared_as_well(studio: Studio) -> None:
    compared = last(studio, asked("runs", (TEXT, ""), "assistant", retrained(studio)))
    found = shown(compared, (-1, -1), "cosine")
    assert {side["kind"] for side in (*found["sides"], found["difference"])} == {"cosine"}
    first = found["sides"][0]
    layer, name = first["best"], first["concepts"][0]
    reading = compared.first
    cosines = reading.cosine[:, reading.layer_index(layer), reading.concept_index(name)]
    assert abs(unpacked(first)[:, 0] - cosines).max() < 1e-3


def unpacked(side: dict[str, Any]) -> Any:
    """(n_tokens, n_concepts) of `pack_cells` at one layer."""
    import base64

    import numpy as np

    raw, n_tokens = base64.b64decode(side["scores"]), len(side["tokens"])
    steps = np.frombuffer(raw[: 4 * n_tokens], "<f4")
    whole = np.frombuffer(raw[4 * n_tokens :], "<i2").reshape(n_tokens, -1)
    return whole * steps[:, None]


def test_two_texts_are_read_with_one_run(studio: Studio) -> None:
    run = train_once(studio)
    texts = (TEXT, "I feel calm and afraid.")
    compared = last(studio, asked("texts", texts, "user", (run, "")))
    found = shown(compared, (0, 1))
    assert "where both have the same token" in found["about"]
    assert compared.names == tuple(f"“{text}”" for text in texts)
    assert [side["best"] for side in found["sides"]] == [0, 0]  # one model, one layer
    ours, theirs = (side["tokens"] for side in found["sides"])
    assert len(ours) == len(theirs)
    assert "" in ours + theirs


def test_two_branches_are_two_chats(studio: Studio) -> None:
    run = train_once(studio)
    turns = [{"role": "user", "text": "How are you?"}]
    first, second = (
        {"mode": "chat", "turns": [*turns, {"role": "assistant", "text": text}]}
        for text in ("calm", "sad")
    )
    question = Compare.model_validate(
        {"chat": PAGE, "way": "texts", "first": first, "second": second, "runs": [run, ""]}
    )
    compared = last(studio, question)
    assert compared.names == ("“How are you? calm”", "“How are you? sad”")
    assert shown(compared, (-1, -1))["difference"] is not None


def test_long_texts_are_quoted_from_where_they_part() -> None:
    same = "word " * 30
    assert quote_apart(same + "left", same + "right") == (
        "“… word word word left”",
        "“… word word word right”",
    )
    assert quote_apart("one", "two") == ("“one”", "“two”")
    assert quote_apart("", same)[1].endswith("…”")


def test_another_model_is_loaded_for_its_side_and_the_one_in_use_stays(
    studio: Studio, tmp_path: Path
) -> None:
    run = train_once(studio)
    spelling = save_spelling_model(tmp_path / "spelling")
    other = train_other_model(studio.folder, tmp_path / "runs", spelling)
    choices = run_choices(studio, "models", (None, None))
    assert (choices.values, choices.notice) == ((run, other), "")
    spec = model_of(studio.runs.open(other), str(spelling), studio.options)
    assert "GiB that are free" in room_words(spec)
    question = asked("models", (TEXT, ""), "assistant", (run, other), str(spelling))
    compared = last(studio, question)
    found = shown(compared, (1, 2))
    assert "by the characters" in found["about"]
    assert found["difference"]
    assert [side["best"] for side in found["sides"]] == [1, 2]
    assert studio.read(TEXT, "assistant").tokens == compared.first.tokens

    # The manifest of a local model has no path, and another folder is not the run's model.
    for location, reason in (("", "a local folder"), (studio.options.model, "tiny-llama")):
        question = asked("models", (TEXT, ""), "assistant", (run, other), location)
        with pytest.raises(UserError, match=reason):
            last(studio, question)


@pytest.mark.parametrize(
    ("way", "texts", "runs", "told"),
    [
        ("runs", (" ", ""), ("a", "b"), "nothing to read in text A"),
        ("runs", ("x", ""), ("a", "a"), "A and B are the same run"),
        ("texts", ("x", ""), ("a", ""), "nothing to read in text B"),
        ("runs", ("x", ""), ("a", ""), "two runs are needed"),
    ],
)
def test_what_is_missing_is_said(
    way: Any, texts: tuple[str, str], runs: tuple[str, str], told: str
) -> None:
    question = asked(way, texts, "user", runs)
    with pytest.raises(UserError, match=told):
        _ = question.texts(), question.run_ids()
