"""Where a model runs: device, number format, and whether there is room.

The one place where running out of memory, and numbers that are none, become a sentence. Torch is
imported when it is asked: a model's files are found without it.
"""

from __future__ import annotations

import gc
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from readout_ui.errors import UserError, forget_frames

if TYPE_CHECKING:
    import torch

Result = TypeVar("Result")

DEVICES = ("auto", "cpu", "cuda", "cuda:N", "mps")
DTYPES = ("auto", "bf16", "fp16", "fp32")
GIB = 2**30


def choose_device(asked: str) -> torch.device:
    """The device for `--device`; "auto" takes CUDA before MPS before CPU.

    Raises:
        UserError: the device is unknown or not there.
    """
    import torch

    if asked == "auto":
        return torch.device(_best_device())
    try:
        device = torch.device(asked)
    except RuntimeError as error:
        raise UserError(f"there is no device {asked!r}", options=DEVICES) from error
    if device.type not in ("cpu", "cuda", "mps"):
        raise UserError(f"there is no device {asked!r}", options=DEVICES)
    count = gpu_count() if device.type == "cuda" else 1
    if device.type == "cuda" and (device.index or 0) >= count:
        raise UserError(
            wrong_torch() or f"--device {asked} needs a CUDA GPU that this machine does not have",
            options=("auto", "cpu", *(f"cuda:{number}" for number in range(count))),
        )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise UserError("--device mps needs an Apple GPU", options=("auto", "cpu"))
    return device


def choose_dtype(asked: str, device: torch.device) -> torch.dtype:
    """The number format for `--dtype`; "auto" is bf16 (else fp16) on a GPU and fp32 on a CPU."""
    import torch

    named = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
    if asked in named:
        return named[asked]
    if asked != "auto":
        raise UserError(f"there is no dtype {asked!r}", options=DTYPES)
    if device.type == "cuda":
        return torch.bfloat16 if _computes_bf16(device) else torch.float16
    if device.type == "mps":  # bfloat16 came with macOS 14
        newer = torch.backends.mps.is_macos_or_newer(14, 0)
        return torch.bfloat16 if newer else torch.float16
    return torch.float32


def _computes_bf16(device: torch.device) -> bool:
    """Cards before Ampere (T4, RTX 20) know bfloat16 only by slow emulation."""
    import torch

    return bool(torch.version.hip) or torch.cuda.get_device_capability(device) >= (8, 0)


def gpu_count() -> int:
    """How many CUDA GPUs this process sees."""
    import torch

    return torch.cuda.device_count()


def wrong_torch() -> str:
    """What to say where an NVIDIA card meets a torch that was built without CUDA, else ""."""
    import torch

    card = shutil.which("nvidia-smi") or Path("/proc/driver/nvidia/version").exists()
    if not card or torch.version.cuda or torch.version.hip:
        return ""
    return (
        f"this machine has an NVIDIA card, but torch {torch.__version__} is built without CUDA: "
        "pip install --force-reinstall torch --index-url https://download.pytorch.org/whl/cu128"
    )


def free_bytes(device: torch.device, all_gpus: bool = False) -> int:
    """Memory that a new model could take on the device (on all GPUs together if asked)."""
    import torch

    if device.type == "cuda":
        gpus = range(gpu_count()) if all_gpus else (device.index or 0,)
        # Blocks that torch holds and does not use count as taken for the driver, not for us.
        return sum(
            torch.cuda.mem_get_info(gpu)[0]
            + torch.cuda.memory_reserved(gpu)
            - torch.cuda.memory_allocated(gpu)
            for gpu in gpus
        )
    if device.type == "mps":
        limit = int(torch.mps.recommended_max_memory())
        return limit - int(torch.mps.current_allocated_memory())
    return _free_ram()


def require_room(name: str, needed: int, free: int, device: str) -> None:
    """Refuse a model that does not fit, with both numbers.

    Raises:
        UserError: `needed` bytes are more than `free` bytes.
    """
    if needed > free:
        raise UserError(
            f"{name} needs {_size(needed)} on {device}, where {_size(free)} are free",
            fix="free memory, choose a smaller model, --dtype bf16 or another --device",
        )


def _size(n_bytes: int) -> str:
    return f"{n_bytes / GIB:.1f} GiB" if n_bytes >= GIB else f"{n_bytes / 2**20:.2f} MiB"


def _best_device() -> str:
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _free_ram() -> int:
    try:
        import psutil
    except ImportError:
        pages = "SC_AVPHYS_PAGES" if "SC_AVPHYS_PAGES" in os.sysconf_names else "SC_PHYS_PAGES"
        return os.sysconf(pages) * os.sysconf("SC_PAGE_SIZE")
    return int(psutil.virtual_memory().available)


