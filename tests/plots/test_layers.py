"""Figures of layers."""

import numpy as np
import pytest

from readout_ui.plots.directions import draw_sweep


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
