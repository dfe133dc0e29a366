"""The identity of a model's weights: exact integer sums over their raw bits."""

import hashlib
import json
from typing import TYPE_CHECKING, Any

from readout_ui.blocks import text_config

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
    """Sum of the bits, and sums weighted by row and by column so that moved values differ."""
    import torch

    integers = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
    bits = parameter.detach().reshape(-1).contiguous()
    bits = bits.view(integers[bits.element_size()])  # (n_values,)
    whole = len(bits) - len(bits) % _COLUMNS
    table = bits[:whole].view(-1, _COLUMNS)
    rows = table.sum(dim=1, dtype=torch.int64)  # (n_rows,)
    columns = table.sum(dim=0, dtype=torch.int64)  # (_COLUMNS,)
    rest = bits[whole:].to(torch.int64)  # (fewer than _COLUMNS,)
    return torch.stack(
        [rows.sum() + rest.sum(), _weighted(rows), _weighted(columns), _weighted(rest)]
    )


def _weighted(values: "Tensor") -> "Tensor":
    """Sum of value x odd multiplier of its position, wrapping at 64 bits."""
    import torch

    positions = torch.arange(len(values), device=values.device, dtype=torch.int64)
    return (values * (2 * positions + 1)).sum()


def _settings(model: "nn.Module") -> dict[str, Any]:
    config = text_config(model)
    settings = {key: getattr(config, key, None) for key in _CONFIG_KEYS}
    # transformers 4 has rope_theta and rope_scaling where 5 has rope_parameters.
    rope = getattr(config, "rope_parameters", None) or {}
    settings["rope_theta"] = rope.get("rope_theta") or getattr(config, "rope_theta", None)
    scaling = getattr(config, "rope_scaling", None) or rope
    settings["rope_factor"] = scaling.get("factor")
    return settings