_PHRASES = (
    "out of memory",
    "can't allocate memory",
    "not enough memory",
    "status_alloc_failed",  # cuBLAS and cuDNN, of their own workspaces
    "cublascreate(handle)",  # whatever else they say where there is no room to begin
    "cusolverdncreate(handle)",
    "invalid buffer size",  # MPS, of one tensor alone
)
_WANTED = re.compile(r"(?:tried|unable) to allocate ([\d.]+) ?(bytes|[KMGT]i?B)", re.IGNORECASE)
LESS = "free memory, or choose a smaller model, a lower --dtype or another --device"


@dataclass(frozen=True)
class Shortage:
    """What remains of work that ran out of memory."""

    wanted: str
    """How much more was needed, e.g. "2.10 GiB"; "" where the error did not tell."""

    def error(self, device: torch.device, what: str, where: str, lower: str) -> UserError:
        """The one sentence about it.

        Args:
            device: what is full.
            what: what it had no room for, as a noun with its size.
            where: the model.
            lower: what to make smaller.
        """
        wanted = f"{self.wanted} more was needed, " if self.wanted else ""
        return UserError(
            f"{device} has no memory for {what}: {wanted}{_size(free_bytes(device))} are free",
            where=where,
            fix=f"{lower}; or {LESS}",
        )


def within_memory(work: Callable[[], Result]) -> Result | Shortage:
    """What `work` gives, or what it lacked; then nothing of what it held is kept.

    The error never leaves: its traceback holds the very tensors that fill the memory.
    """
    try:
        return work()
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        shortage = Shortage(wanted_memory(error))
        forget_frames(error)
    release_memory()
    return shortage


def is_out_of_memory(error: BaseException) -> bool:
    """Whether `error` is how CUDA, MPS or the CPU allocator say that memory is full."""
    import torch

    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(
        phrase in str(error).lower() for phrase in _PHRASES
    )


def wanted_memory(error: BaseException) -> str:
    """The size that could not be had, e.g. "2.10 GiB", or "" where the error does not tell."""
    found = _WANTED.search(str(error))
    if found is None:
        return ""
    if found[2].lower() == "bytes":
        return f"{float(found[1]) / GIB:.2f} GiB"
    return f"{found[1]} {found[2]}"


def release_memory() -> None:
    """Gives unused blocks back, so that a smaller batch finds room."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()


def sent(numbers: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Numbers of the host on a device; a CUDA GPU need not be done with its work before."""
    if device.type != "cuda":
        return numbers.to(device)
    return numbers.pin_memory().to(device, non_blocking=True)


class Moment:
    """What a device has been asked for until now.

    A copy waits for all that was asked of a device before it; inside `only` a copy from a CUDA GPU
    waits for this moment alone, so that the device can go on with something else.
    """

    def __init__(self, device: torch.device) -> None:
        import torch

        self._device, self._event = device, None
        if device.type == "cuda":
            self._event = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._event.record(torch.cuda.current_stream(device))

    @contextmanager
    def only(self) -> Iterator[None]:
        """Work asked for inside waits for nothing that was asked for after the moment."""
        import torch

        if self._event is None:
            yield
            return
        beside = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        beside.wait_event(self._event)
        with torch.cuda.stream(beside):
            yield


@contextmanager
def attention_without_plans() -> Iterator[None]:
    """Keeps cuDNN's attention out, which makes a plan for every new length of texts.

    On an H200 with torch 2.11 that took 38 ms: each token of a first answer, and every batch.
    """
    import torch

    backends = torch.backends.cuda
    chosen = backends.cudnn_sdp_enabled()  # type: ignore[no-untyped-call]
    backends.enable_cudnn_sdp(False)
    try:
        yield
    finally:
        backends.enable_cudnn_sdp(chosen)


def not_finite(dtype: torch.dtype, device: torch.device) -> UserError:
    """What to say where a model's numbers are no numbers any more; names a format that works."""
    import torch

    name = str(dtype).removeprefix("torch.")
    knows_bf16 = dtype == torch.float16 and choose_dtype("auto", device) == torch.bfloat16
    wider = "bf16" if knows_bf16 else "fp32"
    fix = f"load it with --dtype {wider}; where it is steered, steer less"
    if dtype == torch.float32:
        fix = "steer less; without steering the weights are damaged: fetch the model again"
    return UserError(f"the model's numbers overflow in {name}", fix=fix)
