"""Folders as people have them: several indexes, adapters, pointers, damaged weights."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from readout_ui.errors import UserError
from readout_ui.models.loading import LoadedModel, ModelSpec, load_model
from readout_ui.models.weights import weight_bytes, weight_names, weights_fingerprint
from tests.support.architectures import build, tiny_tokenizer

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1234\n"
SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "my-model"
    build("llama").save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder


def load(folder: Path | str, dtype: str = "fp32") -> LoadedModel:
    return load_model(ModelSpec(str(folder), device="cpu", dtype=dtype))


def shard(folder: Path) -> None:
    """The same weights as two files with an index."""
    weights = load_file(folder / "model.safetensors")
    names = {name: SHARDS[i % 2] for i, name in enumerate(sorted(weights))}
    for file in SHARDS:
        part = {name: weights[name] for name, home in names.items() if home == file}
        save_file(part, folder / file, metadata={"format": "pt"})
    index = {"metadata": {"total_size": 1}, "weight_map": names}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "model.safetensors").unlink()


def index_of_pickles(folder: Path) -> None:
    index = {"weight_map": {"a": "pytorch_model-00001-of-00001.bin"}}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))


def consolidated(folder: Path) -> None:
    first = next(folder.glob("model*.safetensors"))
    (folder / "consolidated.safetensors").write_bytes(first.read_bytes())
    index = {"weight_map": {"a": "consolidated-7.safetensors"}}
    (folder / "consolidated.safetensors.index.json").write_text(json.dumps(index))


def variant(folder: Path) -> None:
    (folder / "model.fp32.safetensors").write_bytes(b"not even whole")


def broken_index_of_pickles(folder: Path) -> None:
    (folder / "pytorch_model.bin.index.json").write_text("{")


@pytest.mark.parametrize("sharded", [False, True])
@pytest.mark.parametrize(
    "beside", [index_of_pickles, consolidated, variant, broken_index_of_pickles]
)
def test_only_what_is_loaded_is_wanted_and_counted(
    sharded: bool, beside: Callable[[Path], None], folder: Path
) -> None:
    size = weight_bytes(folder, None)
    if sharded:
        shard(folder)
    beside(folder)
    present = {file.name for file in folder.iterdir()}
    assert weight_names(folder, present) == ([*SHARDS] if sharded else ["model.safetensors"])
    assert weight_bytes(folder, None) == size
    assert load(folder).fingerprint == weights_fingerprint(build("llama"))


@pytest.mark.parametrize("text", ["{}", '{"weight_map": {"a"', "[1]", '{"weight_map": {"a": 3}}'])
def test_a_broken_index_is_told_in_one_sentence_unless_one_file_has_it_all(
    text: str, folder: Path
) -> None:
    index = folder / "model.safetensors.index.json"
    index.write_text(text)
    assert weight_bytes(folder, None) > 10_000
    (folder / "model.safetensors").rename(folder / SHARDS[0])
    with pytest.raises(UserError, match=r"model\.safetensors\.index\.json") as caught:
        load(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("metadata", [None, "absent"])
def test_an_index_without_metadata_says_what_to_add(metadata: str | None, folder: Path) -> None:
    shard(folder)
    index = folder / "model.safetensors.index.json"
    found = json.loads(index.read_text()) | {"metadata": metadata}
    if metadata:
        del found["metadata"]
    index.write_text(json.dumps(found))
    with pytest.raises(UserError, match=r"index\.json has no metadata.*; add \"metadata\": {}"):
        load(folder)
    index.write_text(json.dumps(found | {"metadata": {}}))
    assert load(folder).fingerprint == weights_fingerprint(build("llama"))


def test_a_shard_that_is_not_there_is_named(folder: Path) -> None:
    shard(folder)
    (folder / SHARDS[1]).unlink()
    with pytest.raises(UserError, match=f"{SHARDS[1]} of its weights is missing"):
        load(folder)


def test_weights_of_another_form_alone_are_told(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "consolidated.safetensors")
    with pytest.raises(UserError, match=r"no weights .*only consolidated\.safetensors, which"):
        load(folder)


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json"])
def test_a_git_lfs_pointer_is_called_one(name: str, folder: Path) -> None:
    (folder / name).write_text(POINTER)
    with pytest.raises(UserError, match=rf"{name}: this is a Git LFS pointer .*git lfs pull"):
        load(folder)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_weights_that_are_not_finite_are_named_and_no_other_dtype_is_advised(
    value: float, dtype: str, folder: Path
) -> None:
    weights = load_file(folder / "model.safetensors")
    weights["model.layers.1.mlp.up_proj.weight"][3, 4] = value
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"the weights hold NaN or infinity \(.*up_proj") as caught:
        load(folder, dtype)
    assert "fp32" not in str(caught.value)


# Adapters


def write_adapter(folder: Path, base: Path | str, **changes: Any) -> Path:
    """A LoRA adapter of rank 2 for two modules of every layer, as PEFT saves it."""
    folder.mkdir(exist_ok=True)
    random = torch.Generator().manual_seed(3)
    tensors = {}
    for layer in range(3):
        for module, n_in, n_out in (("self_attn.v_proj", 32, 16), ("mlp.down_proj", 64, 32)):
            key = f"base_model.model.model.layers.{layer}.{module}"
            tensors[f"{key}.lora_A.weight"] = torch.randn(2, n_in, generator=random)
            tensors[f"{key}.lora_B.weight"] = torch.randn(n_out, 2, generator=random)
    settings = {
        "peft_type": "LORA",
        "base_model_name_or_path": str(base),
        "r": 2,
        "lora_alpha": 4,
        "target_modules": ["v_proj", "down_proj"],
        **changes,
    }
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    save_file(tensors, folder / "adapter_model.safetensors")
    return folder


def merged_by_hand(adapter: Path, scales: Callable[[str], float]) -> str:
    model = build("llama")
    tensors = load_file(adapter / "adapter_model.safetensors")
    for key in [key for key in tensors if "lora_A" in key]:
        path = key.removeprefix("base_model.model.").removesuffix(".lora_A.weight")
        delta = tensors[key.replace("lora_A", "lora_B")] @ tensors[key]
        model.get_submodule(path).weight.data += scales(path) * delta  # type: ignore[operator, union-attr]
    return weights_fingerprint(model)


@pytest.mark.parametrize(
    ("changes", "scales"),
    [
        ({}, lambda _path: 2.0),
        ({"use_rslora": True, "lora_alpha": 3}, lambda _path: 3 / 2**0.5),
        ({"alpha_pattern": {"down_proj": 8}}, lambda path: 4.0 if "down" in path else 2.0),
    ],
)
def test_an_adapter_is_merged_into_the_model_it_is_for(
    changes: dict[str, Any], scales: Callable[[str], float], folder: Path, tmp_path: Path
) -> None:
    adapter = write_adapter(tmp_path / "my-lora", folder, **changes)
    loaded = load(adapter)
    assert loaded.name == "my-lora"
    assert loaded.notes == ("the LoRA adapter my-lora is merged into the weights",)
    assert loaded.fingerprint == merged_by_hand(adapter, scales) != load(folder).fingerprint


def test_dora_gives_every_output_the_length_it_learned(folder: Path, tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path / "my-dora", folder, use_dora=True)
    file, model = adapter / "adapter_model.safetensors", build("llama")
    tensors, random = load_file(file), torch.Generator().manual_seed(4)
    for key in [key for key in tensors if "lora_A" in key]:
        before = key.removesuffix(".lora_A.weight")
        weight = model.get_parameter(f"{before.removeprefix('base_model.model.')}.weight")
        lengths = torch.rand(len(weight), generator=random) + 0.5
        tensors[f"{before}.lora_magnitude_vector"] = lengths
        changed = weight + 2.0 * tensors[f"{before}.lora_B.weight"] @ tensors[key]
        weight.data = torch.stack(
            [row / row.square().sum().sqrt() * n for row, n in zip(changed, lengths, strict=True)]
        )
    save_file(tensors, file)
    loaded = load(adapter)
    assert loaded.notes == ("the DoRA adapter my-dora is merged into the weights",)
    for name, expected in model.named_parameters():
        torch.testing.assert_close(loaded.model.get_parameter(name), expected)


def test_ia3_scales_outputs_of_some_modules_and_inputs_of_others(
    folder: Path, tmp_path: Path
) -> None:
    adapter = write_adapter(tmp_path / "my-ia3", folder, peft_type="IA3")
    random = torch.Generator().manual_seed(4)
    value, down = torch.rand(16, generator=random), torch.rand(64, generator=random)
    start = "base_model.model.model.layers.1."
    tensors = {
        f"{start}self_attn.v_proj.ia3_l": value[:, None],
        f"{start}mlp.down_proj.ia3_l": down[None],
    }
    save_file(tensors, adapter / "adapter_model.safetensors")
    loaded, model = load(adapter), build("llama")
    assert loaded.notes == ("the IA3 adapter my-ia3 is merged into the weights",)
    block: Any = model.get_submodule("model.layers.1")
    states = torch.randn(5, 32, generator=random), torch.randn(5, 64, generator=random)
    changed: Any = loaded.model.get_submodule("model.layers.1")
    torch.testing.assert_close(
        changed.self_attn.v_proj(states[0]), block.self_attn.v_proj(states[0]) * value
    )
    torch.testing.assert_close(
        changed.mlp.down_proj(states[1]), block.mlp.down_proj(states[1] * down)
    )
    assert torch.equal(changed.mlp.up_proj.weight, block.mlp.up_proj.weight)


def test_weights_that_an_adapter_saved_whole_take_the_place_of_the_models(
    folder: Path, tmp_path: Path
) -> None:
    adapter = write_adapter(tmp_path / "my-lora", folder)
    file = adapter / "adapter_model.safetensors"
    norm = torch.full((32,), 0.5)
    save_file({**load_file(file), "base_model.model.model.norm.weight": norm}, file)
    assert torch.equal(load(adapter).model.get_parameter("model.norm.weight"), norm)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"peft_type": "LOHA"}, r"my-lora: this adapter is neither LoRA, DoRA nor IA3.*\(LOHA\)"),
        ({"layer_replication": [[0, 2]]}, r"alone \(layer_replication\).*merge_and_unload"),
        ({"base_model_name_or_path": "some/base"}, "an adapter for some/base, which cannot"),
        ({"base_model_name_or_path": None}, "does not say which model it is for"),
    ],
)
def test_an_adapter_that_cannot_be_merged_is_refused_with_the_cause(
    changes: dict[str, Any], message: str, folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message):
        load(write_adapter(tmp_path / "my-lora", folder, **changes))


def test_an_adapter_for_an_adapter_is_refused_and_none_of_both_is_forgotten(
    folder: Path, tmp_path: Path
) -> None:
    first = write_adapter(tmp_path / "first", folder)
    second = write_adapter(tmp_path / "second", folder, base_model_name_or_path=str(first))
    itself = write_adapter(
        tmp_path / "itself", folder, base_model_name_or_path=f"{tmp_path}/itself"
    )
    for adapter in (second, itself):
        with pytest.raises(UserError, match=r"which is an adapter itself; merge that one"):
            load(adapter)


def config(**changes: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        file = folder / "config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | changes))

    return change


def content(name: str, raw: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(raw)


def pickled(folder: Path) -> None:
    """Weights whose opening would run a program."""
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04cos\nsystem\n(S'exit 1'\ntR.")


def no_file(name: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).mkdir()

    return change


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (config(num_hidden_layers="2"), "cannot be loaded"),
        (config(num_attention_heads=0), "cannot be loaded"),
        (config(dtype="float7", torch_dtype="float7"), "float7"),
        (config(quantization_config="x"), "cannot be loaded"),
        (config(hidden_size=64), r"other shapes than its config\.json says|size mismatch"),
        (content("tokenizer_config.json", b"[]"), "its tokenizer cannot be loaded"),
        (content("tokenizer_config.json", b'{"tokenizer_class": 5}'), "its tokenizer cannot"),
        (content("generation_config.json", b"[]"), "cannot be loaded"),
        (content("model.safetensors", (9).to_bytes(8, "little") + b'{"a": {}}'), "is damaged"),
        (content("model.safetensors", (4).to_bytes(8, "little") + b"[[]]"), "is damaged"),
        (pickled, "cannot be loaded"),
        (no_file("model.safetensors"), "is no regular file"),
        (no_file("config.json"), "is no regular file"),
    ],
)
def test_whatever_a_models_files_hold_is_told_in_one_sentence(
    damage: Callable[[Path], object], said: str, folder: Path
) -> None:
    damage(folder)
    with pytest.raises(UserError, match=said) as refused:
        load(folder)
    assert len(str(refused.value)) < 500


def test_an_adapter_for_another_model_names_the_first_weight_that_does_not_fit(
    folder: Path, tmp_path: Path
) -> None:
    adapter = write_adapter(tmp_path / "my-lora", folder)
    build("gpt2").save_pretrained(folder)
    with pytest.raises(UserError, match=r"lora_A\.weight fits nothing in GPT2LMHeadModel"):
        load(adapter)


def test_an_adapter_beside_whole_weights_is_noted_and_not_applied(folder: Path) -> None:
    plain = load(folder).fingerprint
    loaded = load(write_adapter(folder, folder))
    assert loaded.fingerprint == plain
    assert "adapter_config.json) is not applied" in loaded.notes[0]
