"""A model's weights: the files that hold them, what they need, and their identity.

The identity is made of exact integer sums over their raw bits.
"""

import hashlib
import json
import math
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from readout_ui.errors import UserError
from readout_ui.models.blocks import config_values, text_config

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
_NEVER_QUANTIZED = ("embed", "wte", "wpe", "lm_head")
_FLOAT_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
_POINTER = b"version https://git-lfs.github.com/spec/"
_CONFIG_KEYS = (
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "hidden_act",
    "rms_norm_eps",
    "layer_norm_eps",
    "sliding_window",
    "layer_types",
    "attn_logit_softcapping",
    "query_pre_attn_scalar",
)
"""Settings that change activations while the weights stay the same."""
_BITS_AND_BYTES = {"8bit": 1.0, "4bit": 0.6}
"""Bytes per quantized weight, scales included."""
_COLUMNS = 1024
_WORD = 8


def bytes_per_float(
    quantization: str, dtype: "torch.dtype", config: dict[str, Any]
) -> float | None:
    """Memory per stored number; None where the checkpoint is packed already and stays so."""
    if config.get("quantization_config"):
        return None
    return _BITS_AND_BYTES.get(quantization, float(dtype.itemsize))


def weight_bytes(folder: Path, bytes_per_float: float | None, whole: float | None = None) -> int:
    """Memory for the weights: their count x `bytes_per_float`, or as stored where that is None.

    Args:
        folder: where they are.
        bytes_per_float: memory for each number.
        whole: the same for embeddings, head and norms, which quantization leaves as they are.

    Raises:
        UserError: there are no weights, or a file is cut off.
    """
    names = weight_names(folder, {file.name for file in folder.iterdir()})
    files = [folder / name for name in names]
    for file in files:
        require_no_pointer(file)
    if files[0].suffix == ".safetensors":
        sizes = (size for file in files for size in _tensor_sizes(file, bytes_per_float, whole))
        return math.ceil(sum(sizes))
    return sum(file.stat().st_size for file in files)


def weight_names(folder: Path, present: Collection[str]) -> list[str]:
    """The files that transformers will load, and no others that lie beside them.

    The shards that an index names, else the one file; safetensors before pickles.

    Args:
        folder: where the indexes are.
        present: names of all files there, or of all that can be fetched.

    Raises:
        UserError: there are none, or an index is broken or names files that are not there.
    """
    broken: UserError | None = None
    for single in _WEIGHTS:
        if (folder / f"{single}.index.json").is_file():
            try:
                return _shards(folder / f"{single}.index.json", present)
            except UserError as error:
                whole = single in present and not isinstance(error, _MissingShards)
                broken = broken or (None if whole else error)
        if broken is None and single in present:
            return [single]
    if broken is not None:
        raise broken
    others = sorted(name for name in present if name.endswith((".safetensors", ".bin", ".pth")))
    beside = f", only {', '.join(others[:3])}, which transformers does not load" if others else ""
    raise UserError(f"there are no weights (model.safetensors) here{beside}", where=folder.name)


class _MissingShards(UserError):
    """An index that is sound, but not all of its files are there."""


def _shards(index: Path, present: Collection[str]) -> list[str]:
    found = read_json(index)
    named = found.get("weight_map")
    if not (isinstance(named, dict) and named and all(isinstance(n, str) for n in named.values())):
        raise UserError(f"{index.name} names no files", where=str(index.parent))
    names = sorted(set(named.values()))
    if missing := [name for name in names if name not in present]:
        count = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise _MissingShards(
            f"{missing[0]}{count} of its weights is missing", where=index.parent.name
        )
    if not isinstance(found.get("metadata"), dict):
        raise UserError(
            f"{index.name} has no metadata, without which transformers does not read it",
            where=str(index.parent),
            fix='add "metadata": {} to it',
        )
    return names


def _tensor_sizes(
    file: Path, bytes_per_float: float | None, whole: float | None
) -> Iterator[float]:
    for name, tensor in _read_header(file).items():
        start, stop = tensor["data_offsets"]
        stored = _FLOAT_BYTES.get(tensor["dtype"])
        kept = len(tensor["shape"]) < 2 or any(part in name for part in _NEVER_QUANTIZED)
        each = whole if whole is not None and kept else bytes_per_float
        scale = 1.0 if stored is None or bytes_per_float is None or each is None else each / stored
        yield (stop - start) * scale


