"""The Compare tab over tiny models: empty at first, then two runs, two prompts, two models."""

import base64
import json
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from readout_ui.app.events import Changes, Values, components
from readout_ui.app.follow import Follower
from readout_ui.app.session import Studio
from readout_ui.app.status import StudioOptions
from readout_ui.app.tabs.compare import (
    CompareTab,
)
from readout_ui.app.tabs.compare_run import (
    MODELS,
    PROMPTS,
    RUNS,
    Asked,
    model_of,
    quote_apart,
    read_both,
    room_words,
    run_choices,
)
from readout_ui.app.tabs.compare_view import Compared, Drawn, Look, draw_comparison
from readout_ui.errors import UserError
from tests.support.compared_runs import save_spelling_model, train_once, train_other_model
from tests.support.tiny_model import save_tiny_model

gr = pytest.importorskip("gradio")
LOOK = Look("z", 0, 0, "difference", [])
TEXT = "I feel calm and warm."


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


def last(studio: Studio, asked: Asked) -> Compared:
    return read_both(studio, asked).result()


def drawn_of(compared: Compared, **changes: Any) -> Drawn:
    return draw_comparison(compared, replace(LOOK, **changes))


@pytest.fixture
def tab(studio: Studio) -> CompareTab:
    with gr.Blocks():
        return CompareTab(studio)


def on_screen(tab: CompareTab, **typed: Any) -> Values:
    """Everything that is asked and how it is shown, as it is at first but for what was typed."""
    asked = {"way": RUNS, "mode": "user", "first_text": "", "second_text": "", "location": ""}
    asked |= {"first_run": None, "second_run": None} | typed
    values: Values = {getattr(tab.question, name): value for name, value in asked.items()}
    return values | {
        getattr(tab.answer, field.name): getattr(LOOK, field.name) for field in fields(LOOK)
    }


def told(studio: Studio, tab: CompareTab, **typed: Any) -> str:
    """What stands beside the button in the end."""
    question = tab.question
    follower = Follower(studio.worker, question.notice, question.stop, [question.go])
    values = on_screen(tab, **typed)
    *_, end = follower.follow("me", lambda: tab.compare(values))
    words: str = end[question.notice]
    return words


def test_each_empty_state_says_what_to_do(studio: Studio, tab: CompareTab) -> None:
    assert "Press Train" in run_choices(studio, RUNS, (None, None)).notice
    train_once(studio)
    assert "press Retrain" in run_choices(studio, RUNS, (None, None)).notice
    assert "another --model" in run_choices(studio, MODELS, (None, None)).notice
    assert run_choices(studio, PROMPTS, (None, None)).notice == ""
    refreshed = tab.question.refresh(on_screen(tab))
    assert refreshed[tab.question.go].interactive is False


def test_two_runs_are_the_newest_first_and_a_choice_stays(studio: Studio) -> None:
    old, new = retrained(studio)
    assert run_choices(studio, RUNS, (None, None)).values == (new, old)
    assert run_choices(studio, RUNS, (old, new)).values == (old, new)
    assert run_choices(studio, RUNS, ("gone", None)).values == (new, old)


def test_two_runs_read_one_prompt_by_position(studio: Studio) -> None:
    runs = retrained(studio)
    compared = last(studio, Asked(RUNS, (TEXT, ""), "assistant", runs))
    drawn = drawn_of(compared)
    assert "position by position" in drawn.about
    assert "Only one side has: happy" in drawn.about
    assert all((*drawn.maps, drawn.difference, drawn.lines))


def test_two_prompts_are_read_with_one_run(studio: Studio) -> None:
    run = train_once(studio)
    texts = (TEXT, "I feel calm and afraid.")
    compared = last(studio, Asked(PROMPTS, texts, "user", (run, "")))
    assert "where both have the same token" in drawn_of(compared, order="peak").about
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
    drawn = drawn_of(compared, order="peak")
    header_places = [opens_at(packed) for packed in (*drawn.maps, drawn.difference)]
    assert len(set(header_places)) == 1
    tokens = compared.first.tokens
    parts = next(
        i for i, (a, b) in enumerate(zip(tokens, compared.second.tokens, strict=False)) if a != b
    )
    assert header_places[0] == tokens[parts - 3]
    same = last(studio, Asked(PROMPTS, (begin, begin), "user", (run, "")))
    first = next(i for i, counts in enumerate(same.first.scored) if counts)
    shown = drawn_of(same, order="peak").maps[0]
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
    compared = last(studio, asked)
    drawn = drawn_of(compared, kind="cosine", layer=1, other_layer=2, lines=["calm"])
    assert "by the characters" in drawn.about
    assert drawn.difference
    assert "layer 2" in drawn.heads[1]
    assert studio.read(TEXT, "assistant").tokens == compared.first.tokens

    # The manifest of a local model has no path, and another folder is not the run's model.
    for location, reason in (("", "a local folder"), (studio.options.model, "tiny-llama")):
        asked = Asked(MODELS, (TEXT, ""), "assistant", (run, other), location)
        with pytest.raises(UserError, match=reason):
            last(studio, asked)


