"""A steering setup survives its file, and nothing else passes for one."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from readout_ui.errors import UserError
from readout_ui.inference.steering_setup import (
    OPERATORS,
    UNITS,
    Steer,
    SteeringSetup,
    Where,
    load_setup,
    parse_factors,
    parse_setup,
    parse_where,
    setup_json,
)

numbers = st.floats(-1e6, 1e6, allow_nan=False)
spans = st.lists(st.tuples(st.integers(0, 999), st.integers(1, 99)), min_size=1, max_size=4).map(
    lambda pairs: tuple((first, first + n) for first, n in pairs)
)
wheres = st.one_of(
    st.sampled_from(["all", "prompt", "generated"]).map(Where),  # type: ignore[arg-type]
    st.integers(0, 10**6).map(lambda start: Where("from", start=start)),
    spans.map(lambda some: Where("spans", spans=some)),
)
steers = st.builds(
    lambda concept, layers, multiplier, unit, operator, value: Steer(
        concept, tuple(layers), multiplier, unit, operator, value if operator == "clamp" else None
    ),
    st.text(min_size=1, max_size=12),
    st.lists(st.integers(0, 200), min_size=1, max_size=4, unique=True),
    numbers,
    st.sampled_from(UNITS),
    st.sampled_from(OPERATORS),
    numbers,
)
setups = st.builds(
    lambda some, where: SteeringSetup(tuple(some), where), st.lists(steers, max_size=3), wheres
)


@settings(max_examples=40)
@given(setups)
def test_a_setup_comes_back_from_its_file_as_it_was(setup: SteeringSetup) -> None:
    raw = setup_json(setup, "tiny", "f1").encode()
    assert parse_setup(raw, "s.json", "tiny", "f1") == setup


@settings(max_examples=40)
@given(wheres)
def test_where_reads_what_it_writes(where: Where) -> None:
    assert parse_where(str(where)) == where


@settings(max_examples=40)
@given(st.one_of(st.text(max_size=30), st.from_regex(r"(from|spans):[0-9,\- ]{0,9}")))
def test_any_text_is_a_where_or_a_user_error(text: str) -> None:
    try:
        found = parse_where(text)
    except UserError:
        return
    assert parse_where(str(found)) == found


@settings(max_examples=40)
@given(st.binary(max_size=60))
def test_any_bytes_are_refused_in_one_sentence(raw: bytes) -> None:
    with pytest.raises(UserError, match=r"^s\.json: "):
        parse_setup(raw, "s.json", "tiny", "f1")


@settings(max_examples=40)
@given(st.one_of(st.text(max_size=20), st.from_regex(r"-?[0-9]{1,3}\.\.[0-9]{1,2}(:[0-9]{1,3})?")))
def test_any_text_is_ascending_factors_or_a_user_error(text: str) -> None:
    try:
        found = parse_factors(text)
    except UserError:
        return
    assert list(found) == sorted(set(found))
    assert 2 <= len(found) <= 50


def test_factors_are_a_range_or_a_list() -> None:
    assert parse_factors("-2..2:9") == (-2, -1.5, -1, -0.5, 0, 0.5, 1, 1.5, 2)
    assert parse_factors("-1..1") == (-1, -0.75, -0.5, -0.25, 0, 0.25, 0.5, 0.75, 1)
    assert parse_factors("1, -1, 0") == (-1, 0, 1)
    for wrong in ("", "1", "2..-2:9", "1..2:1", "a..b", "nan,1", "1e9,0"):
        with pytest.raises(UserError, match="cannot sweep"):
            parse_factors(wrong)


def test_another_models_setup_is_refused_by_name() -> None:
    raw = setup_json(SteeringSetup((Steer("calm", (1,)),)), "tiny", "f1").encode()
    with pytest.raises(UserError, match="is for tiny, the model here is big; load tiny"):
        parse_setup(raw, "s.json", "big", "f2")
    with pytest.raises(UserError, match="other weights of tiny"):
        parse_setup(raw, "s.json", "tiny", "f2")


def test_unknown_keys_and_values_are_named() -> None:
    good = json.loads(setup_json(SteeringSetup((Steer("calm", (1,)),)), "tiny", "f1"))

    def changed(**values: object) -> bytes:
        return json.dumps({**good, **values}).encode()

    steer = good["steers"][0]
    wrong = {
        "colour": changed(colour="red"),
        "steers.0.strength": changed(steers=[{**steer, "strength": 2}]),
        "steers.0.operator": changed(steers=[{**steer, "operator": "multiply"}]),
        "steers.0.multiplier": changed(steers=[{**steer, "multiplier": "NaN"}]),
        "clamp needs a value": changed(steers=[{**steer, "operator": "clamp"}]),
        "schema_version": changed(schema_version=2),
        "choose at least one layer": changed(steers=[{**steer, "layers": []}]),
    }
    for message, raw in wrong.items():
        with pytest.raises(UserError, match=message):
            parse_setup(raw, "s.json", "tiny", "f1")


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.json: cannot be read"):
        load_setup(tmp_path / "none.json", "tiny", "f1")


def test_scaling_multiplies_every_multiplier_and_zero_does_nothing() -> None:
    setup = SteeringSetup((Steer("calm", (1,), 0.5), Steer("sad", (2,), -1, operator="ablate")))
    assert [one.multiplier for one in setup.scaled(-2).steers] == [-1, 2]
    assert setup.scaled(0).active == ()
    assert setup.layers == (1, 2)


def test_a_setup_says_in_words_what_it_does() -> None:
    steers = (
        Steer("calm", (1, 2), 0.5),
        Steer("sad", (2,), 1, operator="ablate"),
        Steer("angry", (3,), 1, "raw", "clamp", -4.0),
    )
    words = SteeringSetup(steers, Where("spans", spans=((3, 8), (12, 13)))).describe()
    assert words == (
        "add calm +0.5 x norm at layer 1, 2; ablate sad 1 of the projection at layer 2; "
        "clamp angry to -4 raw at layer 3; tokens: spans:3-7,12"
    )


def test_a_where_that_contradicts_itself_is_refused() -> None:
    wrong = (
        {"kind": "spans"},
        {"kind": "all", "spans": ((1, 2),)},
        {"kind": "spans", "spans": ((3, 3),)},
        {"kind": "from", "start": -1},
        {"kind": "nowhere"},
    )
    for values in wrong:
        with pytest.raises(UserError):
            Where(**values)  # type: ignore[arg-type]
