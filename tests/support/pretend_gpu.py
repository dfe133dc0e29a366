"""A pretend GPU on a machine without one: CPU numbers that claim to be on cuda:N.

It refuses mixed devices as CUDA does, counts how often the host would wait for the device and how
many kernels it would launch, and runs out of memory like a card of a given size:

    with PretendGpu(capacity=2**30) as gpu:
        reading = read_chat(on_pretend_gpu(model), vectors, prompt)
    gpu.waits, gpu.used, gpu.float64
"""

import collections
import dataclasses
import re
import traceback
import weakref
from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from readout_ui.models.loading import LoadedModel

PACKAGE = "readout_ui"
_TENSOR = torch.tensor
_NO_LAUNCH = {
    "view",
    "_unsafe_view",
    "reshape",
    "expand",
    "slice",
    "select",
    "transpose",
    "permute",
    "unsqueeze",
    "squeeze",
    "t",
    "alias",
    "detach",
    "split",
    "split_with_sizes",
    "unbind",
    "as_strided",
    "_reshape_alias",
    "unfold",
    "lift_fresh",
    "chunk",
    "_local_scalar_dense",
    "is_same_size",
    "diagonal",
    "view_as",
}
_MAY_MIX = {"copy_", "_to_copy", "index", "index_put_", "index_put", "_index_put_impl_", "set_"}
_INDEXING = {"index", "index_put_", "index_put", "_index_put_impl_"}
_WAITS = {"nonzero", "equal", "unique", "masked_select", "_unique2", "is_nonzero"}


class MixedDevices(RuntimeError):
    """What CUDA raises where tensors of two devices meet."""


class GpuTensor(Tensor):
    """A tensor whose numbers lie in `kept`, on the CPU, and which says it is at `place`."""

    kept: Tensor
    place: torch.device
    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @staticmethod
    def __new__(cls: type["GpuTensor"], inner: Tensor, where: torch.device) -> "GpuTensor":
        self: GpuTensor = torch.Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls,
            inner.size(),
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            device=torch.device("meta"),
            requires_grad=False,
        )
        self.kept, self.place = inner, where
        return self

    @classmethod  # type: ignore[assignment]
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        return PretendGpu.current.call(func, args, kwargs or {})

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        return self.place

    @property
    def is_cuda(self) -> bool:  # type: ignore[override]
        return True

    @property
    def is_meta(self) -> bool:  # type: ignore[override]
        return False

    def __repr__(self) -> str:  # type: ignore[override]
        return f"GpuTensor({tuple(self.shape)}, {self.dtype}, {self.place})"

    def tolist(self) -> Any:
        return self.cpu().tolist()

    def __deepcopy__(self, _memo: Any) -> Any:
        return self.clone()


class _AtOnce:
    """A stream or an event of a device on which all that is asked for is done at once."""

    def __init__(self, *_given: object) -> None: ...

    def record(self, _stream: object) -> None: ...

    def wait_event(self, _event: object) -> None: ...


