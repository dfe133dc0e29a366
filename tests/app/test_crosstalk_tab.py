"""Cross-talk over a tiny model: what its script is answered, and what the parts below say."""

from __future__ import annotations

from base64 import b64decode, b64encode
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from readout_ui.app.events import components
from readout_ui.app.judge.crosstalk import (
    CrosstalkTab,
    cosines_answer,
    crosstalk_calls,
    draw_confusions,
    draw_map_note,
    draw_redundancy,
    map_points,
    response_cells,
)
from readout_ui.app.judge.pairs import marked, shared_words
from readout_ui.app.session import Studio
from readout_ui.evaluation.crosstalk import cosines_of
from readout_ui.evaluation.held_out import held_out_matrix
from readout_ui.evaluation.redundancy import concept_map, redundancy
from readout_ui.evaluation.results import umap_installed
from readout_ui.runs.report import PairReport
from tests.support.planted_corpus import make_corpus
from tests.support.reports import make_report

gr = pytest.importorskip("gradio")

PLANTED = make_corpus((8,) * 6, strength=1.0, copies={4: 1})
PAIR = PairReport("calm", "happy", 0.5, 0.1, 0.6, "confused")


def asked(studio: Studio, name: str, **details: Any) -> dict[str, Any]:
    """What a server function answers."""
    call = next(each for each in crosstalk_calls(studio) if each.__name__ == name)
    return call(details)


def test_before_any_run_the_tab_says_what_to_do(studio: Studio) -> None:
    with gr.Blocks():
        tab = CrosstalkTab(studio)
    assert "Press Train first" in tab.page.value or "press Train first" in tab.page.value
    assert set(tab.refresh("another")) <= set(components(tab))
    assert "press Train first" in asked(studio, "crosstalk_cosines")["message"]


