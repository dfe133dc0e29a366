"""The Layers tab, driven without a page on a tiny model."""

from __future__ import annotations

import re

import numpy as np
import pytest

from readout_ui.app.events import AWAY, Changes, components
from readout_ui.app.judge.kept import read_kept
from readout_ui.app.judge.layers import MACRO, LayersTab, draw_heat, use_layers
from readout_ui.app.session import Studio
from readout_ui.errors import UserError
from readout_ui.runs.store import JUDGED_FILE
from readout_ui.vectors.settings import TrainSettings

gr = pytest.importorskip("gradio")


def built(studio: Studio) -> LayersTab:
    with gr.Blocks():
        return LayersTab(studio)


def test_the_tab_can_be_built_before_anything_was_trained(studio: Studio) -> None:
    tab = built(studio)
    changes = tab.refresh("another")
    assert "Press <b>Train</b>" in changes[tab.about]
    assert set(changes) <= set(components(tab))


def test_without_a_run_comparing_layers_says_what_to_do(studio: Studio) -> None:
    with pytest.raises(UserError, match="press Train"):
        built(studio).compare(MACRO)


def test_the_recommendation_stands_there_by_itself(trained: Studio) -> None:
    tab, run = built(trained), trained.run()
    drawn = tab.refresh("")
    assert f"<h2>Use layer {run.best_layer}</h2>" in drawn[tab.about]
    assert "left-out texts" in drawn[tab.about]
    for score in run.layer_scores or ():
        assert f"data-value='{score:.4f}'" in drawn[tab.about]
    assert drawn[tab.results].elem_classes == AWAY
    assert tab.refresh(drawn[tab.shown]) == {}
    assert tab.refresh("another")[tab.shown] == drawn[tab.shown]


def compared(studio: Studio) -> tuple[LayersTab, Changes]:
    tab = built(studio)
    return tab, tab.compare(MACRO)


def test_a_comparison_shows_all_rows_and_sets_and_outlives_the_program(trained: Studio) -> None:
    tab, drawn = compared(trained)
    assert drawn[tab.results].elem_classes == []
    names = [name for name, _ in drawn[tab.concept].choices]
    assert names == [MACRO, "afraid", "angry", "calm", "happy"]
    assert "Multiply-adds per token" in drawn[tab.about]
    # neutral_pcs, pca and logistic, three rules, two of three layers
    assert "18 empty cells" in drawn[tab.about]
    assert drawn[tab.chosen].value in {value for _, value in drawn[tab.chosen].choices}
    later = Studio(trained.options)  # no model is loaded in this one
    try:
        tab = built(later)
        again = tab.refresh("")
        strip = re.compile(r"\d\d:\d\d")
        assert strip.sub("", again[tab.about]) == strip.sub("", drawn_about(drawn))
        one = tab.draw("calm")
        assert one[tab.concept].value == "calm"
        assert one[tab.about] != again[tab.about]
    finally:
        later.close()


def drawn_about(drawn: Changes) -> str:
    return next(text for text in drawn.values() if isinstance(text, str) and "<h2>" in text)


def test_an_unreadable_file_is_one_sentence_and_replaced(trained: Studio) -> None:
    folder = trained.runs.folder / trained.run().id
    for damaged in (b"{", b'{"layers": 3}', b"\xff\xfe"):
        (folder / JUDGED_FILE).write_bytes(damaged)
        tab = built(trained)
        about = tab.refresh("")[tab.about]
        assert "What was judged before cannot be read" in about
        assert "Use layer" in about
    assert "Compared" in tab.compare(MACRO)[tab.about]
    assert read_kept(trained).layers is not None


def test_every_further_layer_fills_nine_cells(trained: Studio) -> None:
    tab, _ = compared(trained)
    assert "9 empty cells" in tab.add_layer(MACRO)[tab.about]
    assert "empty cells" not in tab.add_layer("calm")[tab.about]


def test_the_layers_to_use_are_a_spec_that_training_takes(trained: Studio) -> None:
    tab, drawn = compared(trained)
    spec = use_layers(drawn[tab.chosen].choices[-1][1])
    assert TrainSettings(layers=spec).layers == spec
    with pytest.raises(UserError, match="no layers are chosen"):
        use_layers(None)


def test_good_layers_are_told_apart_by_colour() -> None:
    early, late = np.linspace(0.5, 0.8, 10), np.linspace(0.930, 0.949, 20)
    scores = np.concatenate([early, late, [np.nan]])[None]
    heat = draw_heat(["<mean>"], scores, (0, 29), 12, "layers")
    parts = [int(part) for part in re.findall(r"--part:(\d+)%", heat)]
    assert len(parts) == 30
    steps = np.diff(parts[10:])
    assert steps.min() >= 2
    assert "&lt;mean&gt;" in heat
    assert heat.count("class='best'") == 1
    assert "<th scope='col' class='chosen'>12</th>" in heat
    assert "<td></td>" in heat
