"""The reference consumer of an export: concept scores of every token while a model generates.

Needs torch and safetensors only, and no other module of this package that needs more, so it can be
copied beside a server. Like the vLLM ReadoutManager it projects the output of each exported layer
onto that layer's vectors in every forward pass, and gives `[n_layers][n_concepts]` per token.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
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
_NARROW = 64
"""Rows times tokens of a pass up to which all layers are projected in one product."""


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
    module_path = (manifest.get("read") or {}).get("module_path") or "model.layers.{num}"
    return ReadoutVectors(concepts, layers, torch.stack(vectors), module_path, manifest, mean, std)


class Watch:
    """The scores of one `watching`: of every token that any forward pass fed, in order."""

    def __init__(self, readout: ReadoutVectors) -> None:
        self._readout = readout
        self._arrived: dict[int, Tensor] = {}
        self._passes: list[list[tuple[list[int], Tensor]]] = []
        self._on_device: dict[torch.device, Tensor] = {}
        self._calls = self._reads = self._fed = self._past = 0
        self._cache: Any = None
        self._complete = False

    def begin(self, cache: Any) -> None:
        """A pass begins that goes on from `cache`, which is None for a new text."""
        past = 0 if cache is None else int(cache.get_seq_length())
        if past:
            self._forget_behind(past)
        self._cache, self._fed, self._past, self._arrived = cache, past, past, {}
        self._complete = False

    def settle(self) -> None:
        """No pass follows: what the last one fed as a draft and was rejected is dropped."""
        if self._cache is not None:
            self._forget_behind(int(self._cache.get_seq_length()))
        self._cache = None

    def _forget_behind(self, length: int) -> None:
        rejected = self._fed - length
        while rejected > 0 and self._passes:
            last = self._passes.pop()
            kept = max(0, last[0][1].shape[2] - rejected)
            rejected -= last[0][1].shape[2] - kept
            if kept:
                self._passes.append([(places, scores[:, :, :kept]) for places, scores in last])

    def end(self) -> None:
        """A call of the whole model is over."""
        self._calls += 1

    def take(self, place: int, output: Tensor) -> None:
        """Project one layer's output; called by the hooks.

        Single tokens are copied and projected together when the pass is over, long texts layer by
        layer, so that they are not kept.
        """
        if place in self._arrived or self._complete:
            raise UserError(
                "the model runs its modules several times in a pass, or leaves some out",
                where=self._readout.module_path.format(num=self._readout.layers[place]),
                fix="export vectors of another layer type or model",
            )
        output = output.detach()
        rows = output if output.ndim == 3 else output[None]  # (n_rows, n_new, d_model)
        alone = rows.shape[0] * rows.shape[1] > _NARROW
        states = rows.float()
        if alone:
            states = states @ self._directions(output.device)[place].T
        elif states is rows:
            states = rows.clone()
        self._arrived[place] = states
        if len(self._arrived) == len(self._readout.layers):
            self._passes.append(list(self._by_device(projected=alone)))
            self._arrived, self._complete = {}, True
            self._fed = self._past + rows.shape[1]
            self._reads += 1

    def scores(self) -> Tensor:
        """Raw scores, (n_rows, n_tokens, n_layers, n_concepts) float32 on the CPU.

        Raises:
            UserError: no pass was read, passes had different numbers of rows, or the model's
                numbers overflowed.
        """
        shape = (len(self._readout.layers), len(self._readout.concepts))
        self._require_passes()
        rows = sorted({one[0][1].shape[1] for one in self._passes})
        if len(rows) > 1:
            raise UserError(
                f"the passes had {' and '.join(map(str, rows))} rows",
                fix="open one `watching` for each call",
            )
        width = sum(one[0][1].shape[2] for one in self._passes)
        whole = torch.empty(self._passes[0][0][1].shape[1], width, *shape)
        # What one device has of all passes is put together there and copied once.
        for number, (places, _scores) in enumerate(self._passes[0]):
            there = torch.cat([one[number][1] for one in self._passes], dim=2)
            whole[:, :, places] = _finite(there.cpu()).permute(1, 2, 0, 3)
        return whole

    def latest(self, row: int = 0) -> list[list[float]]:
        """`[n_layers][n_concepts]` of the newest token of a row.

        Raises:
            UserError: no pass was read yet, or the model's numbers overflowed.
        """
        self._require_passes()
        found: dict[int, list[float]] = {}
        for places, scores in self._passes[-1]:
            found |= zip(places, _finite(scores[:, row, -1].cpu()).tolist(), strict=True)
        return [found[place] for place in range(len(found))]

    def _require_passes(self) -> None:
        if not self._passes or self._calls > self._reads:
            raise UserError(
                "no module ran that is read"
                + (f" in {self._calls} passes" if self._calls else ", there was no pass yet"),
                fix="run the model inside `watching`; of a compiled one, the model itself "
                "(its _orig_mod)",
            )

    def _by_device(self, projected: bool) -> Iterator[tuple[list[int], Tensor]]:
        """Places and their scores (n_places, n_rows, n_new, n_concepts), device by device."""
        for device in dict.fromkeys(states.device for states in self._arrived.values()):
            places = [i for i in sorted(self._arrived) if self._arrived[i].device == device]
            states = torch.stack([self._arrived[place] for place in places])
            if not projected:
                chosen = self._directions(device)[places[0] : places[-1] + 1]
                if len(chosen) != len(places):
                    chosen = torch.stack([self._directions(device)[place] for place in places])
                flat = torch.bmm(states.flatten(1, 2), chosen.mT)  # (n_places, n_rows * n_new, ..)
                states = flat.view(*states.shape[:3], -1)
            yield places, states

    def _directions(self, device: torch.device) -> Tensor:
        """(n_layers, n_concepts, d_model) there."""
        if device not in self._on_device:
            self._on_device[device] = self._readout.vectors.to(device)
        return self._on_device[device]


def _finite(scores: Tensor) -> Tensor:
    """The same scores; UserError where some are no numbers."""
    if not scores.isfinite().all():
        raise UserError(
            "the model's numbers overflow in its number format",
            fix="load it in bfloat16 or float32",
        )
    return scores


@contextmanager
def watching(model: nn.Module, readout: ReadoutVectors) -> Iterator[Watch]:
    """Inside, every forward pass of a transformers model is read out; outside nothing is left.

    Raises:
        UserError: the model has no such modules or another width.
    """
    watch = Watch(readout)
    names = [readout.module_path.format(num=layer) for layer in readout.layers]
    wrapper = _wrapper(model, names[0])
    decoder = wrapper + readout.module_path.split("{num}")[0].rstrip(".").rpartition(".")[0]
    with ExitStack() as hooks:
        begin = _module(model, decoder.rstrip(".")).register_forward_pre_hook(
            lambda _module, args, kwargs: watch.begin(_cache(args, kwargs)), with_kwargs=True
        )
        end = model.register_forward_hook(lambda *_: watch.end())
        for handle in (begin, end):
            hooks.callback(handle.remove)
        for place, name in enumerate(names):
            read = _module(model, wrapper + name).register_forward_hook(_hook(watch, place, name))
            hooks.callback(read.remove)
        yield watch
    watch.settle()


def _cache(args: Any, kwargs: dict[str, Any]) -> Any:
    """The cache that a decoder is called with, under whatever name; None without one."""
    given = (*args, *kwargs.values())
    return next((value for value in given if hasattr(value, "get_seq_length")), None)


def _wrapper(model: nn.Module, name: str) -> str:
    """What stands before `name` where PEFT, DataParallel or torch.compile wrap the model."""
    if len(getattr(model, "device_ids", None) or ()) > 1:
        raise UserError(
            f"{type(model).__name__} runs several copies at once, whose passes would be mixed",
            fix="watch the model itself (its .module)",
        )
    ends = [known for known, _module in model.named_modules() if f".{known}".endswith(f".{name}")]
    return ends[0].removesuffix(name) if len(ends) == 1 else ""


def _hook(watch: Watch, place: int, name: str) -> Any:
    def read(_module: nn.Module, _inputs: Any, output: Any) -> None:
        activation = output[0] if isinstance(output, tuple | list) else output
        if not isinstance(activation, Tensor) or activation.ndim > 3:
            raise UserError(
                "the module returns something else than one state per token",
                where=name,
                fix="export vectors of another layer type",
            )
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
            f"the model ({type(model).__name__}) has no such module",
            where=name,
            fix="load the model the manifest names",
        ) from None


def _manifest(path: Path) -> dict[str, Any]:
    try:
        manifest = json.loads(path.read_text("utf-8"))
        concepts, layers, width = (manifest[key] for key in ("concepts", "layers", "hidden_size"))
    except OSError as error:
        raise UserError(f"cannot be read ({error.strerror})", where=str(path)) from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"is no manifest of a readout: {error}", where=str(path)) from error
    lists = [(concepts, str), (layers, int)]
    fit = all(isinstance(some, list) and {*map(type, some)} == {kind} for some, kind in lists)
    if not fit or not isinstance(width, int):
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
