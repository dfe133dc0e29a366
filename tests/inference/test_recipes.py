"""A steering recipe: every setup has a line that reads back as the same setup."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from readout_ui.errors import UserError
from readout_ui.inference.recipe import parse_recipe, print_recipe
from readout_ui.inference.steering_setup import Steer, SteeringSetup, Where
from tests.inference.test_steering_setups import setups

HERE = (16,)


@settings(max_examples=120)
@given(setups.filter(lambda setup: setup.steers), st.booleans())
def test_a_recipe_reads_back_as_the_setup_it_was_printed_from(
    setup: SteeringSetup, alike: bool
) -> None:
    if alike:  # terms at the layer that is meant where none is named
        setup = replace(setup, steers=tuple(replace(one, layers=HERE) for one in setup.steers))
    line = print_recipe(setup, HERE)
    assert parse_recipe(line, HERE) == setup
    assert parse_recipe(print_recipe(setup), (3,)) == setup


@settings(max_examples=150)
@given(st.one_of(st.text(max_size=30), st.from_regex(r"[0-9.+\- a-c:=@\"]{0,20}", fullmatch=True)))
def test_any_line_is_a_setup_or_one_clear_sentence(line: str) -> None:
    found: SteeringSetup | UserError
    try:
        found = parse_recipe(line, HERE)
    except UserError as error:
        found = error
    if isinstance(found, UserError):
        assert found.where.startswith("recipe")
        assert found.options
    else:
        assert parse_recipe(print_recipe(found, HERE), HERE) == found


def test_the_line_of_the_documentation() -> None:
    found = parse_recipe("0.4 calm + -0.2 angry @generated", HERE)
    assert found == SteeringSetup(
        (Steer("calm", HERE, 0.4), Steer("angry", HERE, -0.2)), Where("generated")
    )
    assert print_recipe(found, HERE) == "0.4 calm + -0.2 angry @generated"
    assert parse_recipe("  0.4*calm − 0.2 × angry@generated ", HERE) == found


def test_operators_units_layers_and_tokens() -> None:
    line = '12 raw calm:14,16 + ablate angry + 0.5 clamp "two words":3-5 = -1.5 @spans:3-7,12'
    assert parse_recipe(line, HERE) == SteeringSetup(
        (
            Steer("calm", (14, 16), 12, "raw"),
            Steer("angry", HERE, 1, "norm", "ablate"),
            Steer("two words", (3, 4, 5), 0.5, "norm", "clamp", -1.5),
        ),
        Where("spans", spans=((3, 8), (12, 13))),
    )


@pytest.mark.parametrize(
    ("line", "place", "words"),
    [
        ("", "recipe: ", "0.4 calm"),
        ("calm", "character 1:", "an amount is missing"),
        ("0.4", "character 4:", "the end is no concept"),
        ("0.4 calm angry", "character 10:", "'angry' does not belong here"),
        ("0.4 calm @nowhere", "character 11:", "@generated"),
        ("0.4 calm:x", "character 10:", "a layer is missing"),
        ("clamp calm", "character 11:", "clamp needs a value"),
        ("clamp calm = ", "character 14:", "a number is missing"),
        ('0.4 "calm', "character 5:", "a quoted name does not end"),
        ("1e9 calm", "character 1:", "between"),
    ],
)
def test_a_mistake_is_told_with_its_place_and_what_could_stand_there(
    line: str, place: str, words: str
) -> None:
    with pytest.raises(UserError, match="recipe") as caught:
        parse_recipe(line, HERE)
    assert place in str(caught.value)
    assert words in str(caught.value)


def test_a_function_has_no_line() -> None:
    own = Steer("calm", HERE, operator=lambda one, _other: one)
    with pytest.raises(UserError, match="a function cannot be written"):
        print_recipe(SteeringSetup((own,)))
