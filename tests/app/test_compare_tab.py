"""The Compare tab over tiny models: empty at first, then two runs, two prompts, two models."""

import base64
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from readout_ui.app.other_model import model_of, room_words
from readout_ui.app.session import Studio
from readout_ui.app.status import StudioOptions
from readout_ui.app.tabs.compare import build_compare_tab, clicked_map, read_both, refresh_compare
from readout_ui.app.tabs.compare_run import (
    MODELS,
    PROMPTS,
    RUNS,
    Asked,
    quote_apart,
    run_choices,
    watch_reading,
)
from readout_ui.app.tabs.compare_view import Compared, Look, draw_comparison
from readout_ui.errors import UserError
from tests.support.compared_runs import save_spelling_model, train_once, train_other_model
from tests.support.tiny_model import save_tiny_model

gr = pytest.importorskip("gradio")
LOOK = Look("z", 0, 0, "difference", [])
TEXT = "I feel calm and warm."
N_OUTPUTS = 17


@pytest.fixture
def studio(tmp_path: Path, descriptions: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Studio]:
    monkeypatch.setenv("READOUT_UI_CACHE", str(tmp_path / "cache"))
    model = save_tiny_model(tmp_path / "tiny-llama")
    studio = Studio(StudioOptions(descriptions, tmp_path / "runs", model=str(model)))
    yield studio
    studio.close()


def retrained(studio: Studio) -> tuple[str, str]:
    """Two runs, the newer one without a concept."""
    first = train_once(studio)
    (studio.folder / "happy.txt").unlink()
    return first, studio.start_training().result().id


def last(studio: Studio, asked: Asked) -> Compared:
    news = list(watch_reading(studio, asked))[-1]
    assert isinstance(news, Compared)
    return news


def ends(studio: Studio, *values: Any) -> tuple[Any, ...]:
    return list(read_both(studio, values, LOOK, N_OUTPUTS))[-1]


def test_each_empty_state_says_what_to_do(studio: Studio) -> None:
    assert "Press Train" in run_choices(studio, RUNS, (None, None)).notice
    train_once(studio)
    assert "press Retrain" in run_choices(studio, RUNS, (None, None)).notice
    assert "another --model" in run_choices(studio, MODELS, (None, None)).notice
    assert run_choices(studio, PROMPTS, (None, None)).notice == ""
    assert refresh_compare(studio, RUNS, None, None)[5].interactive is False


def test_two_runs_are_the_newest_first_and_a_choice_stays(studio: Studio) -> None:
    old, new = retrained(studio)
    assert run_choices(studio, RUNS, (None, None)).values == (new, old)
    assert run_choices(studio, RUNS, (old, new)).values == (old, new)
    assert run_choices(studio, RUNS, ("gone", None)).values == (new, old)


def test_two_runs_read_one_prompt_by_position(studio: Studio) -> None:
    runs = retrained(studio)
    compared = last(studio, Asked(RUNS, (TEXT, ""), "assistant", runs))
    drawn = draw_comparison(compared, "z", 1, 1, "difference", [], 0)
    assert "position by position" in drawn.about
    assert "Only one side has: happy" in drawn.about
    assert all((*drawn.maps, drawn.difference, drawn.lines))


def test_two_prompts_are_read_with_one_run(studio: Studio) -> None:
    run = train_once(studio)
    texts = (TEXT, "I feel calm and afraid.")
    compared = last(studio, Asked(PROMPTS, texts, "user", (run, "")))
    assert (
        "where both have the same token" in draw_comparison(compared, "z", 1, 1, "peak", []).about
    )
    assert compared.names == tuple(f"“{text}”" for text in texts)


def opens_at(packed: str) -> str:
    """The token at the left edge of a map when it appears."""
    raw = base64.b64decode(packed)
    header = json.loads(raw[4 : 4 + int.from_bytes(raw[:4], "little")])
    token: str = header["tokens"][header["opens"]]
    return token


def test_maps_open_shortly_before_two_prompts_part_and_else_where_the_text_begins(
    studio: Studio,
) -> None:
    run = train_once(studio)
    begin = "a b c d e f g h " * 4
    compared = last(studio, Asked(PROMPTS, (begin + "1", begin + "2"), "raw", (run, "")))
    drawn = draw_comparison(compared, "z", 1, 1, "peak", [])
    header_places = [opens_at(packed) for packed in (*drawn.maps, drawn.difference)]
    assert len(set(header_places)) == 1
    tokens = compared.first.tokens
    parts = next(
        i for i, (a, b) in enumerate(zip(tokens, compared.second.tokens, strict=False)) if a != b
    )
    assert header_places[0] == tokens[parts - 3]
    same = last(studio, Asked(PROMPTS, (begin, begin), "user", (run, "")))
    first = next(i for i, counts in enumerate(same.first.scored) if counts)
    shown = draw_comparison(same, "z", 1, 1, "peak", []).maps[0]
    assert opens_at(shown) == same.first.tokens[first]


