"""Dose curves: scores that follow a value are found, others are not."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from readout_ui.errors import UserError
from readout_ui.evaluation.dose import dose_curves, doses_of, parse_values, read_dose

VALUES = tuple(str(100 * i) for i in range(1, 9))
DOSES = doses_of(VALUES)


def test_a_planted_dose_is_found_and_nothing_else() -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(8, 20))
    scores[:, 3] = np.exp(DOSES / 300)
    scores[:, 7] = -DOSES
    curves = dose_curves("{x} mg", VALUES, DOSES, [f"c{i}" for i in range(20)], scores)
    assert curves.rho[3] == pytest.approx(1)
    assert curves.rho[7] == pytest.approx(-1)
    assert set(np.flatnonzero(curves.p < 0.05)) == {3, 7}
    assert set(curves.steepest(2)) == {"c3", "c7"}


def test_rho_is_spearmans_with_ties() -> None:
    scores = np.array([[1.0], [1.0], [3.0], [2.0], [5.0], [5.0], [6.0], [0.0]])
    curves = dose_curves("{x}", VALUES, DOSES, ["calm"], scores)
    assert curves.rho[0] == pytest.approx(spearmanr(DOSES, scores[:, 0]).statistic)


def test_without_a_dose_false_alarms_come_at_the_stated_rate() -> None:
    rng = np.random.default_rng(1)
    alarms = 0
    for _ in range(100):
        curves = dose_curves("{x}", VALUES, DOSES, list("abcde"), rng.normal(size=(8, 5)))
        alarms += curves.p.min() <= 0.05
    assert alarms <= 13


def test_a_constant_score_has_no_correlation() -> None:
    curves = dose_curves("{x}", VALUES, DOSES, ["calm"], np.ones((8, 1)))
    assert curves.rho[0] == 0
    assert curves.p[0] == 1


@pytest.mark.parametrize(
    ("values", "doses"),
    [
        (("500 mg", "20 mg", "-1.5"), [500, 20, -1.5]),
        (("none", "some", "much"), [0, 1, 2]),
        (("1", "two", "3"), [0, 1, 2]),
    ],
)
def test_values_are_numbers_or_places(values: tuple[str, ...], doses: list[float]) -> None:
    assert doses_of(values).tolist() == doses


def test_values_are_separated_by_commas_or_lines() -> None:
    assert parse_values("1, 2\n3,,2") == ("1", "2", "3")


@given(st.text())
def test_any_values_can_be_parsed(written: str) -> None:
    assert len(doses_of(parse_values(written))) == len(parse_values(written))


@pytest.mark.parametrize(
    ("template", "values", "message"),
    [("no slot", VALUES, "no place for a value"), ("{x}", ("1", "1", "2"), "2 different values")],
)
def test_a_dose_that_cannot_be_read_is_refused(
    template: str, values: tuple[str, ...], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        read_dose(None, template, values, 0)  # type: ignore[arg-type]
