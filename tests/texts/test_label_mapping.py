"""Which concept a label stands for: suggested by name and word, decided by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from readout_ui.errors import UserError
from readout_ui.texts.labelled import (
    IGNORE,
    NEUTRAL,
    OTHER,
    SPECIAL,
    check_mapping,
    parse_mapping,
    suggest_mapping,
)

CONCEPTS = ("angry", "calm", "happy", "quiet_joy", "afraid", "sad")


@pytest.mark.parametrize(
    ("label", "target"),
    [
        ("calm", "calm"),
        ("CALM ", "calm"),
        ("quiet joy", "quiet_joy"),
        ("anger", "angry"),
        ("fear", "afraid"),
        ("happiness", "happy"),
        ("sadness", "sad"),
        ("neutral", NEUTRAL),
        ("_baseline", NEUTRAL),
        ("surprise", IGNORE),
        ("7", IGNORE),
        ("!!", IGNORE),
    ],
)
def test_a_label_is_matched_by_name_then_word(label: str, target: str) -> None:
    (suggestion,) = suggest_mapping([label], CONCEPTS)
    assert suggestion.target == target
    assert suggestion.reason


@pytest.mark.parametrize(("label", "like"), [("hapy", "happy"), ("furious", "curious")])
def test_a_like_spelling_is_named_and_never_applied(label: str, like: str) -> None:
    (suggestion,) = suggest_mapping([label], (*CONCEPTS, "curious"))
    assert suggestion.target == IGNORE
    assert f"spelled like {like}" in suggestion.reason


def test_every_label_gets_one_suggestion() -> None:
    labels = ["calm", "joy", "calm"]
    assert [each.label for each in suggest_mapping(labels, CONCEPTS)] == ["calm", "joy"]


def test_a_typed_mapping_goes_over_the_suggestions() -> None:
    mapping = parse_mapping(
        "joy=happy, calm=, mad = other", ["joy", "calm", "mad", "sad"], CONCEPTS
    )
    assert mapping == {"joy": "happy", "calm": IGNORE, "mad": OTHER, "sad": "sad"}


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("joy", "write label=concept"),
        ("glee=happy", "no text is labelled 'glee'"),
        ("joy=hapy", r"there is no concept 'hapy'.*options: happy"),
        ("sad=", "no label stands for a trained concept"),
    ],
)
def test_a_mapping_that_cannot_be_is_refused(written: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse_mapping(written, ["joy", "sad"], CONCEPTS)


@given(st.dictionaries(st.text(), st.text() | st.sampled_from((*CONCEPTS, *SPECIAL, ""))))
def test_a_checked_mapping_names_only_concepts_and_special_targets(typed: dict[str, str]) -> None:
    try:
        checked = check_mapping(typed, CONCEPTS)
    except UserError:
        return
    assert set(checked.values()) <= {*CONCEPTS, *SPECIAL}
    assert set(checked.values()) & set(CONCEPTS)


@given(st.lists(st.text(), unique=True), st.lists(st.text(min_size=1), unique=True))
def test_any_labels_and_concepts_give_suggestions(labels: list[str], concepts: list[str]) -> None:
    targets = {each.target for each in suggest_mapping(labels, concepts)}
    assert targets <= {*concepts, *SPECIAL}
