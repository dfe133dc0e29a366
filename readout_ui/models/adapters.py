"""Adapters: small files of changes that are merged into the weights they were trained for."""

import math
import re
from collections.abc import Collection, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from readout_ui.errors import UserError
from readout_ui.models.devices import Shortage, within_memory
from readout_ui.models.weights import read_json, require_no_pointer

if TYPE_CHECKING:
    from torch import Tensor, nn

ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")


def merge_adapter(model: "nn.Module", folder: Path) -> str:
    """Put an adapter into the weights of the model that it was trained for, as PEFT merges it.

    Returns:
        What it is: LoRA, DoRA or IA3.

    Raises:
        UserError: it is of another kind, does not fit this model, or there is no memory for it.
    """
    import torch

    settings = read_json(folder / ADAPTER_CONFIG)
    tensors = _adapter_tensors(folder)
    kind = _require_known(settings, tensors, folder.name)
    with torch.inference_mode():
        for key in tensors:
            try:
                merged = within_memory(partial(_merge, model, settings, tensors, key))
            except (AttributeError, KeyError, RuntimeError) as error:
                raise UserError(
                    f"the adapter's {key} fits nothing in {type(model).__name__}",
                    where=folder.name,
                    fix="check that it was trained for this model",
                ) from error
            if isinstance(merged, Shortage):
                device = next(model.parameters()).device
                raise merged.error(
                    device, f"the adapter's {key}", folder.name, "merge it with PEFT"
                )
    return kind


_PARTS = re.compile(r"\.lora_(?:embedding_)?([AB])(?:\.weight)?$")
_MAGNITUDE = re.compile(r"\.lora_magnitude_vector(?:\.weight)?$")
_SCALE = ".ia3_l"


def _merge(
    model: "nn.Module", settings: Mapping[str, Any], tensors: "Mapping[str, Tensor]", key: str
) -> None:
    """One of an adapter's tensors; a B and a magnitude go with their A."""
    path, tensor = key.removeprefix("base_model.model."), tensors[key]
    if path.endswith(_SCALE):
        _rescale(model, settings, path.removesuffix(_SCALE), tensor)
    elif (part := _PARTS.search(path)) is None:
        if not _MAGNITUDE.search(path):
            target = _parameter(model, path)
            target += (tensor - target).to(target)
    elif part[1] == "A":
        module = path[: part.start()]
        b = tensors[_PARTS.sub(lambda found: f"{found[0].replace('A', 'B')}", key)]
        target = _parameter(model, f"{module}.weight")
        delta = _delta(settings, module, tensor, b, target.shape)
        prefix = key[: len(key) - len(path) + part.start()]
        own = (name for name in tensors if _MAGNITUDE.sub("", name) == prefix != name)
        if (magnitude := next(own, None)) is None:
            target += delta.to(target)
        else:
            turned = settings.get("fan_in_fan_out")
            merged = target.float() + delta.to(target.device)
            lengths = merged.norm(dim=0 if turned else 1, keepdim=True)  # one for each output
            strength = tensors[magnitude].float().to(target.device).view(lengths.shape)
            target.copy_(merged * strength / lengths)


def _rescale(model: "nn.Module", settings: Mapping[str, Any], module: str, scale: "Tensor") -> None:
    """IA3: every output (n_out, 1) or every input (1, n_in) of a module times a number."""
    weight = _parameter(model, f"{module}.weight")
    weight *= (scale.T if settings.get("fan_in_fan_out") else scale).to(weight)
    if scale.shape[0] > 1 and getattr(model.get_submodule(module), "bias", None) is not None:
        bias = _parameter(model, f"{module}.bias")
        bias *= scale.view(bias.shape).to(bias)


def _adapter_tensors(folder: Path) -> "dict[str, Tensor]":
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    file = next((folder / name for name in ADAPTER_WEIGHTS if (folder / name).is_file()), None)
    if file is None:
        raise UserError(f"the adapter has no {ADAPTER_WEIGHTS[0]}", where=folder.name)
    require_no_pointer(file)
    try:
        if file.suffix == ".safetensors":
            return load_file(file)
        return dict(torch.load(file, weights_only=True))
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise UserError("the adapter's weights are damaged", where=str(file)) from error


def _require_known(settings: Mapping[str, Any], tensors: Collection[str], where: str) -> str:
    kind = str(settings.get("peft_type") or "LORA")
    odd = [name for name in _MORE_THAN_LORA if settings.get(name)]
    odd += [key for key in tensors if re.search(r"lora_.*\.bias$|prompt", key)]
    if kind not in ("LORA", "IA3") or odd:
        raise UserError(
            f"this adapter is neither LoRA, DoRA nor IA3 alone ({odd[0] if odd else kind})",
            where=where,
            fix="merge it with PEFT (merge_and_unload) and give the merged folder",
        )
    if kind == "LORA":
        return "DoRA" if settings.get("use_dora") else "LoRA"
    return kind


_MORE_THAN_LORA = (
    "layer_replication", "trainable_token_indices", "alora_invocation_tokens"
)  # fmt: skip


def _parameter(model: "nn.Module", path: str) -> "Tensor":
    """A weight that can be added to, by its path; of a tied or wrapped one, the weight itself."""
    parameter = model.get_parameter(path.replace(".base_layer.", "."))
    if not parameter.is_floating_point():
        raise UserError("an adapter cannot be merged into quantized weights", where=path)
    return parameter.data


def _delta(
    settings: Mapping[str, Any], module: str, a: "Tensor", b: "Tensor", shape: Any
) -> "Tensor":
    """What LoRA adds to a weight: scale * B A, turned where a layer keeps (in, out)."""
    rank = a.shape[0]
    alpha = _for_module(settings.get("alpha_pattern") or {}, module, settings["lora_alpha"])
    scale = alpha / (math.sqrt(rank) if settings.get("use_rslora") else rank)
    product = scale * (b.float() @ a.float())  # (n_out, n_in)
    turned = settings.get("fan_in_fan_out") or tuple(product.shape) != tuple(shape)
    return product.T if turned else product


def _for_module(patterns: Mapping[str, float], module: str, usual: float) -> float:
    found = (v for key, v in patterns.items() if re.fullmatch(rf"(?:.*\.)?(?:{key})", module))
    return next(found, usual)
