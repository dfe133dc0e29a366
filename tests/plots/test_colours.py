import numpy as np
import pytest

from readout_ui.plots.colours import ABOVE, BELOW, ColourScale, diverging_scale, fit_scale

# Machado, Oliveira & Fernandes (2009), severity 1.0, on linear RGB.
COLOUR_BLINDNESS = {
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}


def linear(colour: tuple[int, int, int]) -> np.ndarray:
    share = np.array(colour) / 255
    return np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)


def luminance(rgb: np.ndarray) -> float:
    return float(rgb @ [0.2126, 0.7152, 0.0722])


def contrast(one: float, other: float) -> float:
    high, low = max(one, other), min(one, other)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("kind", COLOUR_BLINDNESS)
def test_above_and_below_stay_apart_for_colour_blind_eyes(kind: str) -> None:
    matrix = np.array(COLOUR_BLINDNESS[kind])
    above, below = (np.clip(matrix @ linear(colour), 0, 1) for colour in (ABOVE, BELOW))
    assert np.abs(above - below).max() > 0.25


@pytest.mark.parametrize("paper", [(255, 255, 255), (15, 17, 26)])
def test_full_colours_stand_out_from_paper_and_from_the_dark(paper: tuple[int, int, int]) -> None:
    behind = luminance(linear(paper))
    for colour in (ABOVE, BELOW):
        assert contrast(luminance(linear(colour)), behind) >= 3


@pytest.mark.parametrize("kind", ["z", "cosine"])
def test_z_and_cosine_are_symmetric_about_zero_even_where_all_scores_are_positive(
    kind: str,
) -> None:
    scale = fit_scale(np.linspace(2, 4, 50), kind)
    assert scale.middle == 0
    assert scale.low == -scale.high
    assert 3.9 < scale.high <= 4


def test_raw_scores_are_coloured_about_their_median() -> None:
    scale = fit_scale(np.array([90.0, 100.0, 112.0]), "raw")
    assert scale.middle == 100
    assert 10 < scale.reach <= 12


def test_one_outlier_does_not_bleach_the_rest() -> None:
    cells = np.concatenate([np.random.default_rng(0).normal(size=999), [1000.0]])
    assert fit_scale(cells, "z").reach < 4


def test_without_any_scored_cell_there_is_still_a_scale() -> None:
    assert fit_scale(np.array([]), "z") == ColourScale(0.0, 1.0)
    assert fit_scale(np.zeros((3, 3)), "cosine").reach == 1


def test_css_colours_grow_with_the_score_and_stop_at_the_ends() -> None:
    scale = ColourScale(0.0, 2.0)
    assert scale.css(0).endswith(",0.000)")
    assert scale.css(1) == "rgba(217,95,2,0.500)"
    assert scale.css(-2, strength=0.5) == "rgba(31,119,200,0.500)"
    assert scale.css(99) == scale.css(2)


def test_the_diverging_scale_vanishes_in_the_middle() -> None:
    opacities = [float(colour.rstrip(")").split(",")[-1]) for _at, colour in diverging_scale()]
    assert opacities == [1, 0, 0, 1]
