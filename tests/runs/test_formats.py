"""Every format out and back in: the same numbers, and nothing hostile is taken."""

import io
import json
import pickle
import zipfile
from contextlib import suppress
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from steering_vectors import SteeringVector

from readout_ui.errors import UserError
from readout_ui.runs.export import FORMATS
from readout_ui.runs.formats.gguf import read_control_vector
from readout_ui.runs.formats.npz import read_arrays
from readout_ui.runs.formats.steering_vectors import read_indexed
from readout_ui.runs.manifest import ModelPart
from readout_ui.vectors.vectors import Probes
from tests.support.trained_example import CONCEPTS, D_MODEL, LAYERS, make_run, make_vectors

TRAINED = make_run()


def write(folder: Path, name: str, concepts: list[str] | None = None) -> Path:
    folder.mkdir(exist_ok=True)
    for file, raw in TRAINED.files(name, concepts).items():
        (folder / file).write_bytes(raw)
    return folder


@pytest.mark.parametrize("name", sorted(FORMATS.keys() - {"steering-pkl", "sglang"}))
def test_the_same_vectors_give_the_same_bytes(name: str) -> None:
    assert TRAINED.files(name, ["sad"], [3]) == make_run().files(name, ["sad"], [3])


@pytest.mark.parametrize("name", FORMATS)
def test_unknown_concepts_and_layers_are_refused(name: str) -> None:
    with pytest.raises(UserError, match="glad"):
        TRAINED.files(name, ["glad"])
    with pytest.raises(UserError, match="layer 2"):
        TRAINED.files(name, None, [2])


@settings(max_examples=20)
@given(st.permutations(CONCEPTS), st.permutations(LAYERS), st.integers(1, 3), st.booleans())
def test_npz_comes_back_whole(
    tmp_path_factory: pytest.TempPathFactory,
    concepts: list[str],
    layers: list[int],
    n_kept: int,
    probed: bool,
) -> None:
    vectors = make_vectors(seed=n_kept)
    if probed:
        from dataclasses import replace

        scores = torch.randn(2, len(CONCEPTS), len(LAYERS))
        vectors = replace(vectors, probes=Probes(("one", "two"), scores))
    trained = make_run(vectors=vectors)
    path = tmp_path_factory.mktemp("npz") / "vectors.npz"
    path.write_bytes(trained.files("npz", concepts[:n_kept], layers)["vectors.npz"])
    _, loaded = read_arrays(path)
    expected = vectors.select(concepts[:n_kept], layers)
    assert loaded.concepts == expected.concepts
    assert torch.equal(loaded.directions, expected.directions)
    assert torch.equal(loaded.neutral_std, expected.neutral_std)
    assert (loaded.probes is None) == (expected.probes is None)
    if loaded.probes and expected.probes:
        assert torch.equal(loaded.probes.scores, expected.probes.scores)


def test_gguf_is_read_by_the_gguf_reader_and_comes_back(tmp_path: Path) -> None:
    folder = write(tmp_path / "out", "gguf")
    reader = gguf.GGUFReader(folder / "calm.gguf")
    assert [tensor.name for tensor in reader.tensors] == ["direction.1", "direction.3"]
    control = read_control_vector(folder / "calm.gguf")
    assert control.model_hint == "tiny/model"
    row = CONCEPTS.index("calm")
    for column, layer in enumerate(LAYERS):
        assert np.array_equal(
            control.directions[layer], TRAINED.vectors.directions[row, column].numpy()
        )


