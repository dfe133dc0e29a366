"""What is exported to push a model with: plain means, of a length that does something."""

import json
import re
from dataclasses import replace
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from readout_ui.errors import UserError
from readout_ui.inference.readout import Readout
from readout_ui.models.loading import LoadedModel
from readout_ui.runs.model_card import DOSE
from readout_ui.runs.run import Run
from readout_ui.runs.training import train
from readout_ui.texts.library import Library
from readout_ui.vectors.settings import TrainSettings
from tests.conftest import SMALL_LIBRARY
from tests.support.loaded_tiny import load_tiny
from tests.support.trained_example import make_run, make_vectors


@pytest.fixture(scope="module")
def model() -> LoadedModel:
    return load_tiny()


@pytest.fixture(scope="module")
def trained(model: LoadedModel) -> Run:
    return train(Library(SMALL_LIBRARY), model, TrainSettings())


def mean_directions(model: LoadedModel) -> Tensor:
    plain = train(Library(SMALL_LIBRARY), model, TrainSettings(method="mean"))
    assert plain.vectors.steering is None
    return plain.vectors.directions


def test_a_whitened_run_pushes_with_plain_means(trained: Run, model: LoadedModel) -> None:
    means = mean_directions(model)
    assert trained.vectors.steering is not None
    torch.testing.assert_close(trained.vectors.steering, means, atol=1e-5, rtol=0)
    assert not torch.allclose(trained.vectors.directions, means, atol=1e-2)
    torch.testing.assert_close(trained.vectors.to_steer().directions, means, atol=1e-5, rtol=0)


@pytest.mark.parametrize("form", ["kept", "readout", "npz"])
def test_both_come_back_and_the_first_alone_can_be_taken(
    form: str, trained: Run, tmp_path: Path
) -> None:
    place = tmp_path / form
    again = trained.save(place) if form == "kept" else Run.open(trained.export(place, form))
    assert again.vectors.steering is not None
    assert trained.vectors.steering is not None
    for found, kept in (
        (again.vectors.steering, trained.vectors.steering),
        (again.vectors.directions, trained.vectors.directions),
    ):
        torch.testing.assert_close(found, kept, atol=1e-3, rtol=0)
    if form == "readout":
        tensors = load_file(place / "readout.safetensors")
        parts = {key.split(".")[1] for key in tensors}
        assert parts == {"vectors", "steering"}
        from readout_ui.runtime import load

        alone = load(place)
        assert alone.concepts == trained.concepts


def test_a_readout_is_steered_with_plain_means(trained: Run, model: LoadedModel) -> None:
    """What a block puts out moves along the mean difference, not along the whitened one."""
    readout = Readout(model, trained)
    moved = pushed(model, readout.steer(calm=1.0, layers=[1]))
    means, row = mean_directions(model), trained.concepts.index("calm")
    torch.testing.assert_close(moved / moved.norm(), means[row, 1], atol=1e-4, rtol=0)
    assert float(moved.norm()) == pytest.approx(readout.norms()[1], rel=1e-3)


def pushed(model: LoadedModel, patch: object) -> Tensor:
    """How far the output of block 1 moves, (d_model,)."""
    ids = torch.tensor([[1, 5, 9]])

    def output() -> Tensor:
        states = model.model(ids, output_hidden_states=True).hidden_states
        return states[2][0, 0].float()  # type: ignore[no-any-return]

    with torch.no_grad():
        with patch:  # type: ignore[attr-defined]
            steered = output()
        return steered - output()


