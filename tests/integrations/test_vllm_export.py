"""The vLLM plugin loads exports and refuses what does not belong to the served model."""

from pathlib import Path

import numpy as np
import pytest
from readout_vllm.errors import ReadoutError
from readout_vllm.export import Export, load_export
from readout_vllm.settings import Settings, from_environment
from safetensors.numpy import load as read_tensors
from safetensors.numpy import save

from tests.integrations.exported import CONCEPTS, LAYERS, WIDTH, write_export
from tests.support.trained_example import make_run


def load(folder: Path) -> Export:
    return load_export(folder / "readout.safetensors", folder / "readout.json")


def test_an_export_of_readout_studio_loads_unchanged(tmp_path: Path) -> None:
    run = make_run()
    run.export(tmp_path / "export")
    loaded = load(tmp_path / "export")
    assert loaded.concepts == run.concepts
    assert loaded.layers == run.vectors.layers
    directions = run.vectors.directions.transpose(0, 1).numpy()
    np.testing.assert_allclose(loaded.vectors, directions, atol=1e-3)
    assert loaded.neutral_std is not None
    np.testing.assert_allclose(loaded.neutral_std, run.vectors.neutral_std.T.numpy())


def test_a_bare_file_with_six_keys_loads_and_gives_no_z(tmp_path: Path) -> None:
    loaded = load(write_export(tmp_path, calibrated=False))
    assert loaded.vectors.shape == (len(LAYERS), len(CONCEPTS), WIDTH)
    loaded.refuse_other_model(("anything",), WIDTH, 12)
    with pytest.raises(ReadoutError, match="no calibration"):
        loaded.z_scores(np.zeros((1, 2, 3), np.float32))


def test_z_scores_are_standard_deviations_from_neutral_tokens(tmp_path: Path) -> None:
    loaded = load(write_export(tmp_path))
    raw = np.full((1, 2, 3), 5.0, np.float32)
    np.testing.assert_allclose(loaded.z_scores(raw), np.full((1, 2, 3), 2.0))


def test_the_best_layer_is_the_trainings_and_without_one_the_middle(tmp_path: Path) -> None:
    assert load(write_export(tmp_path / "whole")).best_layer == 1
    bare = load(write_export(tmp_path / "bare", calibrated=False, layers=(1, 3)))
    assert bare.best_layer == 1


@pytest.mark.parametrize(
    ("names", "width", "n_layers", "message"),
    [
        (("small-model",), WIDTH + 1, 12, "8 numbers wide, the model 9"),
        (("small-model",), WIDTH, 3, "of layer 3, the model has layers 0 to 2"),
        (("makers/big-model",), WIDTH, 12, "made with 'makers/small-model'"),
    ],
)
def test_another_model_is_refused(
    tmp_path: Path, names: tuple[str, ...], width: int, n_layers: int, message: str
) -> None:
    with pytest.raises(ReadoutError, match=message):
        load(write_export(tmp_path)).refuse_other_model(names, width, n_layers)


@pytest.mark.parametrize("names", [("/models/Small-Model/",), ("x", "makers/small-model")])
def test_the_model_is_known_by_its_folder_or_served_name(
    tmp_path: Path, names: tuple[str, ...]
) -> None:
    load(write_export(tmp_path)).refuse_other_model(names, WIDTH, 4)


def test_a_file_that_the_manifest_does_not_know_is_refused(tmp_path: Path) -> None:
    folder = write_export(tmp_path)
    (folder / "readout.safetensors").write_bytes(
        (write_export(tmp_path / "other", calibrated=False) / "readout.safetensors").read_bytes()
        + b" "
    )
    with pytest.raises(ReadoutError, match="sha256"):
        load(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"concepts": []}, "concepts is missing"),
        ({"hidden_size": 9}, r"layer_1.vectors is \(3, 8\), the manifest wants \(3, 9\)"),
        ({"layers": [1, 2]}, "the tensor layer_2.vectors is missing"),
        ({"layers": [1, 1]}, "different whole numbers"),
        ({"layers": 3}, "different whole numbers"),
        ({"layers": [True, 3]}, "different whole numbers"),
        ({"concepts": "abc"}, "a list of different names"),
        ({"concepts": ["calm", "calm", "sad"]}, "a list of different names"),
        ({"concepts": [["calm"], 1, None]}, "a list of different names"),
        ({"hidden_size": "8"}, "hidden_size must be a whole number"),
        ({"hidden_size": -8}, "hidden_size must be a whole number"),
        ({"model": ["small"]}, "model must be an object"),
        ({"read": "mlp"}, "read must be an object"),
        ({"files": [1]}, "files must be an object"),
        ({"read": {"layer_type": "mlp"}}, "read at 'mlp'"),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused_in_a_sentence(
    tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(ReadoutError, match=message):
        load(write_export(tmp_path, calibrated=False, **changes))


def test_a_calibration_that_would_divide_by_zero_is_refused(tmp_path: Path) -> None:
    folder = write_export(tmp_path, files={})
    file = folder / "calibration.safetensors"
    tensors = {
        key: value * ("mean" in key) for key, value in read_tensors(file.read_bytes()).items()
    }
    file.write_bytes(save(tensors))
    with pytest.raises(ReadoutError, match="neutral_std holds a number that is not above 0"):
        load(folder)


def test_a_missing_or_broken_file_is_named(tmp_path: Path) -> None:
    folder = write_export(tmp_path)
    (folder / "readout.json").write_text("[" * 100_000)
    with pytest.raises(ReadoutError, match="is no JSON"):
        load(folder)
    write_export(tmp_path)
    (folder / "calibration.safetensors").unlink()
    with pytest.raises(ReadoutError, match=r"calibration.safetensors is missing"):
        load(folder)
    (folder / "readout.json").write_text("{")
    with pytest.raises(ReadoutError, match="is no JSON"):
        load(folder)
    (folder / "readout.json").unlink()
    with pytest.raises(ReadoutError, match="VLLM_READOUT_MANIFEST"):
        load(folder)


def test_without_the_variable_nothing_is_served() -> None:
    assert from_environment({}) is None


def test_a_folder_and_a_file_are_found_by_the_seeds_variables(tmp_path: Path) -> None:
    by_folder = from_environment({"VLLM_READOUT_VECTORS": str(tmp_path)})
    assert by_folder == Settings(tmp_path / "readout.safetensors", tmp_path / "readout.json")
    by_file = from_environment(
        {
            "VLLM_READOUT_VECTORS": str(tmp_path / "mine.safetensors"),
            "VLLM_READOUT_MANIFEST": str(tmp_path / "about.json"),
            "VLLM_READOUT_ALWAYS": "1",
        }
    )
    expected = Settings(tmp_path / "mine.safetensors", tmp_path / "about.json", always=True)
    assert by_file == expected


def test_an_unknown_way_with_the_prefix_cache_is_refused() -> None:
    with pytest.raises(ReadoutError, match="store or recompute"):
        from_environment({"VLLM_READOUT_VECTORS": "x", "VLLM_READOUT_PREFIX_CACHE": "maybe"})
