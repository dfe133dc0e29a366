"""Judgements in a notebook: pandas tables with the right axes, and short representations."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from readout_ui.errors import UserError
from readout_ui.evaluation.advice import judge_descriptions
from readout_ui.evaluation.crosstalk import cosine_matrix
from readout_ui.evaluation.dose import read_dose
from readout_ui.evaluation.held_out import held_out_matrix
from readout_ui.evaluation.influence import influence
from readout_ui.evaluation.layers import sweep_means
from readout_ui.evaluation.public import Readout
from readout_ui.evaluation.redundancy import concept_map, redundancy
from readout_ui.evaluation.results import Crosstalk
from readout_ui.models.loading import ModelSpec, load_model
from readout_ui.runs.training import train
from readout_ui.texts.library import Library
from readout_ui.vectors.settings import TrainSettings
from tests.support.planted_corpus import make_corpus
from tests.support.planted_scorer import CONCEPTS, planted_scorer

CORPUS = make_corpus((6,) * 4, strength=1.0, copies={2: 1}, n_layers=2)
NAMES = list(CORPUS.groups.concepts)


def judged_crosstalk() -> Crosstalk:
    return Crosstalk(
        cosine_matrix(CORPUS, 1, 20),
        held_out_matrix(CORPUS, 1, 20),
        redundancy(CORPUS, 1, 20),
        concept_map(CORPUS, 1),
    )


def test_matrices_have_the_concepts_on_both_axes() -> None:
    found = judged_crosstalk()
    cosines = found.cosines.to_frame()
    assert list(cosines.index) == list(cosines.columns) == NAMES
    assert cosines.loc["c2", "c1"] == found.cosines.cosine[2, 1]
    assert found.cosines.to_frame("differs").to_numpy().dtype == bool
    assert found.held_out.to_frame("low").loc["c0", "c3"] == found.held_out.low[0, 3]
    with pytest.raises(UserError, match="'sine' is no column"):
        found.cosines.to_frame("sine")


def test_crosstalk_is_one_row_per_pair() -> None:
    found = judged_crosstalk()
    frame = found.to_frame()
    assert len(frame) == 4 * 3
    assert frame.loc[("c1", "c2"), "cosine"] == found.cosines.cosine[1, 2]
    assert frame.loc[("c0", "c2"), "score_high"] == found.held_out.high[0, 2]
    assert list(frame.index.names) == ["concept", "other"]


def test_rows_become_rows_and_intervals_three_columns() -> None:
    texts = influence(CORPUS, 1).to_frame()
    assert len(texts) == 24
    assert list(texts.concept[:7]) == ["c0"] * 6 + ["c1"]
    others = redundancy(CORPUS, 1, 20).to_frame()
    assert list(others.index) == NAMES
    assert str(others.loc["c1", "nearest"]).split(", ")[0] == "c2"
    texts_by_label = {c: c for c in CONCEPTS}
    readout = planted_scorer(lambda text: [c for c in CONCEPTS if c in text])
    pairs = [(f"Text {i} is {CONCEPTS[i % 4]}.", CONCEPTS[i % 4]) for i in range(24)]
    found = Readout.evaluate(readout, pairs, texts_by_label)
    frame = found.to_frame()
    assert list(frame.index) == list(CONCEPTS)
    assert frame.loc["calm", "auroc_low"] == found.of("calm").auroc.low


def test_layers_and_doses_are_tables_of_what_was_measured() -> None:
    sweep = sweep_means([CORPUS])
    assert sweep.to_frame().shape == (2, len(sweep.columns))
    mean = next(column for column in sweep.columns if column.method == "mean")
    assert sweep.to_frame("c0")[mean.label].iloc[1] == mean.auroc[1, 0]
    readout = planted_scorer(lambda text: ["calm"] if "9" in text else [])
    doses = read_dose(readout, "It is {x}.", ["1", "5", "9"], 5).to_frame()
    assert list(doses.index) == ["1", "5", "9"]
    assert doses.calm.idxmax() == "9"


def test_what_is_found_is_shown_in_one_short_line() -> None:
    found = judged_crosstalk()
    sweep, judged = sweep_means([CORPUS]), judge_descriptions(CORPUS, 1)
    for result in (
        found,
        found.cosines,
        found.held_out,
        found.map,
        found.redundancy,
        sweep,
        judged,
    ):
        assert len(repr(result)) < 120
        assert "\n" not in repr(result)


def test_a_readout_is_judged_by_one_call(tiny_folder: Path, descriptions: Path) -> None:
    model = load_model(ModelSpec(str(tiny_folder), device="cpu"))
    trained = train(Library(descriptions), model, TrainSettings())
    readout = Readout(model, trained)
    assert len(readout.crosstalk(1).to_frame()) == 4 * 3
    assert readout.compare_layers().n_layers == model.n_layers
    assert len(readout.advise(0).influences) == 12
    assert "situations" not in repr(readout.evaluate("situations"))
    with pytest.raises(UserError, match="there are no such texts"):
        readout.evaluate("no/such/file.csv")
    with pytest.raises(UserError, match="texts of the training are not there"):
        Readout(model, replace(trained, texts={})).crosstalk()