class PretendGpu(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Inside it, `device="cuda:N"` is the pretend GPU; outside nothing of torch is changed.

    Args:
        capacity: bytes of all pretend devices together; more raises torch's OutOfMemoryError.
    """

    current: "PretendGpu"

    def __init__(self, capacity: int | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.capacity, self.used, self.peak = capacity, 0, 0
        self.full_after: int | None = None
        """How many allocations since `reset` still find room; None for all."""
        self._last = torch.device("cuda:0")
        self._storages: dict[int, int] = {}
        self._patches = ExitStack()
        self.reset()
        PretendGpu.current = self

    def reset(self) -> None:
        """Count from nothing; what is in use stays."""
        self.launches = self.taken = self.copied = 0
        self.wait_places: collections.Counter[str] = collections.Counter()
        self.moved: collections.Counter[str] = collections.Counter()
        self.float64: collections.Counter[str] = collections.Counter()

    @property
    def waits(self) -> int:
        """How often the host waited: a number asked for, or a copy from or to the host."""
        return self.wait_places.total()

    def __enter__(self) -> Self:
        PretendGpu.current = self
        torch._C._ensureCUDADeviceGuardSet()  # type: ignore[attr-defined]
        # Wrappers made inside inference mode have no version counter, which views then want.
        for name, new in (("torch.inference_mode", _no_grad), ("torch.tensor", _tensor)):
            self._patches.enter_context(patch(name, new))
        self._patches.enter_context(patch("torch.cuda._lazy_init", lambda: None))
        free: dict[str, Any] = {
            "mem_get_info": self._memory,
            "memory_reserved": lambda _=None: self.used,
        }
        free |= {"memory_allocated": lambda _=None: self.used}
        # A Turing card: without the grouped products of bfloat16 that a CPU does not have either.
        free |= {"get_device_capability": lambda _=None: (7, 5)}
        free |= dict.fromkeys(("Event", "Stream", "current_stream"), _AtOnce)
        free |= {"stream": nullcontext}
        for name, found in free.items():
            self._patches.enter_context(patch(f"torch.cuda.{name}", found))
        self._patches.enter_context(patch("torch.Tensor.pin_memory", lambda numbers: numbers))
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        super().__exit__(kind, error, trace)  # type: ignore[no-untyped-call]
        self._patches.close()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        return self.call(func, args, kwargs or {})

    def call(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """One operation: checked, counted, and done on the CPU."""
        flat = _flat((args, kwargs))
        ours = [x for x in flat if isinstance(x, GpuTensor)]
        name = func.overloadpacket.__name__
        # A number, as a tensor without dimensions, may be anywhere.
        devices = {x.place for x in ours if x.dim()} or {x.place for x in ours}
        asked = self._asked(kwargs)
        if devices:
            self._last = next(iter(devices))
        self._refuse_mixed(name, flat, devices, asked)
        self._count(name, args, flat, ours, asked)
        place = asked or next(iter(devices), None)
        result = _on_cpu(func, args, kwargs)
        if name == "copy_" or (name.endswith("_") and not name.startswith("_")):
            self.launches += bool(ours)
            return args[0]
        if name == "_local_scalar_dense" or place is None or place.type != "cuda":
            return result
        self.launches += name not in _NO_LAUNCH
        if kwargs.get("out") is not None:
            return kwargs["out"]
        return _mapped(lambda x: self.placed(x, place) if type(x) is Tensor else x, result)

    def placed(self, tensor: Tensor, where: torch.device | str) -> GpuTensor:
        """A CPU tensor as one of the pretend device; its memory counts."""
        if tensor.dtype in (torch.float64, torch.complex128):
            self.float64[_place()] += 1
        self._take(tensor)
        return GpuTensor(tensor, torch.device(where))

    def _asked(self, kwargs: dict[str, Any]) -> torch.device | None:
        asked = kwargs.get("device")
        if asked is None:
            return None
        device = torch.device(asked)
        if device.type == "meta":  # C++ inside composite operations asks the wrapper.
            return self._last
        return torch.device("cuda:0") if device.type == "cuda" and device.index is None else device

    def _refuse_mixed(
        self, name: str, flat: list[Any], devices: set[torch.device], asked: torch.device | None
    ) -> None:
        onto = asked is not None and asked.type == "cuda"
        others = [
            x for x in flat if isinstance(x, Tensor) and not isinstance(x, GpuTensor) and x.dim()
        ]
        if name in _MAY_MIX or not (devices or onto):
            return
        if len(devices) > 1 or (devices and others):
            shapes = [tuple(x.shape) for x in others]
            found = f"{sorted(map(str, devices))} and {shapes} on the CPU"
            raise MixedDevices(f"{name}: tensors on {found} at {_place()}")

    def _count(
        self,
        name: str,
        args: tuple[Any, ...],
        flat: list[Any],
        ours: list[GpuTensor],
        asked: torch.device | None,
    ) -> None:
        waits = 0
        if name in _INDEXING and isinstance(args[0], GpuTensor):
            masks = (torch.bool, torch.uint8)
            given = [x for x in args[1] if isinstance(x, Tensor)]
            waits += sum(x.dtype in masks or not isinstance(x, GpuTensor) for x in given)
        waits += bool(ours) and (name in _WAITS or name == "_local_scalar_dense")
        if name == "_to_copy" and asked is not None:
            here, there = bool(ours), asked.type == "cuda"
            waits += here != there
            self.copied += args[0].nbytes * (here != there)
            if here and there and asked != ours[0].place:
                self.moved[_place()] += 1
        if name == "copy_":
            crossed = isinstance(args[0], GpuTensor) != isinstance(args[1], GpuTensor)
            waits += crossed
            self.copied += args[0].nbytes * crossed
        if waits:
            self.wait_places[f"{_place()} {name}"] += waits

    def _take(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = storage.data_ptr(), storage.nbytes()
        if not size or key in self._storages:
            return
        self.taken += 1
        capacity = 80 * 2**30 if self.capacity is None else self.capacity
        full = self.full_after is not None and self.taken > self.full_after
        if full or self.used + size > capacity:
            free = capacity - self.used
            raise torch.OutOfMemoryError(
                f"CUDA out of memory. Tried to allocate {size / 2**20:.2f} MiB. GPU 0 has a total "
                f"capacity of {capacity / 2**20:.2f} MiB of which {free / 2**20:.2f} MiB is free."
            )
        self._storages[key] = size
        self.used += size
        self.peak = max(self.peak, self.used)
        weakref.finalize(storage, self._give_back, key)

    def _give_back(self, key: int) -> None:
        self.used -= self._storages.pop(key, 0)

    def _memory(self, _device: Any = None) -> tuple[int, int]:
        total = self.capacity or 80 * 2**30
        return total - self.used, total


def on_pretend_gpu(model: LoadedModel, dtype: torch.dtype, n_devices: int = 1) -> LoadedModel:
    """The model in `dtype` with its weights on one or two pretend devices; call it inside one."""
    half = model.n_layers // 2 + 1
    module = model.model.to(dtype)  # type: ignore[arg-type]

    def place(name: str) -> str:
        block = re.search(r"(?:layers|h)\.(\d+)\.", name)
        if n_devices == 1:
            return "cuda:0"
        if block:
            return f"cuda:{int(int(block[1]) >= half)}"
        return f"cuda:{int(not re.search('embed|wte|wpe|rotary', name))}"

    _move(module, place)
    if n_devices > 1:
        _carry_inputs(module)
    return dataclasses.replace(model, dtype=dtype, device=torch.device("cuda:0"))


def _move(module: nn.Module, place: Callable[[str], str]) -> None:
    moved: dict[int, GpuTensor] = {}
    for name, sub in module.named_modules():
        for bag in (sub._parameters, sub._buffers, vars(sub)):
            for key, value in list(bag.items()):
                if not isinstance(value, Tensor) or isinstance(value, GpuTensor):
                    continue
                if id(value) not in moved:
                    copy = value.detach().clone()
                    moved[id(value)] = PretendGpu.current.placed(copy, place(f"{name}.{key}"))
                    moved[id(value)]._is_param = bag is sub._parameters  # type: ignore[attr-defined]
                bag[key] = moved[id(value)]  # type: ignore[assignment]


def _carry_inputs(module: nn.Module) -> None:
    """Inputs follow the weights, as accelerate's hooks have it."""

    def carrier(device: torch.device) -> Callable[..., Any]:
        def moved(x: Any) -> Any:
            return x.to(device) if isinstance(x, Tensor) and x.device != device else x

        return lambda _module, args, kwargs: (_mapped(moved, args), _mapped(moved, kwargs))

    for name, sub in module.named_modules():
        own = [t for t in (*sub._parameters.values(), *sub._buffers.values()) if t is not None]
        is_block = bool(re.search(r"(?:layers|h)\.\d+$", name))
        if is_block or (own and not re.search(r"(?:layers|h)\.\d", name)):
            device = (own or list(sub.parameters()))[0].device
            sub.register_forward_pre_hook(carrier(device), with_kwargs=True)


def _on_cpu(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    def inner(x: Any) -> Any:
        return x.kept if isinstance(x, GpuTensor) else x

    plain, named = _mapped(inner, args), _mapped(inner, kwargs)
    if named.get("device") is not None:
        named["device"] = torch.device("cpu")
    if named.get("pin_memory"):
        named["pin_memory"] = False
    if func.overloadpacket.__name__ == "histc" and not plain[0].is_floating_point():
        # CUDA counts integers, the CPU does not.
        return func(plain[0].float(), *plain[1:], **named).to(plain[0].dtype)
    return func(*plain, **named)


def _flat(given: Any) -> list[Any]:
    """All leaves of what an operation is called with; torch's own trees are slower."""
    if isinstance(given, dict):
        given = list(given.values())
    if isinstance(given, list | tuple):
        return [leaf for one in given for leaf in _flat(one)]
    return [given]


def _mapped(change: Callable[[Any], Any], given: Any) -> Any:
    if type(given) in (list, tuple):
        return type(given)(_mapped(change, one) for one in given)
    if type(given) is dict:
        return {key: _mapped(change, one) for key, one in given.items()}
    return change(given)


def _no_grad(_mode: bool = True) -> Any:
    return torch.no_grad()


def _tensor(data: Any, *, device: Any = None, **more: Any) -> Tensor:
    made = _TENSOR(data, **more)
    return made if device is None or torch.device(device).type == "cpu" else made.to(device)


def _place() -> str:
    """The line of ours that is at work, or the nearest one outside torch."""
    frames = [
        (frame.f_code.co_filename, line)
        for frame, line in traceback.walk_stack(None)
        if frame.f_code.co_filename != __file__
    ]
    ours = (place for place in frames if f"/{PACKAGE}/" in place[0])
    outside = (place for place in frames if "/torch/" not in place[0])
    file, line = next(ours, None) or next(outside)
    return f"{Path(file).name}:{line}"