def test_long_prompts_are_quoted_from_where_they_part() -> None:
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
    choices = run_choices(studio, MODELS, (None, None))
    assert (choices.values, choices.notice) == ((run, other), "")
    spec = model_of(studio.runs.open(other), str(spelling), studio.options)
    assert "GiB that are free" in room_words(spec)
    asked = Asked(MODELS, (TEXT, ""), "assistant", (run, other), str(spelling))
    news = list(watch_reading(studio, asked))
    compared = news[-1]
    assert isinstance(compared, Compared)
    drawn = draw_comparison(compared, "cosine", 1, 2, "difference", ["calm"], 0)
    assert "by the characters" in drawn.about
    assert drawn.difference
    assert "layer 2" in drawn.heads[1]
    assert studio.read(TEXT, "assistant").tokens == compared.first.tokens

    # The manifest of a local model has no path, and another folder is not the run's model.
    for location, told in (("", "a local folder"), (studio.options.model, "tiny-llama")):
        words = ends(studio, MODELS, TEXT, "", "assistant", run, other, location)[1]
        assert "failed" in words
        assert told in words


def test_what_is_missing_is_said_beside_the_button(studio: Studio) -> None:
    run = train_once(studio)
    assert "nothing to read in prompt A" in ends(studio, RUNS, " ", "", "user", run, run, "")[1]
    assert "same run" in ends(studio, RUNS, "x", "", "user", run, run, "")[1]
    assert "prompt B" in ends(studio, PROMPTS, "x", "", "user", run, None, "")[1]
    with pytest.raises(UserError, match="two runs are needed"):
        Asked(RUNS, ("x", ""), "user", (run, ""))


def test_a_page_that_closes_takes_its_waiting_jobs_along(studio: Studio) -> None:
    import threading

    runs = retrained(studio)
    gate = threading.Event()
    studio.worker.submit("hold", "Something long", lambda _report: gate.wait(30))
    watching = watch_reading(studio, Asked(RUNS, (TEXT, ""), "user", runs))
    try:
        assert next(watching) == "Waiting: 1 job before this one: Something long."
        watching.close()  # type: ignore[attr-defined]
        assert [job.kind for job in studio.worker.unfinished()] == ["hold"]
    finally:
        gate.set()


def test_a_very_long_prompt_is_sent_in_stretches(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = train_once(studio)
    texts = ("so " * 60, "so " * 70)
    compared = last(studio, Asked(PROMPTS, texts, "raw", (run, "")))
    whole = draw_comparison(compared, "z", 1, 1, "peak", [], 0)
    monkeypatch.setattr("readout_ui.plots.score_map.MAX_CELLS", 80)
    part = draw_comparison(compared, "z", 1, 1, "peak", [], 40)
    assert len(part.maps[0]) < len(whole.maps[0])


def sent(**data: object) -> Any:
    """What a map sends."""
    return gr.EventData(None, data)


def test_clicking_a_name_draws_its_line_and_takes_it_away_again() -> None:
    assert clicked_map(["calm"], 3, sent(concept="sad")) == (["calm", "sad"], 3)
    assert clicked_map(["calm", "sad"], 3, sent(concept="calm")) == (["sad"], 3)
    assert clicked_map(["calm"], 3, sent(middle=9)) == (["calm"], 9)
    full = clicked_map(list("abcdef"), 0, sent(concept="g"))[0]
    assert full == list("bcdefg")


def test_the_tab_is_built_with_nothing_there_and_fills_what_it_says(studio: Studio) -> None:
    with gr.Blocks() as app, gr.Tabs(), gr.Tab("Compare") as page:
        tab = build_compare_tab(studio)
    assert len(tab.refreshed) == len(refresh_compare(studio, RUNS, None, None))
    assert (page._id, "select") in {target for fn in app.fns.values() for target in fn.targets}
    sizes = {len(fn.outputs) for fn in app.fns.values()}
    assert N_OUTPUTS in sizes
    assert replace(LOOK, kind="cosine").kind == "cosine"
