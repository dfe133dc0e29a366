"""One training, on a tiny random model: what is read, what is kept, what is said."""

from pathlib import Path

import pytest
import torch

from readout_ui.activations.cache import ActivationCache
from readout_ui.errors import UserError
from readout_ui.models.loading import LoadedModel, ModelSpec, load_model
from readout_ui.progress import Cancelled, Progress
from readout_ui.runs.training import train
from readout_ui.texts.editing import save_concept
from readout_ui.texts.library import Library
from readout_ui.vectors.groups import group_texts
from readout_ui.vectors.settings import TrainSettings
from tests.conftest import SMALL_LIBRARY
from tests.support.tiny_model import save_tiny_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    folder = save_tiny_model(tmp_path_factory.mktemp("tiny-llama"))
    return load_model(ModelSpec(model=str(folder), device="cpu", dtype="fp32"))


@pytest.fixture
def cache(tmp_path: Path) -> ActivationCache:
    return ActivationCache(tmp_path / "cache")


def counts(reports: list[Progress]) -> str:
    return next(report.note for report in reports if "from the cache" in report.note)


def test_a_training_fits_every_concept_at_every_layer(
    model: LoadedModel, descriptions: Path
) -> None:
    trained = train(Library(descriptions), model, TrainSettings())
    assert trained.vectors.concepts == ("afraid", "angry", "calm", "happy")
    assert trained.vectors.layers == tuple(range(model.n_layers))
    assert trained.n_texts == 16
    assert trained.manifest.calibration.on == "neutral tokens"
    assert trained.warnings == ()


def test_the_directions_are_the_difference_of_means(model: LoadedModel, descriptions: Path) -> None:
    """By the method mean, recomputed from one plain forward per text."""
    library = Library(descriptions)
    texts, groups = group_texts(library.texts())
    pooled = torch.stack([plain_mean(model, text) for text in texts])
    own = pooled[list(groups.rows[2])].mean(0)
    others = pooled[list(groups.negatives("calm"))].mean(0)
    expected = torch.nn.functional.normalize(own - others, dim=-1)
    trained = train(library, model, TrainSettings(method="mean"))
    torch.testing.assert_close(trained.vectors.directions[2], expected, atol=1e-4, rtol=1e-4)


def plain_mean(model: LoadedModel, text: str) -> torch.Tensor:
    """Mean over the content tokens after every block, (n_layers, d_model)."""
    framed = model.frame.frame(text, max_length=256)
    blocks = model.model.model.layers  # type: ignore[union-attr]
    outputs: list[torch.Tensor] = []

    def keep(_module: object, _inputs: object, output: object) -> None:
        hidden = output[0] if isinstance(output, tuple) else output
        assert isinstance(hidden, torch.Tensor)
        outputs.append(hidden[0, framed.content_start : framed.content_stop].mean(0))

    handles = [block.register_forward_hook(keep) for block in blocks]  # type: ignore[union-attr]
    with torch.inference_mode():
        model.model(input_ids=torch.tensor([framed.token_ids]))
    for handle in handles:
        handle.remove()
    return torch.stack(outputs)


def test_a_retrain_reads_only_the_edited_text(
    model: LoadedModel, descriptions: Path, cache: ActivationCache
) -> None:
    train(Library(descriptions), model, TrainSettings(), cache)
    calm = Library(descriptions).concept("calm")
    save_concept(descriptions, "calm", ("I rest.", *calm.descriptions[1:]), calm.fingerprint)
    reports: list[Progress] = []
    train(Library(descriptions), model, TrainSettings(), cache, reports.append)
    assert counts(reports) == "1 texts read, 15 from the cache"


def test_another_method_reads_nothing_anew(
    model: LoadedModel, descriptions: Path, cache: ActivationCache
) -> None:
    train(Library(descriptions), model, TrainSettings(), cache)
    reports: list[Progress] = []
    train(Library(descriptions), model, TrainSettings(method="pca"), cache, reports.append)
    assert counts(reports) == "0 texts read, 16 from the cache"


@pytest.mark.parametrize("spec", ["auto", "0,2", "-1"])
def test_only_the_layers_asked_for_are_kept(
    model: LoadedModel, descriptions: Path, spec: str
) -> None:
    trained = train(Library(descriptions), model, TrainSettings(layers=spec))
    wanted = {"auto": (trained.best_layer,), "0,2": (0, 2), "-1": (model.n_layers - 1,)}[spec]
    assert trained.vectors.layers == wanted
    assert trained.best_layer in wanted


def test_without_neutral_texts_the_calibration_says_what_it_rests_on(
    model: LoadedModel, descriptions: Path
) -> None:
    (descriptions / "_baseline.txt").unlink()
    trained = train(Library(descriptions), model, TrainSettings())
    assert trained.manifest.calibration.on == "tokens of the descriptions"
    assert "no neutral texts" in trained.warnings[0]


def test_a_text_over_the_limit_is_named_in_a_warning(
    model: LoadedModel, descriptions: Path
) -> None:
    longest = SMALL_LIBRARY["happy"][0]
    trained = train(Library(descriptions), model, TrainSettings(max_length=12))
    assert any(longest[:40] in warning for warning in trained.warnings)


def test_an_empty_concept_is_named_and_nothing_is_trained(
    model: LoadedModel, descriptions: Path
) -> None:
    (descriptions / "proud.txt").write_text("\n", encoding="utf-8")
    with pytest.raises(UserError, match="proud"):
        train(Library(descriptions), model, TrainSettings())


def test_a_layer_that_does_not_exist_is_refused_with_the_range(
    model: LoadedModel, descriptions: Path
) -> None:
    with pytest.raises(UserError, match="0 to 2"):
        train(Library(descriptions), model, TrainSettings(layers="7"))


def test_cancel_passes_through_and_what_was_read_stays_in_the_cache(
    model: LoadedModel, descriptions: Path, cache: ActivationCache
) -> None:
    def stop_after_the_first_batch(progress: Progress) -> None:
        if progress.done:
            raise Cancelled

    settings = TrainSettings(batch_size=4)
    with pytest.raises(Cancelled):
        train(Library(descriptions), model, settings, cache, stop_after_the_first_batch)
    assert 0 < cache.summary().entries < 16
    assert all(not module._forward_hooks for module in model.model.modules())
