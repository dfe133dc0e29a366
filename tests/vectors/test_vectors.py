"""Concept vectors keep their invariants; layer choices are resolved or refused."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from readout_ui.errors import UserError
from readout_ui.vectors.vectors import ConceptVectors, resolve_layers


def vectors() -> ConceptVectors:
    generator = torch.Generator().manual_seed(0)
    directions = torch.randn(3, 2, 8, generator=generator)
    return ConceptVectors(
        concepts=("calm", "sad", "tired"),
        layers=(4, 9),
        directions=torch.nn.functional.normalize(directions, dim=2),
        center=torch.randn(2, 8, generator=generator),
        neutral_mean=torch.randn(3, 2, generator=generator),
        neutral_std=torch.rand(3, 2, generator=generator) + 0.5,
    )


def test_selecting_keeps_every_tensor_in_step() -> None:
    whole = vectors()
    part = whole.select(concepts=["tired", "calm"], layers=[9])
    assert part.concepts == ("tired", "calm")
    assert part.layers == (9,)
    assert torch.equal(part.directions, whole.directions[[2, 0]][:, [1]])
    assert torch.equal(part.center, whole.center[[1]])
    assert torch.equal(part.neutral_mean, whole.neutral_mean[[2, 0]][:, [1]])
    assert torch.equal(part.neutral_std, whole.neutral_std[[2, 0]][:, [1]])


def test_selecting_nothing_in_particular_keeps_all() -> None:
    assert torch.equal(vectors().select().directions, vectors().directions)


@pytest.mark.parametrize("wanted", [{"concepts": ["angry"]}, {"layers": [5]}])
def test_selecting_what_was_not_trained_lists_what_was(wanted: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"was not trained.*\((options: calm, sad|options: 4, 9)"):
        vectors().select(**wanted)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"concepts": ("calm", "calm", "sad")}, "different"),
        ({"layers": (4, -1)}, "not negative"),
        ({"center": torch.zeros(2, 7)}, r"\(2, 7\), expected \(2, 8\)"),
        ({"neutral_std": torch.zeros(3, 2)}, "above zero"),
        ({"neutral_mean": torch.full((3, 2), float("nan"))}, "not finite"),
        ({"directions": torch.full((3, 2, 8), float("nan"))}, "directions holds .* not finite"),
        ({"steering": torch.full((3, 2, 8), float("inf"))}, "steering holds .* not finite"),
        ({"directions": torch.ones(3, 2, 8)}, "lengths"),
        ({"steering": torch.ones(3, 2, 8)}, "lengths"),
        ({"directions": torch.ones(3, 8)}, "axes"),
    ],
)
def test_values_that_contradict_each_other_are_refused(
    change: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        replace(vectors(), **change)


def test_a_zero_direction_is_allowed_for_a_layer_without_signal() -> None:
    directions = vectors().directions.clone()
    directions[1, 0] = 0
    assert replace(vectors(), directions=directions).directions[1, 0].norm() == 0


@pytest.mark.parametrize(
    ("spec", "layers"),
    [
        ("all", (0, 1, 2, 3, 4, 5)),
        ("AUTO", (2, 4)),
        ("3", (3,)),
        ("-1", (5,)),
        (" 4, 1 ,-6,4", (0, 1, 4)),
    ],
)
def test_layers_are_counted_from_either_end(spec: str, layers: tuple[int, ...]) -> None:
    assert resolve_layers(spec, 6, auto=(4, 2)) == layers


@pytest.mark.parametrize("spec", ["6", "-7", "", "1,,2", "1.5", "x", "٣", "--1", "9" * 5000, "²"])
def test_a_layer_that_does_not_exist_names_the_valid_range(spec: str) -> None:
    with pytest.raises(UserError, match="layers 0 to 5, or -6 to -1") as caught:
        resolve_layers(spec, 6)
    assert len(str(caught.value)) < 200


@given(spec=st.text(alphabet="0123456789,-+ alutox\n", max_size=20), n_layers=st.integers(1, 80))
def test_any_text_gives_layers_of_the_model_or_one_clear_sentence(spec: str, n_layers: int) -> None:
    try:
        layers = resolve_layers(spec, n_layers, auto=(0,))
    except UserError:
        return
    assert layers == tuple(sorted(set(layers)))
    assert set(layers) <= set(range(n_layers))
    assert layers


@pytest.mark.parametrize(
    ("n_layers", "expected"),
    [(1, (0,)), (2, (0, 1)), (4, (1, 2, 3)), (12, (5, 6, 7)), (30, (12, 13, 14, 15, 17))],
)
def test_middle_layers_are_three_to_five_around_the_middle(
    n_layers: int, expected: tuple[int, ...]
) -> None:
    assert resolve_layers("middle", n_layers) == expected
    for n in range(5, 100):
        chosen = resolve_layers("middle", n)
        assert 3 <= len(chosen) <= 5
        assert all(0.2 <= layer / (n - 1) <= 0.8 for layer in chosen)
