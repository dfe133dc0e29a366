"""Figures of cross-talk: order, tree, intervals on hover, dots on what is like chance."""

import json

import numpy as np
import pytest

from readout_ui.evaluation.crosstalk import cosine_matrix
from readout_ui.evaluation.held_out import held_out_matrix
from readout_ui.evaluation.redundancy import concept_map
from readout_ui.evaluation.results import CosineMatrix, HeldOutMatrix
from readout_ui.plots.directions import draw_cosines, draw_map, draw_responses
from tests.support.planted_corpus import make_corpus


@pytest.fixture(scope="module")
def matrix() -> CosineMatrix:
    return cosine_matrix(make_corpus((8,) * 6, strength=1.0, copies={4: 1}), 0, 60)


@pytest.fixture(scope="module")
def responses() -> HeldOutMatrix:
    return held_out_matrix(make_corpus((8, 8, 1, 8, 8, 8), strength=1.0, copies={4: 1}), 0, 60)


def test_rows_and_columns_stand_in_the_order_of_the_tree(matrix: CosineMatrix) -> None:
    figure = draw_cosines(matrix)
    names = [matrix.concepts[i] for i in matrix.order]
    assert list(figure.layout.xaxis.ticktext) == list(figure.layout.yaxis.ticktext) == names
    shown = np.where(np.isnan(figure.data[0].z), figure.data[1].z, figure.data[0].z)
    expected = matrix.cosine[np.ix_(matrix.order, matrix.order)]
    np.testing.assert_allclose(shown, expected, atol=1e-6)
    assert list(figure.layout.yaxis.range) == [5.5, -0.5]


def test_leaves_of_the_tree_stand_over_their_columns(matrix: CosineMatrix) -> None:
    tree = draw_cosines(matrix).data[-1]
    feet = sorted(float(x) for x, y in zip(tree.x, tree.y, strict=True) if y == 0)
    assert feet == list(range(6))
    assert tree.yaxis == "y2"


def test_a_cell_is_drawn_once_and_carries_a_dot_exactly_if_like_chance(
    matrix: CosineMatrix,
) -> None:
    differing, chance, dots = draw_cosines(matrix).data[:3]
    assert (np.isnan(differing.z) != np.isnan(chance.z)).all()
    np.testing.assert_array_equal(dots.z[2::5, 2::5] == 1, np.isnan(differing.z))
    assert dots.z.sum() == np.isnan(differing.z).sum()
    assert dots.x[2::5].tolist() == pytest.approx(list(range(6)))
    assert (differing.zmin, differing.zmax) == (chance.zmin, chance.zmax)


def test_hovering_names_the_pair_and_its_interval_and_says_what_is_chance(
    matrix: CosineMatrix,
) -> None:
    differing, chance, dots = draw_cosines(matrix).data[:3]
    order = np.ix_(matrix.order, matrix.order)
    np.testing.assert_allclose(differing.customdata[..., 0], matrix.low[order], atol=1e-6)
    np.testing.assert_allclose(differing.customdata[..., 1], matrix.high[order], atol=1e-6)
    for part in ("%{x}", "%{y}", "%{z:.2f}", "%{customdata[0]:.2f}", "%{customdata[1]:.2f}"):
        assert part in differing.hovertemplate
    assert "chance" in chance.hovertemplate
    assert "chance" not in differing.hovertemplate
    assert dots.hoverinfo == "skip"


def test_responses_follow_the_order_they_are_given(responses: HeldOutMatrix) -> None:
    order = np.array([3, 1, 4, 0, 5, 2])
    figure = draw_responses(responses, order)
    assert list(figure.layout.yaxis.ticktext) == [responses.concepts[i] for i in order]
    shown = np.where(np.isnan(figure.data[0].z), figure.data[1].z, figure.data[0].z)
    expected = responses.mean[np.ix_(order, order)]
    np.testing.assert_allclose(shown, expected, atol=1e-6)
    assert figure.layout.yaxis.title.text == "descriptions of"


def test_a_cell_without_a_value_stays_empty(responses: HeldOutMatrix) -> None:
    differing, chance, dots = draw_responses(responses).data
    assert np.isnan(differing.z[2, 2])
    assert np.isnan(chance.z[2, 2])
    assert dots.z[12, 12] == 0


def test_figures_can_be_sent_and_numbers_travel_as_typed_arrays() -> None:
    matrix = cosine_matrix(make_corpus((2,) * 60), 0, 10)
    sent = draw_cosines(matrix).to_json()
    assert len(sent) < 400_000
    data = json.loads(sent)["data"]
    assert [trace["z"]["dtype"] for trace in data[:3]] == ["f4", "f4", "u1"]


def test_markup_in_a_name_is_shown_as_text() -> None:
    matrix = cosine_matrix(make_corpus((3, 3)), 0, 10)
    named = CosineMatrix(**{**vars(matrix), "concepts": ("<b>", "a" * 40)})
    ticks = draw_cosines(named).layout.xaxis.ticktext
    assert sorted(ticks)[0] == "&lt;b&gt;"
    assert max(ticks, key=len).endswith("…")


def test_one_concept_has_a_figure_without_a_tree() -> None:
    assert len(draw_cosines(cosine_matrix(make_corpus((3,)), 0, 10)).data) == 3


def test_clusters_differ_in_colour_and_in_shape() -> None:
    found = concept_map(make_corpus((8,) * 7, strength=1.0, copies={1: 0, 2: 0, 4: 3}), 0)
    alone, first, second = draw_map(found).data
    assert list(first.text) == ["c0", "c1", "c2"]
    assert first.marker.symbol != second.marker.symbol
    assert first.marker.color != second.marker.color
    assert alone.marker.symbol == "circle-open"
    assert f"{found.explained[0]:.0%}" in draw_map(found).layout.xaxis.title.text
