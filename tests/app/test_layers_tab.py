"""The Layers tab, driven without a page on a tiny model."""

import json

import pytest

from readout_ui.app.events import Changes, components
from readout_ui.app.judge.layers import (
    MACRO,
    LayersTab,
    use_layers,
)
from readout_ui.app.session import Studio
from readout_ui.errors import UserError
from readout_ui.vectors.settings import TrainSettings

gr = pytest.importorskip("gradio")


def built(studio: Studio) -> LayersTab:
    with gr.Blocks():
        return LayersTab(studio)


def swept(studio: Studio, tab: LayersTab, concept: str = MACRO, fitted: int = 1) -> Changes:
    return tab.draw({tab.concept: concept, tab.fitted: fitted})


def test_the_tab_can_be_built_before_anything_was_trained(studio: Studio) -> None:
    tab = built(studio)
    assert "Press <b>Train</b>" in str(tab.about.value)
    assert set(tab.refresh("")) <= set(components(tab))


def test_without_a_run_comparing_layers_says_what_to_do(studio: Studio) -> None:
    with pytest.raises(UserError, match="press Train"):
        swept(studio, built(studio))


def test_the_sweep_shows_all_rows_and_every_set_with_its_cost(trained: Studio) -> None:
    tab = built(trained)
    drawn = swept(trained, tab)
    assert drawn[tab.results].visible is True
    assert json.loads(drawn[tab.sweep].plot)["data"][0]["type"] == "heatmap"
    names = [name for name, _ in drawn[tab.concept].choices]
    assert names == [MACRO, "afraid", "angry", "calm", "happy"]
    assert "Multiply-adds per token" in drawn[tab.about]
    # neutral_pcs, pca and logistic, three rules, two of three layers
    assert "18 empty cells" in drawn[tab.about]
    assert drawn[tab.chosen].value in {value for _, value in drawn[tab.chosen].choices}


def test_every_further_layer_fills_nine_cells(trained: Studio) -> None:
    tab = built(trained)
    more = tab.add_layer({tab.concept: MACRO, tab.fitted: 1})
    assert more[tab.fitted] == 2
    assert "9 empty cells" in more[tab.about]
    assert "empty cells" not in swept(trained, tab, "calm", 9)[tab.about]


def test_the_layers_to_use_are_a_spec_that_training_takes(trained: Studio) -> None:
    tab = built(trained)
    spec = use_layers(swept(trained, tab)[tab.chosen].choices[-1][1])
    assert TrainSettings(layers=spec).layers == spec
    with pytest.raises(UserError, match="no layers are chosen"):
        use_layers(None)


def test_a_page_that_shows_the_run_in_use_keeps_it(trained: Studio) -> None:
    run = trained.runs.list()[0]
    tab = built(trained)
    assert tab.refresh(run.id) == {}
    assert tab.refresh("another")[tab.shown] == run.id
