"""Settings of a training: what is accepted, and what the sentence says when it is not."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from readout_ui.errors import UserError
from readout_ui.vectors.settings import (
    LAYER_TYPE_NAMES,
    METHOD_NAMES,
    READ_RULE_NAMES,
    TrainSettings,
)


@pytest.mark.parametrize("layers", ["all", "auto", "14", "14,22", "-1", " 3 , -2 "])
def test_layer_lists_are_accepted(layers: str) -> None:
    assert TrainSettings(layers=layers).layers == layers


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"method": "median"}, "whitened, mean, neutral_pcs, pca, logistic"),
        ({"read": "last"}, "content_mean, content_last, content_tail, template_last"),
        ({"layer_type": "attention"}, "self_attn"),
        ({"layers": "14;22"}, "14,22"),
        ({"layers": ""}, "all, auto"),
        ({"max_length": 0}, "max length must be a whole number from 1 up"),
        ({"batch_size": 0}, "batch size"),
        ({"batch_size": True}, "batch size"),
        ({"max_negatives_per_positive": 0}, "negatives"),
        ({"seed": -1}, "seed"),
        ({"layer_config": (("mlp", "model.mlp"),)}, "{num}"),
    ],
)
def test_a_wrong_setting_is_one_sentence_with_the_options(
    values: dict[str, Any], said: str
) -> None:
    with pytest.raises(UserError, match=said):
        TrainSettings(**values)


def test_a_layer_type_of_ones_own_needs_its_path() -> None:
    config = (("router", "model.layers.{num}.router"),)
    assert TrainSettings(layer_type="router", layer_config=config).layer_type == "router"


SETTINGS = st.builds(
    TrainSettings,
    method=st.sampled_from(METHOD_NAMES),
    read=st.sampled_from(READ_RULE_NAMES),
    layers=st.sampled_from(["all", "auto", "1,2", "-1"]),
    layer_type=st.sampled_from(LAYER_TYPE_NAMES),
    layer_config=st.sampled_from([(), (("mlp", "h.{num}.mlp"),)]),
    batch_size=st.none() | st.integers(1, 64),
    seed=st.integers(0, 2**40),
)


@given(SETTINGS)
def test_settings_survive_json(settings: TrainSettings) -> None:
    assert TrainSettings.from_json(settings.as_json()) == settings


JSON = st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.text(), max_size=2)


@given(st.dictionaries(st.sampled_from(sorted(TrainSettings().as_json())), JSON))
def test_settings_from_anywhere_are_accepted_or_refused_in_a_sentence(
    values: dict[str, Any],
) -> None:
    try:
        settings = TrainSettings.from_json(values)
    except UserError:
        return
    assert TrainSettings.from_json(settings.as_json()) == settings


def test_an_unknown_setting_is_refused() -> None:
    with pytest.raises(UserError, match="unknown setting 'magic'"):
        TrainSettings.from_json({"magic": 1})


def test_the_names_here_are_those_of_the_core() -> None:
    from readout_ui.activations.pooling import READ_RULES
    from readout_ui.models.blocks import LAYER_TYPES
    from readout_ui.vectors.methods import METHODS

    assert tuple(METHODS) == METHOD_NAMES
    assert tuple(READ_RULES) == READ_RULE_NAMES
    assert tuple(LAYER_TYPES) == LAYER_TYPE_NAMES
