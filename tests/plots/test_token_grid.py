import json

import numpy as np
import pytest

from readout_ui import plots
from readout_ui.errors import UserError
from readout_ui.inference.reading import Reading, scored_tokens
from readout_ui.plots.token_grid import (
    concept_grid,
    draw_heatmap,
    layer_grid,
)

ROLES = ("template", "system", "user", "template", "assistant", "assistant")
TOKENS = ("<|im_start|>", "·the", "·the", "<br>", "·{x}&", "x" * 40)


def readout(n_layers: int = 3, concepts: tuple[str, ...] = ("calm", "afraid")) -> Reading:
    rng = np.random.default_rng(0)
    shape = (len(TOKENS), n_layers, len(concepts))
    raw, cosine, z = (rng.normal(size=shape).astype(np.float32) for _ in range(3))
    z[0] = 500
    z[3] = -300
    similarity = np.stack([np.eye(len(concepts), dtype=np.float32)] * n_layers)
    layers = tuple(range(n_layers))
    scored = scored_tokens(ROLES)
    return Reading(TOKENS, ROLES, concepts, layers, raw, cosine, z, similarity, scored)


def test_concepts_are_rows_and_tokens_are_columns() -> None:
    grid = concept_grid(readout(), 1, "z")
    assert grid.rows == ("calm", "afraid")
    np.testing.assert_array_equal(grid.scores["raw"], readout().raw[:, 1].T)


def test_layers_are_rows_with_the_last_on_top() -> None:
    grid = layer_grid(readout(), "afraid", "cosine")
    assert grid.rows == ("layer 2", "layer 1", "layer 0")
    np.testing.assert_array_equal(grid.scores["z"][0], readout().z[:, 2, 1])


def test_the_first_and_template_tokens_stay_out_of_the_colour_scale() -> None:
    grid = concept_grid(readout(), 1, "z")
    assert grid.scale.high < 5
    figure = draw_heatmap(grid)
    assert figure.data[0].zmax == pytest.approx(grid.scale.high)
    assert figure.data[0].zmin == pytest.approx(-grid.scale.high)


def test_columns_that_do_not_count_are_veiled() -> None:
    veils = draw_heatmap(concept_grid(readout(), 1, "z")).layout.shapes
    assert [(veil.x0, veil.x1) for veil in veils] == [(-0.5, 0.5), (2.5, 3.5)]
    neighbours = concept_grid(readout().select(tokens=[1, 0, 3, 2, 3]), 1, "z")
    veils = draw_heatmap(neighbours).layout.shapes
    assert [(veil.x0, veil.x1) for veil in veils] == [(0.5, 2.5), (3.5, 4.5)]


def test_equal_tokens_keep_their_own_columns_and_markup_is_shown_as_text() -> None:
    axis = draw_heatmap(concept_grid(readout(), 1, "z")).layout.xaxis
    assert list(axis.tickvals) == list(range(6))
    assert axis.ticktext[1] == axis.ticktext[2] == "·the"
    assert axis.ticktext[3] == "&lt;br&gt;"
    assert axis.ticktext[5].endswith("…")


@pytest.mark.parametrize("kind", ["z", "cosine", "raw"])
def test_hovering_shows_all_three_scores_whichever_is_coloured(kind: str) -> None:
    grid = concept_grid(readout(), 1, kind)
    cells = draw_heatmap(grid).data[0]
    lines = cells.hovertemplate.split("<br>")[2:]
    assert [line.split()[0] for line in lines] == ["z", "cosine", "raw"]
    others = [name for name in ("z", "cosine", "raw") if name != kind]
    assert f"{kind} %{{z:" in cells.hovertemplate
    for i, name in enumerate(others):
        assert f"{name} %{{customdata[{i}]:" in cells.hovertemplate
        np.testing.assert_array_equal(cells.customdata[:, :, i], grid.scores[name])
    assert cells.name == "layer 1"


def test_roles_are_letters_as_well_as_colours() -> None:
    band = draw_heatmap(concept_grid(readout(), 1, "z")).data[-1]
    assert "".join(band.text[0]) == "TSUTAA"
    assert len(set(band.z[0].tolist())) == 4


def test_numbers_travel_as_typed_arrays_not_as_lists() -> None:
    rng = np.random.default_rng(0)
    cells = rng.normal(size=(512, 1, 64)).astype(np.float32)
    big = Reading(
        ("·the",) * 512,
        ("assistant",) * 512,
        tuple(f"c{i}" for i in range(64)),
        (0,),
        cells,
        cells,
        cells,
        np.eye(64, dtype=np.float32)[None],
        scored_tokens(["assistant"] * 512),
    )
    figure = draw_heatmap(concept_grid(big, 0, "z")).to_json()
    cells_sent = json.loads(figure)["data"][0]
    assert cells_sent["z"]["dtype"] == "f4"
    assert cells_sent["customdata"]["shape"] == "64, 512, 2"
    assert len(figure) < 800_000


def test_the_figure_grows_with_tokens_instead_of_squashing_them() -> None:
    short = concept_grid(readout(), 1, "z")
    long = concept_grid(readout().select(tokens=list(range(6)) * 50), 1, "z")
    assert short.geometry.cell_width >= 22
    assert long.geometry.width - long.geometry.left >= 300 * 22
    assert draw_heatmap(long).layout.width == long.geometry.width


def test_an_unknown_unit_is_refused() -> None:
    with pytest.raises(UserError, match="percent"):
        concept_grid(readout(), 1, "percent")


def test_a_notebook_gets_named_rows_and_columns_without_template_tokens() -> None:
    figure = plots.heatmap(readout(), layer=1)
    assert figure.data[0].z.shape == (2, 4)
    assert list(figure.layout.yaxis.ticktext) == ["calm", "afraid"]
    assert figure.layout.yaxis.showticklabels
    assert len(figure.layout.xaxis.ticktext) == 4
    assert figure.layout.xaxis.showticklabels
    assert not figure.layout.yaxis2.showticklabels
    assert plots.heatmap(readout(), concept="calm", kind="raw").data[0].z.shape == (3, 4)
    with pytest.raises(UserError, match="layer 7"):
        plots.heatmap(readout(), layer=7)
