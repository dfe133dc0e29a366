"""Each training method against steering-vectors' own aggregator on the same activations."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from steering_vectors.aggregators import (
    Aggregator,
    logistic_aggregator,
    mean_aggregator,
    pca_aggregator,
)
from torch import Tensor

from readout_ui.errors import UserError
from readout_ui.vectors.groups import PairSettings, TextGroups, sample_pairs
from readout_ui.vectors.methods import METHODS, neutral_center

Pairs = Sequence[tuple[int, int]]
N_CONCEPTS, N_DESCRIPTIONS, N_NEUTRAL, N_LAYERS, D_MODEL = 5, 6, 8, 3, 48


def groups_of(
    n_concepts: int = N_CONCEPTS, n_descriptions: int = N_DESCRIPTIONS, n_neutral: int = N_NEUTRAL
) -> TextGroups:
    n_texts = n_concepts * n_descriptions
    rows = tuple(tuple(range(i, i + n_descriptions)) for i in range(0, n_texts, n_descriptions))
    names = tuple(f"concept{i:03d}" for i in range(n_concepts))
    return TextGroups(names, rows, tuple(range(n_texts, n_texts + n_neutral)))


def realistic(groups: TextGroups, seed: int = 0) -> Tensor:
    """Texts around a far common mean, with one massive dimension and a part per concept."""
    generator = torch.Generator().manual_seed(seed)
    n_texts = len(groups.all_rows())
    activations = torch.randn(n_texts, N_LAYERS, D_MODEL, generator=generator)
    for rows in groups.rows:
        activations[list(rows)] += torch.randn(1, N_LAYERS, D_MODEL, generator=generator)
    activations[:, :, 3] *= 50
    activations += 20 * torch.randn(1, N_LAYERS, D_MODEL, generator=generator)
    activations[:, :, 3] += 1000
    return activations * torch.tensor([0.3, 1.0, 5.0])[:, None]


def library_direction(
    aggregator: Aggregator, activations: Tensor, pairs: Pairs, layer: int
) -> Tensor:
    positive = activations[[p for p, _ in pairs], layer]
    negative = activations[[n for _, n in pairs], layer]
    direction: Tensor = aggregator(positive.float(), negative.float())
    return direction.float()


def cosine(a: Tensor, b: Tensor) -> float:
    return float(torch.nn.functional.cosine_similarity(a.double(), b.double(), dim=-1))


LIBRARY: dict[str, Aggregator] = {
    "pca": pca_aggregator(),
    "logistic": logistic_aggregator({"tol": 1e-10, "max_iter": 100_000}),
}


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("method", ["pca", "logistic"])
def test_pair_methods_give_the_librarys_direction(method: str, seed: int) -> None:
    groups, settings = groups_of(), PairSettings(seed=seed)
    activations = realistic(groups, seed)
    directions = METHODS[method](activations, groups, settings)
    for i, concept in enumerate(groups.concepts):
        pairs = sample_pairs(groups, concept, settings)
        for layer in range(N_LAYERS):
            expected = library_direction(LIBRARY[method], activations, pairs, layer)
            assert cosine(directions[i, layer], expected) >= 0.9999


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_mean_difference_is_the_librarys_mean_over_all_pairs(seed: int) -> None:
    groups = groups_of()
    activations = realistic(groups, seed)
    directions = METHODS["mean"](activations, groups, PairSettings())
    for i, concept in enumerate(groups.concepts):
        pairs = [(p, n) for p in groups.rows[i] for n in groups.negatives(concept)]
        for layer in range(N_LAYERS):
            expected = library_direction(mean_aggregator(), activations, pairs, layer)
            assert cosine(directions[i, layer], expected) >= 0.9999


@pytest.mark.parametrize("method", METHODS)
def test_directions_are_unit_length_and_float32_from_any_dtype(method: str) -> None:
    groups = groups_of()
    activations = realistic(groups).to(torch.bfloat16)
    directions = METHODS[method](activations, groups, PairSettings())
    assert directions.dtype == torch.float32
    assert directions.shape == (N_CONCEPTS, N_LAYERS, D_MODEL)
    torch.testing.assert_close(directions.norm(dim=2), torch.ones(N_CONCEPTS, N_LAYERS))


@pytest.mark.parametrize("method", METHODS)
def test_a_planted_direction_is_found(method: str) -> None:
    groups = groups_of(n_descriptions=12)
    generator = torch.Generator().manual_seed(0)
    activations = 0.05 * torch.randn(len(groups.all_rows()), 1, D_MODEL, generator=generator)
    planted = torch.nn.functional.normalize(torch.randn(D_MODEL, generator=generator), dim=0)
    activations[list(groups.rows[2]), 0] += planted
    directions = METHODS[method](activations, groups, PairSettings())
    # Noise alike along all lines leaves whitening nothing to gain, and its estimate costs a little.
    assert cosine(directions[2, 0], planted) > (0.95 if method == "whitened" else 0.98)


@pytest.mark.parametrize("method", METHODS)
def test_the_common_mean_of_all_texts_does_not_matter(method: str) -> None:
    groups = groups_of()
    activations = realistic(groups)
    moved = activations + 100 * torch.ones(D_MODEL)
    before = METHODS[method](activations, groups, PairSettings())
    after = METHODS[method](moved, groups, PairSettings())
    assert (before * after).sum(dim=2).min() > 0.99999


@pytest.mark.parametrize("method", METHODS)
def test_a_layer_that_cannot_tell_texts_apart_gives_zero_not_noise(method: str) -> None:
    groups = groups_of()
    activations = realistic(groups)
    generator = torch.Generator().manual_seed(5)
    same = 10 * torch.randn(D_MODEL, generator=generator)
    activations[:, 1] = same * (1 + 1e-7 * torch.randn(len(activations), 1, generator=generator))
    directions = METHODS[method](activations, groups, PairSettings())
    assert torch.equal(directions[:, 1], torch.zeros(N_CONCEPTS, D_MODEL))
    assert (directions[:, 0].norm(dim=1) > 0.99).all()


@pytest.mark.parametrize("method", METHODS)
def test_one_description_per_concept_and_no_neutral_text_is_enough(method: str) -> None:
    groups = groups_of(n_concepts=2, n_descriptions=1, n_neutral=0)
    activations = realistic(groups)
    directions = METHODS[method](activations, groups, PairSettings())
    delta = torch.nn.functional.normalize(activations[0] - activations[1], dim=1)
    torch.testing.assert_close(directions[0], delta, atol=1e-5, rtol=0)
    torch.testing.assert_close(directions[1], -delta, atol=1e-5, rtol=0)


@pytest.mark.parametrize("method", METHODS)
def test_a_text_listed_twice_weighs_twice(method: str) -> None:
    groups = TextGroups(("a", "b"), ((0, 0, 1), (2, 3)), (4,))
    activations = realistic(groups_of())
    written_out = activations[[0, 0, 1, 2, 3, 4]]
    plain = TextGroups(("a", "b"), ((0, 1, 2), (3, 4)), (5,))
    repeated = METHODS[method](activations, groups, PairSettings())
    expected = METHODS[method](written_out, plain, PairSettings())
    torch.testing.assert_close(repeated, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("method", METHODS)
def test_activations_that_overflowed_are_named(method: str) -> None:
    groups = groups_of()
    activations = realistic(groups)
    activations[4, 1, 0] = float("inf")
    with pytest.raises(UserError, match=r"layer 1.*not finite"):
        METHODS[method](activations, groups, PairSettings())


def digest_of_all_methods() -> str:
    groups = groups_of()
    activations = realistic(groups)
    tensors = [fit(activations, groups, PairSettings()) for fit in METHODS.values()]
    return hashlib.sha256(torch.stack(tensors).numpy().tobytes()).hexdigest()


@pytest.mark.slow
def test_another_process_with_other_threads_gives_bit_identical_directions() -> None:
    program = "from tests.vectors.test_methods import digest_of_all_methods as d; print(d())"
    threads = "1" if torch.get_num_threads() > 1 else "2"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={
            **os.environ,
            "PYTHONHASHSEED": "11",
            "OMP_NUM_THREADS": threads,
            "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), *sys.path]),
        },
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == digest_of_all_methods()


def test_the_center_is_the_mean_of_the_neutral_texts() -> None:
    groups = TextGroups(("a", "b"), ((0, 1), (3,)), (4, 5))
    activations = realistic(groups_of())
    expected = activations[[4, 5]].mean(dim=0)
    torch.testing.assert_close(neutral_center(activations, groups), expected)


def test_without_neutral_texts_the_center_is_the_mean_of_all_texts() -> None:
    groups = TextGroups(("a", "b"), ((0, 1), (3,)), ())
    activations = realistic(groups_of())
    expected = activations[[0, 1, 3]].mean(dim=0)
    torch.testing.assert_close(neutral_center(activations, groups), expected)