@pytest.mark.parametrize("form", ["gguf", "steering"])
def test_one_is_one_dose_and_the_norms_are_stated(form: str, trained: Run, tmp_path: Path) -> None:
    folder = trained.export(tmp_path / "out", form)
    norms = trained.manifest.residual_norms
    assert len(norms) == 3
    layers = [i for i in trained.layers if form != "gguf" or i > 0]
    found = Run.open(folder).vectors
    lengths = found.directions.norm(dim=2)  # (n_concepts, n_layers)
    expected = torch.tensor([DOSE * norms[i] / len(layers) for i in layers])
    torch.testing.assert_close(lengths, expected.expand_as(lengths), rtol=1e-4, atol=0)
    if form == "gguf":
        fields = gguf.GGUFReader(folder / "calm.gguf").fields
        assert fields["readout.scale"].contents() == "norm"
        assert fields["readout.dose"].contents() == pytest.approx(DOSE)
        assert fields["readout.layers"].contents() == layers
        assert fields["readout.residual_norms"].contents() == pytest.approx(norms[1:])
    else:
        index = json.loads((folder / "steering_vectors.json").read_text())
        assert (index["scale"], index["dose"]) == ("norm", DOSE)
        assert list(index["residual_norms"].values()) == pytest.approx(list(norms))
    card = (folder / "README.md").read_text()
    assert "1.0 is one dose" in card
    assert f"| 1 | {norms[1]:.4g} |" in card


def test_unit_length_is_kept_where_it_is_asked_for(trained: Run, tmp_path: Path) -> None:
    folder = trained.export(tmp_path / "out", "gguf", scale="unit")
    lengths = Run.open(folder).vectors.directions.norm(dim=2)
    torch.testing.assert_close(lengths, torch.ones_like(lengths), rtol=1e-4, atol=0)
    assert gguf.GGUFReader(folder / "calm.gguf").fields["readout.scale"].contents() == "unit"
    assert "unit length" in (folder / "README.md").read_text()


def test_a_scale_that_cannot_be_is_refused(tmp_path: Path) -> None:
    run = make_run()
    with pytest.raises(UserError, match=r"not known.*scale unit"):
        run.export(tmp_path / "out", "gguf", scale="norm")
    with pytest.raises(UserError, match="unknown scale 'big'"):
        run.export(tmp_path / "out", "gguf", scale="big")
    with pytest.raises(UserError, match="is to read with"):
        run.export(tmp_path / "out", "readout", scale="norm")


def test_vectors_of_others_keep_their_length_in_another_format(tmp_path: Path) -> None:
    first = make_run().export(tmp_path / "one", "gguf")
    second = Run.open(first).export(tmp_path / "two", "steering")
    again, before = Run.open(second).vectors, Run.open(first).vectors
    assert torch.equal(again.directions, before.directions)


def test_the_cards_loader_moves_the_model_by_one_dose(
    trained: Run, model: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The snippet is run as it stands, by the library itself."""
    folder = trained.export(tmp_path / "out", "steering", layers=[1])
    snippet = re.search(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.S)
    assert snippet is not None
    code = snippet[1].replace("\n    ...", "\n    found.append(look())")
    monkeypatch.chdir(folder)
    ids = torch.tensor([[1, 5, 9]])
    found: list[Tensor] = []

    def look() -> Tensor:
        with torch.no_grad():
            states = model.model(ids, output_hidden_states=True).hidden_states
        return states[2][0, 0].float()  # type: ignore[no-any-return]

    before = look()
    exec(code, {"model": model.model, "found": found, "look": look})
    moved = found[0] - before
    assert float(moved.norm()) == pytest.approx(DOSE * trained.manifest.residual_norms[1], rel=1e-3)
    assert np.isfinite(float(moved.sum()))


def test_steering_of_another_shape_or_length_is_refused() -> None:
    vectors = make_vectors()
    with pytest.raises(ValueError, match="steering has shape"):
        replace(vectors, steering=torch.zeros(1, 2, 3))
    with pytest.raises(ValueError, match="lengths"):
        replace(vectors, steering=3 * vectors.directions)
    both = replace(vectors, steering=-vectors.directions)
    assert torch.equal(
        both.select(["sad"], [3]).to_steer().directions, -vectors.select(["sad"], [3]).directions
    )
