"""Figures of judged texts, from planted scores."""

import numpy as np
import pytest

from readout_ui.evaluation.dose import dose_curves
from readout_ui.evaluation.generalization import judge
from readout_ui.evaluation.judgements import Generalization
from readout_ui.plots.new_texts import MACRO, draw_dose, draw_forest, draw_violins
from tests.support.scored_texts import CONCEPTS, QUICK, scored


@pytest.fixture(scope="module")
def found() -> Generalization:
    texts = scored(0, 0.0)
    texts.scores[texts.own[:, 1], 1] += 5
    return judge(texts, QUICK)


def test_the_forest_has_a_row_per_concept_below_their_mean_best_first(
    found: Generalization,
) -> None:
    figure = draw_forest(found)
    names = figure.layout.yaxis.ticktext
    assert names[:2] == (MACRO, "sad")
    assert set(names[1:]) == set(CONCEPTS)
    dots = figure.data[-1]
    assert dots.x[1] == found.of("sad").auroc.value
    assert dots.x[1] - dots.error_x.arrayminus[1] == pytest.approx(found.of("sad").auroc.low)


def test_concepts_that_chance_explains_are_hollow(found: Generalization) -> None:
    dots = draw_forest(found).data[-1]
    hollow = {each.concept for each in found.per_concept if each.p >= 0.05}
    names = [row[0] for row in dots.customdata][1:]
    assert {n for n, s in zip(names, dots.marker.symbol[1:], strict=True) if "open" in s} == hollow
    assert "sad" not in hollow


def test_violins_show_own_other_and_neutral_scores(found: Generalization) -> None:
    figure = draw_violins(found, ["sad"])
    own, other, neutral = figure.data
    assert sorted(own.x) == sorted(found.scores[found.own[:, 1], 1])
    assert len(other.x) == 60
    assert len(neutral.x) == 40
    assert draw_violins(found).layout.yaxis.ticktext[-1] == "sad"


def test_doses_over_orders_of_magnitude_lie_on_a_logarithmic_axis() -> None:
    for values, kind in ((("1", "2", "3"), None), (("1", "10", "100"), "log")):
        doses = np.array([float(value) for value in values])
        curves = dose_curves("{x}", values, doses, ["calm"], doses[:, None])
        assert draw_dose(curves).layout.xaxis.type == kind


def test_names_are_no_markup() -> None:
    doses = np.arange(4.0)
    curves = dose_curves("{x}", ("<b>", "2", "3", "4"), doses, ["<i>"], doses[:, None])
    figure = draw_dose(curves)
    assert figure.layout.xaxis.ticktext[0] == "&lt;b&gt;"
    assert figure.data[0].name.startswith("&lt;i&gt; (ρ +1.00")
