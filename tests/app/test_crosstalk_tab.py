"""Cross-talk over a tiny model: empty at first, then judged, cached and drawn."""

import json
from pathlib import Path

import numpy as np
import pytest

from readout_ui.app.events import HIDDEN, components
from readout_ui.app.judge.crosstalk import (
    CrosstalkTab,
    draw_confusions,
    draw_cosine_note,
    judge_crosstalk,
)
from readout_ui.app.session import Studio
from readout_ui.evaluation.crosstalk import cosine_matrix
from readout_ui.evaluation.held_out import held_out_matrix
from readout_ui.evaluation.redundancy import concept_map, redundancy
from readout_ui.evaluation.results import Crosstalk, umap_installed
from tests.support.planted_corpus import make_corpus

gr = pytest.importorskip("gradio")


def train(studio: Studio) -> None:
    studio.load_model()
    studio.start_training().result()


def planted(**kwargs: object) -> Crosstalk:
    corpus = make_corpus((8,) * 6, strength=1.0, copies={4: 1}, **kwargs)  # type: ignore[arg-type]
    return Crosstalk(
        cosine_matrix(corpus, 0, 40),
        held_out_matrix(corpus, 0, 40),
        redundancy(corpus, 0, 40),
        concept_map(corpus, 0),
    )


def built(studio: Studio) -> CrosstalkTab:
    with gr.Blocks():
        return CrosstalkTab(studio)


def values(tab: CrosstalkTab, layer: int, shown: str = "") -> dict[object, object]:
    return {tab.layer: layer, tab.mean: False, tab.plane: "pca", tab.shown: shown}


def test_before_any_run_the_tab_says_what_to_do(studio: Studio) -> None:
    tab = built(studio)
    changes = tab.show(values(tab, 0))
    assert "press Train first" in changes[tab.judged.notice]
    assert changes[tab.judged.results].visible == HIDDEN
    changes = tab.refresh("")
    assert changes[tab.layer].interactive is False
    assert "press Train first" in changes[tab.judged.notice]


def test_while_there_is_no_model_the_notice_says_so_instead_of_failing(studio: Studio) -> None:
    train(studio)
    later = Studio(studio.options)
    tab = built(later)
    try:
        assert "model" in tab.show(values(tab, 0))[tab.judged.notice]
    finally:
        later.close()


def test_after_a_training_every_layer_can_be_judged_and_is_judged_once(studio: Studio) -> None:
    tab = built(studio)
    train(studio)
    changes = tab.refresh("")
    assert changes[tab.shown] == ""
    assert "open this tab again" in changes[tab.judged.notice]
    last = int(changes[tab.layer].maximum)
    changes = tab.show(values(tab, last))
    assert changes[tab.shown] == studio.runs.list()[0].id
    assert changes[tab.judged.notice] == ""
    assert changes[tab.judged.results].visible is True
    assert set(changes) == set(components(tab)) - {tab.layer, tab.mean, tab.plane}
    again = judge_crosstalk(studio, last, False)
    assert again.cosines is judge_crosstalk(studio, last, False).cosines
    assert judge_crosstalk(studio, 0, True).cosines.layer is None


def test_the_tab_judges_when_it_is_opened_and_when_a_choice_changes(studio: Studio) -> None:
    with gr.Blocks() as app, gr.Tabs(), gr.Tab("Cross-talk") as page:
        tab = CrosstalkTab(studio)
    targets = {target for fn in app.fns.values() for target in fn.targets}
    chosen = (tab.layer, tab.mean, tab.plane)
    expected = {(page._id, "select"), *((each._id, "input") for each in chosen)}
    assert targets == expected
    assert set(tab.refresh("")) <= set(components(tab))


def test_opened_right_after_the_first_training_it_shows_the_best_layer(studio: Studio) -> None:
    tab = built(studio)
    train(studio)
    run = studio.runs.list()[0]
    stale = 1 - run.best_layer
    changes = tab.open(values(tab, stale))
    assert changes[tab.layer].value == run.best_layer
    assert (changes[tab.shown], changes[tab.judged.notice]) == (run.id, "")
    assert f"layer {run.best_layer})" in changes[tab.cosine_note]
    changes = tab.open(values(tab, stale, run.id))
    assert tab.layer not in changes
    assert f"layer {stale})" in changes[tab.cosine_note]


def test_a_page_that_shows_the_run_in_use_keeps_it(studio: Studio) -> None:
    tab = built(studio)
    train(studio)
    run = studio.runs.list()[0]
    assert tab.refresh(run.id) == {}
    assert tab.refresh("another")[tab.judged.notice] != ""


def test_without_umap_the_choice_says_how_to_get_it(
    studio: Studio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with gr.Blocks():
        missing = CrosstalkTab(studio).plane
    if not umap_installed():
        assert [value for _, value in missing.choices] == ["pca"]
        assert "pip install umap-learn" in str(missing.info)
    (tmp_path / "umap.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    with gr.Blocks():
        there = CrosstalkTab(studio).plane
    assert [value for _, value in there.choices] == ["pca", "umap"]


def test_sentences_count_what_the_figures_show(studio: Studio) -> None:
    findings, tab = planted(), built(studio)
    drawn = tab.draw(findings)
    notes = (tab.cosine_note, tab.confusions, tab.redundancy, tab.map_note)
    note, confusions, table, map_note = (drawn[each] for each in notes)
    plots = [drawn[each] for each in (tab.cosines, tab.responses, tab.map)]
    assert "<b>1 of 15 pairs</b> differ from chance (layer 0)" in note
    assert f"<b>{findings.held_out.top1.value:.0%}</b>" in confusions
    assert "<b>c1</b> is taken for <b>c4</b>" in confusions
    assert table.index("<b>c1</b>") < table.index("<b>c0</b>")
    assert "<b>1 cluster</b>" in map_note
    for plot in plots:
        assert json.loads(plot.plot)["config"]["displayModeBar"] is False


def test_a_run_fitted_otherwise_says_whose_the_intervals_are() -> None:
    fitted = draw_cosine_note(planted(method="pca").cosines)
    assert "intervals and dots those of mean differences" in fitted
    assert "mean differences" not in draw_cosine_note(planted().cosines)


def test_names_are_shown_as_text_and_lone_descriptions_are_explained() -> None:
    corpus = make_corpus((1, 1, 1))
    note = draw_confusions(held_out_matrix(corpus, 0, 10))
    assert "none can be held out" in note
    assert np.isnan(held_out_matrix(corpus, 0, 10).top1.value)
