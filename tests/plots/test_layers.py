"""Figures of layers and of what moved between runs."""

import numpy as np
import pytest

from readout_ui.plots.aurocs import (
    ScoreBar,
    draw_layer_scores,
    draw_moves,
    draw_score_changes,
    draw_sweep,
)


def test_the_sweep_leaves_out_what_was_not_computed_and_frames_the_best_cell() -> None:
    scores = np.array([[0.6, 0.9, 0.8], [np.nan, 0.7, np.nan]])
    figure = draw_sweep(scores, ["mean, a", "pca, a"], (0, 1), "title")
    cells = figure.data[0]
    assert (cells.zmin, cells.zmax) == (pytest.approx(0.72), 0.9)
    assert np.isnan(cells.z[1][0])
    assert not cells.hoverongaps
    box = figure.layout.shapes[0]
    assert (box.x0, box.x1, box.y0, box.y1) == (0.5, 1.5, -0.5, 0.5)


def test_the_scale_tells_good_layers_apart_and_not_bad_ones() -> None:
    first, good = np.linspace(0.55, 0.95, 10), np.linspace(0.95, 0.985, 20)
    cells = draw_sweep(np.concatenate([first, good])[None], ["mean, a"], None, "title").data[0]
    shares = (good - cells.zmin) / (cells.zmax - cells.zmin)
    assert np.clip(shares, 0, 1).max() - np.clip(shares, 0, 1).min() > 0.9
    assert (first <= cells.zmin).all()


def test_a_sweep_without_any_score_is_drawn_empty() -> None:
    figure = draw_sweep(np.full((1, 2), np.nan), ["mean, a"], None, "title")
    assert not figure.layout.shapes
    assert figure.data[0].zmax == 1


def test_equal_scores_everywhere_still_have_a_scale() -> None:
    cells = draw_sweep(np.ones((1, 3)), ["mean, a"], (0, 0), "title").data[0]
    assert cells.zmin < cells.zmax


def test_the_concept_that_turned_most_is_on_top() -> None:
    cosine = np.array([[1.0, 1.0], [0.2, np.nan], [0.9, 0.9]])
    cells = draw_moves(["same", "turned", "nearly"], [3, 5], cosine).data[0]
    assert list(cells.y) == ["turned", "nearly", "same"]
    assert cells.z[0][0] == pytest.approx(0.8)
    assert cells.customdata[0][0] == pytest.approx(0.2)


def test_a_tiny_turn_is_not_drawn_at_full_strength() -> None:
    cells = draw_moves(["a"], [0], np.array([[0.9999]])).data[0]
    assert cells.zmax == pytest.approx(0.02)


def test_changes_beyond_noise_are_filled_and_intervals_end_where_they_should() -> None:
    bars = [ScoreBar("a", -0.2, -0.3, -0.1, True), ScoreBar("b", 0.1, -0.1, 0.2, False)]
    points = draw_score_changes(bars).data[0]
    assert list(points.marker.symbol) == ["circle", "circle-open"]
    assert list(points.error_x.array) == pytest.approx([0.1, 0.1])
    assert list(points.error_x.arrayminus) == pytest.approx([0.1, 0.2])


def test_a_curve_below_chance_is_seen_whole_and_layers_are_whole_numbers() -> None:
    figure = draw_layer_scores([0.3, None, 0.9], 2)
    assert figure.layout.yaxis.range[0] < 0.3
    assert figure.layout.xaxis.dtick == 1
    assert draw_layer_scores([0.9] * 30, 2).layout.yaxis.range[0] == 0.4