def test_what_is_missing_is_said_beside_the_button(studio: Studio, tab: CompareTab) -> None:
    run = train_once(studio)
    both = {"first_run": run, "second_run": run}
    assert "nothing to read in prompt A" in told(studio, tab, first_text=" ", **both)
    assert "same run" in told(studio, tab, first_text="x", **both)
    assert "prompt B" in told(studio, tab, way=PROMPTS, first_text="x", first_run=run)
    with pytest.raises(UserError, match="two runs are needed"):
        Asked(RUNS, ("x", ""), "user", (run, ""))


def test_a_page_that_closes_takes_its_waiting_jobs_along(studio: Studio, tab: CompareTab) -> None:
    import threading

    runs = retrained(studio)
    gate = threading.Event()
    studio.worker.submit("hold", "Something long", lambda _report: gate.wait(30))
    values = on_screen(tab, first_text=TEXT, first_run=runs[0], second_run=runs[1])
    question = tab.question
    follower = Follower(studio.worker, question.notice, question.stop, [question.go])
    watching = follower.follow("me", lambda: tab.compare(values))
    try:
        assert "1 job before this one: Something long" in next(watching)[question.notice]
        watching.close()  # type: ignore[attr-defined]
        assert [job.kind for job in studio.worker.unfinished()] == ["hold"]
    finally:
        gate.set()


def test_what_was_read_fills_the_page_and_settles_the_choices(
    studio: Studio, tab: CompareTab
) -> None:
    first, second = retrained(studio)
    values = on_screen(tab, first_text=TEXT, first_run=first, second_run=second)
    task = tab.compare(values)
    shown = task.show(task.job.result())
    assert set(shown) <= set(components(tab.answer))
    assert shown[tab.answer.layer].value == studio.runs.open(first).best_layer
    assert shown[tab.answer.lines].value
    assert tab.answer.redraw(values | {tab.answer.compared: None}) == {}


def test_a_very_long_prompt_is_sent_in_stretches(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = train_once(studio)
    texts = ("so " * 60, "so " * 70)
    compared = last(studio, Asked(PROMPTS, texts, "raw", (run, "")))
    whole = drawn_of(compared, order="peak")
    monkeypatch.setattr("readout_ui.plots.score_map.MAX_CELLS", 80)
    part = drawn_of(compared, order="peak", middle=40)
    assert len(part.maps[0]) < len(whole.maps[0])


def sent(**data: object) -> Any:
    """What a map sends."""
    return gr.EventData(None, data)


def test_clicking_a_name_draws_its_line_and_takes_it_away_again(tab: CompareTab) -> None:
    lines, middle = tab.answer.lines, tab.answer.middle

    def click(shown: list[str], **data: object) -> Changes:
        return tab.answer.click_map({lines: shown, middle: 3}, sent(**data))

    assert click(["calm"], concept="sad") == {lines: ["calm", "sad"]}
    assert click(["calm", "sad"], concept="calm") == {lines: ["sad"]}
    assert click(["calm"], middle=9) == {middle: 9}
    assert click(list("abcdef"), concept="g") == {lines: list("bcdefg")}


def test_the_tab_is_built_with_nothing_there_and_fills_what_it_says(studio: Studio) -> None:
    with gr.Blocks() as app, gr.Tabs(), gr.Tab("Compare") as page:
        tab = CompareTab(studio)
    refreshed = tab.question.refresh(on_screen(tab))
    assert set(refreshed) <= set(components(tab.question))
    assert (page._id, "select") in {target for fn in app.fns.values() for target in fn.targets}
