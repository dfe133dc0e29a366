"""What a manifest says, and what is refused in its place."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from readout_ui.errors import UserError
from readout_ui.runs.manifest import Manifest, MetricsPart, finite_or_none, parse_manifest
from tests.support.trained_example import CONCEPTS, D_MODEL, LAYERS, make_run

SHA = "0" * 64


def good() -> Manifest:
    run = make_run()
    return run.manifest.holding(run.vectors, "float16", {"readout.safetensors": SHA})


def values() -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(good().to_bytes())
    return parsed


def parse(changed: object) -> Manifest:
    return parse_manifest(json.dumps(changed).encode(), "readout.json")


def test_the_keys_of_the_seed_trainer_are_there_with_its_meaning() -> None:
    found = values()
    assert found["concepts"] == list(CONCEPTS)
    assert found["layers"] == list(LAYERS)
    assert found["hidden_size"] == D_MODEL
    assert found["dtype"] == "float16"
    assert found["aggregator"] == "whitened"
    assert found["format"] == "direct_first_person_assistant_role"


def test_the_origin_of_the_vectors_is_there() -> None:
    found = values()
    assert found["schema_version"] == 1
    assert found["model"]["id"] == "tiny/model"
    assert found["model"]["revision"] == "main"
    assert found["frame"]["fingerprint"] == "a" * 64
    assert found["read"]["rule"] == "content_mean"
    assert found["read"]["module_path"] == "model.layers.{num}"
    assert found["method"] == "whitened"
    assert found["seed"] == 0
    assert found["settings"]["max_length"] == 256
    assert set(found["descriptions"]) == {*CONCEPTS, "_neutral"}
    assert found["files"] == {"readout.safetensors": SHA}
    assert found["metrics"]["best_layer"] == 3
    assert found["metrics"]["layer_scores"] == [0.5, 0.75, 0.625, 0.875]
    assert {"torch", "transformers", "safetensors", "readout-ui"} <= set(found["packages"])


def test_a_manifest_survives_writing_and_reading() -> None:
    raw = good().to_bytes()
    assert parse_manifest(raw, "readout.json").to_bytes() == raw


def test_the_bytes_do_not_depend_on_the_order_of_the_dictionaries() -> None:
    trained = make_run()
    files = {"b": SHA, "a": SHA}
    one = trained.manifest.holding(trained.vectors, "float16", files).to_bytes()
    other = trained.manifest.holding(trained.vectors, "float16", dict(sorted(files.items())))
    assert one == other.to_bytes()


def test_keys_of_another_program_are_kept() -> None:
    changed = values() | {"served_by": "somebody"}
    changed["model"]["license"] = "Apache-2.0"
    again = json.loads(parse(changed).to_bytes())
    assert again["served_by"] == "somebody"
    assert again["model"]["license"] == "Apache-2.0"


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("schema_version", 2, "unknown schema version 2"),
        ("schema_version", None, "no schema_version"),
        ("schema_version", True, "unknown schema version True"),
        ("concepts", [], "concepts must be named once"),
        ("concepts", ["sad", "sad"], "concepts must be named once"),
        ("concepts", "sad", "concepts"),
        ("layers", [-1], "layers.0"),
        ("layers", [1.5], "layers.0"),
        ("hidden_size", 0, "hidden_size"),
        ("hidden_size", "64", "hidden_size"),
        ("dtype", "bfloat16", "dtype"),
        ("files", {"readout.safetensors": "short"}, "files"),
        ("model", {"id": "x"}, "model.revision"),
        ("metrics", {"best_layer": 9, "layer_scores": [0.5], "n_texts": 7}, "best layer is 9"),
        ("residual_norms", ["long"], "residual_norms"),
        ("residual_norms", [1e308], "residual_norms"),
        ("settings", {"layer_config": None}, "layer_config"),
        ("settings", {"layer_config": [["mlp"]]}, "layer_config"),
    ],
)
def test_a_wrong_value_is_refused_by_name(key: str, value: object, said: str) -> None:
    with pytest.raises(UserError, match=said):
        parse(values() | {key: value})


def test_a_missing_key_is_refused_by_name() -> None:
    changed = values()
    del changed["read"]
    with pytest.raises(UserError, match="read: Field required"):
        parse(changed)


def test_scores_that_are_no_numbers_are_written_as_null() -> None:
    scores = finite_or_none((0.5, float("nan")))
    manifest = make_run(metrics=MetricsPart(best_layer=0, layer_scores=scores, n_texts=7)).manifest
    assert json.loads(manifest.to_bytes())["metrics"]["layer_scores"] == [0.5, None]


@pytest.mark.parametrize(
    "raw", [b"", b"\xff", b"[]", b"null", b"{", b'{"schema_version": NaN}', b"[" * 100_000]
)
def test_bytes_that_are_no_manifest_are_refused(raw: bytes) -> None:
    with pytest.raises(UserError, match=r"readout\.json"):
        parse_manifest(raw, "readout.json")


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(st.sampled_from(sorted(values())), ANYTHING)
def test_whatever_a_key_holds_the_answer_is_a_manifest_or_one_sentence(
    key: str, value: object
) -> None:
    raw = json.dumps(values() | {key: value}).encode()
    try:
        manifest = parse_manifest(raw, "readout.json")
    except UserError as error:
        refusal = str(error)
    else:
        refusal = ""
        assert parse_manifest(manifest.to_bytes(), "readout.json") == manifest
    assert "\n" not in refusal


@given(st.binary(max_size=200))
def test_random_bytes_never_raise_anything_but_a_user_error(raw: bytes) -> None:
    with pytest.raises(UserError):
        parse_manifest(raw, "readout.json")
