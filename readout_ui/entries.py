"""One cached text as bytes: a small JSON header, raw float32 numbers and a checksum over both."""

import json
import zlib
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from readout_ui.pooling import TextActivations


class DamagedEntry(ValueError):
    """The bytes are not what was written."""


@dataclass(frozen=True)
class Entry:
    """What the database holds for one text."""

    header: str
    """JSON: shapes of both tensors, token count, whether the text was truncated."""
    payload: bytes
    """Both tensors one after the other, float32, row-major, little-endian as every torch host."""
    checksum: int
    """CRC-32 of key, header and payload. It guards against accidents, which is all it has to do,
    at 1.5 GB/s; SHA-256 would take most of the time of a read."""


def encode_entry(key: str, activations: TextActivations) -> Entry:
    """Bytes from which `decode_entry` makes exactly the same tensors again."""
    header = json.dumps(
        {
            "pooled": list(activations.pooled.shape),
            "tokens": list(activations.tokens.shape),
            "n_tokens": activations.n_tokens,
            "truncated": activations.truncated,
        }
    )
    payload = _raw(activations.pooled) + _raw(activations.tokens)
    return Entry(header, payload, _checksum(key, header, payload))


def decode_entry(key: str, entry: Entry) -> TextActivations:
    """The tensors that were encoded.

    Raises:
        DamagedEntry: if the checksum does not fit, so nothing half-right is ever returned.
    """
    if _checksum(key, entry.header, entry.payload) != entry.checksum:
        raise DamagedEntry(f"checksum of {key} does not fit")
    header: dict[str, Any] = json.loads(entry.header)
    # a bytearray, because torch refuses to promise that it will not write to bytes
    numbers = torch.frombuffer(bytearray(entry.payload), dtype=torch.float32)
    n_pooled = torch.Size(header["pooled"]).numel()
    return TextActivations(
        pooled=numbers[:n_pooled].view(header["pooled"]),  # (n_rules, n_layers, d_model)
        tokens=numbers[n_pooled:].view(header["tokens"]),  # (n_kept, n_layers, d_model)
        n_tokens=header["n_tokens"],
        truncated=header["truncated"],
    )


def _raw(tensor: Tensor) -> bytes:
    return tensor.to(torch.float32).contiguous().numpy().tobytes()


def _checksum(key: str, header: str, payload: bytes) -> int:
    return zlib.crc32(payload, zlib.crc32(f"{key}\n{header}".encode()))