class ProbeHead(torch.nn.Module):
    """What SGLang's loader makes of a probe checkpoint, over features as its taps write them."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        config = json.loads((folder / "config.json").read_text())
        assert config["model_type"] == "sing_probe_mlp"
        assert config["hidden_act"] in ("gelu", "relu")
        self.labels, self.layers = config["labels"], config["base_model_layer_ids"]
        assert len(set(self.layers)) == len(self.layers)
        width = config["hidden_size"] * len(self.layers)
        self.fc1 = torch.nn.Linear(width, config["intermediate_size"])
        self.fc2 = torch.nn.Linear(config["intermediate_size"], len(self.labels))
        weights = [load_file(path) for path in sorted(folder.glob("*.safetensors"))]
        self.load_state_dict({name: one[name] for one in weights for name in one}, strict=True)

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        """Probabilities of one token from the input of each tapped block."""
        scaled = [x * torch.rsqrt(x.square().mean() + 1e-6) for x in inputs]
        return torch.sigmoid(self.fc2(torch.relu(self.fc1(torch.cat(scaled)))))


@pytest.mark.parametrize("layers", [[3], [1, 3]])
def test_an_sglang_probe_gives_z_of_tokens_of_usual_length(
    tmp_path: Path, layers: list[int]
) -> None:
    norms = (3.0, 7.0, 20.0, 40.0, 90.0)
    trained = make_run(norms=norms)
    for file, raw in trained.files("sglang", None, layers).items():
        (tmp_path / file).write_bytes(raw)
    head, vectors = ProbeHead(tmp_path), trained.vectors.select(layers=layers)
    assert head.layers == [layer + 1 for layer in layers]  # what comes out of a block goes in next
    names = [name if len(layers) == 1 else f"{name}@{i}" for i in layers for name in CONCEPTS]
    assert head.labels == names
    random = torch.Generator().manual_seed(1)
    states = torch.nn.functional.normalize(torch.randn(len(layers), D_MODEL, generator=random))
    states *= torch.tensor([[norms[layer]] for layer in layers])
    raw_scores = torch.einsum("cld,ld->cl", vectors.directions, states)
    z = ((raw_scores - vectors.neutral_mean) / vectors.neutral_std).T.flatten()
    with torch.no_grad():
        assert torch.allclose(head(*states).logit(), z, rtol=1e-3, atol=1e-3)
    assert b"--probe-ckpt" in trained.files("sglang")["README.md"]


def test_what_an_sglang_probe_cannot_see_is_refused() -> None:
    with pytest.raises(UserError, match="how long this model's activations are"):
        TRAINED.files("sglang")
    with pytest.raises(UserError, match="nothing comes after layer 3"):
        make_run(norms=(1.0, 1.0, 1.0, 1.0)).files("sglang")


def test_steering_objects_come_back_as_the_librarys_own(tmp_path: Path) -> None:
    loaded, _ = read_indexed(write(tmp_path / "out", "steering"))
    assert tuple(loaded) == CONCEPTS
    calm = loaded["calm"]
    assert isinstance(calm, SteeringVector)
    assert calm.layer_type == "decoder_block"
    assert torch.equal(calm.layer_activations[3], TRAINED.vectors.directions[1, 1])


def test_a_pickle_is_written_on_request_with_a_warning_and_never_opened(tmp_path: Path) -> None:
    folder = write(tmp_path / "out", "steering-pkl")
    assert "run any program" in FORMATS["steering-pkl"].warning
    own = pickle.loads((folder / "calm.pkl").read_bytes())  # ours, just written
    assert torch.equal(own.layer_activations[1], TRAINED.vectors.directions[1, 0])
    with pytest.raises(UserError, match="not opened"):
        read_indexed(folder / "calm.pkl")


class Hostile:
    """Unpickling this writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return (Path.touch, (self.path,))


def test_pickled_objects_inside_an_npz_are_never_run(tmp_path: Path) -> None:
    ran, path = tmp_path / "ran", tmp_path / "vectors.npz"
    np.savez(path, manifest=np.array([Hostile(ran)], dtype=object))
    with pytest.raises(UserError, match="plain arrays"):
        read_arrays(path)
    assert not ran.exists()


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "vectors.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("directions.npy", b"\0" * 5_000_000)
    with pytest.raises(UserError, match="unpacks to more"):
        read_arrays(path)