def _read_header(file: Path) -> dict[str, Any]:
    """The table of tensors in front of a safetensors file, checked against the file's length."""
    size = file.stat().st_size
    with file.open("rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        if length > size:
            raise UserError("this weights file is cut off or damaged", where=str(file))
        try:
            header = dict(json.loads(opened.read(length)))
            header.pop("__metadata__", None)
            sizes = [
                (len(t["shape"]), t["dtype"], *map(int, t["data_offsets"])) for t in header.values()
            ]
        except (ValueError, TypeError, LookupError, RecursionError) as error:
            raise UserError("this weights file is damaged", where=str(file)) from error
    end = 8 + length + max((stop for *_, stop in sizes), default=0)
    if end > size:
        raise UserError(f"this weights file is cut off ({size} of {end} bytes)", where=str(file))
    return header


def require_no_pointer(file: Path) -> None:
    """Refuse what is no file, and what Git LFS leaves in the place of one that was not fetched."""
    if not file.is_file():
        raise UserError("this is no regular file", where=str(file), fix="fetch the model again")
    with file.open("rb") as opened:
        if opened.read(len(_POINTER)) != _POINTER:
            return
    raise UserError(
        "this is a Git LFS pointer and not the file itself",
        where=str(file),
        fix="run `git lfs pull` in its folder",
    )


def read_json(file: Path, where: str = "") -> dict[str, Any]:
    """A JSON object from a file of a model.

    Raises:
        UserError: it is missing or no JSON object.
    """
    try:
        read = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(
            f"{file.name} cannot be read ({error})", where=where or str(file.parent)
        ) from error
    if not isinstance(read, dict):
        raise UserError(f"{file.name} is not a JSON object", where=where or str(file.parent))
    return read


def require_finite(model: "nn.Module", where: str) -> None:
    """Refuse weights that hold NaN or infinity, by name; one pass, without copies.

    Raises:
        UserError: some do.
    """
    import torch

    bad = [
        name
        for name, parameter in model.named_parameters()
        if parameter.is_floating_point()
        and not held_weight(model, name, parameter).sum(dtype=torch.float32).isfinite()
    ]
    if bad:
        more = f" and {len(bad) - 1} more" if len(bad) > 1 else ""
        raise UserError(
            f"the weights hold NaN or infinity ({bad[0]}{more})",
            where=where,
            fix="fetch or convert the model again",
        )


def weights_fingerprint(model: "nn.Module") -> str:
    """sha256 over names, shapes, dtypes and bit sums of all parameters.

    The sums are integers that wrap at 64 bits, so order of summation and device do not matter: the
    same weights give the same fingerprint on CPU and GPU.
    """
    import torch

    names, sums = {}, {}
    with torch.inference_mode():
        for name, parameter in sorted(model.named_parameters()):
            names[name] = f"{name} {tuple(parameter.shape)} {parameter.dtype}"
            sums[name] = _bit_sums(held_weight(model, name, parameter))
    numbers = {name: row.tolist() for name, row in sums.items()}
    for twin in _twins(model, numbers):
        del names[twin], numbers[twin]
    identity = json.dumps([[*names.values()], [*numbers.values()], _settings(model)])
    return hashlib.sha256(identity.encode()).hexdigest()


def _twins(model: "nn.Module", numbers: Mapping[str, list[int]]) -> list[str]:
    """The head, where accelerate parted it from the embeddings that it shares to offload one."""
    owner: Any = model
    ends = (owner.get_input_embeddings(), owner.get_output_embeddings())
    table, head = (getattr(end, "weight", None) for end in ends)
    if table is None or head is None or table is head or not (table.is_meta or head.is_meta):
        return []
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    first, second = names.get(id(table), ""), names.get(id(head), "")
    return [second] if second and numbers.get(first) == numbers[second] else []


def config_digest(model: "nn.Module") -> str:
    """sha256 of a model's config: equal weights may be run with another rotary base."""
    config = cast("Any", model).config.to_dict()
    for name in ("_name_or_path", "transformers_version"):
        config.pop(name, None)
    rendered = json.dumps(config, sort_keys=True, default=str)
    return hashlib.sha256(rendered.encode()).hexdigest()


def held_weight(model: "nn.Module", name: str, parameter: "Tensor") -> "Tensor":
    """The weight or, where the GPUs have no room for it, what accelerate keeps of it elsewhere.

    Raises:
        UserError: it is nowhere to be found.
    """
    if not parameter.is_meta:
        return parameter
    owner, _, key = name.rpartition(".")
    hook = getattr(model.get_submodule(owner), "_hf_hook", None)
    held = (getattr(one, "weights_map", None) for one in (hook, *getattr(hook, "hooks", ())))
    found = next((weights for weights in held if weights is not None), None)
    if found is None:
        raise UserError(
            f"the weights {name} are on no device, so the model cannot be told from others",
            fix="free memory, choose --quantization 4bit or a smaller model",
        )
    weight: Tensor = found[key]
    return weight


def _bit_sums(parameter: "Tensor") -> "Tensor":
    """Sum of the bits, and sums weighted by row and by column so that moved values differ.

    Eight bytes are one number, whatever the dtype: four to ten times faster than widening each.
    """
    import torch

    raw = parameter.detach().reshape(-1).contiguous().view(torch.uint8)  # (n_bytes,)
    if raw.storage_offset() % _WORD:
        raw = raw.clone()
    padded = torch.nn.functional.pad(raw[len(raw) - len(raw) % _WORD :], (0, -len(raw) % _WORD))
    words = raw[: len(raw) - len(raw) % _WORD].view(torch.int64)  # (n_bytes // 8,)
    whole = len(words) - len(words) % _COLUMNS
    table = words[:whole].view(-1, _COLUMNS)  # (n_rows, _COLUMNS)
    rest = torch.cat([words[whole:], padded.view(torch.int64)])
    sums = [_weighted(table.sum(dim=1)), _weighted(table.sum(dim=0)), _weighted(rest)]
    return torch.stack([table.sum(), *sums])  # (4,)


def _weighted(values: "Tensor") -> "Tensor":
    """Sum of value x odd multiplier of its position, wrapping at 64 bits."""
    import torch

    positions = torch.arange(len(values), device=values.device, dtype=torch.int64)
    return (values * (2 * positions + 1)).sum()


def _settings(model: "nn.Module") -> dict[str, Any]:
    config = text_config(model)
    settings = {key: _one_or_all(config_values(model, key)) for key in _CONFIG_KEYS}
    # transformers 4 has rope_theta and rope_scaling where 5 has rope_parameters.
    rope = getattr(config, "rope_parameters", None) or {}
    settings["rope_theta"] = rope.get("rope_theta") or getattr(config, "rope_theta", None)
    scaling = getattr(config, "rope_scaling", None) or rope
    settings["rope_factor"] = scaling.get("factor")
    if getattr(config, "is_heterogeneous", False):  # transformers 5.15 on: layers that differ
        settings["per_layer_config"] = config.to_dict().get("per_layer_config")
    return settings


def _one_or_all(values: tuple[Any, ...]) -> Any:
    return values[0] if len(values) == 1 else list(values) or None
