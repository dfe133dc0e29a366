"""Where a model runs: device, number format, and whether there is room.

Running out of device memory: how it is recognised and how much was wanted.
"""

import gc
import os
import re
from typing import TYPE_CHECKING

import torch

from readout_ui.errors import UserError

if TYPE_CHECKING:
    import torch

DEVICES = ("auto", "cpu", "cuda", "cuda:N", "mps")
DTYPES = ("auto", "bf16", "fp16", "fp32")
GIB = 2**30


def choose_device(asked: str) -> "torch.device":
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
    count = torch.cuda.device_count() if device.type == "cuda" else 1
    if device.type == "cuda" and (device.index or 0) >= count:
        raise UserError(
            f"--device {asked} needs a CUDA GPU that this machine does not have",
            options=("auto", "cpu", *(f"cuda:{number}" for number in range(count))),
        )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise UserError("--device mps needs an Apple GPU", options=("auto", "cpu"))
    return device


def choose_dtype(asked: str, device: "torch.device") -> "torch.dtype":
    """The number format for `--dtype`; "auto" is bf16 (else fp16) on a GPU and fp32 on a CPU."""
    import torch

    named = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
    if asked in named:
        return named[asked]
    if asked != "auto":
        raise UserError(f"there is no dtype {asked!r}", options=DTYPES)
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    return torch.float16 if device.type == "mps" else torch.float32


def gpu_count() -> int:
    """How many CUDA GPUs this process sees."""
    import torch

    return torch.cuda.device_count()


def free_bytes(device: "torch.device", all_gpus: bool = False) -> int:
    """Memory that a new model could take on the device (on all GPUs together if asked)."""
    import torch

    if device.type == "cuda":
        gpus = range(gpu_count()) if all_gpus else (device.index or 0,)
        return sum(torch.cuda.mem_get_info(gpu)[0] for gpu in gpus)
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


_PHRASES = ("out of memory", "can't allocate memory", "not enough memory")
_WANTED = re.compile(r"tried to allocate ([\d.]+) ?(bytes|[KMGT]i?B)", re.IGNORECASE)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether `error` is how CUDA, MPS or the CPU allocator say that memory is full."""
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
        return f"{float(found[1]) / 2**30:.2f} GiB"
    return f"{found[1]} {found[2]}"


def release_memory() -> None:
    """Gives unused blocks back, so that a smaller batch finds room."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()
