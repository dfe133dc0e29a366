"""The reference consumer of an export: concept scores of every token while a model generates.

Needs torch and safetensors only, and no other module of this package that needs more, so it can be
copied beside a server. Like the vLLM ReadoutManager it projects the output of each exported layer
onto that layer's vectors in every forward pass, and gives `[n_layers][n_concepts]` per token.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from readout_ui.errors import UserError

MANIFEST_FILE = "readout.json"
VECTORS_FILE = "readout.safetensors"
CALIBRATION_FILE = "calibration.safetensors"


@dataclass(frozen=True, eq=False)
class ReadoutVectors:
    """What a server needs of an export."""

    concepts: tuple[str, ...]
    layers: tuple[int, ...]
    vectors: Tensor
    """(n_layers, n_concepts, d_model) float32."""
    module_path: str
    """Where layer i is in the model, with {num} for i."""
    manifest: dict[str, Any]
    """readout.json as it is."""
    neutral_mean: Tensor | None = None
    """(n_layers, n_concepts), raw scores of neutral tokens; None without a calibration file."""
    neutral_std: Tensor | None = None
    """(n_layers, n_concepts)."""

    def __post_init__(self) -> None:
        expected = (len(self.layers), len(self.concepts))
        if self.vectors.ndim != 3 or tuple(self.vectors.shape[:2]) != expected:
            raise ValueError(f"vectors are {tuple(self.vectors.shape)}, expected {expected} first")

    def z_scores(self, raw: Tensor) -> Tensor:
        """Raw scores (..., n_layers, n_concepts) in standard deviations from neutral tokens.

        Raises:
            UserError: the export came without its calibration.
        """
        if self.neutral_mean is None or self.neutral_std is None:
            raise UserError(f"there is no {CALIBRATION_FILE}", fix="export the vectors again")
        return (raw - self.neutral_mean) / self.neutral_std


def load(folder: Path | str) -> ReadoutVectors:
    """Load an export's folder; every tensor is checked against the manifest.

    Raises:
        UserError: a file is missing or damaged, or a tensor is not what the manifest says.
    """
    folder = Path(folder)
    manifest = _manifest(folder / MANIFEST_FILE)
    concepts, layers = tuple(manifest["concepts"]), tuple(manifest["layers"])
    path = folder / VECTORS_FILE
    tensors = _tensors(path)
    shape = (len(concepts), manifest["hidden_size"])
    vectors = [_checked(tensors, f"layer_{layer}.vectors", shape, path) for layer in layers]
    mean = std = None
    if (folder / CALIBRATION_FILE).is_file():
        path = folder / CALIBRATION_FILE
        tensors = _tensors(path)
        mean, std = (
            torch.stack([_checked(tensors, f"layer_{i}.{key}", shape[:1], path) for i in layers])
            for key in ("neutral_mean", "neutral_std")
        )
    module_path = manifest.get("read", {}).get("module_path", "model.layers.{num}")
    return ReadoutVectors(concepts, layers, torch.stack(vectors), module_path, manifest, mean, std)


class Watch:
    """The scores of one `watching`: of every token that any forward pass fed, in order."""

    def __init__(self, readout: ReadoutVectors) -> None:
        self._readout = readout
        self._passes: list[dict[int, Tensor]] = []
        self._on_device: dict[torch.device, Tensor] = {}

    def take(self, place: int, output: Tensor) -> None:
        """Project one layer's output; called by the hooks."""
        if not self._passes or place in self._passes[-1]:
            self._passes.append({})
        if output.device not in self._on_device:
            self._on_device[output.device] = self._readout.vectors.to(output.device)
        directions = self._on_device[output.device][place]  # (n_concepts, d_model)
        rows = output if output.ndim == 3 else output[None]
        self._passes[-1][place] = rows.float() @ directions.T  # (n_rows, n_new, n_concepts)

    def scores(self) -> Tensor:
        """Raw scores, (n_rows, n_tokens, n_layers, n_concepts) float32 on the CPU."""
        places = range(len(self._readout.layers))
        whole = [p for p in self._passes if len(p) == len(places)]
        if not whole:
            return torch.zeros(1, 0, len(places), len(self._readout.concepts))
        return torch.cat([torch.stack([p[i].cpu() for i in places], dim=2) for p in whole], dim=1)

    def latest(self, row: int = 0) -> list[list[float]]:
        """`[n_layers][n_concepts]` of the newest token of a row."""
        last = self._passes[-1]
        return [last[i][row, -1].tolist() for i in range(len(self._readout.layers))]


@contextmanager
def watching(model: nn.Module, readout: ReadoutVectors) -> Iterator[Watch]:
    """Inside, every forward pass of a transformers model is read out; outside nothing is left.

    Raises:
        UserError: the model has no such modules or another width.
    """
    watch = Watch(readout)
    with ExitStack() as hooks:
        for place, layer in enumerate(readout.layers):
            name = readout.module_path.format(num=layer)
            handle = _module(model, name).register_forward_hook(_hook(watch, place, name))
            hooks.callback(handle.remove)
        yield watch


def _hook(watch: Watch, place: int, name: str) -> Any:
    def read(_module: nn.Module, _inputs: Any, output: Any) -> None:
        activation = output[0] if isinstance(output, tuple | list) else output
        d_model = watch._readout.vectors.shape[-1]
        if activation.shape[-1] != d_model:
            raise UserError(
                f"the model's activations have {activation.shape[-1]} numbers, "
                f"the vectors {d_model}",
                where=name,
                fix="load the model that the manifest names",
            )
        watch.take(place, activation)

    return read


def _module(model: nn.Module, name: str) -> nn.Module:
    try:
        return model.get_submodule(name)
    except AttributeError:
        raise UserError(
            "the model has no such module", where=name, fix="load the model the manifest names"
        ) from None


def _manifest(path: Path) -> dict[str, Any]:
    try:
        manifest = json.loads(path.read_text("utf-8"))
        named: Sequence[Any] = [manifest[key] for key in ("concepts", "layers", "hidden_size")]
    except OSError as error:
        raise UserError(f"cannot be read ({error.strerror})", where=str(path)) from error
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"is no manifest of a readout: {error}", where=str(path)) from error
    if not (named[0] and named[1] and isinstance(named[2], int)):
        raise UserError("names no concepts, layers or hidden size", where=str(path))
    return dict(manifest)


def _tensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise UserError(f"is no safetensors file: {error}", where=str(path)) from error


def _checked(tensors: dict[str, Tensor], key: str, shape: tuple[int, ...], path: Path) -> Tensor:
    tensor = tensors.get(key)
    if tensor is None:
        raise UserError(f"the tensor {key} is missing", where=str(path))
    if tuple(tensor.shape) != shape or not torch.isfinite(tensor).all():
        raise UserError(
            f"{key} is {tuple(tensor.shape)} or not finite, the manifest wants {shape}",
            where=str(path),
        )
    return tensor.float()
