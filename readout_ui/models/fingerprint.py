"""The identity of a model's weights: exact integer sums over their raw bits."""

import hashlib
import json
from typing import TYPE_CHECKING, Any

from readout_ui.models.blocks import config_values, text_config

if TYPE_CHECKING:
    from torch import Tensor, nn

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
_COLUMNS = 1024
_WORD = 8


def weights_fingerprint(model: "nn.Module") -> str:
    """sha256 over names, shapes, dtypes and bit sums of all parameters.

    The sums are integers that wrap at 64 bits, so order of summation and device do not matter: the
    same weights give the same fingerprint on CPU and GPU.
    """
    import torch

    names, sums = [], []
    with torch.inference_mode():
        for name, parameter in sorted(model.named_parameters()):
            names.append(f"{name} {tuple(parameter.shape)} {parameter.dtype}")
            sums.append(_bit_sums(parameter))
    numbers = [row.tolist() for row in sums]
    identity = json.dumps([names, numbers, _settings(model)])
    return hashlib.sha256(identity.encode()).hexdigest()


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
