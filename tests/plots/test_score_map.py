"""What is packed for the page, unpacked again by the page's own script."""

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from readout_ui.inference.reading import FloatArray
from readout_ui.plots.colours import ColourScale
from readout_ui.plots.score_map import ScoreMap, Unit, Window, pack_map, pool_overview, row_lines
from tests.support.node import run_script

SCALE = ColourScale(0.0, 3.0)
N = 40


def scores(n_rows: int = 3, n_tokens: int = N) -> dict[str, FloatArray]:
    """z, raw as trainings make it from z, and an unrelated cosine; the first token is massive."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=(n_rows, n_tokens)).astype(np.float32)
    z[:, 0] = 400
    cosine = rng.uniform(-0.4, 0.4, (n_rows, n_tokens)).astype(np.float32)
    gain = np.arange(1, n_rows + 1, dtype=np.float32)[:, None]
    return {"z": z, "cosine": cosine, "raw": z * gain * 7 + 900}


def make_map(order: tuple[str, ...] = ("z", "cosine", "raw"), **changes: Any) -> ScoreMap:
    cells = scores()
    scored = np.arange(N) > 0
    drawn = ScoreMap(
        tokens=("·{{x}}`${1}",) * N,
        roles=("template", *("user",) * (N - 1)),
        scored=scored,
        rows=("calm", "<b>afraid", "x" * 30),
        units=tuple(Unit(name, cells[name], 2) for name in order),
        constant="layer 5",
        scale=SCALE,
        legend="z",
        window=Window(0, N, N),
        overview=pool_overview(cells[order[0]], SCALE, scored),
    )
    return replace(drawn, **changes)


Doubles = npt.NDArray[np.float64]


def unpack(packed: str) -> tuple[dict[str, Any], dict[str, Doubles], npt.NDArray[np.uint8]]:
    """Header, scores by unit and overview as the page's own heatmap/data.js reads them."""
    shown = run_script("unpack_map.mjs", packed)
    names = [unit["name"] for unit in shown["units"]]
    found = [np.array(cells, np.float64) for cells in shown["scores"]]
    overview = np.array(shown["pooled"], np.uint8).reshape(shown["overview"])
    return shown, dict(zip(names, found, strict=True)), overview


@pytest.mark.parametrize(
    "order", [("z", "cosine", "raw"), ("raw", "z", "cosine"), ("cosine", "z", "raw")]
)
def test_the_page_gets_every_score_nearly_as_it_is(order: tuple[str, ...]) -> None:
    _, found, _ = unpack(pack_map(make_map(order)))
    for name, cells in scores().items():
        spread = np.ptp(cells[:, 1:], axis=1, keepdims=True)
        allowed = spread * (1e-3 if order[0] == name else 5e-3)
        assert (np.abs(found[name] - cells)[:, 1:] <= allowed).all(), name


def test_raw_scores_cost_two_numbers_per_row() -> None:
    header, _, _ = unpack(pack_map(make_map()))
    assert [unit["kind"] for unit in header["units"]] == ["half", "steps", "line"]


def test_200_concepts_of_4096_tokens_stay_under_4_megabytes() -> None:
    cells, n = scores(201, 4096), 4096
    scored = np.arange(n) > 0
    drawn = ScoreMap(
        tokens=("·everything",) * n,
        roles=("user",) * n,
        scored=scored,
        rows=tuple(f"concept {i}" for i in range(200)),
        units=tuple(Unit(name, cells[name], 2) for name in cells),
        constant="layer 5",
        scale=SCALE,
        legend="z",
        window=Window(0, n, n),
        overview=pool_overview(cells["z"][:-1], SCALE, scored),
        strip="calm",
    )
    assert 3_000_000 < len(pack_map(drawn)) < 4_000_000


def test_a_missing_score_stays_missing() -> None:
    cells = {name: score.copy() for name, score in scores().items()}
    for score in cells.values():
        score[1, 5] = np.nan
    units = tuple(Unit(name, score, 2) for name, score in cells.items())
    _, found, _ = unpack(pack_map(make_map(units=units)))
    for shown in found.values():
        assert np.argwhere(np.isnan(shown[:, 1:])).tolist() == [[1, 4]]


def test_the_overview_shows_peaks_and_leaves_out_what_does_not_count() -> None:
    z = np.zeros((3, N), np.float32)
    z[1, 7], z[2, 9], z[:, 0] = 3, -1.5, 400
    packed = pack_map(make_map(overview=pool_overview(z, SCALE, np.arange(N) > 0)))
    _, _, overview = unpack(packed)
    assert overview[1, 7] == 255
    assert overview[2, 9] == round(128 - 127 / 2)
    assert (overview[:, 0] == 128).all()


def test_shapes_that_do_not_belong_together_are_refused() -> None:
    with pytest.raises(ValueError, match="expected"):
        make_map(rows=("calm",))
    with pytest.raises(ValueError, match="differ in length"):
        make_map(roles=("user",))
    with pytest.raises(ValueError, match="tokens in"):
        make_map(window=Window(0, 3, N))


def test_a_row_that_is_no_line_is_found_out() -> None:
    cells = scores()
    assert row_lines(cells["z"], cells["cosine"]) is None
    line = row_lines(cells["z"], cells["raw"])
    assert line is not None
    gain, shift = line
    np.testing.assert_allclose(gain, [7, 14, 21], rtol=1e-4)
    np.testing.assert_allclose(shift, [900, 900, 900], rtol=1e-4)
