"""New texts in Judge, driven without a page, over a tiny model."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from readout_ui.app.events import AWAY, Changes, Values, components
from readout_ui.app.judge.generalization import (
    GeneralizationTab,
)
from readout_ui.app.judge.generalization_run import (
    SOURCES,
    Brought,
    Request,
    bring,
    judge_dose,
    judge_request,
    judge_words,
    mapping_from,
)
from readout_ui.app.judge.judged import (
    draw_concepts,
    draw_dose_table,
    draw_forest,
    draw_misses,
    draw_summary,
    draw_words,
)
from readout_ui.app.judge.kept import KeptTexts, keep_texts, read_kept
from readout_ui.app.session import Studio
from readout_ui.app.status import StudioOptions
from readout_ui.errors import UserError
from readout_ui.evaluation.generalization import judge
from readout_ui.evaluation.judgements import Miss, coverage
from readout_ui.runs.store import JUDGED_FILE
from readout_ui.texts.labelled import IGNORE, NEUTRAL
from readout_ui.texts.library import Library
from tests.support.scored_texts import QUICK, scored
from tests.support.studios import small_studio

gr = pytest.importorskip("gradio")
CONCEPTS = ("afraid", "angry", "calm", "happy")
PASTED = "\n".join(
    f"{label}: {text}"
    for label, text in (
        ("calmness", "The lake lay still."),
        ("calmness", "Nothing has to be done today."),
        ("anger", "He took my seat <b>again</b>!"),
        ("anger", "Angry words were all I had."),
        ("odd", "A chair is a chair."),
    )
)


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    with small_studio(tmp_path_factory.mktemp("tab")) as studio:
        yield studio


@pytest.fixture
def untrained(tmp_path: Path, descriptions: Path) -> Iterator[Studio]:
    studio = Studio(StudioOptions(descriptions, tmp_path / "runs", report=False))
    yield studio
    studio.close()


def built(studio: Studio) -> GeneralizationTab:
    with gr.Blocks():
        return GeneralizationTab(studio)


def pasted(
    studio: Studio, tab: GeneralizationTab, text: str = PASTED, before: Brought | None = None
) -> Changes:
    inputs = tab.inputs
    values: Values = {
        inputs.brought: before or inputs.brought.value,
        inputs.source: "paste",
        inputs.parts: [],
        inputs.pasted: text,
        inputs.files: None,
    }
    return inputs.show_brought(values)


def pasted_request(studio: Studio, **changes: Any) -> Request:
    tab = built(studio)
    inputs, shown = tab.inputs, pasted(studio, tab)
    text, labels = shown[inputs.text]["value"], shown[inputs.labels]["value"]
    request = Request(shown[inputs.brought], text, labels, shown[inputs.mapping], 0, 0.8, "")
    return replace(request, **changes)


def test_the_same_texts_looked_at_twice_leave_the_columns_as_they_were_chosen(
    studio: Studio,
) -> None:
    tab = built(studio)
    brought = pasted(studio, tab)[tab.inputs.brought]
    assert pasted(studio, tab, before=brought) == {}
    assert pasted(studio, tab, PASTED + "\ncalm: One more.", brought) != {}


def test_pasted_texts_show_columns_and_suggested_concepts(studio: Studio) -> None:
    tab = built(studio)
    inputs, shown = tab.inputs, pasted(studio, tab)
    assert "5 texts" in shown[inputs.about]
    assert shown[inputs.text]["value"] == "text"
    assert shown[inputs.labels]["value"] == ["label"]
    assert shown[inputs.columns]["elem_classes"] == []
    assert [row[:3] for row in shown[inputs.mapping]] == [
        ["calmness", 2, "calm"],
        ["anger", 2, "angry"],
        ["odd", 1, IGNORE],
    ]


def test_what_cannot_be_read_is_told_beside_it_and_kept_from_judging(studio: Studio) -> None:
    tab = built(studio)
    shown = pasted(studio, tab, '[{"text": 1')
    assert "this is not JSON" in shown[tab.inputs.about]
    assert tab.inputs.mapping not in shown
    with pytest.raises(UserError, match="this is not JSON"):
        judge_request(studio, pasted_request(studio, brought=shown[tab.inputs.brought]))


def test_files_are_read_together(studio: Studio, tmp_path: Path) -> None:
    for name in ("calm", "angry"):
        (tmp_path / f"{name}.json").write_text(json.dumps([f"A {name} one.", f"So {name}."]))
    brought = bring("files", [], "", [str(path) for path in tmp_path.glob("*.json")])
    assert len(brought.texts("text", ["label"])) == 4


def test_what_stands_in_the_table_is_what_counts(studio: Studio) -> None:
    request = pasted_request(studio)
    edited = [
        [row[0], row[1], "neutral" if row[0] == "odd" else row[2], ""] for row in request.mapping
    ]
    found = judge_request(studio, replace(request, mapping=edited))
    assert found.concepts == ("angry", "calm")
    assert len(found.neutral_scores) == 1
    assert mapping_from(edited, CONCEPTS)["odd"] == NEUTRAL


def test_the_same_question_is_answered_once(studio: Studio) -> None:
    request = pasted_request(studio)
    assert judge_request(studio, request) is judge_request(studio, request)
    assert judge_request(studio, replace(request, layer=1)) is not judge_request(studio, request)


def test_the_shipped_set_needs_no_mapping(studio: Studio) -> None:
    request = Request(Brought("shipped", ("situations",)), None, [], [], 0, 0.8, "")
    found = judge_request(studio, request)
    assert found.concepts == CONCEPTS
    assert len(found.texts) == 24
    assert len(found.neutral_scores) == 48
    tab = built(studio)
    inputs = tab.inputs
    values: Values = {
        inputs.brought: request.brought,
        inputs.text: None,
        inputs.labels: [],
        inputs.mapping: [],
        inputs.layer: 0,
        inputs.recall: 0.8,
        inputs.threshold: "",
    }
    drawn = tab.judge(values)
    assert drawn[tab.found.state] is found
    assert set(drawn) <= set(components(tab.found, tab.shown))
    assert_kept(studio, tab, drawn)


def assert_kept(studio: Studio, tab: GeneralizationTab, drawn: Changes) -> None:
    """Another session without a model shows the same numbers, with what judged them and when."""
    later = Studio(studio.options)
    try:
        fresh = built(later)
        again = fresh.refresh("")
        for each in ("summary", "table", "misses"):
            assert again[getattr(fresh.found, each)] == drawn[getattr(tab.found, each)]
        summary = again[fresh.found.summary]
        assert "test set of the emotions (situations)" in summary
        assert f"judged by run {studio.runs.title(studio.run())} at layer 0 on 20" in summary
        assert again[fresh.found.judged.results].elem_classes == []
        assert "press Judge" in again[fresh.found.no_scores]
        assert fresh.refresh(again[fresh.shown]) == {}
    finally:
        later.close()


def test_several_judgements_are_kept_and_one_of_them_is_chosen(studio: Studio) -> None:
    tab, run = built(studio), studio.run()
    found = judge_request(studio, pasted_request(studio))
    for what in ("a.csv", "b.csv", "a.csv"):
        keep_texts(studio, run.id, KeptTexts.of(found, what))
    names = [each.name() for each in read_kept(studio).texts]
    assert [name.split(",")[0] for name in names][:2] == ["a.csv", "b.csv"]
    assert "b.csv" in tab.show_before(names[1])[tab.found.summary]
    with pytest.raises(UserError, match="not kept any more"):
        tab.show_before("c.csv")


def test_a_concept_without_texts_or_with_few_is_named(studio: Studio) -> None:
    found = judge_request(studio, pasted_request(studio))
    assert "No text judges afraid, happy." in found.notes
    assert coverage(("a", "b", "c", "d"), (8, 4, 9, 0)) == (
        "No text judges d.",
        "Judged by at most half as many texts as the others: b (4).",
    )
    assert coverage(("a", "b"), (8, 5)) == ()


def test_the_test_set_of_either_shipped_library_can_be_chosen() -> None:
    for source in ("shipped:emotions", "shipped:stances"):
        texts = bring(source, ["dialogue"], "", None).texts(None, ())
        library = Library(source)
        assert {label for text in texts for label in text.labels} == {*library.names(), "neutral"}
        assert source in SOURCES.values()


def test_words_and_dose_are_judged_too(studio: Studio) -> None:
    words = judge_words(studio, pasted_request(studio))
    assert words.n_named == 1
    assert "1 texts hold" in draw_words(words)
    curves = judge_dose(studio, "It was {x} degrees.", "30, 10, 20, 40", 0)
    assert curves.values == ("10", "20", "30", "40")
    assert "10 → 40" in draw_dose_table(curves)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"threshold": "much"}, "'much' is no number"),
        ({"layer": None}, "no layer is chosen"),
        ({"text_column": "other"}, "no column 'other'"),
        ({"mapping": [["calmness", "2", "clam", ""]]}, "no concept 'clam'"),
        ({"brought": Brought("paste")}, "no texts yet"),
        ({"brought": Brought("shipped", ())}, "no part of the shipped set"),
    ],
)
def test_a_choice_that_makes_no_sense_is_told_in_a_sentence(
    studio: Studio, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        judge_request(studio, pasted_request(studio, **changes))


def test_without_a_run_the_tab_says_what_to_do(untrained: Studio) -> None:
    tab = built(untrained)
    assert "press Train first" in tab.found.judged.notice.value
    notice = tab.refresh("another")[tab.found.judged.notice]
    assert "press Train first" in notice
    with pytest.raises(UserError, match="press Train first"):
        judge_request(untrained, Request(Brought("shipped"), None, [], [], 0, 0.8, ""))


def test_with_another_run_its_own_judgements_are_shown(studio: Studio) -> None:
    tab, run = built(studio), studio.run()
    (studio.runs.folder / run.id / JUDGED_FILE).unlink(missing_ok=True)
    changes = tab.refresh("another")
    assert set(changes) <= set(components(tab))
    assert changes[tab.shown] == run.id
    assert tab.refresh(run.id) == {}
    assert changes[tab.inputs.layer]["choices"] == list(run.layers)
    assert "afraid, angry, calm, happy" in changes[tab.inputs.mapping]["label"]
    assert "nothing judged yet" in changes[tab.found.judged.notice].lower()
    assert changes[tab.found.judged.results].elem_classes == AWAY


def test_an_unreadable_file_is_one_sentence(studio: Studio) -> None:
    tab, file = built(studio), studio.runs.folder / studio.run().id / JUDGED_FILE
    file.write_text("{")
    changes = tab.refresh("another")
    assert "What was judged before cannot be read" in changes[tab.found.judged.notice]
    keep_texts(
        studio,
        studio.run().id,
        KeptTexts.of(judge_request(studio, pasted_request(studio)), "a.csv"),
    )
    assert tab.refresh("another")[tab.found.judged.notice] == ""


def test_tables_hold_texts_and_names_as_text(studio: Studio) -> None:
    found = judge_request(studio, pasted_request(studio))
    drawn = draw_misses(found.misses) + draw_concepts(found.per_concept)
    drawn += draw_summary(KeptTexts.of(found, "<b>again.csv"), "<b>again")
    assert "<b>again" not in drawn
    planted = KeptTexts.of(judge(scored(0, 3.0), QUICK, ["<script>"]), "a.csv")
    assert "<script>" not in draw_summary(planted, "run")
    assert "Bag of words" in draw_summary(planted, "run")
    assert "as by chance" in draw_concepts(judge(scored(1, 0.0), QUICK).per_concept)


def test_the_lines_of_concepts_are_to_scale_and_those_beyond_forty_are_opened() -> None:
    found = judge(scored(0, 3.0), QUICK)
    drawn = draw_forest(found.macro, found.per_concept)
    lowest = min(found.per_concept, key=lambda each: each.auroc.value)
    start = min(0.4, found.macro.auroc.low, *(each.auroc.low for each in found.per_concept))
    rows = drawn.split("<tr>")[1:]
    assert "Mean of all" in rows[0]
    assert lowest.concept in rows[1]
    assert f"left:{(lowest.auroc.value - start) / (1 - start):.2%}'></span></div>" in rows[1]
    assert ("dot hollow" in rows[1]) is (lowest.p >= 0.05)
    assert "<details>" not in drawn
    many = draw_forest(found.macro, (lowest,) * 60)
    assert many.partition("<details>")[0].count("<tr>") == 1 + 40
    assert "The other 20 concepts" in many


def test_a_miss_can_be_read_and_become_a_description() -> None:
    drawn = draw_misses([Miss("This & <b>that</b>?", ("calm",), 0.1, "sad", 0.3)])
    assert "<b>that" not in drawn
    assert "href='#/read?text=This%20%26%20%3Cb%3Ethat%3C/b%3E%3F'" in drawn
    assert "href='#/write/calm?draft=This%20%26" in drawn