@pytest.mark.parametrize("part", ["directions", "neutral_std", "center"])
def test_nan_and_wrong_shapes_in_an_npz_are_named(tmp_path: Path, part: str) -> None:
    path = write(tmp_path / "out", "npz") / "vectors.npz"
    with np.load(path) as file:
        arrays = dict(file)
    for damaged in (arrays[part] * np.nan, arrays[part][:1], arrays[part].astype(np.float64)):
        np.savez(path, **{**arrays, part: damaged})
        with pytest.raises(UserError, match=part):
            read_arrays(path)


@settings(max_examples=40)
@given(cut=st.integers(0, 2000), flip=st.integers(0, 1999))
def test_damaged_files_never_give_a_traceback(
    tmp_path_factory: pytest.TempPathFactory, cut: int, flip: int
) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    for name, file, read in (
        ("gguf", "calm.gguf", read_control_vector),
        ("npz", "vectors.npz", read_arrays),
    ):
        raw = bytearray(TRAINED.files(name)[file])
        raw[flip % len(raw)] ^= 0xFF
        for damaged in (bytes(raw), bytes(raw[: cut % len(raw)])):
            (folder / file).write_bytes(damaged)
            with suppress(UserError):
                read(folder / file)


def test_another_kind_of_gguf_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_tensor("direction.1", np.zeros(4, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(UserError, match="is a llama, no control vector"):
        read_control_vector(path)


def test_tensors_that_were_exchanged_are_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "out", "steering")
    file = folder / "steering_vectors.safetensors"
    file.write_bytes(file.read_bytes()[:-4] + b"\0\0\0\1")
    with pytest.raises(UserError, match="not the file"):
        read_indexed(folder)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("../steering_vectors.json", "{}")
    (tmp_path / "up.zip").write_bytes(buffer.getvalue())
    with pytest.raises(UserError, match="there is no"):
        read_indexed(tmp_path / "up.zip")


def test_the_card_names_method_scores_and_limits() -> None:
    card = TRAINED.files("npz")["README.md"].decode()
    for words in (
        "difference of means",
        "0.875",
        "chance | 0.500",
        "verify",
        "`calm`",
        "tiny/model",
    ):
        assert words in card


def header(model_name: str, revision: str) -> dict[str, object]:
    """The card's YAML as the hub reads it."""

    from huggingface_hub import ModelCard

    trained = make_run(model=ModelPart(id=model_name, revision=revision, fingerprint="f" * 16))
    card = ModelCard(trained.files("npz")["README.md"].decode())
    return dict(vars(card.data))


@pytest.mark.parametrize(
    ("name", "revision", "base"),
    [
        ("Qwen/Qwen3-8B", "abc", "Qwen/Qwen3-8B"),
        ("gpt2", "abc", "gpt2"),
        ("SmolLM2-135M-Instruct", "", "HuggingFaceTB/SmolLM2-135M-Instruct"),
        ("my-folder", "", None),
        ('odd: "name"\n- x', "abc", None),
    ],
)
def test_the_cards_header_names_a_model_of_the_hub_and_no_folder(
    name: str, revision: str, base: str | None
) -> None:
    found = header(name, revision)
    assert found["library_name"] == "readout-ui"
    assert found["tags"] == ["readout-ui", "concept-vectors", "interpretability", "steering"]
    assert found.get("base_model") == base


def test_the_card_says_that_the_manifest_quotes_texts() -> None:
    from dataclasses import replace

    scores = torch.zeros(2, len(CONCEPTS), len(LAYERS))
    vectors = replace(make_vectors(), probes=Probes(("one", "two"), scores))
    card = make_run(vectors=vectors).files("npz")["README.md"].decode()
    assert "quotes 2 of them as probes" in card


def test_layer_zero_alone_cannot_be_a_control_vector() -> None:
    from dataclasses import replace

    vectors = replace(make_vectors().select(layers=[1]), layers=(0,))
    with pytest.raises(UserError, match="no layer 0"):
        make_run(vectors=vectors).files("gguf")