def test_the_cosines_of_all_layers_come_at_once_and_are_those_of_the_run(trained: Studio) -> None:
    run, answer = trained.run(), cosines_answer(trained)
    names, n = answer["order"], len(run.concepts)
    assert sorted(names) == sorted(run.concepts)
    packed = np.frombuffer(b64decode(answer["cosines"]), "<i2").reshape(-1, n * (n - 1) // 2)
    assert len(packed) == len(run.layers) + 1
    order = [run.concepts.index(name) for name in names]
    every = []
    for layer, row in zip(run.layers, packed, strict=False):
        expected = cosines_of(run.vectors, layer)[np.ix_(order, order)][np.triu_indices(n, k=1)]
        assert row / 10_000 == pytest.approx(expected, abs=1e-4)
        every.append(expected)
    assert packed[-1] / 10_000 == pytest.approx(np.mean(every, axis=0), abs=1e-4)


def test_pairs_are_the_reports_at_its_layer_and_worked_out_elsewhere(trained: Studio) -> None:
    run = trained.run()
    report = make_report(run.id, layer=run.best_layer, pairs=(PAIR,), order=run.concepts)
    trained.runs.keep_report(report)
    known = asked(trained, "crosstalk_pairs", layer=run.best_layer)["pairs"]
    assert known == [["calm", "happy", 0.5, 0.1, 0.6, "confused"]]
    other = next(layer for layer in run.layers if layer != run.best_layer)
    for layer in (other, None):
        found = asked(trained, "crosstalk_pairs", layer=layer)
        assert found["ok"] is True
        assert found["pairs"] != known
        assert all({a, b} <= set(run.concepts) for a, b, *_ in found["pairs"])


@pytest.mark.parametrize(
    ("part", "words"),
    [
        ("responses", "score highest on their own concept"),
        ("redundancy", "R2 from the others"),
        ("map", "concepts share a colour"),
        ("space", "Logit lens"),
    ],
)
def test_every_part_below_the_matrix_is_worked_out(trained: Studio, part: str, words: str) -> None:
    found = asked(trained, "crosstalk_part", part=part, layer=1, plane="pca")
    assert words in found["html"]
    assert ("matrix" in found, "map" in found) == (part == "responses", part == "map")


def test_ratings_that_are_no_table_of_the_runs_concepts_are_refused(trained: Studio) -> None:
    for written, message in {
        "concept,valence\ncalm,1\n": "of the run's concepts are rated",
        "name,valence\ncalm,1\n": "there is no column 'concept'",
        "": "own.csv",
    }.items():
        sent = {"file_name": "own.csv", "content": b64encode(written.encode()).decode()}
        found = asked(trained, "crosstalk_part", part="space", layer=1, plane="pca", ratings=sent)
        assert found["ok"] is False
        assert message in found["message"]


def test_a_run_without_its_texts_says_what_it_has_not(trained: Studio) -> None:
    bare = replace(trained.run(), texts={}, id="bare")
    trained.run = lambda: bare  # type: ignore[method-assign]
    assert asked(trained, "crosstalk_cosines")["ok"] is True
    message = asked(trained, "crosstalk_pairs", layer=1)["message"]
    assert "the run in use has none" in message


def test_sentences_count_what_the_pictures_show() -> None:
    held_out = held_out_matrix(PLANTED, 0, 40)
    confusions, cells = draw_confusions(held_out), response_cells(held_out)
    assert f"<b>{held_out.top1.value:.0%}</b>" in confusions
    assert "<b>c1</b> is taken for <b>c4</b>" in confusions
    row, column = (cells["names"].index(name) for name in ("c1", "c4"))
    assert abs(row - column) == 1  # alike ones side by side
    assert [row, column] in cells["marked"]
    assert cells["cells"][row * 6 + column] == pytest.approx(held_out.mean[1, 4], abs=1e-3)
    table = draw_redundancy(redundancy(PLANTED, 0, 40))
    assert table.index("<b>c1</b>") < table.index("<b>c0</b>")
    assert "data-csv='redundancy'" in table
    found = concept_map(PLANTED, 0)
    assert "<b>1 cluster</b>" in draw_map_note(found)
    assert map_points(found)["cluster"].count(0) == 2


def test_without_umap_the_map_says_how_to_get_it() -> None:
    points = map_points(concept_map(PLANTED, 0))
    assert points["planes"] == (["pca", "umap"] if umap_installed() else ["pca"])
    assert ("pip install umap-learn" in points["about"]) is not umap_installed()


def test_lone_descriptions_are_explained() -> None:
    alone = held_out_matrix(make_corpus((1, 1, 1)), 0, 10)
    assert "none can be held out" in draw_confusions(alone)
    assert np.isnan(alone.top1.value)


TEXTS = {
    "proud": ("I know I can. My back is straight.", "Nobody carries this crown but me."),
    "confident": ("Today I know I can: Crown or not.", "It will work."),
    "calm": ("My breath is slow.",),
    "sad": ("Nothing will help me.",),
    "_neutral": ("I can read the list.",),
}


def test_shared_words_are_those_of_both_that_neither_neutral_texts_nor_many_others_have() -> None:
    assert shared_words(TEXTS, "proud", "confident") == {"know", "crown"}
    # "me" stands in one other concept's text besides, "will" too: that is no reason yet.
    assert shared_words(TEXTS, "proud", "sad") == {"me"}
    often = {**TEXTS, "bored": ("I know.",), "tired": ("You know it.",)}
    assert shared_words(often, "proud", "confident") == {"crown"}
    assert shared_words(TEXTS, "proud", "gone") == set()
    against = {**TEXTS, "_against proud": ("I know of no crown.",)}  # no neutral texts
    assert shared_words(against, "proud", "confident") == {"know", "crown"}


def test_marked_texts_have_every_second_part_shared_and_lose_nothing() -> None:
    text = "I know, know Crown-work: CROWN crown!"
    parts = marked(text, frozenset({"know", "crown"}))
    assert parts == ["I ", "know", ", ", "know Crown", "-work: ", "CROWN crown", "!"]
    assert "".join(parts) == text
    assert marked("know it", frozenset({"know"})) == ["", "know", " it"]
    assert marked("nothing", frozenset()) == ["nothing"]
