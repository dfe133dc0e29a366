"""Files that the seeds name: the guide's three, one .safetensors with its manifest, own vectors."""

import json
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from steering_vectors import SteeringVector

from readout_ui.errors import UserError
from readout_ui.models.loading import LoadedModel
from readout_ui.runs.export import require_target, write_files
from readout_ui.runs.formats.guide import guide_files
from readout_ui.runs.formats.readout import round_vectors
from readout_ui.runs.run import Run
from readout_ui.runs.training import train
from readout_ui.texts.sources import pairs
from readout_ui.vectors.settings import TrainSettings
from tests.support.loaded_tiny import load_tiny
from tests.support.trained_example import CONCEPTS, LAYERS, make_run

NAME = "irony_tiny_layers-1-2_20261125"


@pytest.fixture(scope="module")
def model() -> LoadedModel:
    return load_tiny()


@pytest.fixture
def irony(model: LoadedModel, tmp_path: Path) -> Run:
    """A kept run of contrast pairs."""
    made = train(pairs("irony"), model, TrainSettings(layers="1,2"))
    return made.save(tmp_path / "runs")


def written(run: Run, folder: Path, pickled: bool = False) -> Path:
    folder.mkdir()
    for name, raw in guide_files(NAME, run, pickled).items():
        (folder / name).write_bytes(raw)
    return folder


def test_the_guides_files_hold_tensors_by_layer_and_what_was_trained(
    irony: Run, tmp_path: Path
) -> None:
    folder = written(irony, tmp_path / "out")
    assert {file.suffix for file in folder.iterdir()} == {".safetensors", ".json"}
    tensors = load_file(folder / f"{NAME}.safetensors")
    assert sorted(tensors) == ["layer_1", "layer_2"]
    about = json.loads((folder / f"{NAME}.json").read_bytes())
    assert about["model"] == irony.model_name
    assert (about["layers"], about["num_samples"]) == ([1, 2], 40)
    assert about["timestamp"] == irony.created.isoformat()
    for column, layer in enumerate(irony.layers):
        length = about["distances"][str(layer)]
        assert length > 0
        expected = irony.vectors.directions[0, column] * length
        torch.testing.assert_close(tensors[f"layer_{layer}"], expected)


def test_the_guides_loading_and_steering_example_works_unchanged(
    irony: Run, model: LoadedModel, tmp_path: Path
) -> None:
    folder = written(irony, tmp_path / "out", pickled=True)
    with open(folder / f"{NAME}.pkl", "rb") as file:
        steering_vec = pickle.load(file)
    ids = torch.tensor([[5, 6, 7, 8]])
    with torch.no_grad():
        plain = model.model(ids).logits
        with steering_vec.apply(model.model, multiplier=0.5):
            steered = model.model(ids).logits
    assert not torch.allclose(plain, steered, atol=1e-3)


def test_the_guides_tensors_are_opened_again_as_directions_alone(
    irony: Run, tmp_path: Path
) -> None:
    folder = written(irony, tmp_path / "out")
    again = Run.open(folder / f"{NAME}.safetensors")
    assert (again.concepts, again.layers) == (("irony",), (1, 2))
    assert again.model_name == irony.model_name
    torch.testing.assert_close(again.vectors.unit().directions, irony.vectors.directions)
    with pytest.raises(UserError, match="directions alone"):
        again.require_calibrated()


def test_other_tensors_are_no_vectors(tmp_path: Path) -> None:
    save_file({"weight": torch.ones(3)}, tmp_path / "model.safetensors")
    with pytest.raises(UserError, match="holds weight and no manifest lies beside it"):
        Run.open(tmp_path / "model.safetensors")
    save_file({"layer_1": torch.ones(3), "layer_2": torch.ones(4)}, tmp_path / "odd.safetensors")
    with pytest.raises(UserError, match="shapes"):
        Run.open(tmp_path / "odd.safetensors")


def test_a_file_that_a_person_names_is_written_with_its_manifest_beside_it(tmp_path: Path) -> None:
    run, target = make_run(), tmp_path / "new" / "amygdala.safetensors"
    require_target(target)
    assert run.export(target) == target
    names = {file.name for file in target.parent.iterdir()}
    beside = {"amygdala.json", "amygdala.calibration.safetensors"}
    assert names == {"amygdala.safetensors", *beside}
    assert sorted(load_file(target)) == [f"layer_{i}.vectors" for i in LAYERS]
    again = Run.open(target)
    again.require_calibrated()
    expected = round_vectors(run.vectors)
    assert torch.equal(again.vectors.directions, expected.directions)
    assert torch.equal(again.vectors.neutral_mean, expected.neutral_mean)
    require_target(target)
    make_run(seed=1).export(target)
    assert not torch.equal(Run.open(target).vectors.directions, expected.directions)


def test_nothing_else_of_that_name_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    (tmp_path / "folder.safetensors").mkdir()
    for name in ("model", "folder"):
        with pytest.raises(UserError, match="no earlier export"):
            require_target(tmp_path / f"{name}.safetensors")
        with pytest.raises(UserError, match="no earlier export"):
            make_run().export(tmp_path / f"{name}.safetensors")
    with pytest.raises(UserError, match="gguf is not one"):
        make_run().export(tmp_path / "new.safetensors", "gguf")
    assert (tmp_path / "model.safetensors").read_bytes() == b"weights"


def test_a_damaged_named_file_is_refused(tmp_path: Path) -> None:
    target = make_run().export(tmp_path / "x.safetensors")
    target.write_bytes(target.read_bytes()[:-1] + b"\x01")
    with pytest.raises(UserError, match="sha256 differs"):
        Run.open(target)


def test_steering_vectors_come_out_and_go_in() -> None:
    run = make_run()
    out = {name: run.steering_vector(name) for name in run.concepts}
    back = Run.of_steering_vectors(out, "tiny/model")
    assert (back.concepts, back.layers, back.model_name) == (CONCEPTS, LAYERS, "tiny/model")
    assert torch.equal(back.vectors.directions, run.vectors.directions)
    assert not back.vectors.calibrated
    assert set(back.files("gguf")) == {f"{name}.gguf" for name in CONCEPTS}
    with pytest.raises(UserError, match="glad was not trained"):
        run.steering_vector("glad")


def test_steering_vectors_that_do_not_fit_together_are_refused() -> None:
    one = SteeringVector({1: torch.ones(4)}, "decoder_block")
    for other in (
        SteeringVector({2: torch.ones(4)}, "decoder_block"),
        SteeringVector({1: torch.ones(5)}, "decoder_block"),
        SteeringVector({1: torch.ones(4)}, "mlp"),
    ):
        with pytest.raises(UserError, match="b and a have other layers or widths"):
            Run.of_steering_vectors({"a": one, "b": other})
    with pytest.raises(UserError, match="no steering vectors"):
        Run.of_steering_vectors({})


def test_bare_directions_can_be_kept_as_a_run(tmp_path: Path) -> None:
    bare = Run.open(write_files(tmp_path / "out", make_run().files("gguf")))
    again = Run.open(bare.save(tmp_path / "runs").folder or "")
    assert torch.equal(again.vectors.directions, bare.vectors.directions)
    assert not again.manifest.calibrated
