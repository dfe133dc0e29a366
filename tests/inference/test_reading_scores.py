import csv
import io

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


def small_readout() -> Reading:
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
    part = small_readout().select(tokens=[3, 1], layers=[7], concepts=["sad", "calm"])
    assert (part.tokens, part.layers, part.concepts) == (("·the", "·the"), (7,), ("sad", "calm"))
    np.testing.assert_array_equal(part.raw[:, 0], [[23, 21], [11, 9]])
    assert part.scored.tolist() == [True, True]


def test_unknown_concepts_layers_and_units_are_refused_with_what_there_is() -> None:
    readout = small_readout()
    with pytest.raises(UserError, match=r"no concept 'joy'.*calm, afraid, sad"):
        readout.select(concepts=["joy"])
    with pytest.raises(UserError, match=r"no layer 3.*2, 7"):
        readout.select(layers=[3])
    with pytest.raises(UserError, match=r"z, cosine, raw"):
        readout.scores("percent")


def test_the_nearest_layer_is_found_where_vectors_lack_one() -> None:
    assert [small_readout().nearest_layer(i) for i in (0, 4, 5, 40)] == [2, 2, 7, 7]


def test_labels_that_do_not_fit_the_scores_are_refused() -> None:
    readout = small_readout()
    with pytest.raises(ValueError, match=r"raw is \(4, 2, 3\), expected \(3, 2, 3\)"):
        Reading(
            readout.tokens[:3],
            readout.roles[:3],
            readout.concepts,
            readout.layers,
            readout.raw,
            readout.cosine,
            readout.z,
            readout.similarity,
            readout.scored,
        )


def test_csv_has_one_line_per_token_layer_and_concept_with_all_scores() -> None:
    rows = list(csv.DictReader(io.StringIO(scores_csv(small_readout()))))
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
    readout = small_readout()
    odd = Reading(
        ('"', ",", "a\r\nb", ""),
        readout.roles,
        readout.concepts,
        readout.layers,
        readout.raw,
        readout.cosine,
        readout.z,
        readout.similarity,
        readout.scored,
    )
    rows = list(csv.DictReader(io.StringIO(scores_csv(odd), newline="")))
    assert [row["token"] for row in rows[::6]] == ['"', ",", "a\r\nb", ""]
