"""Directions fitted by a function: as a whole method, or as an aggregator of steering-vectors."""

from pathlib import Path

import pytest
import torch
from steering_vectors.aggregators import mean_aggregator, pca_aggregator
from torch import Tensor

from readout_ui.errors import UserError
from readout_ui.models.loading import LoadedModel
from readout_ui.runs.run import Run
from readout_ui.runs.training import train
from readout_ui.texts.library import Library
from readout_ui.texts.sources import examples, pairs, stories
from readout_ui.vectors.groups import PairSettings, TextGroups
from readout_ui.vectors.methods import METHODS, OwnMethod, fit_given_pairs
from readout_ui.vectors.settings import TrainSettings, layer_paths
from readout_ui.vectors.training import fit, read_corpus
from tests.conftest import SMALL_LIBRARY
from tests.support.loaded_tiny import load_tiny

LIBRARY = Library(SMALL_LIBRARY)
TEXTS = torch.randn(9, 2, 12, generator=torch.Generator().manual_seed(4))
GROUPS = TextGroups(("a", "b"), ((0, 1, 2), (3, 4, 5)), (6, 7, 8))


@pytest.fixture(scope="module")
def model() -> LoadedModel:
    return load_tiny()


def last_minus_first(activations: Tensor, groups: TextGroups, pairs: PairSettings) -> Tensor:
    del pairs
    return torch.stack([activations[rows[-1]] - activations[rows[0]] for rows in groups.rows])


@pytest.mark.parametrize(
    ("name", "aggregator"), [("mean", mean_aggregator()), ("pca", pca_aggregator())]
)
def test_an_aggregator_of_steering_vectors_gives_what_the_built_in_method_gives(
    name: str, aggregator: object
) -> None:
    own = OwnMethod(aggregator)  # type: ignore[arg-type]
    pairing = PairSettings(seed=0, max_negatives_per_positive=20)
    expected = METHODS[name](TEXTS, GROUPS, pairing)
    torch.testing.assert_close(own(TEXTS, GROUPS, pairing), expected, atol=1e-4, rtol=1e-4)
    rows = [(0, 3), (1, 4), (2, 5)]
    given = fit_given_pairs(TEXTS, rows, name)
    torch.testing.assert_close(fit_given_pairs(TEXTS, rows, own), given, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    "texts",
    [
        LIBRARY,
        stories({name: SMALL_LIBRARY[name] for name in ("calm", "angry", "happy")}),
        examples({"calm": (SMALL_LIBRARY["calm"], SMALL_LIBRARY["angry"])}),
        pairs(list(zip(SMALL_LIBRARY["calm"], SMALL_LIBRARY["angry"], strict=True)), name="mood"),
    ],
    ids=["descriptions", "stories", "examples", "pairs"],
)
def test_every_source_is_fitted_by_the_function_and_the_run_notes_its_name(
    model: LoadedModel, texts: Library, tmp_path: Path
) -> None:
    run = train(texts, model, TrainSettings(), method=last_minus_first).save(tmp_path)
    assert run.manifest.method == run.settings.method == "own:last_minus_first"
    again = Run.open(tmp_path / run.id)
    assert again.settings == run.settings
    lengths = again.vectors.directions.norm(dim=2)
    torch.testing.assert_close(lengths, torch.ones_like(lengths))
    usual = train(texts, model, TrainSettings())
    assert not torch.allclose(again.vectors.directions, usual.vectors.directions, atol=1e-3)


def test_what_the_function_gave_must_fit(model: LoadedModel) -> None:
    def short(positive: Tensor, negative: Tensor) -> Tensor:
        return (positive.mean(0) - negative.mean(0))[:3]

    with pytest.raises(UserError, match=r"own:short: gave \(3,\)"):
        train(LIBRARY, model, TrainSettings(), method=short)


def test_a_method_that_is_not_stored_cannot_fit_again(model: LoadedModel) -> None:
    corpus = read_corpus(model, LIBRARY.texts(), TrainSettings(method="own:gone"))
    with pytest.raises(UserError, match="own:gone, a function that is not stored"):
        fit(corpus)


def test_module_paths_may_be_a_function_of_the_layer() -> None:
    found = layer_paths({"mlp": lambda layer: f"h0.{layer}.mlp", "attn": "h.{num}.attn"})
    assert found == (("mlp", "h0.{num}.mlp"), ("attn", "h.{num}.attn"))
    with pytest.raises(UserError, match="do not differ by the layer number alone"):
        layer_paths({"mlp": lambda layer: f"h.{layer // 2}.mlp"})


@pytest.mark.parametrize("layer_type", ["mlp", "self_attn"])
def test_another_module_can_be_read_for_every_source(model: LoadedModel, layer_type: str) -> None:
    for texts in (
        stories({name: SMALL_LIBRARY[name] for name in ("calm", "angry")}),
        examples({"calm": (SMALL_LIBRARY["calm"], SMALL_LIBRARY["angry"])}),
        pairs(list(zip(SMALL_LIBRARY["calm"], SMALL_LIBRARY["angry"], strict=True)), name="mood"),
    ):
        run = train(texts, model, TrainSettings(layer_type=layer_type))
        usual = train(texts, model, TrainSettings())
        assert run.vectors.layer_type == layer_type
        assert run.manifest.read.module_path != usual.manifest.read.module_path
        assert not torch.allclose(run.vectors.directions, usual.vectors.directions, atol=1e-2)
