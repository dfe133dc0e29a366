import csv
import io
import re
from dataclasses import replace

import numpy as np
import pytest

from readout_ui.errors import UserError
from readout_ui.inference.reading import (
    Reading,
    centred_cosines,
    scored_tokens,
    scores_csv,
    z_scores,
)


def small_reading() -> Reading:
    """4 tokens, layers 2 and 7, concepts calm, afraid and sad."""
    cells = np.arange(24, dtype=np.float32).reshape(4, 2, 3)
    roles = ("template", "user", "template", "assistant")
    return Reading(
        tokens=("<s>", "·the", "⏎", "·the"),
        roles=roles,
        concepts=("calm", "afraid", "sad"),
        layers=(2, 7),
        raw=cells,
        cosine=cells / np.float32(100),
        z=cells - 10,
        similarity=np.stack([np.eye(3, dtype=np.float32)] * 2),
        scored=scored_tokens(roles),
    )


def test_z_is_the_distance_from_the_neutral_mean_in_neutral_standard_deviations() -> None:
    raw = np.array([[[3.0, -1.0]]], dtype=np.float32)  # 1 token, 1 layer, 2 concepts
    mean = np.array([[1.0], [1.0]], dtype=np.float32)
    std = np.array([[0.5], [2.0]], dtype=np.float32)
    np.testing.assert_allclose(z_scores(raw, mean, std), [[[4.0, -1.0]]])


def test_cosine_is_that_of_the_centred_activation() -> None:
    rng = np.random.default_rng(0)
    activations = rng.normal(size=(5, 2, 8)).astype(np.float32)
    center = rng.normal(size=(2, 8)).astype(np.float32)
    directions = rng.normal(size=(3, 2, 8)).astype(np.float32)
    directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
    centred = activations - center
    expected = np.einsum("tld,cld->tlc", centred, directions)
    expected /= np.linalg.norm(centred, axis=-1)[:, :, None]
    found = centred_cosines(
        np.einsum("tld,cld->tlc", activations, directions),
        np.linalg.norm(centred, axis=-1),
        np.einsum("ld,cld->lc", center, directions),
    )
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_an_activation_at_the_center_has_cosine_zero_and_no_warning() -> None:
    zero, one = np.zeros((1, 1), np.float32), np.ones((1, 1, 1), np.float32)
    with np.errstate(all="raise"):
        assert centred_cosines(one, zero, zero).item() == 0


def test_the_first_token_and_template_tokens_do_not_count() -> None:
    assert scored_tokens(["user", "user", "template", "assistant"]).tolist() == [
        False,
        True,
        False,
        True,
    ]


def test_selecting_keeps_scores_beside_their_labels_in_the_order_asked_for() -> None:
    part = small_reading().select(tokens=[3, 1], layers=[7], concepts=["sad", "calm"])
    assert (part.tokens, part.layers, part.concepts) == (("·the", "·the"), (7,), ("sad", "calm"))
    np.testing.assert_array_equal(part.raw[:, 0], [[23, 21], [11, 9]])
    assert part.scored.tolist() == [True, True]


def test_unknown_concepts_layers_and_units_are_refused_with_what_there_is() -> None:
    reading = small_reading()
    with pytest.raises(UserError, match=r"no concept 'joy'.*calm, afraid, sad"):
        reading.select(concepts=["joy"])
    with pytest.raises(UserError, match=r"no layer 3.*2, 7"):
        reading.select(layers=[3])
    with pytest.raises(UserError, match=r"z, cosine, raw"):
        reading.scores("percent")


def test_the_nearest_layer_is_found_where_vectors_lack_one() -> None:
    assert [small_reading().nearest_layer(i) for i in (0, 4, 5, 40)] == [2, 2, 7, 7]


def test_labels_that_do_not_fit_the_scores_are_refused() -> None:
    reading = small_reading()
    with pytest.raises(ValueError, match=r"raw is \(4, 2, 3\), expected \(3, 2, 3\)"):
        Reading(
            reading.tokens[:3],
            reading.roles[:3],
            reading.concepts,
            reading.layers,
            reading.raw,
            reading.cosine,
            reading.z,
            reading.similarity,
            reading.scored,
        )


def test_csv_has_one_line_per_token_layer_and_concept_with_all_scores() -> None:
    rows = list(csv.DictReader(io.StringIO(scores_csv(small_reading()))))
    assert len(rows) == 24
    assert rows[-1] == {
        "position": "3",
        "token": "·the",
        "role": "assistant",
        "scored": "1",
        "layer": "7",
        "concept": "sad",
        "z": "13",
        "cosine": "0.23",
        "raw": "23",
    }


def test_csv_survives_quotes_commas_and_line_ends_in_tokens() -> None:
    reading = small_reading()
    odd = Reading(
        ('"', ",", "a\r\nb", ""),
        reading.roles,
        reading.concepts,
        reading.layers,
        reading.raw,
        reading.cosine,
        reading.z,
        reading.similarity,
        reading.scored,
    )
    rows = list(csv.DictReader(io.StringIO(scores_csv(odd), newline="")))
    assert [row["token"] for row in rows[::6]] == ['"', ",", "a\r\nb", ""]


def test_a_table_has_a_row_for_each_token_and_a_column_for_each_concept() -> None:
    reading = small_reading()
    frame = reading.to_frame(layer=7)
    assert list(frame.columns) == ["calm", "afraid", "sad"]
    assert frame.index.names == ["position", "token", "role", "scored"]
    np.testing.assert_array_equal(frame.to_numpy(), reading.z[:, 1])
    assert frame.attrs == {"layer": 7, "unit": "standard deviations from neutral tokens"}
    counted = frame.query("scored").reset_index()
    assert counted[["position", "token", "role"]].values.tolist() == [
        [1, "·the", "user"],
        [3, "·the", "assistant"],
    ]
    np.testing.assert_array_equal(reading.to_frame(2, "raw").to_numpy(), reading.raw[:, 0])


def test_a_table_is_of_the_best_layer_where_none_is_named() -> None:
    assert small_reading().to_frame().attrs["layer"] == 7
    assert replace(small_reading(), best_layer=3).to_frame().attrs["layer"] == 2
    with pytest.raises(UserError, match="no layer 5"):
        small_reading().to_frame(5)
    with pytest.raises(UserError, match="no kind of score"):
        small_reading().to_frame(2, "percent")


def test_a_notebook_shows_the_text_in_the_colours_of_its_strongest_concepts() -> None:
    reading = replace(small_reading(), tokens=("<s>", "·$x", "⏎", "·`"))
    html = reading._repr_html_()
    strongest = [html.index(f"<b>{concept}</b>") for concept in ("sad", "afraid", "calm")]
    assert strongest == sorted(strongest)
    assert "&lt;s&gt;" in html
    assert "·&#36;x" in html
    assert "·&#96;" in html
    assert "<s>" not in html
    assert "$" not in html
    assert "layer 7" in html
    strengths = [float(found) for found in re.findall(r"rgba\(\d+,\d+,\d+,([\d.]+)\)", html)]
    assert len(strengths) == 3 * 4
    assert [share > 0 for share in strengths[:4]] == [False, True, False, True]
    assert max(strengths) == 0.75


def test_a_reading_without_a_scored_token_is_shown_without_colour() -> None:
    reading = replace(small_reading(), scored=np.zeros(4, dtype=np.bool_))
    assert set(re.findall(r",([\d.]+)\)", reading._repr_html_())) == {"0.000"}


def test_a_reading_names_its_size() -> None:
    assert repr(small_reading()) == "<Reading of 4 tokens: 3 concepts at 2 layers>"
